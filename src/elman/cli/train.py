"""`elman train`: from a text to a model."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Json, layered, note, number, print_json, setting
from elman.cli.inputs import input_settings
from elman.config import Settings
from elman.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from elman.learn.progress import Listener


def train(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TRAIN", help="the training text, plain or gzip; - is standard input")],
    out: Annotated[str, typer.Option(help="the folder to leave the model in")],
    valid: Annotated[
        str | None, typer.Option(help="a text to validate on; unset, the last twentieth of TRAIN is held out")
    ] = None,
    holdout: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE|NAME|NAME:START-END",
            help="unit dna: what to hold out where no --valid is given: the last share (0.1), a record, a region",
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(metavar="NAME|FILE.toml", help="settings to begin with")] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE.toml", help="settings over those of the recipe")] = None,
    pairs: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting, as `elman settings` lists them")
    ] = None,
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="one-hot|ngram:N,..|vectors:FILE|bert:DIR|bert-static:DIR",
            help="how w(t) comes in: rows of U, of the last N too, or begun from FILE or a BERT; or a BERT reads along",
        ),
    ] = None,
    unit: Annotated[str | None, setting("unit", metavar="word|char|byte|bpe|dna")] = None,
    vocab_size: Annotated[int | None, setting("vocab_size")] = None,
    min_count: Annotated[int | None, setting("min_count")] = None,
    lowercase: Annotated[bool | None, setting("lowercase")] = None,
    split_punctuation: Annotated[bool | None, setting("split_punctuation")] = None,
    vocabulary: Annotated[str | None, setting("vocabulary", metavar="FILE")] = None,
    cell: Annotated[str | None, setting("cell", metavar="NAME|module:Class")] = None,
    hidden: Annotated[int | None, setting("hidden")] = None,
    layers: Annotated[int | None, setting("layers")] = None,
    activation: Annotated[str | None, setting("activation", metavar="sigmoid|tanh|relu")] = None,
    bias: Annotated[bool | None, setting("bias")] = None,
    tied: Annotated[bool | None, setting("tied")] = None,
    dropout: Annotated[float | None, setting("dropout")] = None,
    regime: Annotated[str | None, setting("regime", metavar="running|sentences|online")] = None,
    batch: Annotated[int | None, setting("batch")] = None,
    bptt: Annotated[int | None, setting("bptt")] = None,
    bptt_block: Annotated[int | None, setting("bptt_block")] = None,
    optimizer: Annotated[str | None, setting("optimizer", metavar="sgd|nt-asgd|adam|rmsprop")] = None,
    alpha: Annotated[float | None, setting("alpha")] = None,
    beta: Annotated[float | None, setting("beta")] = None,
    clip: Annotated[float | None, setting("clip")] = None,
    schedule: Annotated[str | None, setting("schedule", metavar="constant|halve|plateau|linear|cosine")] = None,
    warmup: Annotated[float | None, setting("warmup")] = None,
    average: Annotated[float | None, setting("average")] = None,
    epochs: Annotated[int | None, setting("epochs")] = None,
    precision: Annotated[str | None, setting("precision", metavar="auto|fp32|bf16")] = None,
    seed: Annotated[int | None, setting("seed")] = None,
    threads: Annotated[int | None, setting("threads")] = None,
    device: Annotated[str | None, setting("device", metavar="cpu|cuda")] = None,
    checkpoint_every: Annotated[int | None, setting("checkpoint_every")] = None,
    log: Annotated[list[str] | None, setting("log", metavar="tensorboard|trackio")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint in --out, bit for bit")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the model that --out holds")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="show no progress")] = False,
    as_json: Json = False,
) -> None:
    """Train a recurrent language model on a text, and leave it in a folder."""
    flags = {
        "unit": unit,
        "vocab_size": vocab_size,
        "min_count": min_count,
        "lowercase": lowercase,
        "split_punctuation": split_punctuation,
        "vocabulary": vocabulary,
        "cell": cell,
        "hidden": hidden,
        "layers": layers,
        "activation": activation,
        "bias": bias,
        "tied": tied,
        "dropout": dropout,
        "regime": regime,
        "batch": batch,
        "bptt": bptt,
        "bptt_block": bptt_block,
        "optimizer": optimizer,
        "alpha": alpha,
        "beta": beta,
        "clip": clip,
        "schedule": schedule,
        "warmup": warmup,
        "average": average,
        "epochs": epochs,
        "precision": precision,
        "seed": seed,
        "threads": threads,
        "device": device,
        "checkpoint_every": checkpoint_every,
        "log": log or None,
    }
    if unit == "dna" and recipe is None and config is None:
        recipe = "dna"  # what is a default for words, one sigmoid layer and plain SGD, learns little of bases
    settings, given = layered(recipe, config, pairs, flags, more=input_settings(input))
    if not out:
        raise UsageError("--out is empty", hint="give the folder to leave the model in")

    if ":" in settings.network.cell:  # named by the user's own hand, so it may be imported
        from elman.network.cells import find_cell

        find_cell(settings.network.cell, allowed=[settings.network.cell])
    dna = settings.text.unit == "dna"
    if holdout is not None and not dna:
        raise UsageError("--holdout is for unit dna", hint="give a text to validate on with --valid")
    from elman.cli.progress import progress_of

    command = ["elman", *context.obj]
    where = {"valid": valid, "given": given, "resume": resume, "overwrite": overwrite, "command": shlex.join(command)}
    kept = "the passes that are finished" if dna else "all of it"
    with progress_of(settings, quiet=quiet) as listener, stop_on_interrupt(kept=kept) as interrupted:
        try:
            card = (
                _train_dna(text, out, settings, listener, interrupted, holdout=holdout, **where)
                if dna
                else (_train(text, out, settings, listener, interrupted, **where))
            )
        except Interrupted as error:
            again = [word for word in command if word not in ("--resume", "--overwrite")]
            onward = f"{shlex.join([*again, '--resume'])} goes on from there"
            hint = onward if error.hint else f"{shlex.join(again)} begins again"
            raise Interrupted(error.message, hint=hint) from error
    result = card["result"]
    if as_json:
        print_json({"model": out, **result, "parameters": card["parameters"]})
        return
    held_out = " (held out of the training text)" if card["valid_held_out_from_train"] else ""
    unit, per = ("base", "bases") if dna else ("symbol", "symbols")
    perplexity = "" if dna else f", perplexity {number(result['valid_perplexity'])}"
    print(
        f"{out}: epoch {result['best_epoch']} of {result['epochs']} was best; validation{held_out}: "
        f"{number(result['valid_loss'] / 0.6931471805599453)} bits a {unit}{perplexity}; "
        f"{number(result['seconds'], 3)} s, {number(result['symbols_per_second'], 3)} {per}/s"
    )
    if dna:
        note(f"Try next: elman dna score {shlex.quote(out)} {shlex.quote(text)}")
    else:
        note(f"Try next: elman predict {shlex.quote(out)} 'Can you pick up milk at the'")


def _train(
    text: str,
    out: str,
    settings: Settings,
    listener: Listener,
    interrupted: Interrupts,
    **where: Any,  # noqa: ANN401 - as train_model takes them
) -> dict[str, Any]:
    """Train a model of text; return its card."""
    from elman.learn.run import train_model

    model = train_model(text, Path(out), settings, listener=listener, should_stop=interrupted, **where)
    return model.card


def _train_dna(
    text: str,
    out: str,
    settings: Settings,
    listener: Listener,
    interrupted: Interrupts,
    **where: Any,  # noqa: ANN401 - as train_model takes them
) -> dict[str, Any]:
    """Train a model of DNA; return its card."""
    from elman.learn.dna import train_dna

    return train_dna(text, Path(out), settings, listener=listener, should_stop=interrupted, **where).card


class Interrupts:
    """Whether Ctrl-C was pressed: in training a wish to stop in good order, at once before it and the second time."""

    def __init__(self, *, kept: str = "all of it") -> None:
        self.training = self.pressed = False
        self.kept = kept

    def __call__(self) -> bool:
        """Answer the trainer, which asks after every update."""
        self.training = True
        return self.pressed

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of the signal."""
        if self.pressed or not self.training:
            raise KeyboardInterrupt
        self.pressed = True
        note(f"Stopping as soon as {self.kept} can be saved; press Ctrl-C again to stop at once.")


@contextmanager
def stop_on_interrupt(*, kept: str = "all of it") -> Iterator[Interrupts]:
    """Let Ctrl-C ask for an orderly stop while the block runs."""
    interrupts = Interrupts(kept=kept)
    before = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
