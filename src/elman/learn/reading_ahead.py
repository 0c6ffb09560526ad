"""A BERT reads the texts before the first update, so that no update waits for it: many windows at once, with progress.

What it makes of them goes into its cache as it goes, where a run that was stopped finds it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from elman.errors import Interrupted
from elman.learn.measure import batches
from elman.learn.steps import known_symbols
from elman.learn.trainer import Trainer
from elman.network.encoders import Bert
from elman.network.history import after, contexts, no_history, recent
from elman.text.corpus import Corpus

TOGETHER = 1024
"""Contexts that BERT is given at once, to be sorted by length; in between, a run can be stopped."""


def read_ahead(trainer: Trainer) -> None:
    """Let a BERT, where the network has one, read all that training and validation will ask it for.

    Of the training text that is nothing where symbols are replaced at random, or where less than an epoch is planned:
    training then asks as it goes.

    Raises
    ------
    Interrupted
        where `should_stop` says so; what was read is in the cache.
    """
    encoder, learn = trainer.network.encoder, trainer.settings.learn
    if not isinstance(encoder, Bert):
        return
    found: list[Tensor] = []
    if not learn.noise and trainer.planned_updates >= trainer.steps.per_epoch:
        found += _contexts(trainer, encoder, trainer.train, learn.batch)
    if trainer.valid is not None:
        found += _contexts(trainer, encoder, trainer.valid, min(learn.batch, 16))
    total, done = sum(map(len, found)), 0
    for some in torch.split(torch.cat(found), TOGETHER):
        if trainer.should_stop():
            raise Interrupted(f"stopped while BERT read the text; what it made of {done:,} of {total:,} words is kept")
        start = time.perf_counter()
        encoder.vectors(some)
        done += len(some)
        trainer.listener.on_reading(done, total, len(some) / (time.perf_counter() - start))


def _contexts(trainer: Trainer, encoder: Bert, corpus: Corpus, batch: int) -> Iterator[Tensor]:
    """Yield the contexts, (N, k), that are asked for in these streams or sentences, batch by batch."""
    past = torch.empty(0)
    regime = trainer.settings.learn.regime
    for inputs, _, _, fresh in batches(trainer.network, corpus, trainer.tokenizer, regime, batch):
        if fresh is not None:
            past = no_history(inputs.shape[1], encoder.memory, torch.device("cpu"))
        run = recent(past, known_symbols(inputs, trainer.tokenizer))
        past = after(run, encoder.memory)
        yield contexts(run, encoder.memory + 1, len(inputs)).flatten(0, 1).int()
