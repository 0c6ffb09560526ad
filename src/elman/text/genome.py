"""Sequences with names, at one byte a base: in memory, or mapped from a file of the cache that is made once.

A cache entry is one file: a header of 4096 bytes (JSON, padded with spaces), the codes of all records end to end, the
list of records (JSON). Its name is a hash of the bytes of the FASTA or FASTQ file and of the version of this format.
Coordinates are 0-based and half-open.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import OutputError, UsageError, nearest
from elman.files import replacing
from elman.text.corpus import default_cache_folder, temporary_cache_folder
from elman.text.dna import Codes, count_ambiguous
from elman.text.dna_files import Title, parts
from elman.text.reading import CHUNK, TextSource

VERSION = 1
_HEADER = 4096


@dataclass(frozen=True)
class Record:
    """One sequence: its name, its bases, how many of them are ambiguous, and its line in the file (0: of no file)."""

    name: str
    length: int
    ambiguous: int
    line: int = 0


class Genome:
    """Records in the order of their file, and their codes.

    Parameters
    ----------
    records
        what is known of each.
    codes
        uint8, 1-D: the codes of all records, end to end.
    source
        what it was read from, for messages.
    mapping
        the memory map that the codes lie in, if they do.
    """

    def __init__(
        self, records: list[Record], codes: Codes, *, source: str = "the genome", mapping: mmap.mmap | None = None
    ) -> None:
        self.records = records
        self.codes = codes
        self.source = source
        self._mapping = mapping

    @classmethod
    def of(cls, sequences: Mapping[str, Codes], *, source: str = "the genome") -> Genome:
        """Return a genome in memory, from a dictionary of codes by name."""
        records = [Record(name, len(codes), count_ambiguous(codes)) for name, codes in sequences.items()]
        codes = np.concatenate([np.empty(0, dtype=np.uint8), *sequences.values()])
        return cls(records, codes, source=source)

    @property
    def names(self) -> list[str]:
        """The names of the records, in order."""
        return [record.name for record in self.records]

    @property
    def bases(self) -> int:
        """How many bases there are, ambiguous ones included."""
        return len(self.codes)

    @cached_property
    def ambiguous(self) -> int:
        """How many bases are ambiguous: N and the other IUPAC codes."""
        return sum(record.ambiguous for record in self.records)

    @cached_property
    def lengths(self) -> dict[str, int]:
        """The length of each record by name, in order."""
        return {record.name: record.length for record in self.records}

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Where each record begins in `codes`, and after the last one where it ends: (records + 1,)."""
        return np.cumsum([0, *(record.length for record in self.records)], dtype=np.int64)

    @cached_property
    def _places(self) -> dict[str, int]:
        places: dict[str, int] = {}
        for place, record in enumerate(self.records):
            places[record.name] = -1 if record.name in places else place
        return places

    def length(self, name: str) -> int:
        """Return how many bases a record has; errors as in `fetch`."""
        return self.records[self._place(name)].length

    def fetch(self, name: str, start: int = 0, end: int | None = None) -> Codes:
        """Return bases `start` to `end` (0-based, half-open) of a record, in memory of their own.

        Raises
        ------
        UsageError
            for a name that no record has, or two have, and for a region that does not lie in the record.
        """
        first, last = self._range(name, start, end)
        codes = self.codes[first:last].copy()
        self._release(first, last)
        return codes

    def view(self, name: str, start: int = 0, end: int | None = None) -> Codes:
        """Return bases of a record without a copy, read-only where they are mapped; errors as in `fetch`."""
        first, last = self._range(name, start, end)
        return self.codes[first:last]

    def windows(
        self, name: str, start: int = 0, end: int | None = None, *, size: int = 1 << 20, before: int = 0
    ) -> Iterator[tuple[Codes, int]]:
        """Give a region in pieces of `size` bases, each after up to `before` bases that stand before it in the region.

        The second of each pair says how many these are: 0 for the first piece, `before` for the others.
        """
        end = self.length(name) if end is None else end
        for at in range(start, end, size):
            context = min(before, at - start)
            yield self.fetch(name, at - context, min(at + size, end)), context

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"Genome({self.source!r}, {len(self.records)} records, {self.bases} bases)"

    def _place(self, name: str) -> int:
        place = self._places.get(name)
        if place is None:
            close = nearest(name, self._places)
            hint = f"did you mean {close}?" if close else f"the first is {self.records[0].name}" if self.records else ""
            raise UsageError(f"{self.source} has no record {name!r}", hint=hint or None)
        if place < 0:
            raise UsageError(f"{self.source} has more than one record {name!r}", hint="give each a name of its own")
        return place

    def _range(self, name: str, start: int, end: int | None) -> tuple[int, int]:
        place = self._place(name)
        length = self.records[place].length
        end = length if end is None else end
        if not 0 <= start <= end <= length:
            raise UsageError(
                f"{name} has {length} bases: there are no bases {start + 1} to {end}",
                hint=f"the whole is {name}:1-{length}",
            )
        first = int(self.offsets[place])
        return first + start, first + end

    def _release(self, first: int, last: int) -> None:
        """Let the system drop mapped pages, so that what was read once does not count as this process's memory."""
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED") and first < last:
            start = (_HEADER + first) // mmap.PAGESIZE * mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_DONTNEED, start, _HEADER + last - start)


def open_genome(source: str | Path | TextSource, *, cache_folder: Path | None = None) -> Genome:
    """Read FASTA or FASTQ into the cache in a stream, or map the entry that holds it already.

    Without `cache_folder` the cache is the user's (`default_cache_folder`), or a temporary folder if that cannot be
    written or if the file came through a pipe, which is not kept.

    Raises
    ------
    TextError
        as in `dna_files.blocks`.
    OutputError
        for a `cache_folder` that cannot be written.
    """
    source = source if isinstance(source, TextSource) else TextSource(source)
    digest = hashlib.sha256(json.dumps(["dna", VERSION, source.sha256()]).encode()).hexdigest()
    if cache_folder is not None:
        return _cached(source, cache_folder, digest)
    if source.is_file:
        try:
            return _cached(source, default_cache_folder(), digest)
        except OutputError:
            pass  # a cache is a convenience: go on without it
    return _cached(source, temporary_cache_folder(), digest)


def _cached(source: TextSource, folder: Path, digest: str) -> Genome:
    path = folder / f"{digest[:32]}.dna"
    genome = _open(path, digest, source.name)
    if genome is None:
        _write(path, source, digest)
        genome = _open(path, digest, source.name)
    if genome is None:
        raise OutputError(
            f"{path} is not what was written to it", hint="check the disk, or set ELMAN_CACHE to another folder"
        )
    return genome


def _write(path: Path, source: TextSource, digest: str) -> None:
    records: list[Record] = []
    title: Title | None = None
    length = ambiguous = total = checksum = 0
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(b" " * _HEADER)
        for new, codes in parts(source):
            if new is not None:
                if title is not None:
                    records.append(Record(title.name, length, ambiguous, title.line))
                title, length, ambiguous = new, 0, 0
            stream.write(codes)
            checksum = zlib.crc32(codes, checksum)
            length, total, ambiguous = length + len(codes), total + len(codes), ambiguous + count_ambiguous(codes)
        assert title is not None  # a file without a base is an error
        records.append(Record(title.name, length, ambiguous, title.line))
        index = json.dumps([astuple(record) for record in records]).encode()
        stream.write(index)
        header = {"digest": digest, "bases": total, "index": len(index), "checksum": zlib.crc32(index, checksum)}
        stream.seek(0)
        stream.write(json.dumps(header).encode())


def _open(path: Path, digest: str, source: str) -> Genome | None:
    """Map a cache entry, or return None if there is none that is whole."""
    try:
        with path.open("rb") as stream:
            header: dict[str, Any] = json.loads(stream.read(_HEADER))
            bases = int(header["bases"])
            if header["digest"] != digest or path.stat().st_size != _HEADER + bases + int(header["index"]):
                return None
            checksum = 0
            while data := stream.read(CHUNK):  # not through the map, whose pages would count as this process's memory
                checksum = zlib.crc32(data, checksum)
            if checksum != header["checksum"]:
                return None
            stream.seek(_HEADER + bases)
            records = [Record(*fields) for fields in json.loads(stream.read())]
            mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    codes: Codes = np.frombuffer(mapping, dtype=np.uint8, count=bases, offset=_HEADER)
    return Genome(records, codes, source=source, mapping=mapping)
