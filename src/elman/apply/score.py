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
from torch import Tensor

from elman.apply.evaluate import PRODUCTS, check_oov, chosen_precision
from elman.errors import UsageError
from elman.learn.measure import WINDOW
from elman.learn.steps import known_symbols
from elman.network.folder import Model
from elman.network.scoring import Scorer
from elman.text.batches import Batch
from elman.text.reading import TextSource

LINES = 64
"""Lines side by side where each starts from s(0), and how many are taken before the first answer."""

MOST_LINES = 4096
"""Lines that are taken at a time, at the most."""

Values = NDArray[np.float64]

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
    model: Model,
    lines: Iterable[str],
    *,
    regime: str = "sentences",
    oov: str = "skip",
    base: str = "e",
    precision: str = "fp32",
) -> Iterator[LineScore]:
    """Yield the score of each line, in order.

    A blank line is scored where it is a sentence, by models of characters and bytes; it is 0, of no tokens, elsewhere.
    Lines are taken some at a time, more and more: those of nearly the same length are scored side by side.

    Parameters
    ----------
    regime
        "sentences" scores each line from s(0), so that no line depends on another; "running" carries the state on.
    oov
        "skip" leaves words that training never saw out of the sum; "unk" scores them as <unk>.
    base
        of the logarithm: "e", "2" or "10".
    precision
        of the products with V: "fp32", "bf16", "int8" or "auto" (see `apply.evaluate.evaluate`).
    """
    if base not in BASES:
        raise UsageError(f"base {base!r} cannot be", hint="choose e, 2 or 10")
    check_oov(model, oov)
    reader = _Reader(model, oov, PRODUCTS[chosen_precision(model, precision)])
    remaining, count = iter(lines), LINES
    while some := list(islice(remaining, count)):
        symbols = [_symbols(model, line) for line in some]
        found = reader.sentences(symbols) if regime == "sentences" else reader.running(symbols)
        for line, ids, log_probs in zip(some, symbols, found, strict=True):
            yield _line_score(model, line, ids, log_probs / BASES[base], oov)
        count = min(2 * count, MOST_LINES)


def lines_of(model: Model, source: TextSource) -> Iterator[str]:
    """Give the lines of a text as `score` takes them, one by one; a model of bytes reads any file."""
    if model.tokenizer.unit == "byte":
        return (line.decode("utf-8", errors="surrogateescape") for line in source.raw_lines())
    return source.lines()


def _symbols(model: Model, line: str) -> Batch:
    """Return the symbols of a line and its end; none where a blank line is no sentence."""
    tokenizer = model.tokenizer
    whole = tokenizer.blank_lines or bool(line.strip())
    return np.array([*tokenizer.encode(line), tokenizer.end_id] if whole else [], dtype=np.int64)


class _Reader:
    """Scores lines of symbols, all of one length at a time or all as one text; what does not count becomes NaN."""

    def __init__(self, model: Model, oov: str, product: torch.dtype | None) -> None:
        self._tokenizer, self._oov = model.tokenizer, oov
        self._scorer = Scorer(model.network, product=product)
        self._network = model.network
        self._device = next(model.network.parameters()).device
        self._state = model.network.initial_state(1)  # of running text

    @torch.no_grad()
    def running(self, lines: list[Batch]) -> list[Values]:
        """Return the log-probabilities of each line's symbols, each line after the one before."""
        targets = np.concatenate(lines)
        inputs = np.concatenate([np.full(1, self._tokenizer.end_id), targets[:-1]])[: len(targets)]
        log_probs = np.empty(len(targets))
        for start in range(0, len(targets), self._scorer.block):
            here = slice(start, start + self._scorer.block)
            self._state, states = self._scorer.read(self._state, self._known(inputs[here]))
            log_probs[here] = self._log_probs(states, targets[here])
        return np.split(log_probs, np.cumsum([len(line) for line in lines])[:-1])

    @torch.no_grad()
    def sentences(self, lines: list[Batch]) -> list[Values]:
        """Return the log-probabilities of each line's symbols, each line from s(0)."""
        found: list[Values] = [np.empty(0)] * len(lines)
        by_length = sorted((i for i in range(len(lines)) if len(lines[i])), key=lambda i: len(lines[i]))
        for start in range(0, len(by_length), LINES):
            together = by_length[start : start + LINES]
            for place, log_probs in zip(together, self._side_by_side([lines[i] for i in together]), strict=True):
                found[place] = log_probs
        return found

    def _side_by_side(self, lines: list[Batch]) -> list[Values]:
        lengths = np.array([len(line) for line in lines])
        targets = np.full((lengths.max(), len(lines)), self._tokenizer.end_id, dtype=np.int64)
        for column, line in enumerate(lines):
            targets[: len(line), column] = line
        inputs = np.concatenate([np.full((1, len(lines)), self._tokenizer.end_id, dtype=np.int64), targets[:-1]])
        log_probs = np.empty(targets.shape)
        state = self._network.initial_state(len(lines))
        for start in range(0, len(targets), WINDOW):
            here = slice(start, start + WINDOW)
            state, states = self._network.unroll(state, self._known(inputs[here]))
            padding = np.arange(start, start + len(states))[:, None] >= lengths
            rows = states.reshape(padding.size, -1)
            log_probs[here] = self._log_probs(rows, targets[here].reshape(-1), ~padding.reshape(-1)).reshape(
                padding.shape
            )
        return [log_probs[: len(line), column] for column, line in enumerate(lines)]

    def _log_probs(self, states: Tensor, targets: Batch, keep: NDArray[np.bool_] | None = None) -> Values:
        """Return log y[target], (N,), for states (N, H): of those to keep and, unless asked for, not of the unseen."""
        keep = np.ones(len(targets), dtype=bool) if keep is None else keep
        if self._oov == "skip":
            keep = keep & (targets < self._tokenizer.size)
        log_probs = np.full(len(targets), np.nan)
        rows = states if keep.all() else states[torch.from_numpy(keep).to(self._device)]
        log_probs[keep] = self._scorer.log_probs(rows, self._known(targets[keep])).double().cpu().numpy()
        return log_probs

    def _known(self, symbols: Batch) -> Tensor:
        return known_symbols(symbols, self._tokenizer).to(self._device)


def _line_score(model: Model, line: str, symbols: Batch, values: Values, oov: str) -> LineScore:
    if not len(symbols):
        return LineScore(line, 0.0, 0, [])
    outside = [bool(symbol == model.tokenizer.size) for symbol in symbols]
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
