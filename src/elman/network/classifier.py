"""Many symbols in, one label out: the recurrent layers of `RecurrentNetwork`, pooled over time, and a softmax.

    s(t) = f( w(t) U + s(t-1) W ),    z = s(T) or the mean of s(1) .. s(T),    y = g( z V + c )

Sequences of different lengths lie side by side, padded behind their ends. A recurrent net never looks ahead, and no
pool takes a state from behind the end, so that padding says nothing and gets no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError, nearest
from elman.network.devices import on_device
from elman.network.model import RecurrentNetwork
from elman.network.outputs import OUTPUTS


class Padded(NamedTuple):
    """Sequences side by side: symbols, (T, B), or vectors, (T, B, P), with T the longest of `lengths`, (B,)."""

    values: Tensor
    lengths: Tensor


def pad(sequences: Sequence[NDArray[Any]]) -> Padded:
    """Lay sequences, (T_b,) or (T_b, P), side by side; behind its end each goes on with its last symbol.

    So no row of U is read, and none is moved, that no sequence of the batch has.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    shape = (int(lengths.max()), len(sequences), *sequences[0].shape[1:])
    values = np.empty(shape, dtype=sequences[0].dtype)
    for column, sequence in enumerate(sequences):
        values[: len(sequence), column] = sequence
        values[len(sequence) :, column] = sequence[-1]
    return Padded(torch.from_numpy(values), lengths)


def last(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the state after the last symbol of each sequence, (B, H), of states (T, B, H)."""
    return states[lengths - 1, torch.arange(len(lengths), device=lengths.device)]


def mean(states: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean state over the symbols of each sequence, (B, H), of states (T, B, H)."""
    inside = torch.arange(len(states), device=lengths.device).unsqueeze(1) < lengths
    # Not a product with 0 and 1: what lies behind an end may be large without bound, and 0 times infinity is no number.
    kept = torch.where(inside.unsqueeze(-1), states, states.new_zeros(()))
    return kept.sum(0) / lengths.unsqueeze(1).to(states.dtype)


POOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"last": last, "mean": mean}
"""What becomes of the states of a sequence."""


def check_pool(name: str) -> None:
    """Refuse a pool that is not in the table."""
    if name not in POOLS:
        close = nearest(name, POOLS)
        raise UsageError(
            f"there is no pool {name!r}", hint=f"did you mean {close}?" if close else f"known: {', '.join(POOLS)}"
        )


class Vectors(nn.Module):
    """The encoder of real vectors: x(t) U, with x(t) a row of P numbers and U a matrix (P, H)."""

    memory = 0

    def __init__(self, size: int, drive_size: int) -> None:
        super().__init__()
        self.U = nn.Parameter(torch.zeros(size, drive_size))

    def forward(self, x: Tensor, run: Tensor | None = None, *, sparse: bool = False) -> Tensor:
        """Return x U, (..., H), for x (..., P); every row of U is in use, so nothing can be sparse."""
        return x @ self.U


class RecurrentClassifier(nn.Module):
    """A label for a whole sequence: log y, with y = g( z V + c ) and z the pooled states.

    Parameters
    ----------
    inputs
        D, the size of the dictionary; or P, that of a vector.
    labels
        K.
    settings
        of the network, as for a language model: cell, H, layers, f, and what training drops.
    pool
        `last` or `mean`.
    vectors
        sequences are of vectors, (T, B, P), instead of symbols, (T, B).
    """

    def __init__(
        self, inputs: int, labels: int, settings: NetworkSettings, *, pool: str = "last", vectors: bool = False
    ) -> None:
        super().__init__()
        check_pool(pool)
        self.pool, self.vectors = pool, vectors
        plain = {"encoder": "one-hot"} if vectors else {}  # vectors have no n-grams
        self.body = RecurrentNetwork(inputs, settings.model_copy(update={"direct": 0, **plain}))
        if vectors:
            self.body.add_module("encoder", Vectors(inputs, self.body.encoder.U.shape[1]))
        self.body.add_module("output", OUTPUTS["full"](self.body.top_size, labels, bias=True))

    def initialize(self, generator: torch.Generator, *, silent: int | None = None) -> None:
        """Draw the weights, as `RecurrentNetwork.initialize` does."""
        self.body.initialize(generator, silent=silent)

    def forward(self, batch: Padded, generator: torch.Generator | None = None) -> Tensor:
        """Return log y, (B, K); what training drops is dropped only where a `generator` is given."""
        state = self.body.initial_state(len(batch.lengths))
        sparse = generator is not None and not self.vectors
        _, above = self.body.unroll(state, batch.values, generator=generator, sparse=sparse)
        pooled = POOLS[self.pool](above, on_device(batch.lengths, above.device))
        return self.body.output.log_probs(pooled, self.body.encoder.U)
