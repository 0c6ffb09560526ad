"""The training of a classifier: the recurrent net, and beside it the two that know no order, on the same examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elman.config import Settings, build, full_key
from elman.errors import UsageError
from elman.learn.checkpoint import CHECKPOINT, GOOD
from elman.learn.fitting import Tell
from elman.learn.log import LOG
from elman.learn.run import resolve
from elman.learn.several import Plan, check_plan, fit_classifier
from elman.network.classifier_folder import ClassifierModel, check_place, save_classifier
from elman.text.bags import NgramDictionary, PlacedDictionary
from elman.text.bases import reverse_complement
from elman.text.fronts import SymbolFront, check_length, check_sequences, symbols_of
from elman.text.labelled import Labelled, check_labels, labels_of, read_labelled, stratified_split
from elman.text.reading import TextSource
from elman.text.symbols import Tokenizer
from elman.text.tokenizers import TOKENIZERS

DEFAULTS: dict[str, Any] = {
    "network.hidden": 64,
    "network.activation": "tanh",
    "network.bias": True,
    "network.recurrent_init": "orthogonal",
    "learn.optimizer": "adam",
    "learn.clip": 1.0,
    "learn.batch": 32,
    "learn.epochs": 30,
    "learn.schedule": "cosine",
    "learn.patience": 10,
}
"""What differs from a language model's defaults; a recipe, a file or a flag overrules it."""

NETWORK = (
    *("encoder", "cell", "hidden", "layers", "last_hidden", "embedding", "depth", "context", "rounds", "activation"),
    *("ngrams", "buckets", "window", "between_scale"),
    *("bias", "dropout", "between_dropout", "input_dropout", "word_dropout", "weight_dropout", "locked", "zoneout"),
    *("init", "init_range", "first_state", "recurrent_init", "recurrent_scale", "output_scale"),
)
LEARN = (
    *("optimizer", "alpha", "beta", "beta_follows", "adam_beta1", "adam_beta2", "input_rate", "recurrent_rate"),
    *("between_rate", "batch", "clip", "epochs", "max_updates", "schedule", "warmup", "decay", "min_improvement"),
    *("patience", "precision", "seed", "threads", "device"),
)
"""Settings that mean something to a classifier, besides those of the text."""

NGRAM_ORDERS = {"word": 2, "bpe": 2, "char": 4, "byte": 4, "dna": 4}
"""How long n-grams are unless the user says: two words, or four letters."""

Note = Callable[[str], None]


def classifier_settings(given: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Return resolved settings, and those of `given` that say nothing to a classifier and were left out.

    Raises
    ------
    UsageError
        for a setting that cannot be, or that a classifier would have to follow and cannot.
    """
    build(given)  # checks also what is left out below
    known = {f"network.{name}" for name in NETWORK} | {f"learn.{name}" for name in LEARN}
    full = {full_key(key): value for key, value in given.items()}
    used = {key: value for key, value in full.items() if key in known or key.startswith("text.")}
    if full.get("learn.average") is not None or used.get("learn.optimizer") == "nt-asgd":
        raise UsageError("a classifier's weights are not averaged", hint="leave average unset, and choose adam or sgd")
    if used.get("learn.precision") == "bf16":
        raise UsageError("a classifier trains in fp32", hint="leave precision unset")
    used.pop("learn.precision", None)
    return resolve(build(DEFAULTS, used)), sorted(full.keys() - used.keys() - {"learn.precision"})


def train_classifier(
    train: str | Path,
    folder: Path | None,
    given: Mapping[str, Any],
    *,
    valid: str | Path | None = None,
    plan: Plan | None = None,
    header: bool = False,
    overwrite: bool = False,
    command: str = "",
    tell: Tell = lambda name, entry: None,
    note: Note = lambda sentence: None,
) -> tuple[ClassifierModel, Labelled]:
    """Train a classifier on a file of `label<TAB>sequence`; return it, and the examples that it was validated on.

    Parameters
    ----------
    train, valid
        paths, plain or gzip, `-` for standard input; without `valid` a share of each label of `train` is held out.
    folder
        where the model is left; None for nowhere.
    given
        settings that the user gave, flat.
    tell, note
        hear of every epoch, and of what was decided, in words.

    Raises
    ------
    ElmanError
        for a file that cannot be read, settings that cannot be, a folder that cannot be written.
    """
    plan = plan or Plan()
    if folder is not None:
        check_place(folder, overwrite=overwrite)
    if str(train) == "-" and valid is not None and str(valid) == "-":
        raise UsageError("training and validation examples cannot both come from standard input")
    settings, left_out = classifier_settings(given)
    if left_out:
        note(f"of no meaning to a classifier, and left out: {', '.join(left_out)}")
    raw = settings.text.unit == "byte"
    data = read_labelled(train, header=header, raw=raw)
    labels = labels_of(data)
    if valid is None:
        seed, total = settings.learn.seed, len(data)
        kept, held = stratified_split(data.labels, plan.share, np.random.default_rng(seed))
        data, held_out = data.part(kept), data.part(held)
        note(f"validation: {len(held)} of {total} lines, a share of {plan.share:g} of every label, seed {seed}")
    else:
        held_out = read_labelled(valid, header=header, raw=raw)
        check_labels(held_out, set(labels), labels)
    if twice := len(set(data.sequences) & set(held_out.sequences)):
        note(f"{twice} sequences are in both the training and the validation examples")
    tokenizer = TOKENIZERS[settings.text.unit].train(data.sequences, settings.text)
    length = len(tokenizer.encode(data.sequences[0])) if plan.one_length else 0
    for part in (data, held_out):
        note_others(check_sequences(part, tokenizer, length), part.name, note)
    front = symbol_front(tokenizer, data.sequences, plan)
    parts = (front.encode(data.sequences), data.labels, front.encode(held_out.sequences), held_out.labels)
    model = fit_classifier(front, *parts, settings, plan=plan, tell=tell)
    texts = {"train": _described(train, data), "valid": _described(valid or train, held_out)}
    model.card.update({"command": command, **texts, "valid_held_out_from_train": valid is None})
    if folder is not None:
        save_classifier(folder, model, overwrite=overwrite)
        for name in (CHECKPOINT, GOOD, LOG):  # of a language model that stood here
            (folder / name).unlink(missing_ok=True)
    return model, held_out


def note_others(others: Counter[str], name: str, note: Note) -> None:
    """Say how many letters are no base."""
    if others:
        counts = ", ".join(f"{letter} {count}" for letter, count in others.most_common())
        note(
            f"{name}: {sum(others.values())} letters are not known to be one base ({counts}): all are one fifth symbol"
        )


def _described(path: str | Path, data: Labelled) -> dict[str, Any]:
    source = TextSource(path)
    digest = {"sha256": source.sha256()} if source.is_file else {}  # a pipe was read already
    return {"file": data.name, **digest, "examples": len(data), "labels": dict(sorted(Counter(data.labels).items()))}


def symbol_front(tokenizer: Tokenizer, sequences: Sequence[str], plan: Plan) -> SymbolFront:
    """Return the front of sequences of symbols, with the n-grams of training sequences."""
    order = NGRAM_ORDERS[tokenizer.unit] if plan.ngrams is None else plan.ngrams
    if order < 1 or plan.features < 1:
        raise UsageError(f"ngrams = {order} and features = {plan.features} cannot be", hint="both are at least 1")
    check_plan(plan, tokenizer.unit)
    ids = symbols_of(tokenizer, sequences)
    length = len(ids[0]) if plan.one_length else 0
    check_length(ids, length)
    strands = [*ids, *map(reverse_complement, ids)] if plan.strands == "both" else ids
    lists = [each.tolist() for each in strands]
    placed = PlacedDictionary.of(lists, plan.places, plan.features) if plan.places else None
    return SymbolFront(tokenizer, NgramDictionary.of(lists, order, plan.features), placed, length)
