"""How far back nets remember: bars of what is lost with a short history, a figure, a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from elman.draw.charts import Series, line_chart
from elman.draw.curves import log_axis, precise, unit_name
from elman.draw.figures import look, style
from elman.draw.page import page, table
from elman.draw.sparklines import Screen, bar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.apply.horizon import Horizon

Named = Sequence[tuple[str, "Horizon"]]


def scope(found: Horizon) -> str:
    """Say which symbols were asked for, and what counts as history."""
    part = "all" if found.tokens == found.all_tokens else f"the first {found.tokens:,} of {found.all_tokens:,}"
    where = "its sentence" if found.regime == "sentences" else "the running text, sentence ends included"
    unit = unit_name(found.unit)
    return (
        f"{found.file}: {part} {unit}s, {found.symbols:,} scored; history k: the {unit}s before the current one, "
        f"of {where}"
    )


def verdict(found: Horizon) -> str:
    """Say from which history on more of it changes less than 1 %."""
    if found.enough is None:
        return f"more than {found.histories[-1]} {unit_name(found.unit)}s of history still help by 1 % or more"
    return f"with k = {found.enough} it is within 1 % of what the whole history gives"


def terminal_lines(results: Named, screen: Screen) -> Iterator[str]:
    """Give the lines that a terminal shows: a bar is how much more than with the whole history."""
    for name, found in results:
        if len(results) > 1:
            yield f"{name}:"
        excess = [_excess(value, found.whole) for value in found.perplexities]
        most = max((value for value in excess if math.isfinite(value)), default=0.0)
        width = max(10, min(40, screen.width - 36))
        yield f"{'history':>8}  {'perplexity':>10}  {'':>8}"
        for k, value, more in zip(found.histories, found.perplexities, excess, strict=True):
            shown = bar(more, most, width, unicode=screen.unicode)
            yield f"{k:>8}  {precise(value):>10}  {more:>+8.1%}  {shown}".rstrip()
        yield f"{'whole':>8}  {precise(found.whole):>10}"
        yield verdict(found)
        if len(results) > 1:
            yield ""


def _excess(value: float, whole: float) -> float:
    return value / whole - 1 if math.isfinite(whole) else math.nan


def figure(results: Named, *, dark: bool = False) -> Figure:
    """Draw perplexity over the length of history, and what it is with the whole of it as a line."""
    ticks = _ticks(sorted({k for _, found in results for k in found.histories}))
    with style(dark=dark) as plt:
        made, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        for index, (name, found) in enumerate(results):
            marks = look(index)
            axes.plot(found.histories, found.perplexities, **marks, linewidth=1.8, markersize=5, label=name)
            axes.axhline(found.whole, color=marks["color"], linewidth=1, linestyle=(0, (2, 3)))
            axes.annotate(
                f"whole history: {precise(found.whole)}",
                (ticks[-1], found.whole),
                xytext=(0, -4),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize="small",
                color=marks["color"],
            )
        first = results[0][1]
        axes.set_xscale("function", functions=(_log1p, _expm1))
        axes.set_xticks(ticks, labels=[str(tick) for tick in ticks])
        axes.set_xlim(left=-0.05)
        axes.margins(y=0.12)
        unit = unit_name(first.unit)
        axes.set(xlabel=f"history k, {unit}s before the current one", ylabel=f"perplexity per {unit}")
        low, high = _reach(results)
        if high > 2 * low:
            log_axis(axes, plt)
        if len(results) > 1:
            axes.legend()
        return made


def _reach(results: Named) -> tuple[float, float]:
    """Return the least and the largest perplexity."""
    values = [value for _, found in results for value in (*found.perplexities, found.whole) if math.isfinite(value)]
    return min(values, default=1.0), max(values, default=1.0)


def _log1p(values: object) -> object:
    import numpy as np

    return np.log1p(np.maximum(np.asarray(values, dtype=float), -0.9))


def _expm1(values: object) -> object:
    import numpy as np

    return np.expm1(np.asarray(values, dtype=float))


def _ticks(histories: Sequence[int]) -> list[int]:
    """Return the lengths that have room on an axis of log(1 + k): not nearer to each other than a fifth."""
    kept: list[int] = []
    for k in histories:
        if not kept or math.log1p(k) - math.log1p(kept[-1]) > 0.2:
            kept.append(k)
    return kept


def html(results: Named) -> str:
    """Return a page with the chart and its numbers."""
    first = results[0][1]
    unit = unit_name(first.unit)
    series = [
        Series(name, found.histories, found.perplexities, index=index) for index, (name, found) in enumerate(results)
    ]
    level = (f"whole history: {precise(first.whole)}", first.whole) if len(results) == 1 else None
    ticks = _ticks(sorted({k for _, found in results for k in found.histories}))
    low, high = _reach(results)
    chart = line_chart(
        series,
        x=f"history k, {unit}s before the current one",
        y=f"perplexity per {unit}",
        across=ticks,
        level=level,
        log_y=high > 2 * low,
    )
    rows = [
        [str(k), *(_at(found, k) for _, found in results)]
        for k in sorted({k for _, found in results for k in found.histories})
    ]
    rows.append(["whole", *(precise(found.whole) for _, found in results)])
    said = "".join(
        f"<p>{escape(name)}: {escape(verdict(found))}. {escape(scope(found))}.</p>" for name, found in results
    )
    numbers = table(["history k", *(name for name, _ in results)], rows, caption=f"Perplexity per {unit}")
    return page("How far back the net remembers", chart + said + numbers)


def _at(found: Horizon, k: int) -> str:
    return precise(found.perplexities[found.histories.index(k)]) if k in found.histories else "-"
