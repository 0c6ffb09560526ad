"""How good a model of counts is on a text, in the units of `elman evaluate`."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.errors import TextError
from elman.ngram.model import NGramModel, check_oov
from elman.ngram.sentences import batches
from elman.text.reading import TextSource
from elman.text.symbols import UNK


@dataclass(frozen=True)
class Evaluation:
    """A text under a model, counted as SRILM counts; the fields mean what those of `elman evaluate` mean.

    `perplexity` is 10^(-logprob10 / (words - oovs - zeroprobs + sentences)), with oov "unk" without taking the OOVs
    off; `perplexity1` the same without the sentence ends. `bits_per_character` is over the characters of what was
    scored, a space or line end after each word.
    """

    file: str
    unit: str
    regime: str
    oov: str
    order: int
    sentences: int
    words: int
    oovs: int
    zeroprobs: int
    tokens: int
    logprob10: float
    perplexity: float
    perplexity1: float
    token_perplexity: float
    bits_per_character: float
    words_per_second: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as plain JSON values."""
        return asdict(self)


def evaluate(model: NGramModel, path: str | Path, *, oov: str = "skip") -> Evaluation:
    """Score a text, plain or gzip (`-` is standard input), each line for itself; blank lines are none.

    Raises
    ------
    TextError
        for a text that cannot be read, or that holds nothing that the model knows.
    UsageError
        for oov "unk" where the model has no <unk>.
    """
    check_oov(model, oov)
    source = TextSource(path)
    begun = time.perf_counter()
    sentences = words = oovs = zeroprobs = characters = lost = 0
    log_prob = 0.0
    for batch in batches(source):
        flat, lengths = model.encode(batch)
        unknown = np.flatnonzero(flat < 0)
        if len(unknown):
            inside = np.cumsum(flat != model.start_id) - 1  # the place of each word and end among all of the batch
            named = [word for sentence in batch for word in (*sentence, "")]
            lost += sum(len(named[inside[place]]) + 1 for place in unknown)
            if oov == "unk":
                flat[unknown] = model.ids[UNK]
        scores = model.score(flat)[flat != model.start_id]
        scores = scores[~np.isnan(scores)]
        never = np.isneginf(scores)
        log_prob += float(scores[~never].sum())
        zeroprobs += int(never.sum())
        oovs += len(unknown)
        sentences += len(batch)
        words += int(lengths.sum())
        characters += sum(len(word) for sentence in batch for word in sentence) + int(lengths.sum())
    left_out = oovs if oov == "skip" else 0
    if left_out == words:
        raise TextError(
            f"{source.name} holds only words that the model does not know", hint="is it in the language of the model?"
        )
    characters -= lost if oov == "skip" else 0
    seconds = time.perf_counter() - begun
    scored = words - left_out - zeroprobs
    return Evaluation(
        file=source.name,
        unit="word",
        regime="sentences",
        oov=oov,
        order=model.order,
        sentences=sentences,
        words=words,
        oovs=oovs,
        zeroprobs=zeroprobs,
        tokens=scored + sentences,
        logprob10=log_prob / math.log(10),
        perplexity=_perplexity(log_prob, scored + sentences),
        perplexity1=_perplexity(log_prob, scored),
        token_perplexity=_perplexity(log_prob, scored + sentences),
        bits_per_character=-log_prob / math.log(2) / max(1, characters),
        words_per_second=words / max(seconds, 1e-9),
        seconds=seconds,
    )


def _perplexity(log_prob: float, symbols: int) -> float:
    """Return exp(-log_prob / symbols), infinite where a float cannot hold it or nothing was counted."""
    if symbols <= 0 or -log_prob / symbols > 700:
        return math.inf
    return math.exp(-log_prob / symbols)
