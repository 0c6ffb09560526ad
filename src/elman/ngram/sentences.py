"""Sentences as one flat array of ids, each between its bounds: <s>, its words, </s>."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.text.reading import TextSource

START = "<s>"
Ids = NDArray[np.int64]
Sentences = Iterable[Sequence[str]]
BATCH = 1 << 17  # words that are worked on at a time: what they need stays below some tens of megabytes


def batches(sentences: Sentences | TextSource | str | Path) -> Iterator[list[Sequence[str]]]:
    """Give the sentences in lists of about `BATCH` words; of a text, each line that is not blank is one.

    Raises
    ------
    TextError
        for a text that cannot be read (see `TextSource.lines`).
    """
    if isinstance(sentences, str | Path):
        sentences = TextSource(sentences)
    if isinstance(sentences, TextSource):
        for lines in sentences.blocks():
            yield [words for words in map(str.split, lines) if words]
        return
    batch: list[Sequence[str]] = []
    size = 0
    for sentence in sentences:
        batch.append(sentence)
        size += len(sentence) + 1
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def bounded(ids: Ids, lengths: Ids, *, start: int, end: int) -> Ids:
    """Return the ids of sentences of these lengths with `start` before and `end` after each.

    >>> bounded(np.array([7, 8, 9]), np.array([2, 0, 1]), start=1, end=0).tolist()
    [1, 7, 8, 0, 1, 0, 1, 9, 0]
    """
    ends = np.cumsum(lengths + 2)
    flat = np.empty(len(ids) + 2 * len(lengths), dtype=np.int64)
    inside = np.ones(len(flat), dtype=bool)
    starts = ends - lengths - 2
    inside[starts] = inside[ends - 1] = False
    flat[inside] = ids
    flat[starts] = start
    flat[ends - 1] = end
    return flat
