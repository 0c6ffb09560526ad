"""The softmax by classes: its parts against plain autograd, its classes against what they should be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import NetworkSettings, TextSettings
from elman.errors import ModelError, UsageError
from elman.learn.optimizers import OPTIMIZERS
from elman.network import class_kernels, kernels
from elman.network.classes import ClassSoftmax, Window, bin_by_frequency, number_of_classes
from elman.network.folder import load_model, load_tensors, save_config, save_tensors, save_weights
from elman.network.model import RecurrentNetwork
from elman.text.tokenizers import TOKENIZERS

N, H, D = 37, 19, 60
COUNTS = torch.randint(0, 500, (D,), generator=torch.Generator().manual_seed(5))


def layer(dtype: torch.dtype = torch.float64, counts: torch.Tensor = COUNTS) -> ClassSoftmax:
    output = ClassSoftmax(H, len(counts)).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in output.parameters():
            weight.normal_(std=0.3, generator=generator)
    output.prepare(counts)
    return output


def data(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(N, H, generator=generator, dtype=dtype, requires_grad=True)
    weights = torch.rand(N, generator=generator, dtype=dtype)
    return states, torch.randint(0, D, (N,), generator=generator), weights, torch.zeros(D, H, dtype=dtype)


def dense(output: ClassSoftmax) -> torch.Tensor:
    """The gradient of V from its rows; the others are zero."""
    ids, values = output.V.parts
    assert len(torch.unique(ids)) == len(ids)
    return torch.zeros(D, H, dtype=values.dtype).index_copy_(0, ids, values).t()


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_loss_and_gradients_are_those_of_plain_autograd(scale: float) -> None:
    output, (states, targets, weights, U) = layer(), data()
    slow = output.slow_loss(states, targets, weights, U)
    expected = torch.autograd.grad(scale * slow, [states, output.V, output.C])
    fast = output.loss(states, targets, weights, U)
    (scale * fast).backward()
    torch.testing.assert_close(fast, slow)
    for mine, plain in zip((states.grad, dense(output), output.C.grad), expected, strict=True):
        torch.testing.assert_close(mine, plain)


def test_the_loss_passes_the_gradient_check() -> None:
    output, (states, targets, weights, U) = layer(), data()
    output.loss(states, targets, weights, U).backward()
    step = 1e-6
    for leaf, gradient in ((states, states.grad), (output.V, dense(output)), (output.C, output.C.grad)):
        direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(3), dtype=leaf.dtype)
        around = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf += sign * step * direction
                around.append(output.loss(states, targets, weights, U).item())
                leaf -= sign * step * direction
        assert (around[0] - around[1]) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-6)


def test_columns_of_a_class_without_a_target_have_no_gradient() -> None:
    output, (states, _, weights, U) = layer(), data()
    targets = torch.full((N,), 7)
    output.loss(states, targets, weights, U).backward()
    own = (output.class_of == output.class_of[7]).nonzero().squeeze(1)
    assert output.V.grad is None
    assert output.V.parts.ids.tolist() == sorted(output.place[own].tolist())


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), size=st.integers(1, 90), spread=st.sampled_from([0.1, 3.0, 100.0]))
def test_log_probs_sum_to_one_and_those_of_targets_are_among_them(seed: int, size: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = layer(counts=torch.randint(0, 50, (size,), generator=generator))
    states = torch.randn(2, 3, H, generator=generator, dtype=torch.float64) * spread
    targets = torch.randint(0, size, (6,), generator=generator)
    U = torch.zeros(size, H)
    log_probs = output.log_probs(states, U)
    assert log_probs.shape == (2, 3, size)
    assert (log_probs <= 0).all()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64))
    at_target = log_probs.view(6, -1).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(output.target_log_probs(states.view(6, H), targets, U), at_target)


def test_it_is_class_times_symbol_within_its_class() -> None:
    output, (states, _, _, U) = layer(), data()
    s, symbol = states.detach()[0], 11
    mates = (output.class_of == output.class_of[symbol]).nonzero().squeeze(1).tolist()
    of_class = torch.softmax(s @ output.C.detach(), 0)[output.class_of[symbol]]
    exponentials = {mate: math.exp(float(s @ output.V.detach()[:, output.place[mate]])) for mate in mates}
    within = exponentials[symbol] / sum(exponentials.values())
    assert float(output.log_probs(s, U)[symbol].detach().exp()) == pytest.approx(float(of_class) * within)


# The classes


@given(counts=st.lists(st.integers(0, 10**9), min_size=1, max_size=200), data=st.data())
def test_classes_hold_symbols_of_like_frequency_and_none_is_empty(counts: list[int], data: st.DataObject) -> None:
    classes = data.draw(st.integers(1, len(counts)))
    class_of = bin_by_frequency(torch.tensor(counts), classes)
    assert sorted(set(class_of.tolist())) == list(range(classes))
    by_frequency = sorted(range(len(counts)), key=lambda i: (-counts[i], i))
    assert class_of[by_frequency].diff().ge(0).all()


def test_classes_of_a_natural_vocabulary_weigh_alike() -> None:
    counts = (1e6 / torch.arange(1, 10_001)).long()
    class_of = bin_by_frequency(counts, 100)
    weights = torch.zeros(100, dtype=torch.float64).index_add_(0, class_of, (counts.double() + 1).sqrt())
    assert number_of_classes(10_000) == 100
    assert weights[5:].max() < 1.2 * weights[5:].min()
    assert torch.bincount(class_of).max() < 400


@pytest.mark.parametrize(("classes", "expected"), [(None, number_of_classes(D)), (1, 1), (7, 7), (D, D), (10 * D, D)])
def test_the_number_of_classes_is_a_setting(classes: int | None, expected: int) -> None:
    network = RecurrentNetwork(D, NetworkSettings(output="class", hidden=H, classes=classes))
    network.output.prepare(torch.arange(D, 0, -1))
    assert network.output.C.shape == (H, expected)
    assert len(torch.unique(network.output.class_of)) == expected
    network.initialize(torch.Generator().manual_seed(1))
    log_probs = network.output.log_probs(torch.randn(3, H), network.encoder.U)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(3))


def test_until_it_is_prepared_classes_follow_the_ids() -> None:
    output = ClassSoftmax(H, D)
    assert output.class_of.diff().ge(0).all()
    assert set(output.class_of.tolist()) == set(range(8))
    log_probs = output.log_probs(torch.zeros(H), torch.zeros(D, H))
    torch.testing.assert_close(log_probs.exp().sum(), torch.tensor(1.0))


def test_classes_are_made_once() -> None:
    output = layer()
    before = output.class_of.clone()
    output.prepare(COUNTS.flip(0))
    assert torch.equal(output.class_of, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = TOKENIZERS["word"].train(["the cat sat on the mat", "the dog ran far away"], TextSettings())
    network = RecurrentNetwork(tokenizer.size, NetworkSettings(hidden=5, output="class"))
    network.initialize(torch.Generator().manual_seed(1))
    network.output.prepare(torch.arange(tokenizer.size) ** 2)
    save_config(tmp_path, network, tokenizer, "running")
    save_weights(tmp_path, network)
    (tmp_path / "class_of").write_text(str(network.output.class_of.tolist()))
    (tmp_path / "expected").write_text(str(network.step(network.initial_state(1), torch.tensor([2]))[1].tolist()))
    return tmp_path


def test_classes_are_saved_with_the_model(folder: Path) -> None:
    network = load_model(folder).network
    assert str(network.output.class_of.tolist()) == (folder / "class_of").read_text()
    network.output.prepare(torch.ones(network.dictionary_size))  # training that goes on keeps them
    _, log_probs = network.step(network.initial_state(1), torch.tensor([2]))
    assert str(log_probs.tolist()) == (folder / "expected").read_text()


@pytest.mark.parametrize("change", ["too large", "negative", "one is empty"])
def test_classes_that_are_not_there_are_refused(folder: Path, change: str) -> None:
    tensors = load_tensors(folder / "model.safetensors")
    class_of = tensors["output.class_of"]
    if change == "one is empty":
        class_of[:] = 0
    else:
        class_of[0] = {"too large": 3, "negative": -1}[change]
    save_tensors(folder / "model.safetensors", tensors)
    with pytest.raises(ModelError, match="classes of the output layer"):
        load_model(folder)


@pytest.mark.parametrize("setting", ["bias", "tied"])
def test_what_it_knows_nothing_of_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match=rf"network\.{setting}.*choose network\.output from full"):
        RecurrentNetwork(D, NetworkSettings(output="class", **{setting: True}))


# Training, and the compiled loop


def trained(optimizer: str, slow: bool, dtype: torch.dtype, beta: float) -> Iterator[torch.Tensor]:
    network = RecurrentNetwork(D, NetworkSettings(hidden=H, output="class", output_scale=0.5)).to(dtype)
    network.initialize(torch.Generator().manual_seed(1))
    network.output.prepare(COUNTS)
    rule = OPTIMIZERS[optimizer](network.named_parameters(), beta=beta)
    if slow:
        network.output.loss = lambda *given, product, factored, generator: network.output.slow_loss(*given)
    else:
        network.output.before_reading = lambda columns: rule.before_reading("output.V", columns)
    generator, state = torch.Generator().manual_seed(7), network.initial_state(4)
    for _ in range(12):
        symbols = torch.randint(0, D, (6, 4), generator=generator)
        rule.before_reading("encoder.U", symbols[:-1])
        state, loss = network.loss(state, symbols[:-1], symbols[1:])
        loss.backward()
        rule.step(0.3 if optimizer == "sgd" else 0.01)
    rule.settle()
    return network.parameters()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sgd_on_rows_is_sgd_on_the_whole_gradient(dtype: torch.dtype) -> None:
    fast, slow = (trained("sgd", run, dtype, beta=0.01) for run in (False, True))
    for mine, plain in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, plain, **({} if dtype is torch.float64 else {"rtol": 1e-4, "atol": 1e-5}))


def test_adam_moves_rows_in_use_and_the_loss_comes_down() -> None:
    output, (states, targets, weights, U) = layer(torch.float32), data(torch.float32)
    states, before = states.detach(), output.V.detach().clone()
    losses = [output.slow_loss(states, targets, weights, U).item()]
    rule = OPTIMIZERS["adam"](output.named_parameters())
    for _ in range(60):
        output.loss(states, targets, weights, U, product=torch.bfloat16).backward()
        rule.step(0.02)
    losses.append(output.slow_loss(states, targets, weights, U).item())
    assert losses[1] < 0.3 * losses[0]
    used = torch.zeros(D, dtype=torch.bool)
    used[torch.isin(output.class_of, output.class_of[targets])] = True
    moved = (before != output.V).any(0)[output.place]
    assert torch.equal(moved, used)


def test_adam_where_every_class_is_in_use_is_adam_on_the_whole_gradient() -> None:
    networks = []
    for slow in (False, True):
        output, (states, _, _, U) = layer(), data()
        targets, weights = torch.arange(D), torch.ones(D, dtype=torch.float64)
        states = states.detach()[torch.arange(D) % N]
        rule = OPTIMIZERS["adam"](output.named_parameters(), beta=0.01)
        for _ in range(5):
            (output.slow_loss if slow else output.loss)(states, targets, weights, U).backward()
            rule.step(0.01)
        networks.append(output)
    for mine, plain in zip(*(output.parameters() for output in networks), strict=True):
        torch.testing.assert_close(mine, plain)


def test_products_in_bf16_give_nearly_the_same_loss_and_gradients() -> None:
    output, (states, targets, weights, U) = layer(torch.float32), data(torch.float32)
    runs = []
    for product in (torch.float32, torch.bfloat16):
        states.grad = output.C.grad = None
        loss = output.loss(states, targets, weights, U, product=product)
        loss.backward()
        runs.append((loss.detach(), states.grad.clone(), dense(output), output.C.grad.clone()))
    for exact, rough in zip(*runs, strict=True):
        assert 0 <= (rough - exact).norm() < 0.02 * exact.norm()


def test_a_gradient_is_handed_out_once() -> None:
    output, (states, targets, weights, U) = layer(), data()
    loss = output.loss(states, targets, weights, U)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        loss.backward()


@pytest.mark.skipif(not kernels.available(), reason="elman was installed without a C compiler")
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    hidden=st.integers(16, 150),
    size=st.integers(1, 60),
    rows=st.integers(1, 40),
    errors=st.booleans(),
    weighted=st.booleans(),
    more=st.booleans(),
    threads=st.integers(1, 2),
)
def test_the_compiled_softmax_within_classes_is_its_twin(
    seed: int, hidden: int, size: int, rows: int, errors: bool, weighted: bool, more: bool, threads: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = ClassSoftmax(hidden, size)
    columns, states = torch.randn(size, hidden, generator=generator), torch.randn(rows, hidden, generator=generator)
    targets = torch.randint(0, size, (rows,), generator=generator)
    weights = torch.rand(rows, generator=generator) if weighted else None
    window = Window(output.class_of[targets], targets, output.starts)
    window.find_columns(output.class_at)
    start, before = torch.randn(rows, hidden, generator=generator), torch.get_num_threads()
    results = []
    try:
        torch.set_num_threads(threads)
        for softmax in (class_kernels.class_softmax, class_kernels.class_softmax_slowly):
            d_states, d_columns = start.clone(), torch.full((len(window.columns), hidden), float("nan"))
            wanted = {"d_states": d_states, "d_columns": d_columns, "places": window.places} if errors else {}
            extra = torch.randn(rows, window.widest, generator=torch.Generator().manual_seed(9)) if more else None
            log_probs = softmax(states, columns, targets, window.classes, weights=weights, extra=extra, **wanted)
            results.append(
                (log_probs, d_states, *([d_columns] if errors else []), *([extra] if more and errors else []))
            )
    finally:
        torch.set_num_threads(before)
    for mine, twin in zip(*results, strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-4, atol=1e-4)
