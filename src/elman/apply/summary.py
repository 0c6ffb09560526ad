"""The matrices of a model by the letters of the equations, which all steps share, and the settings that matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from elman.network.cells import SCRN, Elman
from elman.network.feedforward import Feedforward
from elman.network.folder import Model
from elman.network.minimal import IndRNN
from elman.network.model import RecurrentNetwork

INPUT, STATE, OUTPUT = "U", "W", "V"
CHOOSES_F = (Elman, SCRN, IndRNN, Feedforward)
"""Cells whose f is `network.activation`; the others have gates with functions of their own."""


@dataclass(frozen=True)
class Weight:
    """A matrix or vector of a model: its name, its shape, and which of U, W and V it is or belongs to."""

    name: str
    letter: str
    shape: list[int]


@dataclass(frozen=True)
class Summary:
    """What a model is, in short.

    `activation` is None where the cell has functions of its own; `bptt` is how many steps training sent errors back,
    None where the card does not say; `tied`: V is the transpose of U.
    """

    unit: str
    dictionary_size: int
    cell: str
    activation: str | None
    layers: int
    hidden: int
    encoder: str
    output: str
    bias: bool
    tied: bool
    direct: int
    zoneout: float
    first_state: float
    regime: str
    bptt: int | None
    parameters: int
    weights: list[Weight]

    def of(self, letter: str) -> list[Weight]:
        """Return the weights that a letter stands for, without those of biases."""
        return [weight for weight in self.weights if weight.letter == letter]

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return dict(vars(self)) | {"weights": [dict(vars(weight)) for weight in self.weights]}


def summary(model: Model) -> Summary:
    """Return what a model is."""
    network, settings = model.network, model.network.settings
    trained = model.card.get("settings")
    bptt = trained.get("learn.bptt") if isinstance(trained, dict) else None
    return Summary(
        unit=model.tokenizer.unit,
        dictionary_size=model.tokenizer.size,
        cell=settings.cell,
        activation=settings.activation if isinstance(network.cells[0], CHOOSES_F) else None,
        layers=settings.layers,
        hidden=settings.hidden,
        encoder=settings.encoder,
        output=settings.output,
        bias=settings.bias,
        tied=settings.tied,
        direct=settings.direct,
        zoneout=settings.zoneout,
        first_state=settings.first_state,
        regime=model.regime,
        bptt=bptt if isinstance(bptt, int) else None,
        parameters=sum(weight.numel() for weight in network.parameters()),
        weights=[
            Weight(name, _letter(name, network), list(weight.shape)) for name, weight in network.named_parameters()
        ],
    )


def _letter(name: str, network: RecurrentNetwork) -> str:
    """Return which of U (what comes in), W (what comes from the state before) and V (what goes out) a weight is."""
    last = name.rsplit(".", 1)[-1]
    if "bias" in last or last == "offsets":
        return "bias"
    if name.startswith("output.") or name == "down":
        return OUTPUT
    return STATE if name in network.recurrent_names() or last == "u" else INPUT
