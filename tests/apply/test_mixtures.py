"""Weights are the likeliest there are, and a mixture of distributions is one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apply.caches import Cache
from elman.apply.evaluate import evaluate
from elman.apply.members import Member, open_member, read_members
from elman.apply.mixtures import check_weights, log_mixture, tune_weights
from elman.apply.traces import Trace
from elman.errors import TextError, UsageError
from elman.network.folder import Model

Trained = Callable[[str], Model]


def members_log_probs(seed: int, members: int, events: int = 300) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.log(draw.random((members, events)) ** 3)


def likelihood(log_probs: np.ndarray, weights: np.ndarray) -> float:
    return float(np.log(weights @ np.exp(log_probs)).mean())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("members", [2, 3])
def test_em_finds_what_a_grid_finds(seed: int, members: int) -> None:
    log_probs = members_log_probs(seed, members)
    tuned = tune_weights(log_probs)
    steps = np.linspace(0, 1, 101)
    grid = [np.array(w) for w in itertools.product(steps, repeat=members) if abs(sum(w) - 1) < 1e-9]
    best = max(grid, key=lambda weights: likelihood(log_probs, weights))
    assert np.abs(tuned.weights - best).max() <= 0.011
    assert likelihood(log_probs, tuned.weights) >= likelihood(log_probs, best) - 1e-6
    assert tuned.history[-1] == pytest.approx(likelihood(log_probs, tuned.weights), abs=1e-12)


@given(seed=st.integers(0, 10**6), members=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_the_likelihood_never_falls_and_weights_add_up(seed: int, members: int) -> None:
    tuned = tune_weights(members_log_probs(seed, members, 40))
    assert all(after >= before - 1e-12 for before, after in itertools.pairwise(tuned.history))
    assert tuned.weights.sum() == pytest.approx(1) and (tuned.weights >= 0).all()


def test_events_left_out_or_impossible_for_all_say_nothing() -> None:
    log_probs = members_log_probs(1, 2)
    more = np.concatenate([log_probs, [[math.nan, -math.inf, -1], [-1, -math.inf, math.nan]]], axis=1)
    np.testing.assert_array_equal(tune_weights(more).weights, tune_weights(log_probs).weights)
    with pytest.raises(UsageError, match="no event"):
        tune_weights(more[:, -3:])


def test_a_member_that_is_impossible_somewhere_keeps_some_weight_but_not_all() -> None:
    log_probs = np.array([[-3.0, -3.0, -3.0], [-0.1, -math.inf, -0.1]])
    weights = tune_weights(log_probs).weights
    assert 0 < weights[0] < 1
    assert likelihood(log_probs, weights) > max(likelihood(log_probs, np.array(w)) for w in ([0.9, 0.1], [0.1, 0.9]))


def test_unlikely_events_do_not_vanish() -> None:
    log_probs = np.array([[-900.0, -2000.0], [-901.0, -2001.0]])
    np.testing.assert_allclose(log_mixture(log_probs, np.array([0.5, 0.5])), [-900.3798854, -2000.3798854])
    assert tune_weights(log_probs).weights[0] > 0.99


def test_log_mixture_is_the_logarithm_of_the_sum() -> None:
    log_probs = np.array([[math.log(0.2), math.log(0.5), 0.0], [math.log(0.4), -math.inf, 0.0]])
    found = log_mixture(log_probs, np.array([0.25, 0.75]))
    np.testing.assert_allclose(found, np.log([0.25 * 0.2 + 0.75 * 0.4, 0.125, 1.0]), atol=1e-15)
    np.testing.assert_allclose(log_mixture(log_probs, np.array([1.0, 0.0])), log_probs[0], atol=1e-15)
    assert log_mixture(log_probs, np.array([0.0, 1.0]))[1] == -math.inf
    assert np.isnan(log_mixture(np.array([[math.nan], [-1.0]]), np.array([0.0, 1.0])))[0]


@pytest.mark.parametrize("weights", [[0.5], [0.5, 0.6], [-0.1, 1.1], [math.nan, 1.0]])
def test_weights_that_are_no_distribution_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="weights"):
        check_weights(weights, 2)


# Members


def reading(name: str, tokens: str, values: list[float]) -> Member:
    return Member(name, lambda _text, _tuning: Trace(name, tokens.split(), np.array(values)))


def test_the_mix_of_a_model_with_itself_is_itself(trained: Trained, room: Path) -> None:
    trained("word")
    members = [open_member(str(room / "word")) for _ in range(3)]
    mixed = read_members(members, str(room / "test.txt"), tuning=True)
    weights = mixed.tune().weights
    np.testing.assert_allclose(weights, 1 / 3)
    alone, together = mixed.tallies(weights)
    assert together.perplexity == pytest.approx(alone[0].perplexity, rel=1e-12)
    assert together.perplexity == pytest.approx(evaluate(trained("word"), room / "test.txt").perplexity, rel=1e-5)


def test_what_one_member_leaves_out_is_left_out_for_all_and_is_not_remembered() -> None:
    one = reading("one", "x y x </s>", [-1, math.nan, -1, -1])
    two = reading("two", "x y x </s>", [-2, -2, -2, -2])
    cache = Member("cache:plain:5", cache=Cache("plain", size=5))
    mixed = read_members([one, two, cache], "text", tuning=True)
    assert mixed.left_out == 1
    assert np.isnan(mixed.log_probs).tolist() == [[False, True, False, False]] * 3
    np.testing.assert_array_equal(np.exp(mixed.log_probs[2, [0, 2, 3]]), [0, 1, 0])
    alone, together = mixed.tallies(np.array([0.0, 1.0, 0.0]))
    assert [count.oovs for count in (*alone, together)] == [1] * 4
    assert together.perplexity == pytest.approx(math.exp(2))


def test_members_of_different_texts_are_refused() -> None:
    with pytest.raises(TextError, match="token 2"):
        read_members([reading("one", "x y", [-1, -1]), reading("two", "x z", [-1, -1])], "text", tuning=True)


def test_caches_alone_are_no_mixture() -> None:
    with pytest.raises(UsageError, match="needs a model"):
        read_members([open_member("cache:plain:5")], "text", tuning=True)


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        ("cache:plain:200", Cache("plain", size=200)),
        ("cache:plain", Cache("plain")),
        ("cache:bigram:7", Cache("bigram", size=7)),
        ("cache:decay:0.01", Cache("decay", rate=0.01)),
    ],
)
def test_a_cache_is_named_by_kind_and_size(name: str, cache: Cache) -> None:
    assert open_member(name).cache == cache


@pytest.mark.parametrize("name", ["cache:neural:5", "cache:plain:x", "cache:plain:0", "nowhere", "nowhere:neither"])
def test_a_member_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        open_member(name)


def test_dumps_are_members_one_for_each_text(tmp_path: Path) -> None:
    (tmp_path / "v.tsv").write_text("# base=2\nx\t-1\n</s>\t-1\n")
    (tmp_path / "t.tsv").write_text("# base=2\ny\t-2\n</s>\t-2\n")
    pair = open_member(f"{tmp_path}/v.tsv:{tmp_path}/t.tsv", both=True)
    assert read_members([pair], "-", tuning=True).tokens == ["x", "</s>"]
    assert read_members([pair], "-", tuning=False).tokens == ["y", "</s>"]
    assert read_members([open_member(f"{tmp_path}/v.tsv")], "-", tuning=False).tokens == ["x", "</s>"]
    with pytest.raises(UsageError, match="one text"):
        open_member(f"{tmp_path}/v.tsv", both=True)


ARPA = "\\data\\\nngram 1=4\n\n\\1-grams:\n-99\t<s>\n-0.5\t</s>\n-0.25\tthe\n-1\tcat\n\n\\end\\\n"


def test_an_arpa_file_is_a_member(tmp_path: Path, room: Path) -> None:
    (tmp_path / "kn.arpa").write_text(ARPA)
    (tmp_path / "text").write_text("the zebra\n\n  \ncat\n")
    mixed = read_members([open_member(str(tmp_path / "kn.arpa"))], str(tmp_path / "text"), tuning=True)
    expected = np.array([-0.25, math.nan, -0.5, -1, -0.5]) * math.log(10)
    np.testing.assert_allclose(mixed.log_probs[0], expected, rtol=1e-6)
