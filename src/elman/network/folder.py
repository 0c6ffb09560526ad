"""A model on disk: a folder in the Hugging Face layout. Nothing is pickled; loading runs no code from the folder.

config.json        the shape of the network and of its text, with `format_version`
model.safetensors  the weights
tokenizer.json     the tokenizer, in the format of the `tokenizers` library
card.json          how it was trained, on what, what it scored
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from elman.config import LearnSettings, NetworkSettings, first_problem
from elman.errors import ElmanError, ModelError, OutputError
from elman.files import replacing, write_text
from elman.network.model import RecurrentNetwork, check_tables
from elman.text.symbols import Tokenizer
from elman.text.tokenizers import load_tokenizer

FORMAT_VERSION = 1
CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "card.json"
REGIMES: tuple[str, ...] = get_args(LearnSettings.model_fields["regime"].annotation)


@dataclass(frozen=True)
class Model:
    """A network with its tokenizer, the regime that it was trained in, and its card."""

    network: RecurrentNetwork
    tokenizer: Tokenizer
    regime: str
    card: dict[str, Any]


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, whole or not at all."""
    with replacing(path) as temporary:
        try:
            save_file({k: v.detach().contiguous() for k, v in tensors.items()}, temporary, dict(metadata or {}))
        except SafetensorError as error:
            hint = "is the disk full? the file that was there before is untouched"
            raise OutputError(f"{path} cannot be written: {error}", hint=hint) from error


def load_tensors(path: Path, what: str = "model") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors and its metadata. Raises `ModelError` if it is not whole."""
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}", hint=f"is this the folder of a {what}?") from error
    except (SafetensorError, OSError, ValueError) as error:
        hint = "the file is cut short, or no safetensors file at all; copy or train it again"
        raise ModelError(f"{path} cannot be read: {error}", hint=hint) from error


def save_config(folder: Path, network: RecurrentNetwork, tokenizer: Tokenizer, regime: str) -> None:
    """Write config.json and tokenizer.json: all of a model but its weights."""
    config = {
        "model_type": "elman",
        "architectures": ["RecurrentNetwork"],
        "format_version": FORMAT_VERSION,
        "vocab_size": tokenizer.size,
        "regime": regime,
        "network": network.settings.model_dump(),
        "text": tokenizer.meta(),
    }
    tokenizer.save(folder)
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def save_weights(folder: Path, network: RecurrentNetwork) -> None:
    """Write model.safetensors. Tied matrices are one parameter, so no tensor is shared."""
    save_tensors(folder / WEIGHTS, network.state_dict(), {"format": "pt"})


def save_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write card.json."""
    write_text(folder / CARD, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object, or raise `ModelError`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}", hint="is this the folder of a model?") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}", hint="the file is damaged; copy or train it again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object", hint="the file is damaged; copy or train it again")
    return value


def load_model(folder: str | Path, *, device: str = "cpu") -> Model:
    """Read a model folder.

    Raises
    ------
    ModelError
        if a file is missing, damaged, does not fit the others, or comes from a newer format.
    """
    path = Path(folder)
    if str(folder) == "":
        raise ModelError("the path of the model is empty", hint="give the folder that elman train wrote with --out")
    if not path.exists():
        raise ModelError(f"{path} does not exist", hint="give the folder that elman train wrote with --out")
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder", hint="a model is a folder, with config.json in it")
    config = read_json(path / CONFIG)
    _check_version(path, config)
    try:
        settings = NetworkSettings.model_validate(config["network"])
        size, regime, text = int(config["vocab_size"]), str(config["regime"]), dict(config["text"])
        if regime not in REGIMES:
            raise ValueError(f"there is no regime {regime!r}")
        check_tables(settings)
    except (KeyError, TypeError, ValueError, ElmanError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        problem = f"it has no {problem}" if isinstance(error, KeyError) else problem
        hint = "the file is damaged, or was changed by hand"
        raise ModelError(f"{path / CONFIG} does not describe a model: {problem}", hint=hint) from error
    tokenizer = load_tokenizer(path, text)
    if tokenizer.size != size:
        raise ModelError(
            f"{path}: {TOKENIZER} has {tokenizer.size} symbols, {CONFIG} says {size}",
            hint="the files come from different models",
        )
    network = RecurrentNetwork(size, settings)
    tensors, _ = load_tensors(path / WEIGHTS)
    load_weights(network, tensors, path)
    card = read_json(path / CARD) if (path / CARD).exists() else {}
    return Model(network.to(device).eval(), tokenizer, regime, card)


def _check_version(path: Path, config: Mapping[str, Any]) -> None:
    if config.get("model_type") != "elman":
        raise ModelError(
            f"{path} is not an elman model: its config.json says model_type {config.get('model_type')!r}",
            hint="give the folder that elman train wrote with --out",
        )
    version = config.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ModelError(f"{path / CONFIG} has no valid format_version", hint="the file is damaged")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {version}, and this elman reads up to {FORMAT_VERSION}",
            hint="install a newer elman: pip install -U elman",
        )


def load_weights(network: RecurrentNetwork, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into the network's weights, checking names, shapes and values."""
    expected = network.state_dict()
    for name, weight in expected.items():
        if name not in tensors:
            raise ModelError(f"{path / WEIGHTS} has no {name}", hint="the weights belong to another model")
        if tensors[name].shape != weight.shape:
            raise ModelError(
                f"{path / WEIGHTS}: {name} is {tuple(tensors[name].shape)}, config.json says {tuple(weight.shape)}",
                hint="the weights belong to another model",
            )
        if not torch.isfinite(tensors[name]).all():
            raise ModelError(f"{path / WEIGHTS}: {name} holds values that are no numbers", hint="train it again")
    network.load_state_dict({name: tensors[name] for name in expected})
