"""The network of the whiteboard, drawn as SVG: once with all its weights, and once unrolled over the sentence."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from elman.draw.formulas import number
from elman.draw.whiteboard import short, shown

if TYPE_CHECKING:
    from elman.apply.by_hand import ByHand, Reading

STYLE = """
figure { margin: 1rem 0; } figcaption { color: var(--faint); margin-bottom: .25rem; }
figure svg { font: 14px system-ui, sans-serif; font-variant-numeric: tabular-nums; color: var(--ink); }
figure svg .small { font-size: 12px; } figure svg .soft { fill: var(--faint); }
figure svg .sign { font-style: italic; font-family: "STIX Two Math", "Latin Modern Math", Cambria, serif;
  font-size: 17px; }
figure svg .node { fill: var(--paper); stroke: var(--ink); stroke-width: 1.5; }
figure svg .past { stroke-dasharray: 3 3; }
figure svg .plus { stroke: var(--blue); fill: none; } figure svg .minus { stroke: var(--gold); fill: none; }
figure svg .minus { stroke-dasharray: 6 3; }
figure svg .plus-number { fill: var(--blue); } figure svg .minus-number { fill: var(--gold); }
figure svg .on-line { font-size: 12px; paint-order: stroke; stroke: var(--card); stroke-width: 5px;
  stroke-linejoin: round; text-anchor: middle; }
figure svg .way { stroke: var(--ink); stroke-width: 1.5; fill: none; } figure svg .head { fill: var(--ink); }
figure svg .error { stroke: var(--red); stroke-width: 1.5; stroke-dasharray: 5 3; fill: none; }
figure svg .error-head { fill: var(--red); } figure svg .error-number { fill: var(--red); }
figure svg .bar { fill: var(--line); } figure svg .right { fill: var(--green); font-weight: bold; }
figure svg .right-bar { fill: var(--green); }
"""

GAP, REACH, RADIUS, SIDE = 62, 250, 21, 110
"""Between nodes above each other, between layers, of a node, and beside the layers for words: in pixels."""
COLUMN, BOX, LINE, CUT = 190, 130, 20, 10
"""Unrolled: from one word to the next, the width of a box, the height of a line; letters of a word that fit."""


def pictures(found: ByHand, *, digits: int) -> str:
    """Return both drawings as figures of HTML."""
    task = found.task
    words = counted_words(found)
    return _figure(
        "The network at the start: every arrow is a weight (blue over 0; gold and dashed under 0; thicker is larger). "
        "The state goes round: it comes back with the next word.",
        f"A network of {len(task.dictionary)} words, {task.hidden} hidden units and {len(task.dictionary)} words, "
        "with a weight on every arrow; the matrices U, W and V below hold the same numbers.",
        network(found, digits),
    ) + _figure(
        "The same network, unrolled over the sentence: U, W and V are the same at every word. "
        "The error (red, dashed) goes back the other way.",
        words,
        unrolled(found, digits),
    )


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


def network(found: ByHand, digits: int) -> tuple[float, float, list[str]]:
    """Return width, height and content: words and the last state on the left, the state, and words on the right."""
    task, start = found.task, found.start
    D, H = len(task.dictionary), task.hidden
    height = (D + H) * GAP + 70
    left = [(SIDE + 30.0, 60.0 + GAP * (n + (0.35 if n >= D else 0.0))) for n in range(D + H)]
    spread = max(GAP, (height - 120) / (H + 0.2))
    hidden = [(SIDE + 30.0 + REACH, height / 2 + spread * (n - (H - 1) / 2)) for n in range(H)]
    wide = max(GAP, (height - 120) / (D + 0.2))
    right = [(SIDE + 30.0 + 2 * REACH, height / 2 + wide * (n - (D - 1) / 2)) for n in range(D)]
    lines, numbers, nodes = [], [], []
    ways = [(left[i], hidden[j], start.U[i, j], 0.2 + 0.6 * j / max(H, 3)) for i in range(D) for j in range(H)]
    ways += [(left[D + i], hidden[j], start.W[i, j], 0.2 + 0.6 * j / max(H, 3)) for i in range(H) for j in range(H)]
    ways += [(hidden[i], right[j], start.V[i, j], 0.8 - 0.6 * i / max(H, 3)) for i in range(H) for j in range(D)]
    for (x1, y1), (x2, y2), value, at in ways:
        kind = "minus" if value < 0 else "plus"
        thick = 0.75 + 2.5 * min(1.0, abs(float(value)))
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        lines.append(f'<line {ends} class="{kind}" stroke-width="{thick:.2f}"/>\n')
        x, y = x1 + at * (x2 - x1), y1 + at * (y2 - y1) + 4
        numbers.append(_text(x, y, _weight(float(value), digits), f"on-line {kind}-number"))
    for n, (x, y) in enumerate(left):
        nodes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" class="node{" past" if n >= D else ""}"/>\n')
        if n < D:
            nodes.append(_sign(x, y + 5, "w", str(n + 1)))
            nodes.append(_text(x - RADIUS - 8, y + 5, short(task.dictionary[n], CUT), anchor="end"))
        else:
            nodes.append(_sign(x, y + 5, "s", str(n - D + 1)))
    nodes.append(_text(left[D][0] - RADIUS - 8, (left[D][1] + left[-1][1]) / 2 - 3, "the state", "small soft", "end"))
    nodes.append(_text(left[D][0] - RADIUS - 8, (left[D][1] + left[-1][1]) / 2 + 13, "before it", "small soft", "end"))
    for n, (x, y) in enumerate(hidden):
        nodes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" class="node"/>\n' + _sign(x, y + 5, "s", str(n + 1))
        )
    for n, (x, y) in enumerate(right):
        nodes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" class="node"/>\n' + _sign(x, y + 5, "y", str(n + 1))
        )
        nodes.append(_text(x + RADIUS + 8, y + 5, short(task.dictionary[n], CUT), anchor="start"))
    for at, name in ((0.5, "U, W"), (1.5, "V")):
        nodes.append(_text(SIDE + 30 + at * REACH, 22, name, "sign"))
    return 2 * (SIDE + 30) + 2 * REACH, height, [*lines, *numbers, *nodes]


def unrolled(found: ByHand, digits: int) -> tuple[float, float, list[str]]:
    """Return width, height and content: a column for each word that the first update reads, its guess on top."""
    task, update = found.task, found.updates[0]
    tall, state = len(task.dictionary) * LINE + 34, task.hidden * LINE + 30
    top, middle = 30, 30 + tall + 60
    bottom = middle + state + 60
    used = {error.t: error for error in update.back}
    left = 56.0
    parts = [
        _sign(left - 30, middle + state / 2 + 5, f"s({update.readings[0].t - 1})", ""),
        f'<path d="M{left - 8} {middle + state / 2 - 10}H{left + 28}" class="way" marker-end="url(#head)"/>\n',
    ]
    for place, reading in enumerate(update.readings):
        x = left + 30 + COLUMN * place
        centre = x + BOX / 2
        parts.append(_guess(reading, task.dictionary, x, top, tall, digits))
        parts.append(_box(x, middle, state, f"s({reading.t})"))
        for n, value in enumerate(reading.s):
            parts.append(_text(centre, middle + 42 + LINE * n, number(float(value), digits)))
        parts.append(f'<rect x="{x}" y="{bottom}" width="{BOX}" height="32" rx="16" class="node"/>\n')
        parts.append(_text(centre, bottom + 21, short(reading.word, CUT)))
        parts.append(f'<path d="M{centre - 14} {bottom}V{middle + state + 3}" class="way" marker-end="url(#head)"/>\n')
        parts.append(_sign(centre - 28, bottom - 22, "U", ""))
        parts.append(f'<path d="M{centre - 14} {middle}V{top + tall + 3}" class="way" marker-end="url(#head)"/>\n')
        parts.append(_sign(centre - 28, middle - 22, "V", ""))
        if reading.learnt:
            parts.append(
                f'<path d="M{centre + 14} {top + tall}V{middle - 3}" class="error" marker-end="url(#error-head)"/>\n'
            )
            parts.append(_sign(centre + 32, middle - 24, "e", "o", "sign error-number"))
        if place + 1 == len(update.readings):
            break
        y = middle + state / 2
        parts.append(f'<path d="M{x + BOX} {y - 10}H{x + COLUMN - 3}" class="way" marker-end="url(#head)"/>\n')
        parts.append(_sign(x + (BOX + COLUMN) / 2, y - 18, "W", ""))
        if reading.t in used:
            parts.append(
                f'<path d="M{x + COLUMN} {y + 12}H{x + BOX + 3}" class="error" marker-end="url(#error-head)"/>\n'
            )
            parts.append(_sign(x + (BOX + COLUMN) / 2, y + 32, "e", "h", "sign error-number"))
        else:
            parts.append(f'<path d="M{x + COLUMN - 8} {y + 2}v20M{x + COLUMN - 14} {y + 2}v20" class="error"/>\n')
            parts.append(_text(x + (BOX + COLUMN) / 2, y + 38, "cut off", "small error-number"))
    return left + 30 + COLUMN * len(update.readings) - (COLUMN - BOX) + 30, bottom + 50, parts


def _box(x: float, y: float, height: float, title: str) -> str:
    frame = f'<rect x="{x}" y="{y}" width="{BOX}" height="{height}" rx="8" class="node"/>\n'
    return frame + _sign(x + BOX / 2, y + 20, title, "")


def _guess(reading: Reading, dictionary: tuple[str, ...], x: float, y: float, height: float, digits: int) -> str:
    """Return the box of y(t): a bar for each word, the one that came in green, with an arrow before it."""
    parts = [_box(x, y, height, f"y({reading.t})")]
    for n, word in enumerate(dictionary):
        base, came = y + 42 + LINE * n, n == reading.target_id
        long, kind = (BOX - 12) * float(reading.y[n]), "right-bar" if came else "bar"
        parts.append(f'<rect x="{x + 6}" y="{base + 3:.1f}" width="{long:.1f}" height="3" class="{kind}"/>\n')
        name = f"{short(word, CUT)} ✓" if came else short(word, CUT)
        parts.append(_text(x + 8, base, name, "right" if came else "", "start"))
        parts.append(
            _text(x + BOX - 8, base, number(float(reading.y[n]), min(digits, 3)), "right" if came else "", "end")
        )
    return "".join(parts)
