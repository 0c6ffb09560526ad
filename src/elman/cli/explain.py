"""`elman explain`: how a network comes to what it says."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from elman.cli import by_hand as whiteboard
from elman.cli.common import Json
from elman.errors import UsageError


def explain(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="the folder of a model")] = None,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="a sentence")] = None,
    by_hand: whiteboard.ByHand = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="write it as a page of HTML; - is standard output")
    ] = None,
    as_json: Json = False,
    dictionary: whiteboard.Dictionary = None,
    learn: whiteboard.Learn = None,
    hidden: whiteboard.Hidden = None,
    activation: whiteboard.ActivationName = None,
    alpha: whiteboard.Alpha = None,
    beta: whiteboard.Beta = None,
    bptt: whiteboard.Bptt = None,
    steps: whiteboard.Steps = None,
    seed: whiteboard.Seed = None,
    digits: whiteboard.Digits = None,
) -> None:
    """Show how a network comes to what it says; --by-hand shows on a tiny one how it learns."""
    options: dict[str, Any] = {
        "dictionary": dictionary,
        "learn": learn,
        "hidden": hidden,
        "activation": activation,
        "alpha": alpha,
        "beta": beta,
        "bptt": bptt,
        "steps": steps,
        "seed": seed,
        "digits": digits,
    }
    if by_hand:
        whiteboard.by_hand(model, text, html=html, as_json=as_json, **options)
        return
    whiteboard.refuse({f"--{name}": value for name, value in options.items()})
    raise UsageError(
        "elman explain does not take a model yet", hint="elman explain --by-hand shows how a network learns"
    )
