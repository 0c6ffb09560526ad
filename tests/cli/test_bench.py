"""`elman bench` prints tables or JSON on stdout, progress on stderr, and refuses what it cannot measure."""

from __future__ import annotations

import json

import pytest

from elman.apply.bench import growth as growing
from elman.cli import bench as command

from .commandline import Elman

SMALL = ["--quick", "--threads", 1, "--hidden", 8, "--dictionary", 50, "--batch", "2,4", "--rounds", 1]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    small = command.replace(command.QUICK, sides=(16,), memory_mb=1, least=0.0, words=2000, steps=100)
    monkeypatch.setattr(command, "QUICK", command.replace(small, grow_hidden=(4, 8)))


def test_json_is_on_stdout_and_progress_on_stderr(elman: Elman) -> None:
    result = elman("bench", "training", "scoring", *SMALL, "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert set(found) == {"where", "plan", "training", "scoring"}
    assert found["where"]["threads"] == 1
    assert found["plan"]["hidden"] == [8]
    assert found["plan"]["batches"] == [2, 4]
    (size,) = found["training"]["sizes"]
    rates = {name: row["words_per_second"] for name, row in size["contestants"].items()}
    assert size["ratios"]["elman full"]["torch nn.RNN"] == pytest.approx(rates["elman full"] / rates["torch nn.RNN"])
    assert "training: H = 8, by turns" in result.err


def test_tables_are_on_stdout(elman: Elman) -> None:
    result = elman("bench", "scoring", "machine", "training", *SMALL)
    assert result.code == 0
    headings = ["Products, GFLOP/s", "Memory, GB/s", "Training, H = 8, D = 50", "Scoring, H = 8", "One step"]
    places = [result.out.find(heading) for heading in headings]
    assert -1 not in places
    assert places == sorted(places)  # in the order of the parts, not in that of the arguments
    assert "x torch nn.RNN" in result.out
    assert "Products" not in result.err


def test_growth_prints_exponents(elman: Elman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "WHAT", {"hidden": "an update"})
    monkeypatch.setattr(growing, "measured", lambda point: {"seconds": point.hidden**2 / 1e3, "peak_mb": None})
    result = elman("bench", "growth", *SMALL)
    assert result.code == 0
    row = next(line for line in result.out.splitlines() if "fitted exponent" in line)
    assert row.split() == ["fitted", "exponent", "2", "-"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scoring", "--device", "cuda"], "scoring is measured on the processor only"),
        (["trainign"], "there is no part 'trainign'"),
        (["--hidden", "a"], "--hidden 'a' is no list of sizes"),
        (["--hidden", "200,,5"], "--hidden '200,,5' is no list of sizes"),
        (["--hidden", "0"], "--hidden '0' is no list of sizes"),
        (["--batch", "-3"], "--batch '-3' is no list of sizes"),
        (["--precision", "fp16"], "--precision 'fp16' cannot be"),
        (["--dictionary", "3"], "invalid value for '--dictionary'"),
        (["--rounds", "0"], "invalid value for '--rounds'"),
        (["--threads", "0"], "invalid value for '--threads'"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(elman: Elman, arguments: list[str], sentence: str) -> None:
    result = elman("bench", *arguments)
    assert result.code == 2
    assert sentence in result.sentence
    assert result.out == ""


def test_a_misspelt_part_brings_the_nearest(elman: Elman) -> None:
    assert "did you mean training?" in elman("bench", "trainign").err


def test_a_batch_that_is_too_large_is_refused_in_a_sentence(elman: Elman) -> None:
    result = elman("bench", "training", *SMALL, "--batch", 50_000)
    assert result.code == 2
    assert "too few for batch = 50000" in result.err
    assert "Traceback" not in result.err
