"""`elman dna compress` and `decompress`: what they print and write when all is well, and what they say when not."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from elman.apply import dna_compress
from elman.cli import dna_compress as commands
from elman.learn.bases import BaseLearner

from .commandline import Elman

SETS = [
    "--set=network.hidden=4",
    "--set=network.ngrams=[2,3]",
    "--set=network.counts=[1,2,13]",
    "--set=batch=4",
    "--set=bptt=16",
]


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    text = "".join("ACGT"[base] for base in draw.integers(0, 4, 300))
    path = tmp_path / "x.fa"
    path.write_bytes(f">one a title\r\n{text[:200]}\nNN{text[200:].lower()}\n>two\n".encode())
    return path


@pytest.fixture
def packed(elman: Elman, fasta: Path) -> Path:
    path = fasta.with_suffix(".elm")
    assert elman("dna", "compress", fasta, "--out", path, *SETS).code == 0
    return path


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_both_have_help(command: str, elman: Elman) -> None:
    result = elman("dna", command, "--help")
    assert result.code == 0 and f"Usage: elman dna {command}" in result.out and "--model" in result.out


def test_a_file_comes_back_and_the_numbers_are_said(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman("dna", "compress", fasta, "--out", tmp_path / "x.elm", *SETS)
    size = (tmp_path / "x.elm").stat().st_size
    assert result.code == 0 and not result.out
    assert result.err.startswith("300 bases and 2 other letters: ")
    assert f"bits a base, {fasta.stat().st_size} bytes became {size:,};" in result.err
    result = elman("dna", "decompress", tmp_path / "x.elm", "--out", tmp_path / "y.fa")
    assert result.code == 0 and result.err.startswith("300 bases came back as they were; ")
    assert (tmp_path / "y.fa").read_bytes() == fasta.read_bytes()
    assert left(tmp_path) == ["x.elm", "x.fa", "y.fa"]


def test_json_holds_the_numbers(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.elm"
    values = json.loads(elman("dna", "compress", fasta, "--out", out, *SETS, "--json").out)
    assert (values["bases"], values["skipped"], values["records"]) == (300, 2, 2)
    assert values["bytes"] == out.stat().st_size and values["fasta_bytes"] == fasta.stat().st_size
    assert values["ratio"] == pytest.approx(values["fasta_bytes"] / values["bytes"])
    assert 1.5 < values["bits_per_base"] < 2.6 and values["seconds"] > 0
    assert abs(values["coded_bytes"] - values["bits_per_base"] * 300 / 8) < 9


def test_a_pipe_and_gzip_are_read_and_a_file_is_written_over(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    (tmp_path / "x.fa.gz").write_bytes(gzip.compress(fasta.read_bytes()))
    (tmp_path / "x.elm").write_text("old")
    assert elman("dna", "compress", tmp_path / "x.fa.gz", "--out", tmp_path / "x.elm", *SETS).code == 0
    result = elman("dna", "decompress", tmp_path / "x.elm")
    assert result.code == 0 and result.out.encode() == fasta.read_bytes()
    assert elman("dna", "decompress", tmp_path / "x.elm", "--out", tmp_path / "y.fa.gz").code == 0
    assert gzip.decompress((tmp_path / "y.fa.gz").read_bytes()) == fasta.read_bytes()


def test_a_file_without_a_base_has_no_bits_per_base(elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "n.fa").write_text(">n\nNNN\n")
    result = elman("dna", "compress", tmp_path / "n.fa", "--out", tmp_path / "n.elm", *SETS, "--json")
    assert json.loads(result.out)["bits_per_base"] is None
    assert elman("dna", "decompress", tmp_path / "n.elm").out == ">n\nNNN\n"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"\x00\x01\x02", "line 1: byte 0x00 cannot be in a sequence of bases"),
        (b">p\nMKVLAAG\n", "line 2: 'L' cannot be in a sequence of bases"),
        (b"@r\nACGT\n+\nIIII\n", "looks like FASTQ"),
        (gzip.compress(b">a\nACGT\n" * 99)[:-12], "cut short"),
    ],
)
def test_what_cannot_be_compressed_is_said_in_a_sentence(
    data: bytes | None, sentence: str, elman: Elman, tmp_path: Path
) -> None:
    path = tmp_path / "x.fa"
    if data is not None:
        path.write_bytes(data)
    before = left(tmp_path)
    result = elman("dna", "compress", path, "--out", tmp_path / "x.elm", *SETS)
    assert result.code == 1 and sentence in result.sentence and str(path) in result.sentence
    assert left(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--recipe", "chars"], "unit char cannot compress DNA"),
        (["--set", "cell=lstm"], "network.cell"),
        (["--set", "speed=3"], "there is no setting 'speed'"),
        (["--set", "hidden=8", "--model", "m"], "network.hidden and --model cannot be given together"),
        (["--out", "-", "--json"], "standard output cannot take both"),
        (["--out", ""], "the path to write to is empty"),
        (["--recipe", "dns"], "there is no recipe 'dns'"),
    ],
)
def test_wrong_usage_is_said_with_exit_code_2(
    arguments: list[str], sentence: str, elman: Elman, fasta: Path, tmp_path: Path
) -> None:
    given = ["--out", str(tmp_path / "x.elm"), *arguments]
    result = elman("dna", "compress", fasta, *given)
    assert result.code == 2 and sentence in result.sentence
    assert left(tmp_path) == ["x.fa"]


def test_a_terminal_is_spared_bytes(elman: Elman, fasta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    result = elman("dna", "compress", fasta, *SETS)
    assert result.code == 2 and "the compressed file is no text for a terminal" in result.sentence


def damaged(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def test_a_damaged_cut_or_foreign_file_is_refused(elman: Elman, packed: Path, fasta: Path, tmp_path: Path) -> None:
    good = packed.read_bytes()
    cases = [(damaged(good, at), "is cut short or damaged") for at in (25, len(good) - 80, len(good) - 1)]
    cases += [(good[:-1], "is cut short or damaged"), (good[:11], "is cut short or damaged"), (b"", "is empty")]
    cases += [(fasta.read_bytes(), "is not a file of elman dna compress")]
    for data, sentence in cases:
        packed.write_bytes(data)
        result = elman("dna", "decompress", packed, "--out", tmp_path / "y.fa")
        assert result.code == 1 and sentence in result.sentence and str(packed) in result.sentence
    packed.unlink()
    assert "does not exist" in elman("dna", "decompress", packed).sentence
    assert left(tmp_path) == ["x.fa"]


def test_bases_that_came_back_wrong_are_not_written(
    elman: Elman, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = dna_compress.surroundings()
    monkeypatch.setattr(dna_compress, "surroundings", lambda: here | {"torch": "0.1", "instructions": "ABACUS"})
    original = dna_compress.new_contexts

    def other(*given: object) -> object:
        contexts = original(*given)
        contexts.weights *= 1.01
        return contexts

    fine = elman("dna", "decompress", packed, "--out", tmp_path / "y.fa")
    said = f"compressed with torch {here['torch']} (here 0.1), instructions {here['instructions']} (here ABACUS)"
    assert fine.code == 0 and fine.err.splitlines()[0] == f"{said}: it may not come back"
    (tmp_path / "y.fa").write_text("old")
    monkeypatch.setattr(dna_compress, "new_contexts", other)
    result = elman("dna", "decompress", packed, "--out", tmp_path / "y.fa")
    assert result.code == 1 and "Traceback" not in result.err and not result.out
    warning, sentence, hint = result.err.splitlines()
    assert warning == fine.err.splitlines()[0]
    assert "not those that were compressed, which another processor" in sentence and "nothing is written" in sentence
    assert hint == f"  hint: it was {said}"
    assert (tmp_path / "y.fa").read_text() == "old" and left(tmp_path) == ["x.elm", "x.fa", "y.fa"]


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_an_interrupt_leaves_nothing_behind(
    command: str, elman: Elman, packed: Path, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = BaseLearner.learn

    def interrupted(self: BaseLearner, codes: np.ndarray, *, alpha: float) -> None:
        calls.append(len(codes))
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(self, codes, alpha=alpha)

    monkeypatch.setattr(BaseLearner, "learn", interrupted)
    file = [fasta, *SETS] if command == "compress" else [packed]
    result = elman("dna", command, *file, "--out", tmp_path / "y")
    assert result.code == 130 and "Traceback" not in result.err and len(calls) == 3
    assert left(tmp_path) == ["x.elm", "x.fa"]


def test_progress_is_a_line_now_and_then_and_can_be_left_out(
    elman: Elman, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "SECONDS_BETWEEN_LINES", 0.0)
    result = elman("dna", "compress", fasta, "--out", tmp_path / "x.elm", *SETS)
    assert "compressing:  21%, " in result.err and "compressing: 100%, " in result.err
    result = elman("dna", "compress", fasta, "--out", tmp_path / "x.elm", *SETS, "--quiet")
    assert len(result.err.splitlines()) == 1
