"""What training drops: how much, for how long, that it reaches the fast paths, and that use drops nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elman.config import NetworkSettings
from elman.network.cells import CELLS
from elman.network.dropping import Dropper, activity, kept_back, with_penalty
from elman.network.model import RecurrentNetwork

D, H, T, B = 13, 6, 5, 4
RECURRENT = [name for name, cell in CELLS.items() if cell.recurrent]


def network_of(**settings: object) -> RecurrentNetwork:
    chosen = NetworkSettings.model_validate({"hidden": H, "context": 3, "activation": "tanh", **settings})
    network = RecurrentNetwork(D, chosen).double()
    network.initialize(torch.Generator().manual_seed(1))
    for weight in network.parameters():
        weight.data.uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(weight.numel()))
    return network


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def words(seed: int = 5) -> tuple[Tensor, Tensor]:
    text = torch.randint(D, (T + 1, B), generator=generator(seed))
    return text[:-1], text[1:]


KINDS = ["dropout", "input_dropout", "word_dropout", "weight_dropout", "zoneout"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_dropped_follows_from_the_generator_alone(kind: str) -> None:
    network, (symbols, _) = network_of(**{kind: 0.4}), words()
    state = network.initial_state(B)
    first = network.unroll(state, symbols, generator=generator())[1]
    torch.testing.assert_close(network.unroll(state, symbols, generator=generator())[1], first, rtol=0, atol=0)
    assert not torch.equal(network.unroll(state, symbols, generator=generator(2))[1], first)
    assert not torch.equal(network.unroll(state, symbols)[1], first)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "zoneout"])
def test_use_drops_nothing(kind: str) -> None:
    dropping, plain, (symbols, _) = network_of(**{kind: 0.4}), network_of(), words()
    state = plain.initial_state(B)
    torch.testing.assert_close(dropping.unroll(state, symbols)[1], plain.unroll(state, symbols)[1], rtol=0, atol=0)


def test_the_share_that_is_dropped_is_the_rate_and_the_mean_stays() -> None:
    drop = Dropper(NetworkSettings(), generator())
    kept = drop.units(torch.ones(50, 40, 30), 0.3, locked=False)
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float((kept == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.02)


def test_locked_dropout_drops_the_same_units_at_every_step_and_others_in_each_stream() -> None:
    drop = Dropper(NetworkSettings(), generator())
    kept = drop.units(torch.ones(T, B, 40), 0.5, locked=True)
    assert torch.equal(kept, kept[:1].expand_as(kept))
    assert not torch.equal(kept[0, 0], kept[0, 1])
    free = drop.units(torch.ones(T, B, 40), 0.5, locked=False)
    assert not torch.equal(free[0], free[1])


def test_a_dropped_word_is_dropped_wherever_it_stands() -> None:
    drop = Dropper(NetworkSettings(word_dropout=0.5), generator())
    symbols = torch.randint(D, (30, 20), generator=generator(3))
    kept = drop.words(torch.ones(30, 20, 4), symbols, D)
    for symbol in range(D):
        assert len(kept[symbols == symbol].unique()) == 1
    assert set(kept.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("name", RECURRENT)
def test_dropped_recurrent_weights_reach_the_kernel(name: str) -> None:
    """The fast path with a mask gives what a cell does whose weights were multiplied by that mask by hand."""
    rate = 0.4
    network, (symbols, _) = network_of(cell=name, weight_dropout=rate), words()
    above = network.unroll(network.initial_state(B), symbols, generator=generator())[1]
    by_hand, draw = network_of(cell=name), Dropper(NetworkSettings(), generator())
    cell = by_hand.cells[0]
    for part in CELLS[name].recurrent:
        weight = cell.get_parameter(part)
        mask = draw._kept(weight, rate)
        assert 0.1 < float((mask == 0).double().mean()) < 0.7
        weight.data.mul_(mask)
    torch.testing.assert_close(above, by_hand.unroll(by_hand.initial_state(B), symbols)[1])


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_weight_that_is_dropped_gets_no_gradient_and_the_others_that_of_the_kept(name: str) -> None:
    rate = 0.4
    network, (symbols, targets) = network_of(cell=name, weight_dropout=rate), words()
    network.loss(network.initial_state(B), symbols, targets, generator=generator())[1].backward()
    draw = Dropper(NetworkSettings(), generator())
    for part in CELLS[name].recurrent:
        weight = network.cells[0].get_parameter(part)
        dropped = draw._kept(weight, rate) == 0
        assert weight.grad is not None
        assert (weight.grad[dropped] == 0).all() and (weight.grad[~dropped] != 0).any()


@pytest.mark.parametrize("name", CELLS)
def test_zoneout_keeps_units_in_training_and_takes_the_mean_in_use(name: str) -> None:
    network, (symbols, _) = network_of(cell=name, zoneout=0.5), words()
    before = tuple(torch.randn(s.shape, generator=generator(9), dtype=s.dtype) for s in network.initial_state(B))
    kept, total = 0.0, torch.zeros_like(before[0])
    plain = network_of(cell=name).advance(before, symbols[0])[0][0].detach()
    for seed in range(300):
        after = network.unroll(before, symbols[:1], generator=generator(seed))[0][0].detach()
        stayed = after == before[0]
        torch.testing.assert_close(after[~stayed], plain[~stayed])
        kept += float(stayed.double().mean()) / 300
        total += after / 300
    assert kept == pytest.approx(0.5, abs=0.02)
    use = network.advance(before, symbols[0])[0][0].detach()
    torch.testing.assert_close(use, (before[0] + plain) / 2)
    assert float((total - use).abs().mean()) < 0.1 * float((plain - before[0]).abs().mean())


def test_activation_regularisation_moves_the_gradient_and_not_the_loss() -> None:
    symbols, targets = words()
    found = {}
    for ar, tar in [(0.0, 0.0), (2.0, 0.0), (0.0, 3.0), (2.0, 3.0)]:
        network = network_of(ar=ar, tar=tar, dropout=0.3)
        loss = network.loss(network.initial_state(B), symbols, targets, generator=generator())[1]
        found[ar, tar] = (float(loss.detach()), torch.autograd.grad(loss, network.cells[0].get_parameter("W"))[0])
    plain = found[0.0, 0.0]
    for loss, _ in found.values():
        assert loss == plain[0]
    both = found[2.0, 0.0][1] + found[0.0, 3.0][1] - plain[1]
    torch.testing.assert_close(found[2.0, 3.0][1], both)
    assert not torch.allclose(found[2.0, 0.0][1], plain[1]) and not torch.allclose(found[0.0, 3.0][1], plain[1])


def test_the_penalty_is_that_of_the_definition() -> None:
    states, dropped = torch.randn(T, B, H, generator=generator()), torch.randn(T, B, H, generator=generator(2))
    squares = sum(float(x) ** 2 for x in dropped.flatten()) / dropped.numel()
    changes = sum(float(x) ** 2 for x in (states[1:] - states[:-1]).flatten()) / states[1:].numel()
    found = activity(states, dropped, ar=2.0, tar=1.0)
    assert found is not None and float(found) == pytest.approx(T * (2 * squares + changes), rel=1e-5)
    assert activity(states, dropped, ar=0.0, tar=0.0) is None
    loss = torch.tensor(3.0)
    assert with_penalty(loss, None) is loss


def test_to_keep_back_nothing_is_the_state_itself() -> None:
    before, after = torch.zeros(2), torch.ones(2)
    assert kept_back(before, after, 0.0) is after
    assert kept_back(before, after, 0.25).tolist() == [0.75, 0.75]
