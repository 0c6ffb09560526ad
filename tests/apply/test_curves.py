"""Curves say what the log says, in one unit, and refuse what cannot be laid over each other."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from elman.apply.curves import read_runs
from elman.errors import ModelError, UsageError

FIRST = [
    {"update": 10, "epoch": 1, "alpha": 0.1, "loss": 6.0, "perplexity": 403.4, "symbols": 100, "seconds": 1.0},
    {"update": 20, "epoch": 1, "alpha": 0.1, "loss": 5.0, "perplexity": 148.4, "symbols": 200, "seconds": 2.0},
    {"update": 26, "epoch": 1, "alpha": 0.1, "train_loss": 4.8, "valid_loss": 4.5, "symbols": 260, "seconds": 3.5},
    {"update": 30, "epoch": 2, "alpha": 0.05, "loss": 4.0, "gradient_norm": 2.5, "symbols": 300, "seconds": 4.0},
    {"update": 40, "epoch": 2, "alpha": 0.05, "loss": 3.0, "gradient_norm": 1.5, "symbols": 400, "seconds": 5.0},
]


def write_run(folder: Path, entries: list[dict[str, Any]], config: dict[str, Any] | None = None) -> Path:
    folder.mkdir()
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    config = config or {"model_type": "elman", "text": {"unit": "word"}, "vocab_size": 50}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", FIRST)


def test_training_is_the_mean_from_one_line_to_the_next(run: Path) -> None:
    result = read_runs([run], measure="nats")
    train = result.runs[0].curves["train"]
    assert train.x == [100, 200, 260, 300, 400]
    # Sums of an epoch: 600, 1000, 1248; then of the next: 160, 420.
    assert train.y == pytest.approx([6.0, 4.0, 248 / 60, 4.0, 260 / 100])


def test_all_that_is_logged_becomes_a_curve_and_nothing_else(run: Path) -> None:
    curves = read_runs([run]).runs[0].curves
    assert set(curves) == {"train", "valid", "alpha", "gradient_norm"}
    assert (curves["valid"].x, curves["valid"].y) == ([260.0], [pytest.approx(math.exp(4.5))])
    assert (curves["gradient_norm"].x, curves["gradient_norm"].y) == ([300, 400], [2.5, 1.5])
    assert curves["alpha"].y == [0.1, 0.1, 0.1, 0.05, 0.05]


@pytest.mark.parametrize(("x", "last"), [("symbols", 400.0), ("updates", 40.0), ("seconds", 5.0)])
def test_the_axis_is_what_was_asked_for(x: str, last: float, run: Path) -> None:
    result = read_runs([run], x=x)
    assert (result.x, result.runs[0].curves["train"].x[-1]) == (x, last)


@pytest.mark.parametrize(
    ("config", "measure", "unit"),
    [
        ({"text": {"unit": "word"}}, "perplexity", "word"),
        ({"text": {"unit": "char"}}, "bits", "char"),
        ({"task": "dna", "text": {"unit": "dna"}}, "bits", "base"),
        ({}, "nats", None),
    ],
)
def test_losses_are_shown_as_is_usual_for_the_unit(
    config: dict[str, Any], measure: str, unit: str | None, tmp_path: Path
) -> None:
    result = read_runs([write_run(tmp_path / "run", FIRST, config or {"no": "text"})])
    assert (result.measure, result.unit) == (measure, unit)
    scale = {"perplexity": math.exp(4.5), "bits": 4.5 / math.log(2), "nats": 4.5}[measure]
    assert result.runs[0].curves["valid"].y == [pytest.approx(scale)]


def test_a_log_of_an_older_version_has_updates_and_no_symbols(tmp_path: Path) -> None:
    old = [{name: value for name, value in entry.items() if name != "symbols"} for entry in FIRST]
    folder = write_run(tmp_path / "old", old)
    result = read_runs([folder, write_run(tmp_path / "new", FIRST)])
    assert result.x == "updates"
    assert result.runs[0].curves["train"].y == pytest.approx(result.runs[1].curves["train"].y)
    with pytest.raises(UsageError, match=r"old.* does not say symbols .*--x updates or seconds"):
        read_runs([folder], x="symbols")


def test_a_short_rest_of_an_epoch_is_no_point_of_its_own(tmp_path: Path) -> None:
    entries = [*FIRST[:2], {"update": 21, "epoch": 1, "train_loss": 5.2, "symbols": 201, "seconds": 2.1}, FIRST[3]]
    train = read_runs([write_run(tmp_path / "run", entries)], measure="nats").runs[0].curves["train"]
    assert train.x == [100, 200, 300]
    assert train.y[2] == pytest.approx(4.0)


def test_a_loss_that_is_no_number_is_kept_as_it_is(tmp_path: Path) -> None:
    entries = [FIRST[0] | {"loss": math.inf}, FIRST[1] | {"loss": 800.0}]
    train = read_runs([write_run(tmp_path / "run", entries)]).runs[0].curves["train"]
    assert not math.isfinite(train.y[0])


def test_setbacks_are_told(tmp_path: Path) -> None:
    entries = [*FIRST[:3], {"update": 26, "epoch": 2, "setback": "the loss became nan", "seconds": 4.0}, *FIRST[3:]]
    assert read_runs([write_run(tmp_path / "run", entries)], x="updates").runs[0].setbacks == [26.0]


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    folders = [write_run(tmp_path / name / "net", FIRST) for name in ("a", "b")]
    assert [run.name for run in read_runs(folders).runs] == [str(folder) for folder in folders]


def test_runs_of_different_units_are_refused(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "chars", FIRST, {"text": {"unit": "char"}})
    with pytest.raises(
        UsageError, match=r"run is of words and .*chars is of chars|run is of words and .*chars of chars"
    ):
        read_runs([run, other])


def test_different_dictionaries_and_validation_texts_are_said(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", FIRST, {"text": {"unit": "word"}, "vocab_size": 1000})
    for folder, digest in ((run, "a"), (other, "b")):
        (folder / "card.json").write_text(json.dumps({"valid": {"sha256": digest, "lines": [0, None]}}))
    notes = read_runs([run, other]).notes
    assert len(notes) == 2 and "50 and 1,000" in notes[0] and "not validated on the same data" in notes[1]
    assert read_runs([run]).notes == []


def test_a_cut_last_line_is_left_out_and_said(run: Path) -> None:
    whole = read_runs([run])
    with (run / "log.jsonl").open("a") as stream:
        stream.write('{"update": 50, "loss": 3.')
    cut = read_runs([run])
    assert cut.runs == whole.runs
    assert "cut short" in cut.notes[0] and str(run) in cut.notes[0]


BAD = {
    "no log": (None, "has no log.jsonl"),
    "empty": ("", "holds no line yet"),
    "only a cut line": ('{"update": 1', "holds no line yet"),
    "damaged": ('{"update": 1, "loss": 2}\nnonsense\n{"update": 2, "loss": 1}\n', "line 2 is no JSON object"),
    "a whole line that is none": ('{"update": 1, "loss": 2}\nnonsense\n', "line 2 is no JSON object"),
    "a list": ("[1, 2]\n", "line 1 is no JSON object"),
    "another program": ('{"step": 1, "loss": 2}\n', "line 1 does not say after which update"),
    "an update that is none": ('{"update": "one", "loss": 2}\n', "line 1 does not say after which update"),
    "no loss": ('{"update": 1, "vectors": {}}\n', "holds no loss yet"),
    "a loss in words": ('{"update": 1, "loss": "much", "seconds": 1}\n', "holds what is no number"),
    "deep": ("[" * 100_000, "holds no line yet"),
    "binary": (b"\xff\xfe\x00{", "not UTF-8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_folder_without_a_good_log_is_one_sentence(name: str, tmp_path: Path) -> None:
    log, sentence = BAD[name]
    if log is not None:
        (tmp_path / "log.jsonl").write_bytes(log if isinstance(log, bytes) else log.encode())
    with pytest.raises(ModelError, match=sentence) as caught:
        read_runs([tmp_path])
    assert str(tmp_path) in caught.value.message and caught.value.hint


def test_what_is_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read_runs([tmp_path / "none"])
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is not a folder"):
        read_runs([tmp_path / "file"])


def test_a_damaged_card_or_config_hides_no_curve(run: Path) -> None:
    for name in ("config.json", "card.json"):
        (run / name).write_bytes(b"\xff{")
    result = read_runs([run])
    assert (result.unit, result.measure) == (None, "nats")


HISTORY = [
    {"epoch": 1, "alpha": 0.01, "train_loss": 0.9, "valid_loss": 0.8, "valid_accuracy": 0.6, "best": True},
    {"epoch": 2, "alpha": 0.005, "train_loss": 0.7, "valid_loss": 0.75, "valid_accuracy": 0.7, "best": True},
]


def test_a_classifier_has_its_curves_in_its_card(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"task": "classify"}')
    (tmp_path / "card.json").write_text(json.dumps({"result": {"recurrent": {"history": HISTORY, "updates": 180}}}))
    result = read_runs([tmp_path])
    assert (result.unit, result.measure, result.x) == ("label", "nats", "updates")
    curves = result.runs[0].curves
    assert (curves["train"].x, curves["train"].y) == ([90, 180], [0.9, 0.7])
    assert curves["accuracy"].y == [0.6, 0.7]
    with pytest.raises(UsageError, match=r"a classifier's card does not say seconds"):
        read_runs([tmp_path], x="seconds")


@pytest.mark.parametrize("card", ["{}", '{"result": {"recurrent": {"history": [], "updates": 1}}}', "[]"])
def test_a_classifier_without_a_history_is_one_sentence(card: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"task": "classify"}')
    (tmp_path / "card.json").write_text(card)
    with pytest.raises(ModelError):
        read_runs([tmp_path])
