"""The net unrolled through time, as inline SVG: a column a step, the same U, W and V in all of them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from elman.draw.unrolled_words import (
    MINUS,
    TIMES,
    Scale,
    arrival,
    bits,
    carried,
    layered,
    main_errors,
    others,
    peaks,
    plain,
    short,
    visible,
)

if TYPE_CHECKING:
    from elman.apply.explain import Explanation, StatePart, Step, Unit

LEFT, COLUMN, GAP, RIGHT = 62, 184, 66, 14
LINE, ROW, ARROW, PAD = 16, 19, 38, 8
WORD, BACK = 48, 44


class Picture:
    """Where things are, and the SVG of them; a page makes one and asks for its `svg`."""

    def __init__(self, found: Explanation, scale: Scale) -> None:
        self.found, self.scale = found, scale
        self.layers = found.summary.layers
        self.peaks = peaks(found)
        self.likeliest = max(probability for step in found.steps for _, probability in step.next)
        state = found.steps[0].state
        self.heights = {layer: self._layer_height(state, layer) for layer in range(1, self.layers + 1)}
        self.y_height = 24 + ROW * len(found.steps[0].next) + LINE + PAD
        self.tops: dict[int, int] = {}
        below = PAD + self.y_height + ARROW
        for layer in range(self.layers, 0, -1):
            self.tops[layer] = below
            below += self.heights[layer] + ARROW
        self.word_top = below
        self.back_top = below + WORD + 26
        self.height = self.back_top + BACK
        self.width = LEFT + len(found.steps) * (COLUMN + GAP) - GAP + RIGHT + 30

    def _layer_height(self, state: list[StatePart], layer: int) -> int:
        parts = [part for part in state if part.layer == layer]
        return PAD + sum(22 + LINE * len(part.units) + 15 * len(others(part)) for part in parts)

    def svg(self) -> str:
        """Return the whole picture."""
        columns = "".join(self._column(i, step) for i, step in enumerate(self.found.steps))
        return (
            f'<svg class="net" role="group" aria-label="The net unrolled through time, one column a step" '
            f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}">\n'
            f"{_heads()}{self._between()}{columns}{self._sides()}</svg>\n"
        )

    def _left(self, i: int) -> int:
        return LEFT + i * (COLUMN + GAP)

    def _middle(self, layer: int) -> int:
        return self.tops[layer] + self.heights[layer] // 2

    def _sides(self) -> str:
        """Return what is said at the left of the rows."""
        rows = [(PAD + 17, "y(t)"), (self.word_top + 21, "w(t)"), (self.back_top + 30, "error")]
        rows += [(self.tops[layer] + 19, f"{layered('s', layer, self.layers)}(t)") for layer in self.tops]
        return "".join(f'<text class="side" x="6" y="{y}" aria-hidden="true">{text}</text>' for y, text in rows)

    def _between(self) -> str:
        """Return the arrows from each state to the next, which carry W, and those that the error takes back."""
        parts = []
        for layer in self.tops:
            y = self._middle(layer)
            start = self._left(0) - 46
            before = f"s({self.found.first - 1})"
            parts.append(f'<text class="small" x="{start}" y="{y + 16}">{before}</text>')
            for i in range(len(self.found.steps) + 1):
                x = self._left(i) - (46 if i == 0 else GAP)
                end = self._left(i) - 4 if i < len(self.found.steps) else x + 34
                parts.append(
                    _arrow("W", x + 2, y, end, y, (x + end) / 2 - 6, y - 7, carried(self.found.summary, layer))
                )
        return f'<g aria-hidden="true">{"".join(parts)}</g>'

    def _column(self, i: int, step: Step) -> str:
        x = self._left(i)
        inside = [
            f'<rect class="frame" x="{x - 5}" y="2" width="{COLUMN + 10}" height="{self.height - 4}" rx="9"/>',
            self._said(x, step),
        ]
        top = PAD + self.y_height
        middle = x + COLUMN / 2
        inside.append(_arrow("V", middle, top + ARROW - 2, middle, top + 4, middle + 8, top + 25, "V"))
        for layer, top in self.tops.items():
            inside.append(self._layer(x, top, layer, step))
            end = top + self.heights[layer]
            name = layered("U", layer, self.layers)
            inside.append(_arrow("U", middle, end + ARROW - 2, middle, end + 4, middle + 8, end + 25, name))
        inside += [self._read(x, step), self._back(i, x, step)]
        chosen = ' aria-current="step"' if step.t == self.found.at else ""
        likeliest = ", ".join(f"{visible(token)} {plain(p)}" for token, p in step.next[:3])
        label = f"Step {step.t} reads {visible(step.symbol)}; likeliest next: {likeliest}; {arrival(step)}."
        return (
            f'<a class="column" href="#step-{step.t}" data-t="{step.t}" aria-label="{escape(label)}"{chosen}>'
            f"{''.join(inside)}</a>\n"
        )

    def _said(self, x: int, step: Step) -> str:
        """Return y(t): the likeliest next symbols."""
        rows = [_box(x, PAD, self.y_height), _text(x + 9, PAD + 17, f"y({step.t})", "head")]
        rows.append(_text(x + COLUMN - 9, PAD + 17, "likeliest next", "small end"))
        for row, (token, probability) in enumerate(step.next):
            y = PAD + 24 + row * ROW
            right = step.log_prob is not None and token == step.came
            width = max(1.0, (COLUMN - 16) * probability / self.likeliest)
            rows.append(f'<rect class="bar v" x="{x + 8}" y="{y + 1}" width="{width:.1f}" height="{ROW - 3}" rx="2"/>')
            mark = "✓ " if right else ""
            rows.append(_text(x + 12, y + 14, mark + short(token, 16), "came" if right else "", title=visible(token)))
            rows.append(_text(x + COLUMN - 11, y + 14, f"{probability:.4f}", "value end"))
        last = PAD + 24 + len(step.next) * ROW + 12
        came = "" if step.came is None else short(step.came, 13)
        mark = "✓ " if step.log_prob is not None else ""
        said = f"{mark}came: {came}" if came else "what comes is not given"
        rows.append(_text(x + 9, last, said, "small"))
        rows.append(_text(x + COLUMN - 9, last, bits(step) or ("unknown" if came else ""), "small end"))
        return "".join(rows)

    def _layer(self, x: int, top: int, layer: int, step: Step) -> str:
        """Return the parts of a layer's state: the most active units as bars, the others in words."""
        rows = [_box(x, top, self.heights[layer])]
        y = top
        for part in (part for part in step.state if part.layer == layer):
            name = layered(part.name, layer, self.layers)
            rows.append(_text(x + 9, y + 17, f"{name}({step.t})", "head"))
            rows.append(_text(x + COLUMN - 9, y + 17, f"norm {plain(part.norm)}", "small end"))
            y += 22
            peak = self.peaks[layer, part.name]
            for unit in part.units:
                rows.append(_unit(x, y, unit, peak))
                y += LINE
            for said in others(part):
                rows.append(_text(x + 9, y + 12, said, "small"))
                y += 15
        return "".join(rows)

    def _read(self, x: int, step: Step) -> str:
        """Return w(t)."""
        top, middle = self.word_top, x + COLUMN / 2
        rows = [f'<rect class="box word" x="{x}" y="{top}" width="{COLUMN}" height="{WORD}" rx="6"/>']
        rows.append(_text(middle, top + 20, short(step.symbol, 20), "symbol middle", title=visible(step.symbol)))
        said = f"w({step.t})" + (f", written {short(step.written, 14)}" if step.unknown else "")
        rows.append(_text(middle, top + 38, said, "small middle"))
        return "".join(rows)

    def _back(self, i: int, x: int, step: Step) -> str:
        """Return the error that came back to this step from step `at`, which a script changes to another one's."""
        errors = main_errors(self.found.why_at, self.layers)
        k = self.found.at - step.t
        there = 0 <= k < len(errors.norms)
        width = COLUMN * self.scale.share(errors.norms[k]) if there else 0.0
        said = plain(errors.norms[k]) if there else ""
        factor = errors.factors[k] if there and k < len(errors.factors) else None
        left = f"←{TIMES}{plain(factor)}" if factor is not None else ""
        y = self.back_top
        return (
            f'<rect class="e" x="{x + COLUMN - width:.1f}" y="{y + 20}" width="{width:.1f}" height="10" rx="2"/>'
            + _text(x, y + 14, f"‖{errors.symbol}({step.t})‖", "small")
            + _text(x + COLUMN, y + 14, said, "norm value end")
            + (_text(x - GAP / 2, y + 30, left, "factor small middle") if i else "")
        )


def _unit(x: int, y: int, unit: Unit, peak: float) -> str:
    """Return one unit: its number, a bar from the middle to the side of its sign, and its value."""
    zero, reach = x + 86, 40.0
    width = reach * min(1.0, abs(unit.value) / peak)
    start = zero if unit.value >= 0 else zero - width
    kind = "plus" if unit.value >= 0 else "minus"
    value = f"{unit.value:+.3f}".replace("-", MINUS) if peak < 100 else plain(unit.value)
    return (
        f"<g><title>unit {unit.index}: {unit.value:.4g}</title>"
        f"{_text(x + 9, y + 12, f'#{unit.index}', 'small')}"
        f'<rect class="{kind}" x="{start:.1f}" y="{y + 3}" width="{width:.1f}" height="10"/>'
        f'<path class="zero" d="M{zero} {y}v{LINE}"/>{_text(x + COLUMN - 9, y + 12, value, "value end")}</g>'
    )


def _box(x: int, top: int, height: int) -> str:
    return f'<rect class="box" x="{x}" y="{top}" width="{COLUMN}" height="{height}" rx="6"/>'


def _text(x: float, y: float, text: str, kind: str = "", *, title: str | None = None) -> str:
    """Return a text, with its whole as a title where it was cut."""
    more = f"<title>{escape(title)}</title>" if title is not None and title not in text else ""
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text{of_kind} x="{x:g}" y="{y:g}">{more}{escape(text)}</text>'


def _arrow(letter: str, x1: float, y1: float, x2: float, y2: float, tx: float, ty: float, name: str) -> str:
    """Return an arrow of the colour and the kind of line of a letter, with a name at (tx, ty)."""
    return (
        f'<path class="arrow {letter.lower()}" d="M{x1:g} {y1:g}L{x2:g} {y2:g}" marker-end="url(#head-{letter})"/>'
        f'<text class="letter {letter.lower()}" x="{tx:g}" y="{ty:g}">{name}</text>'
    )


def _heads() -> str:
    """Return the heads of arrows, one for each letter."""
    return (
        "<defs>"
        + "".join(
            f'<marker id="head-{letter}" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="8" markerHeight="8" '
            'markerUnits="userSpaceOnUse" orient="auto">'
            f'<path class="head {letter.lower()}" d="M0 0L10 5L0 10z"/></marker>'
            for letter in "UWV"
        )
        + "</defs>\n"
    )


def legend(letter: str) -> str:
    """Return a line of a letter's colour and kind, for the legend."""
    line = f'<path class="arrow {letter.lower()}" d="M2 8H34" marker-end="url(#head-{letter})"/>'
    return f'<svg class="sample" width="44" height="16" aria-hidden="true">{line}</svg>'
