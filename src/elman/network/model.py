"""The network: encoder (U), recurrent layers (W), output (V). State is a value that goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError, nearest
from elman.network import history
from elman.network.activations import ACTIVATIONS
from elman.network.cell import Cell, multiply
from elman.network.cells import find_cell
from elman.network.classes import ClassSoftmax
from elman.network.devices import on_device
from elman.network.dropping import Dropper, activity, kept_back, with_penalty
from elman.network.encoders import ENCODERS
from elman.network.outputs import OUTPUTS

OF_NGRAMS = ("encoder.grams", "output.direct.weight", "output.direct.class_weight")
"""Weights that start at zero: an n-gram says nothing until training has seen it."""

State = tuple[Tensor, ...]
"""The states of all layers, (B, state_size) each; after them the last symbols, (B, N), of a network that reads them."""


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
        self.encoder = ENCODERS[settings.encoder](dictionary_size, row, settings)
        self.down = nn.Parameter(torch.zeros(below, row)) if settings.tied and below != row else None
        top = below if self.down is None else row
        output = OUTPUTS[settings.output]
        more = {"classes": settings.classes} if issubclass(output, ClassSoftmax) else {}
        self.output = output(top, dictionary_size, bias=settings.bias, tied=settings.tied, **more)
        if settings.direct > 1:
            self.output.connect(dictionary_size, settings.direct)
        self.context = 0 if self.output.direct is None else self.output.direct.order - 1
        """How many symbols, the current one among them, go to the output with the numbers of a state."""
        self.top_size = top + self.context
        """How many numbers go to the output, (.., top_size)."""
        self.memory = max(self.encoder.memory, self.context - 1)
        """How many symbols before the current one are part of the state."""

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
            if weight.dim() != 2 or name in OF_NGRAMS:
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
            if name.startswith("between."):
                weight.mul_(self.settings.between_scale)
        self.output.scale(self.settings.output_scale)
        if silent is not None:
            self.encoder.U[silent] = 0

    def recurrent_names(self) -> set[str]:
        """Return the names of the parameters that multiply states."""
        return {f"cells.{layer}.{name}" for layer in range(len(self.cells)) for name in self._cell(layer).recurrent}

    def initial_state(self, batch: int) -> State:
        """Return s(0) of every layer for `batch` sequences side by side."""
        states = [self._cell(layer).initial_state(batch) for layer in range(len(self.cells))]
        for state in states:
            state.fill_(self.settings.first_state)
        past = [history.no_history(batch, self.memory, states[0].device)] if self.memory else []
        return (*states, *past)

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
        after, _, above, run = self._unroll(state, symbols, generator, product, sparse)
        return after, self._with_context(above, run)

    def _unroll(
        self,
        state: State,
        symbols: Tensor,
        generator: torch.Generator | None,
        product: torch.dtype | None,
        sparse: bool,
    ) -> tuple[State, Tensor, Tensor, Tensor]:
        """Return the state after a window, what the last layer sends up, what of it goes to the output, and symbols.

        These are all that were read, (N + T, B), from the oldest that the state before the window holds.
        """
        drop = Dropper(self.settings, generator)
        run = history.recent(state[-1], symbols) if self.memory else symbols
        below = drop.words(self.encoder(symbols, run, sparse=sparse), symbols, self.dictionary_size)
        below = drop.units(below, self.settings.input_dropout, locked=True)
        after: list[Tensor] = []
        outputs = below
        for layer, before in enumerate(state[: len(self.cells)]):
            matrix, cell = self._matrix(layer), self._cell(layer)
            drive = below if matrix is None else multiply(below, matrix, product)
            last, outputs = drop.unroll(cell, before, drive, product)
            after.append(last)
            below = drop.layer(outputs, top=layer == len(self.cells) - 1)
        if self.memory:
            after.append(history.after(run, self.memory))
        return tuple(after), outputs, below if self.down is None else multiply(below, self.down, product), run

    def _with_context(self, above: Tensor, run: Tensor) -> Tensor:
        """Put beside what goes to the output, (T, B, H), the symbols whose n-grams it looks at: (T, B, top_size)."""
        if not self.context:
            return above
        read = history.contexts(run, self.context, len(above))
        return torch.cat([above, on_device(read, above.device).to(above.dtype)], dim=-1)

    def step(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and log y, (B, D), without gradients."""
        with torch.no_grad():
            after, above = self.advance(state, symbols)
            return after, self.output.log_probs(above, self.encoder.U)

    def advance(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and what goes to the output, (B, top_size)."""
        symbols = symbols.unsqueeze(0)
        run = history.recent(state[-1], symbols) if self.memory else symbols
        below = self.encoder(symbols, run).squeeze(0)
        after: list[Tensor] = []
        for layer, before in enumerate(state[: len(self.cells)]):
            matrix, cell = self._matrix(layer), self._cell(layer)
            below = below if matrix is None else below @ matrix
            after.append(kept_back(before, cell.step(before, below), self.settings.zoneout))
            below = cell.output(after[-1])
        if self.memory:
            after.append(history.after(run, self.memory))
        below = below if self.down is None else below @ self.down
        return tuple(after), self._with_context(below.unsqueeze(0), run).squeeze(0)

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
        after, outputs, hidden, run = self._unroll(state, symbols, generator, product, sparse)
        if weights is None:
            weights = hidden.new_ones(length, batch)
        flat = self._with_context(hidden, run).reshape(length * batch, -1)
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
