"""The loss over a corpus: what training validates with, and what `apply.evaluate` reports in people's units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.errors import Interrupted
from elman.learn.steps import known_symbols
from elman.network.devices import on_device
from elman.network.model import RecurrentNetwork, State
from elman.network.scoring import Scorer
from elman.text.batches import Batch, sentence_batches, windows
from elman.text.corpus import Corpus
from elman.text.symbols import Tokenizer

WINDOW = 256
"""Steps of a window where sentences or streams lie side by side; it only bounds memory, as no error goes back."""

ROWS = 4096
"""Symbols whose probabilities are asked for at once; in between, a run can be stopped."""


@dataclass(frozen=True)
class Measure:
    """A corpus under a model: the sum of log-probabilities, in nats, and over how many symbols.

    Symbols of probability zero are counted in `symbols` and in `zero_probs`; as in SRILM, they are not in the sum.
    """

    log_prob: float
    symbols: int
    zero_probs: int = 0

    @property
    def entropy(self) -> float:
        """Nats a symbol; infinite if one has probability zero."""
        return math.inf if self.zero_probs else -self.log_prob / max(1, self.symbols)

    @property
    def perplexity(self) -> float:
        """exp(entropy), infinite where a float cannot hold it."""
        return math.exp(self.entropy) if self.entropy < 700 else math.inf


def measure(
    network: RecurrentNetwork,
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    regime: str = "running",
    batch: int = 1,
    oov: str = "skip",
    product: torch.dtype | None = None,
    weights: str = "fp32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Measure:
    """Return the log-probability of a corpus.

    Parameters
    ----------
    regime
        "sentences": each sentence from s(0); anything else: running text, the state carried across sentences.
    batch
        running text: parallel streams. With one, every symbol is scored with its whole history. With more, each
        stream but the first begins without its history. Sentences: how many side by side, which changes nothing.
    oov
        "skip" leaves symbols outside the dictionary out; "unk" scores them as <unk>.
    product, weights
        the type of the products with V, and how V is stored: see `network.scoring.Scorer`.
    """
    scorer = Scorer(network, product=product, weights=weights)
    total, symbols, zero_probs = 0.0, 0, 0
    with torch.no_grad():
        for states, targets in states_and_targets(scorer, corpus, tokenizer, regime, batch, oov):
            for rows, following in zip(torch.split(states, ROWS), torch.split(targets, ROWS), strict=True):
                if should_stop():
                    raise Interrupted("stopped while a text was being scored")
                log_probs = scorer.log_probs(rows, following).double().cpu().numpy()
                zero = np.isneginf(log_probs)
                total += float(log_probs[~zero].sum())
                symbols += log_probs.size
                zero_probs += int(zero.sum())
    return Measure(total, symbols, zero_probs)


def states_and_targets(
    scorer: Scorer, corpus: Corpus, tokenizer: Tokenizer, regime: str, batch: int, oov: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield states, (N, H), and the symbols that came after them, (N,): of those that count, window by window."""
    network = scorer.network
    device = next(network.parameters()).device
    one_stream = regime != "sentences" and batch == 1
    state: State = ()
    for inputs, targets, mask, fresh in batches(network, corpus, tokenizer, regime, batch, block=scorer.block):
        state = fresh or state
        symbols = on_device(known_symbols(inputs, tokenizer), device)
        if one_stream:
            state, states = scorer.read(state, symbols.squeeze(1))
        else:
            state, states = network.unroll(state, symbols)
        counted = mask & (targets < tokenizer.size) if oov == "skip" else mask
        following = on_device(known_symbols(targets, tokenizer), device).view(-1)
        states = states.reshape(len(following), -1)
        if counted.all():
            yield states, following
        else:
            keep = on_device(torch.from_numpy(np.flatnonzero(counted)), device)
            yield states[keep], following[keep]


def batches(
    network: RecurrentNetwork, corpus: Corpus, tokenizer: Tokenizer, regime: str, batch: int, *, block: int = WINDOW
) -> Iterator[tuple[Batch, Batch, NDArray[np.bool_], State | None]]:
    """Yield inputs, targets and mask, (T, B), and the state to start from, or None to carry the last one on.

    One stream comes in windows of `block` steps.
    """
    if regime == "sentences":
        for item in sentence_batches(corpus.ids, batch, tokenizer.end_id):
            fresh: State | None = network.initial_state(item.inputs.shape[1])
            for start in range(0, len(item.inputs), WINDOW):
                here = slice(start, start + WINDOW)
                yield item.inputs[here], item.targets[here], item.mask[here], fresh
                fresh = None
        return
    batch = max(1, min(batch, len(corpus.ids)))
    state: State | None = network.initial_state(batch)
    length = block if batch == 1 else max(16, WINDOW // batch)
    for inputs, targets in windows(corpus.ids, batch, length, tokenizer.end_id):
        yield inputs, targets, np.ones(targets.shape, dtype=bool), state
        state = None
