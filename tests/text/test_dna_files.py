"""FASTA and FASTQ in a stream."""

import gzip
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import TextError
from elman.text import reading
from elman.text.dna import LETTERS, decode
from elman.text.dna_files import blocks

END_OF_BGZIP = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def write(folder: Path, data: bytes | str, name: str = "file.fa") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def records_of(path, **options) -> list[tuple[str, str]]:
    """Names and letters, and on the way that the blocks of a record follow each other."""
    found: list[tuple[str, str]] = []
    over = True
    for block in blocks(path, **options):
        if over:
            assert (block.record, block.start) == (len(found), 0)
            found.append((block.name, ""))
        name, letters = found[-1]
        assert (block.name, block.start) == (name, len(letters))
        found[-1] = (name, letters + decode(block.codes))
        over = block.last
    assert over
    return found


def slowly(text: str) -> list[tuple[str, str]]:
    """Read FASTA as obviously as can be."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith(">"):
            found.append((line[1:].split()[0], ""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + line.strip().upper().replace("U", "T"))
    return found


def bgzip(data: bytes, size: int = 40) -> bytes:
    """Pack as bgzip does: gzip members that say their own length, and an empty one at the end."""
    packed = b""
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        deflate = zlib.compressobj(wbits=-15)
        body = deflate.compress(piece) + deflate.flush()
        head = struct.pack("<4BI2BH2BHH", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(body) + 25)
        packed += head + body + struct.pack("<II", zlib.crc32(piece), len(piece))
    return packed + END_OF_BGZIP


SEQUENCES = st.lists(st.text(alphabet=LETTERS + "acgtnuU", max_size=30), min_size=1, max_size=5).filter(any)


@st.composite
def fastas(draw):
    """FASTA of every shape: wrapped, CRLF, blank lines, descriptions, without a last line end."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = draw(st.sampled_from(["", "\n", "\r\n\n"]))
    for number, sequence in enumerate(draw(SEQUENCES)):
        width = draw(st.integers(1, 40))
        lines = [sequence[at : at + width] for at in range(0, len(sequence), width)]
        title = f">r{number}{draw(st.sampled_from(['', ' what it is > or was', chr(9) + 'x']))}"
        text += end.join([title, *lines]) + end + draw(st.sampled_from(["", end, end * 2]))
    return text if draw(st.booleans()) else text.rstrip()


@given(
    text=fastas(),
    chunk=st.integers(1, 30),
    size=st.integers(1, 12),
    packed=st.sampled_from([bytes, gzip.compress, bgzip]),
)
def test_fasta_of_every_shape_is_read_as_by_the_slow_reader(tmp_path_factory, text, chunk, size, packed):
    path = write(tmp_path_factory.mktemp("t"), packed(text.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        assert records_of(path, size=size) == slowly(text.lstrip())


@given(sequences=SEQUENCES, chunk=st.integers(1, 30), width=st.integers(1, 40), crlf=st.booleans(), named=st.booleans())
def test_fastq_is_read_wrapped_or_not(tmp_path_factory, sequences, chunk, width, crlf, named):
    lines = []
    for number, sequence in enumerate(sequences):
        cut = range(0, len(sequence), width)
        qualities = "@+>I"[number % 4] * len(sequence)  # which may look like the beginnings of other lines
        lines += [f"@r{number} x", *(sequence[at : at + width] for at in cut)]
        lines += [f"+{f'r{number} x' * named}", *(qualities[at : at + width] for at in cut)]
    path = write(tmp_path_factory.mktemp("t"), ("\r\n" if crlf else "\n").join([*lines, ""]), "reads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        expected = [(f"r{n}", s.upper().replace("U", "T")) for n, s in enumerate(sequences)]
        assert records_of(path) == expected


def test_blocks_are_of_the_size_and_only_the_last_is_shorter(tmp_path):
    path = write(tmp_path, ">a\nACGTA\nCGTAC\n>b\nACGT\n>c\n>d\nA\n")
    found = [(block.name, block.start, len(block.codes), block.last) for block in blocks(path, size=4)]
    assert found == [
        ("a", 0, 4, False),
        ("a", 4, 4, False),
        ("a", 8, 2, True),
        ("b", 0, 4, True),
        ("c", 0, 0, True),
        ("d", 0, 1, True),
    ]


def test_a_record_without_a_base_has_length_zero_wherever_it_stands(tmp_path):
    assert records_of(write(tmp_path, ">a\n>b\nAC\n>c")) == [("a", ""), ("b", "AC"), ("c", "")]


def test_soft_masks_and_rna_are_bases(tmp_path):
    assert records_of(write(tmp_path, ">a\nacgtNnuU\n")) == [("a", "ACGTNNTT")]


def test_a_byte_order_mark_and_spaces_are_passed_over(tmp_path):
    assert records_of(write(tmp_path, "\ufeff>a\nAC GT\tAC \n")) == [("a", "ACGTAC")]


def test_two_reads_of_a_pair_may_have_one_name(tmp_path):
    assert records_of(write(tmp_path, "@r 1\nAC\n+\nII\n@r 2\nGT\n+\nII\n")) == [("r", "AC"), ("r", "GT")]


def test_standard_input_is_read(tmp_path):
    program = "from elman.text.dna_files import blocks; print([(b.name, b.codes.tolist()) for b in blocks('-')])"
    done = subprocess.run(
        [sys.executable, "-c", program], input=gzip.compress(b">a\nAC\n"), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[('a', [0, 1])]"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("cut", [0, len(END_OF_BGZIP)])
def test_a_pipe_is_read_and_checked(cut, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = bgzip(b">a\nAC\n")
    writer = threading.Thread(target=pipe.write_bytes, args=(data[: len(data) - cut],))
    writer.start()
    if cut:
        with pytest.raises(TextError, match="bgzip file that is cut short"):
            records_of(pipe)
    else:
        assert records_of(pipe) == [("a", "AC")]
    writer.join()


WRONG = {
    "empty": (b"", "is empty"),
    "blank": (b"\n \r\n\n", "only blank lines"),
    "no bases": (b">a\n>b\n\n", "holds no bases"),
    "no record": (b"\nACGT\n", "line 2: a record of FASTA begins with > and one of FASTQ with @, not with 'ACGT'"),
    "protein": (b">a\nACGT\nAC\nMKVLAT\n", "line 4, column 4: 'L' is no base .*protein"),
    "protein at the start": (b">a\r\n\r\nPEPTIDE\r\n", "line 3, column 1: 'P' is no base .*protein"),
    "gap": (b">a\nAC\n>b\nAC-GT\n", "line 4, column 3: '-' is no base .*alignment"),
    "number": (b">a\n1 ACGT\n", "line 2, column 1: '1' is no base .*numbers"),
    "name within a line": (b">a\nAC>b\n", "line 2, column 3: '>' is no base"),
    "not a letter": (b">a\nAC\xe9\n", "line 2, column 3: byte 0xe9 is no base"),
    "NUL": (b">a\nAC\n\0\0", "is binary: line 3"),
    "binary": (bytes(range(128, 160)), "is binary"),
    "no name": (b">a\nAC\n>\nAC\n", "line 3: the record has no name"),
    "space for a name": (b"> a\nAC\n", "line 1: the record has no name"),
    "name that is not UTF-8": (b">\xe9 x\nAC\n", "line 1: the record's name is not UTF-8"),
    "two of one name": (b">a x\nAC\n\n>b\nA\n>a y\nGT\n", "'a', at line 1 and at line 6"),
    "old line ends": (b">a\rACGT\r>b\rAC\r", "carriage return"),
    "bzip2": (b"BZh91AY&SY", "is packed by bzip2.*unpack"),
    "2bit": (b"\x43\x27\x41\x1a\0\0\0\0", "is 2bit"),
    "VCF": (b"##fileformat=VCFv4.2\n", "is VCF"),
    "GenBank": (b"LOCUS       X\n", "is GenBank"),
    "UTF-16": (">a\nAC\n".encode("utf-16"), "is UTF-16"),
    "gzip cut short": (gzip.compress(b">a\n" + os.urandom(99).hex().encode())[:-20], "cut short|no base"),
    "damaged gzip": (gzip.compress(b">a\nACGT\n")[:-8] + b"\1" * 8, "damaged"),
    "bgzip cut at a block": (bgzip(b">a\n" + b"ACGT" * 50)[: -len(END_OF_BGZIP)], "bgzip file that is cut short"),
    "fewer qualities": (
        b"@a\nACGT\n+\nIII\n@b\nAC\n+\nII\n",
        "line 4: the record 'a' of line 1 has 4 bases and 3 qual",
    ),
    "more qualities": (b"@a\nACGT\n+\nIIIII\n", "line 4: the record 'a' of line 1 has 4 bases and 5 qualities"),
    "more in a wrapped record": (
        b"@a\nAC\nGT\n+\nII\nIII\n",
        "line 6: the record 'a' of line 1 has 4 bases and 5 qual",
    ),
    "FASTQ cut in the bases": (b"@a\nAC\n+\nII\n@b\nAC\n", "cut short: the record 'b' of line 5 has no qualities"),
    "FASTQ cut before the qualities": (b"@a\nACGT\n+\n", "the record 'a' of line 1 has 4 bases and 0 qualities"),
    "FASTQ without a plus": (b"@a\nACGT\n@b\nACGT\n", "line 3, column 1: '@' is no base"),
    "FASTQ out of step": (b"@a\nAC\n+\nII\nII\n", "line 5: a record of FASTQ begins with @, not with 'I'"),
    "no base in FASTQ": (b"@a\nAL\n+\nII\n", "line 2, column 2: 'L' is no base"),
}


BY_FIRST_BYTES = ("bzip2", "2bit", "VCF", "GenBank", "UTF-16", "no record", "binary")  # of which a chunk has enough


@pytest.mark.parametrize(
    ("kind", "chunk"), [(kind, n) for kind in WRONG for n in (1, 3, 1 << 20) if n > 3 or kind not in BY_FIRST_BYTES]
)
def test_a_file_that_is_wrong_is_one_sentence_with_its_place_whatever_the_chunk(kind, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", chunk)
    data, message = WRONG[kind]
    path = write(tmp_path, data)
    with pytest.raises(TextError, match=f"(?s){message}") as caught:
        list(blocks(path))
    assert str(path) in caught.value.message and caught.value.hint and "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_a_folder_is_said(tmp_path):
    with pytest.raises(TextError, match="does not exist"):
        list(blocks(tmp_path / "none.fa"))
    with pytest.raises(TextError, match="is a folder"):
        list(blocks(tmp_path))


def test_the_column_of_a_letter_counts_from_the_line_not_from_the_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CHUNK", 7)
    with pytest.raises(TextError, match="line 2, column 101: 'L'"):
        list(blocks(write(tmp_path, b">a\n" + b"A" * 100 + b"L")))


def test_a_title_of_more_than_a_megabyte_is_refused(tmp_path):
    with pytest.raises(TextError, match="longer than a megabyte"):
        list(blocks(write(tmp_path, b">a\nAC\n>" + b"x" * (3 << 20))))


def test_a_long_line_is_read_in_little_memory(tmp_path):
    path = write(tmp_path, b">a\n" + b"ACGT" * (6 << 20))
    program = (
        "import sys, resource; from elman.text.dna_files import blocks\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert sum(len(block.codes) for block in blocks(sys.argv[1])) == 24 << 20\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 16 << 10  # KB, for 24 MB of bases
