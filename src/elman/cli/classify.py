"""`elman classify`: a label for a whole sequence, trained, evaluated beside simpler nets, predicted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Device, Json, Threads, choose, layered, note, print_json, print_json_line, setting
from elman.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from elman.apply.classify import Comparison, Score
    from elman.network.classifier_folder import ClassifierModel

app = typer.Typer(
    name="classify",
    help="Many symbols in, one label out: train, evaluate, predict, validate.",
    no_args_is_help=False,
    rich_markup_mode=None,
)

NETS = ("recurrent", "feedforward", "linear", "feedforward-places", "linear-places")
POOLS = ("last", "mean", "places")
BOTH = ("forward", "both")
NAMES = {
    "recurrent": "recurrent net",
    "feedforward": "feedforward net, bag of n-grams",
    "linear": "linear softmax, bag of n-grams",
    "feedforward_places": "feedforward net, n-grams at places",
    "linear_places": "linear softmax, n-grams at places",
}
SIMPLEST = ("linear", "linear_places", "feedforward", "feedforward_places")
SHOWN_LABELS = 20
"""Labels up to which the confusion matrix is printed; JSON always holds it."""

ClassifierFolder = Annotated[str, typer.Argument(metavar="MODEL", help="the folder of a classifier")]
Header = Annotated[bool, typer.Option("--header", help="the first line names the columns: skip it")]


Pool = Annotated[
    str,
    typer.Option(
        metavar="last|mean|places",
        help="the states that are judged: the last, the mean of all, or each at its place (sequences of one length)",
    ),
]
Direction = Annotated[
    str, typer.Option(metavar="forward|both", help="both: a second recurrent net reads from the end to the beginning")
]
Strands = Annotated[
    str, typer.Option(metavar="forward|both", help="--unit dna: both reads reverse complements too, and takes the mean")
]
MemberCount = Annotated[
    int, typer.Option(min=1, max=1000, help="so many nets, each with a seed of its own, answer together")
]
Ngrams = Annotated[
    int | None,
    typer.Option(min=1, help="bags hold n-grams up to this order; unset, 2 (words, BPE) or 4 (letters, bytes, bases)"),
]
Places = Annotated[int, typer.Option(min=0, help="two more nets, on n-grams up to this order at their places; 0: none")]
Features = Annotated[int, typer.Option(min=1, help="bags hold so many n-grams at the most")]


@app.callback(invoke_without_command=True)
def classify(context: typer.Context) -> None:
    """Many symbols in, one label out: train, evaluate, predict, validate."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def train(
    context: typer.Context,
    text: Annotated[
        str, typer.Argument(metavar="TRAIN", help="label<TAB>sequence lines, plain or gzip; - is standard input")
    ],
    out: Annotated[str, typer.Option(help="the folder to leave the model in")],
    valid: Annotated[
        str | None, typer.Option(help="such lines to validate on; unset, a share of each label of TRAIN is held out")
    ] = None,
    valid_share: Annotated[float, typer.Option(help="without --valid: the share that is held out")] = 0.1,
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
    vocab_size: Annotated[int | None, setting("vocab_size")] = None,
    min_count: Annotated[int | None, setting("min_count")] = None,
    lowercase: Annotated[bool | None, setting("lowercase")] = None,
    cell: Annotated[str | None, setting("cell", metavar="NAME|module:Class")] = None,
    hidden: Annotated[int | None, setting("hidden")] = None,
    layers: Annotated[int | None, setting("layers")] = None,
    activation: Annotated[str | None, setting("activation", metavar="sigmoid|tanh|relu")] = None,
    dropout: Annotated[float | None, setting("dropout")] = None,
    batch: Annotated[int | None, setting("batch")] = None,
    optimizer: Annotated[str | None, setting("optimizer", metavar="sgd|adam|rmsprop")] = None,
    alpha: Annotated[float | None, setting("alpha")] = None,
    beta: Annotated[float | None, setting("beta")] = None,
    clip: Annotated[float | None, setting("clip")] = None,
    schedule: Annotated[str | None, setting("schedule", metavar="constant|halve|plateau|linear|cosine")] = None,
    epochs: Annotated[int | None, setting("epochs")] = None,
    patience: Annotated[int | None, setting("patience")] = None,
    seed: Annotated[int | None, setting("seed")] = None,
    threads: Annotated[int | None, setting("threads")] = None,
    device: Annotated[str | None, setting("device", metavar="cpu|cuda")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the model that --out holds")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="show no progress")] = False,
    as_json: Json = False,
) -> None:
    """Train a recurrent net on label<TAB>sequence lines, and beside it nets that know no order, to compare."""
    choose("pool", pool, POOLS)
    choose("direction", direction, BOTH)
    choose("strands", strands, BOTH)
    flags = {
        "unit": unit,
        "vocab_size": vocab_size,
        "min_count": min_count,
        "lowercase": lowercase,
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "activation": activation,
        "dropout": dropout,
        "batch": batch,
        "optimizer": optimizer,
        "alpha": alpha,
        "beta": beta,
        "clip": clip,
        "schedule": schedule,
        "epochs": epochs,
        "patience": patience,
        "seed": seed,
        "threads": threads,
        "device": device,
    }
    settings, given = layered(recipe, config, pairs, flags)
    if not out:
        raise UsageError("--out is empty", hint="give the folder to leave the model in")
    if ":" in settings.network.cell:  # named by the user's own hand, so it may be imported
        from elman.network.cells import find_cell

        find_cell(settings.network.cell, allowed=[settings.network.cell])
    from elman.apply.classify import compare_examples
    from elman.learn.classify import train_classifier
    from elman.learn.several import Plan

    try:
        model, held_out = train_classifier(
            text,
            Path(out),
            given,
            valid=valid,
            plan=Plan(pool, ngrams, features, valid_share, direction, strands, places, members),
            header=header,
            overwrite=overwrite,
            command=shlex.join(["elman", *context.obj]),
            tell=_silent if quiet else _tell,
            note=note,
        )
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped before the end: nothing was written to {out}") from error
    comparison = compare_examples(model, held_out)
    what = "validation, which chose the epoch of each net: evaluate on lines that were not used for a fair number"
    if as_json:
        result = {name: _short(part) for name, part in model.card["result"].items()}
        print_json({"model": out, "result": result, "valid": comparison.as_dict()})
        return
    note(f"{out}: the numbers below are of {what}")
    _show(comparison)


def _short(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "history"}


def _silent(name: str, entry: Mapping[str, Any]) -> None:
    """Say nothing of an epoch."""


def _tell(name: str, entry: Mapping[str, Any]) -> None:
    """Say how an epoch went."""
    note(
        f"{name} net, epoch {entry['epoch']}/{entry['epochs']}: alpha {entry['alpha']:.4g}, training loss "
        f"{entry['train_loss']:.4f}, validation loss {entry['valid_loss']:.4f} nats, accuracy "
        f"{entry['valid_accuracy']:.4f}{' (best so far)' if entry['best'] else ''}, {entry['seconds']:.0f} s"
    )


@app.command()
def evaluate(
    model: ClassifierFolder,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="label<TAB>sequence lines, plain or gzip; - is standard input")
    ],
    header: Header = False,
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say how many labels are right, of each net, with 95 % intervals; and what the recurrent net mistakes for what."""
    loaded = _load(model, device, threads)
    from elman.apply.classify import evaluate as run

    comparison = run(loaded, text, header=header)
    if as_json:
        print_json(comparison.as_dict())
    else:
        _show(comparison)


@app.command()
def predict(
    model: ClassifierFolder,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="a sequence a line, plain or gzip; - is standard input")
    ] = "-",
    labelled: Annotated[
        bool, typer.Option("--labelled", help="lines are label<TAB>sequence; the label is not looked at")
    ] = False,
    header: Header = False,
    net: Annotated[str, typer.Option(metavar="|".join(NETS), help="which net answers")] = "recurrent",
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Give the likeliest label of each sequence; `label<TAB>probability<TAB>sequence`."""
    choose("net", net, NETS)
    loaded = _load(model, device, threads)
    from elman.apply.classify import predict as run

    for answer in run(loaded, text, labelled=labelled, header=header, net=net):
        if as_json:
            print_json_line({"label": answer.label, "probabilities": answer.probabilities, "sequence": answer.sequence})
        else:
            print(f"{answer.label}\t{answer.probability:.4f}\t{answer.sequence}")


def _load(folder: str, device: str, threads: int | None) -> ClassifierModel:
    """Read a classifier and set the number of threads."""
    import torch

    from elman.network.classifier_folder import load_classifier
    from elman.network.devices import check_device, default_threads

    check_device(device)
    torch.set_num_threads(threads or default_threads())
    return load_classifier(folder, device=device)


def _show(comparison: Comparison) -> None:
    """Print the scores beside each other, and the confusion matrix."""
    names = NAMES | {"majority": f"always {comparison.majority}"}
    print(f"{comparison.name}: {comparison.examples} sequences, {len(comparison.labels)} labels")
    width = max(len(names[name]) for name in comparison.scores)
    print(f"{'':{width}}  accuracy  95 % interval")
    for name, score in comparison.scores.items():
        low, high = score.interval
        print(f"{names[name]:{width}}  {score.accuracy:8.4f}  {low:.4f} - {high:.4f}")
    if len(comparison.labels) <= SHOWN_LABELS:
        show_confusion(comparison.labels, comparison.confusion.tolist(), "the recurrent net says")
    else:
        note(f"the confusion matrix of {len(comparison.labels)} labels is too large to print: --json holds it")
    if rival := _not_worse(comparison.scores):
        note(f"The recurrent net is not better than the {rival}, here: the simpler one is the one to use.")


def _not_worse(scores: Mapping[str, Score]) -> str | None:
    """Return the simplest net that gets as many right as the recurrent one, if there is one."""
    simpler = {"majority": "label that is always the same"} | {name: NAMES[name] for name in SIMPLEST}
    there = {name: text for name, text in simpler.items() if name in scores}
    return next((text for name, text in there.items() if scores[name].right >= scores["recurrent"].right), None)


def show_confusion(labels: Sequence[str], confusion: Sequence[Sequence[int]], who: str) -> None:
    """Print rows of what is so, columns of what somebody says."""
    cells = [["", *labels]]
    for label, row in zip(labels, confusion, strict=True):
        cells.append([label, *map(str, row)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"rows: what is so; columns: what {who}")
    for line in cells:
        print(
            f"{line[0]:{widths[0]}}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(line[1:], widths[1:], strict=True))
        )
