"""Cells without a recurrent matrix: what one unit was, only that unit remembers. minGRU and minLSTM run in parallel.

s(t) = a(t) * s(t-1) + b(t), with a and b made from the input alone, is a sum that can be split anywhere, so a window
takes log2 T passes over all of its steps in place of T steps: `scan`. `scan_slowly` is its slow twin.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from elman.config import NetworkSettings
from elman.network.cell import Cell, multiply


class _Scan(torch.autograd.Function):
    """s(t) = a(t) s(t-1) + b(t). Backward, e(t) being all of the error of s(t): e(t) = g(t) + a(t+1) e(t+1), a scan."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, initial: Tensor) -> Tensor:  # noqa: ANN401 - torch has no type for it
        b = torch.cat([(b[0] + a[0] * initial).unsqueeze(0), b[1:]])
        states = _doubling(a, b)
        ctx.save_for_backward(a, states, initial)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - as above
        a, states, initial = ctx.saved_tensors
        later = torch.cat([a[1:], torch.zeros_like(a[:1])])
        errors = _doubling(later.flip(0), error.flip(0)).flip(0)
        before = torch.cat([initial.unsqueeze(0), states[:-1]])
        return errors * before, errors, errors[0] * a[0]


def _doubling(a: Tensor, b: Tensor) -> Tensor:
    """Return s with s(t) = a(t) s(t-1) + b(t), s(0) = 0: after pass k each step has seen 2^k steps.

    Source: W. D. Hillis and G. L. Steele, "Data parallel algorithms" (1986).
    """
    a, b, reach = a.clone(), b.clone(), 1
    while reach < len(b):
        b[reach:] = b[reach:] + a[reach:] * b[:-reach]
        a[reach:] = a[reach:] * a[:-reach]
        reach *= 2
    return b


def scan(a: Tensor, b: Tensor, initial: Tensor) -> Tensor:
    """Return s(1) .. s(T), (T, B, H), with s(t) = a(t) s(t-1) + b(t) from s(0), (B, H)."""
    states: Tensor = _Scan.apply(a, b, initial)  # type: ignore[no-untyped-call]
    return states


def scan_slowly(a: Tensor, b: Tensor, initial: Tensor) -> Tensor:
    """Compute what `scan` computes, one step at a time, for autograd to differentiate."""
    states, state = [], initial
    for factor, term in zip(a.unbind(0), b.unbind(0), strict=True):
        state = factor * state + term
        states.append(state)
    return torch.stack(states)


class _Minimal(Cell):
    """s(t) = a(t) * s(t-1) + b(t), where a and b come from the input by one matrix for all gates."""

    recurrent = ()
    gates = 2

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.weight = nn.Parameter(torch.zeros(input_size, self.gates * hidden_size))
        self.bias = nn.Parameter(torch.zeros(self.gates * hidden_size))

    def terms(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return a and b from what the input gives each gate, (..., H) each."""
        raise NotImplementedError(f"{type(self).__name__} has no terms")

    def _terms(self, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        parts = multiply(drive, self.weight, product) + self.bias
        return self.terms(parts.chunk(self.gates, dim=-1))

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t)."""
        a, b = self._terms(drive)
        return a * state + b

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Run over a window by `scan`."""
        states = scan(*self._terms(drive, product), state)
        return states[-1], states


def _positive(x: Tensor) -> Tensor:
    """Return the source's g: x + 0.5 where x >= 0, else sigmoid(x); always positive, and smooth."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


class MinGRU(_Minimal):
    """A GRU whose gate sees the input only: s(t) = (1 - z) * s(t-1) + z * h, z = sigmoid( x A ), h = g( x B ).

    Source: L. Feng, F. Tung, M. O. Ahmed, Y. Bengio and H. Hajimirsadeghi, "Were RNNs all we needed?" (2024).
    """

    def terms(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return 1 - z and z h."""
        z, h = torch.sigmoid(parts[0]), _positive(parts[1])
        return torch.sigmoid(-parts[0]), z * h


class MinLSTM(_Minimal):
    """An LSTM whose gates see the input only: s(t) = f s(t-1) + i h, with f + i = 1.

        f = sigmoid( x F ) / ( sigmoid( x F ) + sigmoid( x I ) ),   i = 1 - f,   h = g( x B )

    Source: as `MinGRU`.
    """

    gates = 3

    def terms(self, parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return f and i h."""
        forget = torch.sigmoid(nn.functional.logsigmoid(parts[0]) - nn.functional.logsigmoid(parts[1]))
        return forget, (1 - forget) * _positive(parts[2])


class IndRNN(Cell):
    """Units that remember only themselves: s(t) = f( x(t) + u * s(t-1) + b ), with u one number a unit.

    Source: S. Li, W. Li, C. Cook, C. Zhu and Y. Gao, "Independently recurrent neural network" (CVPR 2018).
    """

    recurrent = ()
    takes_drive = True

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.u = nn.Parameter(torch.linspace(0.0, 1.0, hidden_size))  # from units that forget to units that keep
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if settings.bias else None

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) = f( x(t) + u * s(t-1) + b )."""
        drive = drive if self.bias is None else drive + self.bias
        return self.activation.function(torch.addcmul(drive, self.u, state))
