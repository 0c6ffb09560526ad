"""The adaptive softmax: normalised, in the order of ids, with ranks that are stored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import NetworkSettings, TextSettings
from elman.errors import ModelError, UsageError
from elman.learn.optimizers import OPTIMIZERS
from elman.network.adaptive import AdaptiveSoftmax, cut, reduction
from elman.network.folder import load_model, load_tensors, save_config, save_tensors, save_weights
from elman.network.model import RecurrentNetwork
from elman.text.tokenizers import TOKENIZERS

N, H, D = 23, 6, 40
COUNTS = torch.randint(0, 500, (D,), generator=torch.Generator().manual_seed(5))


def layer(dtype: torch.dtype = torch.float64, counts: torch.Tensor = COUNTS) -> AdaptiveSoftmax:
    output = AdaptiveSoftmax(H, len(counts)).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in output.parameters():
            weight.normal_(generator=generator)
    output.prepare(counts)
    return output


def data(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(N, H, generator=generator, dtype=dtype, requires_grad=True)
    weights = torch.rand(N, generator=generator, dtype=dtype)
    return states, torch.randint(0, D, (N,), generator=generator), weights, torch.zeros(D, H, dtype=dtype)


def test_loss_and_gradients_are_those_of_the_whole_distribution() -> None:
    output, (states, targets, weights, U) = layer(), data()
    leaves = [states, *output.parameters()]
    fast, slow = (loss(states, targets, weights, U) for loss in (output.loss, output.slow_loss))
    torch.testing.assert_close(fast, slow)
    for mine, plain in zip(torch.autograd.grad(fast, leaves), torch.autograd.grad(slow, leaves), strict=True):
        torch.testing.assert_close(mine, plain)


def test_the_loss_passes_the_gradient_check() -> None:
    output, (states, targets, weights, U) = layer(), data()
    assert torch.autograd.gradcheck(lambda s, *_: output.loss(s, targets, weights, U), [states, *output.parameters()])


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), size=st.integers(2, 90), spread=st.sampled_from([0.1, 3.0, 30.0]))
def test_log_probs_sum_to_one_and_those_of_targets_are_among_them(seed: int, size: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    output = layer(counts=torch.randint(0, 50, (size,), generator=generator))
    states = torch.randn(2, 3, H, generator=generator, dtype=torch.float64) * spread
    targets, U = torch.randint(0, size, (6,), generator=generator), torch.zeros(size, H)
    log_probs = output.log_probs(states, U)
    assert log_probs.shape == (2, 3, size)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, 3, dtype=torch.float64))
    at_target = log_probs.view(6, -1).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(output.target_log_probs(states.view(6, H), targets, U), at_target)


def test_the_head_holds_the_most_frequent_symbols() -> None:
    output = layer()
    ranked = COUNTS[torch.argsort(output.rank)]
    assert ranked.diff().le(0).all()
    assert output.softmax.shortlist_size == cut(D)[0]


@given(size=st.integers(2, 3_000_000))
def test_cuts_grow_and_leave_something_behind_them(size: int) -> None:
    ends = cut(size)
    assert ends == sorted(set(ends))
    assert ends[0] >= 1
    assert ends[-1] < size


def test_a_cluster_has_at_least_one_dimension() -> None:
    assert cut(10_000) == [1000, 3162]
    assert reduction(6, 2) == 1.0
    assert reduction(4096, 2) == 4.0
    assert 200 / reduction(200, 2) ** 2 == pytest.approx(32)
    assert all(cluster[0].weight.shape[0] >= 1 for cluster in AdaptiveSoftmax(1, 5).softmax.tail)


def test_weights_are_zero_until_they_are_drawn_and_only_what_makes_logits_is_scaled() -> None:
    networks = []
    for scale in (1.0, 0.1):
        network = RecurrentNetwork(D, NetworkSettings(hidden=H, output="adaptive", output_scale=scale))
        assert all(not weight.any() for weight in network.output.parameters())
        network.initialize(torch.Generator().manual_seed(1))
        networks.append(network.output.softmax)
    one, tenth = networks
    torch.testing.assert_close(tenth.head.weight, 0.1 * one.head.weight)
    for mine, theirs in zip(tenth.tail, one.tail, strict=True):
        torch.testing.assert_close(mine[0].weight, theirs[0].weight)
        torch.testing.assert_close(mine[1].weight, 0.1 * theirs[1].weight)


@pytest.mark.parametrize(("optimizer", "alpha"), [("sgd", 0.1), ("adam", 0.02)])
def test_the_loss_comes_down(optimizer: str, alpha: float) -> None:
    output, (states, targets, weights, U) = layer(torch.float32), data(torch.float32)
    states = states.detach()
    losses = [output.slow_loss(states, targets, weights, U).item()]
    rule = OPTIMIZERS[optimizer](output.named_parameters())
    for _ in range(60):
        output.loss(states, targets, weights, U, product=torch.bfloat16).backward()
        rule.step(alpha)
    losses.append(output.slow_loss(states, targets, weights, U).item())
    assert losses[1] < 0.5 * losses[0]


def test_products_in_bf16_give_nearly_the_same_loss_and_gradients() -> None:
    output, (states, targets, weights, U) = layer(torch.float32), data(torch.float32)
    leaves = [states, *output.parameters()]
    exact = output.loss(states, targets, weights, U)
    rough = output.loss(states, targets, weights, U, product=torch.bfloat16)
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    for mine, plain in zip(torch.autograd.grad(rough, leaves), torch.autograd.grad(exact, leaves), strict=True):
        assert 0 < (mine - plain).norm() < 0.03 * plain.norm()
    assert output.target_log_probs(states, targets, U).dtype is torch.float32
    torch.testing.assert_close(-(weights * output.target_log_probs(states, targets, U)).sum(), exact)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = TOKENIZERS["word"].train(["the cat sat on the mat", "the dog ran far away"], TextSettings())
    network = RecurrentNetwork(tokenizer.size, NetworkSettings(hidden=5, output="adaptive"))
    network.initialize(torch.Generator().manual_seed(1))
    network.output.prepare(torch.arange(tokenizer.size) ** 2)
    save_config(tmp_path, network, tokenizer, "running")
    save_weights(tmp_path, network)
    (tmp_path / "expected").write_text(str(network.step(network.initial_state(1), torch.tensor([2]))[1].tolist()))
    return tmp_path


def test_ranks_are_saved_with_the_model(folder: Path) -> None:
    network = load_model(folder).network
    network.output.prepare(torch.ones(network.dictionary_size))  # training that goes on keeps them
    _, log_probs = network.step(network.initial_state(1), torch.tensor([2]))
    assert str(log_probs.tolist()) == (folder / "expected").read_text()


@pytest.mark.parametrize("rank", [-1, 1, 1000])
def test_ranks_that_are_not_there_are_refused(folder: Path, rank: int) -> None:
    tensors = load_tensors(folder / "model.safetensors")
    tensors["output.rank"][tensors["output.rank"] == 0] = rank
    save_tensors(folder / "model.safetensors", tensors)
    with pytest.raises(ModelError, match="ranks of the output layer"):
        load_model(folder)


@pytest.mark.parametrize("setting", ["bias", "tied"])
def test_what_it_knows_nothing_of_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match=rf"network\.{setting}.*choose network\.output from full"):
        RecurrentNetwork(D, NetworkSettings(output="adaptive", **{setting: True}))
