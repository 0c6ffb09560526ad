"""The log-probability of each line of a text, and of each token in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.apply.evaluate import check_oov
from elman.errors import UsageError
from elman.learn.measure import WINDOW
from elman.learn.steps import known_symbols
from elman.network.folder import Model
from elman.network.model import State
from elman.text.batches import Batch
from elman.text.reading import TextSource

LINES = 64
"""Lines side by side where each starts from s(0)."""

BASES = {"e": 1.0, "2": math.log(2), "10": math.log(10)}


@dataclass(frozen=True)
class TokenScore:
    """A token and its log-probability; None where it is outside the dictionary and left out."""

    token: str
    log_prob: float | None


@dataclass(frozen=True)
class LineScore:
    """A line, the sum of its log-probabilities, its sentence end included, and how many tokens the dictionary lacks.

    What the dictionary lacks is left out of the sum, or, if so asked, scored as <unk>.
    """

    line: str
    log_prob: float
    oovs: int
    tokens: list[TokenScore]

    def as_dict(self, *, tokens: bool) -> dict[str, Any]:
        """Return the score as plain JSON values, with each token's if asked for."""
        values: dict[str, Any] = {"line": self.line, "logprob": self.log_prob, "oovs": self.oovs}
        if tokens:
            values["tokens"] = [{"token": t.token, "logprob": t.log_prob} for t in self.tokens]
        return values


def score(
    model: Model, lines: Iterable[str], *, regime: str = "sentences", oov: str = "skip", base: str = "e"
) -> Iterator[LineScore]:
    """Yield the score of each line, in order.

    A blank line is scored where it is a sentence, by models of characters and bytes; it is 0, of no tokens, elsewhere.

    Parameters
    ----------
    regime
        "sentences" scores each line from s(0), so that no line depends on another; "running" carries the state on.
    oov
        "skip" leaves words that training never saw out of the sum; "unk" scores them as <unk>.
    base
        of the logarithm: "e", "2" or "10".
    """
    if base not in BASES:
        raise UsageError(f"base {base!r} cannot be", hint="choose e, 2 or 10")
    check_oov(model, oov)
    together = LINES if regime == "sentences" else 1
    state = model.network.initial_state(1)
    remaining = iter(lines)
    while batch := list(islice(remaining, together)):
        before = model.network.initial_state(len(batch)) if regime == "sentences" else state
        state, scores = _score_batch(model, batch, before, oov, base)
        yield from scores


def lines_of(model: Model, source: TextSource) -> Iterator[str]:
    """Give the lines of a text as `score` takes them, one by one; a model of bytes reads any file."""
    if model.tokenizer.unit == "byte":
        return (line.decode("utf-8", errors="surrogateescape") for line in source.raw_lines())
    return source.lines()


def _score_batch(model: Model, lines: list[str], state: State, oov: str, base: str) -> tuple[State, list[LineScore]]:
    tokenizer = model.tokenizer
    ids = [[*tokenizer.encode(line), tokenizer.end_id] if _is_sentence(model, line) else [] for line in lines]
    targets = np.full((max(map(len, ids)), len(ids)), tokenizer.end_id, dtype=np.int64)
    for column, symbols in enumerate(ids):
        targets[: len(symbols), column] = symbols
    state, log_probs = _log_probs(model, state, targets)
    values = log_probs / BASES[base]
    return state, [
        _line_score(model, line, symbols, values[: len(symbols), column], oov)
        for column, (line, symbols) in enumerate(zip(lines, ids, strict=True))
    ]


def _is_sentence(model: Model, line: str) -> bool:
    return model.tokenizer.blank_lines or bool(line.strip())


def _log_probs(model: Model, state: State, targets: Batch) -> tuple[State, NDArray[np.float64]]:
    """Return the state after lines side by side, (T, B), and their log-probabilities, in windows that bound memory."""
    device = next(model.network.parameters()).device
    inputs = np.concatenate([np.full((1, targets.shape[1]), model.tokenizer.end_id, dtype=np.int64), targets[:-1]])
    log_probs = np.empty(targets.shape)
    for start in range(0, len(targets), WINDOW):
        here = slice(start, start + WINDOW)
        symbols, following = (known_symbols(part[here], model.tokenizer).to(device) for part in (inputs, targets))
        state, values = model.network.target_log_probs(state, symbols, following)
        log_probs[here] = values.double().cpu().numpy()
    return state, log_probs


def _line_score(model: Model, line: str, symbols: list[int], values: NDArray[np.float64], oov: str) -> LineScore:
    if not symbols:
        return LineScore(line, 0.0, 0, [])
    outside = [symbol == model.tokenizer.size for symbol in symbols]
    pieces = [*model.tokenizer.pieces(line), model.tokenizer.end]
    tokens = [
        TokenScore(piece, None if out and oov == "skip" else float(value))
        for piece, value, out in zip(pieces, values, outside, strict=True)
    ]
    return LineScore(line, math.fsum(t.log_prob for t in tokens if t.log_prob is not None), sum(outside), tokens)


def score_line(model: Model, line: str, *, oov: str = "skip", base: str = "e") -> float:
    """Return the log-probability of one line, its sentence end included, from s(0)."""
    with torch.no_grad():
        (result,) = score(model, [line], oov=oov, base=base)
    return result.log_prob
