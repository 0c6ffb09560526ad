"""What a classifier reads, made into numbers: sequences of symbols, sequences of vectors, or points.

Every kind gives the same two things: the sequences, for the recurrent net, and one row of features for each of them,
for the nets that know no order. `FRONTS` is the table of kinds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elman.errors import TextError, UsageError
from elman.text.bags import Bag, NgramDictionary, PlacedDictionary
from elman.text.bases import ambiguous, reverse_complement
from elman.text.batches import known
from elman.text.labelled import Labelled
from elman.text.symbols import Tokenizer

Array = NDArray[np.float64]
Rows = list[Bag] | NDArray[np.float32]


class Encoded(NamedTuple):
    """N inputs as numbers: the sequences, where there are some, and a row of features each, (N, F) or bags.

    `placed` are other rows, of n-grams at their places, where the classifier looks at these.
    """

    sequences: list[NDArray[Any]] | None
    rows: Rows
    placed: list[Bag] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class SymbolFront:
    """Sequences of symbols; their features are the n-grams in them.

    Attributes
    ----------
    placed
        n-grams at their places, where these are features too.
    length
        how many symbols every sequence has to have; 0 for any.
    """

    tokenizer: Tokenizer
    ngrams: NgramDictionary
    placed: PlacedDictionary | None = None
    length: int = 0
    kind: ClassVar[str] = "symbols"

    @property
    def inputs(self) -> int:
        """The dictionary size D."""
        return self.tokenizer.size

    @property
    def features(self) -> int:
        """How many n-grams there are."""
        return len(self.ngrams)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode sequences. Raises `UsageError` for one without a symbol, or of another length than there has to be."""
        sequences = symbols_of(self.tokenizer, texts)
        check_length(sequences, self.length)
        return self._rows(sequences)

    def other_strand(self, encoded: Encoded) -> Encoded:
        """Return the reverse complements of sequences of bases."""
        assert encoded.sequences is not None, "symbols are sequences"
        return self._rows([reverse_complement(ids) for ids in encoded.sequences])

    def _rows(self, sequences: list[NDArray[np.int64]]) -> Encoded:
        lists = [ids.tolist() for ids in sequences]
        placed = None if self.placed is None else [self.placed.bag(symbols) for symbols in lists]
        return Encoded(list(sequences), [self.ngrams.bag(symbols) for symbols in lists], placed)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what has to be kept with the weights."""
        placed = {} if self.placed is None else {"placed": self.placed.table}
        return {"ngrams": self.ngrams.table, **placed}


def check_length(sequences: Sequence[NDArray[np.int64]], length: int) -> None:
    """Refuse, with a `UsageError`, the first sequence that has not `length` symbols; 0 stands for any length."""
    for number, ids in enumerate(sequences, start=1):
        if length and len(ids) != length:
            raise UsageError(
                f"sequence {number} has {len(ids)} symbols, and {length} were expected: places need one length",
                hint="cut all sequences to the same window, or judge without their places",
            )


def symbols_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[NDArray[np.int64]]:
    """Return the ids of each text, what the dictionary lacks as <unk>. Raises `UsageError` for one without a symbol."""
    sequences = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise UsageError(f"sequence {number} is {type(text).__name__}, and text was expected")
        ids = np.array(tokenizer.encode(text), dtype=np.int64)
        if not len(ids):
            raise UsageError(f"sequence {number} holds no symbol", hint="leave it out")
        sequences.append(known(ids, tokenizer.size, tokenizer.unk_id)[0])
    return sequences


def check_sequences(data: Labelled, tokenizer: Tokenizer, length: int) -> Counter[str]:
    """Return how often each letter comes that is no base but may be one, where symbols are bases.

    Raises
    ------
    TextError
        for the first sequence that has not `length` symbols (0: any), or holds what cannot be a base.
    """
    for example in data.examples if length else ():
        if (found := len(tokenizer.encode(example.sequence))) != length:
            raise TextError(
                f"{data.name}, line {example.line}: {found} symbols, and {length} were expected: "
                "places need one length",
                hint="cut all sequences to the same window, or judge without their places",
            )
    return ambiguous(data) if tokenizer.unit == "dna" else Counter()


@dataclass(frozen=True)
class PointFront:
    """Points: rows of P real numbers, each less `shift` and divided by `scale`; there is no sequence."""

    shift: Array
    scale: Array
    kind: ClassVar[str] = "points"

    @classmethod
    def of(cls, points: ArrayLike) -> PointFront:
        """Take mean and standard deviation of training points, (N, P)."""
        return cls(*_moments(real(points, 2)))

    @property
    def inputs(self) -> int:
        """P."""
        return len(self.shift)

    @property
    def features(self) -> int:
        """P too: the features are the point."""
        return len(self.shift)

    def encode(self, points: ArrayLike) -> Encoded:
        """Standardise points, (N, P). Raises `UsageError` for another shape, or what is no number."""
        return Encoded(None, _standard(real(points, 2), self))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what has to be kept with the weights."""
        return {"shift": self.shift, "scale": self.scale}


@dataclass(frozen=True)
class VectorFront:
    """Sequences of vectors of P real numbers, standardised; their features are the mean vector, which has no order."""

    shift: Array
    scale: Array
    kind: ClassVar[str] = "vectors"

    @classmethod
    def of(cls, sequences: Sequence[ArrayLike]) -> VectorFront:
        """Take mean and standard deviation over all steps of training sequences, (T, P) each."""
        return cls(*_moments(np.concatenate(_steps(sequences))))

    @property
    def inputs(self) -> int:
        """P."""
        return len(self.shift)

    @property
    def features(self) -> int:
        """P."""
        return len(self.shift)

    def encode(self, sequences: Sequence[ArrayLike]) -> Encoded:
        """Standardise sequences: an array (N, T, P), or arrays (T, P) of different T."""
        standard = [_standard(steps, self) for steps in _steps(sequences)]
        return Encoded(list(standard), np.stack([steps.mean(axis=0) for steps in standard]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what has to be kept with the weights."""
        return {"shift": self.shift, "scale": self.scale}


Front = SymbolFront | VectorFront | PointFront
FRONTS: dict[str, type[Front]] = {front.kind: front for front in (SymbolFront, VectorFront, PointFront)}


def arrays_needed(
    kind: str, inputs: int, features: int, order: int, placed: tuple[int, int] = (0, 0)
) -> Mapping[str, tuple[tuple[int, ...], str]]:
    """Return the shape and type of each array that a front of a kind keeps with the weights.

    `placed` are the number of n-grams at their places, and the order of the longest.
    """
    if kind == SymbolFront.kind:
        more = {"placed": ((placed[0], PlacedDictionary.width(placed[1])), "int64")} if placed[0] else {}
        return {"ngrams": ((features, order), "int64"), **more}
    return {"shift": ((inputs,), "float64"), "scale": ((inputs,), "float64")}


def real(values: ArrayLike, dimensions: int) -> Array:
    """Return an array of real numbers with so many dimensions, none of them empty.

    Raises
    ------
    UsageError
        for anything else, or a number that is infinite or none.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"these are no real numbers: {error}") from error
    if array.ndim != dimensions or not array.size:
        shape = "(N, P)" if dimensions == 2 else f"of {dimensions} dimensions"
        raise UsageError(f"an array {shape} was expected, and this one is {array.shape}")
    if not np.isfinite(array).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise UsageError(f"the value at {place} is {array[place]}", hint="leave out what is no finite number")
    return array


def _steps(sequences: Sequence[ArrayLike]) -> list[Array]:
    if not len(sequences):
        raise UsageError("there is no sequence")
    steps = []
    for number, sequence in enumerate(sequences, start=1):
        try:
            steps.append(real(sequence, 2))
        except UsageError as error:
            raise UsageError(f"sequence {number}: {error.message}", hint=error.hint) from error
        if steps[-1].shape[1] != steps[0].shape[1]:
            raise UsageError(f"sequence {number} has vectors of {steps[-1].shape[1]} numbers, not {steps[0].shape[1]}")
    return steps


def _moments(rows: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each column; 1 for a column that never changes."""
    deviation = rows.std(axis=0)
    return rows.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def _standard(rows: Array, front: PointFront | VectorFront) -> NDArray[np.float32]:
    if rows.shape[1] != len(front.shift):
        raise UsageError(f"vectors of {len(front.shift)} numbers were expected, and these have {rows.shape[1]}")
    return ((rows - front.shift) / front.scale).astype(np.float32)
