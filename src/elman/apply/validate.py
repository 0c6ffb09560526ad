"""Cross-validation of classifiers: each example is judged once, by nets that saw nothing of it.

Examples are dealt into folds. Each fold in turn is the test part, and all else is learnt from: n-grams, weights, and
which settings, penalties and net suit best, for which the learning part is dealt into inner folds. A net is trained for
all its epochs on all of the learning part, since there is nothing to validate on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.apply.classify import Score, mean_of, probabilities
from elman.config import Settings
from elman.errors import UsageError
from elman.learn.classify import symbol_front
from elman.learn.fitting import Inputs, judge, log_probs
from elman.learn.logistic import path
from elman.learn.several import Plan, fit_whole, numbered, strands_of
from elman.network.classifier_folder import NETS
from elman.text.fronts import Encoded, SymbolFront, check_sequences
from elman.text.labelled import Labelled, labels_of, stratified_folds
from elman.text.tokenizers import TOKENIZERS

Array = NDArray[np.float64]
CHOSEN = "chosen"
DOUBLE = torch.float64
LOOKING = ("halve", "plateau")
"""Schedules that look at validation, which there is none of here."""


@dataclass(frozen=True)
class Trial:
    """Settings that may be chosen; `said` is how they differ from the others, `nets` whom they are for."""

    said: str
    settings: Settings
    plan: Plan
    nets: tuple[str, ...] = NETS


@dataclass(frozen=True)
class Choice:
    """What inner folds chose for a net: a trial, by its number, and for a linear net the penalty.

    `loss` is the mean of -log y[label] over the inner folds, `accuracy` the share that is right there; None where
    there was nothing to choose.
    """

    trial: int
    penalty: float | None = None
    loss: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True)
class Fold:
    """One test part: its indices, what was chosen, and which of its sequences stand in the learning part too."""

    test: NDArray[np.int64]
    learnt: int
    choices: dict[str, Choice]
    net: str
    majority: str
    copies: NDArray[np.bool_]


@dataclass(frozen=True)
class Validation:
    """All examples, each judged when it was in the test part.

    Attributes
    ----------
    scores
        `chosen` is that of the net that inner folds chose, by fold; the others are of one net throughout.
    apart
        the same without those examples whose sequence stood in the learning part of their fold as well.
    confusion
        (K, K), how often label i, a row, was called label j, a column, by what was chosen.
    """

    name: str
    labels: tuple[str, ...]
    trials: tuple[Trial, ...]
    folds: list[Fold]
    scores: dict[str, Score]
    apart: dict[str, Score] | None
    confusion: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "file": self.name,
            "examples": int(self.confusion.sum()),
            "labels": list(self.labels),
            "tries": [trial.said for trial in self.trials],
            "scores": {name: score.as_dict() for name, score in self.scores.items()},
            "copies": sum(int(fold.copies.sum()) for fold in self.folds),
            "without_copies": self.apart and {name: score.as_dict() for name, score in self.apart.items()},
            "confusion": self.confusion.tolist(),
            "folds": [self._fold(fold) for fold in self.folds],
        }

    def _fold(self, fold: Fold) -> dict[str, Any]:
        return {
            "examples": len(fold.test),
            "learnt_from": fold.learnt,
            "net": fold.net,
            "choices": {
                name: {**vars(choice), "try": self.trials[choice.trial].said} for name, choice in fold.choices.items()
            },
        }


@dataclass
class Split:
    """What is learnt from and what is judged; numbers are made of either for each kind of front once."""

    train: Labelled
    held: Labelled
    labels: tuple[str, ...]
    made: dict[Any, tuple[SymbolFront, Encoded, Encoded]] = field(default_factory=dict)
    linear: dict[Any, dict[float, Array]] = field(default_factory=dict)

    def encoded(self, trial: Trial) -> tuple[SymbolFront, Encoded, Encoded]:
        """Return the front, which knows the learning part only, and both parts as numbers."""
        key = front_key(trial)
        if key not in self.made:
            text = trial.settings.text
            tokenizer = TOKENIZERS[text.unit].train(self.train.sequences, text)
            front = symbol_front(tokenizer, self.train.sequences, trial.plan)
            self.made[key] = (front, front.encode(self.train.sequences), front.encode(self.held.sequences))
        return self.made[key]

    def of_penalties(self, trial: Trial, net: str) -> dict[float, Array]:
        """Return log y of the held part, (N, K), by a linear net with each penalty."""
        key = (net, front_key(trial))
        if key not in self.linear:
            front, train, held = self.encoded(trial)
            strands = trial.plan.strands
            train, targets = strands_of(front, train, numbered(self.train.labels, self.labels), strands)
            parts = [held, front.other_strand(held)] if strands == "both" else [held]
            inputs, found = [Inputs.of(part, net, DOUBLE) for part in parts], {}
            features = front.features if net == "linear" else len(front.placed or ())
            for penalty, linear in path(features, len(self.labels), Inputs.of(train, net, DOUBLE), targets):
                found[penalty] = mean_of([log_probs(linear, each, len(self.labels)) for each in inputs])
            self.linear[key] = found
        return self.linear[key]

    def of_nets(self, trial: Trial, nets: Sequence[str], penalties: dict[str, float]) -> dict[str, Array]:
        """Return log y of the held part, (N, K), by nets trained on all of the learning part."""
        front, train, held = self.encoded(trial)
        targets = numbered(self.train.labels, self.labels)
        model = fit_whole(front, train, targets, self.labels, trial.settings, trial.plan, penalties, only=nets)
        return {net: probabilities(model, held, net) for net in nets}


def front_key(trial: Trial) -> Any:  # noqa: ANN401 - anything that has a hash
    """Return all that decides how text becomes numbers."""
    plan = trial.plan
    text = tuple(sorted(trial.settings.text.model_dump().items()))
    return text, plan.ngrams, plan.features, plan.places, plan.strands, plan.one_length


def validate(
    data: Labelled,
    trials: Sequence[Trial],
    *,
    folds: int | None = 10,
    inner: int = 3,
    seed: int = 0,
    net: str | None = None,
    tell: Callable[[int, int, Fold], None] = lambda number, count, fold: None,
) -> Validation:
    """Judge nets on examples that they have not seen, each example once.

    Parameters
    ----------
    trials
        what may be chosen, at least one.
    folds
        how many test parts; None: every example is one (leave-one-out).
    inner
        folds of each learning part, on which the trial and the penalty with the least -log y[label] are chosen.
    seed
        of the folds; what nets draw is in their settings.
    net
        the net to judge; None: the one with the least -log y[label] on the inner folds.
    tell
        hears of every fold: its number, how many there are, and what was chosen.

    Raises
    ------
    ElmanError
        for settings that cannot be, and for sequences that do not suit them.
    """
    labels = tuple(labels_of(data, least=3))  # one to judge, and two for the inner folds
    nets = _nets(trials, net)
    check_trials(data, trials)
    torch.set_num_threads(trials[0].settings.learn.threads or 1)
    draw = np.random.default_rng(seed)
    dealt = np.arange(len(data)) if folds is None else stratified_folds(data.labels, folds, draw)
    count = int(dealt.max()) + 1
    found = {name: np.empty((len(data), len(labels))) for name in (CHOSEN, *nets)}
    done: list[Fold] = []
    for number in range(count):
        test = np.flatnonzero(dealt == number)
        split = Split(data.part(np.flatnonzero(dealt != number)), data.part(test), labels)
        open_ = [name for name in nets if net is None or _is_open(name, trials)]
        choices = {name: Choice(_first(name, trials)) for name in nets}
        choices |= _choices(split.train, trials, open_, stratified_folds(split.train.labels, inner, draw), labels)
        best = net or min(nets, key=lambda name: _loss(choices[name]))
        for name, values in _judged(split, trials, choices).items():
            found[name][test] = values
        found[CHOSEN][test] = found[best][test]
        done.append(_fold(split, test, choices, best))
        tell(number + 1, count, done[-1])
    return _validation(data, labels, tuple(trials), done, found)


def _nets(trials: Sequence[Trial], net: str | None) -> list[str]:
    """Return the nets that some trial is for, and has."""
    nets = [name for name in NETS if any(_has(trial, name) for trial in trials)]
    if net is not None and net not in nets:
        known = ", ".join(name.replace("_", "-") for name in nets)
        more = "; places=1 or more brings those with places" if net.endswith("_places") else ""
        raise UsageError(f"no try has the net {net.replace('_', '-')!r}", hint=f"known: {known}{more}")
    return nets


def _first(net: str, trials: Sequence[Trial]) -> int:
    return next(place for place, trial in enumerate(trials) if _has(trial, net))


def _is_open(net: str, trials: Sequence[Trial]) -> bool:
    """Return whether there is something to choose for a net: its penalty, or one of several trials."""
    return net.startswith("linear") or sum(_has(trial, net) for trial in trials) > 1


def _has(trial: Trial, net: str) -> bool:
    return net in trial.nets and (trial.plan.places > 0 or not net.endswith("_places"))


def check_trials(data: Labelled, trials: Sequence[Trial]) -> None:
    """Refuse, before any work, settings that cannot be had without a validation part, and sequences that do not fit."""
    for trial in trials:
        schedule = trial.settings.learn.schedule
        if schedule in LOOKING:
            raise UsageError(
                f"the schedule {schedule!r} looks at validation, and all there is is learnt from here",
                hint="choose cosine, linear or constant",
            )
        tokenizer = TOKENIZERS[trial.settings.text.unit].train(data.sequences, trial.settings.text)
        check_sequences(data, tokenizer, len(tokenizer.encode(data.sequences[0])) if trial.plan.one_length else 0)


def _choices(
    train: Labelled, trials: Sequence[Trial], nets: Sequence[str], inner: NDArray[np.int64], labels: tuple[str, ...]
) -> dict[str, Choice]:
    """Return the trial and the penalty that suit each net best on inner folds of what is learnt from."""
    tried: dict[tuple[str, int, float | None], Array] = {}
    targets = numbered(train.labels, labels)
    for number in range(int(inner.max()) + 1):
        held = np.flatnonzero(inner == number)
        split = Split(train.part(np.flatnonzero(inner != number)), train.part(held), labels)
        for place, trial in enumerate(trials):
            for net, penalty, values in _tried(split, trial, [net for net in nets if _has(trial, net)]):
                tried.setdefault((net, place, penalty), np.empty((len(train), len(labels))))[held] = values
    choices: dict[str, Choice] = {}
    for (net, place, penalty), values in tried.items():
        judged = judge(values, targets)
        choice = Choice(place, penalty, judged.loss, judged.accuracy)
        choices[net] = min(choices.get(net, choice), choice, key=_loss)
    return choices


def _tried(split: Split, trial: Trial, nets: Sequence[str]) -> Iterator[tuple[str, float | None, Array]]:
    """Give what each net says of the held part: net, penalty, and log y, (N, K)."""
    linear = [net for net in nets if net.startswith("linear")]
    for net in linear:
        yield from ((net, penalty, values) for penalty, values in split.of_penalties(trial, net).items())
    others = [net for net in nets if net not in linear]
    if others:
        yield from ((net, None, values) for net, values in split.of_nets(trial, others, {}).items())


def _loss(choice: Choice) -> float:
    return math.inf if choice.loss is None else choice.loss


def _judged(split: Split, trials: Sequence[Trial], choices: dict[str, Choice]) -> dict[str, Array]:
    """Return log y of the test part, (N, K), by each net as it was chosen, trained on all that may be learnt from."""
    found: dict[str, Array] = {}
    for place, trial in enumerate(trials):
        nets = [net for net, choice in choices.items() if choice.trial == place]
        penalties = {net: choices[net].penalty or 0.0 for net in nets}
        if nets:
            found |= split.of_nets(trial, nets, penalties)
    return found


def _fold(split: Split, test: NDArray[np.int64], choices: dict[str, Choice], best: str) -> Fold:
    """Return what there is to know of a fold."""
    labels, learnt = split.labels, set(map(_same, split.train.sequences))
    counts = np.bincount(numbered(split.train.labels, labels), minlength=len(labels))
    copies = np.array([_same(sequence) in learnt for sequence in split.held.sequences])
    return Fold(test, len(split.train), choices, best, labels[int(counts.argmax())], copies)


def _same(sequence: str) -> str:
    """Return what two sequences have in common that are one: their case says nothing of them."""
    return sequence.casefold()


def _validation(
    data: Labelled, labels: tuple[str, ...], trials: tuple[Trial, ...], folds: list[Fold], found: dict[str, Array]
) -> Validation:
    """Count what is right."""
    targets = numbered(data.labels, labels)
    majority = np.empty(len(data), dtype=np.int64)
    apart = np.ones(len(data), dtype=bool)
    for fold in folds:
        majority[fold.test] = labels.index(fold.majority)
        apart[fold.test] = ~fold.copies
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, (targets, found[CHOSEN].argmax(axis=1)), 1)

    def scores(some: NDArray[np.bool_]) -> dict[str, Score]:
        of_nets = {name: _score(values[some], targets[some]) for name, values in found.items()}
        same = Score(int((majority[some] == targets[some]).sum()), int(some.sum()))
        return {**of_nets, "majority": same}

    everything = scores(np.ones(len(data), dtype=bool))
    without = scores(apart) if apart.any() and not apart.all() else None
    return Validation(data.name, labels, trials, folds, everything, without, confusion)


def _score(found: Array, targets: NDArray[np.int64]) -> Score:
    judged = judge(found, targets)
    return Score(int((found.argmax(axis=1) == targets).sum()), len(targets), judged.loss)
