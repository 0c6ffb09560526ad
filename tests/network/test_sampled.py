"""The sampled softmax: what it learns from, and that in use it is the full one."""

from __future__ import annotations

import pytest
import torch

from elman.config import NetworkSettings
from elman.learn.optimizers import SGD
from elman.network.model import RecurrentNetwork
from elman.network.sampled import SampledSoftmax
from elman.network.softmax import FullSoftmax

H, D, N = 6, 40, 9
COUNTS = torch.arange(1, D + 1)


def layer(negatives: int, dtype: torch.dtype = torch.float64, *, bias: bool = False) -> SampledSoftmax:
    output = SampledSoftmax(H, D, bias=bias).to(dtype)
    with torch.no_grad():
        if bias:
            output.bias.copy_(torch.randn(D, generator=torch.Generator().manual_seed(8), dtype=dtype))
        output.V.copy_(torch.randn(H, D, generator=torch.Generator().manual_seed(1), dtype=dtype))
    output.negatives = negatives
    output.prepare(COUNTS)
    return output


def data(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(N, H, generator=generator, dtype=dtype, requires_grad=True)
    weights = torch.rand(N, generator=generator, dtype=dtype)
    return states, torch.randint(0, D, (N,), generator=generator), weights, torch.zeros(D, H, dtype=dtype)


def dense(output: SampledSoftmax) -> torch.Tensor:
    ids, values = output.V.parts
    return torch.zeros(D, H, dtype=values.dtype).index_copy_(0, ids, values).t()


@pytest.mark.parametrize("bias", [False, True])
def test_a_sample_of_everything_is_the_full_softmax(bias: bool) -> None:
    output, full = layer(100_000, bias=bias), FullSoftmax(H, D, bias=bias).double()
    states, targets, weights, U = data()
    full.load_state_dict(output.state_dict())
    sampled_loss = output.loss(states, targets, weights, U, generator=torch.Generator().manual_seed(0))
    others = [] if output.bias is None else [output.bias]
    sampled_errors, *sampled_bias = torch.autograd.grad(sampled_loss, [states, *others])
    full_loss = full.loss(states, targets, weights, U)
    others = [] if full.bias is None else [full.bias]
    full_errors, full_V, *full_bias = torch.autograd.grad(full_loss, [states, full.V, *others])
    torch.testing.assert_close(sampled_loss, full_loss)
    torch.testing.assert_close(sampled_errors, full_errors)
    torch.testing.assert_close(dense(output), full_V)
    torch.testing.assert_close(sampled_bias, full_bias)


@pytest.mark.parametrize("bias", [False, True])
def test_the_gradient_of_a_sample_is_that_of_its_loss(bias: bool) -> None:
    output = layer(12, bias=bias)
    states, targets, weights, U = data()
    loss = output.loss(states, targets, weights, U, generator=torch.Generator().manual_seed(5))
    others = [] if output.bias is None else [output.bias]
    errors, *bias_errors = torch.autograd.grad(loss, [states, *others])
    sample, places, offset = output.draw(targets, torch.Generator().manual_seed(5))
    V = output.V.detach().clone().requires_grad_()
    logits = states @ V[:, sample] + (0 if output.bias is None else output.bias[sample])
    corrected = logits + offset
    corrected = corrected.scatter(1, places.unsqueeze(1), logits.gather(1, places.unsqueeze(1)))
    plain = -(weights * torch.log_softmax(corrected, 1).gather(1, places.unsqueeze(1)).squeeze(1)).sum()
    expected_errors, expected_V, *expected_bias = torch.autograd.grad(plain, [states, V, *others])
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(errors, expected_errors)
    torch.testing.assert_close(dense(output), expected_V)
    torch.testing.assert_close(bias_errors, expected_bias)


def test_the_estimate_of_the_sum_over_the_dictionary_is_unbiased() -> None:
    """The mean over many samples of sum_j exp(a_j) / p_j is the full sum."""
    output = layer(10)
    states, *_ = data()
    exponentials = (states.detach()[0] @ output.V.detach()).exp()
    generator, draws = torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)
    estimates = []
    for _ in range(4000):
        others = torch.multinomial(COUNTS.double(), N, replacement=True, generator=draws)
        sample, _, offset = output.draw(others, generator)
        estimates.append(float((exponentials[sample] * offset.exp()).sum()))
    mean, error = torch.tensor(estimates).mean(), torch.tensor(estimates).std() / 4000**0.5
    assert abs(float(mean - exponentials.sum())) < 4 * float(error)


def test_in_use_it_is_the_full_softmax() -> None:
    output, full = layer(5), FullSoftmax(H, D).double()
    states, targets, weights, U = data()
    with torch.no_grad():
        full.V.copy_(output.V)
    torch.testing.assert_close(output.log_probs(states, U), full.log_probs(states, U))
    output.sampling = False
    torch.testing.assert_close(output.loss(states, targets, weights, U), full.loss(states, targets, weights, U))


def test_rows_of_v_that_are_not_in_the_sample_shrink_late_and_by_as_much() -> None:
    networks = []
    for late in (True, False):
        network = RecurrentNetwork(D, NetworkSettings(hidden=H, output="sampled")).double()
        network.initialize(torch.Generator().manual_seed(1))
        network.output.negatives = 5
        network.output.prepare(COUNTS)
        optimizer = SGD(network.named_parameters(), beta=0.05)
        if late:
            network.output.before_reading = lambda rows, o=optimizer: o.before_reading("output.V", rows)
        else:
            optimizer.late.clear()
        generator, state = torch.Generator().manual_seed(7), network.initial_state(2)
        for _ in range(10):
            symbols = torch.randint(0, D, (4, 2), generator=generator)
            optimizer.before_reading("encoder.U", symbols[:3])
            state, loss = network.loss(state, symbols[:3], symbols[1:], generator=generator, sparse=late)
            loss.backward()
            optimizer.step(0.5)
        optimizer.settle()
        networks.append(network)
    for mine, dense_rule in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(mine, dense_rule)
    assert networks[0].output.V.abs().max() > 0


@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
def test_the_loss_comes_down(product: torch.dtype) -> None:
    output = layer(8, torch.float32)
    states, targets, weights, U = data(torch.float32)
    states = states.detach()
    full = [output.slow_loss(states, targets, weights, U).detach().item()]
    optimizer = SGD([("output.V", output.V)])
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        output.loss(states, targets, weights, U, product=product, generator=generator).backward()
        optimizer.step(0.2)
    full.append(output.slow_loss(states, targets, weights, U).detach().item())
    assert full[1] < 0.5 * full[0]


@pytest.mark.parametrize("negatives", [12, 100_000])
def test_where_v_is_u_transposed_both_gradients_of_u_come_as_one(negatives: int) -> None:
    """A network with tied matrices has the gradient of the plain formula, and that of the full softmax in the limit."""
    settings = NetworkSettings(hidden=H, output="sampled", tied=True, activation="tanh")
    network = RecurrentNetwork(D, settings).double()
    network.initialize(torch.Generator().manual_seed(1))
    network.output.negatives = negatives
    network.output.prepare(COUNTS)
    text = torch.randint(0, D, (5, 3), generator=torch.Generator().manual_seed(2))
    symbols, targets, state = text[:-1], text[1:], network.initial_state(3)

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        network.zero_grad()
        loss.backward()
        return network.encoder.U.grad.to_dense()

    found = network.loss(state, symbols, targets, generator=torch.Generator().manual_seed(5), sparse=True)[1]
    fast = gradient(found)
    assert network.encoder.U.grad.is_sparse
    _, hidden = network.unroll(state, symbols)
    flat, answers = hidden.reshape(-1, H), targets.reshape(-1)
    sample, places, offset = network.output.draw(answers, torch.Generator().manual_seed(5))
    logits = flat @ network.encoder.U[sample].t()
    corrected = (logits + offset).scatter(1, places.unsqueeze(1), logits.gather(1, places.unsqueeze(1)))
    plain = -torch.log_softmax(corrected, 1).gather(1, places.unsqueeze(1)).sum() / 3
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(fast, gradient(plain))
    if negatives > D:
        network.output.sampling = False
        torch.testing.assert_close(fast, gradient(network.loss(state, symbols, targets)[1]))
