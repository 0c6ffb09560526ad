"""`elman plot`: how runs went, what units fire on, where words lie, how far back a net remembers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Device, Json, Regime, Threads, can_print, choose, load, note, print_json
from elman.errors import UsageError
from elman.files import write_text

if TYPE_CHECKING:
    from elman.draw.sparklines import Screen

AXES = ("symbols", "updates", "seconds")
MEASURES = ("perplexity", "bits", "nats")
OF_KIND = {
    "units": ("unit", "layer", "along", "least", "tokens", "regime", "top"),
    "vectors": ("words", "top"),
    "horizon": ("history", "oov", "tokens", "regime"),
    "curves": ("x", "loss"),
}
"""Flags that say something of one kind of picture only; given for another they are refused."""


def plot(
    folders: Annotated[
        list[str],
        typer.Argument(metavar="RUN...|MODEL", help="folders that elman train made; with --vectors also a vector file"),
    ],
    units: Annotated[
        str | None, typer.Option("--units", metavar="TEXT", help="what hidden units fire on, in this text")
    ] = None,
    vectors: Annotated[bool, typer.Option("--vectors", help="where words lie: rows of U in two dimensions")] = False,
    horizon: Annotated[
        str | None, typer.Option("--horizon", metavar="TEXT", help="perplexity of this text by the length of history")
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(metavar="symbols|updates|seconds", help="runs: from left to right; unset, symbols"),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(metavar="perplexity|bits|nats", help="runs: how losses are shown; unset, by the unit"),
    ] = None,
    unit: Annotated[
        list[int] | None, typer.Option(metavar="N", help="--units: this unit, from 0; unset, the most selective")
    ] = None,
    layer: Annotated[int | None, typer.Option(min=1, help="--units: of this layer, 1 is the lowest")] = None,
    along: Annotated[
        str | None, typer.Option(metavar="SENTENCE", help="--units: follow them along this; unset, one of TEXT")
    ] = None,
    least: Annotated[
        int | None, typer.Option(min=1, help="--units: only words that come so often have a mean; unset, 3")
    ] = None,
    words: Annotated[
        str | None, typer.Option(metavar="'WORD WORD..'|FILE", help="--vectors: these words; unset, the most frequent")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="--units, --vectors: how many units (8) or words (60)")] = None,
    history: Annotated[
        str | None, typer.Option(metavar="K,K,..", help="--horizon: lengths of history; unset, 0,1,2,3,5,8,..,100")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="--units, --horizon: symbols of TEXT, the first (20,000; 2,000)")
    ] = None,
    regime: Regime = None,
    oov: Annotated[
        str | None, typer.Option(metavar="skip|unk", help="--horizon: leave unseen words out, or score them as <unk>")
    ] = None,
    figure: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.png|.svg|.pdf", help="draw a figure there (elman[plot])")
    ] = None,
    dark: Annotated[bool, typer.Option("--dark", help="--plot: light on dark")] = False,
    page: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="write a page there, with charts; - is stdout")
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Show how runs went; or what a model's units fire on, where its words lie, how far back it remembers."""
    kinds = {"units": units is not None, "vectors": vectors, "horizon": horizon is not None}
    kind = _kind(kinds)
    flags = {"x": x, "loss": loss, "unit": unit, "layer": layer, "along": along, "least": least, "words": words}
    flags |= {"top": top, "history": history, "tokens": tokens, "regime": regime, "oov": oov}
    _check_flags(kind, flags)
    given = {name: value for name, value in flags.items() if value not in (None, [])}
    if page == "-" and as_json:
        raise UsageError("--html - and --json both write to standard output", hint="give the page the name of a file")
    _check_outputs(figure, page, dark=dark)
    show = Output(figure, page, dark=dark, as_json=as_json)
    if kind == "curves":
        _curves(folders, given, show)
    elif kind == "horizon":
        _horizon(folders, str(horizon), given, show, device=device, threads=threads)
    elif len(folders) > 1:
        raise UsageError(f"--{kind} is of one model, and {len(folders)} were given", hint="name one of them")
    elif kind == "units":
        _units(folders[0], str(units), given, show, device=device, threads=threads)
    else:
        _vectors(folders[0], given, show)


class Output:
    """Where a picture goes: stdout in characters or JSON, a figure, a page."""

    def __init__(self, figure: str | None, page: str | None, *, dark: bool, as_json: bool) -> None:
        self.figure, self.page, self.dark, self.as_json = figure, page, dark, as_json

    def __call__(
        self,
        value: Mapping[str, Any],
        lines: Callable[[Screen], Iterable[str]],
        figure: Callable[[bool], Any],
        html: Callable[[], str],
    ) -> None:
        """Write what was asked for."""
        if self.figure is not None:
            from elman.draw.figures import save

            save(figure(self.dark), self.figure)
            note(f"drawn in {self.figure}")
        if self.page == "-":
            print(html(), end="")
            return
        if self.page is not None:
            write_text(Path(self.page), html())
            note(f"written to {self.page}")
        if self.as_json:
            print_json(value)
            return
        for line in lines(screen()):
            print(line)


def screen() -> Screen:
    """Return what stdout can show: NO_COLOR, TERM=dumb and what is no terminal get no colour."""
    from elman.draw.sparklines import BLOCKS, EIGHTHS, Screen

    unicode = can_print(BLOCKS + EIGHTHS + "·")
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Screen(width=max(40, shutil.get_terminal_size().columns), unicode=unicode, colour=colour)


def _kind(kinds: Mapping[str, bool]) -> str:
    chosen = [f"--{name}" for name, given in kinds.items() if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} cannot be drawn at once", hint="ask for one after the other")
    return chosen[0].removeprefix("--") if chosen else "curves"


def _check_flags(kind: str, flags: Mapping[str, object]) -> None:
    """Refuse flags of another kind of picture, and choices that there are not."""
    for name, value in flags.items():
        if value not in (None, []) and name not in OF_KIND[kind]:
            owners = [other for other, names in OF_KIND.items() if name in names]
            where = " or ".join("runs alone" if owner == "curves" else f"--{owner}" for owner in owners)
            raise UsageError(f"--{name} means nothing here", hint=f"it goes with {where}")
    for name, choices in (
        ("x", AXES),
        ("loss", MEASURES),
        ("regime", ("running", "sentences")),
        ("oov", ("skip", "unk")),
    ):
        value = flags[name]
        choose(name, None if value is None else str(value), choices)


def _check_outputs(figure: str | None, page: str | None, *, dark: bool) -> None:
    """Refuse, before anything is computed, what could not be written after it."""
    if dark and figure is None:
        raise UsageError("--dark is of a figure", hint="say --plot FILE too; a page is light or dark as its reader is")
    if figure is not None:
        from elman.draw.figures import figure_format, pyplot

        figure_format(figure)
        pyplot()
    for path in (figure, page):
        if path is not None and (path == "" or Path(path).is_dir()):
            raise UsageError(f"{path!r} is no file to write to", hint="give the name of a file")


def _curves(folders: list[str], given: Mapping[str, Any], show: Output) -> None:
    from elman.apply.curves import read_runs
    from elman.draw import curves as drawing

    result = read_runs(folders, x=given.get("x"), measure=given.get("loss"))
    for sentence in result.notes:
        note(sentence)
    show(
        result.as_dict(),
        lambda screen: drawing.terminal_lines(result, screen),
        lambda dark: drawing.figure(result, dark=dark),
        lambda: drawing.html(result),
    )


def _units(folder: str, text: str, given: Mapping[str, Any], show: Output, *, device: str, threads: int | None) -> None:
    model = load(folder, device, threads)
    from elman.apply.units import units as run
    from elman.draw import unit_maps as drawing

    options = {name: given[name] for name in ("layer", "along", "least", "tokens", "regime", "top") if name in given}
    result = run(model, text, chosen=given.get("unit", ()), **options)
    note(drawing.scope(result))
    show(
        {"model": folder, **result.as_dict()},
        lambda screen: drawing.terminal_lines(result, screen),
        lambda dark: drawing.figure(result, dark=dark),
        lambda: drawing.html(result),
    )


def _vectors(path: str, given: Mapping[str, Any], show: Output) -> None:
    from elman.apply.projection import project, words_of
    from elman.draw import projections as drawing

    chosen = words_of(given["words"]) if "words" in given else []
    if "words" in given and not chosen:
        raise UsageError("--words names no word", hint="--words 'milk bread shop', or a file of words")
    result = project(path, words=chosen, **({"top": given["top"]} if "top" in given else {}))
    note(drawing.scope(result))
    show(
        result.as_dict(),
        lambda screen: drawing.terminal_lines(result, screen),
        lambda dark: drawing.figure(result, dark=dark),
        lambda: drawing.html(result),
    )


def _horizon(
    folders: list[str], text: str, given: Mapping[str, Any], show: Output, *, device: str, threads: int | None
) -> None:
    from elman.apply.horizon import horizon as run
    from elman.draw import horizons as drawing

    if text == "-" and len(folders) > 1:
        raise UsageError("standard input is read once, and there are several models", hint="give the text as a file")
    options: dict[str, Any] = {name: given[name] for name in ("tokens", "regime", "oov") if name in given}
    if "history" in given:
        options["histories"] = _lengths(given["history"])
    results = [(folder, run(load(folder, device, threads), text, **options)) for folder in folders]
    if len({found.unit for _, found in results}) > 1:
        raise UsageError(
            "the models are of different units: their perplexities cannot be compared", hint="plot them apart"
        )
    for folder, found in results:
        note(f"{folder + ': ' if len(results) > 1 else ''}{drawing.scope(found)}")
    if len({(found.symbols, found.oov) for _, found in results}) > 1:
        note("the models do not know the same words, so that they are not scored on the same ones")
    show(
        {"models": [{"model": folder, **found.as_dict()} for folder, found in results]},
        lambda screen: drawing.terminal_lines(results, screen),
        lambda dark: drawing.figure(results, dark=dark),
        lambda: drawing.html(results),
    )


def _lengths(given: str) -> list[int]:
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise UsageError(
            f"--history {given!r} is no list of whole numbers", hint="for example --history 0,1,2,5,20,100"
        )
    return [int(part) for part in parts]
