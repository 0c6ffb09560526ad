"""`elman dna generate`: sequences as a model of DNA would write them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.common import Json, note, print_json


def generate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="the folder of a model of DNA")],
    bases: Annotated[int, typer.Option(min=1, help="bases to draw for each record, after the prompt")] = 1000,
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="the same seed writes the same bases")] = None,
    prompt: Annotated[str, typer.Option(metavar="ACGT", help="the bases that each record begins with")] = "",
    records: Annotated[int, typer.Option(min=1, help="sequences to write")] = 1,
    line_width: Annotated[int, typer.Option(min=0, help="bases a line; 0 writes each record on one line")] = 70,
    out: Annotated[str, typer.Option(help="the FASTA to write, packed by bgzip if it ends in .gz; - is stdout")] = "-",
    as_json: Json = False,
) -> None:
    """Write FASTA that is drawn base by base from a model.

    With --json the answer holds the sequences, unless --out names a file for them.
    """
    check_out(out)
    from elman.text.dna import decode, encode

    codes = encode(prompt)
    import torch

    from elman.apply.dna import generate_bases
    from elman.network.bases_folder import load_base_model
    from elman.text.writing import writing

    start = time.perf_counter()
    loaded = load_base_model(model)
    chosen = secrets.randbits(31) if seed is None else seed
    generator = torch.Generator().manual_seed(chosen)

    def sequence() -> Iterator[str]:
        parts = generate_bases(loaded, bases, generator=generator, prompt=codes)
        return map(decode, chain([codes], parts))

    facts = {"model": model, "seed": chosen, "prompt": decode(codes), "bases": bases}
    names = [f"elman_{number}" for number in range(1, records + 1)]
    if as_json and out == "-":
        written = [{"name": name, "sequence": "".join(sequence())} for name in names]
        print_json(facts | {"seconds": round(time.perf_counter() - start, 3), "records": written})
        return
    with writing(out) as sink:
        for name in names:
            drawn = sequence()
            sink.write(f">{name} drawn from {Path(model).name} with seed {chosen}\n".encode())
            for line in wrapped(drawn, line_width):
                sink.write(line.encode())
    seconds = round(time.perf_counter() - start, 3)
    if as_json:
        print_json(facts | {"file": out, "seconds": seconds, "records": [{"name": name} for name in names]})
        return
    note(f"seed {chosen}: {records * bases:,} bases in {seconds:.1f} s")


def wrapped(pieces: Iterable[str], width: int) -> Iterator[str]:
    r"""Give text in lines of `width` letters; 0: in one line.

    >>> list(wrapped(["ACG", "TT", "A"], 4))
    ['ACGT\n', 'TA\n']
    """
    held = ""
    for piece in pieces:
        held += piece
        if not width:
            yield held
            held = ""
            continue
        whole = len(held) // width * width
        yield from (held[at : at + width] + "\n" for at in range(0, whole, width))
        held = held[whole:]
    if held or not width:
        yield held + "\n"


def check_out(out: str) -> None:
    """Refuse, before any work, a place that nothing can be written to."""
    from elman.errors import OutputError, UsageError

    if not out:
        raise UsageError("the path to write to is empty", hint="give a file, or - for standard output")
    if out != "-" and Path(out).is_dir():
        raise OutputError(f"{out} is a folder", hint="give the path of a file in it")
