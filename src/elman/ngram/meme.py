"""Background models as files of the MEME Suite.

The format, as its documentation gives it: `#` begins a comment; all words of one length after another, each with its
probability, short words first. The probabilities of a length sum to one, none is zero, and those of all words with the
same ending sum to about that of the ending (but for the ends of sequences, where longer words are fewer).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elman.files import write_text
from elman.ngram.markov import Counts
from elman.text.dna import LETTERS

HIGHEST = 6
"""The highest order that is written where none is asked for: 16,384 words of 7 bases, and all shorter ones."""


def write_background(path: Path, tables: Sequence[Counts], *, order: int) -> None:
    """Write the words of 1 to `order` + 1 bases; `tables` are counts by order, as from `WordCounts.tables`."""
    write_text(path, background(tables, order=order))


def background(tables: Sequence[Counts], *, order: int) -> str:
    """Return the text of a background file.

    >>> print(background([np.array([1, 2, 2, 1])], order=0), end="")
    # order 0
    A 1.785714e-01
    C 3.214286e-01
    G 3.214286e-01
    T 1.785714e-01
    """
    lines = []
    for length, probs in enumerate(word_probs(tables, order), start=1):
        lines.append(f"# order {length - 1}\n")
        lines += [f"{word(key, length)} {prob:.6e}\n" for key, prob in enumerate(probs.tolist())]
    return "".join(lines)


def word_probs(tables: Sequence[Counts], order: int) -> list[NDArray[np.float64]]:
    """Return the probabilities of the words of 1 to `order` + 1 bases, each length summing to one.

    To the counts of each length one word is added, spread evenly over all, so that none is zero.
    """
    padded = [table + 1 / len(table) for table in tables[: order + 1]]
    return [counts / counts.sum() for counts in padded]


def word(key: int, length: int) -> str:
    """Return the letters of a word: the last base, plus 4 times the base before, and so on.

    >>> word(6, 3)
    'ACG'
    """
    return "".join(LETTERS[key >> 2 * back & 3] for back in range(length - 1, -1, -1))
