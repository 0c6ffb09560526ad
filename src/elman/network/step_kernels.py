"""One step of the recurrence and one of the errors' way back, each in one pass over memory; see `kernels`."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.network import kernels
from elman.network.activations import Activation

KINDS = {"sigmoid": 0, "tanh": 1, "relu": 2}


def activate(
    drive: Tensor, product: Tensor, state: Tensor, activation: Activation, *, copy: Tensor | None = None
) -> None:
    """Make one step of the recurrence: state <- f( drive + product ), and write its copy in bf16; all (B, H)."""
    kind = KINDS.get(activation.name)
    if kind is None or not _in_one_block(drive, product, state, copy):
        activate_slowly(drive, product, state, activation, copy=copy)
        return
    kernels.compiled.activate(
        drive.data_ptr(),
        product.data_ptr(),
        product.dtype is torch.bfloat16,
        state.data_ptr(),
        kernels.address(copy),
        state.numel(),
        kind,
        torch.get_num_threads(),
    )


def activate_slowly(
    drive: Tensor, product: Tensor, state: Tensor, activation: Activation, *, copy: Tensor | None = None
) -> None:
    """Do what `activate` does, one operation after the other."""
    activation.in_place(torch.add(drive, product, out=state))
    if copy is not None:
        copy.copy_(state)


def send_back(
    error: Tensor,
    product: Tensor | None,
    state: Tensor,
    delta: Tensor,
    activation: Activation,
    *,
    copy: Tensor | None = None,
) -> None:
    """Send an error one step back: delta <- ( error + product ) * f'(a), where f(a) = state; (B, H) all of them."""
    kind = KINDS.get(activation.name)
    if kind is None or not _in_one_block(error, product, state, delta, copy):
        send_back_slowly(error, product, state, delta, activation, copy=copy)
        return
    kernels.compiled.send_back(
        error.data_ptr(),
        kernels.address(product),
        product is not None and product.dtype is torch.bfloat16,
        state.data_ptr(),
        delta.data_ptr(),
        kernels.address(copy),
        delta.numel(),
        kind,
        torch.get_num_threads(),
    )


def send_back_slowly(
    error: Tensor,
    product: Tensor | None,
    state: Tensor,
    delta: Tensor,
    activation: Activation,
    *,
    copy: Tensor | None = None,
) -> None:
    """Do what `send_back` does, one operation after the other."""
    total = error if product is None else error + product
    torch.mul(total, activation.derivative(state), out=delta)
    if copy is not None:
        copy.copy_(delta)


def _in_one_block(first: Tensor, *others: Tensor | None) -> bool:
    """Return whether the compiled loops can run over these side by side; all but products and copies are float32."""
    if kernels.compiled is None or first.dtype is not torch.float32:
        return False
    return all(t is None or (t.is_contiguous() and t.device.type == "cpu") for t in (first, *others))
