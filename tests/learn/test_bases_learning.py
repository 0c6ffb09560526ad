"""What a block of bases teaches: windows that are cut rightly, and the gradient of a slow, obvious computation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import LearnSettings, NetworkSettings
from elman.learn.bases import BaseLearner, blocks
from elman.network.bases import Codes, Contexts
from elman.network.history import NOTHING
from elman.network.model import RecurrentNetwork

SHAPES = {
    "one-hot": {"encoder": "one-hot"},
    "n-grams": {"encoder": "n-gram", "ngrams": [2, 4], "bias": True, "activation": "tanh"},
    "relu": {"encoder": "n-gram", "ngrams": [3], "activation": "relu"},
}
shapes = pytest.mark.parametrize("shape", SHAPES)


def sequence(seed: int, length: int) -> Codes:
    return np.random.default_rng(seed).integers(0, 4, length).astype(np.uint8)


def learner(
    shape: str, *, hidden: int = 5, batch: int = 3, bptt: int = 4, orders: tuple[int, ...] = (1, 3), **options: object
) -> BaseLearner:
    """A learner whose net and contexts say something from the first base on."""
    network = RecurrentNetwork(4, NetworkSettings(hidden=hidden, **SHAPES[shape]))
    generator = torch.Generator().manual_seed(hidden)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.4, 0.4, generator=generator)
    learn = LearnSettings(**{"batch": batch, "bptt": bptt, "optimizer": "sgd", **options})
    return BaseLearner(network, Contexts(orders, bits=8), learn)


def slow_states(network: RecurrentNetwork, codes: list[int]) -> list[torch.Tensor]:
    """The states s(0), s(1), .. of one long sequence, one step after the other."""
    state = network.initial_state(1)
    states = [state[0][0]]
    for code in codes:
        state, _ = network.advance(state, torch.tensor([code]))
        states.append(state[0][0])
    return states


@shapes
@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_windows_hold_each_target_after_what_came_before_it(shape: str, lengths: list[int], seed: int) -> None:
    """Blocks of any size up to the largest: one long unroll says what state and history each window begins with."""
    learner_ = learner(shape)
    codes = sequence(seed, sum(lengths))
    text = codes.tolist()
    with torch.no_grad():
        states = slow_states(learner_.network, text)
    memory, done = learner_.network.memory, 0
    for length in lengths:
        block = codes[done : done + length]
        learner_.reader.follow(block, learn=3, rate=0.0, keep=True, mixed=learner_._mixed[:length])
        window = learner_._window(block)
        seen: list[int] = []
        for column in range(0 if window is None else window.symbols.shape[1]):
            targets = [t for t in range(window.symbols.shape[0]) if window.counted[t, column]]
            assert targets == list(range(len(targets))), "padding stands at the end"
            place = done + (1 if done == 0 else 0) + column * learner_.settings.bptt  # of the first target in the text
            before = [NOTHING] * memory + text[: place - 1]
            if memory:
                assert window.state[1][column].tolist() == before[len(before) - memory :]
            np.testing.assert_allclose(window.state[0][column], states[place - 1], rtol=1e-4, atol=1e-5)
            for t in targets:
                assert (window.symbols[t, column], window.targets[t, column]) == (text[place + t - 1], text[place + t])
                np.testing.assert_array_equal(window.mixed[t, column], learner_._mixed[place + t - done])
            seen += [place + t for t in targets]
        assert seen == list(range(max(1, done), done + length)), "every base but the first is a target once"
        learner_.learn(block, alpha=0.0)
        done += length


def slow_gradients(learner_: BaseLearner, codes: Codes, start: int, end: int) -> dict[str, torch.Tensor]:
    """The gradient of a block in float64: truncated windows, each base predicted by itself, softmax written out.

    The windows begin with the states that the reader had, of the weights that earlier blocks were read by.
    """
    text, first = codes.tolist(), max(1, start)
    exact = RecurrentNetwork(4, learner_.network.settings).double()
    exact.load_state_dict(learner_.network.state_dict())
    loss = torch.zeros((), dtype=torch.float64)
    for begin in range(first, end, learner_.settings.bptt):
        before = torch.from_numpy(learner_.reader.states[begin - start]).double()  # after begin - 1 bases
        past = [NOTHING] * exact.memory + text[: begin - 1]
        state = (before.unsqueeze(0), torch.tensor([past[len(past) - exact.memory :]]))[: 2 if exact.memory else 1]
        for target in range(begin, min(begin + learner_.settings.bptt, end)):
            state, above = exact.advance(state, torch.tensor([text[target - 1]]))
            mixed = torch.from_numpy(learner_._mixed[target - start].astype(np.float64))
            logits = exact.output.logits(above, exact.encoder.U)[0] + mixed
            loss = loss - (logits[text[target]] - torch.logsumexp(logits, 0))
    (loss / (end - first)).backward()
    return {name: weight.grad for name, weight in exact.named_parameters()}


@shapes
@pytest.mark.parametrize(("clip", "size"), [(None, 12), (None, 7), (0.05, 12)], ids=str)
def test_a_block_moves_the_net_by_its_slow_gradient(shape: str, clip: float | None, size: int) -> None:
    learner_, codes = learner(shape, clip=clip), sequence(3, 40)
    alpha, done, moved = 0.5, 0, 0.0
    for block in blocks(codes, size):
        before = {name: weight.detach().clone() for name, weight in learner_.network.named_parameters()}
        learner_.reader.follow(block, learn=3, rate=0.01, keep=True, mixed=learner_._mixed[: len(block)])
        expected = slow_gradients(learner_, codes, done, done + len(block))
        learner_.learn(block, alpha=alpha)
        norm = math.sqrt(sum(float((g**2).sum()) for g in expected.values()))
        factor = 1.0 if clip is None else min(1.0, clip / norm)
        for name, weight in learner_.network.named_parameters():
            change = ((weight.detach() - before[name]) / -alpha).double()
            torch.testing.assert_close(change, factor * expected[name], rtol=1e-3, atol=2e-6)
            moved += float(change.abs().sum())
        done += len(block)
    assert moved > 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_beta_shrinks_rows_that_no_block_reads(optimizer: str) -> None:
    """The loop reads all weights: none may be behind, as they may be where a window reads a few rows."""
    learner_ = learner("n-grams", optimizer=optimizer, beta=0.01)
    before = {name: weight.detach().clone() for name, weight in learner_.network.named_parameters()}
    codes = np.zeros(40, dtype=np.uint8)  # poly-A reads one row of U and two of the n-grams
    for block in blocks(codes, 12):
        learner_.follow(block, alpha=0.0, rate=0.0)
    for name, weight in learner_.network.named_parameters():
        left = 0.99**4 if weight.dim() > 1 else 1.0
        torch.testing.assert_close(weight.detach(), left * before[name], rtol=1e-5, atol=1e-7)


def bits_of_last_tenth(learner_: BaseLearner, codes: Codes, *, alpha: float, rate: float) -> float:
    """Bits a base of the last tenth of a sequence, each block predicted before it is learnt from."""
    y = np.concatenate([learner_.follow(block, alpha=alpha, rate=rate) for block in blocks(codes, learner_.block)])
    last = len(codes) * 9 // 10
    return -float(np.log2(y[np.arange(last, len(codes)), codes[last:]]).mean())


def counted_out(length: int) -> Codes:
    """A and C by chance, but after each seventh base a G: what place it is at, no short context says."""
    codes = np.random.default_rng(7).integers(0, 2, length).astype(np.uint8)
    codes[::7] = 2
    return codes


def test_a_net_that_learns_predicts_what_contexts_alone_and_a_net_that_does_not_cannot() -> None:
    """Given the place, 6 of 7 bases are one bit each; contexts of 3 bases see a G at most half of the time."""
    codes, options = counted_out(7 * 3000), {"hidden": 24, "batch": 4, "bptt": 16, "optimizer": "adam", "clip": 1.0}
    learnt, still = (
        bits_of_last_tenth(learner("n-grams", **options), codes, alpha=alpha, rate=0.002) for alpha in (0.005, 0.0)
    )
    alone = BaseLearner(None, Contexts((1, 3), bits=8), LearnSettings(batch=4, bptt=16))
    contexts = bits_of_last_tenth(alone, codes, alpha=0.0, rate=0.002)
    assert 6 / 7 - 0.02 < learnt < 0.95
    assert contexts > learnt + 0.1
    assert still > learnt + 0.1


def test_without_a_net_the_contexts_learn_by_themselves() -> None:
    codes = np.tile(sequence(5, 50), 40)
    alone = BaseLearner(None, Contexts((2, 12), bits=8), LearnSettings(batch=4, bptt=16))
    assert bits_of_last_tenth(alone, codes, alpha=0.1, rate=0.01) < 0.05


def test_the_same_seed_gives_the_same_bits() -> None:
    codes = sequence(6, 300)
    first, second = (learner("n-grams", optimizer="adam", clip=1.0) for _ in range(2))
    for block in blocks(codes, first.block):
        rates = {"alpha": 0.01, "rate": 0.01}
        np.testing.assert_array_equal(first.follow(block, **rates), second.follow(block, **rates))
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)
    np.testing.assert_array_equal(first.contexts.weights, second.contexts.weights)


def test_a_new_sequence_is_read_as_the_first_was() -> None:
    """The state, the history of n-grams and the window of the first base begin anew; only what was learnt stays."""
    used, fresh = (learner("n-grams", orders=()) for _ in range(2))
    for block in blocks(sequence(1, 30), used.block):
        used.follow(block, alpha=0.0, rate=0.0)
    used.begin()
    for block in blocks(sequence(2, 30), used.block):
        for each in (used, fresh):
            each.follow(block, alpha=0.5, rate=0.0)
    for one, other in zip(used.network.parameters(), fresh.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_block_is_predicted_before_anything_learns_from_it() -> None:
    learner_, still = learner("n-grams"), learner("n-grams")
    codes = sequence(8, 24)
    first = learner_.follow(codes[:12], alpha=1.0, rate=0.0)
    np.testing.assert_array_equal(first, still.follow(codes[:12], alpha=0.0, rate=0.0))
    second, other = (each.follow(codes[12:], alpha=0.0, rate=0.0) for each in (learner_, still))
    assert (second != other).any()


def test_a_block_that_is_too_long_is_refused() -> None:
    with pytest.raises(IndexError, match="13 states are more than the 12 that are kept"):
        learner("one-hot").follow(sequence(1, 13), alpha=0.1, rate=0.0)


@pytest.mark.parametrize("name", ["encoder.U", "cells.0.W", "output.V"])
def test_weights_that_are_no_numbers_are_noticed(name: str) -> None:
    """The compiled loop makes a uniform y of them, as if all were well."""
    learner_ = learner("one-hot")
    learner_.follow(sequence(1, 12), alpha=0.1, rate=0.0)
    assert learner_.sound
    with torch.no_grad():
        learner_.network.get_parameter(name).fill_(torch.nan)
    learner_.follow(sequence(2, 12), alpha=0.1, rate=0.0)
    assert not learner_.sound
