"""Matplotlib, which draws figures: it is not needed for anything else, so it comes in only here."""

from __future__ import annotations

from typing import Any

from elman.errors import MissingExtra


def pyplot() -> Any:  # noqa: ANN401 - a module of a library that may be missing
    """Return `matplotlib.pyplot`, drawing into files and never on a screen.

    Raises
    ------
    MissingExtra
        where matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("matplotlib", "plot") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
