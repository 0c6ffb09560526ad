"""Pictures made of characters: bars, sparklines, words at places. Unicode where the terminal has it, else ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BLOCKS = "▁▂▃▄▅▆▇█"
EIGHTHS = " ▏▎▍▌▋▊▉█"
ASCII_LEVELS = ".:-=+*#@"
GAP = " "


@dataclass(frozen=True)
class Screen:
    """What a terminal can show: columns, whether Unicode's blocks, whether colours."""

    width: int = 80
    unicode: bool = True
    colour: bool = False

    @property
    def levels(self) -> str:
        """Eight characters, from low to high."""
        return BLOCKS if self.unicode else ASCII_LEVELS

    @property
    def dot(self) -> str:
        """What marks a place."""
        return "·" if self.unicode else "."


def sparkline(
    values: Sequence[float], *, low: float | None = None, high: float | None = None, levels: str = BLOCKS
) -> str:
    """Return one character a value, the higher the larger; what is no finite number is a gap.

    `low` and `high` are the values of the lowest and the highest level, by default the least and the largest value;
    what is beyond them is shown as they are. Values that are all equal are all in the middle.

    >>> sparkline([1, 2, float("nan"), 8])
    '▁▂ █'
    """
    finite = [value for value in values if math.isfinite(value)]
    low = min(finite, default=0.0) if low is None else low
    high = max(finite, default=0.0) if high is None else high
    top = len(levels) - 1
    half = high / 2 - low / 2  # halves, as the difference of two huge numbers may be none

    def level(value: float) -> str:
        share = (value / 2 - low / 2) / half if half > 0 else 0.5
        return levels[min(top, max(0, round(share * top)))]

    return "".join(level(value) if math.isfinite(value) else GAP for value in values)


def bar(value: float, most: float, width: int, *, unicode: bool = True) -> str:
    """Return a bar of `value` where `most` is `width` characters long; empty where there is nothing to show.

    >>> bar(3, 4, 8), bar(3, 4, 8, unicode=False)
    ('██████', '######')
    """
    if not (math.isfinite(value) and most > 0 and value > 0):
        return ""
    length = min(1.0, value / most) * width
    if not unicode:
        return "#" * round(length)
    whole, rest = divmod(round(length * 8), 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


def resample(x: Sequence[float], y: Sequence[float], *, low: float, high: float, columns: int) -> list[float]:
    """Return the mean of the finite values in each of so many columns from `low` to `high`, NaN where there is none."""
    sums, counts = [0.0] * columns, [0] * columns
    for place, value in zip(x, y, strict=True):
        if math.isfinite(value) and math.isfinite(place):
            share = (place - low) / (high - low) if high > low else 0.0
            column = min(columns - 1, max(0, int(share * columns)))
            sums[column] += value
            counts[column] += 1
    return [total / count if count else math.nan for total, count in zip(sums, counts, strict=True)]


def words_at(
    points: Sequence[tuple[float, float]], words: Sequence[str], *, width: int, height: int, dot: str = "·"
) -> tuple[list[str], list[str]]:
    """Write words at their places on a grid of characters; return its lines, the top one first, and who had no room.

    The words that come first have the choice: a word that would touch one becomes a dot, if there is room for that.
    """
    grid = [[" "] * width for _ in range(height)]
    left_out = []
    for (column, row), word in zip(_cells(points, width, height), words, strict=True):
        start = min(max(0, column - len(word) // 2), width - len(word))
        if start >= 0 and _free(grid[row], start - 1, start + len(word) + 1):
            grid[row][start : start + len(word)] = word
            continue
        left_out.append(word)
        if grid[row][column] == " ":
            grid[row][column] = dot
    return ["".join(line).rstrip() for line in grid], left_out


def _cells(points: Sequence[tuple[float, float]], width: int, height: int) -> list[tuple[int, int]]:
    """Return the column and the row of each point, the largest y in row 0."""
    if not points:
        return []
    xs, ys = [x for x, _ in points], [y for _, y in points]

    def place(value: float, values: Sequence[float], size: int) -> int:
        low, high = min(values), max(values)
        return round((value - low) / (high - low) * (size - 1)) if high > low else (size - 1) // 2

    return [(place(x, xs, width), height - 1 - place(y, ys, height)) for x, y in points]


def _free(line: Sequence[str], start: int, stop: int) -> bool:
    return all(character == " " for character in line[max(0, start) : stop])
