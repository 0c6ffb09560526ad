"""What the commands of `elman dna` share: a genome, and which part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from elman.text.genome import Genome
    from elman.text.regions import Region

Fasta = Annotated[
    str, typer.Argument(metavar="FASTA", help="FASTA or FASTQ, plain, gzip or bgzip; - is standard input")
]
RegionText = Annotated[
    str | None,
    typer.Option("--region", metavar="NAME:START-END", help="only this region, 1-based and inclusive as in samtools"),
]
Bed = Annotated[
    str | None,
    typer.Option("--bed", metavar="FILE", help="only the regions of a BED file, 0-based and half-open"),
]
Holdout = Annotated[
    str,
    typer.Option(
        metavar="SHARE|NAME|NAME:START-END", help="hold out the last share of the bases, a record or a region"
    ),
]
FEW = 5
"""As many regions are named one by one; of more it is said how many they are."""


def check_inputs(fasta: str, region: str | None, bed: str | None) -> None:
    """Refuse, before any work, a region beside a BED file, and to read two things from standard input."""
    from elman.errors import UsageError

    if region is not None and bed is not None:
        raise UsageError("--region and --bed cannot be given together", hint="give one of them")
    if fasta == bed == "-":
        raise UsageError("standard input cannot be both the FASTA and the BED file", hint="give a file for one of them")


def chosen_regions(genome: Genome, region: str | None, bed: str | None) -> list[Region] | None:
    """Return the regions that were asked for, in their order; None for the whole genome."""
    from elman.text.regions import parse_region, read_bed

    if region is not None:
        return [parse_region(region, genome.lengths)]
    if bed is not None:
        return list(read_bed(bed, genome.lengths))
    return None


def named(regions: list[Region]) -> str:
    """Return regions as samtools writes them, and how many bases they have.

    >>> from elman.text.regions import Region
    >>> named([Region("chr1", 999, 2000)])
    'chr1:1000-2000 (1,001 bases)'
    """
    bases = sum(region.length for region in regions)
    names = ", ".join(map(str, regions)) if len(regions) <= FEW else f"{len(regions):,} regions"
    return f"{names} ({bases:,} base{'s' * (bases != 1)})"
