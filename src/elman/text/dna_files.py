r"""FASTA and FASTQ, read in a stream: plain, gzip or bgzip, from a file, a pipe or standard input.

The content says what a file is, not its name: gzip by its first bytes, FASTA and FASTQ by their first letter. Lines may
be wrapped or not, end in "\n" or "\r\n", and be blank. The name of a record is the first word of its title. A record
without a base has length zero, as samtools has it; a file without a base is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from elman.errors import TextError
from elman.text.bgzf import check_end
from elman.text.dna import CODE_OF_BYTE, NO_BASE, SPACE, Codes, as_codes, first_foreign, foreign_error
from elman.text.reading import TextSource

BLOCK = 1 << 20  # bases
_LONGEST_TITLE = 1 << 20  # bytes
_BOM = b"\xef\xbb\xbf"
_OTHER_FORMATS = {
    b"BZh": "packed by bzip2, which elman does not read; unpack it first",
    b"\xfd7zXZ": "packed by xz, which elman does not read; unpack it first",
    b"\x28\xb5\x2f\xfd": "packed by zstd, which elman does not read; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"BAM\x01": "BAM; samtools fasta makes FASTA of it",
    b"CRAM": "CRAM; samtools fasta makes FASTA of it",
    b"\x43\x27\x41\x1a": "2bit; twoBitToFa makes FASTA of it",
    b"\x1a\x41\x27\x43": "2bit; twoBitToFa makes FASTA of it",
    b"\xff\xfe": "UTF-16; convert it: iconv -f utf-16 -t utf-8",
    b"\xfe\xff": "UTF-16; convert it: iconv -f utf-16 -t utf-8",
    b"##fileformat=VCF": "VCF; give the sequence, not its variants",
    b"##gff": "GFF; give the sequence, not its features",
    b"LOCUS": "GenBank; give its sequence as FASTA",
    b"ID   ": "EMBL; give its sequence as FASTA",
    b"@HD\t": "SAM; samtools fasta makes FASTA of it",
    b"@SQ\t": "SAM; samtools fasta makes FASTA of it",
}


class Title(NamedTuple):
    """Where a record begins: its name, and the line that says it, counted from 1."""

    name: str
    line: int


Part = tuple[Title | None, bytes]
"""Codes in the order of the file; a title says that a new record begins with them."""


@dataclass(frozen=True)
class Block:
    """Some bases of one record.

    Attributes
    ----------
    name, record
        the record's name, and its number in the file from 0.
    start
        where in the record the block begins, from 0.
    codes
        uint8, read-only.
    last
        whether the record ends with this block.
    """

    name: str
    record: int
    start: int
    codes: Codes
    last: bool


def blocks(source: str | Path | TextSource, size: int = BLOCK) -> Iterator[Block]:
    """Give a file's bases in blocks of `size`, the last one of each record shorter, in memory of a few blocks.

    A record without a base gives one empty block. Two records of one name are an error in FASTA; in FASTQ, where the
    two reads of a pair have one, they are not.

    Raises
    ------
    TextError
        for a file that is missing, empty, binary, cut short or neither FASTA nor FASTQ, a letter that is no base, a
        record without a name or with another one's, qualities that are not as many as the bases.
    """
    name, record, start = "", -1, 0
    pending, count = [b""], 0  # what no block has taken yet
    for title, codes in parts(source):
        if title is not None:
            if record >= 0:
                yield Block(name, record, start, as_codes(b"".join(pending)), last=True)
            name, record, start, pending, count = title.name, record + 1, 0, [b""], 0
        pending.append(codes)
        count += len(codes)
        if count <= size:
            continue
        held = b"".join(pending)
        cut = (count - 1) // size * size  # at least one base stays for the last block
        for at in range(0, cut, size):
            yield Block(name, record, start + at, as_codes(held[at : at + size]), last=False)
        start, pending, count = start + cut, [held[cut:]], count - cut
    yield Block(name, record, start, as_codes(b"".join(pending)), last=True)


def parts(source: str | Path | TextSource) -> Iterator[Part]:
    """Give titles and codes as they come; errors as in `blocks`."""
    source = source if isinstance(source, TextSource) else TextSource(source)
    check_end(source)
    stream, kind = _recognized(source)
    return _with_bases(_fasta(stream, source.name) if kind == b">" else _fastq(stream, source.name), source.name)


def _recognized(source: TextSource) -> tuple[Iterator[bytes], bytes]:
    """Return the file's bytes from the first record on, blank lines kept, and its kind: b">" or b"@"."""
    chunks = source.chunks()
    blank: list[bytes] = []
    for chunk in chunks:
        data = chunk if blank else chunk.removeprefix(_BOM)
        for magic, meaning in _OTHER_FORMATS.items():
            if not blank and data.startswith(magic):
                is_what, _, hint = meaning.partition("; ")
                raise TextError(f"{source.name} is {is_what}", hint=hint)
        first = data.lstrip()[:1]
        if not first:
            blank.append(data)
            continue
        if first not in (b">", b"@"):
            raise _unrecognized(source.name, b"".join(blank) + data)
        return chain(blank, [data], chunks), first
    if any(blank):
        raise TextError(f"{source.name} holds only blank lines", hint="give FASTA or FASTQ")
    raise TextError(f"{source.name} is empty", hint="give FASTA or FASTQ")


def _unrecognized(name: str, data: bytes) -> TextError:
    body = data.lstrip()
    line = data.count(b"\n", 0, len(data) - len(body)) + 1
    start = body.split(b"\n")[0][:20]
    if not all(32 <= byte < 127 or byte in b"\t\r" for byte in start):
        return TextError(f"{name} is binary, and neither FASTA nor FASTQ", hint="give FASTA or FASTQ")
    return TextError(
        f"{name}, line {line}: a record of FASTA begins with > and one of FASTQ with @, not with "
        f"{start.decode().strip()!r}",
        hint="write a line such as >name before the bases",
    )


def _with_bases(found: Iterable[Part], name: str) -> Iterator[Part]:
    total = 0
    for part in found:
        total += len(part[1])
        yield part
    if not total:
        raise TextError(f"{name} holds no bases", hint="give a file with at least one base")


def _fasta(chunks: Iterator[bytes], name: str) -> Iterator[Part]:
    """Cut chunks at the names; a chunk may end anywhere, and only a title is held over to the next."""
    lines: dict[str, int] = {}  # of the names so far
    line, column = 1, 0  # where `data` begins: its line, and how many bytes of that line came before
    held = b""
    for chunk in chunks:
        data = held + chunk
        sections = data.split(b"\n>")
        held = b""
        for place, section in enumerate(sections):
            final = place + 1 == len(sections)
            titled = place > 0 or (column == 0 and section.startswith(b">"))
            if titled:
                written, end, sequence = section.removeprefix(b">" if not place else b"").partition(b"\n")
                if final and not end:
                    held = b">" + written
                    break
                title = _title(written, name, line, lines)
                yield title, _translated(sequence, name, line + 1, 0)
            else:
                yield None, _translated(section, name, line, column)
            line += section.count(b"\n") + (not final)
            if not final:
                column = 0
            else:
                last_line = data.rfind(b"\n") + 1
                column = len(data) - last_line + (0 if last_line else column)
        if len(held) > _LONGEST_TITLE:
            raise TextError(
                f"{name}, line {line}: the title of a record is longer than a megabyte", hint="is it FASTA?"
            )
    if held:
        yield _title(held[1:], name, line, lines), b""


def _title(written: bytes, name: str, line: int, lines: dict[str, int]) -> Title:
    """Return a title of FASTA; refuse a name that another record has."""
    title = Title(_first_word(written, name, line), line)
    if title.name in lines:
        raise TextError(
            f"{name}: two records have the name {title.name!r}, at line {lines[title.name]} and at line {line}",
            hint="give each record a name of its own",
        )
    lines[title.name] = line
    return title


def _first_word(written: bytes, name: str, line: int) -> str:
    if b"\r" in written.rstrip(b"\r"):
        raise TextError(f"{name}, line {line}: lines end in a carriage return alone", hint="end them with a line feed")
    words = written.split(maxsplit=1)
    if not words or written[:1].isspace():
        raise TextError(f"{name}, line {line}: the record has no name", hint="write its name right after > or @")
    try:
        return words[0].decode()
    except UnicodeDecodeError as error:
        raise TextError(f"{name}, line {line}: the record's name is not UTF-8", hint="convert it with iconv") from error


def _translated(data: bytes, name: str, line: int, column: int) -> bytes:
    """Return the codes of lines of bases; the first of them is line `line`, after `column` bytes of it."""
    codes = data.translate(CODE_OF_BYTE, SPACE)
    if NO_BASE in codes:
        place, letter = first_foreign(data)
        before = data.rfind(b"\n", 0, place)
        column = place - before + (column if before < 0 else 0)
        raise foreign_error(name, line + data.count(b"\n", 0, place), column, letter)
    return codes


def _fastq(chunks: Iterator[bytes], name: str) -> Iterator[Part]:
    """Read records of four lines, or of more where bases and qualities are wrapped; a line is held in memory."""
    reader = _FastqReader(name)
    cut_line: list[bytes] = []
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        if whole:
            whole[0] = b"".join([*cut_line, whole[0]])
            cut_line = []
            for text in whole:
                yield from reader.read(text)
        cut_line.append(rest)
    yield from reader.read(b"".join(cut_line))
    reader.finish()


class _FastqReader:
    """What has been read of one record of FASTQ."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = 0
        self._title: Title | None = None
        self._bases = self._base_lines = self._qualities = 0
        self._in_qualities = False

    def read(self, text: bytes) -> Iterator[Part]:
        """Read the next line; give the codes that it holds, and the title with which a record begins."""
        self._line += 1
        text = text.rstrip(b"\r")
        if not text or text.isspace():
            return
        if self._title is None:
            yield self._begin(text), b""
        elif self._in_qualities:
            self._qualities += len(text.strip())
            self._check_qualities()
        elif text.startswith(b"+"):
            self._in_qualities = True
            if not self._bases:
                self._title = None
        else:
            codes = _translated(text, self._name, self._line, 0)
            self._bases, self._base_lines = self._bases + len(codes), self._base_lines + 1
            yield None, codes

    def _begin(self, text: bytes) -> Title:
        if not text.startswith(b"@"):
            raise TextError(
                f"{self._name}, line {self._line}: a record of FASTQ begins with @, not with {chr(text[0])!r}",
                hint="is a line of the record before it missing, or are its qualities more than its bases?",
            )
        self._title = Title(_first_word(text[1:], self._name, self._line), self._line)
        self._bases = self._base_lines = self._qualities = 0
        self._in_qualities = False
        return self._title

    def _check_qualities(self) -> None:
        if self._qualities == self._bases:
            self._title = None
        elif self._qualities > self._bases or self._base_lines == 1:  # who wraps qualities wraps the bases too
            raise self._uneven()

    def _uneven(self) -> TextError:
        title = self._title
        assert title is not None
        return TextError(
            f"{self._name}, line {self._line}: the record {title.name!r} of line {title.line} has {self._bases} bases "
            f"and {self._qualities} qualities",
            hint="a quality for each base; is the file damaged?",
        )

    def finish(self) -> None:
        """Refuse a file that ends within a record."""
        if self._title is None:
            return
        if self._in_qualities:
            raise self._uneven()
        raise TextError(
            f"{self._name} is cut short: the record {self._title.name!r} of line {self._title.line} has no qualities",
            hint="copy or download it again",
        )
