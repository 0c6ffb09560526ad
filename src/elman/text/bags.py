"""Sequences as bags of n-grams: which there are and how often, whatever their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
MOST = 100_000
"""N-grams that a dictionary holds at the most, unless the user says otherwise."""

Gram = tuple[int, ...]


class Bag(NamedTuple):
    """The n-grams of a sequence that the dictionary holds: their numbers, rising, and how often each comes."""

    ids: Ids
    counts: NDArray[np.float64]


def grams(symbols: Sequence[int], order: int) -> Iterable[Gram]:
    """Give all n-grams of a sequence, n = 1 .. order.

    >>> list(grams([5, 6, 7], 2))
    [(5,), (6,), (7,), (5, 6), (6, 7)]
    """
    for n in range(1, order + 1):
        yield from (tuple(symbols[start : start + n]) for start in range(len(symbols) - n + 1))


def placed_grams(symbols: Sequence[int], order: int) -> Iterable[Gram]:
    """Give all n-grams of a sequence, n = 1 .. order, each behind the place where it begins, from 0.

    >>> list(placed_grams([5, 6], 2))
    [(0, 5), (1, 6), (0, 5, 6)]
    """
    for n in range(1, order + 1):
        yield from ((start, *symbols[start : start + n]) for start in range(len(symbols) - n + 1))


class NgramDictionary:
    """The n-grams that stand for a sequence, each with a number from 0.

    Parameters
    ----------
    table
        (F, order), the symbols of each n-gram, -1 behind the last of a shorter one; no row stands twice.
    """

    grams = staticmethod(grams)

    def __init__(self, table: NDArray[np.int64]) -> None:
        self.table = table
        self._ids: dict[Gram, int] = {
            tuple(int(symbol) for symbol in row if symbol >= 0): id for id, row in enumerate(table)
        }

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]], order: int, most: int = MOST) -> Self:
        """Take those n-grams, n = 1 .. order, that come in the most sequences; ties: shorter first, then by symbols."""
        seen: Counter[Gram] = Counter()
        for symbols in sequences:
            seen.update(set(cls.grams(symbols, order)))
        kept = sorted(seen, key=lambda gram: (-seen[gram], len(gram), gram))[:most]
        table = np.full((len(kept), cls.width(order)), -1, dtype=np.int64)
        for row, gram in zip(table, kept, strict=True):
            row[: len(gram)] = gram
        return cls(table)

    @classmethod
    def width(cls, order: int) -> int:
        """Return how many numbers a row of the table has."""
        return order

    @property
    def order(self) -> int:
        """How long the longest n-gram may be."""
        return int(self.table.shape[1])

    def __len__(self) -> int:
        return len(self.table)

    def bag(self, symbols: Sequence[int]) -> Bag:
        """Count the n-grams of a sequence; those that the dictionary lacks are left out."""
        counts: Counter[int] = Counter()
        for gram in self.grams(symbols, self.order):
            if (id := self._ids.get(gram)) is not None:
                counts[id] += 1
        ids = sorted(counts)
        return Bag(np.array(ids, dtype=np.int64), np.array([counts[id] for id in ids], dtype=np.float64))


class PlacedDictionary(NgramDictionary):
    """N-grams at their places: the same bases elsewhere are another feature, as sequences that are aligned want it.

    Parameters
    ----------
    table
        (F, 1 + order), the place of each n-gram, from 0, then its symbols as in `NgramDictionary`.
    """

    grams = staticmethod(placed_grams)

    @classmethod
    def width(cls, order: int) -> int:
        """Return how many numbers a row of the table has."""
        return 1 + order

    @property
    def order(self) -> int:
        """How long the longest n-gram may be."""
        return int(self.table.shape[1]) - 1
