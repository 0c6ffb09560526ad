"""W, unrolled: s(t) = f( x(t) + s(t-1) W ) over a window, and the errors sent back through time.

`unroll` is the fast path, with the backward pass written out; `unroll_slowly` is its slow twin, one step after the
other under plain autograd. The equations are those of `reference.py`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from elman.network import graphs
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
        weights = W.to(product)
        outputs = [states] if product is drive.dtype else [states, states.new_empty(states.shape, dtype=product)]
        graphs.run(partial(_run, activation), ("run", activation.name), (drive, initial, weights), tuple(outputs))
        copies = outputs[-1]
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
        outputs = [deltas] if copies is states else [deltas, torch.empty_like(error, dtype=weights.dtype)]
        name = ("run back", ctx.activation.name)
        graphs.run(partial(_run_back, ctx.activation), name, (error, states, weights), tuple(outputs))
        narrow = outputs[-1]
        d_initial = d_weights = None
        if ctx.needs_input_grad[1]:
            d_initial = torch.mm(narrow[0], back).to(error.dtype)
        if ctx.needs_input_grad[2]:
            before, after = copies[:-1].reshape(length * batch, hidden), narrow.view(length * batch, hidden)
            d_weights = torch.mm(before.t(), after).to(error.dtype)
        return deltas, d_initial, d_weights, None, None


def _run(
    activation: Activation,
    drive: Tensor,
    initial: Tensor,
    weights: Tensor,
    states: Tensor,
    copies: Tensor | None = None,
) -> None:
    """Fill states, (T + 1, B, H), and their copies in the type of the products, where that is another."""
    recurrent = torch.empty_like(states[0], dtype=weights.dtype)
    sources = (states if copies is None else copies).unbind(0)
    steps, drives = states.unbind(0), drive.unbind(0)
    steps[0].copy_(initial)
    sources[0].copy_(initial)
    for t in range(len(drives)):
        torch.mm(sources[t], weights, out=recurrent)
        activate(drives[t], recurrent, steps[t + 1], activation, copy=None if copies is None else sources[t + 1])


def _run_back(
    activation: Activation, error: Tensor, states: Tensor, weights: Tensor, deltas: Tensor, narrow: Tensor | None = None
) -> None:
    """Fill the errors at the hidden layer, (T, B, H), and their copies as `_run` does."""
    recurrent, back = torch.empty_like(deltas[0], dtype=weights.dtype), weights.t()
    sources = (deltas if narrow is None else narrow).unbind(0)
    steps, errors, outputs = deltas.unbind(0), error.unbind(0), states.unbind(0)
    last = len(steps) - 1
    for t in range(last, -1, -1):
        if t < last:
            torch.mm(sources[t + 1], back, out=recurrent)
        arriving, copy = recurrent if t < last else None, None if narrow is None else sources[t]
        send_back(errors[t], arriving, outputs[t + 1], steps[t], activation, copy=copy)


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
