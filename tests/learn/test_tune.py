"""`elman tune`: what is drawn, who goes on, what is kept; and that it goes on after an interrupt."""

from __future__ import annotations

import json
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.cli.main import run
from elman.config import build, parse_toml
from elman.errors import Interrupted, OutputError, UsageError
from elman.learn import tune as tuning
from elman.learn.ranges import Range, draw, read_ranges
from elman.learn.tune import Trial, as_toml, rounds, tune

RECIPE = """
about = "tiny"
[network]
hidden = 8
activation = "tanh"
[learn]
batch = 4
bptt = 5
threads = 1
alpha = 0.5
[tune]
alpha = { from = 0.01, to = 1.0, log = true }
hidden = { among = [4, 8, 12] }
[tune.learn]
bptt = { from = 3, to = 9 }
"""


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draws = np.random.default_rng(1)
    for name, count in (("train", 120), ("valid", 30)):
        lines = [f"the {n} {v} a {m}" for n, v, m in draws.choice(["cat", "dog", "sees", "finds", "bird"], (count, 3))]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return tmp_path / "train.txt", tmp_path / "valid.txt"


def ranges() -> dict[str, Range]:
    return read_ranges(tomllib.loads(RECIPE)["tune"], "tiny", {})


@given(low=st.floats(1e-6, 1.0), factor=st.floats(1.5, 100.0), log=st.booleans(), seed=st.integers(0, 99))
def test_what_is_drawn_lies_in_its_range(low: float, factor: float, log: bool, seed: int) -> None:
    chosen = Range.model_validate({"from": low, "to": low * factor, "log": log})
    value = chosen.draw(np.random.default_rng(seed))
    assert low * 0.999 <= value <= low * factor * 1.001


def test_half_of_what_is_drawn_by_its_logarithm_is_below_the_geometric_mean() -> None:
    draws = np.random.default_rng(1)
    by_log = Range.model_validate({"from": 0.001, "to": 0.1, "log": True})
    evenly = Range.model_validate({"from": 0.001, "to": 0.1})
    assert np.mean([by_log.draw(draws) < 0.01 for _ in range(1000)]) == pytest.approx(0.5, abs=0.05)
    assert np.mean([evenly.draw(draws) < 0.0505 for _ in range(1000)]) == pytest.approx(0.5, abs=0.05)
    whole = Range.model_validate({"from": 3, "to": 9})
    assert {whole.draw(draws) for _ in range(300)} == set(range(3, 10))


def test_a_recipe_says_what_may_be_tuned_flat_or_in_sections() -> None:
    assert sorted(ranges()) == ["learn.alpha", "learn.bptt", "network.hidden"]
    assert parse_toml(RECIPE, "tiny")["network.hidden"] == 8
    drawn = draw(ranges(), np.random.default_rng(3))
    assert drawn == draw(ranges(), np.random.default_rng(3)) and set(drawn) == set(ranges())


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ({}, "says nothing that could be tuned"),
        ({"alhpa": {"from": 1, "to": 2}}, "there is no setting 'alhpa'"),
        ({"alpha": {"from": 2, "to": 1}}, "from < to"),
        ({"alpha": {"from": 0, "to": 1, "log": True}}, "from > 0 with log"),
        ({"alpha": {"among": []}}, "among needs at least one value"),
        ({"alpha": {"upto": 3}}, "the range of alpha cannot be"),
        ({"alpha": 3}, "the range of alpha cannot be"),
        ({"dropout": {"from": 0.5, "to": 1.5}}, "network.dropout = 1.5 cannot be"),
        ({"hidden": {"among": [8, "many"]}}, "network.hidden = 'many' cannot be"),
    ],
)
def test_a_range_that_is_none_is_refused(table: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_ranges(table, "tiny", {})
    assert part in str(caught.value)


@given(trials=st.integers(1, 200))
def test_each_round_keeps_a_third_and_the_last_has_one_or_two(trials: int) -> None:
    counts = rounds(trials)
    assert counts[0] == trials and counts[-1] < 3
    assert all(later == earlier // 3 for earlier, later in pairwise(counts))


def test_the_best_of_each_round_go_on(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With losses that are known beforehand it is known who trains, and for how long."""
    losses = [3.0, 1.0, None, 5.0, 2.0, 4.0]
    trained: list[tuple[int, int, float]] = []

    def train(*arguments: Any) -> Trial:
        _, _, _, _, drawn, place, number, seconds, _, _ = arguments
        trained.append((place, number, seconds))
        return Trial(place, number, dict(drawn), 1.0, 10, losses[number])

    monkeypatch.setattr(tuning, "_train", train)
    found = tune(texts[0], tmp_path / "out", {}, ranges(), minutes=1.0, trials=6)
    assert trained == [*((0, number, 5.0) for number in range(6)), (1, 1, 15.0), (1, 4, 15.0)]
    assert (found[0].round, found[0].number, found[0].valid_loss) == (1, 1, 1.0)
    assert found[-1].valid_loss is None
    best = parse_toml((tmp_path / "out" / "best.toml").read_text(), "best")
    assert best == found[0].drawn


def test_a_search_leaves_a_recipe_a_model_and_a_table_and_is_not_made_twice(
    texts: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["tune", str(texts[0]), "--valid", str(texts[1]), "--recipe", str(tmp_path / "tiny.toml")]
    command += ["--out", str(out), "--minutes", "0.03", "--trials", "3", "--set", "bptt=4"]
    assert run([*command, "--json"]) == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out)
    assert sorted(len(t["drawn"]) for t in result["trials"] if t["round"] == 1) == [0, 2, 2]
    assert sorted((t["round"], t["number"]) for t in result["trials"])[:3] == [(1, 0), (1, 1), (1, 2)]
    assert result["best"]["round"] == 2 and 1 < result["best"]["valid_perplexity"] < 8
    assert all("learn.bptt" not in t["drawn"] for t in result["trials"])
    assert captured.err.count("round 1, trial") == 3
    best = build(parse_toml((out / "best.toml").read_text(), "best"))
    assert best.learn.bptt == 4 and best.network.activation == "tanh"
    assert run(["evaluate", str(out / "best"), str(texts[1])]) == 0
    assert run(command) == 1 and "holds the trials of another search" in capfd.readouterr().err
    assert run([*command, "--resume"]) == 0
    assert capfd.readouterr().out.count("\n") == 1 + 4
    again = [word if word != "0.03" else "0.04" for word in command]
    assert run([*again, "--resume"]) == 1 and "began with other settings" in capfd.readouterr().err


def test_an_interrupted_search_goes_on_to_the_same_trials(texts: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, calls = parse_toml(RECIPE, "tiny"), iter(range(10**9))
    options: dict[str, Any] = {"valid": texts[1], "minutes": 0.03, "trials": 3, "seed": 5}
    with pytest.raises(Interrupted, match="those before it are kept"):
        tune(texts[0], tmp_path / "out", recipe, ranges(), **options, should_stop=lambda: next(calls) > 60)
    before = (tmp_path / "out" / "trials.jsonl").read_text()
    found = tune(texts[0], tmp_path / "out", recipe, ranges(), **options, resume=True)
    assert (tmp_path / "out" / "trials.jsonl").read_text().startswith(before)
    assert sorted((trial.round, trial.number) for trial in found)[:3] == [(0, 0), (0, 1), (0, 2)] and len(found) == 4


def test_a_damaged_list_of_trials_is_said_to_be_so(texts: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "trials.jsonl").write_text('{"given": {}}\n{"what": 1}\n')
    with pytest.raises(OutputError, match="is damaged"):
        tune(texts[0], tmp_path, {}, ranges(), minutes=0.1, resume=True)


@given(alpha=st.floats(1e-6, 10), hidden=st.integers(1, 1000), tied=st.booleans())
def test_a_recipe_that_is_written_reads_as_it_was(alpha: float, hidden: int, tied: bool) -> None:
    settings = {"learn.alpha": alpha, "network.hidden": hidden, "network.tied": tied, "learn.regime": "sentences"}
    assert parse_toml(as_toml(settings, 'in "words"'), "it") == settings
