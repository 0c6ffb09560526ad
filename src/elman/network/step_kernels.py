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


def lstm_step(
    drive: Tensor,
    product: Tensor,
    before: Tensor,
    gates: Tensor,
    memory: Tensor,
    curve: Tensor,
    state: Tensor,
    *,
    copy: Tensor | None = None,
) -> None:
    """Make one step of an LSTM: gates i, f, g, o of drive + product, (B, 4 H); c <- f * before + i * g; state.

    `gates`, `memory` (c), `curve` (tanh c) and `state` (o * tanh c), (B, H), are written, as is a bf16 copy.
    """
    if not _in_one_block(drive, product, before, gates, memory, curve, state, copy):
        lstm_step_slowly(drive, product, before, gates, memory, curve, state, copy=copy)
        return
    kernels.compiled.lstm_step(
        drive.data_ptr(),
        product.data_ptr(),
        product.dtype is torch.bfloat16,
        before.data_ptr(),
        gates.data_ptr(),
        memory.data_ptr(),
        curve.data_ptr(),
        state.data_ptr(),
        kernels.address(copy),
        *state.shape,
        torch.get_num_threads(),
    )


def lstm_step_slowly(
    drive: Tensor,
    product: Tensor,
    before: Tensor,
    gates: Tensor,
    memory: Tensor,
    curve: Tensor,
    state: Tensor,
    *,
    copy: Tensor | None = None,
) -> None:
    """Do what `lstm_step` does, one operation after the other."""
    i, f, g, o = torch.add(drive, product, out=gates).chunk(4, dim=-1)
    for gate in (i, f, o):
        gate.sigmoid_()
    g.tanh_()
    torch.mul(f, before, out=memory).addcmul_(i, g)
    torch.mul(o, torch.tanh(memory, out=curve), out=state)
    if copy is not None:
        copy.copy_(state)


def lstm_back(
    error: Tensor,
    product: Tensor | None,
    gates: Tensor,
    before: Tensor,
    curve: Tensor,
    later: Tensor,
    delta: Tensor,
    *,
    copy: Tensor | None = None,
) -> None:
    """Send errors one step back through an LSTM: to what goes into the gates, `delta`, (B, 4 H), and to c(t-1).

    `later`, (B, H), comes as the error at c(t) from c(t+1), and is left as that at c(t-1) from c(t); the others are as
    `lstm_step` wrote them.
    """
    if not _in_one_block(error, product, gates, before, curve, later, delta, copy):
        lstm_back_slowly(error, product, gates, before, curve, later, delta, copy=copy)
        return
    kernels.compiled.lstm_back(
        error.data_ptr(),
        kernels.address(product),
        product is not None and product.dtype is torch.bfloat16,
        gates.data_ptr(),
        before.data_ptr(),
        curve.data_ptr(),
        later.data_ptr(),
        delta.data_ptr(),
        kernels.address(copy),
        *error.shape,
        torch.get_num_threads(),
    )


def lstm_back_slowly(
    error: Tensor,
    product: Tensor | None,
    gates: Tensor,
    before: Tensor,
    curve: Tensor,
    later: Tensor,
    delta: Tensor,
    *,
    copy: Tensor | None = None,
) -> None:
    """Do what `lstm_back` does, one operation after the other."""
    arriving = error if product is None else error + product
    i, f, g, o = gates.chunk(4, dim=-1)
    later.addcmul_(arriving, o * (1 - curve * curve))
    delta.copy_(
        torch.cat(
            [
                later * g * i * (1 - i),
                later * before * f * (1 - f),
                later * i * (1 - g * g),
                arriving * curve * o * (1 - o),
            ],
            dim=-1,
        )
    )
    later.mul_(f)
    if copy is not None:
        copy.copy_(delta)


def _in_one_block(first: Tensor, *others: Tensor | None) -> bool:
    """Return whether the compiled loops can run over these side by side; all but products and copies are float32."""
    if kernels.compiled is None or first.dtype is not torch.float32:
        return False
    return all(t is None or (t.is_contiguous() and t.device.type == "cpu") for t in (first, *others))
