"""The cells, and the feedforward net to compare them with. `CELLS` is what settings, docs and contract tests read."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError, nearest
from elman.network.cell import Cell
from elman.network.feedforward import Feedforward
from elman.network.gated import GRU, LSTM, MogrifierLSTM
from elman.network.minimal import IndRNN, MinGRU, MinLSTM
from elman.network.recurrence import unroll

ALLOWED = "ELMAN_CELLS"
"""The environment variable that lists cells of other people, `module:Class,...`, that a model may be loaded with."""


class Elman(Cell):
    """The simple recurrent network: s(t) = f( x(t) + s(t-1) W ), x(t) = w(t) U.

    Source: J. L. Elman, "Finding structure in time", Cognitive Science 14 (1990).
    """

    takes_drive = True

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if settings.bias else None
        self.W = nn.Parameter(torch.zeros(hidden_size, hidden_size))

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) = f( x(t) + s(t-1) W + b )."""
        drive = drive if self.bias is None else drive + self.bias
        return self.activation.function(drive + state @ self.W)

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of the window by the fast path (`recurrence.unroll`)."""
        drive = drive if self.bias is None else drive + self.bias
        states = unroll(drive, state, self.W, self.activation, product)
        return states[-1], states


class DeepElman(Elman):
    """A deep transition: `network.depth` layers from one state to the next, with a shortcut past all but the first.

        z_1 = f( x(t) + s(t-1) W ),   z_k = f( z_(k-1) W_k + b_k ) for 1 < k <= depth,   s(t) = ( z_1 + z_depth ) / 2

    Source: R. Pascanu, C. Gulcehre, K. Cho and Y. Bengio, "How to construct deep recurrent neural networks" (ICLR
    2014), the DT(S)-RNN; the mean keeps a state in the range of f.
    """

    recurrent = ("W", "transition")

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.transition = nn.Parameter(torch.zeros((settings.depth - 1) * hidden_size, hidden_size))
        self.offsets = nn.Parameter(torch.zeros((settings.depth - 1) * hidden_size)) if settings.bias else None

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t)."""
        first = deep = super().step(state, drive)
        offsets = None if self.offsets is None else torch.split(self.offsets, self.hidden_size)
        for k, matrix in enumerate(torch.split(self.transition, self.hidden_size)):
            above = deep @ matrix
            deep = self.activation.function(above if offsets is None else above + offsets[k])
        return first if deep is first else (first + deep) / 2

    unroll = Cell.unroll


class SCRN(Cell):
    """The structurally constrained network: an Elman layer, and beside it context units that change slowly.

        c(t) = (1 - a) x(t) B + a c(t-1)                        a = 0.95, `network.context` units
        s(t) = f( x(t) A + c(t) P + s(t-1) W )                  both are sent up

    Source: T. Mikolov, A. Joulin, S. Chopra, M. Mathieu and M. Ranzato, "Learning longer memory in recurrent neural
    networks" (ICLR 2015 workshop).
    """

    slowness = 0.95

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.context = settings.context
        self.B = nn.Parameter(torch.zeros(input_size, self.context))
        self.A = nn.Parameter(torch.zeros(input_size, hidden_size))
        self.P = nn.Parameter(torch.zeros(self.context, hidden_size))
        self.W = nn.Parameter(torch.zeros(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if settings.bias else None

    @property
    def state_size(self) -> int:
        """H and the context units."""
        return self.hidden_size + self.context

    @property
    def output_size(self) -> int:
        """All of the state."""
        return self.state_size

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) and c(t), side by side."""
        hidden, context = torch.split(state, [self.hidden_size, self.context], dim=-1)
        context = (1 - self.slowness) * (drive @ self.B) + self.slowness * context
        above = drive @ self.A + context @ self.P + hidden @ self.W
        above = above if self.bias is None else above + self.bias
        return torch.cat([self.activation.function(above), context], dim=-1)

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Run the slow units first, which need nothing of the others, then the fast path of the Elman layer."""
        hidden, context = torch.split(state, [self.hidden_size, self.context], dim=-1)
        slow, contexts = (1 - self.slowness) * (drive @ self.B), []
        for x in slow.unbind(0):
            context = x + self.slowness * context
            contexts.append(context)
        beside = torch.stack(contexts)
        x = drive @ self.A + beside @ self.P
        states = unroll(x if self.bias is None else x + self.bias, hidden, self.W, self.activation, product)
        above = torch.cat([states, beside], dim=-1)
        return above[-1], above


CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "deep-elman": DeepElman,
    "gru": GRU,
    "lstm": LSTM,
    "mogrifier": MogrifierLSTM,
    "scrn": SCRN,
    "indrnn": IndRNN,
    "min-gru": MinGRU,
    "min-lstm": MinLSTM,
    "feedforward": Feedforward,
}


def find_cell(name: str, *, allowed: Iterable[str] = ()) -> type[Cell]:
    """Return the cell of that name: one of `CELLS`, or `module:Class` of one's own.

    A module is imported only if its cell is in `allowed` or in the environment variable ELMAN_CELLS, or if somebody has
    imported it already: to load a model runs no code that its folder names.

    Raises
    ------
    UsageError
        for a name that is not known, a module that may not or cannot be imported, or a class that is no cell.
    """
    if ":" not in name:
        if name not in CELLS:
            close = nearest(name, CELLS)
            hint = f"did you mean {close}?" if close else f"known: {', '.join(CELLS)}, or module:Class of your own"
            raise UsageError(f"there is no cell {name!r}", hint=hint)
        return CELLS[name]
    module, _, kind = name.partition(":")
    listed = {*allowed, *(part.strip() for part in os.environ.get(ALLOWED, "").split(","))}
    if module not in sys.modules and name not in listed:
        raise UsageError(
            f"the cell {name} is code of somebody's own, which a model does not bring along",
            hint=f"if you trust the module {module}, set {ALLOWED}={name}, or import it first",
        )
    here = str(Path.cwd())
    if name in listed and here not in sys.path:
        sys.path.append(here)
    try:
        cell = getattr(importlib.import_module(module), kind)
    except (ImportError, AttributeError, SyntaxError, ValueError) as error:
        hint = "is the module in this folder, or installed?"
        raise UsageError(f"the cell {name} cannot be had: {error}", hint=hint) from error
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise UsageError(f"{name} is no cell", hint="it has to be a class made from elman.network.cell.Cell")
    return cell
