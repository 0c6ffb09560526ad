"""A classifier on disk: a folder as that of a language model, whose config.json says `"task": "classify"`.

config.json        the labels, the shape of the nets, and how text becomes symbols
model.safetensors  the weights of all nets, and the n-grams (or mean and deviation) behind their features
tokenizer.json     the tokenizer, where sequences are of symbols
card.json          how it was trained, on what, what it scored
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from elman.config import NetworkSettings, first_problem
from elman.errors import ElmanError, ModelError, OutputError
from elman.files import make_folder, output_error, write_text
from elman.network.classifier import Members, RecurrentClassifier
from elman.network.folder import (
    CARD,
    CLASSIFY,
    CONFIG,
    FORMAT_VERSION,
    TOKENIZER,
    WEIGHTS,
    check_folder,
    load_weights,
    read_json,
    save_card,
    save_tensors,
)
from elman.network.points import Feedforward, Linear
from elman.text.bags import NgramDictionary, PlacedDictionary
from elman.text.fronts import FRONTS, Front, PointFront, SymbolFront, VectorFront, arrays_needed
from elman.text.tokenizers import load_tokenizer


@dataclass(frozen=True)
class Shape:
    """All that the nets' sizes follow from."""

    kind: str
    labels: tuple[str, ...]
    inputs: int
    features: int
    order: int
    pool: str
    network: NetworkSettings
    direction: str = "forward"
    strands: str = "forward"
    members: int = 1
    length: int = 0
    placed: int = 0
    places: int = 0


LATER = {field.name: field.default for field in fields(Shape) if field.default is not MISSING}
"""What folders of earlier versions do not say, and what it is there."""
NETS = ("recurrent", "feedforward", "linear", "feedforward_places", "linear_places")
"""All nets of a classifier; those with places are there where `Shape.places`, the order of their n-grams, is not 0."""


class Nets(nn.Module):
    """The nets for one task: recurrent (where there are sequences), feedforward, linear; and the front's arrays."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        labels = len(shape.labels)
        self.recurrent = None if shape.kind == PointFront.kind else members(shape.members, lambda: recurrent(shape))
        self.feedforward = members(shape.members, lambda: Feedforward(shape.features, labels, shape.network))
        self.linear = Linear(shape.features, labels)
        self.feedforward_places: nn.Module | None = None
        self.linear_places: Linear | None = None
        if shape.placed:
            self.feedforward_places = members(shape.members, lambda: Feedforward(shape.placed, labels, shape.network))
            self.linear_places = Linear(shape.placed, labels)
        placed = (shape.placed, shape.places)
        needed = arrays_needed(shape.kind, shape.inputs, shape.features, shape.order, placed)
        for name, (size, type_name) in needed.items():
            self.register_buffer(f"front_{name}", torch.zeros(size, dtype=getattr(torch, type_name)))


def recurrent(shape: Shape) -> RecurrentClassifier:
    """Return the recurrent net of a shape, or one of its members."""
    return RecurrentClassifier(
        shape.inputs,
        len(shape.labels),
        shape.network,
        pool=shape.pool,
        vectors=shape.kind == VectorFront.kind,
        direction=shape.direction,
        length=shape.length,
    )


def members(count: int, make: Callable[[], nn.Module]) -> nn.Module:
    """Return a net, or so many of them together."""
    return make() if count == 1 else Members(make() for _ in range(count))


@dataclass(frozen=True)
class ClassifierModel:
    """The nets, what makes numbers of their inputs, the label that training saw most, and the card."""

    shape: Shape
    front: Front
    nets: Nets
    majority: str
    card: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the nets' outputs."""
        return self.shape.labels


def save_classifier(folder: Path, model: ClassifierModel, *, overwrite: bool = False) -> None:
    """Write the folder of a classifier, whole or not at all.

    Raises
    ------
    OutputError
        where it cannot be written, or holds a model already, unless `overwrite` is set.
    """
    check_place(folder, overwrite=overwrite)
    with _beside(folder) as temporary:
        if isinstance(model.front, SymbolFront):
            model.front.tokenizer.save(temporary)
        arrays = {f"front_{name}": torch.from_numpy(array) for name, array in model.front.arrays().items()}
        save_tensors(temporary / WEIGHTS, model.nets.state_dict() | arrays, {"format": "pt"})
        save_card(temporary, model.card)
        write_text(temporary / CONFIG, json.dumps(_config(model), indent=2, ensure_ascii=False) + "\n")


def _config(model: ClassifierModel) -> dict[str, Any]:
    shape, front = model.shape, model.front
    return {
        "model_type": "elman",
        "task": CLASSIFY,
        "architectures": ["RecurrentClassifier"],
        "format_version": FORMAT_VERSION,
        "kind": shape.kind,
        "labels": list(shape.labels),
        "majority": model.majority,
        "pool": shape.pool,
        "inputs": shape.inputs,
        "features": shape.features,
        "ngrams": shape.order,
        **{name: getattr(shape, name) for name in LATER},
        "network": shape.network.model_dump(),
        "text": front.tokenizer.meta() if isinstance(front, SymbolFront) else None,
    }


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a folder that cannot be written or that holds a model."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, and a model is a folder", hint="choose another --out")
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        what = "permission denied" if place.is_dir() else f"{place} is a file"
        raise OutputError(f"{folder} cannot be written: {what}", hint="choose a folder that you may write to")
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        held = "already holds a model" if (folder / CONFIG).exists() else "is not empty"
        raise OutputError(f"{folder} {held}", hint="choose another folder, or add --overwrite to replace a model")
    if overwrite and folder.exists() and any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise OutputError(f"{folder} holds other things than a model", hint="choose another folder")


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; on success it takes its place, else it is removed.

    In a folder that is there already its files replace those of the same name, config.json as the last: a folder
    without one is no model, so that two models are never taken for one.
    """
    parent = folder.absolute().parent
    make_folder(parent)
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=parent))
    except OSError as error:
        raise output_error(folder, error) from error
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        if not folder.exists():
            temporary.rename(folder)
            return
        for name in (CONFIG, TOKENIZER, CARD):
            (folder / name).unlink(missing_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == CONFIG):
            path.replace(folder / path.name)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_classifier(folder: str | Path, *, device: str = "cpu") -> ClassifierModel:
    """Read the folder of a classifier.

    Raises
    ------
    ModelError
        if it holds no classifier, or if a file is missing, damaged, does not fit the others, or is newer.
    """
    path = Path(folder)
    config = check_folder(folder, CLASSIFY)
    shape, majority, nets = _made(path, config)
    load_weights(nets, path / WEIGHTS)
    front = _front(path, config, shape, nets)
    card = read_json(path / CARD) if (path / CARD).exists() else {}
    return ClassifierModel(shape, front, nets.to(device).eval(), majority, card)


def _made(path: Path, config: Mapping[str, Any]) -> tuple[Shape, str, Nets]:
    """Return the shape that config.json describes, the label seen most, and nets of that shape."""
    hint = "the file is damaged, or was changed by hand"
    try:
        labels = tuple(str(label) for label in config["labels"])
        shape = Shape(
            kind=str(config["kind"]),
            labels=labels,
            inputs=int(config["inputs"]),
            features=int(config["features"]),
            order=int(config["ngrams"]),
            pool=str(config["pool"]),
            network=NetworkSettings.model_validate(config["network"]),
            **{name: type(default)(config.get(name, default)) for name, default in LATER.items()},
        )
        if shape.kind not in FRONTS:
            raise ValueError(f"there is no kind {shape.kind!r}")
        if len(set(labels)) < 2 or config["majority"] not in labels or min(shape.inputs, shape.features) < 1:
            raise ValueError("its labels or sizes cannot be")
        nets = Nets(shape)
    except ElmanError as error:
        raise ModelError(f"{path / CONFIG} does not describe a classifier: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        problem = f"it has no {problem}" if isinstance(error, KeyError) else problem
        raise ModelError(f"{path / CONFIG} does not describe a classifier: {problem}", hint=hint) from error
    return shape, str(config["majority"]), nets


def _front(path: Path, config: Mapping[str, Any], shape: Shape, nets: Nets) -> Front:
    if shape.kind != SymbolFront.kind:
        kind = VectorFront if shape.kind == VectorFront.kind else PointFront
        return kind(nets.get_buffer("front_shift").numpy(), nets.get_buffer("front_scale").numpy())
    text = config.get("text")
    if not isinstance(text, Mapping):
        raise ModelError(f"{path / CONFIG} does not say how text is read", hint="the file is damaged")
    tokenizer = load_tokenizer(path, text)
    if tokenizer.size != shape.inputs:
        raise ModelError(
            f"{path}: {TOKENIZER} has {tokenizer.size} symbols, {CONFIG} says {shape.inputs}",
            hint="the files come from different models",
        )
    placed = PlacedDictionary(nets.get_buffer("front_placed").numpy()) if shape.placed else None
    return SymbolFront(tokenizer, NgramDictionary(nets.get_buffer("front_ngrams").numpy()), placed, shape.length)
