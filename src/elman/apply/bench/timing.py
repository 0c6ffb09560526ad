"""Contestants that take turns, and what is said of their speeds: medians, ratios, fitted exponents."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

Work = Callable[[], float]
"""Does a piece of work, and returns how many units of it (words, FLOP, bytes) there were."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Speed:
    """Units a second in each turn of a contestant, in the order of the turns."""

    turns: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of all turns, which a disturbed turn does not move far."""
        return statistics.median(self.turns)


def finish() -> None:
    """Wait for what a GPU was given to do, where one is in use."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()


def turn(work: Work, least: float, clock: Clock = time.perf_counter) -> float:
    """Work for at least `least` seconds, once at least; return units a second."""
    units, start = 0.0, clock()
    while True:
        units += work()
        if clock() - start >= least:
            finish()
            return units / max(clock() - start, 1e-9)


def take_turns(
    works: Mapping[str, Work], *, rounds: int, least: float, clock: Clock = time.perf_counter
) -> dict[str, Speed]:
    """Let contestants work by turns, A B C A B C ..., so that what disturbs the machine disturbs all of them alike."""
    turns: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            turns[name].append(turn(work, least, clock))
    return {name: Speed(tuple(speeds)) for name, speeds in turns.items()}


def probe(work: Work, least: float, clock: Clock = time.perf_counter) -> float:
    """Return roughly how many units a second there are; a first piece that is short only warms up."""
    start = clock()
    units = work()
    finish()
    seconds = clock() - start
    return units / seconds if seconds >= least else turn(work, least, clock)


def ratios(speeds: Mapping[str, float], rivals: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return how many times as fast as each rival every other contestant is."""
    others = [name for name in speeds if name not in rivals]
    return {name: {rival: speeds[name] / speeds[rival] for rival in rivals} for name in others}


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of the values that a share of them does not exceed.

    >>> quantile([5.0, 1.0, 4.0, 2.0, 3.0], 0.5), quantile([1.0, 2.0], 0.99)
    (3.0, 2.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def exponent(sizes: Sequence[float], values: Sequence[float | None]) -> float | None:
    """Return p of the best fit values ~ sizes^p (least squares of logarithms), None where it cannot be told.

    >>> round(exponent([1, 2, 4], [3.0, 12.0, 48.0]), 6)
    2.0
    """
    pairs = [(size, value) for size, value in zip(sizes, values, strict=True) if value is not None and value > 0]
    if len({size for size, _ in pairs}) < 2:
        return None
    logs = np.log(np.array(pairs, dtype=np.float64))
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


@contextmanager
def threads(count: int | None) -> Iterator[int]:
    """Let torch compute with so many threads while the block runs; None leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
