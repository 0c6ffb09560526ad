"""Vectors that are dear to compute, kept on disk: named by their keys, in files that are only ever added.

A file holds some thousand of them, each with the first 16 bytes of its key's hash. It is written whole and named by its
checksum, so that two programs may add at once, and one that was damaged is left out.
"""

from __future__ import annotations

import hashlib
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import OutputError
from elman.files import replacing

Vectors = NDArray[np.float32]
ROWS = 4096
"""Vectors of a file; so many at most are lost by a crash."""


def _name(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=16).digest()


class _Waiting:
    """Vectors that are not on disk yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: list[NDArray[Any]] = []

    def write(self) -> Path | None:
        """Write them to a file and return it, or None where nothing is written: a cache is a convenience."""
        if not self.parts:
            return None
        block = np.concatenate(self.parts)
        self.parts.clear()
        path = self.folder / f"{zlib.crc32(block.tobytes()):08x}.npy"
        try:
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, block, allow_pickle=False)
        except OutputError:
            return None
        return path


class VectorCache:
    """Vectors by key, (E,) float32 each: those of a folder, and those that were added.

    Parameters
    ----------
    folder
        where they are kept; made when there is something to write.
    size
        E.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.row = np.dtype([("name", "V16"), ("vector", "<f4", (size,))])
        self.blocks: list[NDArray[Any]] = []
        self.places: dict[bytes, tuple[int, int]] = {}
        for path in sorted(folder.glob("*.npy")):
            block = self._opened(path)
            if block is not None:
                self._take(block)
        self._kept = len(self.blocks)
        self._waiting = _Waiting(folder)
        self._end = weakref.finalize(self, self._waiting.write)  # when nobody wants more, or at the end of the program

    def __contains__(self, key: bytes) -> bool:
        return _name(key) in self.places

    def read(self, keys: Sequence[bytes]) -> Vectors:
        """Return the vectors of keys that are all there, (N, E)."""
        found = np.empty(len(keys), dtype=self.row)
        for place, key in enumerate(keys):
            block, row = self.places[_name(key)]
            found[place] = self.blocks[block][row]
        vectors: Vectors = found["vector"]
        return vectors

    def add(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Keep vectors, (N, E)."""
        block = np.empty(len(keys), dtype=self.row)
        block["name"], block["vector"] = [np.void(_name(key)) for key in keys], vectors
        self._take(block)
        self._waiting.parts.append(block)
        if sum(map(len, self._waiting.parts)) >= ROWS:
            self.save()

    def save(self) -> None:
        """Write what is not on disk yet; it is then mapped from there, and takes no memory of its own."""
        path = self._waiting.write()
        block = None if path is None else self._opened(path)
        if block is not None:
            del self.blocks[self._kept :]
            self._take(block)
        self._kept = len(self.blocks)

    def _take(self, block: NDArray[Any]) -> None:
        names = block["name"].tolist()
        self.places.update((bytes(name), (len(self.blocks), row)) for row, name in enumerate(names))
        self.blocks.append(block)

    def _opened(self, path: Path) -> NDArray[Any] | None:
        """Map a file, or return None if it is not whole."""
        try:
            block = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = block.dtype == self.row and f"{zlib.crc32(block.tobytes()):08x}" == path.stem
        except (OSError, ValueError, EOFError):
            return None
        return block if whole else None
