"""Stretches of known bases: where an ambiguous base stands, one ends, and the next begins knowing nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from elman.text.dna import BASES, Codes
from elman.text.genome import Genome
from elman.text.regions import Region

_SHIFTS: Codes = np.array([0, 2, 4, 6], dtype=np.uint8)


def runs(codes: Codes) -> Iterator[tuple[int, int]]:
    """Give where each run of known bases begins and ends, 0-based and half-open.

    >>> from elman.text.dna import encode
    >>> list(runs(encode("NACGNNT")))
    [(1, 4), (6, 7)]
    """
    known = np.concatenate([[False], codes < BASES, [False]])
    edges = np.flatnonzero(known[1:] != known[:-1])
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def segments(genome: Genome, regions: Iterable[Region]) -> list[Codes]:
    """Return the runs of known bases in some regions, as views of the genome."""
    found: list[Codes] = []
    for region in regions:
        codes = genome.view(region.name, region.start, region.end)
        found.extend(codes[start:end] for start, end in runs(codes))
    return found


def packed(codes: Codes) -> Codes:
    """Return known bases four to a byte, the first lowest; what is left of the last byte is zero.

    >>> packed(np.array([0, 1, 2, 3, 1], dtype=np.uint8)).tolist()
    [228, 1]
    """
    filled = np.zeros(-(-len(codes) // 4) * 4, dtype=np.uint8)
    filled[: len(codes)] = codes
    result: Codes = np.bitwise_or.reduce(filled.reshape(-1, 4) << _SHIFTS, axis=1)
    return result


def unpacked(data: Codes, count: int) -> Codes:
    """Return the `count` bases that `packed` packed.

    >>> unpacked(packed(np.array([0, 1, 2, 3, 1], dtype=np.uint8)), 5).tolist()
    [0, 1, 2, 3, 1]
    """
    return (data[:, None] >> _SHIFTS & np.uint8(3)).reshape(-1)[:count]
