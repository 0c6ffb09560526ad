"""Learning curves: as sparklines, as a figure, as a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from elman.draw.charts import Series, line_chart
from elman.draw.figures import look, style
from elman.draw.page import page, table
from elman.draw.sparklines import Screen, resample, sparkline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.apply.curves import Curve, RunComparison, RunCurves

NAMES = {"bpe": "subword", None: "symbol"}
SHOWN = ("train", "valid", "accuracy", "alpha", "gradient_norm", "speed")
FROM_ZERO = ("alpha", "gradient_norm", "speed")
"""What is shown over an axis that begins at zero: a tenth more is a tenth higher."""

MOST_COLUMNS = 60


def unit_name(unit: str | None) -> str:
    """Return what one symbol of a unit is called."""
    return NAMES.get(unit) or str(unit)


def measure_name(result: RunComparison) -> str:
    """Return what losses are shown as."""
    if result.measure == "perplexity":
        return "perplexity"
    return f"{result.measure} a {unit_name(result.unit)}"


def title_of(kind: str, result: RunComparison) -> str:
    """Return what a curve shows."""
    per_second = f"{unit_name(result.unit)}s/s, mean since the start"
    titles = {
        "train": f"training {measure_name(result)}",
        "valid": f"validation {measure_name(result)}",
        "accuracy": "validation accuracy",
        "alpha": "alpha",
        "gradient_norm": "gradient norm, before clipping",
        "speed": per_second,
    }
    return titles[kind]


def axis_title(result: RunComparison) -> str:
    """Return what the common axis counts."""
    return f"{unit_name(result.unit)}s trained on" if result.x == "symbols" else result.x


def short(value: float) -> str:
    """Write a number in few characters.

    >>> short(4463616), short(0.0046), short(123.456), short(8), short(float("inf"))
    ('4.46M', '0.0046', '123', '8', 'inf')
    """
    if not math.isfinite(value):
        return str(value)
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if letter == 'k' else limit):.3g}{letter}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def precise(value: float) -> str:
    """Write a number in four digits at least, and no exponent where it is of usual size.

    >>> precise(1203.4), precise(118.234), precise(0.000123456)
    ('1203', '118.2', '0.0001235')
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def best_of(curve: Curve, *, largest: bool = False) -> tuple[float, float] | None:
    """Return where a curve is best and what it is there, or None where it has no number."""
    points = [(y, x) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
    if not points:
        return None
    y, x = max(points, key=lambda p: (p[0], -p[1])) if largest else min(points)
    return x, y


def terminal_lines(result: RunComparison, screen: Screen) -> Iterator[str]:
    """Give the lines that a terminal shows: of each quantity one sparkline a run, all on one scale."""
    names = [run.name for run in result.runs]
    width = max(map(len, names))
    columns = max(10, min(MOST_COLUMNS, screen.width - width - 40))
    left, right = _range(result.runs, SHOWN, "x")
    yield f"from left to right: {axis_title(result)}, {short(left)} to {short(right)}"
    for kind in SHOWN:
        drawn = [run for run in result.runs if kind in run.curves]
        if not drawn:
            continue
        yield ""
        yield title_of(kind, result)
        low, high = _range(drawn, (kind,), "y", log=_is_log(kind, result))
        low = min(low, 0.0) if kind in FROM_ZERO else low
        for run in drawn:
            curve = run.curves[kind]
            values = resample(curve.x, _heights(kind, result, curve.y), low=left, high=right, columns=columns)
            picture = sparkline(values, low=low, high=high, levels=screen.levels)
            said = f"{precise(curve.y[0])} to {precise(curve.y[-1])}" if len(curve.y) > 1 else precise(curve.y[0])
            best = best_of(curve, largest=kind == "accuracy") if kind in ("valid", "accuracy") else None
            if best is not None and len(curve.y) > 1:
                said += f", best {precise(best[1])} at {short(best[0])}"
            yield f"  {run.name:<{width}}  {picture}  {said}"
    for run in result.runs:
        if run.setbacks:
            places = ", ".join(map(short, run.setbacks))
            yield ""
            yield f"{run.name} went back to the beginning of an epoch, with a smaller alpha, at {places}"


def _is_log(kind: str, result: RunComparison) -> bool:
    return kind in ("train", "valid") and result.measure == "perplexity"


def _heights(kind: str, result: RunComparison, values: Sequence[float]) -> list[float]:
    return [math.log(value) for value in values] if _is_log(kind, result) else list(values)


def _range(runs: Sequence[RunCurves], kinds: Sequence[str], axis: str, *, log: bool = False) -> tuple[float, float]:
    values = [v for run in runs for kind in kinds if kind in run.curves for v in getattr(run.curves[kind], axis)]
    values = [math.log(v) if log else v for v in values if math.isfinite(v)]
    return min(values, default=0.0), max(values, default=0.0)


def figure(result: RunComparison, *, dark: bool = False) -> Figure:
    """Draw losses large, and below them alpha, the norm of the gradient and the speed, those that there are."""
    small = [kind for kind in SHOWN[2:] if any(kind in run.curves for run in result.runs)]
    with style(dark=dark) as plt:
        made = plt.figure(figsize=(8, 5.6), layout="constrained")
        grid = made.add_gridspec(2 if small else 1, max(1, len(small)), height_ratios=[2.4, 1] if small else [1])
        axes = made.add_subplot(grid[0, :])
        for index, run in enumerate(result.runs):
            _losses(axes, run, look(index))
        axes.set(xlabel=axis_title(result), ylabel=measure_name(result))
        if result.measure == "perplexity":
            log_axis(axes, plt)
        axes.legend(ncols=min(2, len(result.runs)))
        for place, kind in enumerate(small):
            below = made.add_subplot(grid[1, place])
            for index, run in enumerate(result.runs):
                if kind in run.curves:
                    below.plot(run.curves[kind].x, run.curves[kind].y, **look(index) | {"marker": ""}, linewidth=1.2)
            below.set_title(title_of(kind, result), fontsize="small")
            below.tick_params(labelsize="small")
            below.set(ylim=(0, None), xlim=axes.get_xlim())
            below.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: short(value)))
            below.yaxis.set_major_locator(plt.MaxNLocator(4))
        for each in made.axes:
            each.xaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: short(value)))
            each.xaxis.set_major_locator(plt.MaxNLocator(8 if each is axes else 3))
        return made


def _losses(axes: Any, run: RunCurves, marks: dict[str, Any]) -> None:  # noqa: ANN401 - matplotlib's
    """Draw training as a thin line, validation as a thick one with a mark at each point."""
    plain = {key: marks[key] for key in ("color", "linestyle")}
    train, valid = run.curves.get("train"), run.curves.get("valid")
    if train is not None:
        axes.plot(train.x, train.y, **plain, linewidth=1.0, alpha=0.75, label=f"{run.name}, training")
    if valid is not None:
        axes.plot(valid.x, valid.y, **marks, linewidth=2.2, markersize=5, label=f"{run.name}, validation")
    for place in run.setbacks:
        axes.axvline(place, color=marks["color"], linestyle=":", linewidth=1)


def log_axis(axes: Any, plt: Any) -> None:  # noqa: ANN401 - matplotlib's
    """Make the axis from bottom to top one of logarithms, with numbers at 1, 2, 5, 10, .. (if it is short, others)."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)) if high > 6 * low else plt.MaxNLocator(6))
    axes.yaxis.set_major_formatter(plt.FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(plt.NullFormatter())


def html(result: RunComparison) -> str:
    """Return a page with a chart of each quantity, and a table of what came of each run."""
    parts = [f"<p>{escape(note)}.</p>" for note in result.notes]
    parts.append(_outcomes(result))
    for kind in SHOWN:
        series = [
            Series(run.name, run.curves[kind].x, run.curves[kind].y, index=index)
            for index, run in enumerate(result.runs)
            if kind in run.curves
        ]
        if series:
            title = title_of(kind, result)
            parts.append(f"<h2>{escape(title[0].upper() + title[1:])}</h2>")
            parts.append(line_chart(series, x=axis_title(result), y=title, log_y=_is_log(kind, result)))
    return page("Learning curves", "\n".join(parts))


def _outcomes(result: RunComparison) -> str:
    rows = []
    for run in result.runs:
        train, valid = run.curves.get("train"), run.curves.get("valid")
        best = None if valid is None else best_of(valid)
        rows.append(
            [
                run.name,
                precise(train.y[-1]) if train is not None else "-",
                precise(best[1]) if best is not None else "-",
                short(best[0]) if best is not None else "-",
            ]
        )
    head = ["run", "training, last", "validation, best", f"at {axis_title(result)}"]
    return table(head, rows, caption=f"{measure_name(result)[0].upper()}{measure_name(result)[1:]}")
