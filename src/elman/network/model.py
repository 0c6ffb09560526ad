"""The network: encoder (U), recurrent layers (W), output (V). State is a value that goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError, nearest
from elman.network.activations import ACTIVATIONS
from elman.network.cells import CELLS, Cell
from elman.network.classes import ClassSoftmax
from elman.network.encoders import ENCODERS
from elman.network.outputs import OUTPUTS

State = tuple[Tensor, ...]
"""The states of all layers, (B, H) each."""


def check_tables(settings: NetworkSettings) -> None:
    """Raise `UsageError` for what no table knows, and for an output layer that cannot be had with these settings."""
    tables: dict[str, Mapping[str, object]] = {
        "cell": CELLS,
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

    With several layers the states of one are the input of the next, through a matrix U of that layer, (H, H).
    All weights are zero until `initialize`.

    Parameters
    ----------
    dictionary_size
        D.
    settings
        the shape: H, layers, activation, bias, tied, dropout.
    """

    def __init__(self, dictionary_size: int, settings: NetworkSettings) -> None:
        super().__init__()
        check_tables(settings)
        self.dictionary_size = dictionary_size
        self.settings = settings
        cell = CELLS[settings.cell]
        self.cells = nn.ModuleList(
            cell(settings.hidden, settings.activation, bias=settings.bias) for _ in range(settings.layers)
        )
        drive_size = self._cell(0).drive_size
        self.encoder = ENCODERS[settings.encoder](dictionary_size, drive_size)
        self.between = nn.ParameterList(
            nn.Parameter(torch.zeros(settings.hidden, drive_size)) for _ in range(settings.layers - 1)
        )
        output = OUTPUTS[settings.output]
        more = {"classes": settings.classes} if issubclass(output, ClassSoftmax) else {}
        self.output = output(settings.hidden, dictionary_size, bias=settings.bias, tied=settings.tied, **more)

    def _cell(self, layer: int) -> Cell:
        cell = self.cells[layer]
        assert isinstance(cell, Cell)
        return cell

    @torch.no_grad()
    def initialize(self, generator: torch.Generator, *, silent: int | None = None) -> None:
        """Draw U, V and W from [-init_range, init_range] (or W orthogonal), W and V scaled; biases stay zero.

        `silent` names a symbol that training never sees: its row of U stays zero, so that it says nothing.
        """
        reach = self.settings.init_range
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                if name.endswith(".W") and self.settings.recurrent_init == "orthogonal":
                    nn.init.orthogonal_(weight, generator=generator)
                else:
                    weight.uniform_(-reach, reach, generator=generator)
                    for _ in range(2 if self.settings.init == "irwin-hall" else 0):
                        weight.add_(torch.empty_like(weight).uniform_(-reach, reach, generator=generator))
                if name.endswith(".W"):
                    weight.mul_(self.settings.recurrent_scale)
        self.output.scale(self.settings.output_scale)
        if silent is not None:
            self.encoder.U[silent] = 0

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

        Returns the state after the window and what the last layer sends to the output, (T, B, H). Dropout is applied
        only where a `generator` is given; `sparse` asks for a gradient of U that holds only the rows in use.
        """
        drive = self.encoder(symbols, sparse=sparse)
        after: list[Tensor] = []
        for layer, before in enumerate(state):
            if layer > 0:
                drive = drive @ self.between[layer - 1]
            states = self._cell(layer).unroll(before, drive, product)
            after.append(states[-1])
            drive = self._drop(states, generator)
        return tuple(after), drive

    def _drop(self, states: Tensor, generator: torch.Generator | None) -> Tensor:
        rate = self.settings.dropout
        if generator is None or rate == 0.0:
            return states
        # One draw of 64 bits decides over four units: the rate is exact to 1/65536.
        draws = torch.empty((states.numel() + 3) // 4, dtype=torch.int64, device=states.device)
        bits = draws.random_(-(2**63), None, generator=generator).view(torch.int16)[: states.numel()]
        kept = bits.view(states.shape) >= round(rate * 65536) - 32768
        return states * kept.to(states.dtype).mul_(1 / (1 - rate))

    def step(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and log y, (B, D), without gradients."""
        with torch.no_grad():
            after, above = self.advance(state, symbols)
            return after, self.output.log_probs(above, self.encoder.U)

    def advance(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and what goes to the output, (B, H)."""
        drive = self.encoder(symbols)
        after: list[Tensor] = []
        for layer, before in enumerate(state):
            if layer > 0:
                drive = drive @ self.between[layer - 1]
            drive = self._cell(layer).step(before, drive)
            after.append(drive)
        return tuple(after), drive

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
        """
        length, batch = symbols.shape
        after, hidden = self.unroll(state, symbols, generator=generator, product=product, sparse=sparse)
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
        return tuple(s.detach() for s in after), loss

    @torch.no_grad()
    def target_log_probs(self, state: State, symbols: Tensor, targets: Tensor) -> tuple[State, Tensor]:
        """Return the state after the window and log y(t)[target], (T, B), exact and without gradients."""
        after, hidden = self.unroll(state, symbols)
        flat = hidden.reshape(-1, hidden.shape[-1])
        return after, self.output.target_log_probs(flat, targets.reshape(-1), self.encoder.U).view(targets.shape)
