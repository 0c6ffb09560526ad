"""`elman dna baseline`: what a network has to beat."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.common import Json, note, print_json
from elman.cli.dna_inputs import Bed, Fasta, Holdout, RegionText, check_inputs, chosen_regions, named

if TYPE_CHECKING:
    from elman.ngram.baseline import Baseline
    from elman.text.genome import Genome
    from elman.text.regions import Region


def baseline(
    fasta: Fasta,
    order: Annotated[
        str | None,
        typer.Option(metavar="K,K,...", help="orders to try, 0 to 12; unset, all that the bases are enough for"),
    ] = None,
    region: RegionText = None,
    bed: Bed = None,
    holdout: Holdout = "0.1",
    forward_only: Annotated[bool, typer.Option("--forward-only", help="do not count the other strand")] = False,
    alpha: Annotated[
        float | None, typer.Option(help="added to every count; unset, chosen on the training part for each order")
    ] = None,
    meme: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="write a background model for the MEME Suite, of all bases; - is stdout"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Bits per base of context models, which count what follows each K bases: what a network has to beat."""
    orders = parse_orders(order)
    check_inputs(fasta, region, bed)
    check_meme(meme, as_json)
    from elman.ngram.baseline import baseline as run
    from elman.ngram.markov import check_alpha
    from elman.text.genome import open_genome
    from elman.text.holdout import hold_out
    from elman.text.regions import merge

    check_alpha(alpha)
    start = time.perf_counter()
    genome = open_genome(fasta)
    within = chosen_regions(genome, region, bed)
    split = hold_out(genome, holdout, within=within)
    note(f"trained on {named(split.training)}")
    note(f"held out {named(split.held_out)}")
    result = run(genome, split, orders=orders, reverse_complement=not forward_only, alpha=alpha)
    facts = {
        "file": genome.source,
        "records": len(genome),
        "holdout": holdout,
        "held_out": list(map(str, split.held_out)),
    }
    if as_json:
        print_json(facts | result.as_dict() | {"seconds": time.perf_counter() - start})
    else:
        tell(result, to_stdout=meme != "-")
    if meme is not None:
        write_meme(genome, merge([*split.training, *split.held_out], genome.lengths), result, orders, meme)


def tell(result: Baseline, *, to_stdout: bool) -> None:
    """Print one line an order, the best one marked, and how many bases were predicted."""
    out = sys.stdout if to_stdout else sys.stderr
    print("order\tbits_per_base\talpha\tbest", file=out)
    for each in result.orders:
        mark = "*" if each is result.best else ""
        print(f"{each.order}\t{each.bits_per_base:.4f}\t{each.alpha:.4g}\t{mark}", file=out)
    note(f"{result.bases:,} bases were predicted, {result.skipped:,} ambiguous ones left out")


def write_meme(genome: Genome, regions: list[Region], result: Baseline, orders: list[int] | None, out: str) -> None:
    """Count regions and write them as a background model: of the one order asked for, or the best up to 6."""
    from elman.ngram import meme
    from elman.ngram.baseline import count

    highest = orders[0] if orders and len(orders) == 1 else min(result.best.order, meme.HIGHEST)
    tables = count(genome, regions, highest).tables(reverse_complement=result.reverse_complement)
    if out == "-":
        sys.stdout.write(meme.background(tables, order=highest))
        return
    meme.write_background(Path(out), tables, order=highest)
    note(f"{out}: a background model of order {highest}, from all {sum(each.length for each in regions):,} bases")


def check_meme(out: str | None, as_json: bool) -> None:
    """Refuse, before any work, a place that nothing can be written to."""
    from elman.errors import OutputError, UsageError

    if out == "":
        raise UsageError("the path to write to is empty", hint="give a file, or - for standard output")
    if out == "-" and as_json:
        raise UsageError("standard output cannot take both a model and JSON", hint="give a file, or leave out --json")
    if out is not None and out != "-" and Path(out).is_dir():
        raise OutputError(f"{out} is a folder", hint="give the path of a file in it")


def parse_orders(text: str | None) -> list[int] | None:
    """Read orders such as 2,4,6; None where none are given."""
    from elman.errors import UsageError
    from elman.ngram.markov import check_order

    if text is None:
        return None
    items = text.replace(",", " ").split()
    wrong = [item for item in items if not (item.isascii() and item.isdecimal())]
    if wrong or not items:
        raise UsageError(
            f"--order {text!r}: {wrong[0] if wrong else ''!r} is no whole number", hint="for example 2,4,6"
        )
    orders = [int(item) for item in items]
    for order in orders:
        check_order(order)
    return orders
