r"""All of a FASTA file but its bases: what is needed to get the file back byte for byte from codes 0..3 of A, C, G, T.

A file is lines, each with the end `\n` or `\r\n`, of which the last may have none. A line that begins with `>` or `;`
is a text, kept as it is; the others are a sequence. The letters of all sequences in a row are runs of upper and lower
case (soft masks), and in between of letters other than A, C, G and T; the length of the lines is a run as well, since
nearly all lines of a record are equally long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError

BASES = b"ACGT"
OTHERS = b"UNRYSWKMBDHV-*. \t"
"""What a sequence may hold besides the bases, letters in either case: uracil, IUPAC codes, gaps, stops, spaces."""

PIECE = 1 << 20
"""Bases that are unpacked at a time, where lines are shorter than that."""

_MOST = 1 << 48  # no count is as large; sums of such counts fit into 64 bits

Codes = NDArray[np.uint8]
_Bytes = NDArray[np.uint8]

NO_CODE = 4
"""What is no base has this instead of a code."""

LF, CR = 10, 13


def _tables() -> tuple[_Bytes, NDArray[np.bool_], NDArray[np.bool_]]:
    """Return, by byte: the code of a base or 4, whether a sequence may hold it, whether it is lower case."""
    codes = np.full(256, NO_CODE, dtype=np.uint8)
    allowed = np.zeros(256, dtype=np.bool_)
    lower = np.zeros(256, dtype=np.bool_)
    lower[ord("a") : ord("z") + 1] = True
    for letters in (BASES, BASES.lower()):
        codes[list(letters)] = range(len(BASES))
    allowed[list(BASES + OTHERS + (BASES + OTHERS).lower())] = True
    return codes, allowed, lower


CODE_OF, IS_ALLOWED, IS_LOWER = _tables()
"""Tables by byte."""

_LETTERS = np.frombuffer(BASES, dtype=np.uint8)


@dataclass
class Layout:
    """What a FASTA file holds besides its bases.

    Parameters
    ----------
    texts
        the lines that begin with `>` or `;`, without their ends, as Latin-1; None first where the file begins with a
        sequence.
    lines
        for each text the lengths of the lines of sequence after it, in runs: length, how often, length, how often, ...
    ends
        how many lines end with LF, then how many with CRLF, in turn.
    open_end
        whether the last line has no end.
    lower
        how many letters of all sequences are upper case, then how many lower case, in turn.
    others
        how many bases come first, then what other letter (upper case), and how often, and so on in threes.
    bases
        how many codes there are.
    sha256
        of the file, in hexadecimal.
    """

    texts: list[str | None] = field(default_factory=list)
    lines: list[list[int]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    open_end: bool = False
    lower: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    bases: int = 0
    sha256: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the layout as plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Any) -> Layout:  # noqa: ANN401 - what JSON held
        """Return the layout of JSON values.

        Raises
        ------
        TextError
            for values of another shape.
        """
        names = {part.name for part in fields(Layout)}
        if not isinstance(values, dict) or set(values) != names or not _is_sound(values):
            raise TextError("the layout of the FASTA file is damaged", hint="copy or compress the file again")
        return Layout(**values)


def _is_sound(values: dict[str, Any]) -> bool:
    texts, lines = values["texts"], values["lines"]
    counts = [values["ends"], values["lower"], values["others"], *(lines if isinstance(lines, list) else [None])]
    return (
        all(isinstance(part, list) and all(type(n) is int and 0 <= n < _MOST for n in part) for part in counts)
        and isinstance(texts, list)
        and all(text is None or isinstance(text, str) for text in texts)
        and len(texts) == len(lines)
        and len(values["others"]) % 3 == 0
        and all(n < 256 for n in values["others"][1::3])
        and all(len(runs) % 2 == 0 for runs in lines)
        and type(values["bases"]) is int
        and isinstance(values["sha256"], str)
        and isinstance(values["open_end"], bool)
    )


def unpack(layout: Layout, codes: Codes) -> Iterator[bytes]:
    """Give the bytes of the FASTA file, some at a time.

    Parameters
    ----------
    layout
        of the file.
    codes
        0..3 of all its bases, (layout.bases,).

    Raises
    ------
    TextError
        for a layout that contradicts itself or the number of codes.
    """
    if len(codes) != layout.bases:
        raise TextError(f"the layout is of {layout.bases} bases, and {len(codes)} were given")
    ends = _Runs(_in_turn(layout.ends))
    letters = _Letters(layout, codes)
    last = len(layout.texts) - 1
    for place, (text, runs) in enumerate(zip(layout.texts, layout.lines, strict=True)):
        open_end = layout.open_end and place == last
        if text is not None:
            yield text.encode("latin-1") + _end_of(ends, open_end and not runs)
        lengths = np.repeat(np.array(runs[::2], dtype=np.int64), np.array(runs[1::2], dtype=np.int64))
        for begin, stop in _pieces(lengths):
            yield _lines(lengths[begin:stop], ends, letters, open_end and stop == len(lengths))
    if not (letters.is_done() and ends.is_done()):
        raise TextError(f"the lines of the layout hold fewer than its {len(codes)} bases")


def _pieces(lengths: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Cut lines into ranges of about `PIECE` bases, each of one line at least."""
    totals = np.cumsum(lengths + 1)
    begin = 0
    while begin < len(lengths):
        before = int(totals[begin - 1]) if begin else 0
        stop = max(begin + 1, int(np.searchsorted(totals, before + PIECE, side="right")))
        yield begin, stop
        begin = stop


def _end_of(ends: _Runs, open_end: bool) -> bytes:
    if open_end:
        return b""
    return b"\r\n" if ends.take(1)[0] else b"\n"


def _lines(lengths: NDArray[np.int64], ends: _Runs, letters: _Letters, open_end: bool) -> bytes:
    """Put the next letters into lines of these lengths."""
    crlf = np.zeros(len(lengths), dtype=np.int64)
    ended = len(lengths) - open_end
    crlf[:ended] = ends.take(ended)
    stops = np.cumsum(lengths + 1 + crlf)  # where each line's LF is, plus one
    size = int(stops[-1])
    out = np.empty(size, dtype=np.uint8)
    is_letter = np.ones(size, dtype=np.bool_)
    out[stops - 1] = LF
    is_letter[stops - 1] = False
    returns = stops[crlf > 0] - 2
    out[returns] = CR
    is_letter[returns] = False
    out[is_letter] = letters.take(int(lengths.sum()))
    return out[: size - open_end].tobytes()


class _Runs:
    """Gives the next values of (value, how often) pairs."""

    def __init__(self, runs: Iterable[tuple[int, int]]) -> None:
        self._runs = iter(runs)
        self._value, self._left = 0, 0

    def take(self, count: int) -> _Bytes:
        """Return the next values, (count,); zeros where the runs have ended."""
        values, sizes = [], []
        while count > 0:
            if self._left == 0:
                self._value, self._left = next(self._runs, (0, count))
                continue
            size = min(count, self._left)
            values.append(self._value)
            sizes.append(size)
            self._left -= size
            count -= size
        return np.repeat(np.array(values, dtype=np.uint8), np.array(sizes, dtype=np.int64))

    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._left == 0 and all(size == 0 for _, size in self._runs)


class _Letters:
    """Gives the next letters of all sequences: codes as letters, other letters between, lower case where it was."""

    def __init__(self, layout: Layout, codes: Codes) -> None:
        self._codes, self._place = codes, 0
        self._lower = _Runs(_in_turn(layout.lower))
        threes = zip(layout.others[::3], layout.others[1::3], layout.others[2::3], strict=True)
        runs = (run for bases, letter, count in threes for run in ((0, bases), (letter, count)))
        self._others = _Runs(runs)  # 0 is a base; after the last run all are bases

    def take(self, count: int) -> _Bytes:
        """Return the next letters, (count,)."""
        letters = self._others.take(count)
        is_base = letters == 0
        stop = self._place + int(np.count_nonzero(is_base))
        if stop > len(self._codes):
            raise TextError(f"the lines of the layout hold more than its {len(self._codes)} bases")
        letters[is_base] = _LETTERS[self._codes[self._place : stop]]
        self._place = stop
        letters[self._lower.take(count) > 0] += ord("a") - ord("A")
        return letters

    def is_done(self) -> bool:
        """Whether nothing is left."""
        return self._place == len(self._codes) and self._others.is_done() and self._lower.is_done()


def _in_turn(counts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Give 0 so often, then 1 so often, then 0 again."""
    return ((place % 2, count) for place, count in enumerate(counts))
