"""`elman ngram`: models of counts, estimated, evaluated, converted."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Json, Oov, Text, choose, note, print_json

if TYPE_CHECKING:
    from elman.ngram.model import NGramModel

app = typer.Typer(
    name="ngram",
    help="Models of counts: modified Kneser-Ney, ARPA files.",
    no_args_is_help=False,
    rich_markup_mode=None,
)

ModelFile = Annotated[
    str, typer.Argument(metavar="MODEL", help="an ARPA file, plain or gzip (- is standard input), or a .safetensors")
]
Out = Annotated[
    str, typer.Option("--out", help="the file to write: ARPA, packed if it ends in .gz; or .safetensors; - is stdout")
]
Entropy = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="leave out n-grams that lower perplexity by less than this share, such as 1e-8"),
]


@app.callback(invoke_without_command=True)
def ngram(context: typer.Context) -> None:
    """Models of counts: modified Kneser-Ney, ARPA files."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def train(
    text: Text,
    out: Out,
    order: Annotated[int, typer.Option(help="N: a word is predicted from the N - 1 before it")] = 5,
    prune: Annotated[
        str | None,
        typer.Option(
            metavar="0,0,1,...", help="by order: leave out n-grams seen so often or less; the last holds for the rest"
        ),
    ] = None,
    prune_entropy: Entropy = None,
    discount_fallback: Annotated[
        str, typer.Option(metavar="D1,D2,D3", help="discounts of orders that are too small to estimate them")
    ] = "0.5,1,1.5",
    as_json: Json = False,
) -> None:
    """Estimate a model with interpolated modified Kneser-Ney smoothing, one sentence a line."""
    check_out(out, as_json)
    from elman.ngram.estimate import estimate
    from elman.ngram.pruning import prune_entropy as thin

    start = time.perf_counter()
    thresholds = [whole(item) for item in items("prune", prune or "0")]
    fallback = [fraction(item) for item in items("discount-fallback", discount_fallback)]
    model = estimate(text, order=order, prune=thresholds, fallback=fallback)
    if prune_entropy is not None:
        model = thin(model, prune_entropy)
    warn(model)
    write(model, out)
    remember(model, out)
    tell(model, out, time.perf_counter() - start, as_json)


@app.command()
def evaluate(model: ModelFile, text: Text, oov: Oov = "skip", as_json: Json = False) -> None:
    """Say how good a model is on a text: perplexity as SRILM counts it, each line for itself."""
    choose("oov", oov, ("skip", "unk"))
    check_inputs(model, text)
    from elman.ngram.evaluate import evaluate as run

    start = time.perf_counter()
    loaded = load(model)
    seconds = time.perf_counter() - start
    result = run(loaded, text, oov=oov)
    if as_json:
        print_json(result.as_dict() | {"load_seconds": seconds})
        return
    print(f"file {result.file}: {result.sentences} sentences, {result.words} words, {result.oovs} OOVs")
    print(
        f"{result.zeroprobs} zeroprobs, logprob= {result.logprob10:.6g} ppl= {result.perplexity:.6g} "
        f"ppl1= {result.perplexity1:.6g}"
    )
    print(f"{result.bits_per_character:.4f} bits per character, {result.words_per_second:.0f} words/s")
    if result.oovs:
        done = "left out" if result.oov == "skip" else "scored as <unk>"
        print(f"{result.oovs} words that the model does not know were {done}")


@app.command()
def convert(
    model: ModelFile,
    out: Annotated[str, typer.Argument(metavar="OUT", help="as --out of elman ngram train")],
    prune_entropy: Entropy = None,
    as_json: Json = False,
) -> None:
    """Write a model in another format: ARPA, ARPA in gzip, or arrays that load at once (.safetensors)."""
    check_out(out, as_json)
    from elman.ngram.pruning import prune_entropy as thin

    start = time.perf_counter()
    loaded = load(model)
    if prune_entropy is not None:
        loaded = thin(loaded, prune_entropy)
    write(loaded, out)
    tell(loaded, out, time.perf_counter() - start, as_json)


def load(path: str) -> NGramModel:
    """Read a model in either format."""
    from elman.ngram.arpa import load_any

    return load_any(path)


def write(model: NGramModel, out: str) -> None:
    """Write a model to a file, or as ARPA to standard output."""
    from elman.ngram import arpa

    if out != "-":
        arpa.save_any(model, out)
        return
    arpa.check_words(model)
    arpa.write(model, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def remember(model: NGramModel, out: str) -> None:
    """Leave in the cache what reading the ARPA file would, so that its first use need not read it."""
    from elman.ngram import arpa, storage

    if out != "-" and Path(out).suffix != storage.SUFFIX and Path(out).is_file():
        arpa.remember(model, out)


def check_out(out: str, as_json: bool) -> None:
    """Refuse, before any work, a place that nothing can be written to."""
    from elman.errors import OutputError, UsageError

    if not out:
        raise UsageError("the path to write to is empty", hint="give a file, or - for standard output")
    if out == "-" and as_json:
        raise UsageError("standard output cannot take both the model and JSON", hint="give a file, or leave out --json")
    if out != "-" and Path(out).is_dir():
        raise OutputError(f"{out} is a folder", hint="give the path of a file in it")


def check_inputs(model: str, text: str) -> None:
    """Refuse to read two things from standard input."""
    from elman.errors import UsageError

    if model == text == "-":
        raise UsageError("standard input cannot be both the model and the text", hint="give a file for one of them")


def items(name: str, value: str) -> list[tuple[str, str]]:
    """Return the flag's name with each part of a list such as 0,0,1 or "0 0 1"."""
    return [(name, item) for item in value.replace(",", " ").split()]


def whole(item: tuple[str, str]) -> int:
    """Read a whole number that is not negative."""
    from elman.errors import UsageError

    name, text = item
    if not text.isdecimal():
        raise UsageError(f"--{name}: {text!r} is no whole number", hint="give numbers such as 0,0,1")
    return int(text)


def fraction(item: tuple[str, str]) -> float:
    """Read a number."""
    from elman.errors import UsageError

    name, text = item
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--{name}: {text!r} is no number", hint="give numbers such as 0.5,1,1.5") from None


def warn(model: NGramModel) -> None:
    """Say what was done other than was asked for."""
    facts = model.facts
    if facts["fallback_orders"]:
        orders = ", ".join(map(str, facts["fallback_orders"]))
        note(f"the text is too small to estimate the discounts of order {orders}: took --discount-fallback")
    if model.order < facts["order_asked"]:
        note(f"there is no n-gram of order {model.order + 1}: the model has order {model.order}")


def tell(model: NGramModel, out: str, seconds: float, as_json: bool) -> None:
    """Say what was written."""
    facts: dict[str, Any] = {
        "file": "standard output" if out == "-" else out,
        "order": model.order,
        "vocabulary": len(model.vocabulary),
        "ngrams": model.counts,
        "unk_trained": model.unk_trained,
        "array_bytes": model.nbytes,
        "seconds": seconds,
    }
    if as_json:
        print_json(facts | model.facts)
        return
    say = note if out == "-" else print
    sizes = ", ".join(f"{n}: {size:,}" for n, size in enumerate(model.counts, start=1))
    say(f"{facts['file']}: {len(model.vocabulary):,} words, n-grams by order {sizes}; {seconds:.1f} s")
