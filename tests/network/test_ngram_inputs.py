"""The encoder of n-grams, and the history that a state carries for it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.config import NetworkSettings
from elman.learn.optimizers import OPTIMIZERS
from elman.network.encoders import NGrams
from elman.network.history import NOTHING, contexts, keys, no_history, recent, scattered
from elman.network.model import RecurrentNetwork

D, H, T, B = 5, 6, 9, 3


def make(ngrams: tuple[int, ...] = (2, 3), *, buckets: int = 2**18, **shape) -> RecurrentNetwork:
    """A float64 network over n-grams with every weight away from zero."""
    settings = NetworkSettings(encoder="n-gram", ngrams=list(ngrams), buckets=buckets, hidden=H, **shape)
    network = RecurrentNetwork(D, settings).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
    return network


def text(seed: int = 0, length: int = T) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, D, (length, B)))


def by_hand(network: RecurrentNetwork, symbols: torch.Tensor) -> torch.Tensor:
    """x(t) by the sum that the encoder's docstring gives, one symbol at a time."""
    encoder, total = network.encoder, torch.zeros(*symbols.shape, H, dtype=torch.float64)
    for t in range(len(symbols)):
        for b in range(symbols.shape[1]):
            total[t, b] += encoder.U[symbols[t, b]].detach()
            start = 0
            for n in encoder.orders:
                if t >= n - 1:
                    last = [int(symbols[t - n + 1 + k, b]) for k in range(n)]
                    total[t, b] += encoder.grams[start + sum(s * D**k for k, s in enumerate(last))].detach()
                start += D**n
    return total


def encoded(network: RecurrentNetwork, symbols: torch.Tensor) -> torch.Tensor:
    run = recent(no_history(symbols.shape[1], network.memory, symbols.device), symbols)
    return network.encoder(symbols, run).detach()


def test_each_n_adds_the_row_of_the_last_n_symbols() -> None:
    network, symbols = make((2, 4)), text()
    torch.testing.assert_close(encoded(network, symbols), by_hand(network, symbols))


def test_a_network_without_n_grams_has_no_history_in_its_state() -> None:
    network = RecurrentNetwork(D, NetworkSettings(hidden=H))
    assert network.memory == 0
    assert len(network.initial_state(B)) == 1


def test_the_state_carries_the_last_symbols_from_window_to_window() -> None:
    network, symbols = make((3,)), text()
    state = network.initial_state(B)
    assert torch.equal(state[-1], torch.full((B, 2), NOTHING))
    state, _ = network.unroll(state, symbols[:1])
    assert torch.equal(state[-1], torch.stack([torch.full((B,), NOTHING), symbols[0]], dim=1))
    state, _ = network.unroll(state, symbols[1:])
    assert torch.equal(state[-1], symbols[-2:].t())
    _, whole = network.unroll(network.initial_state(B), symbols)
    state, parts = network.initial_state(B), []
    for piece in torch.split(symbols, 2):
        state, hidden = network.unroll(state, piece)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts), whole)


def test_hashed_rows_are_the_same_for_the_same_n_gram_and_spread_evenly() -> None:
    encoder = NGrams(1000, H, NetworkSettings(ngrams=[3], buckets=64))
    assert encoder.grams.shape == (64, H)
    symbols = torch.from_numpy(np.random.default_rng(2).integers(0, 1000, (4000, 1)))
    rows, there = encoder.rows(torch.cat([symbols, symbols]), 8000 - 2)
    assert there.all()
    assert torch.equal(rows[:3998], rows[4000:])
    counts = torch.bincount(rows.flatten(), minlength=64).double()
    chi_square = float(((counts - counts.mean()) ** 2 / counts.mean()).sum())
    assert chi_square < 2 * 150  # every n-gram comes twice: 63 degrees of freedom, far below a chance of 1e-6


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_two_contexts_have_one_key_only_if_they_are_the_same(one: list[int], other: list[int]) -> None:
    if len(one) != len(other):
        return
    (a, _), (b, _) = (keys(torch.tensor(ids), 10) for ids in (one, other))
    assert (int(a) == int(b)) == (one == other)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**31))
def test_a_key_is_scattered_into_the_rows_there_are(key: int, rows: int) -> None:
    assert 0 <= int(scattered(torch.tensor([key]), rows)) < rows


def test_contexts_end_with_the_current_symbol() -> None:
    run = torch.arange(6).unsqueeze(1)
    assert contexts(run, 3, 4)[:, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]


def test_grams_start_at_zero_so_that_an_unseen_n_gram_says_no_more_than_its_last_symbol() -> None:
    network = RecurrentNetwork(D, NetworkSettings(encoder="n-gram", hidden=H))
    network.initialize(torch.Generator().manual_seed(3))
    assert not network.encoder.grams.any()
    assert network.encoder.U.any()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_shrink_late_as_if_they_shrank_with_every_update(name: str) -> None:
    dense, sparse = make(), make()
    movers = [OPTIMIZERS[name](net.named_parameters(), beta=0.01) for net in (dense, sparse)]
    sparse.encoder.before_reading = lambda rows: movers[1].before_reading("encoder.grams", rows)
    for step in range(4):
        symbols = text(step)
        for network, mover, rows in zip((dense, sparse), movers, (False, True), strict=True):
            state = network.initial_state(B)
            mover.before_reading("encoder.U", symbols[:-1])
            _, loss = network.loss(state, symbols[:-1], symbols[1:], sparse=rows)
            loss.backward()
            mover.step(0.1)
    for mover in movers:
        mover.settle()
    if name in ("sgd", "nt-asgd"):  # Adam by rows is another rule than Adam
        torch.testing.assert_close(dense.encoder.grams, sparse.encoder.grams)
    untouched = (make().encoder.grams != 0).all(1)
    for step in range(4):
        rows, there = sparse.encoder.rows(recent(no_history(B, 2, torch.device("cpu")), text(step)[:-1]), T - 1)
        untouched[rows[there]] = False
    assert untouched.any()
    expected = make().encoder.grams[untouched] * 0.99**4
    torch.testing.assert_close(sparse.encoder.grams[untouched], expected)
