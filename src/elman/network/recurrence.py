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


class _Unroll(torch.autograd.Function):
    """The window as one node of the autograd graph.

    Forward, for t = 1 .. T:    s(t) = f( x(t) + s(t-1) W )
    Backward, for t = T .. 1:   e_h(t) = ( e_s(t) + e_h(t+1) W^T ) * f'(t),   e_h(T+1) = 0
    and then, as one product:   dW = sum_t s(t-1)^T e_h(t)
    where e_s(t) is the error that arrives from above. (With gradients of a loss instead of errors, all signs flip.)
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
        states = drive.new_empty(length + 1, batch, hidden)
        states[0] = initial
        weights = W.to(product)
        steps, drives = states.unbind(0), drive.unbind(0)
        for t in range(length):
            if product is drive.dtype:
                torch.addmm(drives[t], steps[t], weights, out=steps[t + 1])
            else:
                torch.add(drives[t], torch.mm(steps[t].to(product), weights), out=steps[t + 1])
            activation.in_place(steps[t + 1])
        ctx.save_for_backward(states, weights)
        ctx.activation = activation
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        states, weights = ctx.saved_tensors
        length, batch, hidden = error.shape
        slopes = ctx.activation.derivative(states[1:])
        deltas = torch.empty_like(slopes)
        back = weights.t()
        steps, errors, slope = deltas.unbind(0), error.unbind(0), slopes.unbind(0)
        torch.mul(errors[-1], slope[-1], out=steps[-1])
        for t in range(length - 2, -1, -1):
            if weights.dtype is error.dtype:
                torch.addmm(errors[t], steps[t + 1], back, out=steps[t])
            else:
                torch.add(errors[t], torch.mm(steps[t + 1].to(weights.dtype), back), out=steps[t])
            steps[t].mul_(slope[t])
        d_initial = d_weights = None
        if ctx.needs_input_grad[1]:
            d_initial = torch.mm(steps[0].to(weights.dtype), back).to(error.dtype)
        if ctx.needs_input_grad[2]:
            before = states[:-1].reshape(length * batch, hidden).to(weights.dtype)
            after = deltas.reshape(length * batch, hidden).to(weights.dtype)
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
