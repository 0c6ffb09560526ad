"""Ids cut into batches, in the two regimes: running text in parallel streams, and independent sentences.

Arrays are (T, B), time first: T steps of B streams or sentences side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import UsageError

Ids = NDArray[Any]  # 1-D, any integer type; may be memory-mapped
Batch = NDArray[np.int64]


def known(ids: Batch, size: int, unk_id: int | None) -> tuple[Batch, NDArray[np.bool_]]:
    """Replace ids outside the dictionary (`size` = D) by `unk_id`, or by 0 without one; say also which were inside.

    >>> known(np.array([3, 9, 4]), 9, 1)
    (array([3, 1, 4]), array([ True, False,  True]))
    """
    inside = ids < size
    return np.where(inside, ids, 0 if unk_id is None else unk_id), inside


def streams(ids: Ids, batch: int, end_id: int) -> tuple[Batch, Batch]:
    """Cut a text into `batch` contiguous streams; return inputs and targets, both (B, n) with n = len(ids) // batch.

    The input of a target is the id before it in the text, the first one's a sentence end, so that each id is a target
    once, but for a tail of less than `batch` ids. This copies the text: it is the plain twin of `windows`.
    """
    n = _stream_length(ids, batch)
    whole = np.asarray(ids[: batch * n]).astype(np.int64)
    before = np.concatenate([[end_id], whole[:-1]])
    return before.reshape(batch, n), whole.reshape(batch, n)


class Windows:
    """The windows over the streams of a text: item i is (inputs, targets), (T, B) each, copied when it is asked for.

    Windows follow each other, T = `length` steps at a time; the last may be shorter. With batch = 1 nothing is lost.
    With `cuts`, (n + 1,), window i is the steps cuts[i] .. cuts[i + 1] - 1 instead.
    """

    def __init__(
        self, ids: Ids, batch: int, length: int, end_id: int, *, cuts: NDArray[np.int64] | None = None
    ) -> None:
        self._steps = _stream_length(ids, batch)
        self._streams = ids[: batch * self._steps].reshape(batch, self._steps)  # a view
        self._first = np.array([end_id, *(int(ids[b * self._steps - 1]) for b in range(1, batch))], dtype=np.int64)
        self._length = length
        self._cuts = cuts

    def __len__(self) -> int:
        return -(-self._steps // self._length) if self._cuts is None else len(self._cuts) - 1

    @property
    def targets(self) -> int:
        """How many ids are targets: all but the tail."""
        return int(self._streams.size)

    def span(self, index: int) -> tuple[int, int]:
        """Return the step that a window begins with, and the one after its last."""
        if self._cuts is not None:
            return int(self._cuts[index]), int(self._cuts[index + 1])
        return index * self._length, min((index + 1) * self._length, self._steps)

    def __getitem__(self, index: int) -> tuple[Batch, Batch]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} windows, not {index}")
        start, stop = self.span(index % len(self))
        inputs = np.empty((stop - start, len(self._first)), dtype=np.int64)
        inputs[0] = self._streams[:, start - 1] if start else self._first
        inputs[1:] = self._streams[:, start : stop - 1].T
        targets = np.ascontiguousarray(self._streams[:, start:stop].T, dtype=np.int64)
        return inputs, targets

    def __iter__(self) -> Iterator[tuple[Batch, Batch]]:
        return self.iterate()

    def over(self, ids: Ids) -> Windows:
        """Return windows over another text of as many ids, cut at the same places."""
        batch, first = len(self._streams), int(self._first[0])
        return Windows(ids, batch, self._length, first, cuts=self._cuts)

    def iterate(self, start: int = 0) -> Iterator[tuple[Batch, Batch]]:
        """Give the windows from number `start` on, as a resumed run needs them."""
        return (self[index] for index in range(start, len(self)))


def windows(ids: Ids, batch: int, length: int, end_id: int) -> Windows:
    """Cut a text into windows of `length` steps over `batch` streams (see `streams`), without copying it.

    Raises
    ------
    UsageError
        for a text of fewer than `batch` ids.
    """
    return Windows(ids, batch, length, end_id)


HALF = 0.05  # the share of windows about half as long, and
LEAST = 5  # the shortest window, of Merity et al.


def random_cuts(steps: int, length: int, jitter: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return where the windows of random lengths over `steps` steps begin, and at the end `steps`; (n + 1,).

    A length is a normal draw about `length`, or with a chance of 0.05 about half of it, with `jitter` as the standard
    deviation, and at least 5 (or `length`, if that is less). The same seed and epoch give the same cuts. So that every
    step is in one window, the last is what is left over.

    Source: S. Merity, N. S. Keskar and R. Socher, "Regularizing and optimizing LSTM language models" (ICLR 2018).
    """
    draw = np.random.default_rng([seed, epoch, steps])
    pieces, reached = [np.zeros(1, dtype=np.int64)], 0
    while reached < steps:
        count = 1 + (steps - reached) // length
        means = np.where(draw.random(count) < HALF, length / 2, length)
        lengths = np.maximum(min(LEAST, length), draw.normal(means, jitter).astype(np.int64))
        ends = reached + np.cumsum(lengths)
        pieces.append(ends[ends < steps])
        reached = int(ends[-1])
    return np.concatenate([*pieces, [steps]])


class RandomWindows:
    """Windows of random lengths, cut anew for every epoch (see `random_cuts`); `count` of an epoch without its text."""

    def __init__(self, ids: Ids, batch: int, length: int, end_id: int, *, jitter: float, seed: int) -> None:
        self._given = (ids, batch, length, end_id)
        self._cut = (_stream_length(ids, batch), length, jitter, seed)
        self._counts: dict[int, int] = {}

    def epoch(self, epoch: int) -> Windows:
        """Return the windows of an epoch."""
        return Windows(*self._given, cuts=random_cuts(*self._cut, epoch))

    def count(self, epoch: int) -> int:
        """Return how many windows an epoch has."""
        if epoch not in self._counts:
            self._counts[epoch] = len(random_cuts(*self._cut, epoch)) - 1
        return self._counts[epoch]


def _stream_length(ids: Ids, batch: int) -> int:
    if len(ids) < batch:
        raise UsageError(
            f"the text has {len(ids)} symbols: too few for batch = {batch} streams", hint="make batch smaller"
        )
    return len(ids) // batch


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences side by side, padded with sentence ends to the longest.

    inputs, targets: (T, B); the first input is a sentence end, the last target of a sentence its own end.
    mask: (T, B), True for what is no padding. sentences: (B,), their places in the text.
    """

    inputs: Batch
    targets: Batch
    mask: NDArray[np.bool_]
    sentences: NDArray[np.int64]


class SentenceBatches:
    """The sentences of a text, sorted by length and cut into batches of nearly equally many, `batch` at the most."""

    def __init__(self, ids: Ids, batch: int, end_id: int) -> None:
        self._ids = ids
        self._end_id = end_id
        self._stops = _stops(ids, end_id)
        self._starts = np.concatenate([[0], self._stops[:-1]])
        self._sorted = np.argsort(self._stops - self._starts, kind="stable")
        count = len(self._stops)
        self._cuts = np.linspace(0, count, -(-count // batch) + 1).round().astype(np.int64)

    def __len__(self) -> int:
        return len(self._cuts) - 1

    @property
    def sentences(self) -> int:
        """The number of sentences."""
        return len(self._stops)

    def __getitem__(self, index: int) -> SentenceBatch:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} batches, not {index}")
        index %= len(self)
        chosen = self._sorted[self._cuts[index] : self._cuts[index + 1]]
        lengths = self._stops[chosen] - self._starts[chosen]
        targets = np.full((int(lengths.max()), len(chosen)), self._end_id, dtype=np.int64)
        for column, sentence in enumerate(chosen):
            targets[: lengths[column], column] = self._ids[self._starts[sentence] : self._stops[sentence]]
        inputs = np.concatenate([np.full((1, len(chosen)), self._end_id, dtype=np.int64), targets[:-1]])
        mask = np.arange(len(targets))[:, None] < lengths
        return SentenceBatch(inputs=inputs, targets=targets, mask=mask, sentences=chosen)

    def __iter__(self) -> Iterator[SentenceBatch]:
        return self.iterate()

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the shuffled order of batches in an epoch; the same seed and epoch give the same order."""
        return np.random.default_rng([seed, epoch]).permutation(len(self))

    def iterate(self, order: NDArray[np.int64] | None = None, start: int = 0) -> Iterator[SentenceBatch]:
        """Give the batches in `order` (shortest sentences first if None), from place `start` of it on."""
        places = range(len(self)) if order is None else order
        return (self[int(index)] for index in places[start:])

    def in_text_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Put values, one a sentence (first axis), of the batches 0, 1, 2, ... into the order of the text."""
        ordered = np.empty_like(values)
        ordered[self._sorted] = values
        return ordered


def sentence_batches(ids: Ids, batch: int, end_id: int) -> SentenceBatches:
    """Cut a text into batches of `batch` independent sentences at the most.

    Raises
    ------
    UsageError
        for a text without a symbol.
    """
    if not len(ids):
        raise UsageError("the text has no symbols", hint="give a text with at least one word")
    return SentenceBatches(ids, batch, end_id)


def _stops(ids: Ids, end_id: int, chunk: int = 1 << 22) -> NDArray[np.int64]:
    """Return where each sentence stops, its end included; ids after the last end are a sentence without one."""
    pieces = [np.flatnonzero(ids[at : at + chunk] == end_id) + at + 1 for at in range(0, len(ids), chunk)]
    stops = np.concatenate(pieces).astype(np.int64)
    if not len(stops) or stops[-1] != len(ids):
        stops = np.append(stops, len(ids))
    return stops
