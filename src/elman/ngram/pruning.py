"""Smaller models: leaving n-grams out so that what is left still sums to one.

A. Stolcke, "Entropy-based pruning of backoff language models" (DARPA Broadcast News Workshop, 1998).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elman.errors import ModelError, UsageError
from elman.ngram.model import Floats, Level, NGramModel
from elman.ngram.sentences import Ids
from elman.text.symbols import END

Mask = NDArray[np.bool_]
_LEAST = 1e-12  # of probability left over: rounding may put it at zero or below


def thin(levels: Sequence[Level], kept: Sequence[Mask], *, start: int) -> list[Level]:
    """Return the levels with only the n-grams that are kept; the first n-1 words of each have to be kept too."""
    thinned = []
    places = np.arange(start + 1)
    for n, (level, keep) in enumerate(zip(levels, kept, strict=True), start=1):
        keys = level.keys
        if n > 1:
            contexts, words = np.divmod(keys[keep], start + 1)
            keys = places[contexts] * (start + 1) + words
        backoffs = level.backoffs[keep] if len(level.backoffs) else level.backoffs
        thinned.append(Level(keys, level.log_probs[keep], backoffs))
        places = np.cumsum(keep) - 1
    return thinned


def prune_entropy(model: NGramModel, threshold: float) -> NGramModel:
    """Leave out each n-gram without which the model's perplexity would rise by less than a share `threshold`.

    With num(c) = 1 - sum of p(w | c) and den(c) = 1 - sum of p(w | c'), c' being c without its first word, both over
    the w that are listed after c, so that b(c) = num(c) / den(c), and b'(c) = (num + p) / (den + p') without one w:

        change = exp( -p(c) ( p(w|c) (log p(w|c') + log b' - log p(w|c)) + num(c) (log b' - log b) ) ) - 1

    An n-gram that a longer one begins or ends with stays. Back-off weights are computed anew.

    Raises
    ------
    UsageError
        for a threshold that is no share.
    ModelError
        for a model that lists an n-gram without its last n-1 words: then p(w | c') is not at hand.
    """
    if not 0 <= threshold < math.inf:
        raise UsageError(f"the threshold {threshold} cannot be", hint="choose a small number, such as 1e-8")
    levels, start = list(model.levels), model.start_id
    suffixes = _suffixes(model)
    joints = _joints(model)
    kept: list[Mask] = [np.ones(len(level.keys), dtype=bool) for level in levels]
    needed = np.zeros(len(levels[-1].keys), dtype=bool)  # of the order at hand: by a longer n-gram that stays
    for n in range(model.order - 1, 0, -1):
        level, below = levels[n], levels[n - 1]
        contexts = level.keys // (start + 1)
        probs, lower = np.exp(level.log_probs), np.exp(below.log_probs[suffixes[n]])
        num, den = (_left(contexts, values, len(below.keys)) for values in (probs, lower))
        log_b = np.log(num / den)
        without = np.log((num[contexts] + probs) / (den[contexts] + lower))
        # - inf times 0 where p = 0: such an n-gram says nothing that its lower order does not say, but it is kept
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = probs * (np.log(lower) + without - level.log_probs) + num[contexts] * (without - log_b[contexts])
            change = np.expm1(-np.exp(joints[n - 1][contexts]) * gain)
        kept[n] = keep = needed | ~(change < threshold)
        num, den = (_left(contexts[keep], values[keep], len(below.keys)) for values in (probs, lower))
        levels[n - 1] = Level(below.keys, below.log_probs, np.log(num / den))
        needed = np.zeros(len(below.keys), dtype=bool)
        needed[contexts[keep]] = needed[suffixes[n][keep]] = True
    facts = model.facts | {"prune_entropy": threshold}
    thinned = thin(levels, kept, start=start)
    return NGramModel(model.vocabulary, thinned, unk_trained=model.unk_trained, facts=facts)


def _left(contexts: Ids, values: Floats, size: int) -> Floats:
    """Return what each context's values leave of 1; exactly 1 where it has none."""
    return np.asarray(np.maximum(1.0 - np.bincount(contexts, weights=values, minlength=size), _LEAST))


def _suffixes(model: NGramModel) -> list[Ids]:
    """Return, for each level, the places of the n-grams' last n-1 words in the level below; level 1 has none."""
    radix = model.start_id + 1
    suffixes = [np.zeros(radix, dtype=np.int64)]
    for n, (lower, level) in enumerate(itertools.pairwise(model.levels), start=2):
        contexts, words = np.divmod(level.keys, radix)
        found = words if n == 2 else lower.find(suffixes[-1][contexts], words, radix=radix)
        if (found < 0).any():
            hint = "prune the model that it was made from"
            raise ModelError(f"the model lists {n}-grams without their last {n - 1} words", hint=hint)
        suffixes.append(found)
    return suffixes


def _joints(model: NGramModel) -> list[Floats]:
    """Return log p(n-gram), all of its words, for each level; <s> is as frequent as </s>."""
    first = model.levels[0].log_probs.copy()
    first[model.start_id] = first[model.ids[END]]
    joints = [first]
    for level in model.levels[1:]:
        joints.append(joints[-1][level.keys // (model.start_id + 1)] + level.log_probs)
    return joints
