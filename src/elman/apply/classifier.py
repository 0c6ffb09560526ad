"""The Python API of classifiers: `elman.train_classifier`, `elman.load_classifier`, and `Classifier`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elman.apply import classify
from elman.apply.classify import Comparison
from elman.apply.language_model import setting_key
from elman.config import read_recipe
from elman.errors import UsageError
from elman.learn.classify import classifier_settings, symbol_front
from elman.learn.classify import train_classifier as train_from_file
from elman.learn.several import Plan, fit_classifier
from elman.network.classifier_folder import ClassifierModel, save_classifier
from elman.network.classifier_folder import load_classifier as load_from_folder
from elman.text.fronts import Encoded, Front, PointFront, VectorFront
from elman.text.labelled import stratified_split
from elman.text.tokenizers import TOKENIZERS

Inputs = Sequence[str] | Sequence[NDArray[Any]] | NDArray[Any]
"""Texts, (N,); sequences of vectors, an array (N, T, P) or arrays (T, P); or points, (N, P)."""


class Classifier:
    """A trained classifier: the recurrent net, and beside it the feedforward net and the linear softmax."""

    def __init__(self, model: ClassifierModel) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"Classifier(kind={self.model.shape.kind!r}, labels={list(self.labels)!r})"

    @classmethod
    def fit(
        cls,
        x: Inputs,
        y: Sequence[Any],
        *,
        valid: tuple[Inputs, Sequence[Any]] | None = None,
        pool: str = "last",
        ngrams: int | None = None,
        places: int = 0,
        direction: str = "forward",
        strands: str = "forward",
        members: int = 1,
        share: float = 0.1,
        recipe: str | None = None,
        **settings: Any,  # noqa: ANN401 - as config says
    ) -> Classifier:
        """Train on inputs and their labels.

        Parameters
        ----------
        x
            texts; sequences of real vectors, an array (N, T, P) or a list of arrays (T, P), which the recurrent net
            reads through a matrix U (P, H); or points, (N, P), for the nets that read no sequence.
        y
            N labels; they are kept as text, `str(label)`.
        valid
            inputs and labels to validate on; without them a share of each label is held out.
        pool, ngrams, places, direction, strands, members, share, recipe, settings
            as flags of `elman classify train` and settings of `elman.train`.
        """
        chosen, _ = classifier_settings(_given(recipe, settings))
        plan = Plan(pool, ngrams, places=places, direction=direction, strands=strands, members=members)
        labels = [str(label) for label in y]
        kind = kind_of(x)
        _check_lengths(x, labels)
        if len(set(labels)) < 2:
            raise UsageError("there are fewer than two labels: there is nothing to tell apart")
        if valid is None:
            kept, held = stratified_split(labels, share, np.random.default_rng(chosen.learn.seed))
            train, held_out = _part(x, kept), _part(x, held)
            train_labels, valid_labels = [labels[i] for i in kept], [labels[i] for i in held]
        else:
            train, held_out, train_labels, valid_labels = x, valid[0], labels, [str(label) for label in valid[1]]
            _check_lengths(held_out, valid_labels)
            _check_known(valid_labels, sorted(set(labels)))
        front: Front
        if kind == "symbols":
            texts = [str(text) for text in train]
            tokenizer = TOKENIZERS[chosen.text.unit].train(texts, chosen.text)
            front = symbol_front(tokenizer, texts, plan)
        else:
            front = PointFront.of(np.asarray(train)) if kind == "points" else VectorFront.of(list(train))
        parts = (_encode(front, train), train_labels, _encode(front, held_out), valid_labels)
        return cls(fit_classifier(front, *parts, chosen, plan=plan))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of `log_probs`."""
        return self.model.labels

    @property
    def card(self) -> dict[str, Any]:
        """How the nets were trained, and what they scored on validation."""
        return self.model.card

    def log_probs(self, x: Inputs, *, net: str | None = None) -> NDArray[np.float64]:
        """Return the natural logarithm of the probability of each label, (N, K).

        `net` is `recurrent`, `feedforward`, `linear`, or, with places, `feedforward-places` or `linear-places`; by
        default the recurrent net, or for points the feedforward.
        """
        return classify.probabilities(self.model, _encode(self.model.front, x), net)

    def predict(self, x: Inputs, *, net: str | None = None) -> list[str]:
        """Return the likeliest label of each input."""
        return [self.labels[int(place)] for place in self.log_probs(x, net=net).argmax(axis=1)]

    def evaluate(self, x: Inputs, y: Sequence[Any]) -> Comparison:
        """Score all nets on inputs with their labels. Raises `UsageError` for a label that training never saw."""
        labels = [str(label) for label in y]
        _check_lengths(x, labels)
        _check_known(labels, self.labels)
        return classify.compare(self.model, _encode(self.model.front, x), labels)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder, whole or not at all."""
        save_classifier(Path(folder), self.model, overwrite=overwrite)


def train_classifier(
    train: str | Path,
    valid: str | Path | None = None,
    *,
    out: str | Path | None = None,
    pool: str = "last",
    ngrams: int | None = None,
    places: int = 0,
    direction: str = "forward",
    strands: str = "forward",
    members: int = 1,
    header: bool = False,
    recipe: str | None = None,
    overwrite: bool = False,
    **settings: Any,  # noqa: ANN401 - as config says
) -> Classifier:
    """Train a classifier on a file of `label<TAB>sequence`; options as flags of `elman classify train`.

    Without `out` the model lives in memory only (see `Classifier.save`).
    """
    model, _ = train_from_file(
        train,
        None if out is None else Path(out),
        _given(recipe, settings),
        valid=valid,
        plan=Plan(pool, ngrams, places=places, direction=direction, strands=strands, members=members),
        header=header,
        overwrite=overwrite,
        command="elman.train_classifier",
    )
    return Classifier(model)


def load_classifier(folder: str | Path, *, device: str = "cpu") -> Classifier:
    """Read the folder of a classifier."""
    return Classifier(load_from_folder(folder, device=device))


def kind_of(x: Inputs) -> str:
    """Return what inputs are: `symbols`, `vectors` or `points`."""
    if isinstance(x, str) or not len(x):
        raise UsageError("inputs are a list of texts, or arrays of numbers", hint="put a single one into a list")
    if isinstance(x[0], str):
        return "symbols"
    dimensions = x.ndim if isinstance(x, np.ndarray) and x.dtype != object else 1 + np.ndim(x[0])
    if dimensions not in (2, 3):
        raise UsageError(
            f"an array of {dimensions} dimensions is neither points, (N, P), nor sequences of vectors, (N, T, P)"
        )
    return "points" if dimensions == 2 else "vectors"


def _encode(front: Front, x: Inputs) -> Encoded:
    kind = kind_of(x)
    if kind != front.kind:
        raise UsageError(f"this classifier reads {front.kind}, and these are {kind}")
    given: Any = x
    return front.encode(given)


def _part(x: Inputs, indices: NDArray[np.int64]) -> Inputs:
    given: Any = x
    some: Inputs = given[indices] if isinstance(given, np.ndarray) else [given[int(index)] for index in indices]
    return some


def _check_lengths(x: Inputs | ArrayLike, labels: Sequence[str]) -> None:
    count = len(x)  # type: ignore[arg-type]
    if count != len(labels):
        raise UsageError(f"there are {count} inputs and {len(labels)} labels")


def _check_known(labels: Sequence[str], known: Sequence[str]) -> None:
    for number, label in enumerate(labels, start=1):
        if label not in known:
            raise UsageError(
                f"label {number} is {label!r}, which training never saw", hint=f"known: {', '.join(known)}"
            )


def _given(recipe: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    return (read_recipe(recipe) if recipe else {}) | {setting_key(name): value for name, value in settings.items()}
