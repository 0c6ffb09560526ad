r"""VCF, read line by line so that all that is not changed stays as it is, byte for byte, `\r\n` included.

Only what is needed is looked at: CHROM, POS, REF, ALT and INFO. The lines may be in any order.
Source: The Variant Call Format Specification, version 4.5 (github.com/samtools/hts-specs).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elman.errors import TextError
from elman.text.bgzf import check_end
from elman.text.reading import TextSource

COLUMNS = (b"#CHROM", b"POS", b"ID", b"REF", b"ALT", b"QUAL", b"FILTER", b"INFO")
_INFO_ID = re.compile(rb"##INFO=<(?:[^\"]*,)?ID=([^,>]*)")
_POSITION = re.compile(rb"[0-9]{1,18}")
_OTHER_FORMATS = {
    b"BCF\x02": ("BCF, the binary form of VCF", "bcftools view makes VCF of it"),
    b"BZh": ("packed by bzip2, which elman does not read", "unpack it first"),
    b"\xfd7zXZ": ("packed by xz, which elman does not read", "unpack it first"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd, which elman does not read", "unpack it first"),
    b"PK\x03\x04": ("a zip archive", "unpack it first"),
    b"\xff\xfe": ("UTF-16", "convert it: iconv -f utf-16 -t utf-8"),
    b"\xfe\xff": ("UTF-16", "convert it: iconv -f utf-16 -t utf-8"),
    b">": ("FASTA", "give the variants, not the sequence"),
}


@dataclass(frozen=True)
class Record:
    """A line of a VCF: a place of the genome and what may be there instead.

    Parameters
    ----------
    raw
        the line as it is, with its end.
    line
        its number, from 1.
    chrom
        the name of the sequence.
    position
        of the first base of `reference`, from 0; VCF counts from 1, so that -1 is its telomere 0.
    reference, alternatives
        REF and the ALTs as they are written.
    """

    raw: bytes
    line: int
    chrom: str
    position: int
    reference: str
    alternatives: tuple[str, ...]

    @cached_property
    def place(self) -> str:
        """CHROM and POS as VCF has them, for messages."""
        return f"{self.chrom}:{self.position + 1}"

    def with_info(self, values: Mapping[str, str], *, replaced: Sequence[str] = ()) -> bytes:
        """Return the line with fields of INFO added at its end, after those of the same names or of `replaced` went.

        No other byte changes; an INFO that held nothing (`.`) becomes the fields alone.
        """
        body, end = split_end(self.raw)
        columns = body.split(b"\t", len(COLUMNS))
        gone = {name.encode() for name in (*values, *replaced)}
        kept = [part for part in columns[7].split(b";") if part not in (b"", b".") and part.split(b"=")[0] not in gone]
        columns[7] = b";".join([*kept, *(f"{name}={value}".encode() for name, value in values.items())])
        return b"\t".join(columns) + end


@dataclass(frozen=True)
class Vcf:
    """A VCF that was opened.

    Parameters
    ----------
    name
        of the file, for messages.
    header
        its lines up to that of the columns, each with its end.
    body
        the lines after it, in order, read as they are asked for: records, and blank lines as the bytes that they are.
    """

    name: str
    header: list[bytes]
    body: Iterator[Record | bytes]


def read_vcf(path: str | Path) -> Vcf:
    """Open a VCF, plain, gzip or bgzip; `-` is standard input.

    Raises
    ------
    TextError
        for a file that is missing, empty, damaged, cut short or no VCF; and, as the body is read, for a line with too
        few columns or another number of them than the header has, a POS that is no number, an empty field.
    """
    source = TextSource(path)
    check_end(source)
    lines = _lines(source)
    header = []
    for number, line in lines:
        if number == 1:
            _check_first(line, source.name)
        if not line.startswith(b"#"):
            raise TextError(
                f"{source.name}, line {number}: a record, and no line #CHROM was before it",
                hint="a VCF has a line of its columns, from #CHROM to INFO, divided by tabs, after the lines with ##",
            )
        header.append(line)
        if not line.startswith(b"##"):
            columns = _count_columns(line, source.name, number)
            return Vcf(source.name, header, _body(lines, source.name, columns))
    if not header:
        raise TextError(f"{source.name} is empty", hint="give a VCF")
    raise TextError(f"{source.name} ends before its line #CHROM", hint="copy or download it again")


def split_end(line: bytes) -> tuple[bytes, bytes]:
    r"""Return a line without its end, and the end.

    >>> split_end(b"a\r\n"), split_end(b"a")
    ((b'a', b'\r\n'), (b'a', b''))
    """
    body = line.removesuffix(b"\n")
    body = body.removesuffix(b"\r") if body != line else line
    return body, line[len(body) :]


def with_info_lines(header: Sequence[bytes], fields: Mapping[str, str], *, replaced: Sequence[str] = ()) -> list[bytes]:
    """Return a header with one line `##INFO` for each field, after the other lines of INFO.

    Where there is none they come last, before the line of the columns. Earlier lines of the same fields, and those of
    `replaced`, go; lines end as the first one does.

    Parameters
    ----------
    header
        lines with their ends.
    fields
        for each ID what stands after it: `Number=A,Type=Float,Description="..."`.
    replaced
        other IDs to take out.
    """
    gone = {name.encode() for name in (*fields, *replaced)}
    kept = [line for line in header if _info_id(line) not in gone]
    place = max((at + 1 for at, line in enumerate(kept) if _info_id(line) is not None), default=len(kept) - 1)
    end = split_end(header[0])[1] or b"\n"
    ours = [f"##INFO=<ID={name},{rest}>".encode() + end for name, rest in fields.items()]
    return [*kept[:place], *ours, *kept[place:]]


def _info_id(line: bytes) -> bytes | None:
    found = _INFO_ID.match(line)
    return found[1] if found else None


def _lines(source: TextSource) -> Iterator[tuple[int, bytes]]:
    """Give the lines with their numbers, from 1, and their ends."""
    number = 0
    parts: list[bytes] = []  # the beginning of a line that goes on in the next chunk
    for chunk in source.chunks():
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            number += 1
            yield number, b"".join([*parts, line, b"\n"])
            parts.clear()
        parts.append(rest)
    if last := b"".join(parts):
        yield number + 1, last


def _check_first(line: bytes, name: str) -> None:
    for magic, (what, hint) in _OTHER_FORMATS.items():
        if line.startswith(magic):
            raise TextError(f"{name} is {what}", hint=hint)
    if not line.startswith(b"#"):
        hint = "give a VCF, which begins with a line ##fileformat=VCFv4.2 or the like"
        raise TextError(f"{name} has no header, so it is no VCF: its first line does not begin with ##", hint=hint)


def _count_columns(line: bytes, name: str, number: int) -> int:
    columns = split_end(line)[0].split(b"\t")
    if tuple(columns[: len(COLUMNS)]) != COLUMNS:
        spaced = tuple(line.split()[: len(COLUMNS)]) == COLUMNS
        raise TextError(
            f"{name}, line {number}: the columns are not {' '.join(column.decode() for column in COLUMNS)}",
            hint="divide the columns by tabs, not by spaces" if spaced else "a VCF has these columns, divided by tabs",
        )
    return len(columns)


def _body(lines: Iterator[tuple[int, bytes]], name: str, columns: int) -> Iterator[Record | bytes]:
    for number, line in lines:
        yield _record(line, f"{name}, line {number}", number, columns) if line.strip() else line


def _record(line: bytes, where: str, number: int, columns: int) -> Record:
    found = split_end(line)[0].split(b"\t")
    if len(found) != columns:
        hint = "is the file cut short? copy or download it again"
        if len(found) == 1 and len(line.split()) >= len(COLUMNS):
            hint = "divide the columns by tabs, not by spaces"
        raise TextError(f"{where} has {len(found)} columns, and the line #CHROM has {columns}", hint=hint)
    chrom, pos, _, ref, alt = found[:5]
    for column, value in zip(COLUMNS, found, strict=False):
        if not value:
            raise TextError(f"{where}: {column.decode().strip('#')} is empty", hint="write . for what is missing")
    if not _POSITION.fullmatch(pos):
        shown = pos.decode(errors="backslashreplace")
        raise TextError(f"{where}: POS is {shown!r}, and not a whole number", hint="POS counts bases from 1")
    try:
        return Record(line, number, chrom.decode(), int(pos) - 1, ref.decode("ascii"), tuple(alt.decode().split(",")))
    except UnicodeDecodeError as error:
        raise TextError(f"{where}: a byte of CHROM, REF or ALT is not UTF-8", hint="is the file damaged?") from error
