"""What a model says of each symbol of a text: tokens in order, and the log-probability that each was given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError, UsageError
from elman.text.symbols import END, UNK

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Trace:
    """A text, token by token.

    Attributes
    ----------
    name
        where it comes from, for messages.
    tokens
        (N,), sentence ends as `</s>`, one after each sentence.
    log_probs
        (N,), natural logs; NaN for what the model leaves out (an unseen word), -inf for what it thinks impossible.
    first_line
        the line of a file that the first token stands on; 0 for what is from no file.
    """

    name: str
    tokens: list[str]
    log_probs: Values
    first_line: int = 0

    def place(self, index: int) -> str:
        """Say where a token stands."""
        return f"{self.name}, line {index + self.first_line}" if self.first_line else f"{self.name}, token {index + 1}"


@dataclass(frozen=True)
class Tally:
    """A text counted as SRILM counts: left-out and impossible tokens are in no perplexity.

    `perplexity` is exp(-log_prob / (words - oovs - zeroprobs + sentences)), `perplexity1` the same without the sentence
    ends. For units other than words, "words" are symbols.
    """

    sentences: int
    words: int
    oovs: int
    zeroprobs: int
    log_prob: float
    perplexity: float
    perplexity1: float

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as plain JSON values, the sum as a decimal logarithm."""
        values = dict(vars(self))
        return values | {"logprob10": values.pop("log_prob") / math.log(10)}


def tally(tokens: Sequence[str], log_probs: Values) -> Tally:
    """Count a text, (N,), as SRILM does."""
    sentences = sum(token == END for token in tokens)
    words = len(tokens) - sentences
    oovs, zeroprobs = int(np.isnan(log_probs).sum()), int(np.isneginf(log_probs).sum())
    log_prob = float(log_probs[np.isfinite(log_probs)].sum())
    counted = words - oovs - zeroprobs
    return Tally(
        sentences=sentences,
        words=words,
        oovs=oovs,
        zeroprobs=zeroprobs,
        log_prob=log_prob,
        perplexity=perplexity(log_prob, counted + sentences),
        perplexity1=perplexity(log_prob, counted),
    )


def perplexity(log_prob: float, symbols: int) -> float:
    """Return exp(-log_prob / symbols), infinite where a float cannot hold it or nothing was counted."""
    if symbols <= 0 or -log_prob / symbols > 700:
        return math.inf
    return math.exp(-log_prob / symbols)


def check_aligned(traces: Sequence[Trace]) -> None:
    """Raise `TextError` where traces are not of one text, naming the first place where they part.

    `<unk>` stands for any word, as some tools write it in place of a word that they do not know; it is no sentence end.
    """
    for trace in traces[1:]:
        first = traces[0]
        for index, (one, other) in enumerate(zip(first.tokens, trace.tokens, strict=False)):
            if one != other and (END in (one, other) or UNK not in (one, other)):
                raise TextError(
                    f"{trace.place(index)} has {other!r} where {first.place(index)} has {one!r}",
                    hint="are they of one text, cut into tokens alike, with </s> after each sentence?",
                )
        if len(first.tokens) != len(trace.tokens):
            shorter, longer = sorted((first, trace), key=lambda t: len(t.tokens))
            raise TextError(
                f"{shorter.name} ends after {len(shorter.tokens)} tokens, {longer.name} has {len(longer.tokens)}",
                hint="are they of one text, and is the shorter one whole?",
            )


def counted_by_all(traces: Sequence[Trace]) -> Mask:
    """Return which tokens, (N,), no trace leaves out: the events that models can be compared by.

    Raises
    ------
    UsageError
        where there are none.
    """
    counted: Mask = np.logical_not(np.isnan(np.stack([trace.log_probs for trace in traces])).any(axis=0))
    if not counted.any():
        raise UsageError("there is no token that every member knows", hint="are the members of one language?")
    return counted
