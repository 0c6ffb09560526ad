"""How far back a net remembers: its perplexity against the length of the history that it is given.

The model answers Pr{ w(t+1) | w(t), h(t-1) }. Here h(t-1) is made of exactly k words: the net begins in s(0), reads
w(t-k) .. w(t), and is asked for w(t+1). With k = 0 it knows the current word alone, as a bigram does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.apply.evaluate import check_oov, read_corpus
from elman.apply.running import Adaptation, checked_regime, measure_of, read_running
from elman.errors import Interrupted, UsageError
from elman.learn.measure import Measure
from elman.learn.steps import known_symbols
from elman.network.devices import on_device
from elman.network.folder import Model
from elman.network.scoring import Scorer

HISTORIES = (0, 1, 2, 3, 5, 8, 13, 20, 35, 50, 100)
TOKENS = 2000
"""Symbols of the text that are asked for, unless somebody says."""

MOST_HISTORY = 10_000
ROOM = 2**23
"""Numbers that the states of the histories read side by side may be: 32 MB."""

CLOSE = 1.01
"""How near to the perplexity with the whole history is as good as that."""

Places = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Horizon:
    """Perplexities of one text by the length of history.

    Attributes
    ----------
    histories, perplexities
        k, (K,), ascending, and the perplexity per symbol when the net is given k symbols before the current one.
    whole
        the perplexity per symbol with all that came before: the line that the others come down to.
    enough
        the least k from which on every perplexity is within 1 % of `whole`; None where none is.
    tokens, symbols
        how many symbols of the text were read, and how many of them were scored.
    all_tokens
        how many symbols the text has.
    """

    file: str
    unit: str
    regime: str
    oov: str
    histories: list[int]
    perplexities: list[float]
    whole: float
    enough: int | None
    tokens: int
    symbols: int
    all_tokens: int

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as plain JSON values."""
        return asdict(self)


def horizon(
    model: Model,
    path: str | Path,
    *,
    histories: Sequence[int] = HISTORIES,
    tokens: int = TOKENS,
    regime: str | None = None,
    oov: str = "skip",
    should_stop: Callable[[], bool] = lambda: False,
) -> Horizon:
    """Score the beginning of a text with histories of several lengths.

    Every length is asked for the same symbols; at the beginning of the text, where less has come before, it is what
    there is. Sentences are read as `evaluate` reads them: in running text a history reaches into the sentences before,
    with independent sentences it begins where the sentence does.

    Parameters
    ----------
    tokens
        symbols to ask for, at the most: as many whole sentences as they hold, or part of the first.

    Raises
    ------
    UsageError
        for lengths that are none, or far too long.
    TextError
        for a text that cannot be read, or that holds nothing that the model knows.
    """
    chosen = checked_histories(histories)
    check_oov(model, oov)
    regime = checked_regime(model, regime, Adaptation())
    source, corpus = read_corpus(model, path, oov)
    size, end = model.tokenizer.size, model.tokenizer.end_id
    ids = beginning(corpus.ids, tokens, end)
    counted = ids < size if oov == "skip" else np.ones(len(ids), dtype=bool)
    if not counted.any():
        raise UsageError(
            f"the first {len(ids)} symbols of {source.name} are none that the model knows", hint="make --tokens larger"
        )
    begins = first_of_history(ids, end if regime == "sentences" else None)
    lengths = [*chosen, len(ids)] if regime == "sentences" else chosen
    found = by_history(model, ids, begins, lengths, counted=counted, should_stop=should_stop)
    whole = found.pop() if regime == "sentences" else read_running(model, ids, Adaptation(), oov=oov).log_probs
    perplexities = [_perplexity(measure_of(log_probs)) for log_probs in found]
    limit = _perplexity(measure_of(whole))
    return Horizon(
        file=source.name,
        unit=model.tokenizer.unit,
        regime=regime,
        oov=oov,
        histories=chosen,
        perplexities=perplexities,
        whole=limit,
        enough=_enough(chosen, perplexities, limit),
        tokens=len(ids),
        symbols=int(counted.sum()),
        all_tokens=len(corpus.ids),
    )


def checked_histories(histories: Sequence[int]) -> list[int]:
    """Return lengths of history in order, each once, or raise `UsageError`."""
    if not histories or min(histories) < 0 or max(histories) > MOST_HISTORY:
        raise UsageError(
            f"lengths of history {', '.join(map(str, histories)) or 'that are none'} cannot be",
            hint=f"give whole numbers from 0 to {MOST_HISTORY}, such as --history 0,1,2,5,20,100",
        )
    return sorted(set(histories))


def beginning(ids: NDArray[Any], tokens: int, end_id: int) -> Places:
    """Return the first ids of a text: whole sentences of at most so many symbols, or part of the first."""
    some = np.asarray(ids[:tokens]).astype(np.int64)
    if len(some) == len(ids):
        return some
    ends = np.flatnonzero(some == end_id)
    return some[: int(ends[-1]) + 1] if len(ends) else some


def first_of_history(ids: Places, end_id: int | None) -> Places:
    """Return, for each id, (N,), the place from which its history may begin: that of its sentence where one ends."""
    if end_id is None:
        return np.zeros(len(ids), dtype=np.int64)
    starts = np.concatenate([[True], ids[:-1] == end_id])
    return np.maximum.accumulate(np.where(starts, np.arange(len(ids)), 0))


@torch.no_grad()
def by_history(
    model: Model,
    ids: Places,
    begins: Places,
    histories: Sequence[int],
    *,
    counted: NDArray[np.bool_],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Values]:
    """Return log y[w(t+1)] by length of history, (N,) each; NaN for what is not counted.

    A reading that begins in s(0) at place p of the text gives the history of length j to the symbol p + j, for every j
    at once: so each place is read from once, for as long as the longest history, many of them side by side.
    """
    targets = np.arange(len(ids))
    starts = [np.maximum(begins, targets - k) for k in histories]  # (N,), where the reading of each begins
    found = [np.full(len(ids), np.nan) for _ in histories]
    scorer, device = Scorer(model.network), next(model.network.parameters()).device
    before = np.concatenate([[model.tokenizer.end_id], ids[:-1]])
    following = on_device(known_symbols(ids, model.tokenizer), device)
    for first, states in _readings(model, before, np.unique(np.concatenate(starts)), targets - np.min(starts, axis=0)):
        if should_stop():
            raise Interrupted("stopped while a text was being scored")
        column = {int(place): index for index, place in enumerate(first)}
        for start, values in zip(starts, found, strict=True):
            here = np.flatnonzero(counted & (start >= first[0]) & (start <= first[-1]))
            if len(here):
                steps = torch.from_numpy(here - start[here])
                columns = torch.tensor([column[int(place)] for place in start[here]])
                rows = states[on_device(steps, device), on_device(columns, device)]
                answers = following[on_device(torch.from_numpy(here), device)]
                values[here] = scorer.log_probs(rows, answers).double().cpu().numpy()
    return found


def _readings(model: Model, before: Places, starts: Places, longest: Places) -> Iterator[tuple[Places, torch.Tensor]]:
    """Give places where readings begin, (B,), and all that goes to the output on the way, (T, B, H), batch by batch."""
    network, device = model.network, next(model.network.parameters()).device
    length = int(longest.max()) + 1
    batch = max(1, ROOM // (length * network.top_size))
    for at in range(0, len(starts), batch):
        first = starts[at : at + batch]
        places = np.minimum(first + np.arange(length)[:, None], len(before) - 1)  # beyond the end nobody asks
        symbols = on_device(known_symbols(before[places], model.tokenizer), device)
        yield first, network.unroll(network.initial_state(len(first)), symbols)[1]


def _perplexity(found: Measure) -> float:
    """Return the perplexity per symbol as `evaluate` has it: zero probabilities are counted, and not in the sum."""
    mean = -found.log_prob / max(1, found.symbols)
    return math.exp(mean) if mean < 700 else math.inf


def _enough(histories: Sequence[int], perplexities: Sequence[float], whole: float) -> int | None:
    enough = None
    for k, value in zip(reversed(histories), reversed(perplexities), strict=True):
        if not value <= CLOSE * whole:
            break
        enough = k
    return enough
