"""`elman explain`: a sentence under a model, taken apart."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli import by_hand as whiteboard
from elman.cli.common import Device, Json, Threads, can_print, load, note, print_json
from elman.cli.use import prompt_text
from elman.draw.unrolled_words import (
    MINUS,
    TIMES,
    aim,
    bits,
    equation,
    letters,
    plain,
    scale_of,
    short,
    signed,
    strongest,
    training,
)
from elman.errors import UsageError
from elman.files import write_text

if TYPE_CHECKING:
    from elman.apply.attributions import Errors, Why
    from elman.apply.explain import Explanation

BAR = 24
"""Characters of the longest bar."""

_KEYS = str.maketrans({TIMES: "x", MINUS: "-", "“": '"', "”": '"'})


def explain(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="the folder of a model")] = None,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="the words to explain; - reads them from standard input")
    ] = None,
    units: Annotated[
        int | None, typer.Option(min=1, help="units of each state to name, the most active ones  [default: 8]")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="next symbols to name  [default: 5]")] = None,
    at: Annotated[
        int | None,
        typer.Option(min=1, help="the step whose error to send back; unset, the last with a known next word"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="the right answer at that step; unset, the next word, or the likeliest one")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="how many steps to show  [default: 40]; by hand: how many updates  [default: 3]"),
    ] = None,
    start: Annotated[
        int | None, typer.Option("--from", min=1, help="the first step to show; unset, the last ones")
    ] = None,
    back: Annotated[
        int | None, typer.Option(min=1, help="steps that errors and contributions go back at the most  [default: 40]")
    ] = None,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="write it as a page of HTML; - is standard output")
    ] = None,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="write a figure: .png, .svg, .pdf; pip install 'elman[plot]'")
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    by_hand: whiteboard.ByHand = False,
    dictionary: whiteboard.Dictionary = None,
    learn: whiteboard.Learn = None,
    hidden: whiteboard.Hidden = None,
    activation: whiteboard.ActivationName = None,
    alpha: whiteboard.Alpha = None,
    beta: whiteboard.Beta = None,
    bptt: whiteboard.Bptt = None,
    seed: whiteboard.Seed = None,
    digits: whiteboard.Digits = None,
    as_json: Json = False,
) -> None:
    """Take a model apart at work on a sentence, or, with --by-hand, show on a tiny one how it learns."""
    for_model = {"units": units, "top": top, "at": at, "target": target, "from": start, "back": back, "plot": plot}
    for_hand: dict[str, Any] = {
        "dictionary": dictionary,
        "learn": learn,
        "hidden": hidden,
        "activation": activation,
        "alpha": alpha,
        "beta": beta,
        "bptt": bptt,
        "seed": seed,
        "digits": digits,
    }
    if by_hand:
        _refuse({**for_model, "threads": threads}, "goes with a MODEL, not with --by-hand")
        whiteboard.by_hand(model, text, html=html, as_json=as_json, steps=steps, **for_hand)
        return
    _refuse(for_hand, "goes with --by-hand only")
    if model is None or text is None:
        missing = "MODEL" if model is None else "TEXT"
        raise UsageError(f"missing argument {missing}", hint='elman explain MODEL "Can you pick up milk at the"')
    if html == "-" and as_json:
        raise UsageError("--html - and --json both answer on standard output", hint="give --html a file")
    _check_files(html, plot)
    words = prompt_text(text)
    loaded = load(model, device, threads)
    from elman.apply.explain import explain as run

    sizes = {"units": units, "top": top, "steps": steps, "back": back}
    found = run(
        loaded, words, at=at, target=target, start=start, **{key: n for key, n in sizes.items() if n is not None}
    )
    for said in found.notes:
        note(said)
    _write(found, html, plot)
    if as_json:
        print_json(found.as_dict())
    elif html is None and plot is None:
        print_explanation(found)


def _refuse(given: Mapping[str, object], why: str) -> None:
    """Raise `UsageError` for the first flag, by name, that was given; None is not given."""
    wrong = next((name for name, value in given.items() if value is not None), None)
    if wrong is not None:
        hint = "elman explain --by-hand 'the cat sat'" if "only" in why else "leave it out"
        raise UsageError(f"--{wrong} {why}", hint=hint)


def _check_files(html: str | None, plot: str | None) -> None:
    """Refuse what cannot be written, before anything is computed."""
    for name, path in (("--html", html), ("--plot", plot)):
        if path is not None and (path == "" or Path(path).is_dir()):
            wrong = f"{path} is a folder" if path else "the path is empty"
            raise UsageError(f"{name}: {wrong}", hint="give the path of a file")
    if plot is not None:
        from elman.draw.figures import figure_format, pyplot

        figure_format(plot)
        pyplot()


def _write(found: Explanation, html: str | None, plot: str | None) -> None:
    """Write the page and the figure, where they are asked for."""
    if html is not None:
        from elman.draw.unrolled import unrolled_page

        if html == "-":
            sys.stdout.write(unrolled_page(found))
        else:
            write_text(Path(html), unrolled_page(found))
            note(f"the page is in {html}")
    if plot is not None:
        from elman.draw.figures import save
        from elman.draw.unrolled_figure import unrolled_figure

        save(unrolled_figure(found), plot)
        note(f"the figure is in {plot}")


def print_explanation(found: Explanation) -> None:
    """Print an explanation for a terminal: the model, every step, the error sent back, and which word mattered."""
    print(_typed(equation(found.summary)))
    shapes = letters(found.summary)
    print(
        _typed(
            "; ".join(f"{letter}: {shapes[letter]}" for letter in "UWV")
            + f"; shared by all steps; {training(found.summary)}"
        )
    )
    print()
    _print_steps(found)
    print()
    _print_errors(found)
    print()
    _print_words(found)


def _typed(text: str) -> str:
    """Return a text with the signs that a keyboard has, which every terminal can show."""
    return text.translate(_KEYS)


def _print_steps(found: Explanation) -> None:
    names = [short(step.symbol, 16) for step in found.steps]
    comes = [short(step.came, 16) if step.came is not None else "" for step in found.steps]
    wide, wider = max(4, *map(len, names)), max(9, *map(len, comes))
    print(f"{'t':>4}  {'w(t)':<{wide}}  {'came next':<{wider}}  {'surprisal':>10}  likeliest next, y(t)")
    for step, name, came in zip(found.steps, names, comes, strict=True):
        surprise = bits(step) or ("unknown" if step.came is not None else "")
        likeliest = "  ".join(f"{short(token, 16)} {probability:.3f}" for token, probability in step.next)
        print(f"{step.t:>4}  {name:<{wide}}  {came:<{wider}}  {surprise:>10}  {likeliest}")


def _print_errors(found: Explanation) -> None:
    why, layers = found.why_at, found.summary.layers
    print(_typed(f"The error of step {why.t} ({aim(why)}; E = {why.log_prob:.3f}), sent back k steps"))
    scale = scale_of(norm for errors in why.errors for norm in errors.norms)
    for errors in why.errors:
        name = errors.symbol if layers == 1 else f"{errors.symbol}, layer {errors.layer}"
        print(f"{'k':>4}  {'w(t-k)':<16}  {'norm of ' + name:<18}  factor")
        _print_norms(why, errors, [scale.share(norm) for norm in errors.norms])
        if errors.bound is not None:
            print(f"      a factor is at most max f' ||W|| = {plain(errors.bound)}")


def _print_norms(why: Why, errors: Errors, shares: list[float]) -> None:
    factors = [None, *errors.factors]
    block = bar_of()
    for k, (norm, factor, share) in enumerate(zip(errors.norms, factors, shares, strict=True)):
        word = short(why.words[-1 - k].symbol, 16)
        by = "" if factor is None else plain(factor)
        print(f"{k:>4}  {word:<16}  {plain(norm):<18}  {by:<9}  {block * round(BAR * share)}".rstrip())


def bar_of() -> str:
    """Return what bars are made of: a block, where stdout can say one."""
    return "█" if can_print("█") else "#"


def _print_words(found: Explanation) -> None:
    print("Which words mattered most, leaving each out: what it added to the log-probability of what is predicted")
    for why in found.why:
        mark = {"text": "", "likeliest": " (likeliest)", "asked": " (asked for)"}[why.origin]
        words = "  ".join(f"{short(word, 16)} {_typed(signed(value))}" for word, value in strongest(why, 5))
        print(f"{why.t:>4}  {short(why.target, 16) + mark:<28}  {words or '-'}")
