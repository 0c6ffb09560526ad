"""The training of a classifier: the recurrent net, and beside it the two that know no order, on the same examples."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman import __version__
from elman.config import Settings, build, full_key, to_flat
from elman.errors import UsageError
from elman.learn.checkpoint import CHECKPOINT, GOOD
from elman.learn.fitting import Fitter, Inputs, Tell
from elman.learn.log import LOG
from elman.learn.logistic import fit_linear
from elman.learn.run import resolve
from elman.learn.steps import rates_of
from elman.network.classifier import check_pool
from elman.network.classifier_folder import ClassifierModel, Nets, Shape, check_place, save_classifier
from elman.text.bags import MOST, NgramDictionary
from elman.text.fronts import Encoded, Front, SymbolFront, symbols_of
from elman.text.labelled import Labelled, check_labels, labels_of, read_labelled, stratified_split
from elman.text.reading import TextSource
from elman.text.symbols import Tokenizer
from elman.text.tokenizers import tokenizer_of

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

NGRAM_ORDERS = {"word": 2, "bpe": 2, "char": 4, "byte": 4}
"""How long n-grams are unless the user says: two words, or four letters."""

Note = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a classifier is made with, besides settings.

    Parameters
    ----------
    pool
        `last` or `mean`.
    ngrams, features
        order of the longest n-gram, by default that of the unit, and how many there are at the most.
    share
        of the examples of each label that is held out where there is no validation file.
    """

    pool: str = "last"
    ngrams: int | None = None
    features: int = MOST
    share: float = 0.1


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
    tokenizer = tokenizer_of(settings.text.unit).train(data.sequences, settings.text)
    front = symbol_front(tokenizer, data.sequences, plan)
    parts = (front.encode(data.sequences), data.labels, front.encode(held_out.sequences), held_out.labels)
    model = fit_classifier(front, *parts, settings, pool=plan.pool, tell=tell)
    texts = {"train": _described(train, data), "valid": _described(valid or train, held_out)}
    model.card.update({"command": command, **texts, "valid_held_out_from_train": valid is None})
    if folder is not None:
        save_classifier(folder, model, overwrite=overwrite)
        for name in (CHECKPOINT, GOOD, LOG):  # of a language model that stood here
            (folder / name).unlink(missing_ok=True)
    return model, held_out


def _described(path: str | Path, data: Labelled) -> dict[str, Any]:
    source = TextSource(path)
    digest = {"sha256": source.sha256()} if source.is_file else {}  # a pipe was read already
    return {"file": data.name, **digest, "examples": len(data), "labels": dict(sorted(Counter(data.labels).items()))}


def symbol_front(tokenizer: Tokenizer, sequences: Sequence[str], plan: Plan) -> SymbolFront:
    """Return the front of sequences of symbols, with the n-grams of training sequences."""
    order = NGRAM_ORDERS[tokenizer.unit] if plan.ngrams is None else plan.ngrams
    if order < 1 or plan.features < 1:
        raise UsageError(f"ngrams = {order} and features = {plan.features} cannot be", hint="both are at least 1")
    ids = symbols_of(tokenizer, sequences)
    return SymbolFront(tokenizer, NgramDictionary.of((each.tolist() for each in ids), order, plan.features))


def fit_classifier(
    front: Front,
    train: Encoded,
    train_labels: Sequence[str],
    valid: Encoded,
    valid_labels: Sequence[str],
    settings: Settings,
    *,
    pool: str = "last",
    tell: Tell = lambda name, entry: None,
) -> ClassifierModel:
    """Train all nets on inputs that are numbers already; return the model, with a card of what can be known here."""
    check_pool(pool)
    learn = settings.learn
    assert learn.threads is not None, "settings are resolved"
    if front.kind != SymbolFront.kind and settings.network.word_dropout:
        raise UsageError("word_dropout is of symbols, and there are none", hint="choose input_dropout")
    torch.set_num_threads(learn.threads)
    labels = tuple(sorted(set(train_labels)))
    numbers = {label: number for number, label in enumerate(labels)}
    order = front.ngrams.order if isinstance(front, SymbolFront) else 0
    shape = Shape(front.kind, labels, front.inputs, front.features, order, pool, settings.network)
    nets = Nets(shape).to(learn.device)
    targets, held = (np.array([numbers[label] for label in part]) for part in (train_labels, valid_labels))
    result: dict[str, Any] = {"linear": fit_linear(nets.linear.cpu(), train, targets, valid, held).as_dict()}
    nets.to(learn.device)
    nets.feedforward.initialize(torch.Generator().manual_seed(learn.seed))
    fitters = {"feedforward": Fitter("feedforward", nets.feedforward, dict(nets.feedforward.named_parameters()), learn)}
    if nets.recurrent is not None:
        _initialize(nets, front, learn.seed)
        weights, rates = dict(nets.recurrent.body.named_parameters()), rates_of(nets.recurrent.body, learn)
        fitters["recurrent"] = Fitter("recurrent", nets.recurrent, weights, learn, rates=rates)
    for name, fitter in fitters.items():
        fitter.tell = tell
        read = Inputs.sequences if name == "recurrent" else Inputs.rows
        result[name] = fitter.fit(read(train), targets, read(valid), held, len(labels)).as_dict()
    majority = labels[int(np.bincount(targets).argmax())]
    return ClassifierModel(shape, front, nets.eval(), majority, _card(settings, nets, result))


def _initialize(nets: Nets, front: Front, seed: int) -> None:
    """Draw the recurrent net; a symbol that training never sees says nothing."""
    assert nets.recurrent is not None
    silent = None
    if isinstance(front, SymbolFront) and not front.tokenizer.unk_trained:
        silent = front.tokenizer.unk_id
    device = next(nets.parameters()).device
    nets.recurrent.cpu().initialize(torch.Generator().manual_seed(seed), silent=silent)
    nets.recurrent.to(device)


def _card(settings: Settings, nets: Nets, result: Mapping[str, Any]) -> dict[str, Any]:
    parts = dict(nets.named_children())
    return {
        "elman": __version__,
        "torch": torch.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": to_flat(settings),
        "parameters": {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()},
        "result": dict(result),
        "machine": {"system": platform.system(), "python": platform.python_version()},
    }
