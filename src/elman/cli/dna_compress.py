"""`elman dna compress` and `decompress`: a FASTA file in the bits that a model promises, and back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from elman.cli.common import Json, console, layered, note, print_json
from elman.cli.ngram import check_out

SECONDS_BETWEEN_LINES = 10.0

Begin = Annotated[
    str | None,
    typer.Option("--model", metavar="DIR", help="a model of DNA to begin with; both directions need the same one"),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="show no progress")]


def compress(
    fasta: Annotated[str, typer.Argument(metavar="FASTA", help="plain, gzip or bgzip; - is standard input")],
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="the file to write; - is standard output")] = "-",
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE.toml", help="settings of the network, and of how it learns")
    ] = "dna",
    pairs: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any setting, as `elman settings` lists them")
    ] = None,
    model: Begin = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Compress a FASTA file with a model that learns as it goes.

    It comes back byte for byte from `elman dna decompress` where every number is computed to the same bit: on the same
    kind of machine, with the same versions. So it is a check of the numbers, and no format for an archive.
    """
    check_out(out, as_json)
    check_terminal(out, "the compressed file")
    check_network_is_free(pairs, model)
    from elman.apply.dna_compress import compress as run
    from elman.text.writing import writing

    settings, _ = layered(recipe, None, pairs, {})
    start = time.perf_counter()
    with telling("compressing", quiet=quiet) as on_block:
        found = run(fasta, settings, model=model, on_block=on_block)
    with writing(out) as sink:
        size = found.write(sink)
    seconds = round(time.perf_counter() - start, 2)
    values = found.as_dict() | {"bytes": size}
    values |= {"ratio": values["fasta_bytes"] / size, "seconds": seconds, "file": out}
    if as_json:
        print_json(values)
        return
    of = f"{values['bits_per_base']:.4f} bits a base, " if values["bases"] else ""
    skipped = f" and {values['skipped']:,} other letters" if values["skipped"] else ""
    note(f"{values['bases']:,} bases{skipped}: {of}{values['fasta_bytes']:,} bytes became {size:,}; {seconds} s")


def decompress(
    file: Annotated[str, typer.Argument(metavar="FILE", help="what compress wrote; - is standard input")],
    out: Annotated[
        str, typer.Option("--out", metavar="FASTA", help="packed by bgzip if it ends in .gz; - is standard output")
    ] = "-",
    model: Begin = None,
    quiet: Quiet = False,
) -> None:
    """Give the FASTA file back that `elman dna compress` took; nothing is written unless it is the same."""
    check_out(out, False)
    from elman.apply.dna_compress import decompress as run
    from elman.apply.dna_compress import differences
    from elman.text.dna_container import open_container
    from elman.text.dna_layout import unpack
    from elman.text.writing import writing

    start = time.perf_counter()
    container = open_container(file)
    if found := differences(container.facts):
        note(f"compressed with {', '.join(found)}: it may not come back")
    with telling("decompressing", quiet=quiet) as on_block:
        codes = run(container, model=model, on_block=on_block)
    with writing(out) as sink:
        for piece in unpack(container.layout, codes):
            sink.write(piece)
    note(f"{len(codes):,} bases came back as they were; {time.perf_counter() - start:.2f} s")


def check_terminal(out: str, what: str) -> None:
    """Refuse to show bytes that are no text."""
    from elman.errors import UsageError

    if out == "-" and sys.stdout.isatty():
        raise UsageError(f"{what} is no text for a terminal", hint="give --out FILE, or send it into a pipe")


def check_network_is_free(pairs: list[str] | None, model: str | None) -> None:
    """Refuse settings of a network beside a model, which has its own."""
    from elman.config import parse_pairs
    from elman.errors import UsageError

    taken = [key for key in parse_pairs(pairs or []) if key.startswith("network.")]
    if model is not None and taken:
        raise UsageError(f"{taken[0]} and --model cannot be given together", hint="the network is that of the model")


@contextmanager
def telling(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Give what shows how far it is: a bar in a terminal, a line now and then elsewhere."""
    screen = console()
    if quiet:
        yield lambda done, total: None
    elif screen.is_terminal:
        with bar(screen) as progress:
            task = progress.add_task(what)
            yield lambda done, total: progress.update(task, completed=done, total=total)
    else:
        yield Lines(what)


def bar(screen: Any) -> Any:  # noqa: ANN401 - rich is imported when it is used
    """Return a bar that goes away when it is done."""
    from rich.progress import Progress

    return Progress(console=screen, transient=True)


class Lines:
    """A line every few seconds."""

    def __init__(self, what: str) -> None:
        self.what, self.begun = what, time.monotonic()
        self.last = self.begun

    def __call__(self, done: int, total: int) -> None:
        """Print a line if the last one is some seconds old."""
        now = time.monotonic()
        if now - self.last >= SECONDS_BETWEEN_LINES:
            self.last = now
            note(f"{self.what}: {done / total:4.0%}, {done / (now - self.begun):,.0f} bases/s")
