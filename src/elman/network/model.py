"""The network: encoder (U), recurrent layers (W), output (V). State is a value that goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError, nearest
from elman.network.activations import ACTIVATIONS
from elman.network.cell import Cell, multiply
from elman.network.cells import find_cell
from elman.network.classes import ClassSoftmax
from elman.network.dropping import Dropper, activity, kept_back, with_penalty
from elman.network.encoders import ENCODERS
from elman.network.outputs import OUTPUTS

State = tuple[Tensor, ...]
"""The states of all layers, (B, state_size) each."""


def check_tables(settings: NetworkSettings) -> None:
    """Raise `UsageError` for what no table knows, and for an output layer that cannot be had with these settings."""
    find_cell(settings.cell)
    tables: dict[str, Mapping[str, object]] = {
        "encoder": ENCODERS,
        "output": OUTPUTS,
        "activation": ACTIVATIONS,
    }
    for key, table in tables.items():
        name = getattr(settings, key)
        if name not in table:
            close = nearest(name, table)
            hint = f"did you mean {close}?" if close else f"known: {', '.join(table)}"
            raise UsageError(f"there is no {key} {name!r}", hint=hint)
    for key in OUTPUTS[settings.output].refuses:
        if getattr(settings, key):
            able = ", ".join(name for name, layer in OUTPUTS.items() if key not in layer.refuses)
            hint = f"leave network.{key} off, or choose network.output from {able}"
            raise UsageError(f"the output layer {settings.output!r} cannot be had with network.{key}", hint=hint)


class RecurrentNetwork(nn.Module):
    """y(t) = Pr{ w(t+1) | w(t), h(t-1) } by a recurrent net: s(t) = f( w(t) U + s(t-1) W ), y(t) = g( s(t) V ).

    With several layers what one sends up is the input of the next. A cell that takes a drive gets it through a matrix,
    `between`, (what comes from below, H); in the first layer that is U itself, unless symbols become vectors of another
    size first (`network.embedding`). Where U and V are tied and the last layer sends up another number of units than a
    row of U has, a matrix `down` lies before V. All weights are as the cells make them until `initialize`.

    Parameters
    ----------
    dictionary_size
        D.
    settings
        the shape: H, layers, activation, bias, tied, and what training drops.
    """

    def __init__(self, dictionary_size: int, settings: NetworkSettings) -> None:
        super().__init__()
        check_tables(settings)
        self.dictionary_size = dictionary_size
        self.settings = settings
        kind, hidden = find_cell(settings.cell), settings.hidden
        self.cells, self.between = nn.ModuleList(), nn.ParameterList()
        below = settings.embedding or (0 if kind.takes_drive else hidden)
        row = below
        for layer in range(settings.layers):
            last = layer == settings.layers - 1
            cell = kind(below, (settings.last_hidden or hidden) if last else hidden, settings)
            if cell.takes_drive and below:
                self.between.append(nn.Parameter(torch.zeros(below, cell.drive_size)))
            row = row or cell.drive_size
            self.cells.append(cell)
            below = cell.output_size
        self.encoder = ENCODERS[settings.encoder](dictionary_size, row)
        self.down = nn.Parameter(torch.zeros(below, row)) if settings.tied and below != row else None
        self.top_size = below if self.down is None else row
        """How many numbers go to the output, (.., top_size)."""
        output = OUTPUTS[settings.output]
        more = {"classes": settings.classes} if issubclass(output, ClassSoftmax) else {}
        self.output = output(self.top_size, dictionary_size, bias=settings.bias, tied=settings.tied, **more)

    def _cell(self, layer: int) -> Cell:
        cell = self.cells[layer]
        assert isinstance(cell, Cell)
        return cell

    def _matrix(self, layer: int) -> Tensor | None:
        """Return the matrix that makes a layer's drive of what comes from below, where it needs one."""
        place = layer - (len(self.cells) - len(self.between))
        return self.between[place] if place >= 0 else None

    @torch.no_grad()
    def initialize(self, generator: torch.Generator, *, silent: int | None = None) -> None:
        """Draw all matrices from [-init_range, init_range] (or W orthogonal), W and V scaled; vectors stay as they are.

        `silent` names a symbol that training never sees: its row of U stays zero, so that it says nothing.
        """
        reach = self.settings.init_range
        recurrent = self.recurrent_names()
        for name, weight in self.named_parameters():
            if weight.dim() != 2:
                continue
            if name in recurrent and self.settings.recurrent_init == "orthogonal":
                for block in torch.split(weight, weight.shape[1]):
                    nn.init.orthogonal_(block, generator=generator)
            else:
                weight.uniform_(-reach, reach, generator=generator)
                for _ in range(2 if self.settings.init == "irwin-hall" else 0):
                    weight.add_(torch.empty_like(weight).uniform_(-reach, reach, generator=generator))
            if name in recurrent:
                weight.mul_(self.settings.recurrent_scale)
        self.output.scale(self.settings.output_scale)
        if silent is not None:
            self.encoder.U[silent] = 0

    def recurrent_names(self) -> set[str]:
        """Return the names of the parameters that multiply states."""
        return {f"cells.{layer}.{name}" for layer in range(len(self.cells)) for name in self._cell(layer).recurrent}

    def initial_state(self, batch: int) -> State:
        """Return s(0) of every layer for `batch` sequences side by side."""
        states = (self._cell(layer).initial_state(batch) for layer in range(len(self.cells)))
        return tuple(state.fill_(self.settings.first_state) for state in states)

    def unroll(
        self,
        state: State,
        symbols: Tensor,
        *,
        generator: torch.Generator | None = None,
        product: torch.dtype | None = None,
        sparse: bool = False,
    ) -> tuple[State, Tensor]:
        """Run over a window of symbols, (T, B), from `state`.

        Returns the state after the window and what goes to the output, (T, B, top_size). What training drops is dropped
        only where a `generator` is given; `sparse` asks for a gradient of U that holds only the rows in use.
        """
        after, _, above = self._unroll(state, symbols, generator, product, sparse)
        return after, above

    def _unroll(
        self,
        state: State,
        symbols: Tensor,
        generator: torch.Generator | None,
        product: torch.dtype | None,
        sparse: bool,
    ) -> tuple[State, Tensor, Tensor]:
        """Return the state after a window, what the last layer sends up, and what of it goes to the output."""
        drop = Dropper(self.settings, generator)
        below = drop.words(self.encoder(symbols, sparse=sparse), symbols, self.dictionary_size)
        below = drop.units(below, self.settings.input_dropout, locked=True)
        after: list[Tensor] = []
        outputs = below
        for layer, before in enumerate(state):
            matrix, cell = self._matrix(layer), self._cell(layer)
            drive = below if matrix is None else multiply(below, matrix, product)
            last, outputs = drop.unroll(cell, before, drive, product)
            after.append(last)
            below = drop.layer(outputs, top=layer == len(state) - 1)
        return tuple(after), outputs, below if self.down is None else multiply(below, self.down, product)

    def step(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and log y, (B, D), without gradients."""
        with torch.no_grad():
            after, above = self.advance(state, symbols)
            return after, self.output.log_probs(above, self.encoder.U)

    def advance(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and what goes to the output, (B, top_size)."""
        below = self.encoder(symbols)
        after: list[Tensor] = []
        for layer, before in enumerate(state):
            matrix, cell = self._matrix(layer), self._cell(layer)
            below = below if matrix is None else below @ matrix
            after.append(kept_back(before, cell.step(before, below), self.settings.zoneout))
            below = cell.output(after[-1])
        return tuple(after), below if self.down is None else below @ self.down

    def loss(
        self,
        state: State,
        symbols: Tensor,
        targets: Tensor,
        *,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
        product: torch.dtype | None = None,
        sparse: bool = False,
        factored: bool = False,
    ) -> tuple[State, Tensor]:
        """Return the state after the window and its loss: - log y(t)[target], summed over time, averaged over streams.

        `symbols` and `targets` are (T, B); `weights`, (T, B), leaves targets out (0) or counts them (1). `sparse` and
        `factored` ask for the gradients of U and V in forms that `learn.optimizers.SGD` follows without a dense matrix.
        Activation regularisation changes the gradient of this loss, not its value.
        """
        length, batch = symbols.shape
        after, outputs, hidden = self._unroll(state, symbols, generator, product, sparse)
        if weights is None:
            weights = hidden.new_ones(length, batch)
        flat = hidden.reshape(length * batch, -1)
        loss = self.output.loss(
            flat,
            targets.reshape(-1),
            weights.reshape(-1) / batch,
            self.encoder.U,
            product=product,
            factored=factored,
            generator=generator,
        )
        if generator is not None:
            loss = with_penalty(loss, activity(outputs, hidden, ar=self.settings.ar, tar=self.settings.tar))
        return tuple(s.detach() for s in after), loss

    @torch.no_grad()
    def target_log_probs(self, state: State, symbols: Tensor, targets: Tensor) -> tuple[State, Tensor]:
        """Return the state after the window and log y(t)[target], (T, B), exact and without gradients."""
        after, hidden = self.unroll(state, symbols)
        flat = hidden.reshape(-1, hidden.shape[-1])
        return after, self.output.target_log_probs(flat, targets.reshape(-1), self.encoder.U).view(targets.shape)
