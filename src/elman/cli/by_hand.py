"""`elman explain --by-hand`: the equations of training with the numbers put in, on a network that fits a whiteboard."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.common import can_print, note, print_json
from elman.errors import ElmanError, OutputError, TextError, UsageError

ByHand = Annotated[
    bool,
    typer.Option(
        "--by-hand",
        help="no model: a network of a few words, each equation of its training with the numbers put in; the "
        "arguments, if any, are the sentence",
    ),
]
Dictionary = Annotated[
    str | None,
    typer.Option(
        metavar="'WORD WORD ...'|FILE",
        help="by hand: the words that there are, 8 at most; unset, those of the sentence",
    ),
]
Learn = Annotated[
    str | None,
    typer.Option(
        metavar="last|all",
        help="by hand: learn the last word alone, or all of a window, as training does  [default: last]",
    ),
]
Hidden = Annotated[int | None, typer.Option(help="by hand: hidden units, 6 at most  [default: 2]")]
ActivationName = Annotated[
    str | None, typer.Option(metavar="sigmoid|tanh|relu", help="by hand: f, of the hidden units  [default: sigmoid]")
]
Alpha = Annotated[float | None, typer.Option(help="by hand: the learning rate  [default: 0.5]")]
Beta = Annotated[float | None, typer.Option(help="by hand: L2 regularisation  [default: 0.01]")]
Bptt = Annotated[int | None, typer.Option(help="by hand: steps that errors go back in time  [default: 2]")]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**63 - 1, help="by hand: where the weights come from  [default: 2]")
]
Digits = Annotated[int | None, typer.Option(min=1, max=12, help="by hand: digits shown after the point  [default: 3]")]

SEED, DIGITS = 2, 3
NARROW, WIDE = 60, 100
"""How many columns of a terminal are used, at the least and at the most."""


def by_hand(
    *sentence: str | None,
    dictionary: str | None = None,
    seed: int | None = None,
    digits: int | None = None,
    html: str | None = None,
    as_json: bool = False,
    **options: Any,  # noqa: ANN401 - what `Task` takes; None is what was not given
) -> None:
    """Compute a few updates on a whiteboard and show every number, beside those of the engine."""
    if html == "-" and as_json:
        raise UsageError("standard output cannot take both the page and JSON", hint="give a file, or leave out --json")
    if html is not None:
        _check_place(html)
    from elman.apply.by_hand import by_hand as compute
    from elman.apply.by_hand import draw_weights
    from elman.apply.by_hand_task import Task

    given = {name: value for name, value in options.items() if value is not None}
    given |= _words(" ".join(part for part in sentence if part is not None), dictionary)
    task = Task(**given)
    import numpy as np

    seed, digits = SEED if seed is None else seed, DIGITS if digits is None else digits
    found = compute(task, draw_weights(task, np.random.default_rng(seed)))

    from elman.apply.by_hand_check import check
    from elman.draw.by_hand import disagreement

    checks = check(found)
    if html is not None:
        _write_page(found, checks, html, digits)
    if as_json:
        print_json({"seed": seed, **found.as_dict(), "checks": [one.as_dict() for one in checks]})
    elif html is None:
        _print(found, checks, digits)
    wrong = next((one for one in checks if not one.agrees), None)
    if wrong is not None:
        raise ElmanError(disagreement(wrong), hint="the fast path and the equations do not agree: please report it")


def _words(sentence: str, dictionary: str | None) -> dict[str, tuple[str, ...]]:
    """Return sentence and dictionary, as far as they were given."""
    from elman.apply.by_hand_task import MOST_WORDS
    from elman.cli.use import prompt_text

    if sentence == "-" and dictionary == "-":
        raise UsageError("standard input cannot be both the sentence and the dictionary", hint="give one of them")
    words = tuple(prompt_text(sentence).split())
    if dictionary is None:
        if sentence and not words:
            raise UsageError("the sentence has no word", hint="give two words or more")
        return {"sentence": words, "dictionary": tuple(dict.fromkeys(words))} if words else {}
    known = _dictionary(dictionary, MOST_WORDS)
    if not sentence:
        raise UsageError("a dictionary needs a sentence", hint=f"elman explain --by-hand '{' '.join(known)}'")
    return {"sentence": words, "dictionary": known}


def _dictionary(given: str, most: int) -> tuple[str, ...]:
    """Return words that are given as such, or those of a file; each once, in the order in which they come."""
    parts = given.split()
    if given != "-" and len(parts) > 1 and not Path(given).exists():
        return tuple(dict.fromkeys(parts))
    from elman.text.reading import TextSource

    try:
        words: dict[str, None] = {}
        for text in TextSource(given).lines():
            words |= dict.fromkeys(text.split())
            if len(words) > most:
                break
    except TextError as error:
        if "does not exist" in error.message:
            raise UsageError(
                f"--dictionary {given!r} is one word, and no file", hint=f"--dictionary '{given} and others', or a file"
            ) from error
        raise
    if len(words) > most:
        where = "standard input" if given == "-" else given
        raise UsageError(f"{where} has more than {most} words, too many for a whiteboard", hint=f"give at most {most}")
    return tuple(words)


def _check_place(path: str) -> None:
    """Refuse, before any work, a place that no page can be written to."""
    if not path:
        raise UsageError("the path to write to is empty", hint="give a file, or - for standard output")
    if path != "-" and Path(path).is_dir():
        raise OutputError(f"{path} is a folder", hint="give the path of a file in it")


def _write_page(found: Any, checks: Any, path: str, digits: int) -> None:  # noqa: ANN401 - ByHand and its checks
    from elman.draw.by_hand import counted, web_page
    from elman.files import write_text

    page = web_page(found, checks, digits=digits)
    if path == "-":
        sys.stdout.write(page)
        return
    write_text(Path(path), page)
    note(f"{path}: the whiteboard as a page, {counted(len(found.updates), 'update')}")


def _print(found: Any, checks: Any, digits: int) -> None:  # noqa: ANN401 - ByHand and its checks
    from rich.console import Console

    from elman.draw.by_hand import text
    from elman.draw.formulas import ASCII, UNICODE

    width = max(NARROW, min(WIDE, shutil.get_terminal_size((80, 24)).columns))
    screen = Console()
    colour = screen.is_terminal and screen.color_system is not None and not screen.no_color
    signs = UNICODE if can_print("".join(("═", *UNICODE.top, *UNICODE.replaced.values()))) else ASCII
    sys.stdout.write(text(found, checks, digits=digits, width=width, signs=signs, colour=colour))
