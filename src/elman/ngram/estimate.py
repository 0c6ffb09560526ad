"""Interpolated modified Kneser-Ney, estimated with sorts and sums over whole arrays.

S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling" (Harvard TR-10-98, 1998),
equations as in docs/ngram.md; details (which counts are adjusted, what <unk> gets, pruning) as in K. Heafield et al.,
"Scalable modified Kneser-Ney language model estimation" (ACL 2013), whose program `lmplz` gives the same numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError, UsageError
from elman.ngram.model import Floats, Level, NGramModel
from elman.ngram.pruning import thin
from elman.ngram.sentences import START, Ids, Sentences, batches, bounded
from elman.text.reading import TextSource
from elman.text.symbols import END, UNK

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where a text is too small to say: those that `lmplz --discount_fallback` takes."""

HIGHEST = 32  # more than any text can feed
_END_ID, _UNK_ID = 0, 1


@dataclass(frozen=True)
class Counts:
    """The n-grams of one order in the training text.

    Attributes
    ----------
    keys
        as in `Level`, sorted.
    raw
        how often each was seen.
    suffixes
        the place of each n-gram's last n-1 words in the order below; 0 at order 1.
    first
        whether each begins with <s>.
    """

    keys: Ids
    raw: Ids
    suffixes: Ids
    first: NDArray[np.bool_]


def estimate(
    sentences: Sentences | TextSource | str | Path,
    *,
    order: int,
    prune: Sequence[int] = (),
    fallback: Sequence[float] = FALLBACK,
) -> NGramModel:
    """Estimate a model from sentences, or from a text with one sentence a line (blank lines are none).

    Parameters
    ----------
    order
        N, at least 1. Orders that are longer than every sentence are left out.
    prune
        thresholds by order, rising, the first 0: n-grams seen so often or less are not listed; the last holds for the
        orders that have none. Their probability goes to the lower order.
    fallback
        the three discounts of an order whose own cannot be estimated; `facts["fallback_orders"]` says which those are.

    Raises
    ------
    TextError
        for a text that cannot be read or holds no word.
    UsageError
        for an order, thresholds or discounts that cannot be.
    """
    thresholds = check_options(order, prune, fallback)
    vocabulary, flat, unk_trained = _read(sentences)
    start = len(vocabulary)
    counts = count(flat, order, start=start)
    adjusted = adjust(counts, start=start)
    discounts = [discounts_of(values) for values in adjusted]
    failed = [number for number, values in enumerate(discounts, start=1) if values is None]
    chosen = [np.array([0.0, *(values or fallback)]) for values in discounts]
    facts: dict[str, Any] = {
        "sentences": int((flat == _END_ID).sum()),
        "words": int((flat != _END_ID).sum() - (flat == start).sum()),
        "order_asked": order,
        "counted": [len(level.keys) for level in counts],
        "discounts": [values[1:].tolist() for values in chosen],
        "fallback_orders": failed,
        "prune": thresholds[: len(counts)],
    }
    levels = _levels(counts, adjusted, chosen, thresholds, start=start)
    return NGramModel(vocabulary, levels, unk_trained=unk_trained, facts=facts)


def check_options(order: int, prune: Sequence[int], fallback: Sequence[float]) -> list[int]:
    """Return a threshold for every order; refuse what cannot be."""
    if not 1 <= order <= HIGHEST:
        raise UsageError(f"order = {order} cannot be", hint=f"choose one from 1 to {HIGHEST}; 5 is usual")
    thresholds = [*prune, *[prune[-1] if prune else 0] * order][:order]
    if len(prune) > order:
        raise UsageError(f"{len(prune)} thresholds are too many for order {order}", hint="give one an order at most")
    if thresholds[0] != 0:
        raise UsageError(f"the first threshold is {thresholds[0]}", hint="words are never pruned: begin with 0")
    if any(low > high for low, high in itertools.pairwise(thresholds)):
        raise UsageError(f"thresholds {','.join(map(str, prune))} fall", hint="each must be as high as the one before")
    if len(fallback) != 3 or not all(0 <= value <= number for number, value in enumerate(fallback, start=1)):
        raise UsageError(f"fallback discounts {list(fallback)} cannot be", hint="give three, such as 0.5, 1, 1.5")
    return thresholds


class _Growing(dict[str, int]):
    """From words to ids; a new word gets the next one. Bounds that the text itself writes are read as <unk>."""

    def __init__(self) -> None:
        super().__init__({UNK: _UNK_ID, START: _UNK_ID, END: _UNK_ID})

    def __missing__(self, word: str) -> int:
        self[word] = id = len(self) - 1
        return id


def _read(sentences: Sentences | TextSource | str | Path) -> tuple[list[str], Ids, bool]:
    """Return the vocabulary, the flat ids of all sentences with their bounds, and whether <unk> was among them."""
    lookup = _Growing()
    parts, lengths = [], []
    for batch in batches(sentences):
        sizes = np.fromiter(map(len, batch), dtype=np.int64, count=len(batch))
        words = itertools.chain.from_iterable(batch)
        parts.append(np.fromiter(map(lookup.__getitem__, words), dtype=np.int64, count=int(sizes.sum())))
        lengths.append(sizes)
    if not sum(map(len, parts)):
        raise TextError("there is no word to count", hint="give a text with at least one word")
    vocabulary = [END, UNK, *itertools.islice(lookup, 3, None)]
    ids = np.concatenate(parts)
    flat = bounded(ids, np.concatenate(lengths), start=len(vocabulary), end=_END_ID)
    return vocabulary, flat, bool((ids == _UNK_ID).any())


def count(flat: Ids, order: int, *, start: int) -> list[Counts]:
    """Count the n-grams of orders 1 to N, none of which reaches back over a <s>.

    An n-gram's place among the sorted n-grams of its order names it at the next: one sort an order, and no key is
    longer than 64 bits.
    """
    radix = start + 1
    positions = np.arange(len(flat))
    positions -= np.maximum.accumulate(np.where(flat == start, positions, 0))  # 0 at <s>
    raw = np.bincount(flat, minlength=radix)
    words = np.arange(radix)
    counts = [Counts(words, raw, np.zeros_like(words), words == start)]
    nodes = flat
    for n in range(2, order + 1):
        ends = np.flatnonzero(positions >= n - 1)
        if not len(ends):
            break
        keys, inverse, raw = np.unique(nodes[ends - 1] * radix + flat[ends], return_inverse=True, return_counts=True)
        suffixes = np.empty(len(keys), dtype=np.int64)
        suffixes[inverse] = nodes[ends]
        first = np.empty(len(keys), dtype=bool)
        first[inverse] = positions[ends] == n - 1
        counts.append(Counts(keys, raw, suffixes, first))
        nodes = np.full(len(flat), -1, dtype=np.int64)
        nodes[ends] = inverse
    return counts


def adjust(counts: Sequence[Counts], *, start: int) -> list[Ids]:
    """Return the counts a(n-gram) that Kneser-Ney is made of.

    At the highest order, and for n-grams that begin with <s> (nothing can stand before them), how often each was seen;
    for the others, how many different words were seen before them. <s> itself is never predicted and has none.
    """
    adjusted = []
    for lower, higher in itertools.pairwise(counts):
        before = np.bincount(higher.suffixes, minlength=len(lower.keys))
        adjusted.append(np.where(lower.first, lower.raw, before))
    adjusted.append(counts[-1].raw.copy())
    adjusted[0][start] = 0
    return adjusted


def discounts_of(adjusted: Ids) -> list[float] | None:
    """Return D1, D2, D3+ of one order, or None where they cannot be estimated.

    With n_k the number of n-grams of adjusted count k and Y = n_1 / (n_1 + 2 n_2):
    D_k = k - (k + 1) Y n_{k+1} / n_k (Chen and Goodman, equation 26).
    """
    n = np.bincount(np.minimum(adjusted, 5), minlength=6).tolist()
    if not (n[1] and n[2] and n[3]):
        return None
    y = n[1] / (n[1] + 2 * n[2])
    discounts = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
    return discounts if all(0 <= value <= k for k, value in enumerate(discounts, start=1)) else None


def _levels(
    counts: Sequence[Counts],
    adjusted: Sequence[Ids],
    discounts: Sequence[Floats],
    thresholds: Sequence[int],
    *,
    start: int,
) -> list[Level]:
    """Interpolate the orders from the lowest up, and leave out what is pruned.

    p(w | c) = (a(c w) - D) / a(c .) + b(c) p(w | c without its first word), where b(c), what the discounts (and the
    pruned n-grams) leave of a(c .), makes the sum over w one.
    """
    radix = start + 1
    cut = discounts[0][np.minimum(adjusted[0], 3)]
    total = adjusted[0].sum()
    probs = (adjusted[0] - cut) / total + cut.sum() / total / start
    probs[start] = 0.0
    levels = [Level(counts[0].keys, _log(probs), np.empty(0))]
    listed = [level.raw > threshold for level, threshold in zip(counts[1:], thresholds[1:], strict=False)]
    for n, keep in enumerate(listed, start=1):
        level, number, below = counts[n], adjusted[n], levels[-1]
        contexts = level.keys // radix
        lost = np.where(keep, discounts[n][np.minimum(number, 3)], number)
        backoffs = np.ones(len(probs))
        totals = np.bincount(contexts, weights=number, minlength=len(probs))
        np.divide(np.bincount(contexts, weights=lost, minlength=len(probs)), totals, out=backoffs, where=totals > 0)
        probs = (number - lost) / totals[contexts] + backoffs[contexts] * probs[level.suffixes]
        levels[-1] = Level(below.keys, below.log_probs, _log(backoffs))
        levels.append(Level(level.keys, _log(probs), np.empty(0)))
    return thin(levels, [np.ones(radix, dtype=bool), *listed], start=start)


def _log(values: Floats) -> Floats:
    """Return the logarithm, -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values))
