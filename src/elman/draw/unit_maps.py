"""What hidden units fire on: marked words in a terminal, a heat map and bars as a figure, a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from elman.draw.figures import COLOURS, style
from elman.draw.page import page, table
from elman.draw.sparklines import Screen, sparkline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.apply.units import Firing, Unit, Units

SHADES = ((255, 0), (195, 0), (153, 0), (111, 0), (69, 15), (27, 15), (20, 15), (18, 15))
"""Eight pairs of a terminal's 256 colours, ground and letters: the darker the blue, the more active."""

MOST_UNITS = 12
"""Units that a figure has room for."""

BARS = 8
SHADE = 45
"""Per cent of blue at the most: letters can be read on it, on light and on dark paper."""

MOST_SYMBOLS = 40
MARKED = 2 / 3
"""The share of the way from the least to the most active from which a word is in brackets, where there is no colour."""


def shown(token: str) -> str:
    r"""Return a token as it can be read: what would not be seen is written out.

    >>> shown("milk"), shown(" "), shown(chr(10))
    ('milk', "' '", "'\\n'")
    """
    return token if token.isprintable() and token.strip() == token and token else repr(token)


def scope(result: Units) -> str:
    """Say what was read, and of which layer the units are."""
    part = "all" if result.tokens == result.all_tokens else f"the first {result.tokens:,} of {result.all_tokens:,}"
    layer = f"layer {result.layer} of {result.layers}, " if result.layers > 1 else ""
    return f"{result.file}: {part} symbols read; {layer}{result.size} units"


def headline(unit: Unit) -> str:
    """Say how selective a unit is."""
    return (
        f"unit {unit.unit}: {unit.selectivity:.1f} deviations above its mean at its strongest words; "
        f"the word alone explains {unit.by_word:.0%} of its variance"
    )


def terminal_lines(result: Units, screen: Screen) -> Iterator[str]:
    """Give the lines that a terminal shows: of each unit its words, its contexts, and its run along a sentence."""
    for unit, run in zip(result.units, result.activations, strict=True):
        yield headline(unit)
        yield "  words:    " + ", ".join(f"{shown(w.word)} {w.mean:.2f} (x{w.count})" for w in unit.words)
        for index, firing in enumerate(unit.contexts):
            yield f"  {'contexts:' if index == 0 else '':<9} {firing.activation:.2f}  {_context(firing, screen)}"
        for index, line in enumerate(_along(result.sentence, run, screen)):
            yield f"  {'along:' if index == 0 else '':<9} {line}"
        yield ""


def _context(firing: Firing, screen: Screen) -> str:
    word = shown(firing.word)
    word = f"\x1b[1m{word}\x1b[0m" if screen.colour else f"[{word}]"
    return " ".join([*map(shown, firing.before), word, *map(shown, firing.after)])


def _along(tokens: Sequence[str], run: Sequence[float], screen: Screen) -> Iterator[str]:
    """Give a sentence in pairs of lines: the words, and below each its level.

    A word is the darker, the more active the unit is there; without colour it is in brackets where that is near its
    most.
    """
    low, high = min(run), max(run)
    shares = [(value - low) / (high - low) if high > low else 0.0 for value in run]
    words, below, room = "", "", screen.width - 12
    used = 0
    for token, share, level in zip(tokens, shares, sparkline(run, levels=screen.levels), strict=True):
        word = f"[{shown(token)}]" if share >= MARKED and not screen.colour else shown(token)
        if used and used + len(word) + 2 > room:
            yield words.rstrip()
            yield below.rstrip()
            words, below, used = "", "", 0
        if screen.colour:
            ground, letters = SHADES[min(len(SHADES) - 1, int(share * len(SHADES)))]
            words += f"\x1b[48;5;{ground}m\x1b[38;5;{letters}m{word}\x1b[0m "
        else:
            words += word + " "
        below += level * len(word) + " "
        used += len(word) + 1
    yield words.rstrip()
    yield below.rstrip()


def figure(result: Units, *, dark: bool = False) -> Figure:
    """Draw the units along the sentence as a heat map, and below it the strongest words of each."""
    units = result.units[:MOST_UNITS]
    tokens = [shown(token) for token in result.sentence[:MOST_SYMBOLS]]
    runs = [run[:MOST_SYMBOLS] for run in result.activations[:MOST_UNITS]]
    columns = min(4, len(units))
    rows = -(-len(units) // columns)
    top = 0.9 + 0.26 * len(units)
    with style(dark=dark) as plt:
        made = plt.figure(figsize=(8.5, top + 1.75 * rows), layout="constrained")
        grid = made.add_gridspec(rows + 1, columns, height_ratios=[top, *[1.75] * rows])
        _heat_map(made, made.add_subplot(grid[0, :]), result, [str(u.unit) for u in units], tokens, runs)
        for place, unit in enumerate(units):
            _bars(made.add_subplot(grid[1 + place // columns, place % columns]), unit, result)
        what = "mean activation at the strongest words (and how often they came), from the mean of the unit on"
        made.supxlabel(what, fontsize="small")
        return made


def _heat_map(
    made: Figure,
    axes: Any,  # noqa: ANN401 - matplotlib's
    result: Units,
    names: list[str],
    tokens: list[str],
    runs: list[list[float]],
) -> None:
    """Draw activations, (units, N); two colours apart from zero where they have signs, else one, darker for more."""
    low, high = min(0.0, result.low), max(0.0, result.high)
    colours, limits = ("PuOr", (-max(-low, high), max(-low, high))) if low < 0 else ("cividis", (low, high))
    image = axes.imshow(runs, aspect="auto", cmap=colours, vmin=limits[0], vmax=limits[1])
    axes.grid(visible=False)
    axes.set_xticks(range(len(tokens)), labels=tokens, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels=names)
    axes.tick_params(length=0)
    axes.set(ylabel="unit")
    axes.set_title(f"activations along a sentence{f', layer {result.layer}' if result.layers > 1 else ''}")
    axes.spines[:].set_visible(False)
    made.colorbar(image, ax=axes, fraction=0.03, pad=0.01)


def _bars(axes: Any, unit: Unit, result: Units) -> None:  # noqa: ANN401 - matplotlib's
    words = unit.words[:BARS]
    places = range(len(words))
    axes.barh(places, [w.mean - unit.mean for w in words], left=unit.mean, height=0.7, color=COLOURS[0])
    axes.set_yticks(places, labels=[f"{shown(w.word)} ({w.count})" for w in words], fontsize="x-small")
    axes.axvline(unit.mean, color=COLOURS[1], linestyle="--", linewidth=1)
    axes.set_xlim(min(0.0, result.low), max(0.0, result.high))
    axes.invert_yaxis()
    axes.tick_params(axis="x", labelsize="x-small")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_title(f"unit {unit.unit}", fontsize="small")


def html(result: Units) -> str:
    """Return a page: the sentence once a unit, shaded by its activation, then its words and contexts."""
    parts = [f"<p>{escape(scope(result))}.</p>", "<h2>Along a sentence</h2>", _shaded(result)]
    for unit in result.units:
        rows = [[shown(w.word), f"{w.mean:.3f}", str(w.count)] for w in unit.words]
        contexts = "".join(
            f"<li>{escape(' '.join(map(shown, f.before)))} <strong>{escape(shown(f.word))}</strong> "
            f'{escape(" ".join(map(shown, f.after)))} <span class="faint">{f.activation:.2f}</span></li>\n'
            for f in unit.contexts
        )
        parts.append(
            f"<h2>Unit {unit.unit}</h2><p>{escape(headline(unit))}.</p>"
            + table(["word", "mean activation", "times"], rows, caption=f"Strongest words of unit {unit.unit}")
            + f"<p>Where it is most active:</p><ul>\n{contexts}</ul>"
        )
    style_ = ".run td { text-align: center; padding: .2rem .3rem; } .run td, .run th { border: 0; }"
    return page("What hidden units fire on", "\n".join(parts), style=style_)


def _shaded(result: Units) -> str:
    """Return a table: a row a unit, a column a symbol, as blue as the unit is active there; the numbers stand in it."""
    low, high = min(0.0, result.low), max(0.0, result.high)
    head = "".join(f'<th scope="col">{escape(shown(token))}</th>' for token in result.sentence)
    rows = []
    for unit, run in zip(result.units, result.activations, strict=True):
        cells = "".join(
            f'<td style="background:color-mix(in srgb, var(--blue) {SHADE * _share(value, low, high):.0f}%, '
            f'transparent)">{value:.2f}</td>'
            for value in run
        )
        rows.append(f'<tr><th scope="row">{unit.unit}</th>{cells}</tr>')
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Activations along a sentence">\n'
        '<table class="run">\n<caption>Activation of each unit after each symbol: the bluer, the more</caption>\n'
        f'<thead><tr><th scope="col">unit</th>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _share(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0
