"""Bases come back from a range coder: to the same bits in the compiled loop, in its slow twin, and one by one."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.config import build
from elman.errors import TextError
from elman.network import kernels
from elman.network.base_coder import BaseDecoder, frequencies_of
from elman.network.bases import LEARN_COUNTS, LEARN_WEIGHTS, BaseReader, Contexts
from elman.network.bases_folder import new_network
from elman.network.model import RecurrentNetwork
from elman.text.range_coder import Encoder, quantize

LEARN = LEARN_WEIGHTS | LEARN_COUNTS
compiled_only = pytest.mark.skipif(
    not hasattr(kernels.compiled, "bases_decode"), reason="the compiled loops are not there"
)
KINDS = [pytest.param(True, marks=compiled_only), False]


def bases(count: int, seed: int) -> np.ndarray:
    """Bases that repeat themselves, so that there is something to learn."""
    draw = np.random.default_rng(seed)
    word = draw.integers(0, 4, 37)
    codes = np.resize(word, count)
    wrong = draw.random(count) < 0.2
    return np.where(wrong, draw.integers(0, 4, count), codes).astype(np.uint8)


def network(hidden: int = 9, seed: int = 3) -> RecurrentNetwork:
    given = {"network.encoder": "n-gram", "network.ngrams": [2, 3], "network.hidden": hidden}
    given |= {"network.activation": "tanh", "network.bias": True, "network.init_range": 0.5}
    return new_network(build(given).network, torch.Generator().manual_seed(seed))


def reader(count: int, compiled: bool, *, net: bool = True) -> BaseReader:
    contexts = Contexts([1, 2, 3, 12, 13, 24], bits=8)
    return BaseReader(contexts, network() if net else None, keep=count, compiled=compiled)


def encoded(codes: np.ndarray, compiled: bool, *, net: bool = True) -> tuple[bytes, BaseReader, np.ndarray, np.ndarray]:
    """Return the coded bases, who read them, y, and what the contexts added."""
    first, mixed, data = reader(len(codes), compiled, net=net), np.empty((len(codes), 4), np.float32), bytearray()
    y = first.follow(codes, rate=0.02, learn=LEARN, keep=True, mixed=mixed)
    encoder = Encoder(data.extend)
    encoder.encode_all(codes, quantize(y))
    encoder.finish()
    return bytes(data), first, y, mixed


@compiled_only
@given(seed=st.integers(0, 2**32), scale=st.floats(0.01, 80))
def test_the_compiled_frequencies_are_those_of_quantize(seed: int, scale: float) -> None:
    logits = np.random.default_rng(seed).normal(size=(500, 4)) * scale
    y = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float32)
    y[::3] /= y[::3].sum(axis=1, keepdims=True)  # the others are divided by their sum by both
    assert np.array_equal(frequencies_of(y), quantize(y))


@compiled_only
def test_frequencies_agree_where_a_product_is_a_whole_number_and_where_probabilities_are_equal() -> None:
    steps = np.random.default_rng(1).integers(0, 65_533, (20_000, 4))
    y = (steps / 65_532).astype(np.float32)
    equal = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1], [1e-38, 1e-38, 1, 1]], np.float32)
    for rows in (y[steps.sum(axis=1) > 0], equal):
        assert np.array_equal(frequencies_of(rows), quantize(rows))


@pytest.mark.parametrize("compiled", KINDS)
def test_a_run_of_bases_and_one_base_after_the_other_give_the_same_bits(compiled: bool) -> None:
    codes = bases(300, 1)
    _, run, y, mixed = encoded(codes, compiled)
    single = reader(len(codes), compiled)
    for t, base in enumerate(codes.tolist()):
        assert np.array_equal(single.predict(t + 1), y[t]) and np.array_equal(single.mixed, mixed[t])
        single.take(base, t + 1, rate=0.02, learn=LEARN)
    assert np.array_equal(single.states, run.states) and np.array_equal(single.registers, run.registers)
    assert np.array_equal(single.contexts.weights, run.contexts.weights)
    assert np.array_equal(single.contexts.tables, run.contexts.tables)


@pytest.mark.parametrize("net", [True, False])
@pytest.mark.parametrize(("loop", "compiled"), [(False, False), *(pytest.param(*p, marks=compiled_only) for p in
                         [(False, True), (True, True)])])  # fmt: skip
def test_bases_come_back_with_all_that_was_learnt_from_them(loop: bool, compiled: bool, net: bool) -> None:
    codes = bases(500, 2)
    data, first, _, mixed = encoded(codes, compiled, net=net)
    second, again = reader(len(codes), compiled, net=net), np.zeros_like(mixed)
    decoder = BaseDecoder(second, data, compiled=loop)
    found = decoder.decode(len(codes), rate=0.02, learn=LEARN, mixed=again)
    decoder.finish()
    assert np.array_equal(found, codes) and np.array_equal(again, mixed)
    assert np.array_equal(first.states, second.states) and np.array_equal(first.registers, second.registers)
    assert np.array_equal(first.contexts.weights, second.contexts.weights)
    assert np.array_equal(first.contexts.tables, second.contexts.tables)


@pytest.mark.parametrize("loop", KINDS)
def test_bytes_that_end_early_or_go_on_or_are_others_are_noticed(loop: bool) -> None:
    codes = bases(400, 3)
    data, _, _, mixed = encoded(codes, loop)

    def decode(coded: bytes) -> np.ndarray:
        decoder = BaseDecoder(reader(len(codes), loop), coded, compiled=loop)
        found = decoder.decode(len(codes), rate=0.02, learn=LEARN, mixed=np.zeros_like(mixed))
        decoder.finish()
        return found

    assert np.array_equal(decode(data), codes)
    for coded in (data[:-8], data[:4], b""):
        with pytest.raises(TextError, match=rf"cut short: they end after {len(coded)} bytes"):
            decode(coded)
    with pytest.raises(TextError, match="go on after the last base"):
        decode(data + bytes(4))
    with pytest.raises(TextError, match=r"are damaged, or were coded with other probabilities|cut short"):
        decode(b"\xff" * 1000)
    with contextlib.suppress(TextError):
        assert not np.array_equal(decode(data[:6] + b"\x55\xaa" + data[8:]), codes)


@compiled_only
@pytest.mark.parametrize("hidden", [9, 64])
def test_where_memory_lies_changes_no_bit(hidden: int) -> None:
    """Who decodes has other addresses than who encoded."""
    codes, found = bases(200, 4), []
    for shift in range(16):
        mine = BaseReader(Contexts([1, 2, 4, 13], bits=8), network(hidden), keep=len(codes))
        for name in ("states", "stretched", "y", "mixed", "_drive"):
            old = getattr(mine, name)
            room = np.zeros(old.size + 32, np.float32)
            start = (-room.ctypes.data // 4) % 16 + shift
            moved = room[start : start + old.size].reshape(old.shape)
            assert moved.ctypes.data % 64 == 4 * shift
            setattr(mine, name, moved)
        mine._plan = mine._make_plan()
        found.append(mine.follow(codes, rate=0.02, learn=LEARN, keep=True))
    assert all(np.array_equal(found[0], other) for other in found[1:])
    assert found[0].std() > 0.05
