"""What of a genome is held out: a record, a region, or its last part; never windows drawn at random.

Bases beside each other are alike, and repeats lie near each other: a window whose neighbours were trained on tells what
was learnt by heart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from elman.errors import UsageError
from elman.text.genome import Genome
from elman.text.regions import Region, merge, parse_region, without


class Split(NamedTuple):
    """What is trained on and what is held out, each merged and in the order of the genome."""

    training: list[Region]
    held_out: list[Region]


def hold_out(genome: Genome, what: str | float = 0.1, *, within: Iterable[Region] | None = None) -> Split:
    """Hold out the record or region that `what` names, or as a number the last share of all bases, as they follow.

    `within` limits both parts to what it covers; the share is then of that.

    Raises
    ------
    UsageError
        for what is neither a record, a region nor a number between 0 and 1, and where one of the parts has no base.
    """
    lengths = genome.lengths
    whole = merge(within if within is not None else all_regions(genome), lengths)
    share = _share(what, lengths)
    if share is None:
        region = parse_region(str(what), lengths)
        training = without(whole, [region], lengths)
        held_out = without(whole, training, lengths)
    else:
        training, held_out = _cut(whole, share)
    for part, name in ((training, "to train on"), (held_out, "to hold out")):
        if not part:
            raise UsageError(
                f"--holdout {what} leaves nothing {name}", hint="hold out another region, or a share of it"
            )
    return Split(training, held_out)


def all_regions(genome: Genome) -> list[Region]:
    """Return every record as one region."""
    return [Region(record.name, 0, record.length) for record in genome]


def total_length(regions: Iterable[Region]) -> int:
    """Return how many bases the regions have together."""
    return sum(region.length for region in regions)


def _share(what: str | float, lengths: dict[str, int]) -> float | None:
    """Return `what` as a share; None where it names a record or may name a region."""
    if isinstance(what, str) and what in lengths:
        return None
    try:
        share = float(what)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise UsageError(
            f"--holdout {what} is no share between 0 and 1, nor the name of a record", hint="for example --holdout 0.1"
        )
    return share


def _cut(whole: list[Region], share: float) -> Split:
    """Cut regions in two at a base: the second part has the last `share` of them."""
    total = total_length(whole)
    left = total - min(total - 1, max(1, round(share * total)))
    training: list[Region] = []
    held_out: list[Region] = []
    for region in whole:
        kept = min(left, region.length)
        left -= kept
        cut = region.start + kept
        if cut > region.start:
            training.append(Region(region.name, region.start, cut))
        if cut < region.end:
            held_out.append(Region(region.name, cut, region.end))
    return Split(training, held_out)
