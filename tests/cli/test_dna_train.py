"""`elman train --unit dna`: what it prints when all is well, and what it says when not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from elman.config import read_recipe
from elman.text.dna import decode

from .commandline import Elman

SMALL = ["--hidden", "6", "--batch", "4", "--bptt", "8", "--epochs", "2", "--threads", "1", "--set", "counts=[2, 14]"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    one, two = (decode(draw.integers(0, 4, length).astype(np.uint8)) for length in (700, 300))
    path = tmp_path / "two.fa"
    path.write_text(f">one\n{one}\n>two\n{two[:100]}NN{two[100:]}\n")
    return path


def test_a_fasta_without_valid_holds_out_a_region_and_says_which(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman("train", fasta, "--unit", "dna", "--out", tmp_path / "model", *SMALL)
    assert result.code == 0, result.err
    lines = result.err.splitlines()
    assert lines[0] == "held out to validate on: two:203-302"
    assert lines[1].startswith("pass 1/2: alpha ") and " bits a base, validation " in lines[1]
    assert lines[2].startswith("pass 2/2: ") and lines[-1].startswith("Try next: elman dna score ")
    assert f"{tmp_path / 'model'}: epoch " in result.out and "bits a base; " in result.out
    assert "held out of the training text" in result.out and "perplexity" not in result.out


def test_json_holds_what_the_card_does(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman(
        "train", fasta, "--unit", "dna", "--out", tmp_path / "m", "--json", "--quiet", "--holdout", "one", *SMALL
    )
    values = json.loads(result.out)
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert values == {"model": str(tmp_path / "m"), **card["result"], "parameters": card["parameters"]}
    assert card["valid"]["regions"] == ["one:1-700"] and card["train"]["skipped"] == 2
    assert card["command"].startswith("elman train ") and "--holdout one" in card["command"]


def test_without_a_recipe_it_is_that_of_dna(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman("train", fasta, "--unit", "dna", "--out", tmp_path / "m", "--epochs", 1, "--hidden", 5)
    assert result.code == 0, result.err
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    recipe = read_recipe("dna")
    assert card["settings"]["network.counts"] == recipe["network.counts"] and card["settings"]["network.hidden"] == 5
    assert card["settings"]["learn.optimizer"] == "adam"


def test_a_plain_net_alone_is_said_to_be_one(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    none = tmp_path / "none.toml"
    none.write_text("[network]\nhidden = 5\n")
    result = elman("train", fasta, "--unit", "dna", "--config", none, "--out", tmp_path / "m", "--epochs", 1)
    assert result.code == 0 and "no contexts are counted, so this is a plain net alone" in result.err
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert (card["settings"]["network.counts"], card["settings"]["learn.optimizer"]) == ([], "sgd")
    assert 1.9 < card["result"]["valid_bits_per_base"] < 2.3


def test_the_recipe_takes_settings_over_it(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman("train", fasta, "--recipe", "dna", *SMALL, "--set", "alpha=0.01", "--out", tmp_path / "m", "--quiet")
    assert result.code == 0, result.err
    settings = json.loads((tmp_path / "m" / "card.json").read_text())["settings"]
    assert (settings["learn.alpha"], settings["learn.optimizer"]) == (0.01, "adam")
    assert (settings["network.counts"], settings["network.ngrams"]) == ([2, 14], [2, 3, 4, 5, 6])


def test_resume_goes_on_and_overwrite_begins_again(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    words = ["train", fasta, "--unit", "dna", "--out", tmp_path / "m", "--quiet", *SMALL]
    first = elman(*words, "--json")
    again = elman(*words)
    assert again.code == 1 and "already holds a model" in again.sentence
    assert elman(*words, "--json", "--resume").out == first.out
    assert elman(*words, "--overwrite").code == 0


def test_the_progress_of_dna_is_in_bits_a_base(
    elman: Elman, fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.cli.progress.SECONDS_BETWEEN_LINES", 0.0)
    lines = elman("train", fasta, "--unit", "dna", "--out", tmp_path / "m", *SMALL).err.splitlines()
    updates = [line for line in lines if line.startswith("pass 1/2 ")]
    assert len(updates) == 30 and all("bits a base, " in line and line.endswith(" bases/s") for line in updates)
    assert updates[-1].startswith("pass 1/2 100%: ") and not any("perplexity" in line for line in lines)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--cell", "lstm"], "without network.cell"),
        (["--layers", "2"], "without network.layers"),
        (["--tied"], "without network.tied"),
        (["--set", "output=class"], "without network.output"),
        (["--dropout", "0.2"], "does not follow network.dropout = 0.2"),
        (["--set", "weight_dropout=0.2"], "does not follow network.weight_dropout"),
        (["--set", "noise=0.1"], "does not follow learn.noise"),
        (["--regime", "online"], "regime online"),
        (["--regime", "sentences"], "has no regime sentences"),
        (["--optimizer", "nt-asgd"], "optimizer cannot be nt-asgd"),
        (["--average", "0.9"], "does not follow learn.average"),
        (["--precision", "bf16"], "does not follow learn.precision"),
        (["--device", "cuda"], "trains on the cpu"),
        (["--checkpoint-every", "5"], "does not follow learn.checkpoint_every"),
        (["--set", "max_updates=5"], "does not follow learn.max_updates"),
        (["--set", "stop_at_perplexity=3"], "does not follow learn.stop_at_perplexity"),
        (["--set", "tune_temperature=true"], "does not follow learn.tune_temperature"),
        (["--lowercase"], "does not follow text.lowercase"),
        (["--vocab-size", "9"], "does not follow text.vocab_size"),
        (["--input", "ngram:12"], "row of U for every n-gram"),
        (["--set", "counts=[25]"], "network.counts.0 = 25 cannot be"),
        (["--set", "counts=[16]", "--set", "counts_bits=30"], "4.3 GB an order, more than 900 bases can fill"),
        (["--valid", "x.fa", "--holdout", "0.1"], "cannot be given together"),
        (["--holdout", "three"], "no record 'three'"),
        (["--holdout", "one:5-9999"], "past the end"),
        (["--holdout", "1.5"], "no share between 0 and 1"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_dna_does_not_follow_is_one_sentence(
    flags: list[str], message: str, elman: Elman, fasta: Path, tmp_path: Path
) -> None:
    result = elman("train", fasta, "--unit", "dna", "--out", tmp_path / "model", *flags)
    assert result.code == 2 and message in result.sentence and not result.out
    assert not (tmp_path / "model").exists()


def test_holdout_is_of_dna_alone(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    result = elman("train", fasta, "--holdout", "one", "--out", tmp_path / "model")
    assert result.code == 2 and "--holdout is for unit dna" in result.sentence


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("the cat sat\n", "x.fa"),
        (">p\nMKVLAT\n", "'L' is no base"),
        ("", "is empty"),
        (">n\nNNNNNNNNNN\n", "has no base that is known"),
    ],
)
def test_a_file_that_is_no_dna_is_one_sentence(data: str, message: str, elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_text(data)
    result = elman("train", tmp_path / "x.fa", "--unit", "dna", "--out", tmp_path / "model")
    assert result.code == 1 and message in result.sentence and not (tmp_path / "model").exists()


def test_a_model_of_dna_is_none_of_a_text(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    assert elman("train", fasta, "--unit", "dna", "--out", tmp_path / "m", "--quiet", *SMALL).code == 0
    for words in (["evaluate", tmp_path / "m", fasta], ["predict", tmp_path / "m", "x"], ["info", tmp_path / "m"]):
        result = elman(*words)
        assert result.code == 1 and "holds a model of DNA, not a language model" in result.sentence
        assert "elman dna score reads it" in result.err


def test_a_run_of_dna_is_not_resumed_as_one_of_a_text(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "elman", "train", str(fasta), "--out", str(tmp_path / "m")]
    many = ["--unit", "dna", *SMALL, "--epochs", "99999", "--set", "patience=99999", "--schedule", "constant"]
    running = subprocess.Popen([*words, *many], stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith("pass 2/"):
            break
    time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    rest = running.communicate(timeout=60)[1]
    assert running.returncode == 130 and "Traceback" not in rest
    assert "Stopping as soon as the passes that are finished can be saved" in rest
    assert "finished passes are kept" in rest and "--resume goes on from there" in rest
    result = elman("train", fasta, "--out", tmp_path / "m", "--resume")
    assert result.code == 2 and "holds a training run of DNA" in result.sentence and "--unit dna" in result.err


def test_a_text_has_no_unit_dna_where_tokenizers_are(elman: Elman, fasta: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "bases.toml"
    recipe.write_text("text = {unit = 'dna'}\ntune = {alpha = {from = 0.001, to = 0.1}}\n")
    result = elman("tune", fasta, "--recipe", recipe, "--minutes", "1", "--out", tmp_path / "c")
    assert result.code == 2 and "Traceback" not in result.err
    assert "unit dna is not of texts" in result.err
