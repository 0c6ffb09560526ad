"""The whole story on the packaged corpus of everyday English: train, measure, fill the blank, write."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from elman.apply.evaluate import Evaluation, evaluate
from elman.apply.predict import Prediction, generate, predict
from elman.config import Settings, build, read_recipe
from elman.learn.progress import Listener
from elman.learn.run import train_model
from elman.network.folder import Model
from elman.text.corpus import Corpus, build_corpus
from elman.text.reading import TextSource
from elman.text.symbols import Tokenizer

BLANK = "Can you pick up milk at the"


@dataclass(frozen=True)
class Demo:
    """What the demo found: perplexities of the held-out text, what fills the blank, three sentences."""

    evaluation: Evaluation
    unigram_perplexity: float
    prediction: Prediction
    sentences: list[str]


def demo_settings(seed: int, threads: int | None) -> Settings:
    """Return the settings of the demo: the recipe `demo`."""
    return build(read_recipe("demo"), {"learn.seed": seed, "learn.threads": threads})


def train_demo(
    folder: Path, settings: Settings, *, listener: Listener, should_stop: Callable[[], bool], command: str
) -> tuple[Model, Demo]:
    """Train on the packaged training text, measure on its test text, and answer."""
    with ExitStack() as stack:
        data = resources.files("elman.data")
        train, valid, test = (
            str(stack.enter_context(resources.as_file(data / f"everyday.{part}.txt")))
            for part in ("train", "valid", "test")
        )
        model = train_model(
            train,
            folder,
            settings,
            valid=valid,
            overwrite=True,
            command=command,
            listener=listener,
            should_stop=should_stop,
        )
        evaluation = evaluate(model, test, should_stop=should_stop)
        seen, held_out = (build_corpus(TextSource(part), model.tokenizer) for part in (train, test))
        unigram = unigram_perplexity(seen, held_out, model.tokenizer)
    generator = torch.Generator().manual_seed(settings.learn.seed)
    sentences = [write_sentence(model, generator) for _ in range(3)]
    return model, Demo(evaluation, unigram, predict(model, BLANK, 10), sentences)


def write_sentence(model: Model, generator: torch.Generator) -> str:
    """Draw one sentence, a little more soberly than the model would, among its likelier words."""
    symbols = list(generate(model, temperature=0.8, top_p=0.95, generator=generator))
    return tidy(model.tokenizer.decode(symbols).strip())


def tidy(words: str) -> str:
    """Put words and punctuation marks that were split apart back together, for reading.

    >>> tidy("where ' s the milk , please ?")
    "Where's the milk, please?"
    """
    for mark in ",.;:!?":
        words = words.replace(f" {mark}", mark)
    words = words.replace(" ' ", "'").replace(" - ", "-")
    return words[:1].upper() + words[1:]


def unigram_perplexity(train: Corpus, test: Corpus, tokenizer: Tokenizer) -> float:
    """Return the perplexity of `test` under the frequencies of `train` alone, over what the net is scored on.

    Each symbol counts once more than it was seen, so that none has probability zero.
    """
    size = tokenizer.size
    seen = np.bincount(np.minimum(train.ids, size), minlength=size + 1).astype(np.float64)
    if tokenizer.unk_id is not None:
        seen[tokenizer.unk_id] += seen[size]
    log_probs = np.log((seen[:size] + 1) / (seen[:size].sum() + size))
    scored = np.asarray(test.ids)[np.asarray(test.ids) < size]
    return math.exp(-float(log_probs[scored].mean()))
