"""What a model of DNA says of bases: the log-probability of each, given all before it on its strand.

Where an ambiguous base stands the sequence ends for the model, and begins anew after it. With `ambiguous="sum"` that
base itself is scored, by the sum over the bases that it can stand for; otherwise it is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import UsageError
from elman.learn.bases import BaseLearner
from elman.learn.dna import CHUNK
from elman.network.bases import BaseReader, Codes, Floats
from elman.network.bases_folder import BaseModel, load_base_model
from elman.network.devices import default_threads
from elman.text.dna import BASES, COMPATIBLE, N
from elman.text.segments import runs

Values = NDArray[np.float64]

AMBIGUOUS = ("skip", "sum")

LEAST = float(np.finfo(np.float32).tiny)
"""What a probability that is too small for single precision counts as: 126 bits."""


class Strand:
    """Reads one strand of sequences in pieces, one after the other.

    Parameters
    ----------
    model
        what predicts; it does not change.
    ambiguous
        "skip" gives NaN for an ambiguous base, "sum" the log of the sum over what it can stand for.
    """

    stride: int = CHUNK
    """Bases that are read in one call: calls end at its multiples, counted from where the sequence begins."""

    def __init__(self, model: BaseModel, *, ambiguous: str = "skip") -> None:
        check_ambiguous(ambiguous)
        self._reader = BaseReader(model.contexts, model.network)
        self._row = 0  # of the reader's states: the last one
        self._sums = ambiguous == "sum"
        self._position = 0

    def begin(self) -> None:
        """Start a sequence."""
        self._position = 0
        self._forget()

    def read(self, codes: Codes) -> Values:
        """Return the log-probability in nats of each code, (N,), and go on from after the last one."""
        values = np.full(len(codes), np.nan)
        reached = 0
        for start, end in [*runs(codes), (len(codes), len(codes))]:
            self._pass_over(codes[reached:start], values[reached:start])
            while start < end:
                last = min(end, start + self.stride - (self._position + start) % self.stride)
                part = codes[start:last]
                values[start:last] = log_probs_of(self._follow(part), part)
                start = last
            reached = end
        self._position += len(codes)
        return values

    def _follow(self, codes: Codes) -> Floats:
        return self._reader.follow(codes)

    def _forget(self) -> None:
        self._reader.begin()

    def _pass_over(self, codes: Codes, values: Values) -> None:
        """Pass over ambiguous bases; only the first of them is predicted from what stood before."""
        if not len(codes):
            return
        if self._sums:
            values[0] = self._log_sums()[codes[0]]
        self._forget()
        if self._sums and len(codes) > 1:
            values[1:] = self._log_sums()[codes[1:]]

    def _log_sums(self) -> Values:
        """Return for each code the log of the sum of y over the bases that it can stand for, (15,); 0 for N."""
        sums: Values = COMPATIBLE.astype(np.float64) @ self._reader.predict(self._row).astype(np.float64)
        logs: Values = np.log(np.maximum(sums / sums[N], LEAST))
        return logs


class AdaptingStrand(Strand):
    """The same with a model that goes on learning: each block is predicted by weights that saw none of it.

    A block ends at an ambiguous base, and at multiples of `stride` bases counted from where the sequence begins, so
    that pieces of whole strides give what all at once gives, bit for bit.

    Parameters
    ----------
    learner
        what predicts and learns; it is changed.
    alpha, rate
        the learning rates of the net and of the weights that mix.
    """

    def __init__(self, learner: BaseLearner, *, alpha: float, rate: float, ambiguous: str = "skip") -> None:
        check_ambiguous(ambiguous)
        self._learner, self._alpha, self._rate = learner, alpha, rate
        self._reader, self._row = learner.reader, 1
        self._sums = ambiguous == "sum"
        self._position = 0
        self.stride = learner.block

    def _follow(self, codes: Codes) -> Floats:
        return self._learner.follow(codes, alpha=self._alpha, rate=self._rate)

    def _forget(self) -> None:
        self._learner.begin()


def check_ambiguous(how: str) -> None:
    """Refuse what is no way to treat ambiguous bases."""
    if how not in AMBIGUOUS:
        raise UsageError(f"ambiguous bases cannot be treated as {how!r}", hint="choose skip or sum")


def log_probs_of(y: Floats, codes: Codes) -> Values:
    """Return log y(t)[code], (N,), for y (N, 4)."""
    at_code = y[np.arange(len(codes)), codes].astype(np.float64)
    return np.log(np.maximum(at_code, LEAST))


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


def generate_bases(
    model: BaseModel, count: int, *, generator: torch.Generator, prompt: Codes | None = None, size: int = 1 << 16
) -> Iterator[Codes]:
    """Draw `count` bases one after the other from what the model says, after a prompt; give them `size` at a time.

    The bases depend on the generator's state alone, not on `size`, a multiple of 16.

    Raises
    ------
    UsageError
        for a prompt with an ambiguous base.
    """
    if prompt is not None and (prompt >= BASES).any():
        raise UsageError("the prompt holds an ambiguous base", hint="begin with known bases only")
    reader = BaseReader(model.contexts, model.network)
    reader.begin()
    if prompt is not None and len(prompt):
        reader.follow(prompt)
    return _generated(reader, count, generator, size)


def _generated(reader: BaseReader, count: int, generator: torch.Generator, size: int) -> Iterator[Codes]:
    for start in range(0, count, size):
        draws = torch.rand(min(size, count - start), generator=generator, dtype=torch.float64)
        yield np.fromiter((_drawn(reader, draw) for draw in draws.tolist()), dtype=np.uint8)


def _drawn(reader: BaseReader, draw: float) -> int:
    """Return the base into whose share of [0, 1) a number falls, and read it."""
    base, rest = 0, draw - (shares := reader.predict().tolist())[0]
    while rest >= 0 and base < BASES - 1:
        base += 1
        rest -= shares[base]
    reader.take(base)
    reader.states[0] = reader.states[1]
    return base
