"""What a model of DNA says of bases: the log-probability of each, given all before it on its strand.

Where an ambiguous base stands the sequence ends for the model, and begins anew after it. With `ambiguous="sum"` that
base itself is scored, by the sum over the bases that it can stand for; otherwise it is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import UsageError
from elman.learn.bases import BaseLearner, blocks
from elman.learn.dna import CHUNK
from elman.network.bases import BaseReader, Codes, Contexts, Floats
from elman.network.bases_folder import BaseModel, load_base_model
from elman.network.devices import default_threads
from elman.text.dna import BASES, COMPATIBLE, reverse_complement
from elman.text.genome import Genome
from elman.text.regions import Region
from elman.text.segments import runs

Values = NDArray[np.float64]

PIECE = 1 << 20
"""Bases of a record that are held at once."""

WARMING = 2048
"""Bases before a piece that are read so that a state is what it would be; counted contexts look back 24 at most."""

AMBIGUOUS = ("skip", "sum")
STRANDS = ("forward", "both")


class Strand:
    """Reads one strand of sequences in pieces, one after the other.

    Parameters
    ----------
    model
        what predicts; it does not change.
    ambiguous
        "skip" gives NaN for an ambiguous base, "sum" the log of the sum over what it can stand for.
    """

    def __init__(self, model: BaseModel, *, ambiguous: str = "skip") -> None:
        if ambiguous not in AMBIGUOUS:
            raise UsageError(f"ambiguous bases cannot be treated as {ambiguous!r}", hint="choose skip or sum")
        self._reader = BaseReader(model.contexts, model.network)
        self._sums, self._row = ambiguous == "sum", 0  # the row of the reader's states that holds the last

    def begin(self) -> None:
        """Start a sequence."""
        self._reader.begin()

    def read(self, codes: Codes) -> Values:
        """Return the log-probability in nats of each code, (N,), and go on from after the last one."""
        values = np.full(len(codes), np.nan)
        reached = 0
        for start, end in runs(codes):
            self._skip(codes, values, reached, start)
            for at in range(start, end, CHUNK):
                part = codes[at : min(at + CHUNK, end)]
                values[at : at + len(part)] = log_probs_of(self._follow(part), part)
            reached = end
        self._skip(codes, values, reached, len(codes))
        return values

    def _follow(self, codes: Codes) -> Floats:
        return self._reader.follow(codes)

    def _skip(self, codes: Codes, values: Values, start: int, end: int) -> None:
        """Pass over ambiguous bases; only the first of them is predicted from what stood before."""
        for at in range(start, end) if self._sums else ():
            if self._reader.known or at == start:
                values[at] = math.log(
                    float(self._reader.predict(self._row)[COMPATIBLE[codes[at]]].sum(dtype=np.float64))
                )
                self.begin()
            else:
                values[at] = math.log(COMPATIBLE[codes[at]].sum() / BASES)
        if end > start:
            self.begin()


class AdaptingStrand(Strand):
    """The same with a copy of the model that goes on learning: each block is predicted by weights that saw none of it.

    Parameters
    ----------
    learner
        what learns; it is changed.
    alpha, rate
        the learning rates of the net and of the weights that mix.
    """

    def __init__(self, learner: BaseLearner, *, alpha: float, rate: float, ambiguous: str = "skip") -> None:
        self._learner, self._alpha, self._rate = learner, alpha, rate
        self._reader, self._sums, self._row = learner.reader, ambiguous == "sum", 1

    def begin(self) -> None:
        """Start a sequence."""
        self._learner.begin()

    def _follow(self, codes: Codes) -> Floats:
        parts = [
            self._learner.follow(b, alpha=self._alpha, rate=self._rate) for b in blocks(codes, self._learner.block)
        ]
        return np.concatenate(parts)


def log_probs_of(y: Floats, codes: Codes) -> Values:
    """Return log y(t)[code], (N,), for y (N, 4)."""
    values: Values = np.log(y[np.arange(len(codes)), codes].astype(np.float64))
    return values


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
        return -self.log_prob / math.log(2) / self.bases if self.bases else math.nan


@dataclass(frozen=True)
class ScoredPiece:
    """The log-probabilities, (N,) in nats, of bases from `start` on of a region; NaN where a base was skipped."""

    score: RecordScore
    start: int
    values: Values
    last: bool


def score_regions(
    strand: Strand,
    genome: Genome,
    regions: Iterable[Region],
    *,
    other: Strand | None = None,
    circular: bool = False,
) -> Iterator[ScoredPiece]:
    """Score regions in pieces, in their order; each begins with its first base after nothing.

    Parameters
    ----------
    other
        reads the other strand; the values are then the means of both. A piece is read on it from WARMING bases after
        its end, so that memory does not grow with the record.
    circular
        before the first base of a record that is scored whole its last WARMING bases are read.
    """
    with ThreadPoolExecutor(1) as pool:
        for region in regions:
            score = RecordScore(region)
            strand.begin()
            length = genome.length(region.name)
            whole = circular and region.start == 0 and region.end == length
            if whole:
                strand.read(genome.fetch(region.name, max(0, length - WARMING), length))
            for start in range(region.start, region.end, PIECE) or [region.start]:
                end = min(start + PIECE, region.end)
                codes = genome.fetch(region.name, start, end)
                back = None
                if other is not None:
                    after = genome.fetch(region.name, end, min(end + WARMING, region.end))
                    if whole and end == length:
                        after = genome.fetch(region.name, 0, min(WARMING, length))
                    back = pool.submit(_backwards, other, codes, after)
                values = strand.read(codes)
                if back is not None:
                    values = (values + back.result()) / 2
                scored = ~np.isnan(values)
                score.bases += int(scored.sum())
                score.skipped += int(len(values) - scored.sum())
                score.log_prob += float(values[scored].sum())
                yield ScoredPiece(score, start, values, end == region.end)


def _backwards(strand: Strand, codes: Codes, after: Codes) -> Values:
    strand.begin()
    strand.read(reverse_complement(after))
    return strand.read(reverse_complement(codes))[::-1]


class BaseScorer:
    """The log-probabilities of whole sequences, as `apply.variants` asks for them."""

    def __init__(self, model: BaseModel, *, threads: int | None = None) -> None:
        self.model = model
        self.threads = threads or default_threads()

    def log_probs(self, codes: Codes) -> Values:
        """Return the log-probability in nats of each base given those before it, (N,); NaN for an ambiguous one."""
        strand = Strand(self.model)
        strand.begin()
        return strand.read(codes)

    def log_probs_batch(self, sequences: list[Codes]) -> list[Values]:
        """Return the same of several sequences, shared among threads."""
        if self.threads == 1 or len(sequences) < 2:
            return [self.log_probs(codes) for codes in sequences]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.log_probs, sequences))


def load_scorer(model: str | Path, *, threads: int | None = None) -> BaseScorer:
    """Read a model of DNA for scoring."""
    return BaseScorer(load_base_model(model), threads=threads)


def copy_contexts(contexts: Contexts) -> Contexts:
    """Return contexts with the same counts and weights that share none of them."""
    twin = Contexts(contexts.orders.tolist(), bits=contexts.bits)
    twin.tables[:], twin.weights[:] = contexts.tables, contexts.weights
    return twin


def generate_bases(model: BaseModel, count: int, *, generator: torch.Generator, prompt: Codes | None = None) -> Codes:
    """Draw `count` bases one after the other from what the model says, after a prompt of known bases."""
    reader = BaseReader(model.contexts, model.network)
    reader.begin()
    if prompt is not None and len(prompt):
        if (prompt >= BASES).any():
            raise UsageError("the prompt holds an ambiguous base", hint="begin with known bases only")
        reader.follow(prompt)
    draws = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
    codes = np.empty(count, dtype=np.uint8)
    for t, draw in enumerate(draws.tolist()):
        y = reader.predict()
        codes[t] = min(int(np.searchsorted(np.cumsum(y, dtype=np.float64), draw, side="right")), BASES - 1)
        reader.take(int(codes[t]))
        reader.states[0] = reader.states[1]
    return codes
