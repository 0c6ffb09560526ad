"""Caches are what their formulas say, and always distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apply import caches
from elman.apply.caches import COUNTING, Cache, NeuralCache
from elman.apply.running import Adaptation, mixed, read_running
from elman.errors import UsageError
from elman.network.folder import Model

Trained = Callable[[str], Model]
END = 0
TEXTS = st.lists(st.integers(0, 4), min_size=1, max_size=60)


def slow_counts(kind: str, history: list[int], asked: int, size: int, rate: float) -> float:
    """p_cache(asked) after a history, as the formulas say it."""
    last = history[-size:]
    if kind == "decay":
        weights = [math.exp(-rate * (len(history) - 1 - i)) for i in range(len(history))]
        same = [w for w, symbol in zip(weights, history, strict=True) if symbol == asked]
        return sum(same) / sum(weights) if history else float(asked == END)
    if kind == "bigram":
        pairs = list(zip([END, *history], history, strict=False))[-size:]
        before = history[-1] if history else END
        following = [w for v, w in pairs if v == before]
        if following:
            return following.count(asked) / len(following)
    return last.count(asked) / len(last) if last else float(asked == END)


@pytest.mark.parametrize("kind", COUNTING)
@given(text=TEXTS, size=st.integers(1, 70), rate=st.sampled_from([0.0, 0.01, 0.5, 900.0]))
@settings(max_examples=60, deadline=None)
def test_a_counting_cache_is_its_formula(kind: str, text: list[int], size: int, rate: float) -> None:
    found = COUNTING[kind](text, END, size=size, rate=rate)
    slow = [slow_counts(kind, text[:t], text[t], size, rate) for t in range(len(text))]
    np.testing.assert_allclose(found, slow, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", COUNTING)
@given(text=TEXTS, size=st.integers(1, 70), rate=st.sampled_from([0.0, 0.01, 0.5]))
@settings(max_examples=40, deadline=None)
def test_a_counting_cache_is_a_distribution(kind: str, text: list[int], size: int, rate: float) -> None:
    shares = [COUNTING[kind]([*text, asked], END, size=size, rate=rate)[-1] for asked in range(5)]
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0


def slow_neural(states: np.ndarray, symbols: np.ndarray, size: int, flatness: float) -> list[float]:
    found = []
    for t in range(len(symbols)):
        held = range(max(0, t - size), t)
        weights = [math.exp(flatness * float(states[t] @ states[i])) for i in held]
        same = sum(w for w, i in zip(weights, held, strict=True) if symbols[i] == symbols[t])
        found.append(same / sum(weights) if held else float(symbols[t] == END))
    return found


@pytest.mark.parametrize("size", [1, 7, 40, 500])
@pytest.mark.parametrize("blocks", [[90], [1, 5, 64, 20]])
def test_the_neural_cache_is_its_formula(size: int, blocks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "ROWS", 16)
    draw = np.random.default_rng(1)
    states, symbols = draw.normal(size=(90, 6)), draw.integers(0, 5, 90)
    cache = NeuralCache(size=size, flatness=[0.0, 0.3, 2.0], end=END)
    pieces = zip(np.split(states, np.cumsum(blocks)[:-1]), np.split(symbols, np.cumsum(blocks)[:-1]), strict=True)
    found = torch.cat([cache.read(torch.from_numpy(s), torch.from_numpy(w)) for s, w in pieces], dim=1).exp().numpy()
    for row, flatness in zip(found, [0.0, 0.3, 2.0], strict=True):
        np.testing.assert_allclose(row, slow_neural(states, symbols, size, flatness), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t", [0, 1, 30])
def test_the_neural_cache_is_a_distribution(t: int) -> None:
    draw = np.random.default_rng(2)
    states, symbols = torch.from_numpy(draw.normal(size=(t + 1, 6))), torch.from_numpy(draw.integers(0, 5, t + 1))
    total = 0.0
    for asked in range(5):
        symbols[t] = asked
        total += float(NeuralCache(size=20, flatness=[0.5], end=END).read(states, symbols)[0, t].exp())
    assert total == pytest.approx(1)


@pytest.mark.parametrize("kind", caches.KINDS)
def test_model_and_cache_together_are_a_distribution(kind: str, trained: Trained, room: Path) -> None:
    model = trained("word")
    text = [i for line in (room / "test.txt").read_text().splitlines()[:4] for i in (*model.tokenizer.encode(line), 0)]
    text.insert(5, model.tokenizer.size)  # an unseen word takes no share
    adaptation = Adaptation(cache=Cache(kind, size=10, weight=0.3))
    total = 0.0
    for asked in range(model.tokenizer.size):
        total += math.exp(mixed(read_running(model, np.array([*text, asked]), adaptation), 0.3)[-1])
    assert total == pytest.approx(1, abs=1e-5)


def test_what_is_left_out_is_not_remembered(trained: Trained) -> None:
    model = trained("word")
    D = model.tokenizer.size
    with_unseen, without = np.array([3, D, 4, 3, D, D, 4]), np.array([3, 4, 3, 4])
    cache = Adaptation(cache=Cache("plain", size=3))
    found = read_running(model, with_unseen, cache)
    assert np.isnan(found.log_probs).tolist() == (with_unseen == D).tolist()
    assert np.isnan(found.cache[0]).tolist() == (with_unseen == D).tolist()
    np.testing.assert_allclose(found.cache[0][with_unseen < D], read_running(model, without, cache).cache[0])


def test_several_flatnesses_are_read_at_once(trained: Trained, room: Path) -> None:
    model = trained("char")
    ids = np.array(list(model.tokenizer.encode((room / "test.txt").read_text()[:400])))
    adaptation = Adaptation(cache=Cache("neural", size=50))
    both = read_running(model, ids, adaptation, flatness=[0.1, 1.0])
    for row, flatness in zip(both.cache, [0.1, 1.0], strict=True):
        alone = read_running(model, ids, Adaptation(cache=Cache("neural", size=50, flatness=flatness)))
        np.testing.assert_allclose(row, alone.cache[0], rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"kind": "large"}, {"size": 0}, {"weight": 1.1}, {"flatness": -1.0}, {"rate": -0.1}])
def test_a_cache_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        Cache(**wrong)
