"""Word vectors, written as word2vec writes them: text or binary."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from elman.errors import UsageError
from elman.files import replacing
from elman.text.vector_formats import Vector


def is_writable(word: str) -> bool:
    """Whether a word can stand in a file of vectors, where a space ends it: without spaces, tabs and line ends.

    >>> is_writable("New_York"), is_writable("New York"), is_writable("")
    (True, False, False)
    """
    data = word.encode("utf-8", "surrogatepass")
    return bool(data) and not any(byte <= 32 or byte == 127 for byte in data)


def write_vectors(path: str | Path, words: Sequence[str], matrix: Vector, *, binary: bool = False) -> None:
    """Write words and their vectors, (N, E), to a file, packed if its name ends in .gz, or to standard output (`-`).

    Text holds every number with nine digits, which is what float32 needs: what is read back is bit for bit the same.

    Raises
    ------
    UsageError
        for a word that cannot stand in such a file (`is_writable`), or not one row for each word.
    OutputError
        for a file that cannot be written.
    """
    wrong = next((word for word in words if not is_writable(word)), None)
    if wrong is not None:
        raise UsageError(f"the word {wrong!r} cannot be written: a space ends a word there", hint="leave it out")
    if matrix.ndim != 2 or len(matrix) != len(words):
        raise UsageError(f"{len(words)} words and a matrix of {matrix.shape} do not go together")
    if str(path) == "-":
        _write(sys.stdout.buffer, words, matrix, binary)
        sys.stdout.buffer.flush()
        return
    with replacing(Path(path)) as temporary:
        if str(path).endswith(".gz"):  # no name and no time in the file: the same vectors give the same bytes
            with temporary.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
                _write(cast(BinaryIO, stream), words, matrix, binary)
        else:
            with temporary.open("wb") as plain:
                _write(plain, words, matrix, binary)


def _write(stream: BinaryIO, words: Sequence[str], matrix: Vector, binary: bool) -> None:
    stream.write(f"{len(words)} {matrix.shape[1]}\n".encode())
    for word, vector in zip(words, matrix, strict=True):
        if binary:
            values = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        else:
            values = " ".join(f"{value:.9g}" for value in vector.tolist()).encode()
        stream.write(word.encode("utf-8", "surrogatepass") + b" " + values + b"\n")
