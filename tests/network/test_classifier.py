"""One label for a sequence: against plain NumPy, in any company of a batch, and with the gradients of its equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network.cells import CELLS
from elman.network.classifier import Padded, RecurrentClassifier, mean, pad
from elman.network.points import Bags, Feedforward, Linear, product
from elman.text.bags import Bag

SEQUENCES = [np.array(ids) for ids in ([3, 1, 4], [1], [5, 2, 2, 0, 4, 1], [2, 3])]
pools = pytest.mark.parametrize("pool", ["last", "mean"])  # `places` wants one length: test_classifier_places


def classifier(pool: str, vectors: bool = False, **settings: object) -> RecurrentClassifier:
    shape = NetworkSettings.model_validate({"hidden": 4, "activation": "tanh", "bias": True, **settings})
    net = RecurrentClassifier(6, 3, shape, pool=pool, vectors=vectors).double()
    draw = torch.Generator().manual_seed(2)
    for weight in net.parameters():
        weight.data.uniform_(-0.8, 0.8, generator=draw)
    return net


def vector_sequences() -> list[NDArray[np.float64]]:
    draw = np.random.default_rng(5)
    return [draw.normal(size=(length, 6)) for length in (3, 1, 6, 2)]


def softmax(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(a) / np.exp(a).sum()


def by_hand(net: RecurrentClassifier, rows: NDArray[np.float64], pool: str) -> NDArray[np.float64]:
    """The slow twin: one sequence, one step after the other, w(t) as rows of numbers."""
    weights = {name: weight.detach().numpy() for name, weight in net.body.named_parameters()}
    s, states = np.zeros(4), []
    for w in rows:
        s = np.tanh(w @ weights["encoder.U"] + s @ weights["cells.0.W"] + weights["cells.0.bias"])
        states.append(s)
    z = states[-1] if pool == "last" else sum(states) / len(states)
    return softmax(z @ weights["output.V"] + weights["output.bias"])


@pools
def test_symbols_give_what_the_equations_give(pool: str) -> None:
    net = classifier(pool)
    found = net(pad(SEQUENCES)).exp().detach().numpy()
    for row, ids in zip(found, SEQUENCES, strict=True):
        np.testing.assert_allclose(row, by_hand(net, np.eye(6)[ids], pool), rtol=1e-12)


@pools
def test_vectors_give_what_the_equations_give(pool: str) -> None:
    net = classifier(pool, vectors=True)
    found = net(pad(vector_sequences())).exp().detach().numpy()
    for row, steps in zip(found, vector_sequences(), strict=True):
        np.testing.assert_allclose(row, by_hand(net, steps, pool), rtol=1e-12)


@pools
@pytest.mark.parametrize("cell", CELLS)
def test_the_company_of_a_batch_changes_neither_answer_nor_gradient(cell: str, pool: str) -> None:
    net = classifier(pool, cell=cell, layers=2, context=3)
    alone = torch.cat([net(pad([ids])) for ids in SEQUENCES])
    gradients = torch.autograd.grad(-alone[:, 1].sum(), list(net.parameters()))
    together = net(pad(SEQUENCES))
    torch.testing.assert_close(together, alone)
    for found, expected in zip(
        torch.autograd.grad(-together[:, 1].sum(), list(net.parameters())), gradients, strict=True
    ):
        torch.testing.assert_close(found, expected)
    assert (alone[0] - alone[2]).abs().max() > 1e-3  # sequences that differ, differ


@pools
def test_what_lies_behind_an_end_is_never_seen(pool: str) -> None:
    net, batch = classifier(pool, vectors=True), pad(vector_sequences())
    clean = net(batch)
    dirty = batch.values.clone()
    for column, length in enumerate(batch.lengths):
        dirty[length:, column] = 1e6
    dirty.requires_grad_()
    found = net(Padded(dirty, batch.lengths))
    assert torch.equal(found, clean)
    gradient = torch.autograd.grad(found[:, 0].sum(), dirty)[0]
    for column, length in enumerate(batch.lengths):
        assert not gradient[length:, column].any() and gradient[:length, column].any()


def test_padding_moves_no_row_of_its_own() -> None:
    net = classifier("last")
    net(pad(SEQUENCES[:2]), torch.Generator())[:, 0].sum().backward()
    gradient = net.body.encoder.U.grad
    assert gradient is not None and gradient.is_sparse
    assert sorted(set(gradient.coalesce().indices()[0].tolist())) == [1, 3, 4]


def test_the_mean_takes_no_part_of_what_is_no_number_behind_an_end() -> None:
    states = torch.tensor([[[1.0], [2.0]], [[torch.inf], [4.0]], [[torch.nan], [torch.nan]]])
    assert mean(states, torch.tensor([1, 2])).tolist() == [[1.0], [3.0]]


@pools
@pytest.mark.parametrize("vectors", [False, True])
def test_gradients_are_those_of_finite_differences(pool: str, vectors: bool) -> None:
    net = classifier(pool, vectors=vectors)
    batch = pad(vector_sequences() if vectors else SEQUENCES)
    targets = torch.tensor([0, 2, 1, 1])

    def loss(*weights: Tensor) -> Tensor:
        named = dict(zip([name for name, _ in net.named_parameters()], weights, strict=True))
        answer: Tensor = torch.func.functional_call(net, named, (batch,))
        return nn.functional.nll_loss(answer, targets)

    assert torch.autograd.gradcheck(loss, tuple(weight.detach().requires_grad_() for weight in net.parameters()))


def test_only_training_drops() -> None:
    net, batch = classifier("last", dropout=0.5), pad(SEQUENCES)
    assert torch.equal(net(batch), net(batch))
    first, second = (net(batch, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(first, second)
    assert torch.equal(first, net(batch, torch.Generator().manual_seed(1)))


def test_the_dictionary_has_no_output_matrix() -> None:
    assert {tuple(weight.shape) for name, weight in classifier("last").named_parameters() if "output" in name} == {
        (4, 3),
        (3,),
    }


def test_a_pool_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no pool 'lsat'") as caught:
        classifier("lsat")
    assert "did you mean last?" in str(caught.value.hint)


BAGS = [
    Bag(np.array([0, 3]), np.array([1.0, 2.0])),
    Bag(np.array([], dtype=np.int64), np.array([])),
    Bag(np.array([1]), np.array([5.0])),
]


def test_a_bag_has_the_length_one_and_an_empty_one_is_all_zeros() -> None:
    root = 5**0.5
    rows = Bags.of(BAGS, torch.float64).dense(4)
    np.testing.assert_allclose(rows, [[1 / root, 0, 0, 2 / root], [0, 0, 0, 0], [0, 1, 0, 0]])


@pytest.mark.parametrize("sparse", [False, True])
def test_a_product_with_bags_is_that_with_all_their_zeros(sparse: bool) -> None:
    bags = Bags.of(BAGS, torch.float64)
    matrix = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    slow = bags.dense(4) @ matrix
    found = product(bags, matrix, sparse=sparse)
    torch.testing.assert_close(found, slow)
    expected = torch.autograd.grad(slow.square().sum(), matrix)[0]
    gradient = torch.autograd.grad(found.square().sum(), matrix)[0]
    assert gradient.is_sparse == sparse
    torch.testing.assert_close(gradient.to_dense(), expected)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_the_feedforward_net_gives_what_its_equations_give(activation: str) -> None:
    net = Feedforward(4, 3, NetworkSettings(hidden=5, activation=activation)).double()
    net.initialize(torch.Generator().manual_seed(1))
    nn.init.constant_(net.b, 0.3)
    nn.init.constant_(net.c, -0.2)
    U, b, V, c = (weight.detach().numpy() for weight in (net.U, net.b, net.V, net.c))
    f = {"sigmoid": lambda a: 1 / (1 + np.exp(-a)), "tanh": np.tanh, "relu": lambda a: np.maximum(a, 0)}[activation]
    bags = Bags.of(BAGS, torch.float64)
    for x, row in zip(bags.dense(4).numpy(), net(bags).exp().detach().numpy(), strict=True):
        np.testing.assert_allclose(row, softmax(f(x @ U + b) @ V + c), rtol=1e-12)
    torch.testing.assert_close(net(bags), net(bags.dense(4)))


def test_gradients_of_the_simpler_nets_are_those_of_finite_differences() -> None:
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    feedforward = Feedforward(4, 3, NetworkSettings(hidden=5, activation="tanh")).double()
    feedforward.initialize(torch.Generator().manual_seed(1))
    for net in (feedforward, Linear(4, 3).double()):

        def loss(*weights: Tensor, net: nn.Module = net) -> Tensor:
            named = dict(zip([name for name, _ in net.named_parameters()], weights, strict=True))
            answer: Tensor = torch.func.functional_call(net, named, (x,))
            return nn.functional.nll_loss(answer, torch.tensor([0, 1, 2, 1, 0]))

        assert torch.autograd.gradcheck(loss, tuple(weight.detach().requires_grad_() for weight in net.parameters()))


def test_n_grams_of_a_sequence_are_read_and_company_changes_nothing() -> None:
    settings = NetworkSettings(encoder="n-gram", ngrams=[2, 3], hidden=6)
    network = RecurrentClassifier(5, 3, settings).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
    sequences = [np.array([1, 2, 3, 4, 0, 1]), np.array([2, 3]), np.array([4])]
    together = network(pad(sequences))
    for row, sequence in zip(together, sequences, strict=True):
        torch.testing.assert_close(network(pad([sequence]))[0], row)
    with torch.no_grad():
        network.body.encoder.grams.zero_()
    assert not torch.allclose(network(pad(sequences))[:2], together[:2])
