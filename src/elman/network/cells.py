"""The recurrent cells. A cell is small: `initial_state` and `step`; `unroll` comes for nothing, or in a faster form.

`CELLS` is the table that the settings, the docs and the contract tests read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.network.activations import ACTIVATIONS
from elman.network.recurrence import unroll


class Cell(nn.Module):
    """One recurrent layer: from its state and the drive x(t) of the layer below to its next state.

    Parameters
    ----------
    hidden_size
        H.
    activation
        a name in `ACTIVATIONS`.
    bias
        whether a bias b is added to the drive.
    """

    def __init__(self, hidden_size: int, activation: str, *, bias: bool = False) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.activation = ACTIVATIONS[activation]
        self.bias = nn.Parameter(torch.zeros(self.drive_size)) if bias else None

    @property
    def drive_size(self) -> int:
        """How many numbers a step the cell takes from below."""
        return self.hidden_size

    def initial_state(self, batch: int) -> Tensor:
        """Return a fresh s(0) of zeros, (B, H)."""
        weight = next(self.parameters())
        return weight.new_zeros(batch, self.hidden_size)

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t), (B, H), from s(t-1), (B, H), and x(t), (B, drive_size)."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> Tensor:
        """Return s(1) .. s(T), (T, B, H), from s(0) and x(1) .. x(T): the generic form, step by step."""
        states = []
        for x in drive.unbind(0):
            state = self.step(state, x)
            states.append(state)
        return torch.stack(states)


class Elman(Cell):
    """The simple recurrent network: s(t) = f( x(t) + s(t-1) W ), x(t) = w(t) U.

    Source: J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990).
    """

    def __init__(self, hidden_size: int, activation: str, *, bias: bool = False) -> None:
        super().__init__(hidden_size, activation, bias=bias)
        self.W = nn.Parameter(torch.zeros(hidden_size, hidden_size))

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) = f( x(t) + s(t-1) W + b )."""
        drive = drive if self.bias is None else drive + self.bias
        return self.activation.function(drive + state @ self.W)

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> Tensor:
        """Return the states of the window by the fast path (`recurrence.unroll`)."""
        drive = drive if self.bias is None else drive + self.bias
        return unroll(drive, state, self.W, self.activation, product)


CELLS: dict[str, type[Cell]] = {"elman": Elman}
