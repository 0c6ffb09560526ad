"""How good a model is on a text, in the units that people compare."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from elman.apply.traces import perplexity
from elman.errors import TextError, UsageError, nearest
from elman.learn.measure import Measure, measure
from elman.network.devices import bf16_is_fast
from elman.network.folder import Model
from elman.network.storage import check_weights
from elman.text.corpus import Corpus, build_corpus
from elman.text.reading import TextSource
from elman.text.symbols import Tokenizer

SENTENCES = 64
"""Sentences side by side where they are independent; how many changes no number."""

PRODUCTS = {"fp32": None, "bf16": torch.bfloat16, "int8": torch.int8}
"""The types that products with V are made in; None is that of V itself."""


@dataclass(frozen=True)
class Evaluation:
    """A text under a model, counted as SRILM counts.

    `perplexity` is 10^(-logprob10 / (words - oovs - zeroprobs + sentences)), `perplexity1` the same without the
    sentence ends; both are per word whatever the unit. `token_perplexity` is per symbol of the model's own unit.
    `bits_per_character` is over the characters of what was scored, line ends included. For units other than words
    `oovs` counts symbols that were left out, and they are not taken off the words. `precision` is the type of the
    products with V, and `weights` how V was stored; where that is not in full, `full_perplexity` is the same text's
    `perplexity` with V in full.
    """

    file: str
    unit: str
    regime: str
    oov: str
    sentences: int
    words: int
    oovs: int
    zeroprobs: int
    tokens: int
    logprob10: float
    perplexity: float
    perplexity1: float
    token_perplexity: float
    bits_per_character: float
    precision: str
    weights: str
    full_perplexity: float | None
    words_per_second: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as plain JSON values."""
        return asdict(self)


def evaluate(
    model: Model,
    path: str | Path,
    *,
    regime: str | None = None,
    batch: int = 1,
    oov: str = "skip",
    precision: str = "fp32",
    weights: str = "fp32",
    should_stop: Callable[[], bool] = lambda: False,
) -> Evaluation:
    """Score a text.

    Parameters
    ----------
    path
        a text, plain or gzip; `-` is standard input.
    regime
        "running" carries the state across sentences, "sentences" starts each from s(0); by default as in training.
    batch
        running text: parallel streams. With one, every word is scored with its whole history; more are faster, and
        an approximation, since each stream but the first begins without its history.
    oov
        "skip" counts words that training never saw and leaves them out; "unk" scores them as <unk>.
    precision
        of the products with V: "fp32"; "bf16" and "int8" (states and columns of V rounded to 8 bits, for processors
        with instructions for it), which move a perplexity per symbol by less than 0.1 %; "auto", which is bf16 where
        the processor has it. An output layer of classes, or an adaptive one, computes in fp32 whatever is asked for.
    weights
        how V is stored: "fp32", "bf16", or "int8" with one scale a symbol. For the last two the text is scored twice,
        so that the answer says what the storage costs.

    Raises
    ------
    TextError
        for a text that cannot be read, or that holds nothing that the model knows.
    UsageError
        for oov "unk" where the model has no <unk> that training saw, and for a precision or storage that there is not.
    """
    tokenizer = model.tokenizer
    check_oov(model, oov)
    check_weights(weights)
    precision = chosen_precision(model, precision)
    regime = regime or ("sentences" if model.regime == "sentences" else "running")
    source, corpus = read_corpus(model, path, oov)
    run = partial(
        measure,
        model.network,
        corpus,
        tokenizer,
        regime=regime,
        batch=SENTENCES if regime == "sentences" else batch,
        oov=oov,
        product=PRODUCTS[precision],
        should_stop=should_stop,
    )
    full = run() if weights != "fp32" else None
    start = time.perf_counter()
    result = run(weights=weights)
    seconds = time.perf_counter() - start
    return report(
        tokenizer,
        source.name,
        corpus,
        result,
        regime=regime,
        oov=oov,
        precision=precision,
        weights=weights,
        full=full,
        seconds=seconds,
    )


def read_corpus(model: Model, path: str | Path, oov: str) -> tuple[TextSource, Corpus]:
    """Read a text to be scored; refuse one of which nothing would count."""
    source = TextSource(path)
    corpus = build_corpus(source, model.tokenizer)
    if oov == "skip" and corpus.oovs >= len(corpus.ids) - corpus.sentences > 0:
        what = "words" if model.tokenizer.unit == "word" else "symbols"
        raise TextError(
            f"{source.name} holds only {what} that training never saw",
            hint="is it in the language of the model?"
            + " --oov unk scores them as <unk>" * model.tokenizer.unk_trained,
        )
    return source, corpus


def report(
    tokenizer: Tokenizer,
    name: str,
    corpus: Corpus,
    result: Measure,
    *,
    regime: str,
    oov: str,
    seconds: float,
    precision: str = "fp32",
    weights: str = "fp32",
    full: Measure | None = None,
) -> Evaluation:
    """Return what was measured on a corpus in the units that people compare."""
    left_out = corpus.oovs if oov == "skip" else 0
    in_vocabulary = corpus.words - (left_out if tokenizer.unit == "word" else 0)
    words = in_vocabulary - result.zero_probs
    full_perplexity = None
    if full is not None:
        full_perplexity = perplexity(full.log_prob, in_vocabulary - full.zero_probs + corpus.sentences)
    characters = corpus.characters - (corpus.oov_characters if oov == "skip" else 0)
    return Evaluation(
        file=name,
        unit=tokenizer.unit,
        regime=regime,
        oov=oov,
        sentences=corpus.sentences,
        words=corpus.words,
        oovs=corpus.oovs,
        zeroprobs=result.zero_probs,
        tokens=result.symbols,
        logprob10=result.log_prob / math.log(10),
        perplexity=perplexity(result.log_prob, words + corpus.sentences),
        perplexity1=perplexity(result.log_prob, words),
        token_perplexity=perplexity(result.log_prob, result.symbols),
        bits_per_character=-result.log_prob / math.log(2) / max(1, characters),
        precision=precision,
        weights=weights,
        full_perplexity=full_perplexity,
        words_per_second=corpus.words / max(seconds, 1e-9),
        seconds=seconds,
    )


def chosen_precision(model: Model, precision: str) -> str:
    """Return what a model computes in, fp32, bf16 or int8, for a precision that may be "auto"; refuse any other."""
    device = next(model.network.parameters()).device.type
    if precision == "auto":
        precision = "bf16" if bf16_is_fast(device) else "fp32"
    if precision == "int8" and device != "cpu":
        raise UsageError("precision int8 is for the cpu", hint="choose auto, fp32 or bf16")
    if precision not in PRODUCTS:
        close = nearest(precision, ("auto", *PRODUCTS))
        raise UsageError(
            f"precision {precision!r} cannot be",
            hint=f"did you mean {close}?" if close else "choose auto, fp32, bf16 or int8",
        )
    return precision if model.network.output.one_product else "fp32"


def check_oov(model: Model, oov: str) -> None:
    """Refuse to score unseen words as <unk> where the model has no <unk> that training saw."""
    if oov == "unk" and not model.tokenizer.unk_trained:
        hint = "leave --oov at skip"
        if model.tokenizer.unk_id is not None:
            hint += ", or train with --min-count 2 or a smaller --vocab-size"
        raise UsageError("this model cannot score unseen words as <unk>: its training saw none", hint=hint)
