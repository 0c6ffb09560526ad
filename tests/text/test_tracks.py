"""Tracks: what bedGraph and bigWig hold of a value for each base, and files packed as bgzip packs them."""

from __future__ import annotations

import gzip
import io
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import ElmanError, MissingExtra, OutputError, TextError
from elman.text import bgzf
from elman.text.bgzf import BgzfWriter, check_end
from elman.text.reading import TextSource
from elman.text.tracks import Piece, is_bigwig, write_bedgraph, write_track
from elman.text.writing import writing


def bedgraph(*pieces: Piece) -> tuple[list[str], int]:
    out = io.BytesIO()
    total = write_bedgraph(out, pieces, name=None)
    return out.getvalue().decode().splitlines(), total


def piece(chrom: str, start: int, values: list[float]) -> Piece:
    return Piece(chrom, start, np.array(values, dtype=np.float64))


def slow_bedgraph(pieces: list[Piece]) -> list[str]:
    """The slow twin: base by base, printed values compared as text."""
    lines: list[list[object]] = []
    for part in pieces:
        for place, value in enumerate(part.values.tolist(), start=part.start):
            if math.isnan(value):
                continue
            printed = f"{round(value * 10_000) / 10_000 + 0:.4f}".replace("-0.0000", "0.0000")
            if lines and lines[-1][0] == part.chrom and lines[-1][2] == place and lines[-1][3] == printed:
                lines[-1][2] = place + 1
            else:
                lines.append([part.chrom, place, place + 1, printed])
    return ["\t".join(map(str, line)) for line in lines]


VALUES = st.sampled_from([0.0, -0.00001, 1.9, 1.90004, 1.90006, math.nan]) | st.floats(-1e4, 1e4)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.lists(VALUES, max_size=9)), max_size=6))
def test_a_bedgraph_is_runs_of_what_is_printed_alike(items):
    pieces, place = [], 0
    for chrom, gap, values in items:
        place += gap
        pieces.append(piece(chrom, place, values))
        place += len(values)
    lines, total = bedgraph(*pieces)
    assert lines == slow_bedgraph(pieces)
    assert total == sum(int(np.count_nonzero(~np.isnan(part.values))) for part in pieces)


def test_a_run_goes_on_from_piece_to_piece():
    parts = [piece("a", 0, [1, 1]), piece("a", 2, [1.00001]), piece("a", 3, []), piece("a", 3, [1, 2])]
    assert bedgraph(*parts)[0] == ["a\t0\t4\t1.0000", "a\t4\t5\t2.0000"]


def test_ambiguous_bases_are_left_out():
    lines, total = bedgraph(piece("a", 5, [math.nan, 2, math.nan, 2, math.nan]))
    assert lines == ["a\t6\t7\t2.0000", "a\t8\t9\t2.0000"] and total == 2
    assert bedgraph(piece("a", 0, [math.nan])) == ([], 0)


def test_an_infinite_value_is_named_with_its_place():
    with pytest.raises(ElmanError, match="base 12 of chr1 is infinite"):
        bedgraph(piece("chr1", 10, [1.0, math.inf]))


def test_the_line_of_the_track_holds_no_quotes_of_names():
    out = io.BytesIO()
    write_bedgraph(out, [], name='bits "per" base', description="a\nb")
    assert out.getvalue() == b'track type=bedGraph name="bits \'per\' base" description="a b"\n'


@pytest.mark.parametrize("name", ["t.bedGraph", "t.bedGraph.gz"])
def test_a_track_goes_to_a_file_packed_by_its_name(name, tmp_path):
    path = tmp_path / "new" / name
    assert write_track(path, [piece("a", 0, [1, 2])], lengths={"a": 2}, name="x") == 2
    data = path.read_bytes()
    text = gzip.decompress(data) if name.endswith(".gz") else data
    assert text == b'track type=bedGraph name="x" description=""\na\t0\t1\t1.0000\na\t1\t2\t2.0000\n'


def test_a_track_goes_to_standard_output(capfd):
    write_track("-", [piece("a", 0, [1])], lengths={"a": 1}, name=None)
    assert capfd.readouterr().out == "a\t0\t1\t1.0000\n"


def test_no_half_of_a_track_is_left(tmp_path):
    for name in ("t.bedGraph", "t.gz"):
        with pytest.raises(ElmanError):
            write_track(tmp_path / name, [piece("a", 0, [1]), piece("a", 1, [math.inf])], lengths={"a": 2})
    assert list(tmp_path.iterdir()) == []


def test_a_bigwig_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyBigWig", None)
    with pytest.raises(MissingExtra, match=r"elman\[bigwig\]"):
        write_track(tmp_path / "t.bw", [], lengths={"a": 2})
    assert list(tmp_path.iterdir()) == []


def test_names_of_bigwig_files():
    assert [is_bigwig(name) for name in ("a.bw", "a.bigWig", "a.bigwig", "a.bw.gz", "-")] == [True] * 3 + [False] * 2


LENGTHS = {"b": 50, "a": 7, "unused": 3}


def test_a_bigwig_holds_the_values_of_the_bedgraph(tmp_path):
    library = pytest.importorskip("pyBigWig", reason="the extra elman[bigwig] is not installed")
    values = [1.5, 1.5, math.nan, 2.25, 2.250001]
    parts = [piece("b", 3, values), piece("b", 8, [7.0]), piece("b", 20, [math.nan]), piece("a", 0, [3.0])]
    path = tmp_path / "t.bw"
    assert write_track(path, parts, lengths=LENGTHS) == 6
    file = library.open(str(path))
    assert file.chroms() == LENGTHS
    expected = np.full(50, math.nan)
    expected[3:8], expected[8] = np.round(values, 4), 7.0
    np.testing.assert_array_equal(file.values("b", 0, 50), expected)
    assert file.intervals("a") == ((0, 1, 3.0),)
    file.close()


def test_a_bigwig_of_regions_out_of_order_is_refused(tmp_path):
    pytest.importorskip("pyBigWig", reason="the extra elman[bigwig] is not installed")
    with pytest.raises(OutputError, match="cannot be written as bigWig") as found:
        write_track(tmp_path / "t.bw", [piece("a", 0, [3.0]), piece("b", 0, [3.0])], lengths=LENGTHS)
    assert "order" in found.value.hint and list(tmp_path.iterdir()) == []


def packed(data: bytes, *, step: int = 1000) -> bytes:
    out = io.BytesIO()
    writer = BgzfWriter(out)
    for at in range(0, len(data), step):
        writer.write(data[at : at + step])
    writer.close()
    return out.getvalue()


def blocks(data: bytes) -> list[bytes]:
    """Cut a file at the sizes that its blocks say, as tabix does."""
    found = []
    while data:
        assert data[12:16] == b"BC\x02\x00"
        size = struct.unpack("<H", data[16:18])[0] + 1
        found.append(data[:size])
        data = data[size:]
    return found


@given(data=st.binary(max_size=300), step=st.integers(1, 50))
def test_what_bgzip_packs_gzip_unpacks(data, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bgzf, "BLOCK", 64)
        found = packed(data, step=step)
    assert gzip.decompress(found) == data
    parts = blocks(found)
    assert parts[-1] == bgzf.END and all(len(gzip.decompress(part)) <= 64 for part in parts)


def test_a_block_that_cannot_be_made_smaller_still_fits():
    data = np.random.default_rng(0).bytes(200_000)
    parts = blocks(packed(data))
    assert b"".join(map(gzip.decompress, parts)) == data and len(parts) == 5


def test_a_bgzip_file_cut_between_blocks_is_noticed(tmp_path: Path):
    data = packed(b"text\n" * 30_000)
    for name, content, cut in (
        ("whole", data, False),
        ("cut", data[: -len(bgzf.END)], True),
        ("gzip", gzip.compress(b"text"), False),
        ("text", b"text", False),
        ("empty", b"", False),
    ):
        (tmp_path / name).write_bytes(content)
        if cut:
            with pytest.raises(TextError, match="bgzip file that is cut short"):
                check_end(TextSource(tmp_path / name))
        else:
            check_end(TextSource(tmp_path / name))


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.gz"
    with pytest.raises(KeyError), writing(path) as sink:
        sink.write(b"half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
