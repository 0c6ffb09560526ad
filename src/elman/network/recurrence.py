"""W, unrolled: s(t) = f( x(t) + s(t-1) W ) over a window, and the errors sent back through time.

`unroll` is the fast path, with the backward pass written out; `unroll_slowly` is its slow twin, one step after the
other under plain autograd. The equations are those of `reference.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elman.network.activations import Activation
from elman.network.step_kernels import activate, send_back


class _Unroll(torch.autograd.Function):
    """The window as one node of the autograd graph.

    Forward, for t = 1 .. T:    s(t) = f( x(t) + s(t-1) W )
    Backward, for t = T .. 1:   e_h(t) = ( e_s(t) + e_h(t+1) W^T ) * f'(t),   e_h(T+1) = 0
    and then, as one product:   dW = sum_t s(t-1)^T e_h(t)
    where e_s(t) is the error that arrives from above. (With gradients of a loss instead of errors, all signs flip.)

    Nothing is allocated in the loops. States and errors are kept in fp32; for products in bf16 there is a copy of each.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        drive: Tensor,
        initial: Tensor,
        W: Tensor,
        activation: Activation,
        product: torch.dtype,
    ) -> Tensor:
        length, batch, hidden = drive.shape
        drive = drive.contiguous()
        states = drive.new_empty(length + 1, batch, hidden)
        states[0] = initial
        weights = W.to(product)
        copies = states if product is drive.dtype else states.new_empty(states.shape, dtype=product)
        copies[0] = states[0]
        recurrent = drive.new_empty(batch, hidden, dtype=product)
        steps, sources, drives = states.unbind(0), copies.unbind(0), drive.unbind(0)
        for t in range(length):
            torch.mm(sources[t], weights, out=recurrent)
            activate(drives[t], recurrent, steps[t + 1], activation, copy=None if copies is states else sources[t + 1])
        ctx.save_for_backward(states, copies, weights)
        ctx.activation = activation
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        states, copies, weights = ctx.saved_tensors
        length, batch, hidden = error.shape
        error, back = error.contiguous(), weights.t()
        deltas = torch.empty_like(error)
        narrow = deltas if copies is states else torch.empty_like(error, dtype=weights.dtype)
        recurrent = error.new_empty(batch, hidden, dtype=weights.dtype)
        steps, sources, errors, outputs = deltas.unbind(0), narrow.unbind(0), error.unbind(0), states.unbind(0)
        for t in range(length - 1, -1, -1):
            if t < length - 1:
                torch.mm(sources[t + 1], back, out=recurrent)
            send_back(
                errors[t],
                recurrent if t < length - 1 else None,
                outputs[t + 1],
                steps[t],
                ctx.activation,
                copy=None if narrow is deltas else sources[t],
            )
        d_initial = d_weights = None
        if ctx.needs_input_grad[1]:
            d_initial = torch.mm(sources[0], back).to(error.dtype)
        if ctx.needs_input_grad[2]:
            before, after = copies[:-1].reshape(length * batch, hidden), narrow.view(length * batch, hidden)
            d_weights = torch.mm(before.t(), after).to(error.dtype)
        return deltas, d_initial, d_weights, None, None


def unroll(
    drive: Tensor, initial: Tensor, W: Tensor, activation: Activation, product: torch.dtype | None = None
) -> Tensor:
    """Run the recurrence over a window: s(t) = f( x(t) + s(t-1) W ).

    Parameters
    ----------
    drive
        x(t), what the layer below sends up (w(t) U for the first layer), (T, B, H).
    initial
        s(0), the state before the window, (B, H).
    W
        the recurrent weights, (H, H).
    activation
        f.
    product
        the type that products are made in (`torch.bfloat16` where the processor has it); by default that of `drive`.

    Returns
    -------
    Tensor
        s(1) .. s(T), (T, B, H).
    """
    states: Tensor = _Unroll.apply(  # type: ignore[no-untyped-call]
        drive, initial, W, activation, product or drive.dtype
    )
    return states


def unroll_slowly(drive: Tensor, initial: Tensor, W: Tensor, activation: Activation) -> Tensor:
    """Compute what `unroll` computes one step at a time, for autograd to differentiate."""
    states, state = [], initial
    for x in drive.unbind(0):
        state = activation.function(x + state @ W)
        states.append(state)
    return torch.stack(states)
