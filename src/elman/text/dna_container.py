r"""The file that `elman dna compress` writes: all of a FASTA file but its bases, its bases as a range coder left them.

    magic      8 bytes   \x89 E L M D N A \n
    version    u32       1; all numbers are little-endian
    size       u64       of the header, as it is packed
    header     size      JSON in xz: "layout" (`Layout.as_dict`) and "facts" (what the decoder must know)
    bases      the rest  as `range_coder.Encoder` wrote them
    checksum   32 bytes  SHA-256 of all bytes before it

The checksum tells of damage before any base is decoded; the layout's own, of the FASTA file, that what was decoded is
what was compressed.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.errors import TextError
from elman.text.dna_layout import Layout
from elman.text.reading import TextSource
from elman.text.writing import Sink

MAGIC = b"\x89ELMDNA\n"
VERSION = 1

_START = struct.Struct("<8sIQ")
_CHECKSUM = hashlib.sha256().digest_size
_AGAIN = "copy or download it again"


@dataclass(frozen=True)
class Container:
    """A container that was opened.

    Parameters
    ----------
    layout
        of the FASTA file.
    facts
        as they were given to `writing_container`.
    coded_bytes
        how many bytes the coded bases have.
    read
        gives the next of these, at most so many, none at their end: for a `range_coder.Decoder`.
    """

    layout: Layout
    facts: dict[str, Any]
    coded_bytes: int
    read: Callable[[int], bytes]


@contextmanager
def writing_container(sink: Sink, layout: Layout, facts: Mapping[str, Any]) -> Iterator[Callable[[bytes], None]]:
    """Write the beginning, give the function that takes coded bases, and write the end.

    Parameters
    ----------
    sink
        takes the bytes of the file.
    layout
        of the FASTA file.
    facts
        JSON values for the decoder.
    """
    digest = hashlib.sha256()

    def write(data: bytes) -> None:
        digest.update(data)
        sink.write(data)

    values = {"layout": layout.as_dict(), "facts": dict(facts)}
    header = lzma.compress(json.dumps(values, separators=(",", ":")).encode())
    write(_START.pack(MAGIC, VERSION, len(header)))
    write(header)
    yield write
    sink.write(digest.digest())


def open_container(path: str | Path) -> Container:
    """Read a container, `-` is standard input: check all of it, and return what it holds.

    Raises
    ------
    TextError
        for a file that is missing, no container, of a newer version, cut short or damaged.
    """
    source = TextSource(path)
    size = _checked_size(source)
    stream = _Stream(source.chunks(), size - _CHECKSUM)
    _, version, length = _START.unpack(stream.read_all(_START.size))
    if version != VERSION:
        raise TextError(
            f"{source.name} has version {version} of the format, and this elman reads {VERSION}",
            hint="decompress with the elman that compressed",
        )
    try:
        values = json.loads(lzma.decompress(stream.read_all(length)))
        layout, facts = Layout.from_dict(values["layout"]), dict(values["facts"])
    except (lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise TextError(f"the header of {source.name} is damaged: {error}", hint=_AGAIN) from error
    return Container(layout, facts, stream.left, stream.read)


def checked(pieces: Iterable[bytes], layout: Layout) -> Iterator[bytes]:
    """Hand on the pieces of a FASTA file, and check at their end that it is the one that was compressed.

    Raises
    ------
    TextError
        where its SHA-256 is another.
    """
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
        yield piece
    if digest.hexdigest() != layout.sha256:
        raise TextError(
            "the bases that came back are not those that were compressed",
            hint="decompress with the model, the settings, the version and the kind of machine that compressed",
        )


def _checked_size(source: TextSource) -> int:
    """Return the size of a container whose checksum is right."""
    digest, size, tail = hashlib.sha256(), 0, b""
    for chunk in source.chunks():
        if size == 0 and not chunk.startswith(MAGIC):
            raise TextError(f"{source.name} is not a file of elman dna compress", hint="give one that it wrote")
        size += len(chunk)
        tail += chunk
        digest.update(tail[:-_CHECKSUM])
        tail = tail[-_CHECKSUM:]
    if size == 0:
        raise TextError(f"{source.name} is empty", hint="give a file that elman dna compress wrote")
    if size < _START.size + _CHECKSUM or digest.digest() != tail:
        raise TextError(f"{source.name} is cut short or damaged: its checksum is another", hint=_AGAIN)
    return size


class _Stream:
    """Reads chunks as a file is read, up to `left` bytes."""

    def __init__(self, chunks: Iterator[bytes], left: int) -> None:
        self._chunks = chunks
        self._buffer = b""
        self.left = left

    def read(self, most: int) -> bytes:
        """Return the next bytes, at most so many; none at the end."""
        most = min(most, self.left)
        if most and not self._buffer:
            self._buffer = next(self._chunks, b"")
        data, self._buffer = self._buffer[:most], self._buffer[most:]
        self.left -= len(data)
        return data

    def read_all(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end."""
        parts = []
        while size and (data := self.read(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)
