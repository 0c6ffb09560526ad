"""Bases one after the other: the compiled loop, its slow twin, and what a dictionary of counts says."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network import kernels
from elman.network.bases import (
    DENSE_ORDER,
    KINDS,
    LEARN_COUNTS,
    LEARN_WEIGHTS,
    SIZES,
    START,
    BaseReader,
    Codes,
    Contexts,
    Floats,
    check_plain,
    smoothing,
)
from elman.network.model import RecurrentNetwork
from elman.text.dna import encode, reverse_complement

BOTH = LEARN_WEIGHTS | LEARN_COUNTS
compiled = pytest.mark.skipif(not kernels.available(), reason="elman was installed without a C compiler")
ways = pytest.mark.parametrize("fast", [pytest.param(True, marks=compiled), False], ids=["compiled", "slow"])


def sequence(seed: int, length: int) -> Codes:
    """Bases by chance, with repeats of what came before, some of them of the other strand, and runs of one base."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 4, 40).astype(np.uint8)
    while len(codes) < length:
        start = int(draw.integers(0, len(codes) - 30))
        part = codes[start : start + int(draw.integers(5, 60))]
        kind = draw.integers(0, 4)
        if kind == 1:
            part = reverse_complement(part)
        elif kind == 2:
            part = draw.integers(0, 4, 20).astype(np.uint8)
        elif kind == 3:
            part = np.full(int(draw.integers(1, 40)), draw.integers(0, 4), dtype=np.uint8)
        codes = np.concatenate([codes, part])
    return codes[:length]


def network(seed: int, hidden: int, **options: object) -> RecurrentNetwork:
    """A plain net over the bases of which no weight is zero, and whose states do not grow without bound."""
    net = RecurrentNetwork(4, NetworkSettings(hidden=hidden, **options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.uniform_(-0.7, 0.7, generator=generator)
            weight.mul_(1 / hidden if name == "cells.0.W" else 1)
    return net


shapes = st.fixed_dictionaries(
    {
        "activation": st.sampled_from(sorted(KINDS)),
        "bias": st.booleans(),
        "encoder": st.sampled_from(["one-hot", "n-gram"]),
        "ngrams": st.lists(st.integers(2, 5), min_size=1, max_size=3),
    }
)
orders = st.lists(st.integers(0, 24), max_size=6)


@compiled
@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    length=st.integers(0, 260),
    orders=orders,
    bits=st.integers(1, 9),
    hidden=st.one_of(st.none(), st.integers(1, 9)),
    shape=shapes,
    learn=st.integers(0, 3),
    keep=st.booleans(),
)
def test_the_compiled_loop_is_its_twin(
    seed: int, length: int, orders: list[int], bits: int, hidden: int | None, shape: dict, learn: int, keep: bool
) -> None:
    codes = sequence(seed, max(40, length))[:length]
    net = None if hidden is None else network(seed, hidden, **shape)
    readers, results = [], []
    for fast in (True, False):
        reader = BaseReader(Contexts(orders, bits=bits), net, keep=length, compiled=fast)
        assert reader.compiled is fast
        mixed = np.full((length, 4), np.nan, dtype=np.float32)
        results.append((reader.follow(codes, rate=0.05, learn=learn, keep=keep, mixed=mixed), mixed))
        readers.append(reader)
    first, second = readers
    np.testing.assert_array_equal(first.contexts.tables, second.contexts.tables)
    np.testing.assert_array_equal(first.registers, second.registers)
    assert first.known == length
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(first.contexts.weights, second.contexts.weights, rtol=2e-4, atol=2e-5)
    rows = slice(None) if keep else slice(0, 1)  # the row after s(t) is room of the loop
    np.testing.assert_allclose(first.states[rows], second.states[rows], rtol=2e-4, atol=2e-5)


class Dictionary:
    """Counts of what came after each context, as the documentation says it: of both strands, halved when full."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])

    def read(self, window: tuple[int, ...], most: int) -> None:
        """Count the last base of a window after the others, and the same of the window's other strand."""
        for strand in (window, tuple(3 - base for base in reversed(window))):
            row = self.counts[strand[:-1]]
            if row[strand[-1]] == most:
                row[:] = [n // 2 for n in row]
            row[strand[-1]] += 1


def y_by_dictionaries(codes: Codes, orders: list[int]) -> Floats:
    """y of contexts alone, with the weights that they begin with, from a dictionary for each order."""
    bases = codes.tolist()
    tables = [Dictionary() for _ in orders]
    rows = []
    for t, base in enumerate(bases):
        logits = np.zeros(4)
        for k, table in zip(orders, tables, strict=True):
            if t < k:
                continue
            context = tuple(bases[t - k : t])
            stretched = np.log(np.array(table.counts[context]) + smoothing(k))
            logits += START / len(orders) * (stretched - stretched.mean())
            table.read((*context, base), 255 if k <= DENSE_ORDER else 15)
        y = np.exp(logits - logits.max())
        rows.append(y / y.sum())
    return np.array(rows)


@ways
@pytest.mark.parametrize("orders", [[0], [1], [2, 3], [0, 1, 5, 8, 12], [12], [13], [16, 24], [3, 11, 14, 20]], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_a_dictionary_of_both_strands(seed: int, orders: list[int], fast: bool) -> None:
    """With 2^18 places for some hundred contexts no two of them, by these seeds, meet in a hashed table."""
    codes = sequence(seed, 700)
    y = BaseReader(Contexts(orders, bits=18), None, compiled=fast).follow(codes, learn=LEARN_COUNTS)
    expected = y_by_dictionaries(codes, orders)
    np.testing.assert_allclose(y, expected, rtol=1e-4)
    assert np.ptp(expected) > 0.2, "the contexts never said anything"


@ways
@pytest.mark.parametrize(("order", "most"), [(1, 255), (2, 255), (12, 255), (13, 15), (24, 15)])
def test_counts_that_are_full_are_halved(order: int, most: int, fast: bool) -> None:
    contexts = Contexts([order], bits=12)
    reader = BaseReader(contexts, None, compiled=fast)
    reader.follow(np.zeros(order, dtype=np.uint8), learn=LEARN_COUNTS)
    for n in range(1, 2 * most):
        reader.follow(np.zeros(1, dtype=np.uint8), learn=LEARN_COUNTS)
        count = n if n <= most else most // 2 + 1 + (n - most - 1) % (most - most // 2)
        y = reader.predict().astype(np.float64)  # after AAA.. only A was counted: what TTT.. had is a row of its own
        assert y[0] / y[1] == pytest.approx(((count + smoothing(order)) / smoothing(order)) ** START, rel=1e-4)


@ways
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), orders=orders, hidden=st.integers(0, 5), shape=shapes, learn=st.integers(0, 3))
def test_a_base_by_itself_and_a_base_in_a_run_give_the_same_bits(
    fast: bool, seed: int, orders: list[int], hidden: int, shape: dict, learn: int
) -> None:
    codes = sequence(seed, 80)
    net = network(seed, hidden, **shape) if hidden else None
    runner, stepper, blocky = (BaseReader(Contexts(orders, bits=8), net, compiled=fast) for _ in range(3))
    expected = runner.follow(codes, rate=0.05, learn=learn)
    for base, row in zip(codes.tolist(), expected, strict=True):
        np.testing.assert_array_equal(stepper.predict(), row)
        stepper.take(base, rate=0.05, learn=learn)
        stepper.states[0] = stepper.states[1]
    parts = [blocky.follow(part, rate=0.05, learn=learn) for part in np.split(codes, [1, 8, 31, 31])]
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    for other in (stepper, blocky):
        np.testing.assert_array_equal(other.contexts.tables, runner.contexts.tables)
        np.testing.assert_array_equal(other.contexts.weights, runner.contexts.weights)
        np.testing.assert_array_equal(other.registers, runner.registers)
        np.testing.assert_array_equal(other.states[0], runner.states[0])


@ways
def test_kept_states_are_those_of_one_after_the_other(fast: bool) -> None:
    codes, net = sequence(1, 50), network(1, 6, encoder="n-gram", ngrams=[3], activation="tanh")
    kept = BaseReader(Contexts([2], bits=8), net, keep=50, compiled=fast)
    single = BaseReader(Contexts([2], bits=8), net, compiled=fast)
    y = kept.follow(codes, keep=True)
    for t in range(50):
        np.testing.assert_array_equal(single.follow(codes[t : t + 1])[0], y[t])
        np.testing.assert_array_equal(kept.states[t + 2], single.states[0])
    np.testing.assert_array_equal(kept.states[:2], 0)


@ways
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), orders=orders, bits=st.integers(1, 9), length=st.integers(0, 200))
def test_counting_alone_leaves_the_tables_of_learning_counts(
    fast: bool, seed: int, orders: list[int], bits: int, length: int
) -> None:
    codes, net = sequence(seed, 200)[:length], network(seed, 3)
    follower, counter = (BaseReader(Contexts(orders, bits=bits), net, compiled=fast) for _ in range(2))
    follower.follow(codes, learn=LEARN_COUNTS)
    counter.count(codes)
    np.testing.assert_array_equal(follower.contexts.tables, counter.contexts.tables)
    np.testing.assert_array_equal(follower.registers, counter.registers)
    np.testing.assert_array_equal(counter.states, 0)
    assert bool(counter.contexts.tables.any()) == (length > min(orders, default=length))


@ways
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), place=st.integers(0, 98), orders=orders, shape=shapes)
def test_no_bit_of_y_depends_on_what_comes_later(
    fast: bool, seed: int, place: int, orders: list[int], shape: dict
) -> None:
    codes = sequence(seed, 100)
    other = codes.copy()
    other[place:] = 3 - other[place:]
    net = network(seed, 5, **shape | {"activation": "tanh"})
    first, second = (
        BaseReader(Contexts(orders, bits=6), net, compiled=fast).follow(each, rate=0.1, learn=BOTH)
        for each in (codes, other)
    )
    np.testing.assert_array_equal(first[: place + 1], second[: place + 1])
    assert (first[place + 1] != second[place + 1]).any()


@ways
@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), hidden=st.integers(1, 9), shape=shapes, length=st.integers(1, 60))
def test_states_and_y_are_those_of_the_network(fast: bool, seed: int, hidden: int, shape: dict, length: int) -> None:
    codes, net = sequence(seed, 60)[:length], network(seed, hidden, **shape)
    reader = BaseReader(Contexts([], bits=4), net, keep=length, compiled=fast)
    y = reader.follow(codes, keep=True)
    with torch.no_grad():
        _, above = net.unroll(net.initial_state(1), torch.from_numpy(codes.astype(np.int64)).unsqueeze(1))
        expected = torch.softmax(net.output.logits(above, net.encoder.U), dim=-1)[:, 0].numpy()
        at_first = torch.softmax(net.output.logits(net.initial_state(1)[0], net.encoder.U), dim=-1)[0].numpy()
    np.testing.assert_allclose(reader.states[2:], above[:, 0].numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(y[0], at_first, rtol=1e-4)
    np.testing.assert_allclose(y[1:], expected[:-1], rtol=1e-4, atol=1e-6)


@ways
@settings(max_examples=20)
@given(
    seed=st.integers(0, 10_000), orders=st.lists(st.integers(0, 24), min_size=1, max_size=5), hidden=st.integers(0, 3)
)
def test_the_weights_that_mix_follow_the_gradient(fast: bool, seed: int, orders: list[int], hidden: int) -> None:
    codes = sequence(seed, 90)
    net = network(seed, hidden) if hidden else None
    contexts = Contexts(orders, bits=8)
    contexts.weights[:] = np.random.default_rng(seed).uniform(-1, 1, contexts.weights.shape)
    reader = BaseReader(contexts, net, compiled=fast)
    reader.follow(codes[:-1], learn=LEARN_COUNTS)
    y = reader.predict().copy()
    weights = torch.from_numpy(contexts.weights.astype(np.float64)).requires_grad_()
    stretched = torch.from_numpy(reader.stretched.astype(np.float64))
    logits = torch.zeros(4, dtype=torch.float64)
    if net is not None:
        logits = net.output.logits(torch.from_numpy(reader.states[0]), net.encoder.U).detach().double()
    for i, bucket in enumerate(reader.buckets.tolist()):
        logits = logits + weights[i, bucket] * stretched[i]
    log_y = torch.log_softmax(logits, dim=-1)
    np.testing.assert_allclose(y, log_y.exp().detach().numpy(), rtol=1e-4, atol=1e-6)
    log_y[int(codes[-1])].backward()
    before = contexts.weights.astype(np.float64)
    reader.take(int(codes[-1]), rate=0.5, learn=LEARN_WEIGHTS)
    moved = contexts.weights - before
    np.testing.assert_allclose(moved, 0.5 * weights.grad.numpy(), rtol=1e-3, atol=1e-5)
    assert np.abs(moved).max() > 0 or np.ptp(reader.stretched, axis=1).max() == 0


@ways
def test_only_the_weight_of_the_size_and_the_kind_of_its_counts_moves(fast: bool) -> None:
    """After AAAA.. the context A was followed by one base alone; after a T, which nothing followed, by none."""
    contexts = Contexts([1], bits=8)
    reader = BaseReader(contexts, None, compiled=fast)
    reader.follow(encode("AAAA"), learn=LEARN_COUNTS)  # AA three times
    reader.predict()
    assert reader.buckets[0] == 2 + SIZES
    reader.take(1, rate=0.1, learn=BOTH)
    moved = np.flatnonzero(contexts.weights[0] != START)
    assert moved.tolist() == [2 + SIZES]
    reader.predict()
    assert reader.buckets[0] == 0, "nothing came after C"


@ways
@pytest.mark.parametrize("order", [1, 5, 12, 13, 24])
def test_a_sequence_shorter_than_an_order_knows_nothing_of_it(order: int, fast: bool) -> None:
    contexts = Contexts([order], bits=8)
    contexts.tables[:] = np.random.default_rng(1).integers(0, 15, len(contexts.tables))
    before = contexts.tables.copy()
    reader = BaseReader(contexts, None, compiled=fast)
    y = reader.follow(sequence(1, 40)[:order], rate=0.1, learn=BOTH)
    assert (y == 0.25).all() and (contexts.tables == before).all() and (contexts.weights == START).all()
    reader.follow(sequence(1, 40)[order : order + 1], rate=0.1, learn=BOTH)
    assert (contexts.tables != before).any()


@ways
def test_a_new_sequence_knows_nothing_of_the_last_but_its_counts(fast: bool) -> None:
    codes, net = sequence(2, 60), network(2, 4, encoder="n-gram", ngrams=[4])
    used, fresh = (BaseReader(Contexts([1, 14], bits=8), net, compiled=fast) for _ in range(2))
    used.follow(sequence(5, 60), learn=0)
    used.begin()
    np.testing.assert_array_equal(used.follow(codes), fresh.follow(codes))


@ways
def test_as_many_orders_as_there_may_be(fast: bool) -> None:
    reader = BaseReader(Contexts([k % 11 + 14 * (k % 2) for k in range(24)], bits=10), None, compiled=fast)
    y = reader.follow(sequence(3, 300), rate=0.01, learn=BOTH)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    assert y[-1].max() > 0.3


def test_a_sequence_longer_than_the_registers_counts_on() -> None:
    """Only the last 32 bases are known by name; the number of all of them is not cut off there."""
    reader = BaseReader(Contexts([24], bits=10), None)
    reader.follow(sequence(1, 1000), learn=LEARN_COUNTS)
    assert reader.known == 1000 and len(reader.history(99)) == 32
    assert reader.history(32) == sequence(1, 1000)[-32:].tolist()


def test_without_the_compiled_loop_the_twin_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    codes, net = sequence(4, 60), network(4, 4)
    expected = BaseReader(Contexts([2, 13], bits=8), net).follow(codes, learn=LEARN_COUNTS)
    monkeypatch.setattr(kernels, "compiled", None)
    reader = BaseReader(Contexts([2, 13], bits=8), net)
    assert not reader.compiled
    np.testing.assert_allclose(reader.follow(codes, learn=LEARN_COUNTS), expected, rtol=1e-4)


# What the loop would read by address: it must never see it.


@ways
@pytest.mark.parametrize("bad", [4, 14, 255, -1, 256, 10**12])
@pytest.mark.parametrize("how", ["follow", "count"])
def test_a_code_that_is_no_known_base_is_refused_with_its_place(bad: int, how: str, fast: bool) -> None:
    codes = np.array([0, 1, 2, bad, 3], dtype=np.uint8 if 0 <= bad < 256 else np.int64)
    reader = BaseReader(Contexts([0, 1], bits=8), network(1, 3), compiled=fast)
    with pytest.raises(UsageError, match=f"base 4 has code {bad}, which is no known base"):
        getattr(reader, how)(codes)
    assert reader.known == 0 and not reader.contexts.tables.any()


@ways
@pytest.mark.parametrize("base", [-1, 4, 255, 2**31])
def test_a_base_that_is_none_is_not_taken(base: int, fast: bool) -> None:
    reader = BaseReader(Contexts([0], bits=8), network(1, 3), compiled=fast)
    reader.predict()
    with pytest.raises(UsageError, match="no known base"):
        reader.take(base, learn=BOTH)


@ways
def test_there_is_no_row_past_the_states(fast: bool) -> None:
    reader = BaseReader(Contexts([0], bits=8), network(1, 3), keep=4, compiled=fast)
    for row in (-1, 6, 2**62):
        with pytest.raises(IndexError, match="there is no row"):
            reader.predict(row)
    for row in (-1, 5):
        with pytest.raises(IndexError, match="there is no row"):
            reader.take(0, row)
    with pytest.raises(IndexError, match="5 states are more than the 4 that are kept"):
        reader.follow(np.zeros(5, dtype=np.uint8), keep=True)
    with pytest.raises(ValueError, match="mixed is"):
        reader.follow(np.zeros(5, dtype=np.uint8), mixed=np.zeros((4, 4), dtype=np.float32))
    reader.follow(np.zeros(4, dtype=np.uint8), keep=True)


@ways
def test_weights_that_are_not_float32_are_refused(fast: bool) -> None:
    if fast:
        with pytest.raises(TypeError, match="float32"):
            BaseReader(Contexts([0], bits=8), network(1, 3).double(), compiled=fast)


@pytest.mark.parametrize(("orders", "bits"), [([25], 8), ([-1], 8), ([0] * 25, 8), ([14], 0), ([14], 31)], ids=str)
def test_orders_and_tables_that_cannot_be_are_refused(orders: list[int], bits: int) -> None:
    with pytest.raises(UsageError):
        Contexts(orders, bits=bits)


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm"},
        {"layers": 2},
        {"tied": True},
        {"output": "class"},
        {"direct": 2},
        {"embedding": 3},
        {"zoneout": 0.1},
        {"first_state": 1.0},
        {"encoder": "n-gram", "ngrams": [10]},
        {"activation": "sine"},
    ],
    ids=str,
)
def test_a_net_that_the_loop_does_not_read_is_refused(options: dict) -> None:
    check_plain(NetworkSettings())
    with pytest.raises(UsageError, match="unit dna"):
        check_plain(NetworkSettings(**options))
