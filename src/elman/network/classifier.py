"""Many symbols in, one label out: the recurrent layers of `RecurrentNetwork`, pooled over time, and a softmax.

    s(t) = f( w(t) U + s(t-1) W ),    y = g( z V + c )
    z = s(T), or the mean of s(1) .. s(T), or all of them beside each other, [s(1) .. s(T)], for sequences of one length

With `direction` both a second net, with weights of its own, reads from the end to the beginning, and z is that of the
first beside that of the second.

Sequences of different lengths lie side by side, padded behind their ends. A recurrent net never looks ahead, and no
pool takes a state from behind the end, so that padding says nothing and gets no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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


def places(states: Tensor, lengths: Tensor) -> Tensor:
    """Return all states of each sequence beside each other, (B, T H), of states (T, B, H): all lengths are T."""
    return states.transpose(0, 1).flatten(1)


POOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"last": last, "mean": mean, "places": places}
"""What becomes of the states of a sequence."""
PLACES = "places"
DIRECTIONS = ("forward", "both")


def check_pool(name: str) -> None:
    """Refuse a pool that is not in the table."""
    if name not in POOLS:
        close = nearest(name, POOLS)
        raise UsageError(
            f"there is no pool {name!r}", hint=f"did you mean {close}?" if close else f"known: {', '.join(POOLS)}"
        )


def reverse(batch: Padded) -> Padded:
    """Return sequences read from the end to the beginning; behind its end each goes on with its first symbol."""
    steps = torch.arange(len(batch.values), device=batch.lengths.device).unsqueeze(1)
    from_end = on_device((batch.lengths - 1 - steps).clamp(min=0), batch.values.device)  # (T, B)
    columns = torch.arange(len(batch.lengths), device=batch.values.device)
    return Padded(batch.values[from_end, columns], batch.lengths)


class Nothing(nn.Module):
    """In the place of an output layer: a net whose states go elsewhere has none."""

    def scale(self, factor: float) -> None:
        """Do nothing."""


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
        `last`, `mean` or `places`.
    vectors
        sequences are of vectors, (T, B, P), instead of symbols, (T, B).
    direction
        `forward`, or `both`: a second net reads from the end to the beginning.
    length
        T, where the pool is `places`.
    """

    def __init__(
        self,
        inputs: int,
        labels: int,
        settings: NetworkSettings,
        *,
        pool: str = "last",
        vectors: bool = False,
        direction: str = "forward",
        length: int = 0,
    ) -> None:
        super().__init__()
        check_pool(pool)
        self.pool, self.vectors = pool, vectors
        plain = {"encoder": "one-hot"} if vectors else {}  # vectors have no n-grams
        shape = settings.model_copy(update={"direct": 0, **plain})
        self.body = self._reader(inputs, shape)
        self.back = self._reader(inputs, shape) if direction == "both" else None
        if self.back is not None:
            self.back.add_module("output", Nothing())
        self.copies = length if pool == PLACES else 1
        """How many states of each net are judged."""
        size = self.body.top_size * self.copies * (1 if self.back is None else 2)
        self.body.add_module("output", OUTPUTS["full"](size, labels, bias=True))

    def _reader(self, inputs: int, shape: NetworkSettings) -> RecurrentNetwork:
        net = RecurrentNetwork(inputs, shape)
        if self.vectors:
            net.add_module("encoder", Vectors(inputs, net.encoder.U.shape[1]))
        return net

    @torch.no_grad()
    def initialize(self, generator: torch.Generator, *, silent: int | None = None) -> None:
        """Draw the weights, as `RecurrentNetwork.initialize` does; where T states are judged, V is T times less."""
        self.body.initialize(generator, silent=silent)
        self.body.output.scale(1 / self.copies)
        if self.back is not None:
            self.back.initialize(generator, silent=silent)

    def forward(self, batch: Padded, generator: torch.Generator | None = None) -> Tensor:
        """Return log y, (B, K); what training drops is dropped only where a `generator` is given."""
        pooled = self._pooled(self.body, batch, generator)
        if self.back is not None:
            pooled = torch.cat([pooled, self._pooled(self.back, reverse(batch), generator)], dim=1)
        return self.body.output.log_probs(pooled, self.body.encoder.U)

    def _pooled(self, net: RecurrentNetwork, batch: Padded, generator: torch.Generator | None) -> Tensor:
        """Return z of one net, (B, H) or (B, T H)."""
        state = net.initial_state(len(batch.lengths))
        sparse = generator is not None and not self.vectors
        _, above = net.unroll(state, batch.values, generator=generator, sparse=sparse)
        return POOLS[self.pool](above, on_device(batch.lengths, above.device))


class Members(nn.Module):
    """Several nets for one task, each trained from a start of its own: log of the mean of what they hold for likely.

    Parameters
    ----------
    nets
        each gives log y, (B, K), for a batch.
    """

    def __init__(self, nets: Iterable[nn.Module]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, batch: Any) -> Tensor:  # noqa: ANN401 - whatever the nets read
        """Return log y, (B, K)."""
        found = torch.stack([net(batch) for net in self.nets])
        return torch.logsumexp(found, dim=0) - math.log(len(self.nets))


def members_of(net: nn.Module) -> list[nn.Module]:
    """Return the nets that learn: those of `Members`, or the one."""
    return list(net.nets) if isinstance(net, Members) else [net]
