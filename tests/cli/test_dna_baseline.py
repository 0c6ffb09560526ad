"""`elman dna baseline`: what it prints when all is well, and what it says when not."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elman.ngram.markov import bits_per_base, fit
from elman.text.dna import decode, encode

from .commandline import Elman


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))


def sequence(length: int, seed: int) -> str:
    """Bases of which each is likely the one two before it."""
    draw = np.random.default_rng(seed)
    bases = draw.integers(0, 4, length)
    for place in np.flatnonzero(draw.random(length) < 0.6):
        bases[place] = bases[place - 2] if place > 1 else bases[place]
    return decode(bases.astype(np.uint8))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "two.fa"
    path.write_text(f">one x\n{sequence(3000, 1)}\n>two\n{sequence(900, 2).lower()}NNNNN{sequence(95, 3)}\n")
    return path


@pytest.mark.parametrize("arguments", [[], ["baseline"]])
def test_every_command_has_help(arguments: list[str], elman: Elman) -> None:
    result = elman("dna", *arguments, *(["--help"] if arguments else []))
    assert result.code == 0 and "Usage: elman dna" in result.out
    assert not arguments or "--json" in result.out


def test_the_last_tenth_is_held_out_and_the_best_order_is_marked(elman: Elman, fasta: Path) -> None:
    result = elman("dna", "baseline", fasta, "--order", "0,2,6")
    head, *rows = [line.split("\t") for line in result.out.splitlines()]
    assert (result.code, head) == (0, ["order", "bits_per_base", "alpha", "best"])
    assert [row[0] for row in rows] == ["0", "2", "6"] and [row[3] for row in rows] == ["", "*", ""]
    assert "trained on one:1-3000, two:1-600 (3,600 bases)" in result.err
    assert "held out two:601-1000 (400 bases)" in result.err
    assert "395 bases were predicted, 5 ambiguous ones left out" in result.err
    codes = [encode(line) for line in fasta.read_text().splitlines()[1::2]]
    expected = bits_per_base(fit([codes[0], codes[1][:600]], 2).log_probs(codes[1][600:]))
    assert rows[1][1] == f"{expected:.4f}"


def test_json_holds_all_that_is_printed(elman: Elman, fasta: Path) -> None:
    text = elman("dna", "baseline", fasta, "--holdout", "two")
    values = json.loads(elman("dna", "baseline", fasta, "--holdout", "two", "--json").out)
    assert (values["bases"], values["skipped"], values["training_bases"]) == (995, 5, 3000)
    assert (values["file"], values["holdout"], values["held_out"]) == (str(fasta), "two", ["two:1-1000"])
    rows = [line.split("\t") for line in text.out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [[str(o["order"]), f"{o['bits_per_base']:.4f}"] for o in values["orders"]]
    assert [o["order"] for o in values["orders"]] == list(range(8))  # 4^7 contexts are at most 16 times 3000
    best = min(values["orders"], key=lambda each: each["bits_per_base"])
    assert {key: values[key] for key in best} == best and values["reverse_complement"] is True


def test_one_strand_gives_other_numbers_than_both(elman: Elman, fasta: Path) -> None:
    one, both = (
        json.loads(elman("dna", "baseline", fasta, *flags, "--order", 3, "--json").out)
        for flags in (["--forward-only"], [])
    )
    assert one["reverse_complement"] is False and one["bits_per_base"] != both["bits_per_base"]


def test_alpha_is_taken_as_given(elman: Elman, fasta: Path) -> None:
    values = json.loads(elman("dna", "baseline", fasta, "--alpha", 0.0625, "--order", 3, "--json").out)
    assert values["alpha"] == 0.0625


def test_regions_and_bed_limit_what_is_read(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    region = elman("dna", "baseline", fasta, "--region", "one:1,001-2,000", "--order", 2)
    assert "trained on one:1001-1900 (900 bases)" in region.err and "held out one:1901-2000" in region.err
    (tmp_path / "r.bed").write_text("one\t1000\t1600\tx\t0\t+\none\t1500\t2000\n")
    bed = elman("dna", "baseline", fasta, "--bed", tmp_path / "r.bed", "--order", 2)
    assert (bed.out, bed.err) == (region.out, region.err)


def test_standard_input_packed_or_not_is_the_file(fasta: Path, elman: Elman) -> None:
    expected = elman("dna", "baseline", fasta, "--order", "1,2").out
    for data in (fasta.read_bytes(), gzip.compress(fasta.read_bytes())):
        command = [sys.executable, "-m", "elman", "dna", "baseline", "-", "--order", "1,2"]
        done = subprocess.run(command, input=data, capture_output=True, check=True)
        assert done.stdout.decode() == expected


def test_meme_writes_a_background_of_all_bases(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman("dna", "baseline", fasta, "--order", 1, "--meme", tmp_path / "bg")
    assert result.code == 0 and "a background model of order 1, from all 4,000 bases" in result.err
    text = (tmp_path / "bg").read_text()
    probs = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    letters = "".join(fasta.read_text().splitlines()[1::2]).upper()
    share = (letters.count("A") + letters.count("T")) / 2 / (len(letters) - 5)  # of both strands
    assert float(probs["A"]) == pytest.approx(share, abs=1e-6) and probs["A"] == probs["T"]
    to_stdout = elman("dna", "baseline", fasta, "--order", 1, "--meme", "-")
    assert to_stdout.out == text and "bits_per_base" in to_stdout.err


def test_meme_takes_the_best_order_and_no_more_than_6(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    best = json.loads(elman("dna", "baseline", fasta, "--json", "--meme", tmp_path / "bg").out)["order"]
    assert (tmp_path / "bg").read_text().count("# order") == best + 1
    periodic = tmp_path / "periodic.fa"
    periodic.write_text(">p\n" + sequence(400, 5) * 20)
    assert json.loads(elman("dna", "baseline", periodic, "--json", "--meme", tmp_path / "high").out)["order"] > 6
    assert (tmp_path / "high").read_text().count("# order") == 7


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--order", "13"], 2, "order 13 cannot be"),
        (["--order", "2,x"], 2, "'x' is no whole number"),
        (["--order", ""], 2, "is no whole number"),
        (["--alpha", "0"], 2, "alpha = 0.0 cannot be"),
        (["--holdout", "three"], 2, "no record 'three'"),
        (["--holdout", "2"], 2, "no share between 0 and 1"),
        (["--holdout", "one:1-4000"], 2, "past the end: one has 3000 bases"),
        (["--region", "one", "--bed", "x.bed"], 2, "--region and --bed cannot be given together"),
        (["--region", "one:5"], 0, ""),
        (["--bed", "none.bed"], 1, "none.bed does not exist"),
        (["--meme", ""], 2, "the path to write to is empty"),
        (["--meme", "-", "--json"], 2, "standard output cannot take both"),
        (["--meme", "."], 1, ". is a folder"),
        (["--ordr", "2"], 2, "there is no flag --ordr"),
    ],
)
def test_a_mistake_is_one_sentence(flags: list[str], code: int, message: str, elman: Elman, fasta: Path) -> None:
    result = elman("dna", "baseline", fasta, *flags)
    assert result.code == code
    assert not code or message in result.sentence


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b">a\nMKVLAT\n", "line 2, column 4: 'L' is no base"),
        (b">a\nAC\n>a\nAC\n", "two records have the name 'a', at line 1 and at line 3"),
        (gzip.compress(b">a\n" + b"ACGT" * 99)[:-9], "cut short"),
        (b"@a\nAC\n+\nI\n", "2 bases and 1 qualities"),
        (b">a\nA\n", "leaves nothing to hold out"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(data: bytes, message: str, elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "wrong.fa").write_bytes(data)
    result = elman("dna", "baseline", tmp_path / "wrong.fa")
    assert result.code in (1, 2) and message in result.sentence and not result.out


def test_standard_input_cannot_be_two_things(elman: Elman) -> None:
    result = elman("dna", "baseline", "-", "--bed", "-")
    assert result.code == 2 and "standard input cannot be both" in result.sentence


def test_dna_needs_no_torch(fasta: Path) -> None:
    program = (
        "import sys; from elman.cli.main import run; code = run(sys.argv[1:]); sys.exit(code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, "dna", "baseline", str(fasta), "--order", "2"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
