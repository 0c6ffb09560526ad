"""A second net from the end, states at their places, and several nets that answer together: against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.network.cells import CELLS
from elman.network.classifier import Members, Padded, RecurrentClassifier, members_of, pad, reverse

UNEQUAL = [np.array(ids) for ids in ([3, 1, 4], [1], [5, 2, 2, 0, 4, 1], [2, 3])]
EQUAL = [np.array(ids) for ids in ([3, 1, 4, 0], [1, 1, 2, 5], [5, 2, 2, 0])]


def classifier(pool: str, direction: str = "both", **settings: object) -> RecurrentClassifier:
    shape = NetworkSettings.model_validate({"hidden": 4, "activation": "tanh", "bias": True, **settings})
    net = RecurrentClassifier(6, 3, shape, pool=pool, direction=direction, length=4).double()
    draw = torch.Generator().manual_seed(2)
    for weight in net.parameters():
        weight.data.uniform_(-0.8, 0.8, generator=draw)
    return net


def states_by_hand(net: nn.Module, ids: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    weights = {name: weight.detach().numpy() for name, weight in net.named_parameters()}
    s, states = np.zeros(4), []
    for id in ids:
        s = np.tanh(weights["encoder.U"][id] + s @ weights["cells.0.W"] + weights["cells.0.bias"])
        states.append(s)
    return states


def by_hand(net: RecurrentClassifier, ids: NDArray[np.int64], pool: str, direction: str) -> NDArray[np.float64]:
    """The slow twin: one sequence, one step after the other, from both ends."""
    pools = {"last": lambda states: states[-1], "mean": lambda states: sum(states) / len(states)}
    pools["places"] = np.concatenate
    z = pools[pool](states_by_hand(net.body, ids))
    if direction == "both":
        assert net.back is not None
        z = np.concatenate([z, pools[pool](states_by_hand(net.back, ids[::-1]))])
    a = z @ net.body.output.get_parameter("V").detach().numpy() + net.body.output.get_parameter("bias").detach().numpy()
    return np.exp(a) / np.exp(a).sum()


@pytest.mark.parametrize(
    ("pool", "direction"), [("last", "both"), ("mean", "both"), ("places", "both"), ("places", "forward")]
)
def test_both_ends_and_all_places_give_what_the_equations_give(pool: str, direction: str) -> None:
    net, sequences = classifier(pool, direction), EQUAL if pool == "places" else UNEQUAL
    found = net(pad(sequences)).exp().detach().numpy()
    for row, ids in zip(found, sequences, strict=True):
        np.testing.assert_allclose(row, by_hand(net, ids, pool, direction), rtol=1e-12)


def test_reversed_twice_is_what_was_there_and_no_padding_comes_first() -> None:
    batch = pad(UNEQUAL)
    turned = reverse(batch)
    for column, ids in enumerate(UNEQUAL):
        assert turned.values[: len(ids), column].tolist() == ids[::-1].tolist()
        assert reverse(turned).values[: len(ids), column].tolist() == ids.tolist()


@pytest.mark.parametrize("pool", ["last", "mean"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_company_of_a_batch_changes_no_answer_of_two_directions(cell: str, pool: str) -> None:
    net = classifier(pool, cell=cell, layers=2, context=3)
    alone = torch.cat([net(pad([ids])) for ids in UNEQUAL])
    torch.testing.assert_close(net(pad(UNEQUAL)), alone)


def test_what_lies_behind_an_end_is_never_seen_from_either_side() -> None:
    net, batch = classifier("mean"), pad(UNEQUAL)
    dirty = batch.values.clone()
    for column, length in enumerate(batch.lengths):
        dirty[length:, column] = 5
    assert torch.equal(net(Padded(dirty, batch.lengths)), net(batch))


@pytest.mark.parametrize("settings", [{}, {"encoder": "n-gram", "ngrams": [2, 3]}])
def test_gradients_at_places_are_those_of_finite_differences(settings: dict[str, object]) -> None:
    net, batch, targets = classifier("places", **settings), pad(EQUAL), torch.tensor([0, 2, 1])

    def loss(*weights: Tensor) -> Tensor:
        named = dict(zip([name for name, _ in net.named_parameters()], weights, strict=True))
        answer: Tensor = torch.func.functional_call(net, named, (batch,))
        return nn.functional.nll_loss(answer, targets)

    assert torch.autograd.gradcheck(loss, tuple(weight.detach().requires_grad_() for weight in net.parameters()))


def test_the_net_from_the_end_has_a_start_of_its_own_and_no_output() -> None:
    net = classifier("places")
    net.initialize(torch.Generator().manual_seed(1))
    assert net.back is not None
    assert not torch.equal(net.body.encoder.U, net.back.encoder.U)
    assert not [name for name, _ in net.back.named_parameters() if name.startswith("output")]
    reach = net.body.settings.init_range / 4  # of V: four states are judged
    assert 0.8 * reach < float(net.body.output.get_parameter("V").detach().abs().max()) <= reach


def test_members_say_the_mean_of_what_each_holds_for_likely() -> None:
    nets = [classifier("last"), classifier("mean")]
    together = Members(nets)
    expected = (nets[0](pad(EQUAL)).exp() + nets[1](pad(EQUAL)).exp()) / 2
    torch.testing.assert_close(together(pad(EQUAL)).exp(), expected)
    assert members_of(together) == nets and members_of(nets[0]) == nets[:1]
