"""Vectors in two dimensions: the principal components of rows of U, or of a file of vectors. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.apply.word_vectors import find_word, open_vectors
from elman.errors import UsageError
from elman.text.reading import TextSource
from elman.text.vectors import WordVectors

WORDS = 60
"""Words that are shown, the most frequent, unless somebody says."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """Words at their places along the two directions in which their vectors differ most.

    `points` is (N, 2); `shares`, (2,), is how much of the variance of these words each axis holds. `size` is E, the
    numbers of a vector.
    """

    name: str
    kind: str
    size: int
    words: list[str]
    points: list[tuple[float, float]]
    shares: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def principal_components(vectors: NDArray[Any], axes: int = 2) -> tuple[Matrix, Matrix, Matrix]:
    """Return places of vectors, (N, E), along their principal axes, (N, A), the axes, (A, E), and their shares, (A,).

        X - mean(X) = P S Q^T,   places = P S,   share(a) = S(a)^2 / sum S^2

    The largest number of each axis (of those as large, the first) is positive, so that one matrix has one picture.
    Vectors that are all equal have shares of 0.

    Source: K. Pearson, "On lines and planes of closest fit to systems of points in space" (1901).
    """
    X = np.asarray(vectors, dtype=np.float64)
    X = X - X.mean(axis=0)
    P, S, Q = np.linalg.svd(X, full_matrices=False)
    kept = min(axes, len(S))
    places, directions, shares = np.zeros((len(X), axes)), np.zeros((axes, X.shape[1])), np.zeros(axes)
    largest = np.abs(Q[:kept]).argmax(axis=1)
    signs = np.where(Q[np.arange(kept), largest] < 0, -1.0, 1.0)
    places[:, :kept], directions[:kept] = P[:, :kept] * S[:kept] * signs, Q[:kept] * signs[:, None]
    total = float((S**2).sum())
    shares[:kept] = S[:kept] ** 2 / total if total > 0 else 0.0
    return places, directions, shares


def project(path: str | Path, *, words: Sequence[str] = (), top: int = WORDS) -> Projection:
    """Project rows of U of a model, or vectors of a file, on the two principal axes of those that are shown.

    Parameters
    ----------
    words
        those to show; none for the first `top` of the dictionary, which are the most frequent.

    Raises
    ------
    ElmanError
        for what is no model and no file of vectors, or a model whose U has no row for each word.
    UsageError
        for a word that has no vector, or fewer than three words.
    """
    vectors = open_vectors(path)
    chosen = list(dict.fromkeys(find_word(vectors, word) for word in words)) or _frequent(vectors, top)
    if len(chosen) < 3:
        raise UsageError(f"{len(chosen)} vectors have no picture", hint="give three words at least")
    points, _, shares = principal_components(vectors.matrix[chosen])
    return Projection(
        name=vectors.name,
        kind=vectors.kind,
        size=vectors.size,
        words=[vectors.words[place] for place in chosen],
        points=[(float(x), float(y)) for x, y in points],
        shares=(float(shares[0]), float(shares[1])),
    )


def _frequent(vectors: WordVectors, top: int) -> list[int]:
    return list(range(min(top, len(vectors.words))))


def words_of(given: str) -> list[str]:
    """Return the words of a list with spaces between them, or of a file of that name.

    >>> words_of("milk bread shop")
    ['milk', 'bread', 'shop']
    """
    if given == "-" or (given and Path(given).is_file()):
        return [word for line in TextSource(given).lines() for word in line.split()]
    return given.split()
