"""One step, with V in full or in fewer bits: the compiled loop, its twin, and the network's own step."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network import kernels
from elman.network.model import RecurrentNetwork
from elman.network.step import MOST_ROWS, Stepper
from elman.network.storage import WEIGHTS, as_int8, stored

compiled = pytest.mark.skipif(not kernels.available(), reason="elman was installed without a C compiler")


def network(D: int = 37, seed: int = 3, **options: object) -> RecurrentNetwork:
    net = RecurrentNetwork(D, NetworkSettings(hidden=12, init_range=1.0, **options))
    net.initialize(torch.Generator().manual_seed(seed))
    return net


@compiled
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 4),
    symbols=st.integers(1, 600),
    hidden=st.integers(1, 70),
    int8=st.booleans(),
    with_offset=st.booleans(),
    threads=st.integers(1, 3),
)
def test_the_compiled_loop_is_its_twin(
    seed: int, batch: int, symbols: int, hidden: int, int8: bool, with_offset: bool, threads: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(batch, hidden, generator=generator)
    V = torch.randn(hidden, symbols, generator=generator)
    rows, scales = as_int8(V) if int8 else (V.t().to(torch.bfloat16), None)
    offset = torch.randn(symbols, generator=generator) if with_offset else None
    found = kernels.stored_log_probs(states, rows.contiguous(), scales, offset, threads=threads)
    # An int8 row meets a state of 16 bits: what rounding it can change is known.
    rounding = float(states.abs().max() / 32767 * V.abs().sum(0).max()) if int8 else 0.0
    expected = kernels.stored_log_probs_slowly(states, rows, scales, offset)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-5 + rounding)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(batch))
    assert torch.equal(found, kernels.stored_log_probs(states, rows.contiguous(), scales, offset, threads=1))


@compiled
@pytest.mark.parametrize("hidden", [517, 6000, 20_000])
def test_a_wide_state_does_not_overflow_its_sum(hidden: int) -> None:
    states, V = torch.ones(1, hidden), torch.ones(hidden, 3)
    V[:, 1] = -1.0
    rows, scales = as_int8(V)
    found = kernels.stored_log_probs(states, rows.contiguous(), scales, torch.zeros(3))
    torch.testing.assert_close(found[0, 0] - found[0, 1], torch.tensor(2.0 * hidden))


def test_a_state_of_zeros_says_that_all_symbols_are_alike() -> None:
    rows, scales = as_int8(torch.zeros(5, 8))
    log_probs = kernels.stored_log_probs(torch.zeros(1, 5), rows.contiguous(), scales, None)
    torch.testing.assert_close(log_probs.exp(), torch.full((1, 8), 1 / 8))


@given(seed=st.integers(0, 10_000), spread=st.sampled_from([1e-6, 1.0, 1e6]))
def test_int8_moves_no_weight_by_more_than_half_a_scale(seed: int, spread: float) -> None:
    V = torch.randn(9, 7, generator=torch.Generator().manual_seed(seed)) * spread
    rows, scales = as_int8(V)
    assert int(rows.abs().max()) <= 127
    assert ((rows * scales.unsqueeze(1)).t() - V).abs().le(scales * 0.5001).all()
    torch.testing.assert_close(stored(V, "int8"), (rows * scales.unsqueeze(1)).t())


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("options", [{}, {"bias": True, "layers": 2}, {"tied": True, "activation": "tanh"}], ids=str)
@pytest.mark.parametrize("batch", [1, 3, MOST_ROWS + 1])
def test_a_stepper_is_the_step_of_a_network_whose_v_was_stored_so(
    weights: str, options: dict[str, object], batch: int
) -> None:
    net = network(**options)
    plain = copy.deepcopy(net)
    if net.output.bias is not None:
        torch.nn.init.uniform_(net.output.bias)
        plain.output.bias.data.copy_(net.output.bias)
    V = stored(net.output.matrix(net.encoder.U), weights)
    stepper = Stepper(net, weights=weights)
    state, other = stepper.initial_state(batch), net.initial_state(batch)
    for symbol in (4, 0, 36):
        symbols = torch.full((batch,), symbol)
        state, found = stepper.step(state, symbols)
        with torch.no_grad():
            other, above = plain.advance(other, symbols)
            logits = above @ V if net.output.bias is None else above @ V + plain.output.bias
        assert found.shape == (batch, 37) and not found.requires_grad
        torch.testing.assert_close(found, torch.log_softmax(logits, 1), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(state, other)


def test_a_stepper_that_stores_keeps_its_own_v() -> None:
    net = network()
    stepper, symbols = Stepper(net, weights="int8"), torch.tensor([5])
    _, before = stepper.step(stepper.initial_state(), symbols)
    net.output.V.data.zero_()
    assert torch.equal(stepper.step(stepper.initial_state(), symbols)[1], before)
    assert not torch.allclose(Stepper(net, weights="int8").step(net.initial_state(1), symbols)[1], before)


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(UsageError, match="int7"):
        Stepper(network(), weights="int7")
    classes = network(output="class")
    classes.output.prepare(torch.ones(37))
    with pytest.raises(UsageError, match="output class"):
        Stepper(classes, weights="int8")
    assert Stepper(classes).step(classes.initial_state(1), torch.tensor([1]))[1].shape == (1, 37)
