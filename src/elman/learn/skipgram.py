"""Word vectors learnt from a text: skip-gram with negative sampling, by gensim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elman.config import TextSettings
from elman.errors import MissingExtra, TextError
from elman.text.reading import TextSource
from elman.text.vector_writing import is_writable
from elman.text.vectors import WordVectors
from elman.text.words import WordTokenizer


class Sentences:
    """The words of each line of a text, which can be gone through any number of times."""

    def __init__(self, source: TextSource, settings: TextSettings) -> None:
        self.source, self._tokenizer = source, WordTokenizer([], settings, unk_trained=False)

    def __iter__(self) -> Iterator[list[str]]:
        for line in self.source.lines():
            if words := self._tokenizer.pieces(line):
                yield words


def train_skipgram(
    corpus: str | Path,
    *,
    text: TextSettings | None = None,
    size: int = 100,
    window: int = 5,
    negatives: int = 5,
    min_count: int = 5,
    epochs: int = 5,
    seed: int = 1,
    threads: int = 1,
) -> WordVectors:
    """Learn word vectors from a text, a sentence a line; words by falling frequency.

    One thread learns the same vectors every time; more are faster, and do not. A sentence of more than 10,000 words is
    cut. Words that no file of vectors can hold (`is_writable`) are left out at the end.

    Source: T. Mikolov et al., "Distributed representations of words and phrases and their compositionality" (2013).

    Raises
    ------
    MissingExtra
        where gensim is not installed.
    TextError
        for a text that cannot be read, or without a word that is frequent enough.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise MissingExtra("gensim", "vectors") from error
    source = TextSource(corpus)
    model = Word2Vec(
        vector_size=size,
        window=window,
        negative=negatives,
        min_count=min_count,
        epochs=epochs,
        seed=seed % 2**32,
        workers=threads,
        sg=1,
    )
    sentences = Sentences(source, text or TextSettings())
    model.build_vocab(sentences)
    words = list(model.wv.index_to_key)
    if not words:
        raise TextError(
            f"{source.name} holds no word that comes {min_count} times or more", hint="make --min-count smaller"
        )
    model.train(sentences, total_examples=model.corpus_count, epochs=model.epochs)
    kept = [place for place, word in enumerate(words) if is_writable(word)]
    matrix = np.asarray(model.wv.vectors[kept], dtype=np.float32)
    return WordVectors([words[place] for place in kept], matrix, source.name, "skip-gram", len(words))
