"""The network against its slow twins: the reference in NumPy, torch.nn.RNN, plain autograd."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import NetworkSettings, TextSettings
from elman.errors import UsageError
from elman.learn.optimizers import SGD
from elman.network import reference
from elman.network.activations import ACTIVATIONS
from elman.network.cells import CELLS, Cell
from elman.network.encoders import ENCODERS
from elman.network.model import RecurrentNetwork
from elman.network.outputs import OUTPUTS
from elman.network.recurrence import unroll, unroll_slowly
from elman.text.symbols import Tokenizer
from elman.text.words import WordTokenizer

D, H, T, B = 11, 7, 5, 3
SHAPES = [
    {"layers": 1},
    {"layers": 2},
    {"layers": 1, "bias": True},
    {"layers": 1, "tied": True},
    {"layers": 3, "bias": True, "tied": True},
]


def make(activation: str = "sigmoid", *, seed: int = 0, hidden: int = H, **shape) -> RecurrentNetwork:
    """A float64 network with every weight, biases too, away from zero."""
    network = RecurrentNetwork(D, NetworkSettings(hidden=hidden, activation=activation, **shape)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
    return network


def symbols(seed: int = 0, length: int = T, batch: int = B) -> tuple[torch.Tensor, torch.Tensor]:
    text = torch.from_numpy(np.random.default_rng(seed).integers(0, D, (length + 1, batch)))
    return text[:-1], text[1:]


def as_reference(network: RecurrentNetwork) -> reference.Weights:
    """The same weights for `reference.py`."""
    inputs = [network.encoder.U, *network.between]
    layers = [
        reference.Layer(
            U.detach().numpy().copy(),
            cell.W.detach().numpy().copy(),
            None if cell.bias is None else cell.bias.detach().numpy().copy(),
        )
        for U, cell in zip(inputs, network.cells, strict=True)
    ]
    V, c = network.output.V, network.output.bias
    return reference.Weights(
        layers,
        None if V is None else V.detach().numpy().copy(),
        None if c is None else c.detach().numpy().copy(),
        network.settings.activation,
    )


def same(weights: reference.Weights, network: RecurrentNetwork, rtol: float = 1e-9) -> None:
    mine = as_reference(network)
    for a, b in zip(weights.layers, mine.layers, strict=True):
        np.testing.assert_allclose(b.U, a.U, rtol=rtol, atol=1e-11)
        np.testing.assert_allclose(b.W, a.W, rtol=rtol, atol=1e-11)
        if a.b is not None:
            np.testing.assert_allclose(b.b, a.b, rtol=rtol, atol=1e-11)
    for a, b in ((weights.V, mine.V), (weights.c, mine.c)):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-11)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_reference(activation: str, shape: dict) -> None:
    network = make(activation, **shape)
    inputs, targets = symbols()
    weights = as_reference(network)
    state = reference.initial_state(weights, B)
    gradient, last, scored = reference.gradients(weights, state, inputs.numpy(), targets.numpy())

    after, loss = network.loss(network.initial_state(B), inputs, targets)
    loss.backward()

    assert loss.item() == pytest.approx(-sum(scored) / B, rel=1e-12)
    for mine, theirs in zip(after, last, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-10)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(-weight.grad)  # the reference's gradients are directions of growth
    same(gradient, network)


@pytest.mark.parametrize("parts", [False, True], ids=["whole gradients", "gradients in parts"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weights_after_100_updates_are_those_of_the_reference(activation: str, shape: dict, parts: bool) -> None:
    network = make(activation, **shape)
    alpha, beta, updates = 0.2, 1e-3, 100
    words = np.random.default_rng(3).integers(0, D, (updates * T + 1, B))
    learnt = reference.window_by_window(as_reference(network), words, alpha=alpha, beta=beta, bptt=T)

    optimizer = SGD(network.named_parameters(), beta=beta)
    state = network.initial_state(B)
    text = torch.from_numpy(words)
    for start in range(0, updates * T, T):
        window = text[start : start + T], text[start + 1 : start + T + 1]
        optimizer.before_reading("encoder.U", window[0])
        in_parts = parts and not network.settings.tied
        state, loss = network.loss(state, *window, sparse=in_parts, factored=in_parts)
        loss.backward()
        optimizer.step(alpha)
    optimizer.settle()
    same(learnt.weights, network, rtol=1e-7)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_states_and_gradients_are_those_of_torch_rnn(activation: str) -> None:
    network = make(activation, layers=2, bias=True)
    theirs = torch.nn.RNN(H, H, num_layers=2, nonlinearity=activation).double()
    with torch.no_grad():
        for layer, cell in enumerate(network.cells):
            getattr(theirs, f"weight_hh_l{layer}").copy_(cell.W.t())
            getattr(theirs, f"bias_hh_l{layer}").copy_(cell.bias)
            getattr(theirs, f"bias_ih_l{layer}").zero_()
        theirs.weight_ih_l0.copy_(torch.eye(H))
        theirs.weight_ih_l1.copy_(network.between[0].t())
    inputs, _ = symbols(1)
    _, mine = network.unroll(network.initial_state(B), inputs)
    expected, _ = theirs(network.encoder.U.detach()[inputs])
    torch.testing.assert_close(mine, expected)

    weight = torch.randn(mine.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (mine * weight).sum().backward()
    (expected * weight).sum().backward()
    for layer, cell in enumerate(network.cells):
        torch.testing.assert_close(cell.W.grad, getattr(theirs, f"weight_hh_l{layer}").grad.t())
        torch.testing.assert_close(cell.bias.grad, getattr(theirs, f"bias_hh_l{layer}").grad)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_fast_unrolling_is_slow_unrolling_under_plain_autograd(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    leaves = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((T, B, H), (B, H), (H, H))]
    weight = torch.randn((T, B, H), dtype=torch.float64, generator=generator)
    results = []
    for run in (unroll, unroll_slowly):
        mine = [leaf.clone().requires_grad_() for leaf in leaves]
        states = run(*mine, ACTIVATIONS[name])
        (states * weight).sum().backward()
        results.append([states.detach(), *(leaf.grad for leaf in mine)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_unrolling_passes_the_gradient_check(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    leaves = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in ((3, 2, 4), (2, 4), (4, 4))
    ]
    assert torch.autograd.gradcheck(lambda x, s, W: unroll(x, s, W, ACTIVATIONS[name]), leaves)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_derivative_is_that_of_autograd(name: str) -> None:
    a = torch.linspace(-3, 3, 50, dtype=torch.float64).requires_grad_()  # 0 is not among them: relu has no slope there
    s = ACTIVATIONS[name].function(a)
    s.sum().backward()
    torch.testing.assert_close(ACTIVATIONS[name].derivative(s.detach()), a.grad)
    torch.testing.assert_close(ACTIVATIONS[name].in_place(a.detach().clone()), s.detach())


# Contracts that hold for whatever is in the tables

Build = Callable[..., RecurrentNetwork]
ALL = [(cell, encoder, output) for cell in CELLS for encoder in ENCODERS for output in OUTPUTS]


@pytest.fixture(scope="module")
def build(tiny_bert: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Build]:
    """A function that makes a network of the tables' parts; an encoder that needs a folder gets one."""

    def made(cell: str, encoder: str, output: str, **shape) -> RecurrentNetwork:
        if encoder != "bert":
            return make(cell=cell, encoder=encoder, output=output, layers=2, **shape)
        shape |= {"bert": str(tiny_bert()), "bert_size": 8, "bert_window": 3}
        network = make(cell=cell, encoder=encoder, output=output, layers=2, **shape)
        tokenizer = dictionary(["the", "cat", "cats", "dog", "dogs", "sees", "seen", "a", "bird"])
        network.encoder.learn(tokenizer)
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield made


def dictionary(words: list[str]) -> Tokenizer:
    tokenizer = WordTokenizer.train([" ".join(words)], TextSettings())
    assert tokenizer.size == D
    return tokenizer


@pytest.mark.parametrize(("cell", "encoder", "output"), ALL)
def test_two_chunks_equal_one(build: Build, cell: str, encoder: str, output: str) -> None:
    network = build(cell, encoder, output)
    inputs, targets = symbols(5, length=8)
    state, whole = network.target_log_probs(network.initial_state(B), inputs, targets)
    middle, first = network.target_log_probs(network.initial_state(B), inputs[:3], targets[:3])
    end, second = network.target_log_probs(middle, inputs[3:], targets[3:])
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, state)


@pytest.mark.parametrize(("cell", "encoder", "output"), ALL)
def test_step_by_step_equals_unrolled(build: Build, cell: str, encoder: str, output: str) -> None:
    network = build(cell, encoder, output)
    inputs, targets = symbols(6)
    _, whole = network.target_log_probs(network.initial_state(B), inputs, targets)
    state = network.initial_state(B)
    for t in range(T):
        state, log_probs = network.step(state, inputs[t])
        torch.testing.assert_close(log_probs.gather(1, targets[t].unsqueeze(1)).squeeze(1), whole[t])


@pytest.mark.parametrize(("cell", "encoder", "output"), ALL)
def test_rows_of_a_batch_do_not_mix(build: Build, cell: str, encoder: str, output: str) -> None:
    network = build(cell, encoder, output)
    inputs, targets = symbols(7)
    _, together = network.target_log_probs(network.initial_state(B), inputs, targets)
    for b in range(B):
        _, alone = network.target_log_probs(network.initial_state(1), inputs[:, b : b + 1], targets[:, b : b + 1])
        torch.testing.assert_close(alone[:, 0], together[:, b])


@pytest.mark.parametrize(("cell", "encoder", "output"), ALL)
@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 30.0))
def test_probabilities_sum_to_one(build: Build, cell: str, encoder: str, output: str, seed: int, scale: float) -> None:
    network = build(cell, encoder, output, seed=seed)
    with torch.no_grad():
        for weight in network.output.parameters():
            weight *= scale
    inputs, _ = symbols(seed)
    _, log_probs = network.step(network.initial_state(B), inputs[0])
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(B, dtype=torch.float64))
    assert (log_probs <= 0).all()


@pytest.mark.parametrize(("cell", "encoder", "output"), ALL)
def test_the_future_changes_no_bit_of_the_present(build: Build, cell: str, encoder: str, output: str) -> None:
    network = build(cell, encoder, output)
    inputs, _ = symbols(8)
    other = inputs.clone()
    other[3:] = (other[3:] + 1) % D
    _, hidden = network.unroll(network.initial_state(B), inputs)
    _, changed = network.unroll(network.initial_state(B), other)
    assert torch.equal(hidden[:3], changed[:3])
    assert not torch.equal(hidden[3], changed[3])


@pytest.mark.parametrize("name", CELLS)
def test_generic_unrolling_equals_the_cells_own(name: str) -> None:
    cell = make(cell=name).cells[0]
    drive = torch.randn(T, B, cell.drive_size, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    state = cell.initial_state(B)
    torch.testing.assert_close(Cell.unroll(cell, state, drive), cell.unroll(state, drive))


def test_a_target_without_weight_counts_nothing() -> None:
    network = make()
    inputs, targets = symbols(10)
    weights = torch.ones(T, B, dtype=torch.float64)
    weights[2:, 1] = 0
    _, loss = network.loss(network.initial_state(B), inputs, targets, weights=weights)
    _, log_probs = network.target_log_probs(network.initial_state(B), inputs, targets)
    assert loss.item() == pytest.approx(-float((log_probs * weights).sum()) / B)


def test_dropout_follows_its_generator_and_keeps_the_mean() -> None:
    network = make(hidden=64, dropout=0.5)
    inputs, _ = symbols(11)
    state = network.initial_state(B)
    runs = [network.unroll(state, inputs, generator=torch.Generator().manual_seed(s))[1] for s in (1, 1, 2)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    _, plain = network.unroll(state, inputs)
    kept = runs[0] != 0
    torch.testing.assert_close(runs[0][kept], 2 * plain[kept])
    assert 0.4 < kept.double().mean() < 0.6


def test_initial_weights_follow_the_seed_and_a_silent_symbol_says_nothing() -> None:
    shape = NetworkSettings(hidden=H, recurrent_init="orthogonal", first_state=1.0, output_scale=0.1)
    first, second = RecurrentNetwork(D, shape), RecurrentNetwork(D, shape)
    for network in (first, second):
        network.initialize(torch.Generator().manual_seed(5), silent=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert first.encoder.U[1].abs().sum() == 0
    assert first.encoder.U[2].abs().max() <= 0.1
    assert 0 < first.output.V.abs().max() <= 0.01
    W = first.cells[0].W.detach()
    torch.testing.assert_close(W @ W.t(), torch.eye(H))
    assert torch.equal(first.initial_state(2)[0], torch.ones(2, H))


@pytest.mark.parametrize("key", ["cell", "encoder", "output", "activation"])
def test_a_name_in_no_table_is_refused_with_the_nearest(key: str) -> None:
    good = getattr(NetworkSettings(), key)
    with pytest.raises(UsageError, match="did you mean"):
        RecurrentNetwork(D, NetworkSettings(**{key: good + "x"}))
