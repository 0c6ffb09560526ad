"""Word vectors: the words of a file and a float32 matrix with a row for each, read in a stream.

Only the words that are asked for are kept, so that a file of gigabytes needs little memory. Of a word that comes twice
the first row counts. What cannot be read is a `TextError` that says where.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from elman.errors import TextError
from elman.text.bert import WEIGHTS, is_bert, open_bert
from elman.text.reading import TextSource
from elman.text.vector_formats import Rows, Vector, head_of, rows_of, shown
from elman.text.vector_libraries import LIBRARIES


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes
    ----------
    words
        N words, each once.
    matrix
        float32, (N, E): row i belongs to word i.
    name, kind
        the file, and its format in words.
    rows
        rows of the file that were read, those that were not asked for included.
    duplicates
        rows left out since their word, one of those asked for, had come before.
    """

    words: list[str]
    matrix: Vector
    name: str = "vectors"
    kind: str = ""
    rows: int = 0
    duplicates: int = 0

    @property
    def size(self) -> int:
        """E, the numbers of a vector."""
        return int(self.matrix.shape[1])

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each word is."""
        return {word: place for place, word in enumerate(self.words)}

    def place(self, word: str) -> int | None:
        """Return the row of a word, else of the word in lower case, else None."""
        found = self.places.get(word)
        return self.places.get(word.lower()) if found is None else found


def read_vectors(path: str | Path, *, wanted: Iterable[str] | None = None, first: int | None = None) -> WordVectors:
    """Read word vectors from a file, plain or gzip, in any format of `vector_formats` or `vector_libraries`.

    Parameters
    ----------
    path
        the file, or `-` for standard input; or the folder of a BERT, whose vectors are those of `BertFolder`.
    wanted
        the words to keep; of the others only the number of their values is checked. None keeps all.
    first
        read only so many rows, the most frequent words of most files; a header is then not checked against the end.

    Raises
    ------
    ModelError
        for a folder that holds no BERT.
    TextError
        for a file that is missing, empty, cut short, not UTF-8, of an unknown format; a row of another length; a number
        that is infinite or none; a header that lies.
    """
    if is_bert(path):
        return _of_bert(path, wanted, first)
    source = TextSource(path)
    head = head_of(source)
    for begins, library in LIBRARIES.items():
        if head.startswith(begins):
            return _checked(WordVectors(*library(source, None if wanted is None else set(wanted), first)))
    return _read_rows(rows_of(source, head), source.name, wanted, first)


def vector_size(path: str | Path) -> int:
    """Return E from the beginning of a file of word vectors, or from the folder of a BERT."""
    if is_bert(path):
        return open_bert(path).row_size
    source = TextSource(path)
    head = head_of(source)
    if any(head.startswith(begins) for begins in LIBRARIES):
        return read_vectors(path, first=1).size
    rows = rows_of(source, head)
    next(rows.rows(), None)  # refuses a header that its first row contradicts
    return rows.size


def file_of(path: str | Path) -> str:
    """Return the file that holds the numbers: a file of vectors itself, or the weights of a BERT."""
    return str(Path(path) / WEIGHTS) if is_bert(path) else str(path)


def _of_bert(path: str | Path, wanted: Iterable[str] | None, first: int | None) -> WordVectors:
    words, matrix = open_bert(path).word_vectors(wanted)
    return _checked(WordVectors(words[:first], matrix[:first], str(path), "BERT", len(words[:first])))


def _read_rows(rows: Rows, name: str, wanted: Iterable[str] | None, first: int | None) -> WordVectors:
    asked = None if wanted is None else {word.encode("utf-8", "surrogatepass") for word in wanted}
    words: dict[str, None] = {}
    matrix = np.empty((1024 if asked is None else max(1, len(asked)), rows.size), dtype=np.float32)
    read = duplicates = 0
    for row, word, values in _some(rows.rows(), first):
        read += 1
        text = _decoded(rows, row, word)
        if asked is not None and word not in asked:
            continue
        if text in words:
            duplicates += 1
            continue
        vector = rows.numbers(row, values)
        if not np.isfinite(vector).all():
            value = vector[~np.isfinite(vector)][0]
            raise TextError(
                f"{rows.where(row)}: the vector of {shown(word)} holds {value}", hint="mend or drop the row"
            )
        if len(words) == len(matrix):
            matrix = np.concatenate([matrix, np.empty_like(matrix)])
        matrix[len(words)] = vector
        words[text] = None
    kept = matrix[: len(words)].copy() if len(words) < len(matrix) else matrix
    return WordVectors(list(words), kept, name, rows.kind, read, duplicates)


def _some(rows: Iterator[tuple[int, bytes, bytes]], first: int | None) -> Iterator[tuple[int, bytes, bytes]]:
    if first is None:
        yield from rows
        return
    for _, row in zip(range(first), rows, strict=False):
        yield row


def _decoded(rows: Rows, row: int, word: bytes) -> str:
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{rows.where(row)}: byte {error.start + 1} of the word, 0x{word[error.start]:02x}, is not UTF-8",
            hint="is it a file of word vectors? if so, convert it to UTF-8, for example with iconv",
        ) from error


def _checked(vectors: WordVectors) -> WordVectors:
    wrong = np.flatnonzero(~np.isfinite(vectors.matrix).all(axis=1))
    if len(wrong):
        raise TextError(f"{vectors.name}: the vector of {vectors.words[wrong[0]]!r} holds what is no finite number")
    return vectors
