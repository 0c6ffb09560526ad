"""Scores of the records and regions of a genome, in pieces, so that memory does not grow with what is scored.

A piece is read by itself, after up to WARMING bases that stand before it on its strand, so that the state of the net is
what it would have been; pieces and strands can so be read side by side. A model that learns while it scores
(`adapt_regions`) reads one piece after the other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.apply.dna import AdaptingStrand, Strand, Values, check_ambiguous
from elman.errors import UsageError
from elman.network.bases import Codes
from elman.network.bases_folder import BaseModel
from elman.network.devices import default_threads
from elman.text.dna import reverse_complement
from elman.text.genome import Genome
from elman.text.holdout import total_length
from elman.text.regions import Region, merge, parse_region, without

PIECE = 1 << 17
"""Bases that are scored in one piece."""

WARMING = 2048
"""Bases before a piece that are read so that a state is what it would be; counted contexts look back 24 at most."""

STRANDS = ("forward", "both")


@dataclass
class RecordScore:
    """One record or region: how many of its bases were scored and skipped, and the sum of their log-probabilities."""

    region: Region
    bases: int = 0
    skipped: int = 0
    log_prob: float = 0.0

    @property
    def bits_per_base(self) -> float:
        """- log2 of the geometric mean of the probabilities; NaN where no base was scored."""
        return bits(self.log_prob, self.bases)

    def add(self, values: Values) -> None:
        """Add the log-probabilities of some bases; NaN where one was skipped."""
        scored = ~np.isnan(values)
        count = int(scored.sum())
        self.bases += count
        self.skipped += len(values) - count
        self.log_prob += float(values[scored].sum())


@dataclass(frozen=True)
class ScoredPiece:
    """Bases from `start` on of a region, those before them that the model knew, and their log-probabilities.

    Attributes
    ----------
    score
        of the region, as far as it has been read.
    values
        (N,), in nats; NaN where a base was skipped.
    last
        whether the region ends with this piece.
    """

    score: RecordScore
    start: int
    before: Codes
    codes: Codes
    values: Values
    last: bool


def bits(log_prob: float, bases: int) -> float:
    """Return bits per base, of nats and bases; NaN where there are none."""
    return -log_prob / math.log(2) / bases if bases else math.nan


def bases_trained_on(card: Mapping[str, Any], genome: Genome, regions: Iterable[Region]) -> int:
    """Return how many bases of some regions a model's card says that it was trained on, going by names and places."""
    lengths, trained = genome.lengths, []
    for text in card.get("train", {}).get("regions", []):
        with suppress(UsageError):  # a region of another genome
            trained.append(parse_region(str(text), lengths))
    asked = merge(regions, lengths)
    return total_length(asked) - total_length(without(asked, trained, lengths))


@dataclass(frozen=True)
class _Piece:
    score: RecordScore
    start: int
    before: Codes
    codes: Codes
    after: Codes
    last: bool


def score_regions(
    model: BaseModel,
    genome: Genome,
    regions: Iterable[Region],
    *,
    strands: str = "both",
    ambiguous: str = "skip",
    circular: bool = False,
    threads: int | None = None,
) -> Iterator[ScoredPiece]:
    """Score regions in pieces, in their order; each begins with its first base after nothing.

    Parameters
    ----------
    strands
        "forward", or "both": the values are then the means of what both strands say.
    circular
        a record that is scored whole is a ring: before its first base come its last ones, and after its last its first.
    threads
        pieces and strands that are read side by side; the values do not depend on it.
    """
    if strands not in STRANDS:
        raise UsageError(f"strands cannot be {strands!r}", hint="choose forward or both")
    check_ambiguous(ambiguous)
    threads = threads or default_threads()
    pool = ThreadPoolExecutor(threads)
    waiting: deque[tuple[_Piece, list[Future[Values]]]] = deque()

    def submit(piece: _Piece) -> None:
        reads = [pool.submit(_read, model, ambiguous, piece.before, piece.codes)]
        if strands == "both":
            reads.append(pool.submit(_read_backwards, model, ambiguous, piece.after, piece.codes))
        waiting.append((piece, reads))

    try:
        for piece in _pieces(genome, regions, PIECE, circular=circular):
            submit(piece)
            if len(waiting) > threads:
                yield _scored(*waiting.popleft())
        while waiting:
            yield _scored(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def adapt_regions(strand: AdaptingStrand, genome: Genome, regions: Iterable[Region]) -> Iterator[ScoredPiece]:
    """Score regions in pieces, in their order, by a model that learns from what it has scored, across regions too."""
    size = max(1, PIECE // strand.stride) * strand.stride
    for piece in _pieces(genome, regions, size):
        if piece.start == piece.score.region.start:
            strand.begin()
        piece.score.add(values := strand.read(piece.codes))
        yield ScoredPiece(piece.score, piece.start, piece.before, piece.codes, values, piece.last)


def _pieces(genome: Genome, regions: Iterable[Region], size: int, *, circular: bool = False) -> Iterator[_Piece]:
    for region in regions:
        length, score = genome.length(region.name), RecordScore(region)
        ring = circular and region.start == 0 and region.end == length
        for start in range(region.start, region.end, size) if region.length else (region.start,):
            end = min(start + size, region.end)
            before = genome.fetch(region.name, max(region.start, start - WARMING), start)
            after = genome.fetch(region.name, end, min(end + WARMING, region.end))
            if ring and start == 0:
                before = genome.fetch(region.name, max(0, length - WARMING), length)
            if ring and end == length:
                after = genome.fetch(region.name, 0, min(WARMING, length))
            codes = genome.fetch(region.name, start, end)
            yield _Piece(score, start, before, codes, after, end == region.end)


def _read(model: BaseModel, ambiguous: str, before: Codes, codes: Codes) -> Values:
    strand = Strand(model, ambiguous=ambiguous)
    strand.begin()
    strand.read(before)
    return strand.read(codes)


def _read_backwards(model: BaseModel, ambiguous: str, after: Codes, codes: Codes) -> Values:
    return _read(model, ambiguous, reverse_complement(after), reverse_complement(codes))[::-1]


def _scored(piece: _Piece, reads: list[Future[Values]]) -> ScoredPiece:
    values = sum((read.result() for read in reads[1:]), reads[0].result()) / len(reads)
    piece.score.add(values)
    return ScoredPiece(piece.score, piece.start, piece.before, piece.codes, values, piece.last)
