"""Which settings of a recipe are best for a text, within a budget of minutes: successive halving.

Many settings train for a short while, the best third of them three times as long, and so on; the last one takes a
third, a quarter, ... of the budget alone. Each training is whole in itself, from the first update to the end of its
schedule, so that what is compared are models as short trainings make them, in equal time.

Source: K. Jamieson and A. Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization"
(AISTATS 2016).
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.config import build, to_flat
from elman.errors import Interrupted, OutputError, TrainingError
from elman.files import make_folder, write_text
from elman.learn.ranges import Range, draw
from elman.learn.run import pace, train_model

KEEP = 3
"""One of so many goes on to the next round."""

TRIALS, BEST, MODEL = "trials.jsonl", "best.toml", "best"
FEWEST = 20
"""Updates that a trial makes at the least, however short its time is."""


@dataclass(frozen=True)
class Trial:
    """One training: which settings it drew, for how long it was to train, and what came of it.

    `valid_loss` is in nats a symbol, None where the training failed; `error` says why.
    """

    round: int
    number: int
    drawn: dict[str, Any]
    seconds: float
    updates: int
    valid_loss: float | None
    error: str | None = None

    @property
    def perplexity(self) -> float:
        """exp(valid_loss), infinite for a training that failed."""
        return math.inf if self.valid_loss is None or self.valid_loss > 700 else math.exp(self.valid_loss)


def rounds(trials: int) -> list[int]:
    """Return how many settings train in each round.

    >>> rounds(9), rounds(10), rounds(1)
    ([9, 3, 1], [10, 3, 1], [1])
    """
    counts = [trials]
    while counts[-1] >= KEEP:
        counts.append(counts[-1] // KEEP)
    return counts


def tune(
    train: str | Path,
    folder: Path,
    given: Mapping[str, Any],
    ranges: Mapping[str, Range],
    *,
    valid: str | Path | None = None,
    minutes: float,
    trials: int = 9,
    seed: int = 1,
    resume: bool = False,
    tell: Callable[[Trial], None] = lambda trial: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Trial]:
    """Find the best of some settings; return all trials, the best of the last round first.

    Leaves trials.jsonl, best.toml (a recipe) and the model of the best in `folder`. The settings as given are the first
    trial; the others are drawn from the ranges.

    Raises
    ------
    ElmanError
        for texts, settings and folders that cannot be, and where no trial came to an end.
    Interrupted
        with every finished trial kept, for `resume`.
    """
    plan = {"given": dict(given), "minutes": minutes, "trials": trials, "seed": seed}
    plan["ranges"] = {key: value.model_dump(mode="json") for key, value in sorted(ranges.items())}
    done = _begin(folder, json.loads(json.dumps(plan)), resume=resume)
    generator = np.random.default_rng(seed)
    settings = {number: draw(ranges, generator) if number else {} for number in range(trials)}
    counts, found = rounds(trials), list(done.values())
    going = list(range(trials))
    for place, count in enumerate(counts):
        seconds = 60 * minutes / len(counts) / count
        results = []
        for number in going[:count]:
            trial = done.get((place, number))
            if trial is None:
                last = place == len(counts) - 1
                trial = _train(train, valid, folder, given, settings[number], place, number, seconds, last, should_stop)
                _append(folder, asdict(trial))
                found.append(trial)
            tell(trial)
            results.append(trial)
        going = [trial.number for trial in sorted(results, key=lambda trial: (trial.perplexity, trial.number))]
    best = min((trial for trial in found if trial.round == len(counts) - 1), key=lambda trial: trial.perplexity)
    if best.valid_loss is None:
        raise TrainingError(f"no trial came to a good end; the last one: {best.error}", hint="give narrower ranges")
    write_text(folder / BEST, as_toml({**given, **best.drawn}, f"Tuned for {minutes:g} minutes, seed {seed}."))
    return sorted(found, key=lambda trial: (-trial.round, trial.perplexity, trial.number))


def _begin(folder: Path, plan: dict[str, Any], *, resume: bool) -> dict[tuple[int, int], Trial]:
    """Make the folder, or read from it which trials are done."""
    path = folder / TRIALS
    if path.exists() and not resume:
        raise OutputError(
            f"{folder} holds the trials of another search", hint="choose another --out, or add --resume to go on"
        )
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        try:
            first, *rest = (json.loads(line) for line in lines if line.endswith("}"))
            done = [Trial(**entry) for entry in rest]
        except (ValueError, TypeError) as error:
            raise OutputError(f"{path} is damaged: {error}", hint="remove it, and begin again") from error
        if first != plan:
            raise OutputError(f"the search in {folder} began with other settings", hint="choose another --out")
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in (first, *rest)))  # without a line that was cut
        return {(trial.round, trial.number): trial for trial in done}
    make_folder(folder)
    _append(folder, plan)
    return {}


def _append(folder: Path, entry: Mapping[str, Any]) -> None:
    path = folder / TRIALS
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _train(
    train: str | Path,
    valid: str | Path | None,
    folder: Path,
    given: Mapping[str, Any],
    drawn: Mapping[str, Any],
    place: int,
    number: int,
    seconds: float,
    last: bool,
    should_stop: Callable[[], bool],
) -> Trial:
    """Train one trial for about so many seconds of updates; one that fails is a result, not the end of the search."""
    start, updates = time.perf_counter(), 0
    model = folder / (MODEL if last else "trial")
    try:
        settings = build(given, drawn)
        a_second, an_epoch = pace(train, settings, valid=valid)
        updates = max(FEWEST, int(seconds * a_second))
        epochs = math.ceil(updates / an_epoch)
        more = {"learn.max_updates": updates, "learn.epochs": epochs, "learn.checkpoint_every": 0}
        card = train_model(
            train, model, build(given, drawn, more), valid=valid, overwrite=True, should_stop=should_stop
        ).card
        loss, error = card["result"]["valid_loss"], None
    except Interrupted as interrupt:
        shutil.rmtree(model, ignore_errors=True)
        hint = "the same command with --resume goes on from there"
        where = f"stopped in trial {number} of round {place + 1}; those before it are kept"
        raise Interrupted(where, hint=hint) from interrupt
    except TrainingError as failure:
        loss, error = None, failure.message
    if not last:
        shutil.rmtree(model, ignore_errors=True)
    return Trial(place, number, dict(drawn), round(time.perf_counter() - start, 1), updates, loss, error)


def as_toml(flat: Mapping[str, Any], about: str) -> str:
    """Write settings as a recipe.

    >>> print(as_toml({"learn.alpha": 0.5, "network.tied": True, "learn.regime": "running"}, "Mine."), end="")
    about = "Mine."
    <BLANKLINE>
    [learn]
    alpha = 0.5
    regime = "running"
    <BLANKLINE>
    [network]
    tied = true
    """
    known = to_flat(build(flat))
    sections: dict[str, list[str]] = {}
    for key in sorted(flat):
        section, name = key.split(".", 1)
        if known[key] is not None:  # TOML has no word for what is unset
            sections.setdefault(section, []).append(f"{name} = {json.dumps(known[key])}")
    blocks = [f"about = {json.dumps(about)}", *(f"[{name}]\n" + "\n".join(rows) for name, rows in sections.items())]
    return "\n\n".join(blocks) + "\n"
