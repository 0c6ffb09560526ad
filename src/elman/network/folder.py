"""A model on disk: a folder in the Hugging Face layout. Nothing is pickled; loading runs no code from the folder.

config.json        the shape of the network and of its text, with `format_version`
model.safetensors  the weights
tokenizer.json     the tokenizer, in the format of the `tokenizers` library
card.json          how it was trained, on what, what it scored
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from elman.config import LearnSettings, NetworkSettings, first_problem
from elman.errors import ElmanError, ModelError, OutputError
from elman.files import replacing, write_text
from elman.network.direct import Direct
from elman.network.model import RecurrentNetwork, check_tables
from elman.text.symbols import Tokenizer
from elman.text.tokenizers import load_tokenizer

FORMAT_VERSION = 1
LANGUAGE, CLASSIFY, DNA = "language", "classify", "dna"
"""What a model is for, as config.json says under `task`; a language model says nothing."""
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


@contextmanager
def _opened(path: Path, what: str = "model") -> Iterator[Any]:
    """Open a safetensors file; raises `ModelError` if it is not there, or not whole."""
    try:
        with safe_open(path, framework="pt") as stream:
            yield stream
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent} has no {path.name}", hint=f"is this the folder of a {what}?") from error
    except (SafetensorError, OSError) as error:
        hint = "the file is cut short, or no safetensors file at all; copy or train it again"
        raise ModelError(f"{path} cannot be read: {error}", hint=hint) from error


def load_metadata(path: Path, what: str) -> dict[str, str]:
    """Read the metadata of a safetensors file. Raises `ModelError` if it is not whole."""
    with _opened(path, what) as stream:
        return dict(stream.metadata() or {})


def load_tensors(path: Path, *, prefix: str = "") -> dict[str, Tensor]:
    """Read those tensors of a safetensors file whose name begins with `prefix`, without it.

    Raises `ModelError` if the file is not whole.
    """
    with _opened(path) as stream:
        names = [name for name in stream.keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): stream.get_tensor(name) for name in names}


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
    path, config = Path(folder), check_folder(folder, LANGUAGE)
    try:
        settings = NetworkSettings.model_validate(config["network"])
        size, regime, text = int(config["vocab_size"]), str(config["regime"]), dict(config["text"])
        if regime not in REGIMES:
            raise ValueError(f"there is no regime {regime!r}")
        check_tables(settings)
    except ElmanError as error:
        raise ModelError(f"{path / CONFIG} does not describe a model: {error.message}", hint=error.hint) from error
    except (KeyError, TypeError, ValueError) as error:
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
    load_weights(network, path / WEIGHTS)
    card = read_json(path / CARD) if (path / CARD).exists() else {}
    return Model(network.to(device).eval(), tokenizer, regime, card)


def check_folder(folder: str | Path, task: str) -> dict[str, Any]:
    """Return the config.json of a model folder, refusing what is no model, of a newer format or for another task."""
    path = Path(folder)
    if str(folder) == "":
        raise ModelError("the path of the model is empty", hint="give the folder that elman train wrote with --out")
    if not path.exists():
        raise ModelError(f"{path} does not exist", hint="give the folder that elman train wrote with --out")
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder", hint="a model is a folder, with config.json in it")
    config = read_json(path / CONFIG)
    _check_version(path, config)
    found = str(config.get("task", LANGUAGE))
    if found != task:
        known = {LANGUAGE: "a language model", CLASSIFY: "a classifier", DNA: "a model of DNA"}
        readers = {
            LANGUAGE: "elman evaluate reads it",
            CLASSIFY: "elman classify evaluate and predict read it",
            DNA: "elman dna score reads it",
        }
        hint = readers.get(found, "install a newer elman: pip install -U elman")
        raise ModelError(f"{path} holds {known.get(found, f'a model for {found!r}')}, not {known[task]}", hint=hint)
    return config


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


def load_weights(network: nn.Module, path: Path, *, prefix: str = "") -> None:
    """Read a file into the network's weights, checking names, shapes and values.

    The tensors in the file are named as the weights are, with `prefix` before it. They are read one by one, so that no
    two sets of all weights are ever in memory.
    """
    expected = network.state_dict()
    learnt = tuple(f"{name}." for name, part in network.named_modules() if isinstance(part, Direct) and not part.dense)
    with _opened(path) as stream:
        names = set(stream.keys())
        for name, weight in expected.items():
            if prefix + name not in names:
                raise ModelError(f"{path} has no {name}", hint="the weights belong to another model")
            shape = tuple(stream.get_slice(prefix + name).get_shape())
            if shape != tuple(weight.shape) and not name.startswith(learnt):
                raise ModelError(
                    f"{path}: {name} is {shape}, config.json says {tuple(weight.shape)}",
                    hint="the weights belong to another model",
                )
    for name in expected:
        with _opened(path) as stream:  # opened anew: what was read of a file that is open counts as memory in use
            tensor = stream.get_tensor(prefix + name)
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(torch.aminmax(tensor)).isfinite().all():
            raise ModelError(f"{path}: {name} holds values that are no numbers", hint="train it again")
        network.load_state_dict({name: tensor}, strict=False)
        del tensor
    for part in network.modules():
        if isinstance(part, Direct):
            part.check()
