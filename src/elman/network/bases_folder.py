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
from elman.errors import ElmanError, ModelError, UsageError
from elman.files import write_text
from elman.network.bases import DENSE_ORDER, BaseReader, Codes, Contexts, bits_for, check_plain
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
DAMAGED = "the file is damaged; copy or train it again"
LARGEST_BITS = 24
"""Tables of so many places, 64 MB each, may be had for any sequence; larger ones have to be of use."""


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
    """Return contexts that have counted nothing, with room for so many bases.

    Raises
    ------
    UsageError
        for hashed tables far larger than so many bases can fill.
    """
    bits, hashed = settings.counts_bits or 0, any(k > DENSE_ORDER for k in settings.counts)
    if hashed and bits > LARGEST_BITS and 2**bits > 8 * bases:
        raise UsageError(
            f"network.counts_bits = {bits} is {4 * 2**bits / 1e9:.1f} GB an order, more than {bases} bases can fill",
            hint=f"leave it unset, or at most {LARGEST_BITS}",
        )
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
    settings = _settings_of(path / CONFIG, config)
    lengths = _lengths(path / WEIGHTS)
    try:
        network, contexts = RecurrentNetwork(BASES, settings), new_contexts(settings, sum(lengths))
    except ElmanError as error:
        raise ModelError(f"{path / CONFIG} does not describe a model: {error.message}", hint=error.hint) from error
    load_base_weights(path, network, contexts)
    counted = _counted(path / WEIGHTS, lengths)
    card = read_json(path / CARD) if (path / CARD).exists() else {}
    model = BaseModel(network.eval(), contexts, counted, card)
    model.count()
    return model


def _settings_of(path: Path, config: Mapping[str, Any]) -> NetworkSettings:
    """Return the shape that config.json describes."""
    try:
        settings = NetworkSettings.model_validate(config["network"])
        if config["vocab_size"] != BASES:
            raise ValueError(f"vocab_size is {config['vocab_size']!r}, and there are {BASES} bases")
        if settings.counts_bits is None:
            raise KeyError("counts_bits")
        check_plain(settings)
    except ElmanError as error:
        raise ModelError(f"{path} does not describe a model: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        problem = f"it has no {problem}" if isinstance(error, KeyError) else problem
        hint = "the file is damaged, or was changed by hand"
        raise ModelError(f"{path} does not describe a model: {problem}", hint=hint) from error
    return settings


def load_base_weights(folder: Path, network: RecurrentNetwork, contexts: Contexts) -> None:
    """Read the weights of the net and those that mix from model.safetensors; errors as in `load_base_model`."""
    path = folder / WEIGHTS
    mix = _tensor(path, MIX, torch.float32, contexts.weights.ndim)
    if tuple(mix.shape) != contexts.weights.shape:
        raise ModelError(
            f"{path}: {MIX} is {tuple(mix.shape)}, config.json says {contexts.weights.shape}",
            hint="the weights belong to another model",
        )
    if not bool(mix.isfinite().all()):
        raise ModelError(f"{path}: {MIX} holds values that are no numbers", hint="train it again")
    load_weights(network, path, prefix=NETWORK)
    contexts.weights[:] = mix.numpy()


def _lengths(path: Path) -> list[int]:
    """Return the lengths of the sequences that were counted."""
    lengths: list[int] = _tensor(path, LENGTHS, torch.int64, 1).tolist()
    if any(length < 0 for length in lengths):
        raise ModelError(f"{path}: {LENGTHS} are no lengths of sequences", hint=DAMAGED)
    return lengths


def _counted(path: Path, lengths: list[int]) -> list[Codes]:
    """Return the bases that were counted, a sequence each."""
    bases, total = _tensor(path, COUNTED, torch.uint8, 1).numpy(), sum(lengths)
    if -(-total // 4) != len(bases):
        raise ModelError(f"{path}: {COUNTED} holds {4 * len(bases)} bases, {LENGTHS} say {total}", hint=DAMAGED)
    codes = unpacked(bases, total)
    return np.split(codes, np.cumsum(lengths)[:-1]) if lengths else []


def _tensor(path: Path, name: str, kind: torch.dtype, dimensions: int) -> torch.Tensor:
    """Return a tensor of a file, which has to be of this type and number of dimensions."""
    found = load_tensors(path, prefix=name).get("")
    if found is None:
        raise ModelError(f"{path} has no {name}", hint="the weights belong to another model")
    if found.dtype is not kind or found.dim() != dimensions:
        said = f"{found.dtype} with {found.dim()} dimensions"
        raise ModelError(f"{path}: {name} is {said}, not {kind} with {dimensions}", hint=DAMAGED)
    return found
