"""Word vectors as libraries store them: gensim's own files, and fastText's binary models.

gensim's files are pickles, and to unpickle a stranger's file is to run his code. So they are read here without gensim
and without any of the classes that they name: NumPy arrays are arrays, everything else is an inert stand-in.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from elman.errors import MissingExtra, TextError
from elman.text.reading import TextSource
from elman.text.vector_formats import Vector

Read = tuple[list[str], Vector, str, str, int, int]
"""Words, matrix, name of the file, kind, rows, duplicates: what `vectors.WordVectors` is made of."""

_ARRAYS: dict[tuple[str, str], tuple[str, str]] = {
    ("numpy", "ndarray"): ("numpy", "ndarray"),
    ("numpy", "dtype"): ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "_reconstruct"): ("numpy._core.multiarray", "_reconstruct"),
}
"""What a pickle needs to make an array, by the new and the old names of NumPy's modules."""


class _StandIn:
    """An object of a class that is not loaded: it keeps its attributes, and does nothing."""

    attributes: dict[str, Any]

    def __new__(cls, *given: Any, **named: Any) -> Self:  # noqa: ANN401 - a pickle may give anything
        self = super().__new__(cls)  # pickles make objects without __init__
        self.attributes = {}
        return self

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - as above
        pass

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401 - as above
        if isinstance(state, dict):
            self.attributes.update(state)

    def __setitem__(self, key: Any, value: Any) -> None:  # noqa: ANN401 - as above
        pass

    def append(self, value: Any) -> None:  # noqa: ANN401 - as above
        pass

    def extend(self, values: Any) -> None:  # noqa: ANN401 - as above
        pass


class _Unpickler(pickle.Unpickler):
    """Reads a pickle without loading what it names."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a class or a function
        found = _ARRAYS.get((module, name))
        return _StandIn if found is None else super().find_class(*found)


def read_gensim(source: TextSource, wanted: set[str] | None, first: int | None) -> Read:
    """Read what gensim's `KeyedVectors.save` or `Word2Vec.save` wrote; large matrices lie beside it as `.npy` files.

    No gensim is needed, and no code that the file names is run.
    """
    try:
        whole = _Unpickler(io.BytesIO(b"".join(source.chunks()))).load()
        found = whole.attributes
        inner = found.get("wv")
        values = inner.attributes if isinstance(inner, _StandIn) else found
        words = values["index_to_key"] if "index_to_key" in values else values["index2word"]
        if "vectors" in (values.get("__ignoreds") or ()):  # gensim makes them anew from the pieces of words
            raise ValueError("a fastText model of gensim holds no vectors of whole words")
        beside = Path(f"{source.name}{'' if values is found else '.wv'}.vectors.npy")
        matrix = values.get("vectors")
        matrix = np.load(beside, mmap_mode="r", allow_pickle=False) if matrix is None else matrix
        if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or len(matrix) < len(words):
            raise ValueError(f"it has no row for each of its {len(words)} words")
        words = [str(word) for word in words]
    except TextError:
        raise
    except FileNotFoundError as error:
        hint = "gensim writes large matrices to files of their own: keep them together"
        raise TextError(f"{source.name} belongs with {error.filename}, which is missing", hint=hint) from error
    except Exception as error:  # a damaged pickle may raise anything
        raise TextError(
            f"{source.name} is a pickle, and no vectors that gensim saved can be read from it: {error or 'damaged'}",
            hint="save them with gensim's save_word2vec_format",
        ) from error
    return _picked(words, matrix, source, "gensim", wanted, first)


def read_fasttext(source: TextSource, wanted: set[str] | None, first: int | None) -> Read:
    """Read the words of fastText's binary model, which needs gensim; no vectors are made of the pieces of others."""
    try:
        from gensim.models.fasttext import load_facebook_vectors
    except ImportError as error:
        what = f"{source.name} is a binary model of fastText; to read it (or use its .vec file), gensim"
        raise MissingExtra(what, "vectors") from error
    if not source.is_file:
        raise TextError(f"{source.name} is a pipe", hint="a binary model of fastText is read from a file")
    try:
        vectors = load_facebook_vectors(source.name)
    except Exception as error:  # gensim raises struct.error, AssertionError, EOFError, ... for a damaged file
        raise TextError(
            f"{source.name} is a binary model of fastText, and is damaged or cut short: {error or 'it ends too early'}",
            hint="copy or download it again",
        ) from error
    return _picked(list(vectors.index_to_key), vectors.vectors, source, "fastText binary", wanted, first)


def _picked(
    words: list[str], matrix: Vector, source: TextSource, kind: str, wanted: set[str] | None, first: int | None
) -> Read:
    """Keep the words that are asked for, the first row of each."""
    read = len(words) if first is None else min(first, len(words))
    places: dict[str, int] = {}
    duplicates = 0
    for place, word in enumerate(words[:read]):
        if wanted is None or word in wanted:
            duplicates += word in places
            places.setdefault(word, place)
    rows = np.fromiter(places.values(), dtype=np.int64, count=len(places))
    return list(places), np.asarray(matrix[rows], dtype=np.float32), source.name, kind, read, duplicates


LIBRARIES: dict[bytes, Callable[[TextSource, set[str] | None, int | None], Read]] = {
    b"\xba\x16\x4f\x2f": read_fasttext,
    **{b"\x80" + bytes([protocol]): read_gensim for protocol in range(2, 6)},
}
"""How files of libraries begin, and what reads them."""
