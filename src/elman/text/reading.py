r"""Lines of text, read in a stream from a file, a gzip file, a pipe or standard input.

A line ends with "\n" and nothing else; a "\r" before it is dropped. What cannot be read is a `TextError`, which says
where.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from elman.errors import TextError, nearest

CHUNK = 1 << 20  # bytes read at a time
_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GZIP_MAGIC = b"\x1f\x8b"


class TextSource:
    """A text, or a range of its lines, that can be read any number of times.

    Parameters
    ----------
    path
        a file, plain or gzip (known by its first bytes, not by its name), or `-` for standard input. What can be
        read only once, a pipe or standard input, is copied to a temporary file when it is first read.
    start_line, stop_line
        the half-open range of lines, counted from 0, that this source gives.
    """

    def __init__(self, path: str | Path, *, start_line: int = 0, stop_line: int | None = None) -> None:
        self._origin = _Origin(str(path))
        self.start_line = start_line
        self.stop_line = stop_line

    def __repr__(self) -> str:
        return f"TextSource({self._origin.path!r}, start_line={self.start_line}, stop_line={self.stop_line})"

    @property
    def name(self) -> str:
        """The path as it was given, or `standard input`."""
        return self._origin.name

    @property
    def is_file(self) -> bool:
        """Whether the text lies in a regular file, rather than coming through a pipe."""
        return self._origin.is_file

    def part(self, start_line: int, stop_line: int | None = None) -> TextSource:
        """Return lines `start_line` to `stop_line` (0-based, half-open); a pipe is not read again."""
        other = TextSource(self._origin.path, start_line=start_line, stop_line=stop_line)
        other._origin = self._origin
        return other

    def lines(self) -> Iterator[str]:
        """Give the lines, decoded from UTF-8, without their ends.

        Raises
        ------
        TextError
            for a text that is missing, unreadable, empty, blank, binary, not UTF-8, or a gzip file that is damaged.
        """
        for block in self.blocks():
            yield from block

    def raw_lines(self) -> Iterator[bytes]:
        """Give the lines as the bytes that they are, without the final byte 10; only a blank text is refused."""
        for block in self.raw_blocks():
            yield from block

    def blocks(self) -> Iterator[list[str]]:
        """Give the lines in lists of about a megabyte; errors as in `lines`."""
        blank = True
        for number, data in self._ranged():
            text = self._decode(data, number)
            if "\r" in text:
                text = (text + "\n").replace("\r\n", "\n")[:-1]
            blank = blank and (not text or text.isspace())
            yield text.split("\n")
        self._check(blank)

    def raw_blocks(self) -> Iterator[list[bytes]]:
        """Give the lines as bytes in lists of about a megabyte; errors as in `raw_lines`."""
        blank = True
        for _, data in self._ranged():
            blank = blank and (not data or data.isspace())
            yield data.split(b"\n")
        self._check(blank)

    def chunks(self) -> Iterator[bytes]:
        """Give the bytes of the whole file, unpacked, a megabyte at a time, whatever they mean."""
        with _clear_errors(self.name), self._origin.open() as raw:
            magic = raw.read(2)
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if magic == _GZIP_MAGIC else raw
            while True:
                chunk = stream.read(CHUNK)
                if not chunk:
                    return
                yield chunk

    def ends(self, first: int, last: int) -> tuple[bytes, bytes]:
        """Return so many first and last bytes of the file as it lies on disk, packed or not."""
        with _clear_errors(self.name), self._origin.open() as stream:
            head = stream.read(first)
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - last))
            return head, stream.read()

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file as it lies on disk, as `sha256sum` prints it."""
        digest = hashlib.sha256()
        with _clear_errors(self.name), self._origin.open() as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()

    def _decode(self, data: bytes, number: int) -> str:
        if number == 0:
            if data.startswith(_UTF16_MARKS):
                raise TextError(f"{self.name} is UTF-16, not UTF-8", hint="convert it: iconv -f utf-16 -t utf-8")
            data = data.removeprefix(_BOM)
        nul = data.find(b"\0")
        if nul >= 0:
            line = number + data.count(b"\n", 0, nul) + 1
            raise TextError(
                f"{self.name} is binary: line {line} holds a NUL byte",
                hint="give plain text, or read it with unit=byte",
            )
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = number + data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            raise TextError(
                f"{self.name}, line {line}: byte {column} of the line, 0x{data[error.start]:02x}, is not UTF-8",
                hint="convert the text to UTF-8, for example with iconv, or read it with unit=byte",
            ) from error

    def _ranged(self) -> Iterator[tuple[int, bytes]]:
        """Give the lines of the range in pairs: the number of the first line, and whole lines without the last end."""
        start, stop = self.start_line, sys.maxsize if self.stop_line is None else self.stop_line
        for number, data in self._pieces():
            if number >= stop:
                return
            after = number + data.count(b"\n") + 1
            if after <= start:
                continue
            if number < start or after > stop:
                lines = data.split(b"\n")[max(0, start - number) : stop - number]
                number, data = max(number, start), b"\n".join(lines)
            yield number, data

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        number = 0
        cut_line: list[bytes] = []  # the beginning of a line that goes on in the next chunk
        for chunk in self.chunks():
            end = chunk.rfind(b"\n")
            if end < 0:
                cut_line.append(chunk)
                continue
            data = b"".join([*cut_line, chunk[:end]])
            yield number, data
            number += data.count(b"\n") + 1
            cut_line = [chunk[end + 1 :]]
        if last := b"".join(cut_line):
            yield number, last
        elif number == 0:
            raise TextError(f"{self.name} is empty", hint="give a text with at least one line")

    def _check(self, blank: bool) -> None:
        if not blank:
            return
        if self.start_line == 0 and self.stop_line is None:
            raise TextError(f"{self.name} holds only blank lines", hint="give a text with at least one word")
        stop = "the end" if self.stop_line is None else str(self.stop_line)
        raise TextError(
            f"{self.name}: there is no text from line {self.start_line + 1} to {stop}", hint="give a longer text"
        )


class _Origin:
    """Where the bytes come from; what can be read only once is kept in a temporary file for as long as this lives."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = "standard input" if path == "-" else path
        self._spooled: Path | None = None

    @property
    def is_file(self) -> bool:
        if self.path == "-":
            return False
        if self.path == "":
            raise TextError("the path of the text is empty", hint="give a file, or - for standard input")
        with _clear_errors(self.name):
            mode = Path(self.path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise TextError(f"{self.name} is a folder, not a text", hint="give the path of a file in it")
        return stat.S_ISREG(mode)

    def open(self) -> BinaryIO:
        if self._spooled is None:
            if self.is_file:
                return Path(self.path).open("rb")
            self._spooled = self._spool()
        return self._spooled.open("rb")

    def _spool(self) -> Path:
        descriptor, name = tempfile.mkstemp(prefix="elman-", suffix=".txt")
        weakref.finalize(self, Path(name).unlink, missing_ok=True)  # also runs when the process ends
        with os.fdopen(descriptor, "wb") as copy:
            if self.path != "-":
                with Path(self.path).open("rb") as pipe:
                    shutil.copyfileobj(pipe, copy, CHUNK)
            elif sys.stdin is not None:
                shutil.copyfileobj(sys.stdin.buffer, copy, CHUNK)
        return Path(name)


@contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """Say what went wrong in reading `name` as a `TextError`."""
    try:
        yield
    except FileNotFoundError as error:
        close = _neighbour(Path(name))
        raise TextError(
            f"{name} does not exist", hint=f"did you mean {close}?" if close else "check the path of the text"
        ) from error
    except PermissionError as error:
        raise TextError(f"{name} cannot be read: permission denied", hint=f"chmod u+r {name}") from error
    except EOFError as error:
        raise TextError(f"{name} is a gzip file that is cut short", hint="copy or download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise TextError(f"{name} is a damaged gzip file: {error}", hint="copy or download it again") from error
    except OSError as error:
        raise TextError(
            f"{name} cannot be read: {error.strerror or error}", hint="check the path and the disk"
        ) from error
    except ValueError as error:  # a path that no file can have
        raise TextError(f"{name!r} is not a path: {error}", hint="check the path of the text") from error


def _neighbour(path: Path) -> Path | None:
    """Return the file beside `path` that is spelt most like it."""
    try:
        close = nearest(path.name, sorted(other.name for other in path.parent.iterdir()))
    except OSError:
        return None
    return path.with_name(close) if close else None


def split_lines(source: TextSource, share: float = 0.05) -> tuple[TextSource, TextSource]:
    """Hold out the last `share` of the lines: return the lines to train on, and those to validate on.

    Shares are of lines that are not blank, and each part has at least one. The parts' `start_line` and `stop_line` say
    where the cut is.

    Raises
    ------
    TextError
        for a text of fewer than two lines that are not blank.
    """
    total = sum(_count(block) for block in source.raw_blocks())
    if total < 2:
        raise TextError(
            f"{source.name} has only one line: none can be held out for validation", hint="give a validation text"
        )
    kept = total - min(total - 1, max(1, round(share * total)))
    cut = source.start_line + _after(source, kept)
    return source.part(source.start_line, cut), source.part(cut, source.stop_line)


def _count(lines: list[bytes]) -> int:
    return sum(1 for line in lines if line and not line.isspace())


def _after(source: TextSource, wanted: int) -> int:
    """Return how many lines of `source` hold `wanted` lines that are not blank."""
    passed = seen = 0
    for block in source.raw_blocks():
        here = _count(block)
        if seen + here < wanted:
            seen, passed = seen + here, passed + len(block)
            continue
        for line in block:
            passed += 1
            seen += bool(line and not line.isspace())
            if seen == wanted:
                return passed
    raise AssertionError("the text changed while it was read")
