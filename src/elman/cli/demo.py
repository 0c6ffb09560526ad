"""`elman demo`: the whole story on the packaged corpus."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.common import Json, Threads, note, print_json
from elman.cli.train import stop_on_interrupt
from elman.cli.use import print_bars
from elman.errors import Interrupted, OutputError
from elman.files import write_text

MARK = ".elman-demo"
"""The file that says that a folder is a demo's, even where training was cut short: the next demo may replace it."""


def demo(
    out: Annotated[
        str, typer.Option(help="the folder to leave the model in; a demo that is there is replaced")
    ] = "elman-demo",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="where randomness starts")] = 1,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train on the packaged everyday English (two minutes), then fill in: Can you pick up milk at the ___."""
    from elman.apply.demo import BLANK, demo_settings, train_demo
    from elman.cli.progress import progress_of

    folder = Path(out)
    command = f"elman demo --out {shlex.quote(out)}"
    _claim(folder)
    write_text(folder / MARK, "Made by elman demo, and replaced by the next one.\n")
    settings = demo_settings(seed, threads)
    shape = settings.network
    note(
        f"Training a recurrent network (H = {shape.hidden}, {shape.activation}) on 48,599 everyday sentences, "
        "packaged with elman (Common Voice, CC0)."
    )
    with progress_of(settings, quiet=False) as listener, stop_on_interrupt() as interrupted:
        try:
            model, result = train_demo(folder, settings, listener=listener, should_stop=interrupted, command=command)
        except Interrupted as error:
            raise Interrupted("the demo was stopped", hint=f"{command} starts it again") from error
    evaluation = result.evaluation
    if as_json:
        print_json(
            {
                "model": out,
                "perplexity": evaluation.perplexity,
                "unigram_perplexity": result.unigram_perplexity,
                "evaluation": evaluation.as_dict(),
                **result.prediction.as_dict(),
                "sentences": result.sentences,
                "seconds": model.card["result"]["seconds"],
            }
        )
        return
    print(
        f"Held-out perplexity: {evaluation.perplexity:.1f} on {evaluation.sentences} sentences that training never saw "
        f"(word frequencies alone: {result.unigram_perplexity:.1f})."
    )
    print(f"\n{BLANK} ___\n")
    print_bars(result.prediction.next)
    print("\nThree sentences that it writes:\n")
    for sentence in result.sentences:
        print(f"  {sentence}")
    print(f"\nThe model is in {out}. Try next:\n\n  elman predict {shlex.quote(out)} 'It was a cold'")


def _claim(folder: Path) -> None:
    """Take a folder for the demo, unless it holds anything else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise OutputError(f"{folder} holds something that is not a demo", hint="choose another --out")
