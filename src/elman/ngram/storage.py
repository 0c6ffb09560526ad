"""Models as arrays on disk: one safetensors file, which loads as fast as the disk reads, and the cache of ARPA files.

vocabulary                     the words by id, as JSON in UTF-8 (uint8)
keys.n, log_probs.n            of order n (int64, float64; natural logarithms), see `Level`
backoffs.n                     of all orders but the highest (float64)
metadata                       of the name elman-ngram, as JSON (one value, so that a file is the same each time):
                               version, order, unk_trained, facts, checksum (CRC-32 of the arrays), source
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from elman.errors import ModelError, OutputError
from elman.files import replacing
from elman.ngram.model import Level, NGramModel
from elman.text.corpus import default_cache_folder
from elman.text.reading import TextSource

SUFFIX = ".safetensors"
FORMAT, VERSION = "elman-ngram", 1
_READER = "1"  # raise it when the same ARPA file is to give other arrays
Arrays = Mapping[str, NDArray[Any]]


def save(model: NGramModel, path: Path, *, source: str = "") -> None:
    """Write a model as one safetensors file, whole or not at all; `source` is what it was made of."""
    arrays = _arrays(model)
    metadata = {
        "version": VERSION,
        "order": model.order,
        "unk_trained": model.unk_trained,
        "facts": model.facts,
        "checksum": _checksum(arrays),
        "source": source,
    }
    with replacing(path) as temporary:
        try:
            save_file(dict(arrays), temporary, {FORMAT: json.dumps(metadata)})
        except SafetensorError as error:
            hint = "is the disk full? the file that was there before is untouched"
            raise OutputError(f"{path} cannot be written: {error}", hint=hint) from error


def load(path: Path, *, source: str = "") -> NGramModel:
    """Read what `save` wrote.

    Raises
    ------
    ModelError
        for a file that is missing, damaged, of another format, or not made of `source`.
    """
    try:
        with safe_open(path, framework="np") as stream:
            text = (stream.metadata() or {}).get(FORMAT, "null")
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - it is no dictionary
    except FileNotFoundError as error:
        raise ModelError(f"{path} does not exist", hint="check the path of the model") from error
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}", hint="copy or make the model again") from error
    try:
        metadata = json.loads(text)
        if not isinstance(metadata, dict) or metadata.get("version") != VERSION or metadata.get("source") != source:
            raise ModelError(f"{path} is no model of counts that this version can read", hint="make it again")
        return _model(metadata, arrays)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}", hint="copy or make the model again") from error


def cached(source: TextSource, read: Callable[[TextSource], NGramModel], *, folder: Path | None = None) -> NGramModel:
    """Return the model of an ARPA file from the cache, or read it and leave it there.

    What came through a pipe is not kept. A cache that cannot be written is done without, a damaged entry made anew.
    """
    if not source.is_file:
        return read(source)
    digest, path = _entry(source, folder)
    with suppress(ModelError):
        return load(path, source=digest)
    model = read(source)
    remember(model, source, folder=folder)
    return model


def remember(model: NGramModel, source: TextSource, *, folder: Path | None = None) -> None:
    """Leave in the cache what an ARPA file holds. A cache that cannot be written is done without."""
    digest, path = _entry(source, folder)
    try:
        save(model, path, source=digest)
    except OutputError:
        if folder is not None:
            raise


def _entry(source: TextSource, folder: Path | None) -> tuple[str, Path]:
    """Return what names the contents of an ARPA file, and the path of its entry."""
    digest = f"{_READER}-{source.sha256()}"
    return digest, (folder or default_cache_folder()) / f"{digest[:34]}.ngram"


def _arrays(model: NGramModel) -> Arrays:
    arrays: dict[str, NDArray[Any]] = {
        "vocabulary": np.frombuffer(json.dumps(model.vocabulary, ensure_ascii=False).encode(), dtype=np.uint8)
    }
    for n, level in enumerate(model.levels, start=1):
        arrays[f"keys.{n}"] = np.ascontiguousarray(level.keys)
        arrays[f"log_probs.{n}"] = np.ascontiguousarray(level.log_probs)
        if n < model.order:
            arrays[f"backoffs.{n}"] = np.ascontiguousarray(level.backoffs)
    return arrays


def _checksum(arrays: Arrays) -> int:
    checksum = 0
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].data, zlib.crc32(name.encode(), checksum))
    return checksum


def _model(metadata: Mapping[str, Any], arrays: Arrays) -> NGramModel:
    """Build the model; `ValueError` or its like where the arrays are not those that were written."""
    if int(metadata["checksum"]) != _checksum(arrays):
        raise ValueError("its checksum is not that of its arrays")
    vocabulary = json.loads(arrays["vocabulary"].tobytes())
    if not isinstance(vocabulary, list) or not all(isinstance(word, str) for word in vocabulary):
        raise ValueError("its vocabulary is no list of words")
    order, levels = int(metadata["order"]), []
    if order < 1:
        raise ValueError(f"its order is {order}")
    size = 1
    for n in range(1, order + 1):
        backoffs = arrays[f"backoffs.{n}"] if n < order else np.empty(0)
        level = Level(arrays[f"keys.{n}"], arrays[f"log_probs.{n}"], backoffs)
        _check_level(level, n, order, size=size, radix=len(vocabulary) + 1)
        levels.append(level)
        size = len(level.keys)
    return NGramModel(vocabulary, levels, unk_trained=bool(metadata["unk_trained"]), facts=dict(metadata["facts"]))


def _check_level(level: Level, n: int, order: int, *, size: int, radix: int) -> None:
    """Refuse arrays that a look-up would stumble over."""
    lengths = {len(level.keys), len(level.log_probs), *([len(level.backoffs)] if n < order else [])}
    types = [level.keys.dtype, level.log_probs.dtype, level.backoffs.dtype]
    if (
        len(lengths) > 1
        or level.keys.ndim != 1
        or types != [np.int64, np.float64, np.float64]
        or (n == 1 and len(level.keys) != radix)
    ):
        raise ValueError(f"the arrays of order {n} do not fit together")
    rising = bool((np.diff(level.keys) > 0).all()) and (not len(level.keys) or int(level.keys[0]) >= 0)
    if not rising or (len(level.keys) and int(level.keys[-1]) >= size * radix):
        raise ValueError(f"the keys of order {n} are out of order")
