"""Charts as SVG inside a page, drawn without matplotlib: colours follow the page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from elman.draw.labels import Box, asides

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 44
DASHES = ("", "8 4", "8 3 2 3", "2 3")
STROKES = ("--blue", "--red", "--green", "--gold")
MARKS = 40
"""Points up to which each has a mark."""

LETTER = 6.5
"""About the width of a letter, 11 pixels high."""

ANCHOR = {"left": "start", "center": "middle", "right": "end"}
BASELINE = {"bottom": 0.0, "center": 4.0, "top": 9.0}
"""Where the foot of letters is below the part of them that is placed."""


@dataclass(frozen=True)
class Series:
    """A curve with its name; `index` chooses its colour, dashes and mark."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    index: int = 0


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about so many.

    >>> ticks(0, 97)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten from `low` to `high`, thinned out where there are many; else round numbers.

    >>> log_ticks(30, 900)
    [50.0, 100.0, 200.0, 500.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) < 4 else (1,)
    found = [factor * 10.0**power for power in powers for factor in factors]
    found = [value for value in found if low <= value <= high]
    return found if len(found) > 2 else ticks(low, high)


def line_chart(
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    log_y: bool = False,
    across: Sequence[float] | None = None,
    level: tuple[str, float] | None = None,
) -> str:
    """Return an SVG of curves with axes and a legend.

    `across` are the ticks of an axis of log(1 + x), which is else linear; `level` is a named line from left to right.
    """
    points = [
        [
            (a, b)
            for a, b in zip(s.x, s.y, strict=True)
            if math.isfinite(a) and math.isfinite(b) and (b > 0 or not log_y)
        ]
        for s in series
    ]
    flat = [point for line in points for point in line]
    if not flat:
        return '<p class="faint">There is no number to draw.</p>'
    values = [b for _, b in flat] + ([level[1]] if level is not None and math.isfinite(level[1]) else [])
    low, high = _margins(min(values), max(values), log=log_y)
    first, last = min(a for a, _ in flat), max(a for a, _ in flat)
    column = _scale(first, last, LEFT, WIDTH - RIGHT, math.log1p if across is not None else float)
    row = _scale(low, high, HEIGHT - BOTTOM, TOP, math.log if log_y else float)
    parts = [
        _axes(x, y, column, row, across or ticks(first, last, 7), log_ticks(low, high) if log_y else ticks(low, high))
    ]
    if level is not None and math.isfinite(level[1]):
        parts.append(_level(level[0], row(level[1])))
    for s, line in zip(series, points, strict=True):
        parts.append(_curve(s, [(column(a), row(b)) for a, b in line]))
    names = ", ".join(s.name for s in series)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(y)}">\n'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" font-size="12">\n'
        f"<title>{escape(f'{y} of {names} over {x}')}</title>\n" + "\n".join(parts) + "\n</svg>\n"
        f"{legend(series)}</div>\n"
    )


def legend(series: Sequence[Series]) -> str:
    """Return the names of curves, each after a piece of its line."""
    items = "".join(
        f'<span style="white-space:nowrap;margin-right:1.5rem"><svg width="40" height="12" aria-hidden="true" '
        f'style="display:inline-block;vertical-align:middle">{_curve(s, [(2, 6), (20, 6), (38, 6)])}</svg> '
        f"{escape(s.name)}</span>"
        for s in series
    )
    return f"<p>{items}</p>\n"


def scatter(points: Sequence[tuple[float, float]], names: Sequence[str], *, x: str, y: str) -> str:
    """Return an SVG of named points; one that is pointed at says its name."""
    columns, rows = [a for a, _ in points], [b for _, b in points]
    height = 560
    column = _scale(min(columns), max(columns), 60, WIDTH - 60, float)
    row = _scale(min(rows), max(rows), height - 50, 24, float)
    places = [(column(a), row(b)) for a, b in points]
    sizes = [(LETTER * len(name), LETTER * 1.8) for name in names]
    room = Box(30, 40 - height, WIDTH, 0)  # upside down: in SVG y grows downwards
    chosen = asides([(a, -b) for a, b in places], sizes, room)
    marks = "\n".join(
        f'<g><title>{escape(name)}</title><circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="var(--blue)"/>'
        f'<text x="{a + aside.right:.1f}" y="{b - aside.up + BASELINE[aside.along]:.1f}" '
        f'text-anchor="{ANCHOR[aside.across]}">{escape(name)}</text></g>'
        for (a, b), name, aside in zip(places, names, chosen, strict=True)
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Words at their places">\n'
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-size="11">\n'
        f"<title>{escape(f'{len(names)} words: {x}, {y}')}</title>\n{marks}\n"
        f'<text x="{WIDTH / 2}" y="{height - 12}" text-anchor="middle">{escape(x)}</text>\n'
        f'<text x="14" y="{height / 2}" text-anchor="middle" transform="rotate(-90 14 {height / 2})">'
        f"{escape(y)}</text>\n"
        "</svg>\n</div>\n"
    )


def written(value: float) -> str:
    """Write a number at a tick.

    >>> written(2000000), written(0.005), written(20.0)
    ('2M', '0.005', '20')
    """
    if abs(value) >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value / 1e3:.4g}k" if abs(value) >= 1e4 else f"{value:.4g}"


Scale = Callable[[float], float]


def _scale(low: float, high: float, start: float, stop: float, shape: Callable[[float], float]) -> Scale:
    first, last = shape(low), shape(high)
    if not last > first:
        return lambda value: (start + stop) / 2
    return lambda value: start + (shape(value) - first) / (last - first) * (stop - start)


def _margins(low: float, high: float, *, log: bool) -> tuple[float, float]:
    if log:
        return low / 1.05, high * 1.05
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.5 * high else low - room), high + room


def _axes(x: str, y: str, column: Scale, row: Scale, across: Sequence[float], up: Sequence[float]) -> str:
    parts = []
    for value in up:
        at = row(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{written(value)}</text>')
    floor = HEIGHT - BOTTOM
    for value in across:
        at = column(value)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{floor}" y2="{floor + 5}" stroke="currentColor"/>')
        parts.append(f'<text x="{at:.1f}" y="{floor + 18}" text-anchor="middle">{written(value)}</text>')
    middle = (TOP + floor) / 2
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>')
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(y)}</text>'
    )
    return "\n".join(parts)


def _level(name: str, at: float) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="currentColor" '
        f'stroke-dasharray="2 4"/><text x="{WIDTH - RIGHT}" y="{at - 5:.1f}" text-anchor="end">{escape(name)}</text>'
    )


def _curve(series: Series, places: Sequence[tuple[float, float]]) -> str:
    colour = f"var({STROKES[series.index % len(STROKES)]})"
    dash = DASHES[series.index % len(DASHES)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"'
    parts = [line + (f' stroke-dasharray="{dash}"/>' if dash else "/>")]
    if len(places) <= MARKS:
        parts += [_mark(series.index, a, b, colour) for a, b in places]
    return "".join(parts)


def _mark(index: int, x: float, y: float, colour: str) -> str:
    if index % 3 == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    if index % 3 == 1:
        return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}"/>'
    return f'<path d="M{x:.1f} {y - 4:.1f} l4 7 h-8 z" fill="{colour}"/>'
