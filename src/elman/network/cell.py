"""What a recurrent cell is. A new one of thirty lines gets the whole kit: training, evaluation, generation, export.

The docs page `docs/cells.md` writes one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.network.activations import ACTIVATIONS


class Cell(nn.Module):
    """One recurrent layer: from its state and what comes from below to its next state.

    A state is one tensor, (B, state_size), whatever it is made of; its first `output_size` columns are what the layer
    sends up, unless `output` says otherwise. Weights are parameters of the cell, zero or constant when it is made; the
    network draws the matrices.

    Parameters
    ----------
    input_size
        how many numbers a step come from below.
    hidden_size
        H.
    settings
        of the network: `activation`, `bias`, and what else a cell may want.
    """

    recurrent: tuple[str, ...] = ("W",)
    """The parameters that multiply the state: DropConnect, `recurrent_rate` and `recurrent_init` are about them."""
    takes_drive = False
    """Whether the network makes the drive x(t), of `drive_size` numbers, from what comes from below: by U itself in the
    first layer. A cell with input matrices of its own takes what comes from below as it is."""

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.activation = ACTIVATIONS[settings.activation]

    @property
    def drive_size(self) -> int:
        """How many numbers a step the cell takes."""
        return self.hidden_size if self.takes_drive else self.input_size

    @property
    def state_size(self) -> int:
        """How many numbers a state is made of."""
        return self.hidden_size

    @property
    def output_size(self) -> int:
        """How many numbers a step the cell sends up."""
        return self.hidden_size

    def initial_state(self, batch: int) -> Tensor:
        """Return a fresh s(0) of zeros, (B, state_size)."""
        return next(self.parameters()).new_zeros(batch, self.state_size)

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t), (B, state_size), from s(t-1) and x(t), (B, drive_size)."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def output(self, states: Tensor) -> Tensor:
        """Return what the layer sends up in these states, (..., output_size)."""
        return states[..., : self.output_size]

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Run over x(1) .. x(T), (T, B, drive_size), from s(0): the generic form, step by step.

        Returns s(T) and what the layer sends up, (T, B, output_size). `product` is the type that matrices may be
        multiplied in; this form does not use it.
        """
        outputs = []
        for x in drive.unbind(0):
            state = self.step(state, x)
            outputs.append(self.output(state))
        return state, torch.stack(outputs)

    def forward(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Do what `unroll` does; `torch.func.functional_call` comes in here, with other weights."""
        return self.unroll(state, drive, product)


def multiply(x: Tensor, matrix: Tensor, product: torch.dtype | None = None) -> Tensor:
    """Return x @ matrix, made in the type `product` where that is set, in the type of x."""
    if product is None or product is x.dtype:
        return x @ matrix
    return (x.to(product) @ matrix.to(product)).to(x.dtype)
