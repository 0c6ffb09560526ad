"""Sequences with labels: `label<TAB>sequence`, one a line, from a file, a gzip file, a pipe or standard input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError, UsageError, nearest
from elman.text.reading import TextSource

HEADER_HINT = "if line 1 names the columns, say --header"


class Example(NamedTuple):
    """A line: its number in the file, from 1, its label and its sequence."""

    line: int
    label: str
    sequence: str


@dataclass(frozen=True)
class Labelled:
    """All examples of a file, in its order, and what the file is called."""

    name: str
    examples: list[Example]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def sequences(self) -> list[str]:
        """The sequences, in the order of the file."""
        return [example.sequence for example in self.examples]

    @property
    def labels(self) -> list[str]:
        """The label of each sequence."""
        return [example.label for example in self.examples]

    def part(self, indices: Sequence[int] | NDArray[np.int64]) -> Labelled:
        """Return some of the examples."""
        return Labelled(self.name, [self.examples[index] for index in indices])


def read_labelled(path: str | Path, *, header: bool = False, raw: bool = False) -> Labelled:
    """Read a file of examples; blank lines are skipped.

    Parameters
    ----------
    header
        the first line names the columns, and is no example.
    raw
        sequences are bytes, which need not be UTF-8 (they come as `surrogateescape` writes them); labels are UTF-8.

    Raises
    ------
    TextError
        for a file that cannot be read, or the first line with no tab, more than one, an empty label or an empty
        sequence.
    """
    source = TextSource(path)
    examples = list(labelled_lines(source, header=header, raw=raw))
    if not examples:
        raise TextError(f"{source.name} holds a header and no example", hint="give label<TAB>sequence, one a line")
    return Labelled(source.name, examples)


def labelled_lines(source: TextSource, *, header: bool = False, raw: bool = False) -> Iterator[Example]:
    """Give the examples of a text one by one; parameters and errors as in `read_labelled`."""
    for number, line in numbered_lines(source, header=header, raw=raw):
        yield _example(source.name, number, line)


def numbered_lines(source: TextSource, *, header: bool = False, raw: bool = False) -> Iterator[tuple[int, str]]:
    """Give the lines that are not blank with their numbers, from 1, without the first one if it is a header."""
    lines = _decoded(source) if raw else source.lines()
    for number, line in enumerate(lines, start=1):
        if line.strip(" \r") and not (header and number == 1):
            yield number, line


def _decoded(source: TextSource) -> Iterator[str]:
    return (line.removesuffix(b"\r").decode("utf-8", errors="surrogateescape") for line in source.raw_lines())


def _example(name: str, number: int, line: str) -> Example:
    where, hint = f"{name}, line {number}", "give label<TAB>sequence, one a line"
    parts = line.split("\t")
    if len(parts) == 1:
        raise TextError(f"{where}: there is no tab between a label and a sequence", hint=hint)
    if len(parts) > 2:
        raise TextError(f"{where}: there are {len(parts) - 1} tabs, and one was expected", hint=hint)
    label, sequence = parts[0].strip(), parts[1]
    if not label:
        raise TextError(f"{where}: the label is empty", hint=hint)
    if not sequence.strip():
        raise TextError(f"{where}: the sequence is empty", hint=hint)
    if any("\udc80" <= character <= "\udcff" for character in label):
        raise TextError(f"{where}: the label is not UTF-8", hint="only sequences may be any bytes")
    return Example(number, label, sequence)


def labels_of(data: Labelled, *, least: int = 2) -> list[str]:
    """Return the labels of training examples, sorted.

    Raises
    ------
    TextError
        for a single label, or one with fewer than `least` examples.
    """
    counts = Counter(data.labels)
    if len(counts) < 2:
        only = next(iter(counts))
        raise TextError(f"{data.name} has only one label, {only!r}: there is nothing to tell apart")
    for label, count in sorted(counts.items()):
        if count < least:
            line = next(example.line for example in data.examples if example.label == label)
            raise TextError(
                f"{data.name}, line {line}: the label {label!r} has {_examples(count)}, and {least} are the least",
                hint=HEADER_HINT if line == 1 else "give more examples of it, or none",
            )
    return sorted(counts)


def _examples(count: int) -> str:
    return f"{count} example{'s' * (count != 1)}"


def check_labels(data: Labelled, known: Container[str], labels: Sequence[str]) -> None:
    """Refuse the first example whose label is not `known`, the `labels` of the training examples."""
    for example in data.examples:
        if example.label not in known:
            close = nearest(example.label, labels)
            some = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            hint = HEADER_HINT if example.line == 1 else f"known: {some}"
            raise TextError(
                f"{data.name}, line {example.line}: training never saw the label {example.label!r}",
                hint=f"did you mean {close}?" if close and example.line > 1 else hint,
            )


def stratified_split(
    labels: Sequence[str], share: float, draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold out a share of the examples of every label: return the indices to train on, and those held out, both sorted.

    Of each label at least one is held out and at least one is left.

    >>> kept, held = stratified_split(["a", "b", "a", "b", "a", "a"], 0.25, np.random.default_rng(1))
    >>> len(kept), len(held)
    (4, 2)
    """
    if not 0.0 < share < 1.0:
        raise UsageError(f"the share to hold out is {share:g}", hint="it lies between 0 and 1, such as 0.1")
    array = np.array(labels, dtype=object)
    held: list[NDArray[np.int64]] = []
    for label in sorted(set(labels)):
        places = np.flatnonzero(array == label)
        count = min(len(places) - 1, max(1, round(share * len(places))))
        held.append(draw.permutation(places)[:count])
    chosen = np.sort(np.concatenate(held))
    if not len(chosen):
        raise UsageError("every label has one example only: none can be held out", hint="give examples to validate on")
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def stratified_folds(labels: Sequence[str], count: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold, 0 .. count - 1, of each example: every label is dealt out evenly, and folds are of equal size.

    >>> folds = stratified_folds(["a", "b", "a", "b", "a", "a"], 2, np.random.default_rng(1))
    >>> sorted(folds.tolist()), sorted(folds[[1, 3]].tolist())
    ([0, 0, 0, 1, 1, 1], [0, 1])
    """
    if not 2 <= count <= len(labels):
        raise UsageError(
            f"{count} folds of {len(labels)} examples cannot be", hint="give 2 folds or more, and an example for each"
        )
    array = np.array(labels, dtype=object)
    order = np.concatenate([draw.permutation(np.flatnonzero(array == label)) for label in sorted(set(labels))])
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order] = np.arange(len(labels)) % count  # the next label goes on where the last one stopped
    return folds
