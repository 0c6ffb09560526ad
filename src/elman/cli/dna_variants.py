"""`elman dna variants`: what a model makes of the variants of a VCF."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.common import Json, Threads, choose, note, print_json
from elman.cli.ngram import check_out

Fasta = Annotated[str, typer.Argument(metavar="REF.FA", help="the FASTA that the variants were called against")]
Variants = Annotated[str, typer.Argument(metavar="VCF", help="plain, gzip or bgzip; - is standard input")]
Out = Annotated[str, typer.Option("--out", help="the VCF to write, packed by bgzip if it ends in .gz; - is stdout")]
Flank = Annotated[int, typer.Option(min=0, help="bases of the reference before and after each variant")]
Strands = Annotated[
    str, typer.Option(metavar="forward|both", help="both also scores the reverse complement, and takes the mean")
]


def variants(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="the folder of a model of DNA")],
    reference: Fasta,
    vcf: Variants,
    out: Out = "-",
    flank: Flank = 256,
    strands: Strands = "both",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Write into a VCF the log-likelihood ratio of ALT to REF, in bits.

    INFO gets ELMAN_FWD, ELMAN_RC (the reverse complement) and ELMAN_LLR (their mean). Above 0: the model finds the
    sequence with ALT likelier. All other bytes of the VCF stay as they are. A ratio is no diagnosis, and that of an
    insertion or a deletion also says that a shorter sequence is likelier.
    """
    choose("strands", strands, ("forward", "both"))
    check_out(out, as_json)
    check_inputs(reference, vcf)
    from elman.apply.dna import load_scorer
    from elman.apply.variants import annotate
    from elman.text.genome import open_genome
    from elman.text.vcf import read_vcf
    from elman.text.writing import writing

    start = time.perf_counter()
    opened = read_vcf(vcf)
    genome = open_genome(reference)
    scorer = load_scorer(Path(model), threads=threads)
    with writing(out) as sink:
        summary = annotate(opened, genome, scorer, sink, flank=flank, strands=strands)
    seconds = round(time.perf_counter() - start, 2)
    if as_json:
        facts = {"file": out, "unit": "bits", "flank": flank, "strands": strands, "seconds": seconds}
        print_json(facts | summary.as_dict())
        return
    counts = f"{summary.records} records, {summary.scored} of {summary.alternatives} ALTs scored"
    note(f"{opened.name}: {counts}; {seconds} s")
    if summary.symbolic:
        note(f"{summary.symbolic} ALTs are no bases (*, ., <NAME>, breakends) and have . instead of a ratio")
    if summary.ambiguous:
        note(f"{summary.ambiguous} ALTs have N or another ambiguous base, in them or in REF, and . instead of a ratio")
    if summary.unlikely:
        note(f"{summary.unlikely} ALTs are in sequences of probability zero, and have . instead of a ratio")


def check_inputs(reference: str, vcf: str) -> None:
    """Refuse to read two things from standard input."""
    from elman.errors import UsageError

    if reference == vcf == "-":
        raise UsageError("standard input cannot be both the reference and the VCF", hint="give a file for one of them")
