"""`elman dna score`: how likely a model of DNA finds each base."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from elman.cli.common import Json, Threads, choose, note, print_json
from elman.cli.dna_inputs import Bed, Fasta, RegionText, check_inputs, chosen_regions

if TYPE_CHECKING:
    from elman.apply.dna_baselines import Rival
    from elman.apply.dna_scores import RecordScore, ScoredPiece
    from elman.text.genome import Genome
    from elman.text.regions import Region
    from elman.text.tracks import Piece

SECONDS_BETWEEN_LINES = 10.0
RECIPE = "recipe:"
TRACK = 1 << 15
"""Bases whose lines of a track are in memory at once."""


def score(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="the folder of a model of DNA; with --adapt also recipe:dna, from nothing"
        ),
    ],
    fasta: Fasta,
    region: RegionText = None,
    bed: Bed = None,
    strands: Annotated[
        str | None,
        typer.Option(
            metavar="forward|both", help="both: the mean of the two strands; unset, both, or with --adapt forward"
        ),
    ] = None,
    ambiguous: Annotated[
        str, typer.Option(metavar="skip|sum", help="leave N and the like out, or sum the bases that they can stand for")
    ] = "skip",
    circular: Annotated[
        bool, typer.Option("--circular", help="records are rings: before the first base come the last ones")
    ] = False,
    per_base: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="write -log2 of each base's probability: bedGraph, or bigWig (.bw); - is stdout"
        ),
    ] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help="go on learning from what was scored")] = False,
    alpha: Annotated[
        float | None, typer.Option(min=0.0, help="with --adapt: the rate of the net; unset, as it was trained")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="with --adapt: the rate of the weights of counts")
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline/--no-baseline", help="say what counting makes of the same bases")
    ] = True,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Say how many bits per base a model needs for each record or region, and for all.

    With --adapt a copy of the model learns from each block once it has been scored, by weights that saw none of it.
    """
    strands = strands or ("forward" if adapt else "both")
    choose("strands", strands, ("forward", "both"))
    choose("ambiguous", ambiguous, ("skip", "sum"))
    check_inputs(fasta, region, bed)
    check_track(per_base, as_json)
    check_adapting(model, adapt, strands, circular, alpha, rate)
    from elman.text.genome import open_genome
    from elman.text.holdout import all_regions

    genome = open_genome(fasta)
    regions = chosen_regions(genome, region, bed)
    if regions is None:
        regions = all_regions(genome)
    if per_base is not None:
        check_regions(regions, genome, per_base)
    if adapt:
        scoring = _adapting(model, genome, regions, ambiguous, alpha, rate, baseline, threads)
    else:
        scoring = _fixed(model, genome, regions, strands, ambiguous, circular, baseline, threads)
    if scoring.rival is None and baseline:
        note("the model's folder holds no bases to count, so there is no baseline")
    out = None if as_json else sys.stderr if per_base == "-" else sys.stdout
    if scoring.trained_on:
        note(f"{scoring.trained_on:,} of these bases were trained on: few bits there are memory, not foresight")
    report = Report(scoring.rival, out, regions, named=region is None and bed is None)
    start = time.perf_counter()
    _write(report.follow(scoring.pieces), per_base, genome, strands)
    seconds = time.perf_counter() - start
    facts: dict[str, Any] = {"model": model, "file": genome.source, "strands": strands, "ambiguous": ambiguous}
    facts |= {"circular": circular, "adapt": adapt, "trained_on": scoring.trained_on}
    if as_json:
        print_json(facts | report.as_dict() | {"seconds": round(seconds, 3), "records": report.rows})
    else:
        report.close(seconds)


@dataclass
class Scoring:
    """Pieces as they are scored, what counting says beside them, if anything, and how many bases are not new."""

    pieces: Iterator[ScoredPiece]
    rival: Rival | None
    trained_on: int = 0


def _fixed(
    model: str,
    genome: Genome,
    regions: list[Region],
    strands: str,
    ambiguous: str,
    circular: bool,
    baseline: bool,
    threads: int | None,
) -> Scoring:
    from elman.apply.dna_baselines import Counted
    from elman.apply.dna_scores import bases_trained_on, score_regions
    from elman.network.bases_folder import load_base_model

    loaded = load_base_model(model)
    pieces = score_regions(
        loaded, genome, regions, strands=strands, ambiguous=ambiguous, circular=circular, threads=threads
    )
    rival = Counted(loaded.counted) if baseline and any(map(len, loaded.counted)) else None
    return Scoring(pieces, rival, bases_trained_on(loaded.card, genome, regions))


def _adapting(
    model: str,
    genome: Genome,
    regions: list[Region],
    ambiguous: str,
    alpha: float | None,
    rate: float | None,
    baseline: bool,
    threads: int | None,
) -> Scoring:
    import torch

    from elman.apply.dna_adapting import from_model, from_nothing, recipe_of_dna
    from elman.apply.dna_baselines import Growing
    from elman.apply.dna_scores import adapt_regions, bases_trained_on
    from elman.network.bases_folder import load_base_model
    from elman.network.devices import default_threads

    torch.set_num_threads(threads or default_threads())
    bases, trained_on = sum(each.length for each in regions), 0
    if model.startswith(RECIPE):
        counted = []
        adapting = from_nothing(recipe_of_dna(model.removeprefix(RECIPE)), bases, alpha=alpha, rate=rate)
    else:
        loaded = load_base_model(model)
        counted = list(loaded.counted)
        trained_on = bases_trained_on(loaded.card, genome, regions)
        adapting = from_model(loaded, alpha=alpha, rate=rate)
    rival = Growing(bases + sum(map(len, counted)), counted) if baseline else None
    return Scoring(adapt_regions(adapting.strand(ambiguous=ambiguous), genome, regions), rival, trained_on)


class Report:
    """What was scored so far: a row a record as soon as it ends, and the sums.

    Parameters
    ----------
    rival
        the baseline, if there is one.
    out
        where rows are printed; None: nowhere.
    regions
        what there is to score.
    named
        whether these are whole records, and are called by their names.
    """

    def __init__(self, rival: Rival | None, out: TextIO | None, regions: list[Region], *, named: bool) -> None:
        from elman.apply.dna_scores import RecordScore
        from elman.text.regions import Region

        self._rival, self._out, self._named = rival, out, named
        self._planned = sum(region.length for region in regions)
        nothing = Region("total", 0, 0)
        self._total, self._rival_total = RecordScore(nothing), RecordScore(nothing)
        self.rows: list[dict[str, Any]] = []

    def follow(self, pieces: Iterable[ScoredPiece]) -> Iterator[ScoredPiece]:
        """Give pieces on, and remember what they say."""
        from elman.apply.dna_scores import RecordScore

        if self._out is not None:
            print("\t".join(["region", "bases", "skipped", "bits_per_base", *self._column("baseline")]), file=self._out)
        rival, spoken = RecordScore(self._total.region), time.monotonic()
        for piece in pieces:
            self._total.add(piece.values)
            if self._rival is not None:
                values = self._rival.log_probs(piece)
                rival.add(values)
                self._rival_total.add(values)
            yield piece
            if piece.last:
                self._row(piece.score, rival)
                rival = RecordScore(self._total.region)
            if time.monotonic() - spoken >= SECONDS_BETWEEN_LINES:
                spoken = time.monotonic()
                note(f"{self._total.bases + self._total.skipped:,} of {self._planned:,} bases")

    def _column(self, value: Any) -> list[Any]:  # noqa: ANN401 - what a column holds
        return [] if self._rival is None else [value]

    def _row(self, score: RecordScore, rival: RecordScore) -> None:
        region = score.region
        if self._out is None:
            row: dict[str, Any] = {"record": region.name, "start": region.start, "end": region.end}
            row |= {"label": region.label} if region.label else {}
            row |= {"bits_per_base": score.bits_per_base, "bases": score.bases, "skipped": score.skipped}
            self.rows.append(row | ({} if self._rival is None else {"baseline_bits_per_base": rival.bits_per_base}))
            return
        self._print(region.name if self._named else str(region), score, rival)

    def _print(self, name: str, score: RecordScore, rival: RecordScore) -> None:
        columns = [name, score.bases, score.skipped, f"{score.bits_per_base:.4f}"]
        columns += self._column(f"{rival.bits_per_base:.4f}")
        print("\t".join(map(str, columns)), file=self._out, flush=True)

    def close(self, seconds: float) -> None:
        """Print the line of all, and how it was done."""
        self._print("total", self._total, self._rival_total)
        if self._rival is not None:
            note(f"baseline: {self._rival.about}")
        bases = self._total.bases + self._total.skipped
        note(f"{bases:,} bases in {seconds:.1f} s, {bases / max(seconds, 1e-9):,.0f} bases/s")

    def as_dict(self) -> dict[str, Any]:
        """Return the sums as plain JSON values."""
        values: dict[str, Any] = {
            "bits_per_base": self._total.bits_per_base,
            "bases": self._total.bases,
            "skipped": self._total.skipped,
        }
        if self._rival is not None:
            counts = {"bits_per_base": self._rival_total.bits_per_base, "about": self._rival.about}
            values["baseline"] = counts | {"order": self._rival.order}
        return values


def _write(pieces: Iterator[ScoredPiece], per_base: str | None, genome: Genome, strands: str) -> None:
    """Go through all pieces, and write their bits where that is asked for."""
    if per_base is None:
        for _ in pieces:
            pass
        return
    from elman.text.tracks import write_track

    which = "the mean of both strands" if strands == "both" else "the forward strand"
    description = f"bits: -log2 of the probability of each base, {which}"
    written = write_track(per_base, _tracks(pieces), lengths=genome.lengths, name="elman", description=description)
    if per_base != "-":
        note(f"{per_base}: bits of {written:,} bases")


def _tracks(pieces: Iterable[ScoredPiece]) -> Iterator[Piece]:
    import math

    from elman.text.tracks import Piece

    for piece in pieces:
        for at in range(0, len(piece.values), TRACK):
            bits = -piece.values[at : at + TRACK] / math.log(2)
            yield Piece(piece.score.region.name, piece.start + at, bits)


def check_track(per_base: str | None, as_json: bool) -> None:
    """Refuse, before any work, a place that no track can be written to."""
    from elman.errors import OutputError, UsageError

    if per_base is None:
        return
    if per_base == "":
        raise UsageError("the path to write to is empty", hint="give a file, or - for standard output")
    if per_base == "-" and as_json:
        raise UsageError("standard output cannot take both a track and JSON", hint="give a file, or leave out --json")
    if per_base != "-" and Path(per_base).is_dir():
        raise OutputError(f"{per_base} is a folder", hint="give the path of a file in it")
    from elman.text.tracks import check_library, is_bigwig

    if is_bigwig(per_base):
        check_library()


def check_adapting(
    model: str, adapt: bool, strands: str, circular: bool, alpha: float | None, rate: float | None
) -> None:
    """Refuse what goes together with learning while scoring, or without it, in no way."""
    from elman.config import recipe_names
    from elman.errors import UsageError

    if not adapt:
        alone = {"--alpha": alpha is not None, "--rate": rate is not None, model: model.startswith(RECIPE)}
        if wrong := [name for name, given in alone.items() if given]:
            raise UsageError(f"{wrong[0]} goes with --adapt only", hint="add --adapt, or leave it out")
        return
    if strands == "both":
        raise UsageError(
            "--adapt reads the forward strand, and cannot go with --strands both",
            hint="the end of a strand is the beginning of the other: what is learnt from one would tell the other",
        )
    if circular:
        raise UsageError(
            "--adapt cannot go with --circular", hint="the last bases, read before the first, would be known already"
        )
    if model in recipe_names() and not Path(model).exists():
        raise UsageError(f"{model} is no folder", hint=f"{RECIPE}{model} begins from nothing")


def check_regions(regions: list[Region], genome: Genome, per_base: str) -> None:
    """Refuse regions that overlap, since a track has one value a base; and for a bigWig those out of order."""
    from itertools import pairwise

    from elman.errors import UsageError
    from elman.text.tracks import is_bigwig

    places = {name: place for place, name in enumerate(genome.lengths)}
    ordered = sorted(regions, key=lambda region: (places[region.name], region.start, region.end))
    for one, other in pairwise(ordered):
        if one.name == other.name and other.start < one.end:
            raise UsageError(
                f"{one} and {other} overlap, and a track has one value a base", hint="bedtools merge joins them"
            )
    if is_bigwig(per_base) and ordered != regions:
        raise UsageError(
            "the regions are not in the order of the FASTA, as a bigWig needs them",
            hint="sort them, or write a bedGraph",
        )
