"""The nets of a classifier, made and trained beside each other: with a validation part, or on all there is."""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman import __version__
from elman.config import LearnSettings, Settings, to_flat
from elman.errors import UsageError, nearest
from elman.learn.fitting import Fitter, Inputs, Tell
from elman.learn.logistic import descend, fit_linear
from elman.learn.steps import rates_of
from elman.network.classifier import DIRECTIONS, PLACES, RecurrentClassifier, check_pool, members_of
from elman.network.classifier_folder import NETS, ClassifierModel, Nets, Shape
from elman.network.encoders import NGrams
from elman.network.points import Feedforward, Linear
from elman.text.bags import MOST
from elman.text.fronts import Encoded, Front, SymbolFront

Targets = NDArray[np.int64]
STRANDS = ("forward", "both")


@dataclass(frozen=True)
class Plan:
    """What a classifier is made with, besides settings.

    Parameters
    ----------
    pool
        `last`, `mean` or `places`.
    ngrams, features
        order of the longest n-gram, by default that of the unit, and how many there are at the most.
    share
        of the examples of each label that is held out where there is no validation file.
    direction
        `forward`, or `both`: a second recurrent net reads from the end.
    strands
        `forward`, or `both`: sequences of bases are read as they are and as reverse complements.
    places
        order of the longest n-gram at its place, for two more nets; 0 for no such nets.
    members
        how many recurrent and feedforward nets, with seeds of their own, answer together.
    """

    pool: str = "last"
    ngrams: int | None = None
    features: int = MOST
    share: float = 0.1
    direction: str = "forward"
    strands: str = "forward"
    places: int = 0
    members: int = 1

    @property
    def one_length(self) -> bool:
        """Whether every sequence has to have the length of the others."""
        return self.pool == PLACES or self.places > 0


def check_plan(plan: Plan, unit: str | None) -> None:
    """Refuse, with a `UsageError`, what cannot be; `unit` is None where sequences are not of symbols."""
    check_pool(plan.pool)
    for name, known in (("direction", DIRECTIONS), ("strands", STRANDS)):
        value = getattr(plan, name)
        if value not in known:
            close = nearest(value, known)
            hint = f"did you mean {close}?" if close else f"known: {', '.join(known)}"
            raise UsageError(f"there is no {name} {value!r}", hint=hint)
    if plan.places < 0 or plan.members < 1:
        raise UsageError(
            f"places = {plan.places} and members = {plan.members} cannot be", hint="places is 0 or more, members 1"
        )
    if plan.strands == "both" and unit != "dna":
        raise UsageError("only sequences of bases have two strands", hint="say unit=dna, or leave strands=forward")
    if plan.one_length and unit is None:
        raise UsageError("places are of symbols, and there are none", hint="choose pool last or mean, and places 0")


def shape_of(front: Front, labels: Sequence[str], settings: Settings, plan: Plan) -> Shape:
    """Return the shape of the nets."""
    symbols = front if isinstance(front, SymbolFront) else None
    check_plan(plan, symbols.tokenizer.unit if symbols else None)
    placed = symbols.placed if symbols else None
    return Shape(
        front.kind,
        tuple(labels),
        front.inputs,
        front.features,
        symbols.ngrams.order if symbols else 0,
        plan.pool,
        settings.network,
        direction=plan.direction,
        strands=plan.strands,
        members=plan.members,
        length=symbols.length if symbols else 0,
        placed=0 if placed is None else len(placed),
        places=0 if placed is None else placed.order,
    )


def fit_classifier(
    front: Front,
    train: Encoded,
    train_labels: Sequence[str],
    valid: Encoded,
    valid_labels: Sequence[str],
    settings: Settings,
    *,
    plan: Plan | None = None,
    tell: Tell = lambda name, entry: None,
) -> ClassifierModel:
    """Train all nets on inputs that are numbers already; return the model, with a card of what can be known here."""
    labels = tuple(sorted(set(train_labels)))
    nets, shape = _made(front, labels, settings, plan or Plan())
    train, targets = strands_of(front, train, numbered(train_labels, labels), shape.strands)
    valid, held = strands_of(front, valid, numbered(valid_labels, labels), shape.strands)
    result: dict[str, Any] = {}
    for name in sorted(there(nets), key=lambda name: not name.startswith("linear")):
        inputs, held_inputs = Inputs.of(train, name), Inputs.of(valid, name)
        if isinstance(net := getattr(nets, name), Linear):
            result[name] = fit_linear(net.cpu(), train, targets, valid, held, name).as_dict()
            net.to(settings.learn.device)
            continue
        fitted = [
            fitter.fit(inputs, targets, held_inputs, held, len(labels))
            for fitter in fitters(name, net, front, settings, tell)
        ]
        result[name] = fitted[0].as_dict()
        if len(fitted) > 1:
            result[name]["members"] = [each.as_dict() for each in fitted]
    majority = labels[int(np.bincount(targets).argmax())]
    return ClassifierModel(shape, front, nets.eval(), majority, _card(settings, nets, result))


def fit_whole(
    front: Front,
    train: Encoded,
    targets: Targets,
    labels: Sequence[str],
    settings: Settings,
    plan: Plan,
    penalties: Mapping[str, float],
    *,
    only: Collection[str] = NETS,
) -> ClassifierModel:
    """Train nets on all inputs, for all epochs, with nothing to validate on; `penalties` are those of linear nets."""
    nets, shape = _made(front, labels, settings, plan)
    train, targets = strands_of(front, train, targets, shape.strands)
    for name in there(nets):
        net = getattr(nets, name)
        if name not in only:
            continue
        if isinstance(net, Linear):
            linear = Linear(len(net.V), len(labels)).double()
            x = Inputs.of(train, name, torch.float64)
            descend(linear, x.batch(np.arange(len(x))), torch.from_numpy(targets), penalties[name])
            net.load_state_dict(linear.state_dict())
            continue
        for fitter in fitters(name, net, front, settings):
            fitter.run(Inputs.of(train, name), targets)
    majority = labels[int(np.bincount(targets).argmax())]
    return ClassifierModel(shape, front, nets.eval(), majority, {})


def numbered(some: Sequence[str], labels: Sequence[str]) -> Targets:
    """Return the number of each label."""
    numbers = {label: number for number, label in enumerate(labels)}
    return np.array([numbers[label] for label in some])


def strands_of(front: Front, encoded: Encoded, targets: Targets, strands: str) -> tuple[Encoded, Targets]:
    """Return inputs and labels as they are, or with `both` strands: those, and then the reverse complements."""
    if strands != "both":
        return encoded, targets
    assert isinstance(front, SymbolFront), "bases are symbols"
    other = front.other_strand(encoded)
    assert encoded.sequences is not None and other.sequences is not None
    rows: Any = [*encoded.rows, *other.rows]
    placed = None if encoded.placed is None or other.placed is None else [*encoded.placed, *other.placed]
    return Encoded([*encoded.sequences, *other.sequences], rows, placed), np.concatenate([targets, targets])


def there(nets: Nets) -> list[str]:
    """Return the names of the nets that a classifier has."""
    return [name for name in NETS if getattr(nets, name) is not None]


def _made(front: Front, labels: Sequence[str], settings: Settings, plan: Plan) -> tuple[Nets, Shape]:
    learn = settings.learn
    assert learn.threads is not None, "settings are resolved"
    if front.kind != SymbolFront.kind and settings.network.word_dropout:
        raise UsageError("word_dropout is of symbols, and there are none", hint="choose input_dropout")
    torch.set_num_threads(learn.threads)
    shape = shape_of(front, labels, settings, plan)
    return Nets(shape).to(learn.device), shape


def fitters(
    name: str, net: torch.nn.Module, front: Front, settings: Settings, tell: Tell = lambda name, entry: None
) -> Iterator[Fitter]:
    """Draw each member of a net with a seed of its own, and give what trains it."""
    members = members_of(net)
    for number, member in enumerate(members):
        learn = settings.learn.model_copy(update={"seed": settings.learn.seed + number})
        called = name if len(members) == 1 else f"{name} {number + 1}"
        fitter = _fitter(called, member, front, learn)
        fitter.tell = tell
        yield fitter
        _hear(member, None)


def _fitter(name: str, net: torch.nn.Module, front: Front, learn: LearnSettings) -> Fitter:
    generator = torch.Generator().manual_seed(learn.seed)
    if isinstance(net, Feedforward):
        net.cpu().initialize(generator)
        net.to(learn.device)
        return Fitter(name, net, dict(net.named_parameters()), learn)
    assert isinstance(net, RecurrentClassifier)
    silent = None  # a symbol that training never sees says nothing
    if isinstance(front, SymbolFront) and not front.tokenizer.unk_trained:
        silent = front.tokenizer.unk_id
    net.cpu().initialize(generator, silent=silent)
    net.to(learn.device)
    weights, rates = dict(net.body.named_parameters()), rates_of(net.body, learn)
    if net.back is not None:
        weights |= {f"back.{key}": weight for key, weight in net.back.named_parameters()}
        rates |= {f"back.{key}": rate for key, rate in rates_of(net.back, learn).items()}
    fitter = Fitter(name, net, weights, learn, rates=rates)
    _hear(net, fitter)
    return fitter


def _hear(net: torch.nn.Module, fitter: Fitter | None) -> None:
    """Let an optimiser hear which rows of n-grams a batch is about to read, or nobody any more."""
    if isinstance(net, RecurrentClassifier) and isinstance(net.body.encoder, NGrams):
        hears = None if fitter is None else partial(fitter.optimizer.before_reading, "encoder.grams")
        net.body.encoder.before_reading = hears


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
