r"""Files of word vectors, row by row: text with a header (word2vec, fastText) or without (GloVe), word2vec's binary.

text         a line a word: the word, a space, E numbers. word2vec and fastText put a line `N E` before all; GloVe none.
binary       the line `N E`, then for each word its bytes, a space, and E float32 (little-endian); a "\n" may follow.

Which one a file is, its first bytes say, not its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError
from elman.text.reading import TextSource

Vector = NDArray[np.float32]
LARGEST = 1_000_000
"""Numbers of a vector beyond which a header is taken for no header of vectors."""

_LONGEST_WORD = 10_000  # bytes of a word in a binary file; where no space comes in so many, there is no word
_CONTROL = bytes({*range(0x09), *range(0x0E, 0x20), 0x7F})
_BOM = b"\xef\xbb\xbf"
_AGAIN = "copy or download it again"


class Rows(Protocol):
    """The rows of a file: what belongs to which word, with the numbers still unread."""

    size: int

    @property
    def kind(self) -> str:
        """What the format is called."""

    def rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give the number of each row as people count, its word, and its numbers as they lie in the file.

        Raises `TextError` for a row of another length, and after the last for a header that lied about N.
        """

    def numbers(self, row: int, values: bytes) -> Vector:
        """Read the numbers of a row, (E,); raises `TextError` for what is no number."""

    def where(self, row: int) -> str:
        """Say where a row is."""


def head_of(source: TextSource) -> bytes:
    """Return the first megabyte of a file of vectors, without a byte order mark."""
    head = next(source.chunks(), b"")
    if not head or head.isspace():
        raise TextError(f"{source.name} is empty", hint="give a file of word vectors")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TextError(f"{source.name} is UTF-16, not UTF-8", hint="convert it: iconv -f utf-16 -t utf-8")
    return head.removeprefix(_BOM)


def rows_of(source: TextSource, head: bytes) -> Rows:
    """Look at the head of a file, and return what reads its rows.

    Raises
    ------
    TextError
        for a file of another kind.
    """
    line, _, rest = head.partition(b"\n")
    header = _header(source, line)
    if header is not None:
        return BinaryRows(source, *header) if _is_binary(rest) else TextRows(source, header[1], header[0])
    if head.translate(None, _CONTROL) != head:
        hint = "word2vec text and binary, GloVe, fastText (.vec, .bin) and gensim's KeyedVectors are read"
        raise TextError(f"{source.name} is binary, and no file of word vectors that elman knows", hint=hint)
    fields = line.split()
    size = min(len(fields) - 1, _trailing_numbers(fields))
    if size < 1:
        raise TextError(
            f"{source.name}, line 1 is neither a header (two numbers, N and E) nor a word with its numbers",
            hint="is it a file of word vectors?",
        )
    return TextRows(source, size, None)


def _header(source: TextSource, line: bytes) -> tuple[int, int] | None:
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() for field in fields):
        return None
    count, size = (int(field[:20]) for field in fields)
    if not 0 < size <= LARGEST or count < 1:
        raise TextError(
            f"{source.name}, line 1: the header says {count} words of {size} numbers, which cannot be",
            hint="the first line is `N E`: how many words, and how many numbers each",
        )
    return count, size


def _is_binary(rest: bytes) -> bool:
    """Whether float32 numbers follow the header, rather than digits: they hold bytes that no text has."""
    row = rest.partition(b"\n")[0].partition(b" ")[2]
    return not row.isascii() or rest[:4096].translate(None, _CONTROL) != rest[:4096]


def is_number(field: bytes) -> bool:
    """Whether a field of a line is written as a number, be it infinite or none."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def _trailing_numbers(fields: list[bytes]) -> int:
    for count, field in enumerate(reversed(fields)):
        if not is_number(field):
            return count
    return len(fields)


@dataclass
class TextRows:
    """The rows of a text file; `count` is what the header says, or None without one."""

    source: TextSource
    size: int
    count: int | None

    @property
    def kind(self) -> str:
        """What the format is called."""
        return "GloVe text" if self.count is None else "word2vec text"

    def where(self, row: int) -> str:
        """Say where a row is: its line."""
        return f"{self.source.name}, line {row}"

    def rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give line number, word and numbers of each row; a blank line is none."""
        lines = enumerate(self.source.raw_lines(), start=1)
        seen, size = 0, self.size
        for number, line in lines:
            if number == 1:
                if self.count is not None:
                    continue
                line = line.removeprefix(_BOM)
            line = line.rstrip()
            if line.count(b" ") == size and b"\t" not in line:
                word, _, values = line.partition(b" ")
            elif line:
                word, values = self._cut(number, line)
            else:
                continue
            if not word:
                raise TextError(f"{self.where(number)} has numbers, and no word before them", hint=_AGAIN)
            seen += 1
            yield number, word, values
        if self.count is not None and seen != self.count:
            cut = "the file may be cut short; copy or download it again" if seen < self.count else "mend the header"
            raise TextError(f"{self.source.name} says {self.count} words in its header, and holds {seen}", hint=cut)

    def _cut(self, number: int, line: bytes) -> tuple[bytes, bytes]:
        """Cut a line before its last E fields: words with spaces in them there are, as in GloVe 840B."""
        fields = line.split()
        before = fields[: -self.size]
        if not before or (len(before) > 1 and is_number(before[-1])):
            found = min(len(fields) - 1, _trailing_numbers(fields))
            expected = "line 1 has" if self.count is None else "the header says"
            raise TextError(
                f"{self.where(number)}: {shown(fields[0])} has {found} numbers where {expected} {self.size}",
                hint=_AGAIN,
            )
        return b" ".join(before), b" ".join(fields[-self.size :])

    def numbers(self, row: int, values: bytes) -> Vector:
        """Read the numbers of a line."""
        fields = values.split()
        try:
            with np.errstate(over="ignore"):  # what is too large for float32 becomes inf, and is refused as such
                return np.array([float(field) for field in fields], dtype=np.float64).astype(np.float32)
        except ValueError:
            wrong = next(field for field in fields if not is_number(field))
            raise TextError(f"{self.where(row)}: {shown(wrong)} is no number", hint=_AGAIN) from None


@dataclass
class BinaryRows:
    """The rows of word2vec's binary format; N and E are what the header says."""

    source: TextSource
    count: int
    size: int

    @property
    def kind(self) -> str:
        """What the format is called."""
        return "word2vec binary"

    def where(self, row: int) -> str:
        """Say where a row is: which word of how many."""
        return f"{self.source.name}, word {row} of {self.count}"

    def rows(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Give number, word and numbers of each row."""
        stream = _Bytes(self.source.chunks())
        stream.until(b"\n")
        for number in range(1, self.count + 1):
            word = stream.until(b" ")
            values = None if word is None else stream.take(4 * self.size)
            if word is not None:
                word = word.lstrip(b"\n")
                if not word or word.translate(None, _CONTROL) != word or len(word) > _LONGEST_WORD:
                    self._astray(number)
            if word is None or values is None:
                raise TextError(
                    f"{self.where(number)}: the file ends here, cut short",
                    hint=f"{_AGAIN}; or its header, {self.count} words of {self.size} numbers, is wrong",
                )
            yield number, word, values
        if stream.rest().strip(b"\n"):
            self._astray(self.count + 1)

    def _astray(self, number: int) -> NoReturn:
        what = "there is no word where one should begin" if number <= self.count else "more follows after the last"
        raise TextError(
            f"{self.source.name}, word {number}: {what}; the header says {self.count} words of {self.size} numbers",
            hint="the header is wrong, or the file damaged; copy or download it again",
        )

    def numbers(self, row: int, values: bytes) -> Vector:
        """Read the numbers of a row."""
        return np.frombuffer(values, dtype="<f4").astype(np.float32)


class _Bytes:
    """A stream of chunks from which pieces of any length are taken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._data, self._at = chunks, b"", 0

    def until(self, end: bytes) -> bytes | None:
        """Return what comes before the next `end`, which is passed over; None where the stream ends before one."""
        while (found := self._data.find(end, self._at)) < 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            if len(self._data) - self._at > _LONGEST_WORD:
                return self._data[self._at :]  # no word is so long; the caller says so
            self._data, self._at = self._data[self._at :] + chunk, 0
        piece, self._at = self._data[self._at : found], found + 1
        return piece

    def take(self, length: int) -> bytes | None:
        """Return the next `length` bytes, or None where there are fewer."""
        piece = self._data[self._at : self._at + length]
        self._at += len(piece)
        if len(piece) == length:
            return piece
        parts, missing = [piece], length - len(piece)
        while missing:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            parts.append(chunk[:missing])
            self._data, self._at = chunk, len(parts[-1])
            missing -= len(parts[-1])
        return b"".join(parts)

    def rest(self) -> bytes:
        """Return what of the stream is at hand: empty only where it is at its end."""
        return self._data[self._at :] or next(self._chunks, b"")


def shown(word: bytes) -> str:
    """Return a word for an error message, in quotes, cut where it is long."""
    text = repr(word.decode("utf-8", errors="replace"))
    return text if len(text) <= 42 else text[:40] + "...'"
