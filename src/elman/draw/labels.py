"""Where labels of points go, so that they cover as little as can be of each other and of the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle, y growing upwards."""

    left: float
    bottom: float
    right: float
    top: float


class Aside(NamedTuple):
    """How a label lies beside its point: moved to the right and up by so much, and which part of it is there."""

    right: float
    up: float
    across: str
    along: str


PLACES = (
    Aside(0, 4, "center", "bottom"),
    Aside(0, -4, "center", "top"),
    Aside(5, 0, "left", "center"),
    Aside(-5, 0, "right", "center"),
    Aside(4, 3, "left", "bottom"),
    Aside(-4, 3, "right", "bottom"),
    Aside(4, -3, "left", "top"),
    Aside(-4, -3, "right", "top"),
)
"""The places that are tried, the best first."""

DOT = 3
"""Half of the width of what marks a point."""


def asides(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], room: Box, *, unit: float = 1.0
) -> list[Aside]:
    """Choose a place for the label of each point, one after the other: where it covers the least.

    `sizes` are the widths and heights of the labels, `room` is what they should not leave; all in the units of the
    points, of which `unit` are one of `PLACES`.
    """
    dots = [Box(x - DOT * unit, y - DOT * unit, x + DOT * unit, y + DOT * unit) for x, y in points]
    taken: list[Box] = []
    chosen = []
    for index, (point, size) in enumerate(zip(points, sizes, strict=True)):
        others = [*taken, *dots[:index], *dots[index + 1 :]]
        best, place, box = float("inf"), PLACES[0], dots[index]
        for aside in PLACES:
            here = box_of(point, size, aside, unit=unit)
            area = (here.right - here.left) * (here.top - here.bottom)
            covered = sum(overlap(here, other) for other in others) + 4 * (area - overlap(here, room))
            if covered < best - 1e-9:
                best, place, box = covered, aside, here
        chosen.append(place)
        taken.append(box)
    return chosen


def box_of(point: tuple[float, float], size: tuple[float, float], aside: Aside, *, unit: float = 1.0) -> Box:
    """Return where a label of some width and height lies beside its point.

    >>> box_of((10, 10), (6, 2), Aside(0, 4, "center", "bottom"))
    Box(left=7.0, bottom=14.0, right=13.0, top=16.0)
    """
    width, height = size
    left = point[0] + aside.right * unit - {"left": 0.0, "center": 0.5, "right": 1.0}[aside.across] * width
    bottom = point[1] + aside.up * unit - {"bottom": 0.0, "center": 0.5, "top": 1.0}[aside.along] * height
    return Box(left, bottom, left + width, bottom + height)


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    wide = min(one.right, other.right) - max(one.left, other.left)
    high = min(one.top, other.top) - max(one.bottom, other.bottom)
    return wide * high if wide > 0 and high > 0 else 0.0
