"""Figures by matplotlib, which is imported only where one is asked for: colours, line styles, files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.errors import MissingExtra, UsageError
from elman.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b")
"""Colours that people who see few of them can tell apart.

Source: M. Okabe and K. Ito, "Color universal design" (2008).
"""
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = {False: ("#ffffff", "#1a1a1a", "#c8c8c8"), True: ("#161616", "#ececec", "#4a4a4a")}
"""Paper, ink and lines, by whether the figure is dark."""


def pyplot() -> Any:  # noqa: ANN401 - a module that may not be installed
    """Return matplotlib's pyplot, which draws into files and opens no window.

    Raises
    ------
    MissingExtra
        where matplotlib is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra("matplotlib, which draws figures,", "plot") from error
    return pyplot


def figure_format(path: str | Path) -> str:
    """Return png, svg or pdf, by the end of a file's name.

    Raises
    ------
    UsageError
        for any other end.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise UsageError(
            f"--plot {str(path)!r} does not say what to write", hint="let its name end in .png, .svg or .pdf"
        )
    return kind


@contextmanager
def style(*, dark: bool = False) -> Iterator[Any]:
    """Give pyplot while the figures that are made have our colours; all else of matplotlib stays as it was."""
    plt = pyplot()
    paper, ink, line = INK[dark]
    settings = {
        "figure.facecolor": paper,
        "axes.facecolor": paper,
        "savefig.facecolor": paper,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), ink),
        "axes.edgecolor": line,
        "grid.color": line,
        "grid.alpha": 0.5,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": plt.cycler(color=COLOURS),
        "axes.titlesize": "medium",
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "font.size": 9,
        "text.parse_math": False,  # a word may be a dollar sign
    }
    with plt.rc_context(settings), _any_letter():
        yield plt


def look(index: int) -> dict[str, Any]:
    """Return colour, line style and marker of curve number `index`: each tells it apart without the others."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": LINES[index % len(LINES)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all, in the format of its name, and close it; the same figure, the same bytes.

    Raises
    ------
    OutputError
        for a file that cannot be written.
    """
    kind = figure_format(path)
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    plt = pyplot()
    salt = {"svg.hashsalt": "elman"}  # of the names inside a file, else drawn by lot
    with replacing(Path(path)) as temporary, _any_letter(), plt.rc_context(salt):
        figure.savefig(temporary, format=kind, dpi=150, metadata=undated)
    plt.close(figure)


@contextmanager
def _any_letter() -> Iterator[None]:
    """Let letters pass that no font has: a box stands for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
