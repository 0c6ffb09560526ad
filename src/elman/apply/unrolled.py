"""A text under a network, unrolled in float64: the vectors, states and outputs of every step, in autograd's graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elman.network.activations import ACTIVATIONS, Activation
from elman.network.cell import Cell
from elman.network.cells import SCRN, Elman
from elman.network.feedforward import Feedforward
from elman.network.gated import GRU, LSTM
from elman.network.minimal import IndRNN
from elman.network.model import RecurrentNetwork, State

CHUNK = 2**23
"""Numbers of log y that are computed at once: 64 MB."""


@dataclass(frozen=True)
class Part:
    """A part of a layer's state, columns `start` to `stop`, by the name that its cell's equations give it.

    `activation` is the one that its units end in, where it has an upper or a lower end that they can stick to.
    """

    name: str
    start: int
    stop: int
    activation: Activation | None


def parts_of(cell: Cell) -> list[Part]:
    """Return the parts of a cell's state: s(t), and what else it carries on (c(t); the vectors of a window)."""
    hidden, whole = cell.hidden_size, cell.state_size
    if isinstance(cell, LSTM):
        return [Part("s", 0, hidden, ACTIVATIONS["tanh"]), Part("c", hidden, whole, None)]
    if isinstance(cell, GRU):
        return [Part("s", 0, hidden, ACTIVATIONS["tanh"])]
    if isinstance(cell, SCRN):
        return [Part("s", 0, hidden, cell.activation), Part("c", hidden, whole, None)]
    if isinstance(cell, Feedforward):
        kept = [Part("x", hidden, whole, None)] if whole > hidden else []
        return [Part("s", 0, hidden, cell.activation), *kept]
    return [Part("s", 0, whole, cell.activation if isinstance(cell, Elman | IndRNN) else None)]


def saturated(part: Part, values: Tensor) -> int | None:
    """Return how many units hardly move: f'(s) is less than a twentieth of the most that it can be."""
    if part.activation is None:
        return None
    steepest = 0.25 if part.activation.name == "sigmoid" else 1.0
    return int((part.activation.derivative(values) < steepest / 20).sum())


def in_float64(network: RecurrentNetwork) -> RecurrentNetwork:
    """Return a copy of a network that computes in float64, asks for no gradients of weights, and drops nothing."""
    device = next(network.parameters()).device
    copy = RecurrentNetwork(network.dictionary_size, network.settings).double()
    copy.load_state_dict(network.state_dict())
    return copy.to(device).requires_grad_(False).eval()


@dataclass(frozen=True)
class Unrolled:
    """Steps `first` to T of a text, t counted from 1; lists have one entry a step.

    Attributes
    ----------
    symbols
        w(first) .. w(T), (n,).
    vectors
        x(t), what the encoder makes of a symbol, (1, 1, E); leaves of the graph.
    states
        s(first - 1) .. s(T), n + 1 of them, each with all layers.
    above
        what goes to the output, (1, top_size).
    before
        the same of step first - 1; None where there is none.
    """

    network: RecurrentNetwork
    first: int
    symbols: Tensor
    vectors: list[Tensor]
    states: list[State]
    above: list[Tensor]
    before: Tensor | None


def unroll_text(network: RecurrentNetwork, symbols: Tensor, first: int) -> Unrolled:
    """Read symbols, (T,), from s(0); steps before `first` leave nothing but the state that `first` begins with."""
    state, before = network.initial_state(1), None
    with torch.no_grad():
        for symbol in symbols[: first - 1]:
            state, before = network.advance(state, symbol.view(1))
    vectors, states, above = list[Tensor](), [state], list[Tensor]()

    def as_leaf(_: nn.Module, __: object, x: Tensor) -> Tensor:
        vectors.append(x.detach().requires_grad_())
        return vectors[-1]

    hook = network.encoder.register_forward_hook(as_leaf)
    try:
        with torch.enable_grad():
            for symbol in symbols[first - 1 :]:
                state, up = network.advance(state, symbol.view(1))
                states.append(state)
                above.append(up)
    finally:
        hook.remove()
    return Unrolled(network, first, symbols[first - 1 :], vectors, states, above, before)


def log_probs(network: RecurrentNetwork, above: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Give log y, exact and over the whole dictionary, for rows of what goes to the output, (N, top_size), in chunks.

    Gradients reach `above`, if it asks for them.
    """
    rows = max(1, CHUNK // network.dictionary_size)
    for start in range(0, len(above), rows):
        here = slice(start, start + rows)
        with torch.enable_grad():  # direct connections have a form for autograd, which is also their exact one
            log_y = network.output.log_probs(above[here], network.encoder.U)
        yield here, log_y
