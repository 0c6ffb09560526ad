"""The network of the whiteboard, drawn as SVG: once with all its weights, and once unrolled over the sentence."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.draw.formulas import number
from elman.draw.whiteboard import short, shown

if TYPE_CHECKING:
    from elman.apply.by_hand import ByHand, Reading

STYLE = """
figure { margin: 1rem 0; } figure svg { margin: 0 auto; } figcaption { color: var(--faint); margin-bottom: .25rem; }
figure svg { font: 14px system-ui, sans-serif; font-variant-numeric: tabular-nums; color: var(--ink); }
figure svg .small { font-size: 12px; } figure svg .soft { fill: var(--faint); }
figure svg .sign { font-style: italic; font-family: "STIX Two Math", "Latin Modern Math", Cambria, serif;
  font-size: 17px; }
figure svg .node { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
figure svg .past { stroke-dasharray: 3 3; }
figure svg .plus { stroke: var(--blue); fill: none; } figure svg .minus { stroke: var(--gold); fill: none; }
figure svg .minus { stroke-dasharray: 6 3; }
figure svg .plus-number { fill: var(--blue); } figure svg .minus-number { fill: var(--gold); }
figure svg .on-line { font-size: 12px; } figure svg .under { fill: var(--card); }
figure svg .way { stroke: var(--ink); stroke-width: 1.5; fill: none; } figure svg .head { fill: var(--ink); }
figure svg .error { stroke: var(--red); stroke-width: 1.5; stroke-dasharray: 5 3; fill: none; }
figure svg .error-head { fill: var(--red); } figure svg .error-number { fill: var(--red); }
figure svg .cut { stroke: var(--red); stroke-width: 2; fill: none; }
figure svg .bar { fill: var(--line); opacity: .6; } figure svg .right { fill: var(--green); font-weight: bold; }
figure svg .right-bar { fill: var(--green); opacity: .3; }
"""

GAP, REACH, RADIUS, SIDE = 62, 240, 21, 86
"""Between nodes above each other, between layers, of a node, and beside the layers for words: in pixels."""
COLUMN, BOX, LINE = 220, 160, 20
"""Unrolled: from one word to the next, the width of a box, and the height of a line."""

READABLE = 24
"""How many arrows between two layers can have their numbers on them."""


def pictures(found: ByHand, *, digits: int) -> str:
    """Return both drawings as figures of HTML."""
    D, H = len(found.task.dictionary), found.task.hidden
    below = "" if _numbered(found) else " The numbers are in the matrices below."
    return _figure(
        "The network at the start: every arrow is a weight (blue over 0; gold and dashed under 0; thicker is larger)."
        f"{below} The state goes round: it comes back with the next word.",
        f"A network of {D} words, {H} hidden units and {D} words, with a weight on every arrow; the matrices U, W and "
        "V below hold the same numbers.",
        network(found, digits),
    ) + _figure(
        "The same network, unrolled over the sentence: U, W and V are the same at every word. "
        "The error (red, dashed) goes back the other way.",
        counted_words(found),
        unrolled(found, digits),
    )


def _numbered(found: ByHand) -> bool:
    """Whether there is room for numbers on the arrows."""
    return (len(found.task.dictionary) + found.task.hidden) * found.task.hidden <= READABLE


def counted_words(found: ByHand) -> str:
    """Say in words what the unrolled network shows: for who cannot see it."""
    told = [
        f"{reading.t}: reads {shown(reading.word)}, gives {shown(reading.target)}, which comes, probability "
        f"{float(reading.y[reading.target_id]):.2f}"
        for reading in found.updates[0].readings
    ]
    return f"The network over time. {'; '.join(told)}."


def _figure(caption: str, words: str, drawing: tuple[float, float, list[str]]) -> str:
    width, height, parts = drawing
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return (
        f"<figure>\n<figcaption>{escape(caption)}</figcaption>\n"
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption.split(":")[0])}">\n'
        f'<svg role="img" aria-label="{escape(words)}" {size}>\n{MARKERS}{"".join(parts)}</svg>\n</div>\n</figure>\n'
    )


MARKERS = "".join(
    f'<defs><marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
    f'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" class="{name}"/></marker></defs>\n'
    for name in ("head", "error-head")
)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    classes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{classes}>{escape(words)}</text>\n'


def _sign(x: float, y: float, base: str, index: str, kind: str = "sign") -> str:
    low = f'<tspan dy="4" font-size="70%">{escape(index)}</tspan>' if index else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" class="{kind}">{escape(base)}{low}</text>\n'


def _weight(value: float, digits: int) -> str:
    """Return a weight without the zeros at its end."""
    text = number(value, digits)
    return (text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text) or "0"


Point = tuple[float, float]


def network(found: ByHand, digits: int) -> tuple[float, float, list[str]]:
    """Return width, height and content: words and the last state on the left, the state, and words on the right."""
    task, start = found.task, found.start
    D, H = len(task.dictionary), task.hidden
    height = (D + H) * GAP + 60
    first = SIDE + 30.0
    left = [(first, 60.0 + GAP * (n + (0.3 if n >= D else 0.0))) for n in range(D + H)]
    hidden, right = _spread(first + REACH, H, height), _spread(first + 2 * REACH, D, height)
    into = np.concatenate([start.U, start.W])
    part = 0.6 / max(H, 3)  # numbers stand at other places of the way, so that they do not stand on each other
    ways = [(left[i], hidden[j], float(into[i, j]), 0.2 + part * j) for i in range(D + H) for j in range(H)]
    ways += [(hidden[i], right[j], float(start.V[i, j]), 0.8 - part * i) for i in range(H) for j in range(D)]
    parts = [_arrow(*way[:3]) for way in ways]
    parts += [_number(*way, digits) for way in ways] if _numbered(found) else []
    for n, point in enumerate(left):
        parts.append(
            _node(point, "w" if n < D else "s", n + 1 if n < D else n - D + 1, "node" if n < D else "node past")
        )
        if n < D:
            parts.append(_text(point[0] - RADIUS - 8, point[1] + 5, short(task.dictionary[n]), anchor="end"))
    parts += [_node(point, "s", n + 1) for n, point in enumerate(hidden)]
    for n, point in enumerate(right):
        parts.append(_node(point, "y", n + 1))
        parts.append(_text(point[0] + RADIUS + 8, point[1] + 5, short(task.dictionary[n]), anchor="start"))
    middle = (left[D][1] + left[-1][1]) / 2
    parts.append(_text(first - RADIUS - 8, middle - 3, "the state", "small soft", "end"))
    parts.append(_text(first - RADIUS - 8, middle + 13, "before it", "small soft", "end"))
    parts += [_text(first + 0.5 * REACH, 22, "U, W", "sign"), _text(first + 1.5 * REACH, 22, "V", "sign")]
    return 2 * (SIDE + 30) + 2 * REACH, height, parts


def _spread(x: float, count: int, height: float) -> list[Point]:
    """Return places above each other, about the middle."""
    gap = max(GAP, (height - 120) / (count + 0.2))
    return [(x, height / 2 + gap * (n - (count - 1) / 2)) for n in range(count)]


def _arrow(start: Point, end: Point, value: float) -> str:
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    thick = 0.75 + 2.5 * min(1.0, abs(value))
    return f'<line {ends} class="{"minus" if value < 0 else "plus"}" stroke-width="{thick:.2f}"/>\n'


def _number(start: Point, end: Point, value: float, at: float, digits: int) -> str:
    """Return the number of a weight on its arrow, `at` of the way."""
    x, y, text = start[0] + at * (end[0] - start[0]), start[1] + at * (end[1] - start[1]), _weight(value, digits)
    wide = 8 * len(text) + 4
    under = f'<rect x="{x - wide / 2:.1f}" y="{y - 8:.1f}" width="{wide}" height="16" class="under"/>\n'
    return under + _text(x, y + 4, text, f"on-line {'minus' if value < 0 else 'plus'}-number")


def _node(point: Point, base: str, index: int, kind: str = "node") -> str:
    circle = f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="{RADIUS}" class="{kind}"/>\n'
    return circle + _sign(point[0], point[1] + 5, base, str(index))


class _Rows(NamedTuple):
    """Where the rows of the unrolled network are: tops of guesses, states and words, and how tall the first two are."""

    guess: float
    state: float
    word: float
    guess_tall: float
    state_tall: float


def unrolled(found: ByHand, digits: int) -> tuple[float, float, list[str]]:
    """Return width, height and content: a column for each word that the first update reads, its guess on top."""
    task, update = found.task, found.updates[0]
    tall, state = len(task.dictionary) * LINE + 34.0, task.hidden * LINE + 30.0
    rows = _Rows(30.0, tall + 90, tall + state + 150, tall, state)
    reached = {error.t for error in update.back}
    left, level = 86.0, rows.state + state / 2
    parts = [
        _sign(left - 60, level + 5, f"s({update.readings[0].t - 1})", ""),
        _way(f"M{left - 38} {level - 10}H{left - 2}"),
    ]
    for place, reading in enumerate(update.readings):
        x = left + COLUMN * place
        parts += _column(reading, task.dictionary, x, rows, digits)
        if place + 1 < len(update.readings):
            parts += _link(x + BOX, level, back=reading.t in reached, cut=reading.t + 1 in reached)
    return left + COLUMN * len(update.readings) - (COLUMN - BOX) + 30, rows.word + 50, parts


def _way(path: str, kind: str = "") -> str:
    """Return an arrow: the network's way, or with kind "error-" the way of the error."""
    return f'<path d="{path}" class="{"error" if kind else "way"}" marker-end="url(#{kind}head)"/>\n'


def _column(reading: Reading, dictionary: tuple[str, ...], x: float, rows: _Rows, digits: int) -> list[str]:
    """Return what belongs to one word: the word, the state that it leads to, the guess, and the ways between."""
    centre, below = x + BOX / 2, rows.guess + rows.guess_tall
    parts = [_guess(reading, dictionary, x, rows.guess, rows.guess_tall, digits)]
    parts.append(_box(x, rows.state, rows.state_tall, f"s({reading.t})"))
    for n, value in enumerate(reading.s):
        parts.append(_text(centre, rows.state + 42 + LINE * n, number(float(value), digits)))
    parts.append(f'<rect x="{x}" y="{rows.word}" width="{BOX}" height="32" rx="16" class="node"/>\n')
    parts.append(_text(centre, rows.word + 21, short(reading.word)))
    for start, end, name in ((rows.word, rows.state + rows.state_tall, "U"), (rows.state, below, "V")):
        parts += [_way(f"M{centre - 14} {start}V{end + 3}"), _sign(centre - 28, start - 22, name, "")]
    if reading.learnt:
        parts.append(_way(f"M{centre + 14} {below}V{rows.state - 3}", "error-"))
        parts.append(_sign(centre + 32, rows.state - 24, "e", "o", "sign error-number"))
    return parts


def _link(x: float, y: float, *, back: bool, cut: bool) -> list[str]:
    """Return what leads from one state to the next: W, and the error on its way `back`, or where it is `cut` off."""
    wide = COLUMN - BOX
    parts = [_way(f"M{x} {y - 10}H{x + wide - 3}"), _sign(x + wide / 2, y - 18, "W", "")]
    if back:
        parts.append(_way(f"M{x + wide} {y + 12}H{x + 3}", "error-"))
        parts.append(_sign(x + wide / 2, y + 32, "e", "h", "sign error-number"))
    elif cut:
        parts.append(f'<path d="M{x + wide - 8} {y + 2}v20M{x + wide - 14} {y + 2}v20" class="cut"/>\n')
        parts.append(_text(x + wide / 2, y + 38, "cut off", "small error-number"))
    return parts


def _box(x: float, y: float, height: float, title: str) -> str:
    frame = f'<rect x="{x}" y="{y}" width="{BOX}" height="{height}" rx="8" class="node"/>\n'
    return frame + _sign(x + BOX / 2, y + 20, title, "")


def _guess(reading: Reading, dictionary: tuple[str, ...], x: float, y: float, height: float, digits: int) -> str:
    """Return the box of y(t): a bar for each word, the one that came in green, with an arrow before it."""
    parts = [_box(x, y, height, f"y({reading.t})")]
    for n, word in enumerate(dictionary):
        base, came = y + 42 + LINE * n, n == reading.target_id
        long, kind = (BOX - 12) * float(reading.y[n]), "right-bar" if came else "bar"
        parts.append(f'<rect x="{x + 6}" y="{base - 14:.1f}" width="{long:.1f}" height="18" rx="3" class="{kind}"/>\n')
        name = f"{short(word)} ✓" if came else short(word)
        parts.append(_text(x + 8, base, name, "right" if came else "", "start"))
        parts.append(
            _text(x + BOX - 8, base, number(float(reading.y[n]), min(digits, 3)), "right" if came else "", "end")
        )
    return "".join(parts)
