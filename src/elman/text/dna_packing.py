"""A FASTA file, read once: its bases as codes 0..3, all else as a `Layout`; `dna_layout.unpack` joins them again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError
from elman.text.dna_layout import CODE_OF, CR, IS_ALLOWED, IS_LOWER, LF, NO_CODE, Codes, Layout

_TEXT_MARKS = b">;"


def pack(chunks: Iterable[bytes], *, name: str) -> tuple[Layout, Codes]:
    """Take a FASTA file apart: return its layout, and the codes 0..3 of its bases, (N,).

    Parameters
    ----------
    chunks
        the bytes of the file, cut anywhere, such as `TextSource.chunks`.
    name
        of the file, for messages.

    Raises
    ------
    TextError
        for an empty file, and for one that no layout describes: a sequence that holds anything but bases, IUPAC codes,
        U, gaps, stops, spaces and tabs, such as a protein; FASTQ; a carriage return within a line.
    """
    packer = _Packer(name)
    for chunk in chunks:
        packer.feed(chunk)
    return packer.finish()


class _Packer:
    """Reads chunks, each up to its last line end; of a line that goes on, all that cannot be cut later."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._layout = Layout()
        self._codes = bytearray()
        self._digest = hashlib.sha256()
        self._rest = b""  # a text that goes on, or a carriage return whose line feed may come
        self._inside = False  # whether the last line is a sequence that goes on
        self._length = 0  # of that line, so far
        self._ends = _Turns()
        self._lower = _Turns()
        self._since = 0  # bases since the last other letter

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._digest.update(chunk)
        data = self._rest + chunk
        self._rest = b""
        place = 0
        marks = dict.fromkeys((b"\n>", b"\n;"), -1)
        while place < len(data):
            if not self._inside and data[place] in _TEXT_MARKS:
                end = data.find(b"\n", place)
                if end < 0:
                    self._rest = data[place:]
                    return
                self._text(data[place:end])
                place = end + 1
                continue
            stop = _next_text(data, place, marks)
            self._sequence(data[place:stop], last=stop == len(data))
            place = stop

    def finish(self) -> tuple[Layout, Codes]:
        """Take the file as ended."""
        layout = self._layout
        if self._rest[:1] in (b">", b";"):
            layout.open_end = True
            layout.texts.append(self._rest.decode("latin-1"))
            layout.lines.append([])
        elif self._rest:
            self._refuse(CR)
        elif self._inside:
            layout.open_end = True
            self._line_lengths(np.array([self._length]))
        if not layout.texts:
            raise TextError(f"{self._name} is empty", hint="give a FASTA file")
        layout.ends, layout.lower = self._ends.counts, self._lower.counts
        layout.bases, layout.sha256 = len(self._codes), self._digest.hexdigest()
        return layout, np.frombuffer(self._codes, dtype=np.uint8)

    def _text(self, line: bytes) -> None:
        crlf = line.endswith(b"\r")
        self._ends.add(np.array([crlf]))
        self._layout.texts.append((line[:-1] if crlf else line).decode("latin-1"))
        self._layout.lines.append([])

    def _sequence(self, data: bytes, *, last: bool) -> None:
        """Take lines of sequence; only the last line of the data may go on after it."""
        if last and data.endswith(b"\r"):
            data, self._rest = data[:-1], b"\r"
        if not data:
            return
        if not self._layout.texts:
            self._layout.texts.append(None)
            self._layout.lines.append([])
        letters = np.frombuffer(data, dtype=np.uint8)
        feeds = np.flatnonzero(letters == LF)
        crlf = (feeds > 0) & (letters[feeds - 1] == CR)
        is_letter = np.ones(len(letters), dtype=np.bool_)
        is_letter[feeds] = False
        is_letter[feeds[crlf] - 1] = False
        self._ended_lines(feeds, crlf)
        self._inside = feeds.size == 0 or int(feeds[-1]) < len(letters) - 1
        if self._inside:
            self._length += len(letters) - (int(feeds[-1]) + 1 if feeds.size else 0)
        self._letters(letters, is_letter)

    def _ended_lines(self, feeds: NDArray[np.int64], crlf: NDArray[np.bool_]) -> None:
        if feeds.size == 0:
            return
        lengths = np.diff(feeds, prepend=-1) - 1 - crlf
        lengths[0] += self._length
        self._length = 0
        self._line_lengths(lengths)
        self._ends.add(crlf)

    def _line_lengths(self, lengths: NDArray[np.int64]) -> None:
        runs = self._layout.lines[-1]
        for length, count in zip(*_run_lengths(lengths), strict=True):
            if runs and runs[-2] == length:
                runs[-1] += count
            else:
                runs += [length, count]

    def _letters(self, data: NDArray[np.uint8], is_letter: NDArray[np.bool_]) -> None:
        letters = data[is_letter]
        bad = ~IS_ALLOWED[letters]
        if bad.any():
            place = int(np.flatnonzero(is_letter)[np.argmax(bad)])
            after = int(np.count_nonzero(data[place:] == LF))
            self._refuse(int(data[place]), lines_after=after)
        lower = IS_LOWER[letters]
        self._lower.add(lower)
        codes = CODE_OF[letters]
        others = np.where(codes == NO_CODE, letters - lower * np.uint8(ord("a") - ord("A")), 0)
        for letter, count in zip(*_run_lengths(others), strict=True):
            self._run(letter, count)
        self._codes += codes[codes < NO_CODE].tobytes()

    def _run(self, letter: int, count: int) -> None:
        others = self._layout.others
        if letter == 0:
            self._since += count
        elif others and self._since == 0 and others[-2] == letter:
            others[-1] += count
        else:
            others += [self._since, letter, count]
            self._since = 0

    def _refuse(self, byte: int, lines_after: int = 0) -> None:
        line = sum(self._ends.counts) + 1 - lines_after
        hint = "only FASTA files of DNA can be compressed: bases, IUPAC codes and gaps"
        if byte == ord("@") and line == 1:
            raise TextError(f"{self._name} looks like FASTQ: line 1 begins with '@'", hint=hint)
        what = "a carriage return that no line feed follows" if byte == CR else _shown(byte)
        raise TextError(f"{self._name}, line {line}: {what} cannot be in a sequence of bases", hint=hint)


def _next_text(data: bytes, place: int, marks: dict[bytes, int]) -> int:
    """Return where the next line begins that is a text, or the end; `marks` remembers where each mark was found."""
    for mark, found in marks.items():
        if found < place:  # searched anew only when passed: each byte is looked at once
            at = data.find(mark, place)
            marks[mark] = at if at >= 0 else len(data)
    return min(len(data), *(found + 1 for found in marks.values()))


class _Turns:
    """Counts how often False comes, then True, then False again, and so on."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def add(self, values: NDArray[np.bool_]) -> None:
        """Take the next values."""
        for value, count in zip(*_run_lengths(values), strict=True):
            if len(self.counts) % 2 == value:  # an even number of counts: the last was of True
                self.counts.append(count)
            elif not self.counts:
                self.counts += [0, count]
            else:
                self.counts[-1] += count


def _run_lengths(values: NDArray[np.generic]) -> tuple[list[int], list[int]]:
    """Return the values of runs of equal ones, and their lengths."""
    if len(values) == 0:
        return [], []
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    counts = np.diff(starts, append=len(values))
    return values[starts].astype(np.int64).tolist(), counts.tolist()


def _shown(byte: int) -> str:
    return repr(chr(byte)) if 32 < byte < 127 else f"byte 0x{byte:02x}"
