"""What hidden units fire on: the words and the contexts that make each of them most active, and its run along a text.

The activation of a unit at a word is its part of what its layer sends up once the net has read that word: s(t), for
the plain net. The text is read as `evaluate` reads it, from s(0), the state carried through unless sentences stand for
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.apply.evaluate import read_corpus
from elman.apply.horizon import first_of_history
from elman.apply.running import Adaptation, checked_regime, token_stream
from elman.errors import Interrupted, UsageError
from elman.learn.steps import known_symbols
from elman.network.folder import Model

TOKENS = 20_000
"""Symbols that are read, unless somebody says."""

ROOM = 2**26
"""Activations that are kept, at the most: 256 MB."""

LEAST = 3
"""How often a word has to come for its mean to count."""

STRONGEST = 5
"""Words whose means say how interesting a unit is."""

AROUND = (5, 3)
"""Symbols that are shown before and after the one that a unit fires at."""

SENTENCE = (5, 25)
"""Symbols of a sentence that is worth a picture, unless one is given."""

Activations = NDArray[np.float32]


@dataclass(frozen=True)
class WordMean:
    """A word, the mean activation at it, and how often it came."""

    word: str
    mean: float
    count: int


@dataclass(frozen=True)
class Firing:
    """A place where a unit is active: the symbols before, the one that it fires at, those after."""

    activation: float
    before: list[str]
    word: str
    after: list[str]


@dataclass(frozen=True)
class Unit:
    """One unit of a layer.

    `selectivity` is how many standard deviations the means of its five strongest words lie above its mean. `by_word` is
    the share of its variance that the current word explains: near 1 it looks at the word, near 0 at what came before.
    """

    unit: int
    mean: float
    deviation: float
    selectivity: float
    by_word: float
    words: list[WordMean]
    contexts: list[Firing]


@dataclass(frozen=True)
class Units:
    """Units of a layer on a text; `activations`, (units, N), run along `sentence`, (N,)."""

    file: str
    unit: str
    layer: int
    layers: int
    size: int
    tokens: int
    all_tokens: int
    low: float
    high: float
    units: list[Unit]
    sentence: list[str]
    activations: list[list[float]]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def units(
    model: Model,
    path: str | Path,
    *,
    layer: int = 1,
    chosen: Sequence[int] = (),
    top: int = 8,
    words: int = 10,
    contexts: int = 5,
    least: int = LEAST,
    along: str | None = None,
    tokens: int = TOKENS,
    regime: str | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Units:
    """Look at units of a layer while the net reads a text.

    Parameters
    ----------
    layer, chosen
        the layer, from 1, the lowest; units of it, from 0, or none for the `top` most selective ones.
    words, contexts, least
        how many words and contexts to give for each; words count that come `least` times or more.
    along
        a text to follow the units along; by default the sentence of the text that moves them most.
    tokens
        symbols of the text to read, at the most.

    Raises
    ------
    UsageError
        for a layer or a unit that there is not.
    """
    network = model.network
    if not 1 <= layer <= len(network.cells):
        raise UsageError(f"there is no layer {layer}", hint=f"the model has layers 1 to {len(network.cells)}")
    cell: Any = network.cells[layer - 1]
    size = int(cell.output_size)
    if wrong := [unit for unit in chosen if not 0 <= unit < size]:
        raise UsageError(f"there is no unit {wrong[0]} in layer {layer}", hint=f"it has units 0 to {size - 1}")
    regime = checked_regime(model, regime, Adaptation())
    source, corpus = read_corpus(model, path, "skip")
    limit = max(1, min(tokens, ROOM // size))
    ids = np.asarray(corpus.ids[:limit]).astype(np.int64)
    written = list(islice(token_stream(model, source), len(ids)))  # also those that the dictionary lacks
    alone = regime == "sentences"
    places = _Places(written, first_of_history(ids, model.tokenizer.end_id) if alone else None)
    states = activations(model, ids, layer=layer, regime=regime, should_stop=should_stop)
    means = _Means(states, ids, model.tokenizer.size, least)
    order = list(dict.fromkeys(chosen)) or np.argsort(-means.selectivity, kind="stable")[:top].tolist()
    sentence, run = _along(model, along, ids, written, states[:, order], layer, order)
    return Units(
        file=source.name,
        unit=model.tokenizer.unit,
        layer=layer,
        layers=len(network.cells),
        size=size,
        tokens=len(ids),
        all_tokens=len(corpus.ids),
        low=float(states.min()),
        high=float(states.max()),
        units=[_unit(model, means, states[:, unit], places, unit, words, contexts) for unit in order],
        sentence=sentence,
        activations=run.T.tolist(),
    )


@torch.no_grad()
def activations(
    model: Model,
    ids: NDArray[np.int64],
    *,
    layer: int,
    regime: str = "running",
    should_stop: Callable[[], bool] = lambda: False,
) -> Activations:
    """Return what layer `layer` (from 1) sends up after each symbol of a text, (N, H), the sentence end read first."""
    network, end = model.network, model.tokenizer.end_id
    device = next(network.parameters()).device
    cell: Any = network.cells[layer - 1]
    symbols = known_symbols(ids, model.tokenizer).to(device)
    begin, _ = network.advance(network.initial_state(1), torch.tensor([end], device=device))
    state, found = begin, np.empty((len(ids), cell.output_size), dtype=np.float32)
    for place, symbol in enumerate(torch.split(symbols, 1)):
        if place % 1000 == 0 and should_stop():
            raise Interrupted("stopped while a text was being read")
        state, _ = network.advance(state, symbol)
        found[place] = cell.output(state[layer - 1])[0].float().cpu().numpy()
        if regime == "sentences" and ids[place] == end:
            state = begin
    return found


class _Means:
    """Means of activations, (N, H), over the places of each symbol; `least` times or more, or all if none comes so."""

    def __init__(self, states: Activations, ids: NDArray[np.int64], size: int, least: int) -> None:
        order = np.argsort(ids, kind="stable")
        symbols, first = np.unique(ids[order], return_index=True)
        counts = np.diff(np.append(first, len(ids)))
        sums = np.add.reduceat(states[order].astype(np.float64), first, axis=0)
        self.mean, self.deviation = states.mean(axis=0, dtype=np.float64), states.std(axis=0, dtype=np.float64)
        between = (counts[:, None] * (sums / counts[:, None] - self.mean) ** 2).sum(axis=0) / len(ids)
        spread = np.where(self.deviation > 0, self.deviation, 1.0)
        self.by_word = np.where(self.deviation > 0, np.minimum(1.0, between / spread**2), 0.0)
        keep = (counts >= least) & (symbols < size)
        keep = keep if keep.any() else symbols < size
        self.symbols, self.counts = symbols[keep], counts[keep]
        self.means = sums[keep] / self.counts[:, None]
        strongest = np.sort(self.means, axis=0)[-STRONGEST:].mean(axis=0)
        self.selectivity = np.where(self.deviation > 0, (strongest - self.mean) / spread, 0.0)


def _unit(
    model: Model, means: _Means, values: Activations, places: _Places, unit: int, words: int, contexts: int
) -> Unit:
    column = means.means[:, unit]
    strongest = np.argsort(-column, kind="stable")[:words]
    return Unit(
        unit=unit,
        mean=float(means.mean[unit]),
        deviation=float(means.deviation[unit]),
        selectivity=float(means.selectivity[unit]),
        by_word=float(means.by_word[unit]),
        words=[
            WordMean(model.tokenizer.token(int(means.symbols[i])), float(column[i]), int(means.counts[i]))
            for i in strongest
        ],
        contexts=_firings(values, places, contexts),
    )


class _Places:
    """A text, and what stands around a place of it: where sentences are read each for itself, of its sentence only."""

    def __init__(self, written: Sequence[str], begins: NDArray[np.int64] | None) -> None:
        self.written, self.begins = written, begins

    def around(self, place: int) -> tuple[list[str], str, list[str]]:
        """Return the symbols before a place, at it, and after it."""
        before, after = AROUND
        first, stop = max(0, place - before), min(len(self.written), place + after + 1)
        if self.begins is not None:
            begin = int(self.begins[place])
            first = max(first, begin)
            stop = next((at for at in range(place + 1, stop) if self.begins[at] != begin), stop)
        return list(self.written[first:place]), self.written[place], list(self.written[place + 1 : stop])


def _firings(values: Activations, places: _Places, count: int) -> list[Firing]:
    """Return the places of the largest activations that share no symbol and say not the same."""
    taken: list[int] = []
    found: list[Firing] = []
    said: set[str] = set()
    for place in np.argsort(-values, kind="stable").tolist():
        if len(found) == count:
            break
        before, word, after = places.around(place)
        text = repr((before, word, after))
        if text not in said and all(abs(place - other) > sum(AROUND) for other in taken):
            said.add(text)
            taken.append(place)
            found.append(Firing(float(values[place]), before, word, after))
    return found


def _along(
    model: Model,
    along: str | None,
    ids: NDArray[np.int64],
    written: Sequence[str],
    states: Activations,
    layer: int,
    order: Sequence[int],
) -> tuple[list[str], Activations]:
    """Return a sentence as it is written, and the activations of units along it, (N, units)."""
    if along is not None:
        symbols = np.array(model.tokenizer.encode(along), dtype=np.int64)
        if not len(symbols):
            raise UsageError("the text to follow the units along holds no symbol", hint="--along 'some words'")
        return model.tokenizer.pieces(along), activations(model, symbols, layer=layer)[:, order]
    stops = np.flatnonzero(ids == model.tokenizer.end_id)
    starts = np.concatenate([[0], stops[:-1] + 1]) if len(stops) else np.zeros(0, dtype=np.int64)
    low, high = SENTENCE
    pairs = [(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True) if low <= b - a <= high]
    if not pairs:
        return list(written[:high]), states[:high]
    spread = states.std(axis=0) + np.finfo(np.float32).tiny
    moved = [float((np.ptp(states[a:b], axis=0) / spread).sum()) for a, b in pairs]
    a, b = pairs[int(np.argmax(moved))]
    return list(written[a:b]), states[a:b]
