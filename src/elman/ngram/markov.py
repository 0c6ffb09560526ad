r"""Context models of DNA: the next base from the $k$ before it, by counts of both strands.

$$ \Pr\{\,x \mid c\,\} = \frac{n(cx) + \alpha}{n(c) + 4 \alpha}, \qquad n(c) = \sum_x n(cx) $$

$c$ are the $k$ bases before $x$ and $n$ counts how often training saw them, on the strand as written and, by default,
on the other one. A base that is not known for sure is not counted and not predicted, and no context reaches over it:
the bases after it, like the first of a sequence, have shorter contexts, and are predicted by the model of that order.

Unless it is given, $\alpha$ is chosen for each order by leaving one out: it maximises the sum, over all words of
training, of the log-probability that the counts without that one word would have given. That takes no held-out base.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import UsageError
from elman.text.dna import BASES, Codes

MAX_ORDER = 12
Counts = NDArray[Any]  # uint32 or int64
Keys = NDArray[np.int32]
Floats = NDArray[np.float64]

ALPHAS = 2.0 ** np.arange(-12, 12, 0.5)
"""What `best_alpha` chooses from."""

_BLOCK = 1 << 20  # bases whose keys are in memory at once
_SMALL = 1 << 10  # a larger table is not added to as a whole for fewer keys than it has places
_DENSE = 1 << 22  # the largest value whose histogram is an array


class WordCounts:
    """How often each word of 1 to `order` + 1 bases was seen; sequences are added to it in pieces.

    A word is a number: its last base, plus 4 times the base before, and so on. Each position is counted once, in the
    longest word that ends there; all words that this one ends with are counted when they are asked for (`tables`).
    Memory: 4^(order + 1) numbers, and a third more.

    Parameters
    ----------
    order
        k, at most 12.
    bases
        how many bases will be added at the most; decides whether a count takes 4 bytes or 8.
    """

    def __init__(self, order: int, *, bases: int | None = None) -> None:
        check_order(order)
        self.order = order
        small = bases is not None and 2 * bases < 1 << 32  # both strands
        self._longest: list[Counts] = [
            np.zeros(BASES**length, dtype=np.uint32 if small else np.int64) for length in range(1, order + 2)
        ]

    def add(self, codes: Codes, *, before: int = 0) -> None:
        """Count the words that end at base `before` or later; the bases before it are context only."""
        for start in range(before, len(codes), _BLOCK):
            first = max(0, start - self.order)
            keys, lengths = words(codes[first : start + _BLOCK], self.order)
            keys, lengths = keys[start - first :], lengths[start - first :]
            _count(self._longest[self.order], keys[lengths > self.order])
            short = np.flatnonzero(lengths <= self.order)
            for length in range(1, self.order + 1) if len(short) else ():
                _count(self._longest[length - 1], keys[short[lengths[short] == length]])

    def tables(self, *, reverse_complement: bool = True) -> list[Counts]:
        """Return the counts by order, 0 to `order`: table k has the 4^(k + 1) words of k + 1 bases.

        With `reverse_complement` the words of the other strand, which are not read again, are added.
        """
        tables = [self._longest[self.order]]
        for longest in self._longest[-2::-1]:
            tables.append(tables[-1].reshape(BASES, -1).sum(axis=0, dtype=longest.dtype) + longest)
        tables.reverse()
        if not reverse_complement:
            return [table.copy() for table in tables]
        others = [other_strand(table) for table in tables]
        for other, table in zip(others, tables, strict=True):
            other += table
        return others


class MarkovModel:
    """Pr{ next base | the k before it } from a table of counts; lower orders stand in where the context is shorter.

    Parameters
    ----------
    tables
        counts by order, as from `WordCounts.tables`; the last one is the model's own.
    alpha
        what is added to every count; None: chosen for each order by leaving one out.
    """

    def __init__(self, tables: Sequence[Counts], *, alpha: float | None = None) -> None:
        check_alpha(alpha)
        self.tables = list(tables)
        self.contexts: list[Counts] = [table.reshape(-1, BASES).sum(axis=1, dtype=table.dtype) for table in tables]
        self.alphas = [
            best_alpha(table, contexts) if alpha is None else alpha
            for table, contexts in zip(self.tables, self.contexts, strict=True)
        ]

    @property
    def order(self) -> int:
        """k, the length of a whole context."""
        return len(self.tables) - 1

    @property
    def alpha(self) -> float:
        """What is added to the counts of whole contexts."""
        return self.alphas[-1]

    def of_order(self, order: int) -> MarkovModel:
        """Return the model of a lower order; it shares the tables of this one."""
        model = object.__new__(MarkovModel)
        model.tables = self.tables[: order + 1]
        model.contexts = self.contexts[: order + 1]
        model.alphas = self.alphas[: order + 1]
        return model

    def log_probs(self, codes: Codes, *, before: int = 0) -> Floats:
        """Return the log-probability (natural) of each base from `before` on, NaN where it is ambiguous."""
        pieces = [np.empty(0)]
        for start in range(before, len(codes), _BLOCK):
            first = max(0, start - self.order)
            keys, lengths = words(codes[first : start + _BLOCK], self.order)
            pieces.append(self._log_probs(keys[start - first :], lengths[start - first :]))
        return np.concatenate(pieces)

    def _log_probs(self, keys: Keys, lengths: NDArray[np.int32]) -> Floats:
        log_probs = np.full(len(keys), np.nan)
        if (whole := lengths > self.order).all():
            return self._of(self.order, keys)
        log_probs[whole] = self._of(self.order, keys[whole])
        for order in range(self.order):
            short = np.flatnonzero(lengths == order + 1)
            log_probs[short] = self._of(order, keys[short])
        return log_probs

    def _of(self, order: int, keys: Keys) -> Floats:
        alpha = self.alphas[order]
        counts, contexts = self.tables[order][keys], self.contexts[order][keys // BASES]
        return np.log((counts + alpha) / (contexts + BASES * alpha))


def fit(
    codes: Codes | Iterable[Codes], order: int, *, reverse_complement: bool = True, alpha: float | None = None
) -> MarkovModel:
    """Count one sequence, or several, and return their model of order k.

    Raises
    ------
    UsageError
        for an order outside 0 .. 12, or an alpha that is not above 0.
    """
    sequences = [codes] if isinstance(codes, np.ndarray) else list(codes)
    counts = WordCounts(order, bases=sum(map(len, sequences)))
    for sequence in sequences:
        counts.add(sequence)
    return MarkovModel(counts.tables(reverse_complement=reverse_complement), alpha=alpha)


def bits_per_base(log_probs: Floats) -> float:
    """Return the mean of -log2 Pr over the bases that are not NaN."""
    return float(-np.nanmean(log_probs) / math.log(2))


def words(codes: Codes, order: int) -> tuple[Keys, NDArray[np.int32]]:
    """Return the longest word that ends at each base, and its length: 0 .. `order` + 1, 0 at an ambiguous base."""
    places = np.arange(len(codes), dtype=np.int32)
    known = codes < BASES
    lengths = places - np.maximum.accumulate(np.where(known, np.int32(-1), places))
    np.minimum(lengths, order + 1, out=lengths)
    bases = np.where(known, codes, 0).astype(np.int32)
    keys = bases.copy()
    for back in range(1, min(order + 1, len(codes))):
        keys[back:] += bases[:-back] << 2 * back
    short = np.flatnonzero(lengths <= order)
    keys[short] &= (1 << 2 * lengths[short]) - 1  # what stands before the word is no part of it
    return keys, lengths


def other_strand(table: Counts) -> Counts:
    """Return the counts of words on the other strand: the word's bases in reverse order, each x as 3 - x.

    >>> other_strand(np.array([1, 2, 3, 4])).tolist()
    [4, 3, 2, 1]
    """
    length = (table.size.bit_length() - 1) // 2
    cube = table.reshape((BASES,) * length)
    return cube[(slice(None, None, -1),) * length].transpose().reshape(-1)


def best_alpha(table: Counts, contexts: Counts) -> float:
    r"""Return the alpha that leaving one out likes best.

    It maximises $\sum_{cx} n(cx) \log(n(cx) - 1 + \alpha) - \sum_c n(c) \log(n(c) - 1 + 4 \alpha)$, for which it is
    enough to know how many counts have each value. A table of nothing has 1.
    """
    gains = _left_out(table, contexts)
    return float(ALPHAS[int(np.argmax(gains))]) if len(gains) else 1.0


def best_order(model: MarkovModel) -> int:
    """Return the order, up to the model's own, that leaving one out likes best for each word, with its best alpha.

    Like `best_alpha` it takes no held-out base. A model of nothing has order 0.
    """
    gains = [_left_out(*each) for each in zip(model.tables, model.contexts, strict=True)]
    means = [
        float(gain.max() / table.sum(dtype=np.float64)) if len(gain) else -math.inf
        for gain, table in zip(gains, model.tables, strict=True)
    ]
    return int(np.argmax(means))


def _left_out(table: Counts, contexts: Counts) -> Floats:
    """Return what `best_alpha` maximises, for each of ALPHAS; empty for a table of nothing."""
    values, of_values = _histogram(table)
    totals, of_totals = _histogram(contexts)
    gains = [
        of_values * values @ np.log(values - 1 + alpha) - of_totals * totals @ np.log(totals - 1 + BASES * alpha)
        for alpha in ALPHAS
    ]
    return np.array(gains if len(values) else [])


def check_order(order: int) -> None:
    """Refuse an order that is not within 0 .. 12."""
    if not 0 <= order <= MAX_ORDER:
        raise UsageError(f"order {order} cannot be", hint=f"orders are 0 to {MAX_ORDER}: 4^{MAX_ORDER + 1} counts")


def check_alpha(alpha: float | None) -> None:
    """Refuse an alpha that is not above 0."""
    if alpha is not None and not 0 < alpha < math.inf:
        raise UsageError(f"alpha = {alpha} cannot be", hint="give a number above 0, such as 0.0625")


def _histogram(counts: Counts) -> tuple[Floats, Floats]:
    """Return the values above 0 that occur, and how often each does."""
    largest = int(counts.max(initial=0))
    if largest > _DENSE:
        found, often = np.unique(counts[counts > 0], return_counts=True)
        return found.astype(np.float64), often.astype(np.float64)
    total = np.zeros(largest + 1, dtype=np.int64)
    for start in range(0, len(counts), _BLOCK):
        total += np.bincount(counts[start : start + _BLOCK], minlength=largest + 1)
    total[0] = 0
    found = np.flatnonzero(total)
    return found.astype(np.float64), total[found].astype(np.float64)


def _count(table: Counts, keys: Keys) -> None:
    """Add one to the table for each key."""
    if len(table) <= max(_SMALL, len(keys)):
        table += np.bincount(keys, minlength=len(table)).astype(table.dtype)
        return
    found, often = np.unique(keys, return_counts=True)
    table[found] += often.astype(table.dtype)
