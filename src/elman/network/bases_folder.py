"""A model of DNA on disk: config.json, model.safetensors and card.json, as of every model.

Of what the contexts counted the folder holds the bases themselves, four to a byte, in which they were counted: a few
seconds make tables of hundreds of megabytes of them anew. The folder of a model so holds the sequence that it learnt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from elman.config import NetworkSettings, first_problem
from elman.errors import ElmanError, ModelError
from elman.files import write_text
from elman.network.bases import BaseReader, Codes, Contexts, bits_for, check_plain
from elman.network.folder import (
    CARD,
    CONFIG,
    DNA,
    FORMAT_VERSION,
    WEIGHTS,
    check_folder,
    load_tensors,
    load_weights,
    read_json,
    save_tensors,
)
from elman.network.model import RecurrentNetwork
from elman.text.dna import BASES
from elman.text.segments import packed, unpacked

NETWORK, MIX, COUNTED, LENGTHS = "network.", "counts.weights", "counts.bases", "counts.lengths"


@dataclass(frozen=True)
class BaseModel:
    """A net over the four bases, the contexts that it is mixed with, the bases that they counted, and the card."""

    network: RecurrentNetwork
    contexts: Contexts
    counted: Sequence[Codes]
    card: dict[str, Any]

    def count(self) -> None:
        """Count the bases anew: the tables of the contexts are then what they are for scoring."""
        count_all(self.contexts, self.counted)


def count_all(contexts: Contexts, counted: Sequence[Codes]) -> None:
    """Set the tables to the counts of some sequences."""
    contexts.forget()
    if not len(contexts.orders):
        return
    reader = BaseReader(contexts, None)
    for codes in counted:
        reader.begin()
        reader.count(codes)


def new_network(settings: NetworkSettings, generator: torch.Generator) -> RecurrentNetwork:
    """Return a plain network over the four bases with weights drawn anew."""
    check_plain(settings)
    network = RecurrentNetwork(BASES, settings)
    network.initialize(generator)
    return network


def new_contexts(settings: NetworkSettings, bases: int) -> Contexts:
    """Return contexts that have counted nothing, with room for so many bases."""
    return Contexts(settings.counts, bits=settings.counts_bits or bits_for(bases))


def save_base_config(folder: Path, network: RecurrentNetwork, contexts: Contexts) -> None:
    """Write config.json: the shape of the net and of the contexts."""
    config = {
        "model_type": "elman",
        "architectures": ["BaseModel"],
        "format_version": FORMAT_VERSION,
        "task": DNA,
        "vocab_size": BASES,
        "network": network.settings.model_dump() | {"counts_bits": contexts.bits},
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")


def save_base_weights(folder: Path, network: RecurrentNetwork, contexts: Contexts, counted: Sequence[Codes]) -> None:
    """Write model.safetensors: the net, the weights that mix, and the bases that were counted."""
    tensors = {NETWORK + name: weight for name, weight in network.state_dict().items()}
    bases = np.concatenate([np.empty(0, np.uint8), *counted]) if len(contexts.orders) else np.empty(0, np.uint8)
    lengths = [len(codes) for codes in counted] if len(contexts.orders) else []
    tensors[MIX] = torch.from_numpy(contexts.weights)
    tensors[COUNTED] = torch.from_numpy(packed(bases))
    tensors[LENGTHS] = torch.tensor(lengths, dtype=torch.int64)
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})


def load_base_model(folder: str | Path) -> BaseModel:
    """Read the folder of a model of DNA, and count its bases.

    Raises
    ------
    ModelError
        if a file is missing, damaged, does not fit the others, or is of another kind of model.
    """
    path, config = Path(folder), check_folder(folder, DNA)
    try:
        settings = NetworkSettings.model_validate(config["network"])
        check_plain(settings)
    except ElmanError as error:
        raise ModelError(f"{path / CONFIG} does not describe a model: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else f"it has no {error}"
        hint = "the file is damaged, or was changed by hand"
        raise ModelError(f"{path / CONFIG} does not describe a model: {problem}", hint=hint) from error
    network = RecurrentNetwork(BASES, settings)
    load_weights(network, path / WEIGHTS, prefix=NETWORK)
    tensors = load_tensors(path / WEIGHTS, prefix="counts.")
    contexts = new_contexts(settings, 0)
    counted = _counted(path / WEIGHTS, tensors, contexts)
    card = read_json(path / CARD) if (path / CARD).exists() else {}
    model = BaseModel(network.eval(), contexts, counted, card)
    model.count()
    return model


def _counted(path: Path, tensors: Mapping[str, torch.Tensor], contexts: Contexts) -> list[Codes]:
    """Give the contexts their weights; return the bases that they counted."""
    names = [name.removeprefix("counts.") for name in (MIX, COUNTED, LENGTHS)]
    if missing := [f"counts.{name}" for name in names if name not in tensors]:
        raise ModelError(f"{path} has no {missing[0]}", hint="the weights belong to another model")
    mix, bases, lengths = (tensors[name].numpy() for name in names)
    fits = mix.shape == contexts.weights.shape and mix.dtype == np.float32 and bool(np.isfinite(mix).all())
    fits = fits and bases.dtype == np.uint8 and bases.ndim == lengths.ndim == 1 and lengths.dtype == np.int64
    if not (fits and (lengths >= 0).all() and -(-int(lengths.sum()) // 4) == len(bases)):
        raise ModelError(
            f"{path}: its counts do not fit config.json", hint="the file is damaged; copy or train it again"
        )
    contexts.weights[:] = mix
    codes = unpacked(bases, int(lengths.sum()))
    return np.split(codes, np.cumsum(lengths)[:-1]) if len(lengths) else []
