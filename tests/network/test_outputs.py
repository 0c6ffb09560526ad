"""The fused, chunked loss against the plain one."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from elman.network import softmax
from elman.network.softmax import FullSoftmax

N, H, D = 37, 6, 13


def make(*, bias: bool, tied: bool, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(1)
    layer = FullSoftmax(H, D, bias=bias, tied=tied).to(dtype)
    U = torch.randn(D, H, generator=generator, dtype=dtype).requires_grad_()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(generator=generator)
    states = torch.randn(N, H, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(0, D, (N,), generator=generator)
    weights = torch.rand(N, generator=generator, dtype=dtype)
    return layer, U, states, targets, weights


def gradients(loss: torch.Tensor, *leaves: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, leaves))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 36, 37, 1000])
def test_fused_loss_is_the_plain_one_whatever_the_chunk(
    monkeypatch: pytest.MonkeyPatch, bias: bool, tied: bool, rows: int
) -> None:
    monkeypatch.setattr(softmax, "CHUNK_LOGITS", rows * D)
    layer, U, states, targets, weights = make(bias=bias, tied=tied)
    leaves = [states, *layer.parameters(), *([U] if tied else [])]
    fast, slow = (loss(states, targets, weights, U) for loss in (layer.loss, layer.slow_loss))
    torch.testing.assert_close(fast, slow)
    for mine, plain in zip(gradients(3 * fast, *leaves), gradients(3 * slow, *leaves), strict=True):
        torch.testing.assert_close(mine, plain)
    at_target = layer.log_probs(states, U).gather(1, targets.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(layer.target_log_probs(states, targets, U), at_target)


def test_fused_loss_passes_the_gradient_check() -> None:
    layer, U, states, targets, weights = make(bias=True, tied=False)
    leaves = [states, layer.V, layer.bias]
    exact = gradients(layer.loss(states, targets, weights, U), *leaves)
    step = 1e-6
    for leaf, gradient in zip(leaves, exact, strict=True):
        direction = torch.randn(leaf.shape, generator=torch.Generator().manual_seed(2), dtype=leaf.dtype)
        around = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf += sign * step * direction
                around.append(layer.loss(states, targets, weights, U).item())
                leaf -= sign * step * direction
        assert (around[0] - around[1]) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-7)


def test_a_gradient_is_handed_out_once() -> None:
    layer, U, states, targets, weights = make(bias=False, tied=False)
    loss = layer.loss(states, targets, weights, U)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute the loss again"):
        loss.backward()


class Largest(TorchDispatchMode):
    """Remember the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_all_logits_never_exist_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "CHUNK_LOGITS", 8 * D)
    layer, U, states, targets, weights = make(bias=True, tied=False)
    with Largest() as fused:
        layer.loss(states, targets, weights, U).backward()
        layer.target_log_probs(states, targets, U)
    with Largest() as plain:
        layer.slow_loss(states, targets, weights, U).backward()
    assert plain.elements == N * D
    assert fused.elements <= max(8 * D, N * H)


def test_products_in_bf16_give_nearly_the_same_loss_and_gradients() -> None:
    layer, U, states, targets, weights = make(bias=True, tied=False, dtype=torch.float32)
    leaves = [states, layer.V, layer.bias]
    exact = layer.loss(states, targets, weights, U)
    rough = layer.loss(states, targets, weights, U, product=torch.bfloat16)
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    for mine, plain in zip(gradients(rough, *leaves), gradients(exact, *leaves), strict=True):
        assert (mine - plain).norm() < 0.02 * plain.norm()


def test_a_hopeless_target_costs_a_finite_loss() -> None:
    layer, U, states, targets, weights = make(bias=False, tied=False, dtype=torch.float32)
    with torch.no_grad():
        layer.V *= 1e4
    assert torch.isfinite(layer.loss(states, targets, weights, U))
