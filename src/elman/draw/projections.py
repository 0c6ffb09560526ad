"""Words at places: a scatter of words in a terminal, a figure whose labels keep clear of each other, a page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any

from elman.draw.charts import scatter
from elman.draw.figures import COLOURS, style
from elman.draw.labels import Box, asides
from elman.draw.page import page, table
from elman.draw.sparklines import Screen, words_at
from elman.draw.unit_maps import shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.apply.projection import Projection


def axis_names(result: Projection) -> tuple[str, str]:
    """Return what the axes are, with their shares of the variance."""
    first, second = result.shares
    return f"first axis: {first:.1%} of the variance", f"second axis: {second:.1%} of the variance"


def scope(result: Projection) -> str:
    """Say what is shown."""
    what = result.kind or "vectors"
    return f"{len(result.words)} words, {what}, {result.size} numbers each, by their principal components"


def terminal_lines(result: Projection, screen: Screen) -> Iterator[str]:
    """Give the lines that a terminal shows: the words themselves at their places."""
    words = [shown(word) for word in result.words]
    width = max(40, min(110, screen.width - 2))
    lines, left_out = words_at(result.points, words, width=width, height=max(12, width // 3), dot=screen.dot)
    yield from lines
    yield ""
    yield f"from left to right the {axis_names(result)[0]}; from bottom to top the {axis_names(result)[1]}"
    if left_out:
        yield f"{len(left_out)} words had no room ({screen.dot}): {', '.join(left_out)}"


def figure(result: Projection, *, dark: bool = False) -> Figure:
    """Draw points with their words, each label where it covers the least."""
    with style(dark=dark) as plt:
        made, axes = plt.subplots(figsize=(8, 6), layout="constrained")
        xs, ys = [x for x, _ in result.points], [y for _, y in result.points]
        axes.scatter(xs, ys, s=12, color=COLOURS[0], zorder=3)
        axes.margins(0.08)
        axes.set(xlabel=axis_names(result)[0], ylabel=axis_names(result)[1])
        made.canvas.draw()  # only now is it known where the points are on the paper
        made.set_layout_engine("none")
        _label(axes, made, result)
        return made


def _label(axes: Any, made: Any, result: Projection) -> None:  # noqa: ANN401 - matplotlib's
    """Put each word beside its point, the most frequent first."""
    renderer = made.canvas.get_renderer()
    labels = [
        axes.annotate(shown(word), point, xytext=(0, 0), textcoords="offset points", fontsize=7.5, zorder=4)
        for word, point in zip(result.words, result.points, strict=True)
    ]
    sizes = [(box.width, box.height) for box in (label.get_window_extent(renderer) for label in labels)]
    places = [(float(x), float(y)) for x, y in axes.transData.transform(result.points)]
    chosen = asides(places, sizes, Box(*axes.bbox.extents), unit=made.dpi / 72)
    for label, aside in zip(labels, chosen, strict=True):
        label.set(position=(aside.right, aside.up), ha=aside.across, va=aside.along)


def html(result: Projection) -> str:
    """Return a page with the words at their places, and their numbers."""
    across, up = axis_names(result)
    rows = [[shown(word), f"{x:.4f}", f"{y:.4f}"] for word, (x, y) in zip(result.words, result.points, strict=True)]
    body = f"<p>{escape(scope(result))}.</p>" + scatter(result.points, list(map(shown, result.words)), x=across, y=up)
    return page("Words at their places", body + table(["word", "first axis", "second axis"], rows, caption="Places"))
