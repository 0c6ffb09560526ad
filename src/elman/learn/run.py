"""A training run from text files to a model folder: dictionary, corpora, network, training, card."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman.config import LearnSettings, Settings, build, to_flat
from elman.errors import ModelError, TextError, UsageError, nearest
from elman.files import make_folder
from elman.learn.checkpoint import CHECKPOINT
from elman.learn.measure import measure
from elman.learn.optimizers import OPTIMIZERS
from elman.learn.progress import Listener
from elman.learn.reading_ahead import read_ahead
from elman.learn.run_folder import card_of, clear_folder, holds_finished_run, refuse_changes, stored_settings
from elman.learn.schedules import SCHEDULES
from elman.learn.steps import symbol_counts
from elman.learn.teaching import DRAWS, Draws, check_teacher, draw_lessons
from elman.learn.temperature import check_foldable, fold, tune_temperature
from elman.learn.trainer import Trainer, spread
from elman.learn.vectors import begin_with_vectors, choose_bert, choose_embedding, describe
from elman.learn.writers import check_writers
from elman.network.devices import bf16_is_fast, check_device, default_threads
from elman.network.encoders import Bert
from elman.network.folder import (
    CARD,
    CONFIG,
    Model,
    load_model,
    read_json,
    save_card,
    save_config,
    save_weights,
)
from elman.network.model import RecurrentNetwork, check_tables
from elman.text.batches import known
from elman.text.corpus import Corpus, build_corpus
from elman.text.reading import TextSource, split_lines
from elman.text.symbols import Tokenizer
from elman.text.tokenizers import load_tokenizer, train_tokenizer

TEMPERATURE_SYMBOLS = 1 << 15
"""Symbols of the validation text from which the temperature is found; all of it then says whether it is better."""

PACE_UPDATES = 20
"""Updates that are timed to tell how long a training will take."""

SAMPLE_PAYS = 4
"""How many times the number of negatives a dictionary holds from which a sampled softmax is chosen."""


def resolve(settings: Settings) -> Settings:
    """Make every automatic choice, so that what is stored with a run says all: alpha, threads, precision.

    Raises
    ------
    UsageError
        for an optimiser, a schedule or a part of the network that no table knows, or a device that is not there.
    """
    learn = settings.learn
    if settings.network.counts and settings.text.unit != "dna":
        raise UsageError(
            f"network.counts = {settings.network.counts} is for bases, and the unit is {settings.text.unit}",
            hint="for words: counts in a mixture, elman ngram and elman mix; or direct connections",
        )
    chosen_later = {"output": "full"} if settings.network.output == "auto" else {}
    check_tables(settings.network.model_copy(update=chosen_later))
    for key, name, table in (
        ("optimizer", learn.optimizer, set(OPTIMIZERS)),
        ("schedule", learn.schedule, set(SCHEDULES)),
    ):
        if name not in table:
            close = nearest(name, table)
            known = f"known: {', '.join(sorted(table))}"
            raise UsageError(f"there is no {key} {name!r}", hint=f"did you mean {close}?" if close else known)
    if learn.tune_temperature:
        check_foldable(settings.network)
    check_device(learn.device)
    precision = learn.precision
    if precision == "auto":
        precision = "bf16" if bf16_is_fast(learn.device) else "fp32"
    chosen: dict[str, Any] = {
        "learn.alpha": learn.alpha or OPTIMIZERS[learn.optimizer].default_alpha,
        "learn.threads": learn.threads or default_threads(),
        "learn.precision": precision,
        **choose_embedding(settings),
        **choose_bert(settings),
    }
    return build(to_flat(settings), chosen)


def choose_output(settings: Settings, dictionary_size: int) -> Settings:
    """Choose the output layer where that is left open: `sampled` for a dictionary that it is quicker with, else `full`.

    At H = 200 and K = 1,000 `sampled` trained 1.5 times as fast as `full` with D = 2,000, and 2.3 times with D = 4,000.
    """
    network, learn = settings.network, settings.learn
    if network.output != "auto":
        return settings
    tied_down = network.bias or network.tied or learn.regime == "online" or learn.output_block is not None
    small = dictionary_size < SAMPLE_PAYS * learn.negatives
    return build(to_flat(settings), {"network.output": "full" if tied_down or small else "sampled"})


def train_model(
    train: str | Path,
    folder: Path,
    settings: Settings,
    *,
    valid: str | Path | None = None,
    given: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Model:
    """Train a model on a text and leave it in `folder`.

    Parameters
    ----------
    train, valid
        paths of texts, plain or gzip, `-` for standard input. Without `valid` the last twentieth of the lines of
        `train` is held out to validate on.
    settings
        all settings; what is left to choose is chosen here and stored.
    given
        the settings that the user gave, flat: a resumed run refuses one that differs from what it began with.
    resume
        go on from the checkpoint in `folder`; with none there, begin.
    overwrite
        replace the model that `folder` holds.

    Raises
    ------
    ElmanError
        for a text that cannot be read, settings that cannot be, a folder that cannot be written.
    """
    if holds_finished_run(folder, resume=resume, overwrite=overwrite):
        return _finished(folder, given or {})
    going_on = resume and (folder / CHECKPOINT).exists()
    settings = stored_settings(folder, given or {}) if going_on else resolve(settings)
    assert settings.learn.threads is not None, "settings are resolved"
    if going_on and settings.text.unit == "dna":
        raise UsageError(f"{folder} holds a training run of DNA", hint="add --unit dna to go on with it")
    check_device(settings.learn.device)  # of a resumed run, which may have begun elsewhere
    check_writers(settings.learn.log)
    torch.set_num_threads(settings.learn.threads)
    source, held_out = _sources(train, valid)
    if going_on:
        tokenizer = load_tokenizer(folder, read_json(folder / CONFIG)["text"])
    else:
        tokenizer = train_tokenizer(source, settings.text)
        settings = choose_output(settings, tokenizer.size)
    corpus, validation = build_corpus(source, tokenizer), build_corpus(held_out, tokenizer)
    if _holds_only_unknown(corpus):
        raise TextError(
            f"the dictionary holds none of the {_plural(tokenizer)} of {source.name}",
            hint="make min_count smaller, or give a vocabulary of this text",
        )
    if _holds_only_unknown(validation):
        raise TextError(
            f"{held_out.name} holds only {_plural(tokenizer)} that training never saw",
            hint="is it in the language of the training text?",
        )
    network = _new_network(tokenizer, settings, corpus)
    start: dict[str, Any] = {}
    if settings.learn.vectors is not None and not going_on:
        start["vectors"] = begin_with_vectors(network, tokenizer, corpus, settings.learn)
        if listener is not None:
            listener.on_start(describe(start["vectors"]))
    trainer = Trainer(
        network,
        tokenizer,
        settings,
        corpus,
        validation,
        folder,
        digests={"train": corpus.digest, "valid": validation.digest},
        start=start,
        lessons=_lessons(corpus, tokenizer, settings.learn, listener, should_stop),
        listener=listener,
        should_stop=should_stop,
    )
    read_ahead(trainer)
    # Only now, when nothing is left that could be refused, is a model that stood here touched.
    if going_on:
        trainer.resume()
    else:
        clear_folder(folder)
        make_folder(folder)
        save_config(folder, network, tokenizer, settings.learn.regime)
    progress = trainer.run()
    network.requires_grad_(True)  # what was frozen in training need not be in use
    temperature = _tune(trainer, folder) if settings.learn.tune_temperature else None
    texts = {"train": _describe(source, corpus), "valid": _describe(held_out, validation)}
    card = card_of(settings, network, progress, texts, command, valid is None) | trainer.start
    if temperature is not None:
        card["result"]["temperature"] = temperature
    save_card(folder, card)
    trainer.forget_checkpoint()
    return Model(network.eval(), tokenizer, settings.learn.regime, card)


def pace(train: str | Path, settings: Settings, *, valid: str | Path | None = None) -> tuple[float, int]:
    """Return how many updates a second these settings make on a text, and how many an epoch has; nothing is kept.

    Some updates are made, from the beginning of the text.
    """
    settings = resolve(settings)
    assert settings.learn.threads is not None and settings.learn.alpha is not None, "settings are resolved"
    torch.set_num_threads(settings.learn.threads)
    source, _ = _sources(train, valid)
    tokenizer = train_tokenizer(source, settings.text)
    settings = choose_output(settings, tokenizer.size)
    corpus = build_corpus(source, tokenizer)
    network = _new_network(tokenizer, settings, corpus)
    steps = Trainer(network, tokenizer, settings, corpus, None, Path(), digests={}).steps
    steps.begin(0)
    times = []
    for index in range(min(PACE_UPDATES, steps.per_epoch)):
        start = time.perf_counter()
        loss, _ = steps.update(index, 1e-9)
        float(loss)  # of a GPU that is still at work
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times), steps.per_epoch


LEAST_GAIN = 1e-6
"""The share by which a temperature has to improve validation: a second tuning after a crash then changes nothing."""


def _tune(trainer: Trainer, folder: Path) -> float:
    """Find the temperature that suits the validation text best, fold it into the model and save it; return it."""
    network, corpus, learn = trainer.network, trainer.valid, trainer.settings.learn
    assert corpus is not None, "train_model always validates"
    batch = 1 if learn.regime == "online" else min(learn.batch, 16)
    some = spread(corpus, TEMPERATURE_SYMBOLS)
    temperature = tune_temperature(network, some, trainer.tokenizer, regime=learn.regime, batch=batch)
    before = measure(network, corpus, trainer.tokenizer, regime=learn.regime, batch=batch).entropy
    plain = {name: weight.detach().clone() for name, weight in network.output.named_parameters()}
    fold(network, temperature)
    after = measure(network, corpus, trainer.tokenizer, regime=learn.regime, batch=batch).entropy
    if not after < before * (1 - LEAST_GAIN):
        network.output.load_state_dict(plain, strict=False)
        return 1.0
    trainer.progress.best_entropy = after
    save_weights(folder, network)
    return temperature


def _holds_only_unknown(corpus: Corpus) -> bool:
    return corpus.oovs >= len(corpus.ids) - corpus.sentences > 0


def _plural(tokenizer: Tokenizer) -> str:
    return "words" if tokenizer.unit == "word" else "symbols"


def _new_network(tokenizer: Tokenizer, settings: Settings, corpus: Corpus) -> RecurrentNetwork:
    network = RecurrentNetwork(tokenizer.size, settings.network)
    if network.output.direct is not None:
        ids = known(np.concatenate([[tokenizer.end_id], corpus.ids]), tokenizer.size, tokenizer.unk_id)[0]
        boundary = tokenizer.end_id if settings.learn.regime == "sentences" else None
        network.output.direct.learn(ids.astype(np.int64), boundary=boundary)
        network.output.prepare(symbol_counts(corpus.ids, tokenizer))  # classes say which weights there are
    if isinstance(network.encoder, Bert):
        network.encoder.learn(tokenizer)
    silent = None if tokenizer.unk_trained else tokenizer.unk_id
    network.initialize(torch.Generator().manual_seed(settings.learn.seed), silent=silent)
    return network.to(settings.learn.device)


def _lessons(
    corpus: Corpus,
    tokenizer: Tokenizer,
    learn: LearnSettings,
    listener: Listener | None,
    should_stop: Callable[[], bool],
) -> Draws | None:
    """Return what the teacher draws for every place of the text, where there is one."""
    if learn.teacher is None:
        return None
    teacher = load_model(learn.teacher, device=learn.device)
    check_teacher(teacher, tokenizer, name=learn.teacher)
    if listener is not None:
        listener.on_start(f"the teacher, {learn.teacher}, reads the text")
    draws = min(DRAWS, learn.epochs)
    return draw_lessons(teacher, corpus.ids, draws=draws, seed=learn.seed, should_stop=should_stop)


def _finished(folder: Path, given: Mapping[str, Any]) -> Model:
    """Return the model of a finished run, refusing settings that it was not trained with."""
    model = load_model(folder)
    if not all(isinstance(model.card.get(part), dict) for part in ("settings", "result")):
        raise ModelError(f"{folder / CARD} does not say how training went", hint="choose another --out, or train again")
    refuse_changes(folder, model.card["settings"], given)
    return model


def _sources(train: str | Path, valid: str | Path | None) -> tuple[TextSource, TextSource]:
    if valid is None:
        return split_lines(TextSource(train))
    if str(train) == "-" and str(valid) == "-":
        raise UsageError("training and validation text cannot both come from standard input")
    return TextSource(train), TextSource(valid)


def _describe(source: TextSource, corpus: Corpus) -> dict[str, Any]:
    return {
        "file": source.name,
        "sha256": corpus.text_digest,
        "lines": [source.start_line, source.stop_line],
        "sentences": corpus.sentences,
        "symbols": len(corpus.ids),
        "oovs": corpus.oovs,
    }
