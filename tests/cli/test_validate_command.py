"""`elman classify validate`, and flags for sequences of bases: what is printed, and what is refused in a sentence."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from .commandline import Elman

SMALL = ["--unit", "dna", "--threads", "1", "--quiet", "--set", "hidden=4", "--set", "epochs=2"]


@pytest.fixture
def windows(tmp_path: Path) -> Path:
    """Forty windows of eight bases, whose third base is the label; the last line has an N and an R."""
    draw, path = random.Random(1), tmp_path / "w.tsv"
    rows = ["".join(draw.choices("acgT", k=8)) for _ in range(40)]
    rows[-1] = "NN" + rows[-1][2:7] + "R"
    path.write_text("".join(f"{'purine' if row[2] in 'ag' else 'other'}\t{row}\n" for row in rows))
    return path


def test_all_nets_stand_beside_each_other_with_what_was_chosen_first(elman: Elman, windows: Path) -> None:
    command = ["classify", "validate", windows, *SMALL, "--folds", "4", "--pool", "places", "--places", "1"]
    result = elman(*command, "--try", "net=linear,linear-places", "--try", "net=recurrent direction=both hidden=3")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0] == f"{windows}: 40 sequences, 2 labels, 4 folds, 2 tries"
    starts = [line.split("  ")[0] for line in lines[2:7]]
    assert starts == [
        "chosen on inner folds",
        "recurrent net",
        "linear softmax, bag of n-grams",
        "linear softmax, n-grams at places",
        "label seen most",
    ]
    assert "3 letters are not known to be one base (N 2, R 1)" in result.err
    found = json.loads(elman(*command, "--try", "net=linear,linear-places", "--json").out)
    assert found["scores"]["linear_places"]["right"] > found["scores"]["linear"]["right"]
    assert sum(fold["examples"] for fold in found["folds"]) == found["examples"] == 40
    assert found["folds"][0]["choices"]["linear"]["try"] == "net=linear,linear-places"


def test_every_line_is_judged_alone_where_one_is_left_out(elman: Elman, windows: Path) -> None:
    loud = [flag for flag in SMALL if flag != "--quiet"]
    result = elman("classify", "validate", windows, *loud, "--folds", "leave-one-out", "--try", "net=linear")
    assert "40 folds" in result.out and "fold 40/40, 1 to judge: linear softmax, bag of n-grams" in result.err


def test_training_and_prediction_read_bases_in_either_case_and_both_strands(
    elman: Elman, windows: Path, tmp_path: Path
) -> None:
    flags = ["--strands", "both", "--direction", "both", "--pool", "places", "--places", "2", "--members", "2"]
    model = tmp_path / "model"
    trained = elman("classify", "train", windows, "--out", model, *SMALL, *flags)
    assert trained.code == 0, trained.err
    assert "feedforward net, n-grams at places" in trained.out
    (tmp_path / "some.txt").write_text("acgtacgg\nACGTACGG\nCCGTACGT\n")
    lines = elman("classify", "predict", model, tmp_path / "some.txt", "--json").out.splitlines()
    answers = [json.loads(line)["probabilities"] for line in lines]
    assert answers[0] == answers[1]
    assert answers[0]["purine"] == pytest.approx(answers[2]["purine"], abs=1e-6)  # its reverse complement
    for net in ("feedforward-places", "linear-places"):
        assert elman("classify", "predict", model, tmp_path / "some.txt", "--net", net).code == 0


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--folds", "1"], "--folds '1' cannot be"),
        (["--folds", "leave-two-out"], "--folds 'leave-two-out' cannot be"),
        (["--folds", "50"], "50 folds of 40 examples cannot be"),
        (["--net", "linear-places"], "no try has the net 'linear-places'"),
        (["--net", "best"], "--net 'best' cannot be"),
        (["--pool", "place"], "did you mean places?"),
        (["--try", "pool=frist"], "--try pool 'frist' cannot be"),
        (["--try", "members=no"], "--try members=no cannot be"),
        (["--try", "hiden=3"], "did you mean network.hidden?"),
        (["--try", "net=liner"], "did you mean linear?"),
        (["--try", "schedule=halve"], "looks at validation"),
        (["--unit", "char", "--strands", "both"], "only sequences of bases have two strands"),
    ],
)
def test_what_cannot_be_validated_is_said_in_a_sentence(
    elman: Elman, windows: Path, flags: list[str], complaint: str
) -> None:
    result = elman("classify", "validate", windows, *SMALL, *flags)
    assert result.code in (1, 2) and complaint in result.err and "Traceback" not in result.err and not result.out


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("other\tacgtacgtt", "line 41: 9 symbols, and 8 were expected"),
        ("other\tacgEacgt", "line 41: letter 4 of the sequence is 'E', which is no base"),
        ("other", "line 41: there is no tab"),
    ],
)
@pytest.mark.parametrize("command", ["train", "validate"])
def test_a_line_that_does_not_fit_is_named(
    elman: Elman, windows: Path, tmp_path: Path, command: str, line: str, complaint: str
) -> None:
    windows.write_text(f"{windows.read_text()}{line}\n")
    out = ["--out", tmp_path / "model"] if command == "train" else []
    result = elman("classify", command, windows, *out, *SMALL, "--places", "1")
    assert result.code == 1 and complaint in result.err
    assert not (tmp_path / "model").exists()


def test_prediction_names_the_line_of_a_sequence_of_another_length(elman: Elman, windows: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert elman("classify", "train", windows, "--out", model, *SMALL, "--pool", "places").code == 0
    (tmp_path / "some.txt").write_text("acgtacgt\n\nacg\n")
    result = elman("classify", "predict", model, tmp_path / "some.txt")
    assert result.code == 1 and "line 3: 3 symbols, and 8 were expected" in result.err
    (tmp_path / "some.txt").write_text("acgtacgt\n")
    result = elman("classify", "predict", model, tmp_path / "some.txt", "--net", "linear-places")
    assert "has no net 'linear-places'" in result.err
