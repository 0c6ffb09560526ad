"""A text scored token by token, by a model that may learn from it (`dynamic`) and remember it (`caches`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from elman.apply.caches import COUNTING, Cache, NeuralCache
from elman.apply.dynamic import RMS, Dynamic, Segment, follow_text, gather_rms
from elman.apply.evaluate import PRODUCTS, Evaluation, check_oov, chosen_precision, read_corpus, report
from elman.apply.mixtures import log_mixture
from elman.apply.score import lines_of, score
from elman.apply.traces import Trace, Values
from elman.errors import TrainingError, UsageError
from elman.learn.measure import Measure
from elman.learn.steps import known_symbols
from elman.network.devices import on_device
from elman.network.folder import Model
from elman.network.scoring import Scorer
from elman.text.batches import Ids, known, windows
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.symbols import END, UNK


@dataclass(frozen=True)
class Adaptation:
    """What a model does with a running text besides reading it: learn from it, remember it, both or neither."""

    dynamic: Dynamic | None = None
    cache: Cache | None = None
    rms: RMS | None = None

    def __bool__(self) -> bool:
        return self.dynamic is not None or self.cache is not None


@dataclass(frozen=True)
class Reading:
    """A running text under a model: log y, (N,), and log p_cache, (F, N), one row a flatness; NaN for what is left out.

    F is 0 where there is no cache, and 1 for a cache that counts.
    """

    log_probs: Values
    cache: Values


def read_running(
    model: Model,
    ids: Ids,
    adaptation: Adaptation,
    *,
    oov: str = "skip",
    product: torch.dtype | None = None,
    flatness: Sequence[float] = (),
) -> Reading:
    """Read a text from its beginning to its end, the state carried through; `flatness` in place of the cache's own."""
    tokenizer, cache = model.tokenizer, adaptation.cache
    symbols, inside = known(np.asarray(ids).astype(np.int64), tokenizer.size, tokenizer.unk_id)
    counted = inside if oov == "skip" else np.ones_like(inside)
    log_probs = np.full(len(symbols), np.nan)
    neural = None
    if cache is not None and cache.kind not in COUNTING:
        flatness = flatness or (cache.flatness,)
        neural = NeuralCache(size=cache.size, flatness=flatness, end=tokenizer.end_id)
    rows_of_cache = 0 if cache is None else 1 if neural is None else len(flatness)
    remembered = np.full((rows_of_cache, len(symbols)), np.nan)
    start = 0
    for segment in _segments(model, ids, adaptation, oov=oov, product=product, hidden=neural is not None):
        here = start + np.flatnonzero(counted[start : start + len(segment.log_probs)])
        log_probs[here] = segment.log_probs.double().cpu().numpy()[here - start]
        _check_numbers(log_probs[here], start, learning=adaptation.dynamic is not None)
        if neural is not None and segment.hidden is not None and len(here):
            rows = on_device(torch.from_numpy(here - start), segment.hidden.device)
            following = on_device(torch.from_numpy(symbols[here]), segment.hidden.device)
            remembered[:, here] = neural.read(segment.hidden[rows], following).double().cpu().numpy()
        start += len(segment.log_probs)
    if cache is not None and neural is None:
        remembered[0, counted] = cache.counted(symbols[counted].tolist(), tokenizer.end_id)
    return Reading(log_probs, remembered)


def _check_numbers(log_probs: Values, start: int, *, learning: bool) -> None:
    """Refuse what is no number, and from a network that learns also what overflowed: it would count as left out."""
    if np.isnan(log_probs).any() or (learning and np.isneginf(log_probs).any()):
        raise TrainingError(
            f"the network's probabilities are no numbers from symbol {start + 1} of the text on",
            hint="it learnt too fast: make --dynamic-alpha smaller" if learning else "are its weights damaged?",
        )


def _segments(
    model: Model, ids: Ids, adaptation: Adaptation, *, oov: str, product: torch.dtype | None, hidden: bool
) -> Iterator[Segment]:
    if adaptation.dynamic is not None:
        return follow_text(model, ids, adaptation.dynamic, oov=oov, hidden=hidden, rms=adaptation.rms)
    return _read_text(model, ids, product)


@torch.no_grad()
def _read_text(model: Model, ids: Ids, product: torch.dtype | None) -> Iterator[Segment]:
    """Give a running text in large pieces under a model that stays as it is."""
    scorer, tokenizer = Scorer(model.network, product=product), model.tokenizer
    device = next(model.network.parameters()).device
    state = model.network.initial_state(1)
    for inputs, targets in windows(ids, 1, scorer.block, tokenizer.end_id):
        symbols, following = (on_device(known_symbols(x[:, 0], tokenizer), device) for x in (inputs, targets))
        state, states = scorer.read(state, symbols)
        yield Segment(scorer.log_probs(states, following), states)


def mixed(reading: Reading, weight: float, row: int = 0) -> Values:
    """Return log( (1 - m) y + m p_cache ), (N,), for m = `weight`; log y where there is no cache."""
    if not len(reading.cache):
        return reading.log_probs
    return log_mixture(np.stack([reading.log_probs, reading.cache[row]]), np.array([1 - weight, weight]))


def trace_text(
    model: Model,
    path: str | Path,
    *,
    regime: str | None = None,
    oov: str = "skip",
    precision: str = "fp32",
    adaptation: Adaptation | None = None,
) -> tuple[Trace, Evaluation]:
    """Score a text token by token; return the tokens' log-probabilities, and what `evaluate` says of the same numbers.

    Raises
    ------
    UsageError
        for a model that should adapt itself to independent sentences, or that should learn in another precision.
    """
    check_oov(model, oov)
    adaptation = adaptation or Adaptation()
    regime = checked_regime(model, regime, adaptation)
    precision = checked_precision(model, precision, adaptation)
    source, corpus = read_corpus(model, path, oov)
    start = time.perf_counter()
    if regime == "sentences":
        lines = score(model, lines_of(model, source), regime=regime, oov=oov, precision=precision)
        values = [np.nan if t.log_prob is None else t.log_prob for line in lines for t in line.tokens]
        log_probs = np.array(values)
    else:
        reading = read_running(model, corpus.ids, adaptation, oov=oov, product=PRODUCTS[precision])
        log_probs = mixed(reading, 0.0 if adaptation.cache is None else adaptation.cache.weight)
    seconds = time.perf_counter() - start
    result = measure_of(log_probs)
    evaluation = report(
        model.tokenizer, source.name, corpus, result, regime=regime, oov=oov, precision=precision, seconds=seconds
    )
    return Trace(source.name, tokens_of(model, source), log_probs), evaluation


def measure_of(log_probs: Values) -> Measure:
    """Return the sum of log-probabilities, (N,), as `learn.measure` counts it: NaN is no event."""
    finite = np.isfinite(log_probs)
    zero_probs = int(np.isneginf(log_probs).sum())
    return Measure(float(log_probs[finite].sum()), int(finite.sum()) + zero_probs, zero_probs)


def checked_regime(model: Model, regime: str | None, adaptation: Adaptation) -> str:
    """Return the regime to read in: as in training where nothing is said, and running where a model adapts itself."""
    regime = regime or ("sentences" if model.regime == "sentences" else "running")
    if adaptation and regime == "sentences":
        raise UsageError(
            "dynamic evaluation and caches are for running text, not for independent sentences",
            hint="say --regime running, or leave --dynamic and --cache off",
        )
    return regime


def checked_precision(model: Model, precision: str, adaptation: Adaptation) -> str:
    """Return the precision to compute in; a model that learns from the text does so in fp32."""
    if adaptation.dynamic is None:
        return chosen_precision(model, precision)
    if precision not in ("auto", "fp32"):
        raise UsageError(f"dynamic evaluation computes in fp32, not in {precision}", hint="leave --precision off")
    return "fp32"


def tokens_of(model: Model, source: TextSource) -> list[str]:
    """Return the tokens of a text as it writes them, with `</s>` after each sentence: one for each id of its corpus.

    A word of the text that is written like a sentence end is given as `<unk>`.
    """
    return list(token_stream(model, source))


def token_stream(model: Model, source: TextSource) -> Iterator[str]:
    """Give what `tokens_of` returns, reading no more of the text than is asked for."""
    tokenizer = model.tokenizer
    for line in lines_of(model, source):
        if line.strip() or tokenizer.blank_lines:
            yield from (UNK if piece == END else piece for piece in tokenizer.pieces(line))
            yield END


def with_statistics(model: Model, adaptation: Adaptation, path: str | Path) -> Adaptation:
    """Return the adaptation with root mean squares of gradients, gathered from a text, where it wants them."""
    dynamic = adaptation.dynamic
    if dynamic is None or dynamic.kind != "rms":
        return adaptation
    corpus = build_corpus(TextSource(path), model.tokenizer)
    return replace(adaptation, rms=gather_rms(model, corpus.ids, segment=dynamic.segment))
