"""A text is scored as one stream, however it is read."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network import scoring
from elman.network.model import RecurrentNetwork, State
from elman.network.outputs import OUTPUTS
from elman.network.scoring import SHORTEST, Scorer
from elman.network.storage import stored

D = 23


def network(seed: int = 1, hidden: int = 8, **options: object) -> RecurrentNetwork:
    net = RecurrentNetwork(D, NetworkSettings(hidden=hidden, init_range=0.5, **options))
    net.initialize(torch.Generator().manual_seed(seed))
    net.output.prepare(torch.arange(D, 0, -1.0))
    return net


def text(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, D, (count,), generator=torch.Generator().manual_seed(seed))


def in_one_stream(net: RecurrentNetwork, state: State, symbols: torch.Tensor) -> tuple[State, torch.Tensor]:
    with torch.no_grad():
        state, states = net.unroll(state, symbols.unsqueeze(1))
    return state, states.squeeze(1)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    counts=st.lists(st.integers(1, 1500), min_size=1, max_size=3),
    activation=st.sampled_from(["sigmoid", "tanh", "relu"]),
    layers=st.integers(1, 2),
    scale=st.sampled_from([0.3, 1.0]),
    double=st.booleans(),
)
def test_pieces_read_side_by_side_are_one_stream(
    seed: int, counts: list[int], activation: str, layers: int, scale: float, double: bool
) -> None:
    net = network(seed, activation=activation, layers=layers, recurrent_init="orthogonal", recurrent_scale=scale)
    net = net.double() if double else net
    scorer = Scorer(net)
    state = other = net.initial_state(1)
    for number, count in enumerate(counts):
        symbols = text(count, seed + number)
        state, states = scorer.read(state, symbols)
        other, expected = in_one_stream(net, other, symbols)
        tolerance = {"rtol": 1e-11, "atol": 1e-11} if double else {"rtol": 1e-4, "atol": 2e-5}
        torch.testing.assert_close(states, expected, **tolerance)
        torch.testing.assert_close(state, other, **tolerance)


def test_a_net_that_forgets_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(recurrent_scale=0.3)
    shapes: list[tuple[int, ...]] = []
    unroll = net.unroll
    monkeypatch.setattr(net, "unroll", lambda state, symbols: shapes.append(symbols.shape) or unroll(state, symbols))
    Scorer(net).read(net.initial_state(1), text(10 * SHORTEST + 3))
    assert shapes == [(scoring.STRIDE, 10)] * (SHORTEST // scoring.STRIDE + 1) + [(3, 1)]


def test_a_net_that_never_forgets_is_read_in_one_stream() -> None:
    net = network(activation="relu")
    with torch.no_grad():
        net.cells[0].W.copy_(torch.eye(8))  # the state adds up all that was ever read
        net.encoder.U.abs_().mul_(0.1)
    scorer, symbols = Scorer(net), text(5000)
    state, states = scorer.read(net.initial_state(1), symbols)
    assert scorer._shortest > len(symbols) // 2
    expected_state, expected = in_one_stream(net, net.initial_state(1), symbols)
    assert torch.equal(states, expected) and torch.equal(state[0], expected_state[0])


def test_a_net_whose_states_are_no_numbers_is_read_to_the_end() -> None:
    net = network(activation="relu", recurrent_init="orthogonal", recurrent_scale=50.0)
    _, states = Scorer(net).read(net.initial_state(1), text(1000))
    assert states.shape == (1000, 8) and not torch.isfinite(states[-1]).all()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_scores_are_those_of_the_output_layer(output: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network(output=output)
    monkeypatch.setattr(scoring, "LOGITS", rows * D)
    targets = text(100, 5)
    _, states = in_one_stream(net, net.initial_state(1), text(100))
    scorer = Scorer(net)
    expected = net.output.log_probs(states, net.encoder.U).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(scorer.log_probs(states, targets), expected.detach(), rtol=1e-5, atol=1e-5)
    assert scorer.log_probs(states[:0], targets[:0]).shape == (0,)


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"tied": True}], ids=str)
@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("product", [None, torch.bfloat16])
def test_a_stored_v_scores_as_it_was_rounded(
    options: dict[str, bool], weights: str, product: torch.dtype | None
) -> None:
    net = network(**options)
    if net.output.bias is not None:
        torch.nn.init.uniform_(net.output.bias, generator=torch.Generator().manual_seed(4))
    targets = text(60, 5)
    _, states = in_one_stream(net, net.initial_state(1), text(60))
    found = Scorer(net, product=product, weights=weights).log_probs(states, targets)
    with torch.no_grad():
        logits = states @ stored(net.output.matrix(net.encoder.U), weights)
        logits = logits if net.output.bias is None else logits + net.output.bias
    expected = torch.log_softmax(logits, 1).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 if product is None else 0.03)


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"tied": True}], ids=str)
def test_products_of_integers_are_those_of_rounded_states_and_columns(options: dict[str, bool]) -> None:
    net = network(**options)
    if net.output.bias is not None:
        torch.nn.init.uniform_(net.output.bias, generator=torch.Generator().manual_seed(4))
    targets = text(300, 5)
    _, states = in_one_stream(net, net.initial_state(1), text(300))
    states[7] = 0  # nothing to scale
    found = Scorer(net, product=torch.int8).log_probs(states, targets)
    steps = states.abs().amax(1, keepdim=True) / 127
    rounded = (states / steps.clamp(min=1e-30)).round() * steps
    with torch.no_grad():
        logits = rounded @ stored(net.output.matrix(net.encoder.U), "int8")
        logits = logits if net.output.bias is None else logits + net.output.bias
    expected = torch.log_softmax(logits, 1).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_state_that_is_no_number_scores_as_none_in_integers() -> None:
    net = network()
    states = torch.zeros(2, net.settings.hidden)
    states[1, 0] = torch.nan
    found = Scorer(net, product=torch.int8).log_probs(states, torch.tensor([1, 1]))
    assert found[0] == pytest.approx(-math.log(net.dictionary_size), abs=1e-5)
    assert torch.isnan(found[1])


def test_classes_are_not_stored_in_int8() -> None:
    with pytest.raises(UsageError, match="class"):
        Scorer(network(output="class"), weights="int8")
