"""BGZF, the gzip of bgzip: blocks that can be found again, so that tabix and bcftools can index the file.

A BGZF file is a gzip file of many members, each with its size in an extra field, and an empty one at the end.
Source: the SAM specification, section 4.1 (github.com/samtools/hts-specs).
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from elman.errors import TextError
from elman.text.reading import TextSource

BLOCK = 0xFF00
"""Bytes that are packed into one block: so few that the block has no more than 2^16 even where nothing gets smaller."""

END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends a file."""

_HEAD = END[:16]  # all but the size of the block


class BgzfWriter:
    """Packs what is written to it into a binary stream, which it leaves open.

    Parameters
    ----------
    stream
        where the blocks go.
    level
        of zlib, 0 to 9.
    """

    def __init__(self, stream: BinaryIO, *, level: int = 6) -> None:
        self._stream = stream
        self._level = level
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        """Take bytes; full blocks go out."""
        self._buffer += data
        whole = len(self._buffer) // BLOCK * BLOCK
        for begin in range(0, whole, BLOCK):
            self._put(bytes(self._buffer[begin : begin + BLOCK]))
        del self._buffer[:whole]
        return len(data)

    def close(self) -> None:
        """Write what is left, and the block that ends a file."""
        if self._buffer:
            self._put(bytes(self._buffer))
            self._buffer.clear()
        self._stream.write(END)

    def _put(self, data: bytes) -> None:
        packer = zlib.compressobj(self._level, zlib.DEFLATED, -15)
        packed = packer.compress(data) + packer.flush()
        size = len(_HEAD) + 2 + len(packed) + 8
        self._stream.write(
            _HEAD + struct.pack("<H", size - 1) + packed + struct.pack("<II", zlib.crc32(data), len(data))
        )


def check_end(source: TextSource) -> None:
    """Refuse a file of bgzip that was cut between two blocks, which any reader of gzip would take for whole.

    What is no BGZF is let through.

    Raises
    ------
    TextError
        where the block that ends a file is missing.
    """
    head, tail = source.ends(len(_HEAD), len(END))
    if head[:4] == _HEAD[:4] and head[12:] == _HEAD[12:] and tail != END:
        raise TextError(
            f"{source.name} is a bgzip file that is cut short: its last, empty block is missing",
            hint="copy or download it again",
        )
