"""V that follows time, against the same written block after block."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elman.learn.following import OutputFollower


def slow(
    V: Tensor, states: Tensor, targets: Tensor, alpha: float, beta: float, block: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The equations of `OutputFollower` with V moved after every block: loss, errors, V."""
    batch = states.shape[1]
    loss, errors = torch.zeros((), dtype=V.dtype), torch.empty_like(states)
    for start in range(0, len(states), block):
        s, d = states[start : start + block], targets[start : start + block]
        log_y = torch.log_softmax(s @ V, dim=-1)
        loss -= log_y.gather(2, d.unsqueeze(2)).sum() / batch
        error = log_y.exp() - torch.nn.functional.one_hot(d, V.shape[1])
        errors[start : start + block] = error @ V.t() / batch
        V = (1 - beta) * V - alpha / batch * torch.einsum("tbh,tbd->hd", s, error)
    return loss, errors, V


@pytest.mark.parametrize("block", [1, 2, 3, 10])
@pytest.mark.parametrize("beta", [0.0, 0.01])
def test_following_is_moving_v_after_every_block(block: int, beta: float) -> None:
    generator = torch.Generator().manual_seed(3)
    V = torch.randn(6, 23, generator=generator, dtype=torch.float64)
    follower = OutputFollower(V.clone(), beta=beta, block=block, product=torch.float64)
    expected_V = V
    for length in (7, 4, 1):
        states = torch.rand(length, 3, 6, generator=generator, dtype=torch.float64)
        targets = torch.randint(0, 23, (length, 3), generator=generator)
        expected_loss, expected_errors, expected_V = slow(expected_V, states, targets, 0.7, beta, block)
        loss, errors = follower.learn(states, targets, 0.7)
        torch.testing.assert_close(loss, expected_loss)
        torch.testing.assert_close(errors, expected_errors)
        torch.testing.assert_close(follower.V, expected_V)


def test_bf16_products_stay_near_exact_ones() -> None:
    generator = torch.Generator().manual_seed(3)
    V = torch.randn(16, 50, generator=generator) * 0.3
    states, targets = torch.rand(8, 4, 16, generator=generator), torch.randint(0, 50, (8, 4), generator=generator)
    exact = OutputFollower(V.clone(), beta=1e-4, block=1, product=torch.float32)
    rough = OutputFollower(V.clone(), beta=1e-4, block=1, product=torch.bfloat16)
    for _ in range(5):
        expected, got = exact.learn(states, targets, 0.5), rough.learn(states, targets, 0.5)
        torch.testing.assert_close(got[0], expected[0], rtol=1e-2, atol=0)
        torch.testing.assert_close(got[1], expected[1], rtol=0, atol=0.02)
    torch.testing.assert_close(rough.V, exact.V, rtol=0, atol=0.05)
    assert not torch.equal(exact.V, V)


def test_a_v_that_was_changed_is_noticed() -> None:
    V = torch.randn(4, 9, generator=torch.Generator().manual_seed(3))
    states, targets = torch.rand(2, 3, 4), torch.randint(0, 9, (2, 3))
    follower = OutputFollower(V, beta=0.0, block=1, product=torch.bfloat16)
    with torch.no_grad():
        V.zero_()
    follower.refresh()
    loss, _ = follower.learn(states, targets, 1e-9)
    assert float(loss) == pytest.approx(2 * torch.log(torch.tensor(9.0)).item(), rel=1e-3)
