"""Choosing what a model does with a running text: rates, flatness and weight, on a validation text and not on the test.

The learning rate of dynamic evaluation comes from a small grid around the one that is given, and the flatness of a
neural cache from FLATNESS. The weight of a cache is found by EM, as that of any mixture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from elman.apply.evaluate import read_corpus
from elman.apply.mixtures import tune_weights
from elman.apply.running import Adaptation, measure_of, read_running
from elman.errors import TrainingError
from elman.network.folder import Model
from elman.text.batches import Ids
from elman.text.corpus import Corpus

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""What the given learning rate is multiplied by."""

FLATNESS = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0)

DYNAMIC_SYMBOLS = 30_000
"""Symbols of the validation text that learning rates are compared on: each rate reads all of them."""


@dataclass(frozen=True)
class Choice:
    """What was tried on a validation text, (what, perplexity per symbol) each, and what was chosen."""

    adaptation: Adaptation
    tried: list[tuple[dict[str, float], float]]

    def as_dict(self) -> dict[str, Any]:
        """Return what was tried as plain JSON values."""
        return {"tried": [what | {"perplexity": value} for what, value in self.tried]}


def tune_adaptation(model: Model, adaptation: Adaptation, path: str | Path, *, oov: str = "skip") -> Choice:
    """Choose the rate of dynamic evaluation, then the flatness and the weight of the cache, on a text."""
    tried: list[tuple[dict[str, float], float]] = []
    dynamic, (_, corpus) = adaptation.dynamic, read_corpus(model, path, oov)
    if dynamic is not None:
        ids = corpus.ids[:DYNAMIC_SYMBOLS]
        results: dict[float, float] = {}
        for factor in FACTORS:
            alpha = dynamic.alpha * factor
            trial = replace(adaptation, dynamic=replace(dynamic, alpha=alpha), cache=None)
            results[alpha] = _perplexity(model, ids, trial, oov)
            tried.append(({"alpha": alpha}, results[alpha]))
        adaptation = replace(adaptation, dynamic=replace(dynamic, alpha=min(results, key=results.__getitem__)))
    if adaptation.cache is not None:
        adaptation = _tuned_cache(model, adaptation, corpus, oov, tried)
    return Choice(adaptation, tried)


def _perplexity(model: Model, ids: Ids, adaptation: Adaptation, oov: str) -> float:
    """Return the perplexity per symbol; infinite where the network ran away."""
    try:
        return measure_of(read_running(model, ids, adaptation, oov=oov).log_probs).perplexity
    except TrainingError:
        return np.inf


def _tuned_cache(
    model: Model, adaptation: Adaptation, corpus: Corpus, oov: str, tried: list[tuple[dict[str, float], float]]
) -> Adaptation:
    cache = adaptation.cache
    assert cache is not None
    reading = read_running(model, corpus.ids, adaptation, oov=oov, flatness=FLATNESS)
    options = [replace(cache, flatness=f) for f in FLATNESS] if cache.kind == "neural" else [cache]
    best, least = cache, np.inf
    for option, row in zip(options, reading.cache, strict=True):
        tuned = tune_weights(np.stack([reading.log_probs, row]))
        found, perplexity = replace(option, weight=float(tuned.weights[1])), float(np.exp(-tuned.history[-1]))
        what = {"flatness": found.flatness} if cache.kind == "neural" else {}
        tried.append((what | {"cache_weight": found.weight}, perplexity))
        if perplexity < least:
            best, least = found, perplexity
    return replace(adaptation, cache=best)
