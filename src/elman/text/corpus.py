"""A text as one long array of ids on disk, built once and mapped into memory after that.

A cache entry is one file: a header of 4096 bytes (JSON, padded with spaces), then the ids. Its name is a hash of the
text's bytes, the range of lines, the tokenizer and the version of this format.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import OutputError, TextError
from elman.files import replacing
from elman.text.reading import CHUNK, TextSource
from elman.text.symbols import Tokenizer

VERSION = 1
_HEADER = 4096
Counts = dict[str, int]


@dataclass(frozen=True)
class Corpus:
    """A text as ids, and what was counted in it.

    Attributes
    ----------
    ids
        every symbol in order, with a sentence end after each line; D stands for a symbol outside the dictionary.
        Memory-mapped, read-only, 1-D, uint16 or uint32.
    sentences
        sentence ends. Blank lines are no sentences for words and BPE.
    words
        symbols without sentence ends for words, what stands between spaces for other units.
    oovs
        symbols outside the dictionary.
    characters
        characters of the text, one for each line end included; for words, of the words with one space between them.
    oov_characters
        characters of symbols outside the dictionary; an unknown word counts with the space or line end after it.
    digest
        a hash of the text, the range of lines and the tokenizer: equal digests mean equal ids.
    text_digest
        the SHA-256 of the text's file as it lies on disk.
    line_count
        lines that were read, blank ones included.
    """

    ids: np.memmap[Any, np.dtype[Any]]
    sentences: int
    words: int
    oovs: int
    characters: int
    oov_characters: int
    digest: str
    text_digest: str
    line_count: int


_COUNTED = ("sentences", "words", "oovs", "characters", "oov_characters")


def build_corpus(source: TextSource, tokenizer: Tokenizer, *, cache_folder: Path | None = None) -> Corpus:
    """Encode a text in a stream, or map the entry of the cache that holds it already.

    Without `cache_folder` the cache is the user's (`default_cache_folder`), or a temporary folder if that cannot be
    written or if the text came through a pipe, which is not kept.

    Raises
    ------
    TextError
        for a text that cannot be read (see `TextSource.lines`).
    OutputError
        for a `cache_folder` that cannot be written.
    """
    text_digest = source.sha256()
    digest = _digest(source, tokenizer, text_digest)
    if cache_folder is not None:
        return _cached(source, tokenizer, cache_folder, digest, text_digest)
    if source.is_file:
        try:
            return _cached(source, tokenizer, default_cache_folder(), digest, text_digest)
        except OutputError:
            pass  # a cache is a convenience: go on without it
    return _cached(source, tokenizer, temporary_cache_folder(), digest, text_digest)


def default_cache_folder() -> Path:
    """Return the folder of cached corpora: `$ELMAN_CACHE`, or `elman` in the platform's folder for caches."""
    if chosen := os.environ.get("ELMAN_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "elman"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "elman"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elman"


@cache
def temporary_cache_folder() -> Path:
    """Return a folder for what is not kept; it goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="elman-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _digest(source: TextSource, tokenizer: Tokenizer, text_digest: str) -> str:
    key = [VERSION, text_digest, source.start_line, source.stop_line, tokenizer.fingerprint]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _cached(source: TextSource, tokenizer: Tokenizer, folder: Path, digest: str, text_digest: str) -> Corpus:
    path = folder / f"{digest[:32]}.ids"
    corpus = _open(path, digest, text_digest)
    if corpus is None:
        _write(path, source, tokenizer, digest)
        corpus = _open(path, digest, text_digest)
    if corpus is None:
        raise OutputError(
            f"{path} is not what was written to it", hint="check the disk, or set ELMAN_CACHE to another folder"
        )
    return corpus


def _write(path: Path, source: TextSource, tokenizer: Tokenizer, digest: str) -> None:
    dtype = np.dtype("<u2" if tokenizer.size + 1 <= 0xFFFF else "<u4")
    counts: Counts = dict.fromkeys((*_COUNTED, "line_count"), 0)
    checksum = length = 0
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(b" " * _HEADER)
        for block in tokenizer.blocks(source):
            data = block.ids.astype(dtype).tobytes()
            stream.write(data)
            checksum = zlib.crc32(data, checksum)
            length += len(block.ids)
            for name in _COUNTED:
                counts[name] += getattr(block, name)
            counts["line_count"] += block.lines
        if length == 0:
            raise TextError(f"{source.name} holds no symbols", hint="give a text with at least one word")
        header = {"digest": digest, "dtype": dtype.str, "length": length, "checksum": checksum, "counts": counts}
        stream.seek(0)
        stream.write(json.dumps(header).encode())


def _open(path: Path, digest: str, text_digest: str) -> Corpus | None:
    """Map a cache entry, or return None if there is none that is whole."""
    try:
        with path.open("rb") as stream:
            header = json.loads(stream.read(_HEADER))
            checksum = 0
            while data := stream.read(CHUNK):  # not through the map, whose pages would count as this process's memory
                checksum = zlib.crc32(data, checksum)
        dtype, length = np.dtype(header["dtype"]), int(header["length"])
        if header["digest"] != digest or path.stat().st_size != _HEADER + length * dtype.itemsize:
            return None
        if checksum != header["checksum"]:
            return None
        ids = np.memmap(path, dtype=dtype, mode="r", offset=_HEADER, shape=(length,))
        counts = {name: int(header["counts"][name]) for name in (*_COUNTED, "line_count")}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Corpus(ids=ids, digest=digest, text_digest=text_digest, **counts)
