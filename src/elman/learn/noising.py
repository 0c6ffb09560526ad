"""Noise in the training text: what smoothing does for counts, done for a network.

Source: Z. Xie et al., "Data noising as smoothing in neural network language models" (ICLR 2017), the form that they
call bigram Kneser-Ney.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from elman.text.batches import known


class Noise:
    """Replace symbols by others that come after many: more often where what followed them was often something new.

    A symbol x is replaced with the chance rate * N(x .) / c(x), where c(x) is how often it comes and N(x .) how many
    different symbols come after it; by y with a chance proportional to N(. y), before how many different ones y comes.

    Parameters
    ----------
    ids
        the training text, (N,).
    dictionary_size
        D; an id outside the dictionary is read as `unknown`.
    rate
        what the chances are multiplied by, at most 1.
    """

    def __init__(self, ids: np.ndarray, dictionary_size: int, rate: float, *, unknown: int | None) -> None:
        ids = known(np.asarray(ids), dictionary_size, unknown)[0].astype(np.int64)
        pairs = np.unique(ids[:-1] * dictionary_size + ids[1:])
        following = np.bincount(pairs // dictionary_size, minlength=dictionary_size)
        preceding = np.bincount(pairs % dictionary_size, minlength=dictionary_size)
        counts = np.bincount(ids, minlength=dictionary_size)
        self.chances = torch.from_numpy((rate * following / np.maximum(counts, 1)).astype(np.float32))
        self.cumulative = torch.from_numpy(np.cumsum(preceding / preceding.sum()))

    def __call__(self, symbols: Tensor, generator: torch.Generator) -> Tensor:
        """Return symbols, of any shape, of which some are replaced."""
        replaced = torch.rand(symbols.shape, generator=generator) < self.chances[symbols]
        count = int(replaced.sum())
        drawn = torch.searchsorted(self.cumulative, torch.rand(count, generator=generator, dtype=torch.float64))
        noisy = symbols.clone()
        noisy[replaced] = drawn.clamp_(max=len(self.cumulative) - 1)
        return noisy
