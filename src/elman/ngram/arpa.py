r"""ARPA files: models as text, which every other toolkit reads.

    \data\
    ngram 1=4
    ngram 2=3

    \1-grams:
    -99     <s>     -0.30103        log10 p(w), the word, log10 b(w)
    ...
    \2-grams:
    -0.1760913      <s> the
    ...
    \end\

A probability of -99 or less stands for one of zero, as in SRILM. There is one entry for `<unk>`: see docs/ngram.md.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from elman.errors import ModelError, OutputError
from elman.files import replacing
from elman.ngram import storage
from elman.ngram.arpa_reader import NEVER, Reader, natural, unk_trained
from elman.ngram.model import Floats, Level, NGramModel
from elman.ngram.sentences import START
from elman.text.reading import TextSource

_LINES = 1 << 16  # lines that are made into text at a time
_GZIP_LEVEL = 6
_DECIMALS = 7


def load(path: str | Path, *, cache_folder: Path | None = None) -> NGramModel:
    r"""Read an ARPA file, plain or gzip (`-` is standard input), or what the cache holds of it already.

    The cache is that of the corpora. Its entry is named by a hash of the file's bytes; a damaged one is made anew.

    Raises
    ------
    TextError
        for a file that is missing, empty or a damaged gzip file.
    ModelError
        for one that is no whole ARPA file; the message says in which line.
    """
    source = TextSource(path)
    return storage.cached(source, read, folder=cache_folder)


def read(source: TextSource) -> NGramModel:
    """Read an ARPA file without any cache; errors as in `load`."""
    reader = Reader(source.name)
    for lines in source.raw_blocks():
        reader.feed(lines)
    return reader.finish()


def save(model: NGramModel, path: str | Path) -> None:
    """Write a model as ARPA, gzipped where the name ends in `.gz`; whole or not at all.

    Raises
    ------
    OutputError
        for a path that cannot be written.
    ModelError
        for a model with a word that ARPA cannot hold.
    """
    path = Path(path)
    check_words(model)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        if path.suffix != ".gz":
            write(model, stream)
            return
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0) as packed:
            write(model, cast(BinaryIO, packed))


def remember(model: NGramModel, path: str | Path) -> None:
    """Leave in the cache what reading an ARPA file would leave there, the model having just been written to it."""
    levels = [
        Level(level.keys, natural(_log10(level.log_probs)), natural(_log10(level.backoffs))) for level in model.levels
    ]
    seen = unk_trained(model.vocabulary, levels)
    storage.remember(NGramModel(model.vocabulary, levels, unk_trained=seen), TextSource(path))


def check_words(model: NGramModel) -> None:
    """Refuse words that are empty or hold a space: ARPA parts them at spaces."""
    for word in model.vocabulary:
        if word.split() != [word] or word == START:
            raise ModelError(
                f"the word {word!r} cannot stand in an ARPA file", hint="write the model as .safetensors instead"
            )


def write(model: NGramModel, stream: BinaryIO) -> None:
    """Write a model as ARPA to a stream of bytes, base-10 logarithms to seven decimals."""
    head = "".join(f"ngram {n}={size}\n" for n, size in enumerate(model.counts, start=1))
    stream.write(f"\\data\\\n{head}".encode())
    contexts: list[str] = []
    words = [*model.vocabulary, START]
    for n, level in enumerate(model.levels, start=1):
        stream.write(f"\n\\{n}-grams:\n".encode())
        if n == 1:
            texts = words
        else:
            parents, last = (part.tolist() for part in np.divmod(level.keys, len(words)))
            texts = [f"{contexts[parent]} {words[word]}" for parent, word in zip(parents, last, strict=True)]
        for lines in _lines(texts, _log10(level.log_probs), _log10(level.backoffs)):
            stream.write(lines)
        contexts = texts
    stream.write(b"\n\\end\\\n")


def _lines(texts: Sequence[str], probs: Floats, backoffs: Floats) -> Iterator[bytes]:
    """Give the lines of one order, some thousands at a time; the highest order has no back-off weights."""
    for first in range(0, len(texts), _LINES):
        part = slice(first, first + _LINES)
        rows = zip(texts[part], probs[part].tolist(), strict=True)
        if len(backoffs):
            weighted = zip(rows, backoffs[part].tolist(), strict=True)
            yield "".join([f"{prob!r}\t{text}\t{backoff!r}\n" for (text, prob), backoff in weighted]).encode()
        else:
            yield "".join([f"{prob!r}\t{text}\n" for text, prob in rows]).encode()


def _log10(values: Floats) -> NDArray[np.float64]:
    """Turn natural logarithms into base-10 ones, rounded as they are written; -99 for what never happens."""
    return np.asarray(np.round(np.maximum(values / np.log(10.0), NEVER), _DECIMALS) + 0.0)  # no minus before a zero


def save_any(model: NGramModel, path: str | Path) -> None:
    """Write a model in the format that the name asks for: `.safetensors`, else ARPA; `.gz` packs ARPA."""
    if Path(path).is_dir():
        raise OutputError(f"{path} is a folder", hint="give the path of a file in it")
    if Path(path).suffix == storage.SUFFIX:
        storage.save(model, Path(path))
    else:
        save(model, path)


def load_any(path: str | Path) -> NGramModel:
    """Read a model in either format, known by the name: `.safetensors`, else ARPA, plain or gzip."""
    if Path(path).suffix == storage.SUFFIX:
        return storage.load(Path(path))
    return load(path)
