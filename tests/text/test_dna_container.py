"""A FASTA file comes back byte for byte, whatever it looks like."""

from __future__ import annotations

import hashlib
import io
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elman.errors import TextError
from elman.text import dna_layout
from elman.text.dna_container import MAGIC, checked, open_container, writing_container
from elman.text.dna_layout import Layout, unpack
from elman.text.dna_packing import pack
from elman.text.range_coder import Decoder, Encoder, ideal_bits, quantize
from elman.text.writing import writing

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dna"


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def round_trip(data: bytes, size: int = 1 << 20) -> tuple[Layout, np.ndarray, bytes]:
    layout, codes = pack(pieces(data, size), name="x.fa")
    layout = Layout.from_dict(layout.as_dict())
    return layout, codes, b"".join(checked(unpack(layout, codes), layout))


def slow_codes(data: bytes) -> list[int]:
    """The slow twin: the bases of a file, letter by letter."""
    lines = [line for line in re.split(b"\r?\n", data) if line[:1] not in (b">", b";")]
    return ["ACGT".index(chr(byte).upper()) for line in lines for byte in line if byte in b"ACGTacgt"]


TEXTS = st.binary(max_size=12).map(lambda text: b">" + text.replace(b"\n", b" ").rstrip(b"\r"))
SEQUENCES = st.text("ACGTacgtNnRyU-*. ", max_size=9).map(str.encode) | st.sampled_from([b"", b"ACGTA", b"N" * 30])
LINES = st.lists(st.tuples(TEXTS | SEQUENCES | SEQUENCES, st.sampled_from([b"\n", b"\n", b"\r\n"])), min_size=1)


@given(lines=LINES, final=st.booleans(), size=st.integers(1, 40))
def test_nasty_fasta_comes_back_byte_for_byte(lines, final, size):
    data = b"".join(text + end for text, end in lines)
    data = data if final or lines[-1][0] == b"" else data.removesuffix(lines[-1][1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dna_layout, "PIECE", size)
        layout, codes, back = round_trip(data, size)
    assert back == data
    assert codes.tolist() == slow_codes(data) and layout.bases == len(codes)
    assert layout.sha256 == hashlib.sha256(data).hexdigest()


@given(data=st.lists(st.sampled_from([*b">;ACGTacgtNn\n\n\r ", 0, 255]), min_size=1).map(bytes), size=st.integers(1, 9))
@example(data=b"\r", size=1)
@example(data=b"\n", size=1)
@example(data=b">", size=1)
@example(data=b"A\r\n\r\n>\r\n", size=1)
@example(data=b">a\r>b\n", size=1)
def test_any_bytes_come_back_or_are_refused_in_one_sentence(data, size):
    try:
        _, _, back = round_trip(data, size)
    except TextError as error:
        assert re.fullmatch(r"x\.fa, line \d+: .* cannot be in a sequence of bases", error.message), error.message
        assert int(re.search(r"line (\d+)", error.message)[1]) <= data.count(b"\n") + 1
    else:
        assert back == data


@given(lines=LINES, size=st.integers(1, 40))
def test_the_layout_does_not_depend_on_where_chunks_end(lines, size):
    data = b"".join(text + end for text, end in lines)
    assert round_trip(data, size)[0] == round_trip(data)[0]


def test_a_wrapped_record_is_a_few_numbers():
    data = b">chr1 a genome\n" + b"ACGTACGTAC\n" * 1000 + b"nnnNN\n"
    layout, codes, _ = round_trip(data)
    assert layout.texts == [">chr1 a genome"] and layout.lines == [[10, 1000, 5, 1]]
    assert (layout.ends, layout.open_end) == ([1002], False)
    assert (layout.lower, layout.others) == ([10_000, 3, 2], [10_000, ord("N"), 5])
    assert len(codes) == 10_000


def test_many_short_records_come_back():
    data = b"".join(b">read %d\nACGTTGCA\n" % i for i in range(10_000))
    assert round_trip(data)[2] == data


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b">a\nACGT\nMKVL\n", "x.fa, line 3: 'L' cannot be in a sequence of bases"),
        (b">a\nAC\n\nG>T\n", "x.fa, line 4: '>' cannot be in a sequence of bases"),
        (b">a\nAC\rGT\n", "x.fa, line 2: a carriage return that no line feed follows cannot be"),
        (b">a\nACGT\r", "x.fa, line 2: a carriage return that no line feed follows cannot be"),
        (b"@r\nACGT\n+\nIIII\n", "x.fa looks like FASTQ: line 1 begins with '@'"),
        (b"\x00\x01", "x.fa, line 1: byte 0x00 cannot be"),
        (b"", "x.fa is empty"),
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_no_layout_describes_is_refused(data, sentence, size):
    with pytest.raises(TextError) as found:
        pack(pieces(data, size), name="x.fa")
    assert found.value.message.startswith(sentence) and found.value.hint


def test_the_phages_come_back():
    for name in ("lambda_NC_001416.fa", "sarscov2_MN908947.3.fa"):
        if not (SHARED / name).exists():
            pytest.skip("the shared genomes are not in ../shared/data/dna")
        data = (SHARED / name).read_bytes()
        assert round_trip(data)[2] == data


def write(path: Path, data: bytes, coded: bytes) -> None:
    layout, _ = pack([data], name="x.fa")
    with writing(path) as sink, writing_container(sink, layout, {"model": "m", "blocks": [1, 2]}) as put:
        for piece in pieces(coded, 5):
            put(piece)


class Adaptive:
    """Counts of bases after the three before, which coder and decoder both learn as they go."""

    def __init__(self) -> None:
        self.counts = np.ones((64, 4))
        self.context = 0

    def frequencies(self) -> np.ndarray:
        row = self.counts[self.context]
        return quantize(row[None] / row.sum())

    def learn(self, code: int) -> None:
        self.counts[self.context, code] += 1
        self.context = (self.context * 4 + code) % 64


def test_a_genome_comes_back_through_model_coder_and_container(tmp_path):
    rng = np.random.default_rng(0)
    letters = rng.choice(list(b"AAAACGTacgtN"), 4000).astype(np.uint8).tobytes()
    data = b">a phage\r\n" + b"\r\n".join(pieces(letters, 70))
    layout, codes = pack([data], name="x.fa")
    model, bits = Adaptive(), 0.0
    with writing(tmp_path / "x") as sink, writing_container(sink, layout, {"model": "counts"}) as put:
        encoder = Encoder(put)
        for code in codes.tolist():
            row = model.frequencies()
            bits += ideal_bits(np.array([code], dtype=np.uint8), row)
            encoder.encode_all(np.array([code], dtype=np.uint8), row)
            model.learn(code)
        encoder.finish()

    found = open_container(tmp_path / "x")
    assert bits / 8 <= found.coded_bytes <= bits / 8 * 1.001 + 8
    model, back, decoder = Adaptive(), [], Decoder(found.read)
    for _ in range(found.layout.bases):
        back.append(int(decoder.decode_all(model.frequencies())[0]))
        model.learn(back[-1])
    decoder.finish()
    assert b"".join(checked(unpack(found.layout, np.array(back, dtype=np.uint8)), found.layout)) == data


def test_a_container_holds_layout_facts_and_coded_bases(tmp_path):
    data, coded = b">a\nACGTN\n", bytes(range(100))
    write(tmp_path / "x", data, coded)
    found = open_container(tmp_path / "x")
    assert found.facts == {"model": "m", "blocks": [1, 2]} and found.coded_bytes == 100
    assert found.layout == pack([data], name="x.fa")[0]
    assert found.read(7) + found.read(1000) + found.read(1000) == coded and found.read(1) == b""


def test_a_container_cut_or_changed_anywhere_is_refused(tmp_path):
    write(tmp_path / "x", b">a\nACGTN\n", b"abc")
    data = (tmp_path / "x").read_bytes()
    for size in range(len(data)):
        (tmp_path / "y").write_bytes(data[:size])
        with pytest.raises(TextError, match=r"cut short|is empty|is not a file of elman dna compress"):
            open_container(tmp_path / "y")
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        (tmp_path / "y").write_bytes(changed)
        with pytest.raises(TextError, match=r"damaged|is not a file of elman dna compress"):
            open_container(tmp_path / "y")


def resealed(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()


def test_a_container_of_a_newer_version_is_named(tmp_path):
    write(tmp_path / "x", b">a\nACGTN\n", b"abc")
    data = bytearray((tmp_path / "x").read_bytes()[:-32])
    data[8] = 9
    (tmp_path / "x").write_bytes(resealed(bytes(data)))
    with pytest.raises(TextError, match="version 9 of the format, and this elman reads 1"):
        open_container(tmp_path / "x")


@pytest.mark.parametrize("header", [b"", b"no xz", b"\xfd7zXZ"])
def test_a_header_that_is_none_is_named(header, tmp_path):
    start = MAGIC + (1).to_bytes(4, "little") + len(header).to_bytes(8, "little")
    (tmp_path / "x").write_bytes(resealed(start + header))
    with pytest.raises(TextError, match=r"the header of .* is damaged"):
        open_container(tmp_path / "x")


@pytest.mark.parametrize(
    "change",
    [
        {"lines": [[10, 1]]},
        {"lines": [[2, 1]]},
        {"lines": [[4]]},
        {"lines": [[-4, 1]]},
        {"lines": []},
        {"lines": None},
        {"texts": [1]},
        {"ends": [5]},
        {"lower": [1, 99]},
        {"others": [0, 78, 7]},
        {"others": [0, 780, 7]},
        {"others": [0]},
        {"bases": 3},
        {"bases": "4"},
        {"bases": True},
        {"sha256": "00"},
        {"more": 1},
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(change):
    layout, codes = pack([b">a\nACGT\n"], name="x.fa")
    with pytest.raises(TextError):
        wrong = Layout.from_dict(layout.as_dict() | change)
        b"".join(checked(unpack(wrong, codes), wrong))


def test_codes_other_than_those_packed_are_noticed():
    layout, codes = pack([b">a\nACGT\n"], name="x.fa")
    with pytest.raises(TextError, match="not those that were compressed"):
        b"".join(checked(unpack(layout, codes[::-1]), layout))


def test_a_container_is_read_through_a_stream(tmp_path):
    """Coded bases of megabytes are not held in memory."""
    layout, _ = pack([b">a\nACGT\n"], name="x.fa")
    out = io.BytesIO()
    with writing_container(out, layout, {}) as put:
        put(bytes(20_000_000))
    (tmp_path / "x").write_bytes(out.getvalue())
    del out
    tracemalloc.start()
    found = open_container(tmp_path / "x")
    total = 0
    while data := found.read(1 << 16):
        total += len(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 20_000_000 and peak < 13_000_000  # 8 of them are the dictionary of xz
