"""Sequences as bags of n-grams: which there are and how often, whatever their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

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


class NgramDictionary:
    """The n-grams that stand for a sequence, each with a number from 0.

    Parameters
    ----------
    table
        (F, order), the symbols of each n-gram, -1 behind the last of a shorter one; no row stands twice.
    """

    def __init__(self, table: NDArray[np.int64]) -> None:
        self.table = table
        self._ids: dict[Gram, int] = {
            tuple(int(symbol) for symbol in row if symbol >= 0): id for id, row in enumerate(table)
        }

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]], order: int, most: int = MOST) -> NgramDictionary:
        """Take those n-grams, n = 1 .. order, that come in the most sequences; ties: shorter first, then by symbols."""
        seen: Counter[Gram] = Counter()
        for symbols in sequences:
            seen.update(set(grams(symbols, order)))
        kept = sorted(seen, key=lambda gram: (-seen[gram], len(gram), gram))[:most]
        table = np.full((len(kept), order), -1, dtype=np.int64)
        for row, gram in zip(table, kept, strict=True):
            row[: len(gram)] = gram
        return cls(table)

    @property
    def order(self) -> int:
        """How long the longest n-gram may be."""
        return int(self.table.shape[1])

    def __len__(self) -> int:
        return len(self.table)

    def bag(self, symbols: Sequence[int]) -> Bag:
        """Count the n-grams of a sequence; those that the dictionary lacks are left out."""
        counts: Counter[int] = Counter()
        for gram in grams(symbols, self.order):
            if (id := self._ids.get(gram)) is not None:
                counts[id] += 1
        ids = sorted(counts)
        return Bag(np.array(ids, dtype=np.int64), np.array([counts[id] for id in ids], dtype=np.float64))
