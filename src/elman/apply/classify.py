"""Classifiers at work: the label of each sequence, and how good the recurrent net is beside what knows no order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError, UsageError
from elman.learn.fitting import Inputs, judge, log_probs
from elman.network.classifier_folder import NETS, ClassifierModel
from elman.text.fronts import Encoded, SymbolFront, check_sequences
from elman.text.labelled import Example, Labelled, check_labels, labelled_lines, numbered_lines, read_labelled
from elman.text.reading import TextSource

RECURRENT, FEEDFORWARD = "recurrent", "feedforward"
Z = 1.959963984540054
"""The standard normal deviate that 95 % lie within."""
LINES, MOST_LINES = 64, 4096
"""Lines that are taken together before the first answer, and at the most."""


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, `right` of `total`.

        ( p + z^2 / 2n  +-  z sqrt( p (1 - p) / n + z^2 / 4n^2 ) ) / ( 1 + z^2 / n )

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).

    >>> [round(end, 4) for end in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if total < 1:
        raise ValueError("a share of nothing has no interval")
    p, squared = right / total, Z * Z / total
    middle = p + squared / 2
    reach = Z * math.sqrt(p * (1 - p) / total + squared / (4 * total))
    low, high = (middle - reach) / (1 + squared), (middle + reach) / (1 + squared)
    return (0.0 if right == 0 else low), (1.0 if right == total else high)  # exact there, whatever rounding says


@dataclass(frozen=True)
class Score:
    """How many labels were right; `loss` is the mean of -log y[label] in nats, None where there is no y."""

    right: int
    total: int
    loss: float | None = None

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return wilson(self.right, self.total)

    def as_dict(self) -> dict[str, Any]:
        """Return the score as plain JSON values."""
        low, high = self.interval
        return {"accuracy": self.accuracy, "low": low, "high": high, "right": self.right, "loss": self.loss}


@dataclass(frozen=True)
class Comparison:
    """All nets on the same examples, and what the best of them, in this order, mistakes for what.

    Attributes
    ----------
    scores
        of `recurrent` (where there are sequences), `feedforward`, `linear` and `majority`.
    confusion
        (K, K), how often label i, a row, was called label j, a column, by the first net of `scores`.
    """

    name: str
    labels: tuple[str, ...]
    majority: str
    scores: dict[str, Score]
    confusion: NDArray[np.int64]

    @property
    def examples(self) -> int:
        """How many examples there were."""
        return int(self.confusion.sum())

    @property
    def net(self) -> str:
        """The net that the confusion is of."""
        return next(iter(self.scores))

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
        return {
            "file": self.name,
            "examples": self.examples,
            "labels": list(self.labels),
            "majority": self.majority,
            "scores": {name: score.as_dict() for name, score in self.scores.items()},
            "confusion_of": self.net,
            "confusion": self.confusion.tolist(),
        }


def probabilities(model: ClassifierModel, encoded: Encoded, net: str | None = None) -> NDArray[np.float64]:
    """Return log y of a net, (N, K): by default the recurrent one, or for points the feedforward one."""
    net = net or (FEEDFORWARD if model.nets.recurrent is None else RECURRENT)
    name = net.replace("-", "_")
    chosen = getattr(model.nets, name, None) if name in NETS else None
    if chosen is None:
        known = [name.replace("_", "-") for name in NETS if getattr(model.nets, name) is not None]
        raise UsageError(f"this classifier has no net {net!r}", hint=f"known: {', '.join(known)}")
    device = next(chosen.parameters()).device
    strands = [encoded]
    if model.shape.strands == "both":
        strands.append(symbol_front(model).other_strand(encoded))
    return mean_of([log_probs(chosen, Inputs.of(each, name), len(model.labels), device) for each in strands])


def mean_of(found: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean of several log y, (N, K), brought to probabilities that add up to 1 again."""
    if len(found) == 1:
        return found[0]
    mean = np.mean(found, axis=0)
    return np.asarray(mean - np.logaddexp.reduce(mean, axis=1, keepdims=True))


def compare(model: ClassifierModel, encoded: Encoded, labels: Sequence[str], name: str = "") -> Comparison:
    """Score every net, and the answer that is always the same, on the same examples; the labels are the model's."""
    numbers = {label: number for number, label in enumerate(model.labels)}
    targets = np.array([numbers[label] for label in labels])
    scores: dict[str, Score] = {}
    confusion = np.zeros((len(numbers), len(numbers)), dtype=np.int64)
    for net in NETS:
        if getattr(model.nets, net) is None:
            continue
        found = probabilities(model, encoded, net)
        answers = found.argmax(axis=1)
        if not scores:
            np.add.at(confusion, (targets, answers), 1)
        scores[net] = Score(int((answers == targets).sum()), len(targets), judge(found, targets).loss)
    scores["majority"] = Score(int((targets == numbers[model.majority]).sum()), len(targets))
    return Comparison(name, model.labels, model.majority, scores, confusion)


def compare_examples(model: ClassifierModel, data: Labelled) -> Comparison:
    """Do what `compare` does for examples of a file. Raises `TextError` for a label that training never saw."""
    check_labels(data, set(model.labels), model.labels)
    front = symbol_front(model)
    check_sequences(data, front.tokenizer, front.length)
    return compare(model, front.encode(data.sequences), data.labels, data.name)


def evaluate(model: ClassifierModel, path: str | Path, *, header: bool = False) -> Comparison:
    """Compare the nets on a file of `label<TAB>sequence`; errors as in `read_labelled` and `compare_examples`."""
    raw = symbol_front(model).tokenizer.unit == "byte"
    return compare_examples(model, read_labelled(path, header=header, raw=raw))


def symbol_front(model: ClassifierModel) -> SymbolFront:
    """Return the front of a classifier of symbols, or raise `UsageError`."""
    if not isinstance(model.front, SymbolFront):
        raise UsageError(
            f"this classifier reads {model.front.kind}, which no text file holds",
            hint="use it from Python: elman.load_classifier(folder).predict(x)",
        )
    return model.front


@dataclass(frozen=True)
class Answer:
    """The likeliest label of a sequence, its probability, and that of every label."""

    label: str
    probability: float
    probabilities: dict[str, float]
    sequence: str


def answers(model: ClassifierModel, found: NDArray[np.float64], sequences: Sequence[str]) -> Iterator[Answer]:
    """Make answers of log y, (N, K)."""
    for row, sequence in zip(np.exp(found), sequences, strict=True):
        every = {label: float(value) for label, value in zip(model.labels, row, strict=True)}
        best = model.labels[int(row.argmax())]
        yield Answer(best, every[best], every, sequence)


def predict(
    model: ClassifierModel, path: str | Path, *, labelled: bool = False, header: bool = False, net: str | None = None
) -> Iterator[Answer]:
    """Answer for each line of a text, in order, as it is read; blank lines are skipped.

    Parameters
    ----------
    labelled
        lines are `label<TAB>sequence`; the label is not looked at.
    net
        one of `NETS`.
    """
    front, source = symbol_front(model), TextSource(path)
    raw = front.tokenizer.unit == "byte"
    read = labelled_lines if labelled else _unlabelled
    remaining, count = read(source, header=header, raw=raw), LINES
    while some := list(islice(remaining, count)):
        data = Labelled(source.name, some)
        check_sequences(data, front.tokenizer, front.length)
        yield from answers(model, probabilities(model, front.encode(data.sequences), net), data.sequences)
        count = min(2 * count, MOST_LINES)


def _unlabelled(source: TextSource, *, header: bool, raw: bool) -> Iterator[Example]:
    for number, line in numbered_lines(source, header=header, raw=raw):
        if not line.strip():
            raise TextError(f"{source.name}, line {number}: the sequence is empty")
        if "\t" in line:
            raise TextError(
                f"{source.name}, line {number}: there is a tab in the sequence",
                hint="say --labelled if lines are label<TAB>sequence",
            )
        yield Example(number, "", line)
