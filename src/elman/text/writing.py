"""Where a stream of text goes: a file that is there whole or not at all, one packed by bgzip, or standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from elman.files import replacing
from elman.text.bgzf import BgzfWriter


class Sink(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take bytes, and return how many."""


@contextmanager
def writing(path: str | Path) -> Iterator[Sink]:
    """Give a stream to write bytes to: a file, packed as bgzip does if its name ends in .gz, or standard output (`-`).

    Raises
    ------
    OutputError
        for a file that cannot be written.
    """
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with replacing(Path(path)) as temporary, temporary.open("wb") as stream:
        if not str(path).endswith((".gz", ".bgz")):
            yield stream
            return
        packed = BgzfWriter(stream)
        yield packed
        packed.close()
