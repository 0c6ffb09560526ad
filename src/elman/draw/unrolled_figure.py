"""The figure of `elman explain --plot`: what its page shows, on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elman.draw.figures import pyplot
from elman.draw.unrolled_words import (
    MINUS,
    TIMES,
    aim,
    carried,
    equation,
    layered,
    letters,
    main_errors,
    peaks,
    plain,
    short,
    signed,
)

if TYPE_CHECKING:
    from elman.apply.explain import Explanation, StatePart, Step

BLUE, RED, GREEN, GOLD, GREY = "#0b57b0", "#b3261e", "#1b6e3a", "#8a5a00", "#5c5c5c"
COLUMN, GAP, ROW = 1.5, 0.55, 0.17
"""Inches: of a column, between two, and of a line of text."""
WRITTEN = 16
"""Steps up to which the table of which word mattered has its numbers in it."""


def unrolled_figure(found: Explanation) -> Any:  # noqa: ANN401 - matplotlib has no types of its own here
    """Return the figure: the unrolled net, the norms of the error sent back, and which word mattered."""
    plt = pyplot()
    picture = _Picture(found)
    triangle = max(2.2, 0.32 * len(found.steps) + 1.0)
    heights = [picture.height, 2.4, triangle]
    figure = plt.figure(figsize=(max(9.0, picture.width), sum(heights) + 1.6), layout="constrained")
    net, errors, words = figure.subplots(3, 1, gridspec_kw={"height_ratios": heights})
    figure.suptitle(f"“{_literal(short(found.text, 70))}”", fontsize=13)
    picture.draw(net)
    _draw_errors(errors, found)
    _draw_words(words, found)
    return figure


def _literal(text: str) -> str:
    """Return a text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")


class _Picture:
    """The columns of the net, in inches from the lower left."""

    def __init__(self, found: Explanation) -> None:
        self.found, self.layers = found, found.summary.layers
        self.parts = [(part.layer, part.name) for part in found.steps[0].state]
        self.peaks = peaks(found)
        state = {(part.layer, part.name): part for part in found.steps[0].state}
        self.sizes = {key: (len(state[key].units) + 2.2) * ROW for key in self.parts}
        self.said = (len(found.steps[0].next) + 2.2) * ROW
        self.width = len(found.steps) * (COLUMN + GAP) + 0.8
        self.height = 0.5 + (self.layers + 1) * 0.4 + sum(self.sizes.values()) + self.said

    def draw(self, axes: Any) -> None:  # noqa: ANN401 - matplotlib has no types of its own here
        axes.set(xlim=(0, self.width), ylim=(0, self.height), aspect="equal")
        axes.axis("off")
        shapes = letters(self.found.summary)
        said = "   ".join(f"{letter}: {shapes[letter]}" for letter in "UWV")
        axes.set_title(f"{equation(self.found.summary)}\n{said}   shared by all steps", fontsize=9)
        for i, step in enumerate(self.found.steps):
            self._column(axes, 0.5 + i * (COLUMN + GAP), step)

    def _column(self, axes: Any, x: float, step: Step) -> None:  # noqa: ANN401 - as above
        middle, y = x + COLUMN / 2, 0.5
        last = step is self.found.steps[-1]
        _box(axes, x, 0.05, 0.45, BLUE)
        axes.text(middle, 0.33, _literal(short(step.symbol, 16)), ha="center", va="center", fontsize=10, weight="bold")
        axes.text(middle, 0.14, f"w({step.t})", ha="center", va="center", fontsize=7, color=GREY)
        below = 0
        for part in step.state:
            size = self.sizes[part.layer, part.name]
            if part.layer != below:
                _arrow(axes, (middle, y), (middle, y + 0.38), BLUE, layered("U", part.layer, self.layers), "-")
                y += 0.4
                across = (x + COLUMN, y + size / 2), (x + COLUMN + GAP - 0.03, y + size / 2)
                if not last:
                    _arrow(axes, *across, GOLD, carried(self.found.summary, part.layer), "--")
            self._part(axes, x, y, size, part, step.t)
            below, y = part.layer, y + size
        _arrow(axes, (middle, y), (middle, y + 0.38), GREEN, "V", ":")
        self._said(axes, x, y + 0.4, step)

    def _part(self, axes: Any, x: float, y: float, size: float, part: StatePart, t: int) -> None:  # noqa: ANN401
        _box(axes, x, y, size, GREY)
        name = f"{layered(part.name, part.layer, self.layers)}({t})"
        axes.text(x + 0.05, y + size - ROW * 0.6, name, va="center", fontsize=8, weight="bold")
        zero, reach = x + 0.75, 0.35
        for row, unit in enumerate(part.units):
            level = y + size - ROW * (row + 1.7)
            width = reach * unit.value / self.peaks[part.layer, part.name]
            axes.barh(level, width, ROW * 0.7, left=zero, color=BLUE if unit.value >= 0 else RED)
            axes.text(x + 0.05, level, f"#{unit.index}", va="center", fontsize=6, color=GREY)
            axes.text(x + COLUMN - 0.04, level, f"{unit.value:+.2f}", va="center", ha="right", fontsize=6.5)
        if part.others_mean is not None:
            said = f"{part.others} more, mean {plain(part.others_mean)}"
            axes.text(x + 0.05, y + ROW * 0.5, said, va="center", fontsize=6, color=GREY)

    def _said(self, axes: Any, x: float, y: float, step: Step) -> None:  # noqa: ANN401 - as above
        _box(axes, x, y, self.said, GREEN)
        top = y + self.said
        axes.text(x + 0.05, top - ROW * 0.6, f"y({step.t})", va="center", fontsize=8, weight="bold")
        most = max(probability for one in self.found.steps for _, probability in one.next)
        for row, (token, probability) in enumerate(step.next):
            level = top - ROW * (row + 1.7)
            axes.barh(level, 1.4 * probability / most, ROW * 0.8, left=x + 0.05, color=GREEN, alpha=0.25)
            came = step.log_prob is not None and token == step.came
            text = _literal(("✓ " if came else "") + short(token, 14))
            axes.text(x + 0.08, level, text, va="center", fontsize=7, weight="bold" if came else "normal")
            axes.text(x + COLUMN - 0.04, level, f"{probability:.3f}", va="center", ha="right", fontsize=6.5)
        came_bits = "" if step.surprisal is None else f": {step.surprisal:.2f} bits"
        said = "what comes is not given" if step.came is None else f"came {short(step.came, 12)}{came_bits}"
        axes.text(x + 0.05, y + ROW * 0.5, _literal(said), va="center", fontsize=6, color=GREY)


def _box(axes: Any, x: float, y: float, height: float, colour: str) -> None:  # noqa: ANN401 - as above
    axes.add_patch(pyplot().Rectangle((x, y), COLUMN, height, fill=False, edgecolor=colour, linewidth=0.8))


def _arrow(
    axes: Any,  # noqa: ANN401 - as above
    start: tuple[float, float],
    end: tuple[float, float],
    colour: str,
    name: str,
    line: str,
) -> None:
    kind = {"arrowstyle": "->", "color": colour, "linestyle": line, "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=kind)
    upright = start[0] == end[0]
    at = (start[0] + (0.06 if upright else end[0] - start[0]) / (1 if upright else 2), (start[1] + end[1]) / 2)
    axes.text(at[0], at[1] + (0 if upright else 0.09), name, color=colour, fontsize=8, weight="bold", va="center")


def _draw_errors(axes: Any, found: Explanation) -> None:  # noqa: ANN401 - as above
    """Draw the norms of the error of step `at`, k steps back, with the factor between two of them."""
    why = found.why_at
    errors = main_errors(why, found.summary.layers)
    norms = [norm if norm > 0 else float("nan") for norm in errors.norms]
    axes.bar(range(len(norms)), norms, 0.6, color=RED)
    axes.set_yscale("log")
    axes.set_xticks(
        range(len(norms)), [f"{k}\n{_literal(short(why.words[-1 - k].symbol, 10))}" for k in range(len(norms))]
    )
    axes.set_xlabel("k, steps back, and the word that was read there")
    axes.set_ylabel(f"‖{errors.symbol}(t{MINUS}k)‖")
    axes.set_title(f"The error of step {why.t} ({_literal(aim(why))}), sent back through time", fontsize=10)
    for k, factor in enumerate(errors.factors):
        if factor is not None and factor > 0:
            height = (errors.norms[k] * errors.norms[k + 1]) ** 0.5
            axes.annotate(f"{TIMES}{plain(factor)}", (k + 0.5, height), ha="center", fontsize=7)
    axes.margins(y=0.15)


def _draw_words(axes: Any, found: Explanation) -> None:  # noqa: ANN401 - as above
    """Draw which word mattered to which prediction, by leaving each out."""
    steps = len(found.steps)
    values = [[float("nan")] * steps for _ in range(steps)]
    for row, why in enumerate(found.why):
        for word in why.words:
            if word.leave_one_out is not None:
                values[row][word.t - found.first] = word.leave_one_out
    most = max((abs(value) for row in values for value in row if value == value), default=1.0) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    axes.set_xticks(range(steps), [_literal(short(step.symbol, 10)) for step in found.steps], rotation=30, ha="right")
    axes.set_yticks(range(steps), [_literal(short(why.target, 12)) for why in found.why])
    axes.set_title(
        "What each word (across) added to the log-probability of each prediction (down): leave-one-out", fontsize=10
    )
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if steps <= WRITTEN and value == value:
                colour = "white" if abs(value) > 0.6 * most else "black"
                axes.text(column, row, signed(value), ha="center", va="center", fontsize=7, color=colour)
    axes.figure.colorbar(image, ax=axes, label="nats", shrink=0.8)
