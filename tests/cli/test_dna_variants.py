"""`elman dna variants`: what it writes when all is well, and what it says when not."""

from __future__ import annotations

import gzip
import inspect
import io
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from elman.apply.variants import FLANK, STRANDS
from elman.cli.dna_variants import variants
from elman.ngram.markov import MarkovModel, fit
from elman.text.dna import encode

from .commandline import Elman

GENOME = "ACGTTGCAAGCTTACGGATCCATNNACGTACCGGTTAACCGGTATATGCGC"
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
RECORDS = "chr1\t5\trs5\tT\tA,TGG\t9.5\tPASS\tDP=3\nchr1\t2\t.\tc\t<DEL>\t.\t.\t.\nchr1\t9\t.\tA\tN\t.\t.\t.\n"


@pytest.fixture
def model() -> MarkovModel:
    return fit(encode(GENOME), 2)


@pytest.fixture(autouse=True)
def scorer(model: MarkovModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A model folder is a context model here; and a cache of this test's own."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "elman.apply.dna", SimpleNamespace(load_scorer=lambda path, *, threads: model))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "ref.fa"
    path.write_text(f">chr1 a phage\n{GENOME[:30]}\n{GENOME[30:].lower()}\n")
    return path


@pytest.fixture
def vcf(tmp_path: Path) -> Path:
    path = tmp_path / "calls.vcf"
    path.write_text(HEADER + RECORDS)
    return path


def test_ratios_are_those_of_the_model_by_hand(elman: Elman, fasta: Path, vcf: Path, model: MarkovModel) -> None:
    result = elman("dna", "variants", "model", fasta, vcf, "--flank", 6, "--strands", "forward")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == "##fileformat=VCFv4.2" and "ID=ELMAN_FWD" in lines[1] and "in bits, 6 bases" in lines[1]
    sequences = [encode("ACGT" + allele + "GCAAGC") for allele in ("T", "A", "TGG")]
    ref, *alts = [float(np.sum(model.log_probs(codes))) / math.log(2) for codes in sequences]
    info = lines[3].split("\t")[7]
    assert info == f"DP=3;ELMAN_FWD={alts[0] - ref:.4f},{alts[1] - ref:.4f}"
    assert lines[4].endswith("\t.\t.\tELMAN_FWD=.") and lines[5].endswith("ELMAN_FWD=.")


def test_what_was_scored_is_said_on_standard_error(elman: Elman, fasta: Path, vcf: Path) -> None:
    result = elman("dna", "variants", "model", fasta, vcf)
    assert "3 records, 2 of 4 ALTs scored" in result.err
    assert "1 ALTs are no bases" in result.err and "1 ALTs have N or another ambiguous base" in result.err


def test_json_and_a_packed_file(elman: Elman, fasta: Path, vcf: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.vcf.gz"
    result = elman("dna", "variants", "model", fasta, vcf, "--out", out, "--json")
    facts = json.loads(result.out)
    assert result.code == 0 and facts["file"] == str(out) and facts["unit"] == "bits"
    assert (facts["records"], facts["alternatives"], facts["scored"], facts["symbolic"]) == (3, 4, 2, 1)
    assert (facts["ambiguous"], facts["flank"], facts["strands"]) == (1, FLANK, "both")
    text = gzip.decompress(out.read_bytes()).decode()
    assert text == elman("dna", "variants", "model", fasta, vcf).out
    again = elman("dna", "variants", "model", fasta, out)  # a packed VCF is read, and its values replaced
    assert again.out == text


def test_a_vcf_comes_through_a_pipe(elman: Elman, fasta: Path, vcf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = elman("dna", "variants", "model", fasta, vcf).out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(vcf.read_bytes())))
    assert elman("dna", "variants", "model", fasta, "-").out == expected


def test_a_vcf_can_be_written_in_place(elman: Elman, fasta: Path, vcf: Path) -> None:
    expected = elman("dna", "variants", "model", fasta, vcf).out
    assert elman("dna", "variants", "model", fasta, vcf, "--out", vcf).code == 0
    assert vcf.read_text() == expected


def test_a_ref_that_disagrees_is_one_sentence_and_no_file(elman: Elman, fasta: Path, vcf: Path, tmp_path: Path) -> None:
    vcf.write_text(HEADER + RECORDS.replace("\tT\t", "\tG\t"))
    result = elman("dna", "variants", "model", fasta, vcf, "--out", tmp_path / "new" / "out.vcf")
    assert result.code == 1 and list((tmp_path / "new").iterdir()) == []
    assert result.sentence == f"elman: {vcf}, line 3: REF at chr1:5 is G, and {fasta} has T"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["{fasta}", "{vcf}", "--strands", "reverse"], 2, "--strands 'reverse' cannot be"),
        (["{fasta}", "{vcf}", "--flank", "-1"], 2, "'--flank'"),
        (["{fasta}", "{vcf}", "--json"], 2, "standard output cannot take both"),
        (["-", "-"], 2, "standard input cannot be both the reference and the VCF"),
        (["{fasta}", "{fasta}"], 1, "is FASTA"),
        (["{fasta}", "nowhere.vcf"], 1, "nowhere.vcf does not exist"),
        (["nowhere.fa", "{vcf}"], 1, "nowhere.fa does not exist"),
        (["{vcf}", "{vcf}"], 1, "is VCF"),
        (["{fasta}"], 2, "missing argument 'VCF'"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], code: int, sentence: str, elman: Elman, fasta: Path, vcf: Path
) -> None:
    result = elman("dna", "variants", "model", *[word.format(fasta=fasta, vcf=vcf) for word in arguments])
    assert result.code == code and sentence in result.sentence and result.out == ""


def test_the_defaults_are_those_of_the_library() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(variants).parameters.items()}
    assert defaults["flank"] == FLANK and defaults["strands"] in STRANDS
