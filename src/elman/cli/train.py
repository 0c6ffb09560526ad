"""`elman train`: from a text to a model."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from elman.cli.common import Json, layered, note, number, print_json, setting
from elman.cli.inputs import input_settings
from elman.errors import Interrupted, UsageError


def train(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TRAIN", help="the training text, plain or gzip; - is standard input")],
    out: Annotated[str, typer.Option(help="the folder to leave the model in")],
    valid: Annotated[
        str | None, typer.Option(help="a text to validate on; unset, the last twentieth of TRAIN is held out")
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
    }
    settings, given = layered(recipe, config, pairs, flags, more=input_settings(input))
    if not out:
        raise UsageError("--out is empty", hint="give the folder to leave the model in")

    if ":" in settings.network.cell:  # named by the user's own hand, so it may be imported
        from elman.network.cells import find_cell

        find_cell(settings.network.cell, allowed=[settings.network.cell])
    from elman.cli.progress import progress_of
    from elman.learn.run import train_model

    command = ["elman", *context.obj]
    with progress_of(settings, quiet=quiet) as listener, stop_on_interrupt() as interrupted:
        try:
            model = train_model(
                text,
                Path(out),
                settings,
                valid=valid,
                given=given,
                resume=resume,
                overwrite=overwrite,
                command=shlex.join(command),
                listener=listener,
                should_stop=interrupted,
            )
        except Interrupted as error:
            again = [word for word in command if word not in ("--resume", "--overwrite")]
            raise Interrupted(error.message, hint=f"{shlex.join([*again, '--resume'])} goes on from there") from error
    result = model.card["result"]
    if as_json:
        print_json({"model": out, **result, "parameters": model.card["parameters"]})
        return
    held_out = " (the end of the training text, held out)" if model.card["valid_held_out_from_train"] else ""
    print(
        f"{out}: epoch {result['best_epoch']} of {result['epochs']} was best; validation{held_out}: "
        f"{number(result['valid_loss'] / 0.6931471805599453)} bits a symbol, perplexity "
        f"{number(result['valid_perplexity'])}; {number(result['seconds'], 3)} s, "
        f"{number(result['symbols_per_second'], 3)} symbols/s"
    )
    note(f"Try next: elman predict {shlex.quote(out)} 'Can you pick up milk at the'")


class Interrupts:
    """Whether Ctrl-C was pressed: in training a wish to stop in good order, at once before it and the second time."""

    def __init__(self) -> None:
        self.training = self.pressed = False

    def __call__(self) -> bool:
        """Answer the trainer, which asks after every update."""
        self.training = True
        return self.pressed

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take note of the signal."""
        if self.pressed or not self.training:
            raise KeyboardInterrupt
        self.pressed = True
        note("Stopping after this update, with all of it saved; press Ctrl-C again to stop at once.")


@contextmanager
def stop_on_interrupt() -> Iterator[Interrupts]:
    """Let Ctrl-C ask for an orderly stop while the block runs."""
    interrupts = Interrupts()
    before = signal.signal(signal.SIGINT, interrupts.handle)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
