"""`elman tune`: which settings are best for a text, within some minutes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Json, note, number, print_json
from elman.cli.train import stop_on_interrupt
from elman.config import parse_pairs, read_recipe, read_tuning

if TYPE_CHECKING:
    from elman.learn.tune import Trial


def tune(
    text: Annotated[str, typer.Argument(metavar="TRAIN", help="the training text, plain or gzip")],
    recipe: Annotated[
        str,
        typer.Option(metavar="NAME|FILE.toml", help="settings to begin with; its [tune] says what may change"),
    ],
    out: Annotated[str, typer.Option(help="the folder for the trials, the best settings and the best model")],
    minutes: Annotated[float, typer.Option(min=0.01, help="how long all trials may train together")],
    valid: Annotated[
        str | None, typer.Option(help="a text to validate on; unset, the last twentieth of TRAIN is held out")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="settings to begin with; a third of them goes on")] = 9,
    pairs: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="settings that stay as given here")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of what is drawn")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the search in --out")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="show no progress")] = False,
    as_json: Json = False,
) -> None:
    """Find good settings for a text: short trainings of many, longer ones of the best, within some minutes."""
    fixed = parse_pairs(pairs or [])
    given = read_recipe(recipe) | fixed
    table = read_tuning(recipe)

    from elman.learn.ranges import read_ranges
    from elman.learn.tune import BEST, MODEL
    from elman.learn.tune import tune as run

    ranges = {key: value for key, value in read_ranges(table, recipe, given).items() if key not in fixed}

    def tell(trial: Trial) -> None:
        if not quiet:
            note(f"round {trial.round + 1}, trial {trial.number}: {_outcome(trial)}; {_drawn(trial)}")

    with stop_on_interrupt() as interrupted:
        found = run(
            text,
            Path(out),
            given,
            ranges,
            valid=valid,
            minutes=minutes,
            trials=trials,
            seed=seed,
            resume=resume,
            tell=tell,
            should_stop=interrupted,
        )
    if as_json:
        print_json({"best": _facts(found[0]), "recipe": str(Path(out) / BEST), "trials": [_facts(t) for t in found]})
        return
    show(found)
    note(f"The best settings are {Path(out) / BEST}, its short training {Path(out) / MODEL}.")
    note(f"Try next: elman train {shlex.quote(text)} --recipe {shlex.quote(str(Path(out) / BEST))} --out ...")


def _facts(trial: Trial) -> dict[str, Any]:
    return {**vars(trial), "round": trial.round + 1, "valid_perplexity": trial.perplexity}


def _outcome(trial: Trial) -> str:
    return trial.error or f"perplexity {number(trial.perplexity)} after {trial.updates} updates, {trial.seconds:.0f} s"


def _drawn(trial: Trial) -> str:
    pairs = ", ".join(f"{key.split('.')[1]}={value}" for key, value in sorted(trial.drawn.items()))
    return pairs or "as the recipe says"


def show(found: list[Trial]) -> None:
    """Print all trials, those of the last round first."""
    print(f"{'round':>5} {'trial':>5} {'perplexity':>10} {'updates':>8} {'seconds':>8}  settings")
    for trial in found:
        perplexity = "-" if trial.valid_loss is None else number(trial.perplexity)
        print(
            f"{trial.round + 1:>5} {trial.number:>5} {perplexity:>10} {trial.updates:>8} {trial.seconds:>8.0f}  "
            f"{_drawn(trial)}"
        )
