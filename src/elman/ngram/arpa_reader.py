r"""ARPA files, read a megabyte at a time.

Every line of an order has the same form, so the lines of a block are cut at once and worked on by column; only where
that fails are they looked at one by one, to say which is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elman.errors import ModelError
from elman.ngram.model import Floats, Level, NGramModel
from elman.ngram.sentences import START, Ids
from elman.text.symbols import END, UNK

NEVER = -99.0
"""The log10 that stands for a probability of zero."""

_COUNT = re.compile(rb"ngram\s+(\d{1,4})\s*=\s*(\d{1,15})")
_HEADING = re.compile(rb"\\(\d{1,4})-grams:")
_SLIP = 1e-3  # a probability that rounding put above 1: by how much its log10 may be
_BAD_FILE = "copy or make the ARPA file again"
_Row = Sequence[bytes]


@dataclass
class _Part:
    """Some lines of one order: line numbers, log10 p, words by position (ids; names at order 1), log10 b."""

    numbers: Ids
    probs: Floats
    words: list[Ids]
    backoffs: Floats


class Reader:
    """An ARPA file that is fed in blocks of lines.

    Every complaint is a `ModelError` that names the file and the line.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines = 0  # read so far
        self._declared: dict[int, tuple[int, int]] = {}  # order: (how many n-grams, in which line it is said)
        self._section: int | str = "before"  # before, counts, an order, end
        self._heading = 0  # the line that the section begins in
        self._parts: list[_Part] = []
        self._names: list[bytes] = []  # the words of order 1
        self._ids: dict[bytes, int] = {}
        self._vocabulary: list[str] = []
        self._levels: list[Level] = []

    def feed(self, lines: Sequence[bytes]) -> None:
        """Take the next lines of the file."""
        first = 0
        for place in [place for place, line in enumerate(lines) if line.startswith(b"\\")]:
            self._body(lines[first:place], self._lines + first + 1)
            self._mark(lines[place].strip(), self._lines + place + 1)
            first = place + 1
        self._body(lines[first:], self._lines + first + 1)
        self._lines += len(lines)

    def finish(self) -> NGramModel:
        """Return the model; complain of a file that is not whole."""
        if self._section == "before":
            raise ModelError(
                f"{self._name} is not an ARPA file: it has no line \\data\\", hint="elman ngram train makes one"
            )
        if self._section != "end":
            raise ModelError(
                f"{self._name} is cut short: it ends in line {self._lines} without \\end\\", hint=_BAD_FILE
            )
        return NGramModel(self._vocabulary, self._levels, unk_trained=unk_trained(self._vocabulary, self._levels))

    def _wrong(self, number: int, what: str) -> ModelError:
        return ModelError(f"{self._name}, line {number}: {what}", hint=_BAD_FILE)

    def _mark(self, line: bytes, number: int) -> None:
        """Take a line that begins with a backslash: the beginning or end of a section."""
        if self._section == "end":
            return
        heading = _HEADING.fullmatch(line)
        if line == b"\\data\\" and self._section == "before":
            self._section = "counts"
        elif self._section == "before":
            return  # text before the beginning is nobody's business
        elif heading and self._section != "before":
            self._close(number)
            order = int(heading[1])
            if order != len(self._levels) + 1 or order not in self._declared:
                raise self._wrong(number, f"the section \\{order}-grams: is not expected here")
            self._section, self._heading = order, number
        elif line == b"\\end\\":
            self._close(number)
            if len(self._levels) < len(self._declared):
                raise self._wrong(number, f"the section \\{len(self._levels) + 1}-grams: is missing")
            self._section = "end"
        else:
            raise self._wrong(number, f"{_shown(line)} is no heading of an ARPA file")

    def _body(self, lines: Sequence[bytes], number: int) -> None:
        """Take lines between two headings."""
        if self._section == "counts":
            for place, line in enumerate(lines):
                self._count(line.strip(), number + place)
        elif isinstance(self._section, int) and lines:
            self._rows(lines, number, self._section)

    def _count(self, line: bytes, number: int) -> None:
        match = _COUNT.fullmatch(line)
        if match and int(match[1]) == len(self._declared) + 1:
            self._declared[int(match[1])] = int(match[2]), number
        elif line:
            raise self._wrong(number, f"{_shown(line)} is not of the form: ngram {len(self._declared) + 1}=COUNT")

    def _rows(self, lines: Sequence[bytes], number: int, order: int) -> None:
        columns = _columns(lines)
        numbers = np.arange(number, number + len(lines))
        if columns is not None:
            with suppress(ValueError, KeyError):
                self._parts.append(self._part(columns, numbers, order))
                return
        rows = [line.split() for line in lines]
        if not all(rows):
            numbers = numbers[[bool(row) for row in rows]]
            rows = [row for row in rows if row]
        if not rows:
            return
        widths = set(map(len, rows))
        if len(widths) > 1 and widths == {order + 1, order + 2}:
            rows = [row if len(row) == order + 2 else [*row, b"0"] for row in rows]  # no back-off weight: log10 of 1
        try:
            self._parts.append(self._part(list(zip(*rows, strict=True)), numbers, order))
        except (ValueError, KeyError):
            for row, place in zip(rows, numbers.tolist(), strict=True):
                self._check_row(row, place, order)
            raise

    def _part(self, columns: Sequence[_Row], numbers: Ids, order: int) -> _Part:
        """Turn the columns of some lines into numbers; `ValueError` or `KeyError` where a line is wrong."""
        if len(columns) not in (order + 1, order + 2):
            raise ValueError
        probs = np.array(list(map(float, columns[0])))
        weighted = len(columns) == order + 2
        backoffs = np.array(list(map(float, columns[-1]))) if weighted else np.zeros(len(numbers))
        if not (probs <= _SLIP).all() or np.isnan(backoffs).any() or np.isposinf(backoffs).any():
            raise ValueError
        if order == 1:
            self._names += columns[1]
            return _Part(numbers, probs, [], backoffs)
        words = [
            np.fromiter(map(self._ids.__getitem__, column), dtype=np.int64, count=len(numbers))
            for column in columns[1 : order + 1]
        ]
        return _Part(numbers, probs, words, backoffs)

    def _check_row(self, row: _Row, number: int, order: int) -> None:
        """Complain of a line if it is wrong."""
        shown = _shown(b" ".join(row))
        if len(row) not in (order + 1, order + 2):
            what = f"{order} word(s) and a back-off weight or none"
            raise self._wrong(number, f"{shown} is not a log-probability, {what}")
        for text in (row[0], *row[order + 1 :]):
            try:
                value = float(text)
            except ValueError:
                raise self._wrong(number, f"{_shown(text)} is not a number") from None
            if not value < float("inf"):
                raise self._wrong(number, f"{_shown(text)} is not the logarithm of a number")
        if float(row[0]) > _SLIP:
            raise self._wrong(number, f"{_shown(row[0])} is the logarithm of a probability above 1")
        for word in row[1 : order + 1] if order > 1 else ():
            if word not in self._ids:
                raise self._wrong(number, f"the word {_shown(word)} is not among the 1-grams")

    def _close(self, number: int) -> None:
        """Make a level of the section that ends before line `number`."""
        if not isinstance(self._section, int):
            if not self._declared:
                raise self._wrong(number, "there is no line ngram 1=COUNT before it")
            return
        order, parts, self._parts = self._section, self._parts, []
        size = sum(len(part.numbers) for part in parts)
        declared, line = self._declared[order]
        if size != declared:
            raise self._wrong(
                number, f"the section \\{order}-grams: holds {size} n-grams where line {line} says {declared}"
            )
        numbers = np.concatenate([np.empty(0, dtype=np.int64), *(part.numbers for part in parts)])
        probs = natural(np.concatenate([np.empty(0), *(part.probs for part in parts)]))
        backoffs = natural(np.concatenate([np.empty(0), *(part.backoffs for part in parts)]))
        np.minimum(probs, 0.0, out=probs)
        if order == 1:
            self._levels.append(self._unigrams(numbers, probs, backoffs))
            return
        nothing = np.empty(0, dtype=np.int64)
        words = [np.concatenate([nothing, *(part.words[place] for part in parts)]) for place in range(order)]
        keys = self._keys(words, numbers)
        ordered = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(keys[ordered][1:] == keys[ordered][:-1])
        if len(twice):
            place = int(ordered[twice[0] + 1])
            text = b" ".join(self._names[column[place]] for column in words)
            raise self._wrong(int(numbers[place]), f"the {order}-gram {_shown(text)} is there twice")
        self._levels.append(Level(keys[ordered], probs[ordered], backoffs[ordered]))

    def _unigrams(self, numbers: Ids, probs: Floats, backoffs: Floats) -> Level:
        """Give ids to the words in the order of the file, <s> last, and lay out level 1 by id."""
        names = self._names
        start = START.encode()
        words = [name for name in names if name != start]
        self._names = [*words, start]
        self._ids = {name: id for id, name in enumerate(self._names)}
        if len(self._ids) < len(names) or len(words) + 1 < len(names):
            seen: set[bytes] = set()
            for name, number in zip(names, numbers.tolist(), strict=True):
                if name in seen:
                    raise self._wrong(number, f"the word {_shown(name)} is there twice")
                seen.add(name)
        for name, number in zip(names, numbers.tolist(), strict=True):
            if not _is_utf8(name):
                raise self._wrong(number, f"the word {_shown(name)} is not UTF-8")
        if END.encode() not in self._ids:
            raise self._wrong(self._heading, f"there is no {END} among the 1-grams")
        self._vocabulary = [name.decode() for name in words]
        ids = np.array([self._ids[name] for name in names], dtype=np.int64)
        log_probs, weights = np.full(len(self._names), -np.inf), np.zeros(len(self._names))
        log_probs[ids], weights[ids] = probs, backoffs
        log_probs[-1] = -np.inf  # some tools write 0 for <s>, which is never predicted
        return Level(np.arange(len(self._names)), log_probs, weights)

    def _keys(self, words: Sequence[Ids], numbers: Ids) -> Ids:
        """Return the key of each n-gram; its beginning has to be listed, since the back-off weight stands there."""
        radix = len(self._names)
        contexts = words[0]
        for level, column in zip(self._levels[1:], words[1:-1], strict=True):
            contexts = level.find(contexts, column, radix=radix)
        missing = np.flatnonzero(contexts < 0)
        if len(missing):
            place = int(missing[0])
            text = b" ".join(self._names[column[place]] for column in words)
            raise self._wrong(int(numbers[place]), f"{_shown(text)} is listed without the n-gram that it begins with")
        return np.asarray(contexts * radix + words[-1])


def _columns(lines: Sequence[bytes]) -> list[list[bytes]] | None:
    """Cut lines at their separators, all at once; None if they have not all the same number, one at a time."""
    block = b"\n".join(lines)
    fields = block.split()
    marks = np.frombuffer(block, dtype=np.uint8)
    marks = marks[marks <= ord(" ")]
    width, rest = divmod(len(fields), len(lines))
    ends = np.flatnonzero(marks == ord("\n"))
    if rest or not width or len(marks) + 1 != len(fields) or (ends != np.arange(width - 1, len(marks), width)).any():
        return None
    return [fields[place::width] for place in range(width)]


def natural(values: Floats) -> NDArray[np.float64]:
    """Turn base-10 logarithms into natural ones, -99 or less into -inf."""
    return np.where(values <= NEVER, -np.inf, values * np.log(10.0))


def _shown(text: bytes) -> str:
    """Return text of the file as a message can show it."""
    shown = repr(text.decode("utf-8", errors="backslashreplace"))
    return shown if len(shown) <= 60 else f"{shown[:56]}...'"


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def unk_trained(vocabulary: Sequence[str], levels: Sequence[Level]) -> bool:
    """Tell whether a literal <unk> was a word of the training text, which ARPA does not say.

    It was if a longer n-gram has it: where it was not, it has only what discounting leaves for unseen words. Where
    there are only single words, it was if it is at least as probable as another.
    """
    if UNK not in vocabulary:
        return False
    unk, radix = vocabulary.index(UNK), len(vocabulary) + 1
    if any(len(level.keys) for level in levels[1:]):
        return any(bool((level.keys % radix == unk).any()) for level in levels[1:])
    values = levels[0].log_probs
    others = np.isfinite(values)
    others[unk] = False
    return bool(np.isfinite(values[unk]) and (values[others] <= values[unk]).any())
