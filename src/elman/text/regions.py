"""Parts of a genome: regions as samtools writes them, and BED.

Inside everything is 0-based and half-open. `chr1:1,000-2,000` is 1-based and inclusive, as in samtools and VCF, and
becomes 999 to 2000; BED is 0-based and half-open already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from elman.errors import TextError, UsageError, nearest
from elman.text.reading import TextSource

_RANGE = re.compile(r"(\d[\d,]*)?(-)?(\d[\d,]*)?")


@dataclass(frozen=True)
class Region:
    """Bases `start` to `end` of the record `name`, 0-based and half-open; what BED calls it, and its strand."""

    name: str
    start: int
    end: int
    label: str = ""
    strand: str = "."

    @property
    def length(self) -> int:
        """How many bases it has."""
        return self.end - self.start

    def __str__(self) -> str:
        """Return the region as samtools writes it, 1-based and inclusive."""
        return f"{self.name}:{self.start + 1}-{self.end}"


def parse_region(text: str, lengths: Mapping[str, int]) -> Region:
    """Return a region such as `chr1`, `chr1:1000` (to the end), `chr1:-2000` or `chr1:1,000-2,000`.

    Positions are 1-based and inclusive. A name may hold colons: the longest known name that fits is taken.

    >>> parse_region("chr1:1,001-2,000", {"chr1": 5000})
    Region(name='chr1', start=1000, end=2000, label='', strand='.')

    Raises
    ------
    UsageError
        for a name that is not among `lengths`, positions that are none, and a region that does not lie in the record.
    """
    if text in lengths:
        return Region(text, 0, lengths[text])
    colons = [place for place, letter in enumerate(text) if letter == ":"]
    for colon in reversed(colons):
        if text[:colon] in lengths:
            return _range(text, text[:colon], text[colon + 1 :], lengths[text[:colon]])
    name = text[: colons[-1]] if colons and _RANGE.fullmatch(text[colons[-1] + 1 :]) else text
    raise UsageError(f"region {text!r}: there is no record {name!r}", hint=_known(name, lengths))


def _range(text: str, name: str, written: str, length: int) -> Region:
    match = _RANGE.fullmatch(written)
    if not match or not (match[1] or match[3]):
        raise UsageError(
            f"region {text!r}: {written!r} is no range of positions", hint=f"for example {name}:1-{length}"
        )
    start = int(match[1].replace(",", "")) if match[1] else 1
    end = int(match[3].replace(",", "")) if match[3] else length
    if start < 1:
        raise UsageError(f"region {text!r} begins at 0, and positions count from 1", hint=f"{name}:1-{end}")
    if end > length or start > length:
        raise UsageError(f"region {text!r} goes past the end: {name} has {length} bases", hint=f"{name}:1-{length}")
    if start > end:
        raise UsageError(f"region {text!r} ends before it begins", hint=f"{name}:{end}-{start}")
    return Region(name, start - 1, end)


def read_bed(source: str | Path | TextSource, lengths: Mapping[str, int]) -> Iterator[Region]:
    """Give the regions of a BED file in its order, overlapping or not, with their names and strands.

    Three columns or more, between tabs or, where a line has none, spaces; those from the seventh on, blocks among them,
    are not looked at. Lines of `track`, `browser` and `#` are skipped. A region may be empty, as BED allows.

    Raises
    ------
    TextError
        for a line that is no region, a record that is not among `lengths`, or a region past its end, with the line;
        and for a file without a region.
    """
    source = source if isinstance(source, TextSource) else TextSource(source)
    found = False
    for number, line in enumerate(source.lines(), start=1):
        if not line.strip() or line.startswith("#") or line.split(maxsplit=1)[0] in ("track", "browser"):
            continue
        found = True
        yield _bed_region(line, f"{source.name}, line {number}", lengths)
    if not found:
        raise TextError(f"{source.name} holds no regions", hint="give BED: name, start and end, between tabs")


def _bed_region(line: str, where: str, lengths: Mapping[str, int]) -> Region:
    columns = [column.strip() for column in (line.split("\t") if "\t" in line else line.split())]
    if len(columns) < 3:
        raise TextError(
            f"{where} has {len(columns)} column{'s' * (len(columns) > 1)}, and BED has at least three",
            hint="give name, start and end, between tabs",
        )
    name, *positions = columns[:3]
    for position in positions:
        if not (position.isascii() and position.isdecimal()):
            raise TextError(f"{where}: {position!r} is no position", hint="BED counts bases from 0, in whole numbers")
    start, end = map(int, positions)
    if name not in lengths:
        raise TextError(f"{where}: there is no record {name!r}", hint=_known(name, lengths))
    if start > end:
        raise TextError(f"{where}: the region ends ({end}) before it begins ({start})", hint="swap the two")
    if end > lengths[name]:
        raise TextError(
            f"{where}: the region {start} to {end} goes past the end: {name} has {lengths[name]} bases",
            hint="was the BED file made for another assembly?",
        )
    label, strand = [*columns[3:4], ""][0], [*columns[5:6], "."][0]
    if strand not in ("+", "-", "."):
        raise TextError(f"{where}: the strand is {strand!r}", hint="the sixth column of BED is +, - or .")
    return Region(name, start, end, label, strand)


def merge(regions: Iterable[Region], lengths: Mapping[str, int]) -> list[Region]:
    """Return what the regions cover together, in the order of `lengths`, without overlaps, names and strands.

    >>> merge([Region("a", 5, 9), Region("a", 0, 6)], {"a": 10})
    [Region(name='a', start=0, end=9, label='', strand='.')]
    """
    by_name: dict[str, list[Region]] = {name: [] for name in lengths}
    for region in regions:
        if region.length:
            by_name[region.name].append(region)
    return [merged for found in by_name.values() if found for merged in _merged(found)]


def _merged(regions: list[Region]) -> Iterator[Region]:
    first, *rest = sorted(regions, key=lambda region: region.start)
    start, end = first.start, first.end
    for region in rest:
        if region.start > end:
            yield Region(first.name, start, end)
            start = region.start
        end = max(end, region.end)
    yield Region(first.name, start, end)


def without(regions: Iterable[Region], others: Iterable[Region], lengths: Mapping[str, int]) -> list[Region]:
    """Return what `regions` cover and `others` do not, merged as in `merge`."""
    taken = merge(others, lengths)
    left = []
    for region in merge(regions, lengths):
        inside = [other for other in taken if other.name == region.name]
        edges = [region.start, *(edge for other in inside for edge in (other.start, other.end)), region.end]
        for start, end in list(pairwise(edges))[::2]:
            start, end = max(start, region.start), min(end, region.end)
            if start < end:
                left.append(Region(region.name, start, end))
    return left


def _known(name: str, lengths: Mapping[str, int]) -> str | None:
    close = nearest(name, lengths)
    if close:
        return f"did you mean {close}?"
    return f"the first is {next(iter(lengths))}" if lengths else None
