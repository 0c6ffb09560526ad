"""The table of tokenizers, and the way of one from a text or a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers as hf
from pydantic import ValidationError

from elman.config import TextSettings
from elman.errors import ModelError, UsageError
from elman.text.bases import DnaTokenizer
from elman.text.characters import ByteTokenizer, CharTokenizer
from elman.text.reading import TextSource
from elman.text.subwords import BPETokenizer
from elman.text.symbols import FILE_NAME, Tokenizer
from elman.text.words import WordTokenizer

TOKENIZERS: dict[str, type[Tokenizer]] = {
    "word": WordTokenizer,
    "char": CharTokenizer,
    "byte": ByteTokenizer,
    "bpe": BPETokenizer,
    "dna": DnaTokenizer,
}


def tokenizer_of(unit: str) -> type[Tokenizer]:
    """Return the tokenizer of texts of a unit; raises `UsageError` for bases, which no text is made of."""
    if unit == DnaTokenizer.unit:
        hint = "elman train FASTA --unit dna makes a model of DNA"
        known = ", ".join(name for name in TOKENIZERS if name != unit)
        raise UsageError(f"unit {unit} is not of texts: known units are {known}", hint=hint)
    return TOKENIZERS[unit]


def train_tokenizer(source: TextSource, settings: TextSettings) -> Tokenizer:
    """Build the dictionary of `settings.unit` from a training text, read once, in a stream.

    Raises
    ------
    TextError
        for a text, or a vocabulary file, that cannot be read.
    UsageError
        for settings that the unit cannot follow.
    """
    return tokenizer_of(settings.unit).train(source.lines(), settings)


def load_tokenizer(folder: Path, meta: Mapping[str, Any]) -> Tokenizer:
    """Read back what `Tokenizer.save` wrote into `folder`; `meta` is what `Tokenizer.meta` returned.

    Raises
    ------
    ModelError
        for a `tokenizer.json` that is missing, broken, or not the one that `meta` describes.
    """
    path = folder / FILE_NAME
    unit, settings, unk_trained, size = _read_meta(meta, folder)
    try:
        library = hf.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing", hint="give a folder that holds a whole model") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the library raises Exception itself
        raise ModelError(f"{path} is broken: {error}", hint="copy the model again") from error
    if library.get_vocab_size() != size:
        raise ModelError(
            f"{path} has {library.get_vocab_size()} symbols where config.json says {size}",
            hint="the files of the folder are not of one model: copy it again",
        )
    try:
        return TOKENIZERS[unit].from_library(library, settings, unk_trained)
    except ValueError as error:
        raise ModelError(f"{path} is not a {unit} tokenizer of elman: {error}", hint="copy the model again") from error


def _read_meta(meta: Mapping[str, Any], folder: Path) -> tuple[str, TextSettings, bool, int]:
    try:
        unit, size, unk_trained = meta["unit"], meta["size"], meta["unk_trained"]
        settings = TextSettings.model_validate(meta["settings"])
    except (KeyError, TypeError, ValidationError) as error:
        raise ModelError(
            f"{folder / 'config.json'} does not say how the model reads text", hint="copy the model again"
        ) from error
    if (
        unit != settings.unit  # which the settings have checked
        or not isinstance(size, int)
        or not isinstance(unk_trained, bool)
    ):
        raise ModelError(
            f"{folder / 'config.json'}: unit {unit!r} of {size!r} symbols is nothing that this version can read",
            hint=f"known units: {', '.join(TOKENIZERS)}",
        )
    return unit, settings, unk_trained, size
