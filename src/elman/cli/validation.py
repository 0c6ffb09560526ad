"""`elman classify validate`: how good a classifier is on sequences that it has not seen, by cross-validation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.classify import (
    BOTH,
    NAMES,
    NETS,
    POOLS,
    SHOWN_LABELS,
    Direction,
    Features,
    Header,
    MemberCount,
    Ngrams,
    Places,
    Pool,
    Strands,
    show_confusion,
)
from elman.cli.common import Json, choose, layered, note, print_json, setting
from elman.config import parse_pairs
from elman.errors import UsageError

if TYPE_CHECKING:
    from elman.apply.validate import Fold, Trial, Validation
    from elman.learn.several import Plan

LEAVE_ONE_OUT = "leave-one-out"
WORDS = {"pool": POOLS, "direction": BOTH, "strands": BOTH}
NUMBERS = {"places": 0, "members": 1, "features": 1}
"""What a --try may change besides settings: words, and numbers with the least that they can be."""


def validate(
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="label<TAB>sequence lines, plain or gzip; - is standard input")
    ],
    folds: Annotated[
        str, typer.Option(metavar=f"NUMBER|{LEAVE_ONE_OUT}", help="how many test parts; or each line is one")
    ] = "10",
    inner_folds: Annotated[
        int, typer.Option(min=2, help="folds of what a test part leaves, on which settings are chosen")
    ] = 3,
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="'KEY=VALUE ...'",
            help="settings that may be chosen, over the others: any setting, flag of this command, or net=NAME,..., "
            "whom they are for; give several",
        ),
    ] = None,
    net: Annotated[
        str, typer.Option(metavar="auto|" + "|".join(NETS), help="the net to judge; auto: chosen on inner folds")
    ] = "auto",
    header: Header = False,
    pool: Pool = "last",
    direction: Direction = "forward",
    strands: Strands = "forward",
    members: MemberCount = 1,
    ngrams: Ngrams = None,
    places: Places = 0,
    features: Features = 100_000,
    recipe: Annotated[str | None, typer.Option(metavar="NAME|FILE.toml", help="settings to begin with")] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE.toml", help="settings over those of the recipe")] = None,
    pairs: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting, as `elman settings` lists them")
    ] = None,
    unit: Annotated[str | None, setting("unit", metavar="word|char|byte|bpe|dna")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the folds, and of what nets draw")] = 0,
    threads: Annotated[int | None, setting("threads")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="show no progress")] = False,
    as_json: Json = False,
) -> None:
    """Judge each sequence by nets that did not see it; settings are chosen on what they saw, by inner folds."""
    for name, value in (("pool", pool), ("direction", direction), ("strands", strands)):
        choose(name, value, WORDS[name])
    choose("net", net, ("auto", *NETS))
    _, given = layered(recipe, config, pairs, {"unit": unit, "threads": threads, "seed": seed})
    count = _count(folds)

    from elman.apply.validate import validate as run
    from elman.learn.classify import note_others
    from elman.learn.several import Plan
    from elman.text.bases import ambiguous
    from elman.text.labelled import read_labelled

    plan = Plan(pool, ngrams, features, direction=direction, strands=strands, places=places, members=members)
    trials = [_trial(words, given, plan) for words in tries or [""]]
    units = {trial.settings.text.unit for trial in trials}
    data = read_labelled(text, header=header, raw=units == {"byte"})
    if "dna" in units:
        note_others(ambiguous(data), data.name, note)
    judged = None if net == "auto" else net.replace("-", "_")
    tell = _silent if quiet else _tell
    found = run(data, trials, folds=count, inner=inner_folds, seed=seed, net=judged, tell=tell)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)


def _count(folds: str) -> int | None:
    """Return the number of folds, None for leave-one-out."""
    if folds == LEAVE_ONE_OUT:
        return None
    if not folds.isdecimal() or int(folds) < 2:
        raise UsageError(f"--folds {folds!r} cannot be", hint=f"give 2 or more, or {LEAVE_ONE_OUT}")
    return int(folds)


def _trial(words: str, given: dict[str, Any], plan: Plan) -> Trial:
    """Return the settings of a --try: `key=value` words over what the other flags say."""
    from elman.apply.validate import Trial
    from elman.learn.classify import classifier_settings

    nets, pairs = tuple(name.replace("-", "_") for name in NETS), []
    for word in words.split():
        key, _, value = word.partition("=")
        if key == "net":
            for name in value.split(","):
                choose("try net", name, NETS)
            nets = tuple(name.replace("-", "_") for name in value.split(","))
        elif key in WORDS:
            choose(f"try {key}", value, WORDS[key])
            plan = replace(plan, **{key: value})  # type: ignore[arg-type]
        elif key in NUMBERS:
            plan = replace(plan, **{key: _number(key, value)})  # type: ignore[arg-type]
        else:
            pairs.append(word)
    settings, left_out = classifier_settings(given | parse_pairs(pairs))
    if left_out:
        note(f"of no meaning to a classifier, and left out: {', '.join(left_out)}")
    return Trial(words, settings, plan, nets)


def _number(key: str, value: str) -> int:
    if not value.isdecimal() or int(value) < NUMBERS[key]:
        raise UsageError(f"--try {key}={value} cannot be", hint=f"give a number, {NUMBERS[key]} or more")
    return int(value)


def _silent(number: int, count: int, fold: Fold) -> None:
    """Say nothing of a fold."""


def _tell(number: int, count: int, fold: Fold) -> None:
    """Say what was chosen for a fold."""
    chosen = "; ".join(_chosen(name, fold) for name in fold.choices)
    note(f"fold {number}/{count}, {len(fold.test)} to judge: {NAMES[fold.net]} ({chosen})")


def _chosen(name: str, fold: Fold) -> str:
    choice = fold.choices[name]
    penalty = "" if choice.penalty is None else f", penalty {choice.penalty:g}"
    loss = "" if choice.loss is None else f", inner loss {choice.loss:.4f}"
    return f"{name} by try {choice.trial + 1}{penalty}{loss}"


def _show(found: Validation) -> None:
    """Print the scores beside each other, what was chosen how often, and the confusion matrix."""
    tries = f"{len(found.trials)} tr{'y' if len(found.trials) == 1 else 'ies'}"
    parts = (
        f"{int(found.confusion.sum())} sequences",
        f"{len(found.labels)} labels",
        f"{len(found.folds)} folds",
        tries,
    )
    print(f"{found.name}: {', '.join(parts)}")
    names = {"chosen": "chosen on inner folds", **NAMES, "majority": "label seen most"}
    width = max(len(names[name]) for name in found.scores)
    print(f"{'':{width}}  right  accuracy  95 % interval" + ("    without copies" if found.apart else ""))
    for name, score in found.scores.items():
        low, high = score.interval
        apart = f"    {found.apart[name].accuracy:.4f}" if found.apart else ""
        print(f"{names[name]:{width}}  {score.right:5}  {score.accuracy:8.4f}  {low:.4f} - {high:.4f}{apart}")
    if found.apart:
        copies = sum(int(fold.copies.sum()) for fold in found.folds)
        note(f"{copies} sequences, when judged, stand among those learnt from too; the last column leaves them out")
    if len(found.labels) <= SHOWN_LABELS:
        show_confusion(found.labels, found.confusion.tolist(), "the net that was chosen says")
