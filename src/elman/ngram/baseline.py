"""What a recurrent model of DNA has to beat: the best order-k model of the same bases, on the same held-out ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.errors import UsageError
from elman.ngram.markov import MAX_ORDER, MarkovModel, WordCounts, check_order
from elman.text.dna import Codes, N
from elman.text.genome import Genome
from elman.text.holdout import Split, total_length
from elman.text.regions import Region

_BATCH = 1 << 20  # bases


@dataclass(frozen=True)
class OrderResult:
    """One order on the held-out bases, and the alpha that its counts had."""

    order: int
    alpha: float
    bits_per_base: float


@dataclass(frozen=True)
class Baseline:
    """Context models of several orders.

    Attributes
    ----------
    orders
        one result each.
    bases, skipped
        held-out bases that were predicted, and ambiguous ones that were not; together all that was held out.
    training_bases
        bases that were counted.
    reverse_complement
        whether the other strand was counted too.
    """

    orders: list[OrderResult]
    bases: int
    skipped: int
    training_bases: int
    reverse_complement: bool

    @property
    def best(self) -> OrderResult:
        """The order with the fewest bits per base on what was held out, the lowest of equals."""
        return min(self.orders, key=lambda result: result.bits_per_base)

    def as_dict(self) -> dict[str, Any]:
        """Return all values, and the best order, as plain JSON values."""
        return {**asdict(self.best), **asdict(self)}


def baseline(
    genome: Genome,
    split: Split,
    *,
    orders: Sequence[int] | None = None,
    reverse_complement: bool = True,
    alpha: float | None = None,
) -> Baseline:
    """Count the training regions, and say how many bits per base each order needs for the held-out ones.

    Without `orders`, those of `orders_for` are tried. A region is read by itself: its first bases have shorter
    contexts, whatever stands before it.

    Raises
    ------
    UsageError
        for an order outside 0 .. 12, or where training or the held-out part has no base that is known for sure.
    """
    chosen = sorted(set(orders)) if orders else orders_for(total_length(split.training))
    counts = count(genome, split.training, chosen[-1])
    model = MarkovModel(counts.tables(reverse_complement=reverse_complement), alpha=alpha)
    del counts  # of the order 12 they are large
    models = [model.of_order(order) for order in chosen]
    sums, bases = np.zeros(len(models)), 0
    for codes, before in batches(genome, split.held_out, before=model.order):
        for place, each in enumerate(models):
            log_probs = each.log_probs(codes, before=before)
            sums[place] += np.nansum(log_probs)
        bases += int(np.count_nonzero(~np.isnan(log_probs)))
    training_bases = int(model.contexts[0].sum()) // (1 + reverse_complement)
    for amount, name in ((training_bases, "the training part"), (bases, "the held-out part")):
        if not amount:
            raise UsageError(f"{name} has no base that is known for sure", hint="hold out another region")
    results = [
        OrderResult(each.order, each.alpha, float(-total / bases / math.log(2)))
        for each, total in zip(models, sums, strict=True)
    ]
    skipped = total_length(split.held_out) - bases
    return Baseline(results, bases, skipped, training_bases, reverse_complement)


def orders_for(bases: int) -> list[int]:
    """Return the orders worth trying on so many bases: 0 to 12, as long as 4^k is at most 16 times as many.

    >>> orders_for(5000)
    [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """
    return [order for order in range(MAX_ORDER + 1) if order == 0 or 4**order <= 16 * bases]


def count(genome: Genome, regions: Iterable[Region], order: int) -> WordCounts:
    """Count the words of regions, each by itself, in memory of a few blocks beside the counts."""
    check_order(order)
    regions = list(regions)
    counts = WordCounts(order, bases=total_length(regions))
    for codes, before in batches(genome, regions, before=order):
        counts.add(codes, before=before)
    return counts


def batches(genome: Genome, regions: Iterable[Region], *, before: int) -> Iterator[tuple[Codes, int]]:
    """Give regions about a megabase at a time: long ones in windows, short ones many at once, an N between them.

    The second of each pair says how many bases at the beginning are context only, `before` at the most.
    """
    short: list[Codes] = []
    held = 0
    for region in regions:
        if region.length >= _BATCH:
            yield from genome.windows(region.name, region.start, region.end, size=_BATCH, before=before)
            continue
        short += [genome.fetch(region.name, region.start, region.end), np.array([N], dtype=np.uint8)]
        held += region.length
        if held >= _BATCH:
            yield np.concatenate(short), 0
            short, held = [], 0
    if short:
        yield np.concatenate(short), 0
