"""`elman dna score` and `elman dna generate`: what they print when all is well, and what they say when not."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from elman.apply.dna import Strand
from elman.cli.dna_generate import wrapped
from elman.cli.main import run
from elman.network.bases_folder import load_base_model
from elman.text.dna import decode, encode, reverse_complement

from .commandline import Elman

RECIPE = """
about = "tiny"
[text]
unit = "dna"
[network]
encoder = "n-gram"
ngrams = [2]
counts = [1, 2, 4]
hidden = 4
activation = "tanh"
[learn]
optimizer = "adam"
alpha = 0.01
batch = 8
bptt = 8
epochs = 1
schedule = "linear"
threads = 1
"""


def sequence(length: int, seed: int) -> str:
    """Bases of which each is likely the one two before it."""
    draw = np.random.default_rng(seed)
    bases = draw.integers(0, 4, length)
    for place in np.flatnonzero(draw.random(length) < 0.6):
        bases[place] = bases[place - 2] if place > 1 else bases[place]
    return decode(bases.astype(np.uint8))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.fa, two.fa, the recipe tiny.toml and a model of it."""
    folder = tmp_path_factory.mktemp("dna")
    (folder / "train.fa").write_text(f">one\n{sequence(3000, 1)}\n")
    (folder / "two.fa").write_text(
        f">one x\n{sequence(400, 2)}\n>two\n{sequence(150, 3).lower()}NNR{sequence(47, 4)}\n"
    )
    (folder / "tiny.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(folder / "cache"))
        arguments = [
            "train",
            folder / "train.fa",
            "--recipe",
            folder / "tiny.toml",
            "--out",
            folder / "model",
            "--quiet",
        ]
        assert run(list(map(str, arguments))) == 0
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model(room: Path) -> Path:
    return room / "model"


@pytest.fixture
def fasta(room: Path) -> Path:
    return room / "two.fa"


def expected(model: Path, text: str, *, strands: str = "both") -> np.ndarray:
    """-log2 of the probability of each base, both strands at once by themselves."""
    loaded, codes, values = load_base_model(model), encode(text), []
    for each in (codes, reverse_complement(codes)):
        strand = Strand(loaded)
        strand.begin()
        values.append(-strand.read(each) / math.log(2))
    return values[0] if strands == "forward" else (values[0] + values[1][::-1]) / 2


def records(fasta: Path) -> list[str]:
    return fasta.read_text().splitlines()[1::2]


def test_a_row_a_record_and_one_for_all(elman: Elman, model: Path, fasta: Path) -> None:
    result = elman("dna", "score", model, fasta)
    head, *rows = [line.split("\t") for line in result.out.splitlines()]
    assert (result.code, head) == (0, ["region", "bases", "skipped", "bits_per_base", "baseline"])
    values = [expected(model, text) for text in records(fasta)]
    bits = [np.nanmean(each) for each in (*values, np.concatenate(values))]
    assert [row[:3] for row in rows] == [["one", "400", "0"], ["two", "197", "3"], ["total", "597", "3"]]
    assert [row[3] for row in rows] == [f"{each:.4f}" for each in bits]
    assert all(1 < float(row[4]) < 2 for row in rows)
    assert "baseline: order-" in result.err and "600 bases in" in result.err


def test_json_has_the_whole_and_each_record(elman: Elman, model: Path, fasta: Path) -> None:
    facts = json.loads(elman("dna", "score", model, fasta, "--json").out)
    rows = [line.split("\t") for line in elman("dna", "score", model, fasta).out.splitlines()[1:]]
    assert (facts["bases"], facts["skipped"], facts["file"]) == (597, 3, str(fasta))
    assert (facts["strands"], facts["ambiguous"], facts["adapt"], facts["circular"]) == ("both", "skip", False, False)
    assert [f"{each['bits_per_base']:.4f}" for each in (*facts["records"], facts)] == [row[3] for row in rows]
    assert [each["record"] for each in facts["records"]] == ["one", "two"]
    assert [(each["start"], each["end"]) for each in facts["records"]] == [(0, 400), (0, 200)]
    assert f"{facts['baseline']['bits_per_base']:.4f}" == rows[-1][4]
    assert f"{facts['records'][0]['baseline_bits_per_base']:.4f}" == rows[0][4]
    plain = json.loads(elman("dna", "score", model, fasta, "--json", "--no-baseline").out)
    assert "baseline" not in plain and plain["bits_per_base"] == facts["bits_per_base"]


def test_regions_and_bed_are_scored_by_themselves(elman: Elman, model: Path, fasta: Path, tmp_path: Path) -> None:
    region = elman("dna", "score", model, fasta, "--region", "one:11-210", "--no-baseline").out.splitlines()
    bits = f"{expected(model, records(fasta)[0][10:210]).mean():.4f}"
    assert region[1:] == [f"one:11-210\t200\t0\t{bits}", f"total\t200\t0\t{bits}"]
    (tmp_path / "r.bed").write_text("two\t150\t152\tgap\none\t10\t210\tgene\ntwo\t5\t5\n")
    facts = json.loads(elman("dna", "score", model, fasta, "--bed", tmp_path / "r.bed", "--json").out)
    assert [each.get("label") for each in facts["records"]] == ["gap", "gene", None]
    assert [each["bits_per_base"] is None for each in facts["records"]] == [True, False, True]
    assert f"{facts['records'][1]['bits_per_base']:.4f}" == f"{facts['bits_per_base']:.4f}" == bits


def test_a_track_has_the_bits_of_each_base(elman: Elman, model: Path, fasta: Path, tmp_path: Path) -> None:
    result = elman("dna", "score", model, fasta, "--per-base", tmp_path / "t.bedgraph.gz", "--strands", "forward")
    assert result.code == 0 and "bits of 597 bases" in result.err and "total" in result.out
    head, *lines = gzip.decompress((tmp_path / "t.bedgraph.gz").read_bytes()).decode().splitlines()
    assert "-log2 of the probability of each base, the forward strand" in head
    found = {name: np.full(400, np.nan) for name in ("one", "two")}
    for name, start, end, value in (line.split("\t") for line in lines):
        found[name][int(start) : int(end)] = float(value)
    for name, text in zip(found, records(fasta), strict=True):
        bits = expected(model, text, strands="forward")
        np.testing.assert_allclose(found[name][: len(text)], bits, atol=6e-5)
    to_stdout = elman("dna", "score", model, fasta, "--per-base", "-", "--strands", "forward")
    assert to_stdout.out.splitlines() == [head, *lines] and "total\t597" in to_stdout.err


def test_a_bigwig_holds_the_same_bits(elman: Elman, model: Path, fasta: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("pyBigWig", reason="the extra elman[bigwig] is not installed")
    assert elman("dna", "score", model, fasta, "--per-base", tmp_path / "t.bw").code == 0
    with library.open(str(tmp_path / "t.bw")) as track:
        found = np.array(track.values("one", 0, 400))
    np.testing.assert_allclose(found, expected(model, records(fasta)[0]), atol=6e-5)


def test_standard_input_packed_is_the_file(
    elman: Elman, model: Path, fasta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(fasta.read_bytes()))))
    assert elman("dna", "score", model, "-").out == elman("dna", "score", model, fasta).out


def test_ambiguous_bases_can_be_summed(elman: Elman, model: Path, fasta: Path) -> None:
    facts = json.loads(elman("dna", "score", model, fasta, "--ambiguous", "sum", "--json", "--threads", 1).out)
    assert (facts["bases"], facts["skipped"]) == (600, 0)
    assert math.isfinite(facts["bits_per_base"]) and math.isfinite(facts["baseline"]["bits_per_base"])


def test_bases_that_were_trained_on_are_said(elman: Elman, model: Path, room: Path) -> None:
    train = elman("dna", "score", model, room / "train.fa")
    assert "2,700 of these bases were trained on" in train.err
    held_out = elman("dna", "score", model, room / "train.fa", "--region", "one:2701-3000")
    assert "trained on:" not in held_out.err
    card = json.loads((model / "card.json").read_text())
    forward = elman("dna", "score", model, room / "train.fa", "--region", "one:2701-3000", "--strands", "forward")
    assert forward.out.split("\t")[-2] == f"{card['result']['valid_bits_per_base']:.4f}"


def test_a_model_that_adapts_learns_from_what_it_scored_and_stays_as_it_is_on_disk(
    elman: Elman, model: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    (tmp_path / "same.fa").write_text(f">a\n{sequence(300, 9) * 12}\n")
    still, moving, again = (
        json.loads(elman("dna", "score", model, tmp_path / "same.fa", "--json", *flags).out)
        for flags in (["--strands", "forward"], ["--adapt"], ["--adapt"])
    )
    assert moving["bits_per_base"] < still["bits_per_base"] - 0.1 and moving["strands"] == "forward"
    assert moving["bits_per_base"] == again["bits_per_base"]
    assert "best so far" in moving["baseline"]["about"]
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


def test_a_recipe_begins_from_nothing(elman: Elman, room: Path, fasta: Path) -> None:
    facts = json.loads(elman("dna", "score", f"recipe:{room / 'tiny.toml'}", fasta, "--adapt", "--json").out)
    assert facts["bases"] == 597 and 1.5 < facts["bits_per_base"] < 2.1 and facts["trained_on"] == 0
    faster = elman("dna", "score", f"recipe:{room / 'tiny.toml'}", fasta, "--adapt", "--alpha", 0.05, "--rate", 0.02)
    assert faster.code == 0 and faster.out.split("\t")[-2] != f"{facts['bits_per_base']:.4f}"


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["{m}", "{f}", "--strands", "reverse"], 2, "--strands 'reverse' cannot be"),
        (["{m}", "{f}", "--ambiguous", "n"], 2, "--ambiguous 'n' cannot be"),
        (["{m}", "{f}", "--adapt", "--strands", "both"], 2, "--adapt reads the forward strand"),
        (["{m}", "{f}", "--adapt", "--circular"], 2, "--adapt cannot go with --circular"),
        (["{m}", "{f}", "--alpha", "0.1"], 2, "--alpha goes with --adapt only"),
        (["recipe:dna", "{f}"], 2, "recipe:dna goes with --adapt only"),
        (["recipe:chars", "{f}", "--adapt"], 2, "is for unit char, not for dna"),
        (["recipe:dnaa", "{f}", "--adapt"], 2, "there is no recipe 'dnaa'"),
        (["dna", "{f}", "--adapt"], 2, "dna is no folder"),
        (["nowhere", "{f}"], 1, "nowhere does not exist"),
        (["{f}", "{f}"], 1, "is not a folder"),
        (["{m}", "{f}", "--region", "one:300-500"], 2, "goes past the end: one has 400 bases"),
        (["{m}", "{f}", "--region", "one", "--bed", "x"], 2, "cannot be given together"),
        (["{m}", "{f}", "--per-base", "-", "--json"], 2, "cannot take both a track and JSON"),
        (["{m}", "{f}", "--per-base", ""], 2, "the path to write to is empty"),
        (["{m}", "{f}", "--per-base", "."], 1, ". is a folder"),
        (["{m}", "-", "--bed", "-"], 2, "standard input cannot be both"),
        (["{m}", "nowhere.fa"], 1, "nowhere.fa does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(
    flags: list[str], code: int, message: str, elman: Elman, model: Path, fasta: Path
) -> None:
    result = elman("dna", "score", *[flag.format(m=model, f=fasta) for flag in flags])
    assert result.code == code and message in result.sentence and not result.out


def test_protein_is_one_sentence(elman: Elman, model: Path, tmp_path: Path) -> None:
    (tmp_path / "p.faa").write_text(">p\nMKVLAT\n")
    result = elman("dna", "score", model, tmp_path / "p.faa")
    assert result.code == 1 and "line 2, column 4: 'L' is no base" in result.sentence


def test_a_model_of_text_is_one_sentence(elman: Elman, model: Path, fasta: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "elman", "format_version": 1}))
    result = elman("dna", "score", tmp_path, fasta)
    assert result.code == 1 and "holds a language model, not a model of DNA" in result.sentence


def test_a_track_has_no_two_values_for_a_base(elman: Elman, model: Path, fasta: Path, tmp_path: Path) -> None:
    (tmp_path / "r.bed").write_text("one\t0\t50\none\t49\t60\n")
    flags = ["--bed", tmp_path / "r.bed", "--per-base", tmp_path / "t.bedgraph"]
    result = elman("dna", "score", model, fasta, *flags)
    assert result.code == 2 and "one:1-50 and one:50-60 overlap" in result.sentence
    assert not (tmp_path / "t.bedgraph").exists()
    assert elman("dna", "score", model, fasta, *flags[:2]).code == 0


def test_an_interrupt_leaves_no_track_and_code_130(model: Path, tmp_path: Path) -> None:
    (tmp_path / "long.fa").write_text(">a\n" + "\n".join(sequence(1000, 1) for _ in range(1)) * 9000 + "\n")
    command = [sys.executable, "-m", "elman", "dna", "score", str(model), str(tmp_path / "long.fa")]
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*command, "--per-base", str(out / "t.bedgraph")], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    for _ in range(1200):
        if list(out.glob(".t.bedgraph*")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said
    assert list(out.iterdir()) == []


def test_generated_fasta_is_wrapped_and_the_same_for_a_seed(elman: Elman, model: Path, tmp_path: Path) -> None:
    flags = ["--seed", 5, "--bases", 100, "--records", 2, "--prompt", "acgtt", "--line-width", 40]
    one, other = elman("dna", "generate", model, *flags), elman("dna", "generate", model, *flags)
    assert one.code == 0 and one.out == other.out
    first, second = one.out.split(">")[1:]
    assert [len(line) for line in first.splitlines()[1:]] == [40, 40, 25]
    assert first.startswith("elman_1 ") and second.startswith("elman_2 ")
    sequences = ["".join(part.splitlines()[1:]) for part in (first, second)]
    assert sequences[0] != sequences[1] and all(each.startswith("ACGTT") for each in sequences)
    facts = json.loads(elman("dna", "generate", model, *flags, "--json").out)
    assert [each["sequence"] for each in facts["records"]] == sequences and facts["seed"] == 5
    assert elman("dna", "generate", model, *flags, "--out", tmp_path / "g.fa.gz").out == ""
    assert gzip.decompress((tmp_path / "g.fa.gz").read_bytes()).decode() == one.out
    scored = elman("dna", "score", model, tmp_path / "g.fa.gz", "--no-baseline")
    assert scored.out.splitlines()[-1].startswith("total\t210\t0\t")
    assert elman("dna", "generate", model, "--bases", 50).out != elman("dna", "generate", model, "--bases", 50).out


def test_lines_of_no_width_are_one_line() -> None:
    assert "".join(wrapped(["AC", "GT"], 0)) == "ACGT\n"
    assert "".join(wrapped(["", "ACG", "T"], 2)) == "AC\nGT\n"


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--prompt", "ACN"], 2, "the prompt holds an ambiguous base"),
        (["--prompt", "ACZ"], 1, "letter 3 is 'Z', which is no base"),
        (["--bases", "0"], 2, "'--bases'"),
        (["--out", ""], 2, "the path to write to is empty"),
        (["--out", "."], 1, ". is a folder"),
    ],
)
def test_a_wrong_wish_is_one_sentence(flags: list[str], code: int, message: str, elman: Elman, model: Path) -> None:
    result = elman("dna", "generate", model, *flags)
    assert result.code == code and message in result.sentence and not result.out


def test_variants_are_scored_by_a_model_that_was_trained(
    elman: Elman, model: Path, fasta: Path, tmp_path: Path
) -> None:
    text = records(fasta)[0]
    alt = "ACGT"[("ACGT".index(text[99]) + 1) % 4]
    (tmp_path / "v.vcf").write_text(
        f"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\none\t100\t.\t{text[99]}\t{alt}\t.\t.\t.\n"
    )
    result = elman("dna", "variants", model, fasta, tmp_path / "v.vcf", "--flank", 60, "--strands", "forward")
    window = text[39:160]
    bits = [expected(model, each, strands="forward") for each in (window, window[:60] + alt + window[61:])]
    ratio = bits[0][60:].sum() - bits[1][60:].sum()
    assert float(result.out.splitlines()[-1].split("ELMAN_FWD=")[1]) == pytest.approx(ratio, abs=1e-4)
