"""A VCF is read line by line, and no byte changes that was not meant to."""

from __future__ import annotations

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import TextError
from elman.text import reading
from elman.text.vcf import Record, read_vcf, split_end, with_info_lines

HEADER = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
LINE = b"chr1\t7\trs1\tA\tC,GT\t.\tPASS\tDP=3;AF=0.5\n"


def read(tmp_path, data: bytes, name: str = "x.vcf") -> tuple[list[bytes], list[Record | bytes]]:
    (tmp_path / name).write_bytes(data)
    vcf = read_vcf(tmp_path / name)
    return vcf.header, list(vcf.body)


def refusal(tmp_path, data: bytes) -> TextError:
    with pytest.raises(TextError) as found:
        read(tmp_path, data)
    assert "x.vcf" in found.value.message and found.value.hint
    return found.value


def test_a_record_has_what_its_line_says(tmp_path):
    header, (record,) = read(tmp_path, HEADER + LINE)
    assert header == HEADER.splitlines(keepends=True)
    assert record == Record(LINE, 3, "chr1", 6, "A", ("C", "GT")) and record.place == "chr1:7"


FIELD = st.text(st.characters(min_codepoint=33, max_codepoint=300, exclude_characters=","), min_size=1)
ROW = st.tuples(FIELD, st.integers(0, 10**9), FIELD, st.text("ACGT", min_size=1), FIELD, FIELD, FIELD, FIELD, FIELD)


@given(
    rows=st.lists(ROW | st.just(()), max_size=5),
    chunk=st.integers(1, 30),
    end=st.sampled_from(["\n", "\r\n"]),
    final=st.booleans(),
)
def test_every_byte_of_a_vcf_comes_back(tmp_path_factory, rows, chunk, end, final):
    head = HEADER.decode().replace("INFO\n", "INFO\tFORMAT\n").replace("\n", end)
    data = (head + end.join("\t".join(map(str, row)) for row in rows) + end * final).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        header, body = read(tmp_path_factory.mktemp("v"), data)
    assert b"".join([*header, *(line if isinstance(line, bytes) else line.raw for line in body)]) == data
    records = [line for line in body if isinstance(line, Record)]
    assert [(r.chrom, r.position + 1, r.reference) for r in records] == [(r[0], r[1], r[3]) for r in rows if r]


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (b".", b"X=1;Y=."),
        (b"DP=3", b"DP=3;X=1;Y=."),
        (b"X=7", b"X=1;Y=."),
        (b"X=7;DP=3;Y=2;FLAG;XX=5;OLD=4", b"DP=3;FLAG;XX=5;X=1;Y=."),
        (b"X;DP=a=b", b"DP=a=b;X=1;Y=."),
    ],
)
@pytest.mark.parametrize("rest", [b"\n", b"\r\n", b"", b"\tGT:X=7\t0/1;X=7\n"])
def test_fields_of_info_are_added_and_replaced(info, expected, rest):
    start = b"c\t1\t.\tA\tC\t1e-3\t."
    record = Record(start + b"\t" + info + rest, 1, "c", 0, "A", ("C",))
    changed = record.with_info({"X": "1", "Y": "."}, replaced=["OLD"])
    assert changed == start + b"\t" + expected + rest
    again = Record(changed, 1, "c", 0, "A", ("C",))
    assert again.with_info({"X": "1", "Y": "."}, replaced=["OLD"]) == changed


FIELDS = {"X": 'Number=A,Type=Float,Description="x"'}
OURS = b'##INFO=<ID=X,Number=A,Type=Float,Description="x">'


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], []),
        ([b'##INFO=<ID=DP,Description="has, ID=X in it">'], [b"##contig=<ID=X>"]),
        ([b"##FORMAT=<ID=X>", b"##INFO=<ID=XX>", b"##odd", b"##INFO=<Number=1,ID=Y>"], [b'##FILTER=<ID="q">']),
    ],
)
def test_lines_of_info_stand_with_the_others_of_their_kind(before, after, end):
    old = [b'##INFO=<ID=X,Number=1,Description="old">', b"##INFO=<Number=1,ID=OLD>"]
    columns = HEADER.splitlines()[1]
    header = [line + end for line in [b"##fileformat=VCFv4.2", *old[:1], *before, *after, old[1], columns]]
    found = with_info_lines(header, FIELDS, replaced=["OLD"])
    middle = [*before, OURS, *after] if before else [*after, OURS]
    assert found == [line + end for line in [b"##fileformat=VCFv4.2", *middle, columns]]
    assert with_info_lines(found, FIELDS) == found


def test_the_end_of_a_line_is_kept_apart():
    assert [split_end(line) for line in (b"a\n", b"a\r\n", b"a\r", b"a\r\r\n")] == [
        (b"a", b"\n"),
        (b"a", b"\r\n"),
        (b"a\r", b""),
        (b"a\r", b"\r\n"),
    ]


def test_gzip_and_standard_input_are_read(tmp_path, monkeypatch):
    assert read(tmp_path, gzip.compress(HEADER + LINE), "x.vcf")[1][0].raw == LINE
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(HEADER + LINE)))
    vcf = read_vcf("-")
    assert vcf.name == "standard input" and [record.raw for record in vcf.body] == [LINE]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no header"),
        (LINE, "has no header"),
        (b">chr1\nACGT\n", "is FASTA"),
        (b"BCF\x02\x02", "is BCF"),
        (b"\xff\xfe#\0", "is UTF-16"),
        (b"##fileformat=VCFv4.2\n", "ends before its line #CHROM"),
        (b"##fileformat=VCFv4.2\n" + LINE, "line 2: a record, and no line #CHROM was before it"),
        (b"#CHROM\tPOS\tID\n", "line 1: the columns are not #CHROM POS ID REF ALT QUAL FILTER INFO"),
        (HEADER.replace(b"\t", b" "), "line 2: the columns are not"),
        (HEADER + b"chr1\t7\trs1\tA\tC\t.\tPASS\n", "line 3 has 7 columns, and the line #CHROM has 8"),
        (HEADER + LINE.replace(b"\t", b"  "), "line 3 has 1 columns"),
        (HEADER + LINE + LINE[:9], "line 4 has 3 columns"),
        (HEADER + LINE.replace(b"\n", b"\tGT\n"), "line 3 has 9 columns"),
        (HEADER + LINE.replace(b"\t7", b"\t7.5"), "line 3: POS is '7.5', and not a whole number"),
        (HEADER + LINE.replace(b"\t7", b"\t-7"), "line 3: POS is '-7'"),
        (HEADER + LINE.replace(b"\t7", b"\t."), "line 3: POS is '.'"),
        (HEADER + LINE.replace(b"\t7", "\t\u0667".encode()), "line 3: POS is"),
        (HEADER + LINE.replace(b"\tA\t", b"\t\t"), "line 3: REF is empty"),
        (HEADER + LINE.replace(b"chr1", b""), "line 3: CHROM is empty"),
        (HEADER + LINE.replace(b"chr1", b"\xff"), "line 3: a byte of CHROM, REF or ALT is not UTF-8"),
        (HEADER + HEADER, "line 3 has 1 columns"),
        (gzip.compress(HEADER + LINE)[:-9], "is a gzip file that is cut short"),
    ],
)
def test_a_malformed_vcf_is_one_sentence(data, sentence, tmp_path):
    assert sentence in refusal(tmp_path, data).message


def test_spaces_for_tabs_are_named(tmp_path):
    assert "tabs" in refusal(tmp_path, HEADER.replace(b"\t", b" ")).hint
    assert "tabs" in refusal(tmp_path, HEADER + LINE.replace(b"\t", b" ")).hint


def test_a_vcf_that_is_missing_is_named_with_its_neighbour(tmp_path):
    (tmp_path / "calls.vcf").write_bytes(HEADER)
    with pytest.raises(TextError, match=r"did you mean .*calls\.vcf"):
        read_vcf(tmp_path / "call.vcf")
