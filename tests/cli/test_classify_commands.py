"""`elman classify`: what it prints, what it refuses in one sentence, and what an interrupt leaves."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from elman.cli.main import run

from .commandline import Elman

SMALL = ["--hidden", "8", "--epochs", "3", "--alpha", "0.02", "--threads", "1", "--quiet"]


def labelled(count: int, seed: int) -> str:
    """Lines whose label is the colour of their last letter, in company of other letters."""
    draw = random.Random(seed)
    rows = []
    for index in range(count):
        label, last = [("red", "x"), ("blue", "y")][index % 2]
        rows.append(f"{label}\t{''.join(draw.choices('abxy', k=draw.randint(3, 9)))}{last}\n")
    return "".join(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained classifier in `model`, and lines to evaluate it on in `test.tsv`; tests do not change them."""
    folder = tmp_path_factory.mktemp("classify")
    (folder / "train.tsv").write_text(labelled(120, 1))
    (folder / "test.tsv").write_text(labelled(40, 2))
    out = str(folder / "model")
    command = ["classify", "train", str(folder / "train.tsv"), "--unit", "char", "--out", out]
    assert run([*command, *SMALL, "--epochs", "25"]) == 0
    return folder


def test_training_shows_all_nets_beside_each_other(elman: Elman, folder: Path, tmp_path: Path) -> None:
    command = ["classify", "train", folder / "train.tsv", "--unit", "char", "--out", tmp_path / "model", *SMALL]
    result = elman(*command)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == f"{folder / 'train.tsv'}: 12 sequences, 2 labels"
    assert lines[1].split() == ["accuracy", "95", "%", "interval"]
    starts = ["recurrent net", "feedforward net, bag of n-grams", "linear softmax, bag of n-grams", "always blue"]
    assert [line[:31].rstrip() for line in lines[2:6]] == starts
    assert "validation: 12 of 120 lines" in result.err and "a fair number" in result.err
    assert elman(*command, "--quiet").code == 1  # the folder holds a model now
    assert elman(*command, "--overwrite", "--json").code == 0


def test_progress_is_on_stderr_unless_quiet(elman: Elman, folder: Path, tmp_path: Path) -> None:
    command = ["classify", "train", folder / "train.tsv", "--unit", "char", "--out", tmp_path / "model", *SMALL]
    loud = [flag for flag in command if flag != "--quiet"]
    result = elman(*loud, "--json")
    assert "recurrent net, epoch 1/3" in result.err and "feedforward net, epoch 3/3" in result.err
    found = json.loads(result.out)
    assert found["result"]["recurrent"]["epochs"] == 3 and found["valid"]["examples"] == 12


def test_evaluation_counts_what_prediction_says(elman: Elman, folder: Path) -> None:
    result = elman("classify", "evaluate", folder / "model", folder / "test.tsv", "--json")
    found = json.loads(result.out)
    assert list(found["scores"]) == ["recurrent", "feedforward", "linear", "majority"]
    assert found["scores"]["recurrent"]["low"] < found["scores"]["recurrent"]["accuracy"]
    truth = [line.split("\t") for line in (folder / "test.tsv").read_text().splitlines()]
    for net in ("recurrent", "feedforward", "linear"):
        answers = elman("classify", "predict", folder / "model", folder / "test.tsv", "--labelled", "--net", net)
        rows = [line.split("\t") for line in answers.out.splitlines()]
        assert [row[2] for row in rows] == [sequence for _, sequence in truth]
        right = sum(row[0] == label for row, (label, _) in zip(rows, truth, strict=True))
        assert right == found["scores"][net]["right"]
        assert all(0.5 <= float(row[1]) <= 1 for row in rows)
    confusion = found["confusion"]
    assert confusion[0][0] + confusion[1][1] == found["scores"]["recurrent"]["right"]
    text = elman("classify", "evaluate", folder / "model", folder / "test.tsv").out
    assert f"{found['scores']['recurrent']['accuracy']:8.4f}" in text.splitlines()[2]
    assert text.splitlines()[-3].split() == ["blue", "red"]


def test_prediction_reads_gzip_and_standard_input_and_answers_in_json(
    elman: Elman, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"abx\n\naby\n"
    (tmp_path / "some.gz").write_bytes(gzip.compress(data))
    packed = elman("classify", "predict", folder / "model", tmp_path / "some.gz")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    assert elman("classify", "predict", folder / "model").out == packed.out
    assert [line.split("\t")[2] for line in packed.out.splitlines()] == ["abx", "aby"]
    rows = elman("classify", "predict", folder / "model", tmp_path / "some.gz", "--json").out.splitlines()
    for row, line in zip(map(json.loads, rows), packed.out.splitlines(), strict=True):
        assert f"{row['label']}\t{row['probabilities'][row['label']]:.4f}\t{row['sequence']}" == line
        assert sorted(row["probabilities"]) == ["blue", "red"]


def test_a_net_that_is_no_better_than_a_bag_is_called_so(elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("".join(f"{'ab'[i % 2]}\t{'ab'[i % 2] * 3}\n" for i in range(40)))
    command = ["classify", "train", tmp_path / "t.tsv", "--unit", "char", "--out", tmp_path / "m", *SMALL]
    result = elman(*command)
    assert (
        result.code == 0
        and "not better than the linear softmax, bag of n-grams, here: the simpler one is the one" in result.err
    )


@pytest.mark.parametrize("unit", ["word", "byte", "bpe"])
def test_every_unit_trains(unit: str, elman: Elman, tmp_path: Path) -> None:
    rows = [b"a\tthe cat k\xe4se\n" if unit == "byte" else b"a\tthe cat\n", b"b\ta dog ran\n"] * 10
    (tmp_path / "t.tsv").write_bytes(b"".join(rows))
    more = ["--vocab-size", "280"] if unit == "bpe" else []
    command = ["classify", "train", tmp_path / "t.tsv", "--unit", unit, "--out", tmp_path / "m", *SMALL, *more]
    result = elman(*command)
    assert result.code == 0, result.err
    result = elman("classify", "evaluate", tmp_path / "m", tmp_path / "t.tsv")
    assert result.code == 0 and "20 sequences, 2 labels" in result.out
    assert elman("classify", "predict", tmp_path / "m", tmp_path / "t.tsv", "--labelled").code == 0


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is empty"),
        (b"n\tacgt\nacgt\n", "line 2: there is no tab"),
        (b"n\ta\nn\tc\n", "only one label, 'n'"),
        (b"n\ta\nei\t\n", "line 2: the sequence is empty"),
        (b"class\tsequence\nn\ta\nn\ta\nei\tc\nei\tc\n", "line 1: the label 'class' has 1 example"),
        (b"n\ta\nei\tk\xe4se\n", "line 2: byte 5 of the line, 0xe4, is not UTF-8"),
        (gzip.compress(labelled(99, 1).encode())[:90], "cut short"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_cannot_be_trained_on_is_one_sentence(
    data: bytes | None, complaint: str, elman: Elman, tmp_path: Path
) -> None:
    path = tmp_path / "bad.tsv"
    if data is not None:
        path.write_bytes(data)
    result = elman("classify", "train", path, "--out", tmp_path / "out", *SMALL)
    assert (result.code, result.out) == (1, "")
    assert complaint in result.sentence and str(path) in result.sentence
    assert [left.name for left in tmp_path.iterdir()] == ([] if data is None else ["bad.tsv"])


def test_a_label_that_training_never_saw_is_named_with_its_line(elman: Elman, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.tsv"
    path.write_text("red\tabx\nreed\taby\n")
    result = elman("classify", "evaluate", folder / "model", path)
    assert (result.code, result.out) == (1, "")
    assert result.sentence == f"elman: {path}, line 2: training never saw the label 'reed'"
    assert "did you mean red?" in result.err


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--pool", "lsat"], "--pool 'lsat' cannot be"),
        (["--valid-share", "0"], "the share to hold out is 0"),
        (["--ngrams", "0"], "--ngrams"),
        (["--hidden", "0"], "hidden = 0"),
        (["--optimizer", "nt-asgd"], "not averaged"),
        (["--set", "precision=bf16"], "fp32"),
        (["--set", "hiden=3"], "there is no setting 'hiden'"),
        (["--cell", "ltsm"], "there is no cell 'ltsm'"),
        (["--out", ""], "--out is empty"),
    ],
)
def test_a_flag_that_cannot_be_is_wrong_usage(
    flags: list[str], complaint: str, elman: Elman, folder: Path, tmp_path: Path
) -> None:
    result = elman("classify", "train", folder / "train.tsv", "--out", tmp_path / "out", *SMALL, *flags)
    assert (result.code, result.out) == (2, "") and complaint in result.err
    assert "Traceback" not in result.err and not list(tmp_path.iterdir())


def test_both_files_cannot_be_standard_input(elman: Elman, tmp_path: Path) -> None:
    result = elman("classify", "train", "-", "--valid", "-", "--out", tmp_path / "out", *SMALL)
    assert result.code == 2 and "standard input" in result.sentence


def test_commands_of_language_models_refuse_a_classifier_and_the_other_way_round(
    elman: Elman, folder: Path, model: Path
) -> None:
    for command in (["evaluate"], ["score"], ["info"], ["generate"]):
        texts = [folder / "test.tsv"] if command[0] in ("evaluate", "score") else []
        result = elman(*command, folder / "model", *texts)
        assert (result.code, result.out) == (1, "") and "holds a classifier, not a language model" in result.sentence
    for name in ("evaluate", "predict"):
        result = elman("classify", name, model, folder / "test.tsv")
        assert (result.code, result.out) == (1, "") and "holds a language model, not a classifier" in result.sentence


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_an_interrupt_leaves_the_model_that_was_to_be_replaced_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(folder / "model", tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    command = [sys.executable, "-m", "elman", "classify", "train", str(folder / "train.tsv"), "--out", str(out)]
    flags = ["--unit", "char", "--epochs", "100000", "--patience", "100000", "--threads", "1", "--overwrite"]
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = ""
    while "epoch 2/" not in seen:
        line = process.stderr.readline()
        assert line, "it ended too soon"
        seen += line
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert f"elman: stopped before the end: nothing was written to {out}" in stderr and "Traceback" not in stderr
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
