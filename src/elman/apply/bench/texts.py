"""A synthetic text: words by Zipf's law, so that a benchmark needs no data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elman.config import TextSettings
from elman.files import write_text
from elman.text.corpus import Corpus, build_corpus
from elman.text.reading import TextSource
from elman.text.symbols import Tokenizer
from elman.text.tokenizers import train_tokenizer

SPECIAL = 2  # </s> and <unk>
TEXT, WORDS = "text.txt", "words.txt"


@dataclass(frozen=True)
class Text:
    """A text, its dictionary and its corpus."""

    source: TextSource
    tokenizer: Tokenizer
    corpus: Corpus


def zipf_lines(dictionary: int, words: int, seed: int) -> list[str]:
    """Return sentences of 5 to 35 words; the word of rank r comes with probability proportional to 1 / r."""
    draw = np.random.default_rng(seed)
    chances = 1 / np.arange(1, dictionary - SPECIAL + 1)
    ranks = draw.choice(len(chances), size=words, p=chances / chances.sum())
    stops = np.cumsum(draw.integers(5, 36, size=words // 5 + 1))
    return [" ".join(f"w{rank}" for rank in part) for part in np.split(ranks, stops[stops < words])]


@contextmanager
def written(dictionary: int, words: int, seed: int) -> Iterator[Path]:
    """Give a folder with a text of `words` words and a list of the D - 2 there are; it goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="elman-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_text(folder / WORDS, "".join(f"w{rank}\n" for rank in range(dictionary - SPECIAL)))
        write_text(folder / TEXT, "\n".join(zipf_lines(dictionary, words, seed)) + "\n")
        yield folder


def read(folder: Path) -> Text:
    """Read what `written` wrote, as training does; D is exactly what was asked for."""
    source = TextSource(folder / TEXT)
    tokenizer = train_tokenizer(source, TextSettings(vocabulary=str(folder / WORDS)))
    return Text(source, tokenizer, build_corpus(source, tokenizer, cache_folder=folder))


@contextmanager
def synthetic(dictionary: int, words: int, seed: int) -> Iterator[Text]:
    """Give a text of `words` words over a dictionary of exactly D symbols; its files go when the block ends."""
    with written(dictionary, words, seed) as folder:
        yield read(folder)
