"""The folder of a BERT as Hugging Face lays it out, read without torch: word pieces, and the vectors that go in.

config.json                    its kind and sizes
model.safetensors              its weights; weights that are pickled are not read
tokenizer.json or vocab.txt    its word pieces
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers as hf
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from elman.errors import ModelError
from elman.text.reading import TextSource
from elman.text.symbols import END, UNK, Tokenizer

CONFIG, WEIGHTS, TOKENIZER, VOCABULARY = "config.json", "model.safetensors", "tokenizer.json", "vocab.txt"
KINDS = ("bert", "distilbert", "electra")
"""What `model_type` may be: encoders that look both ways, with pieces of words between [CLS] and [SEP]."""

MOST_PIECES = 8
"""Pieces of a word that are looked at, the first ones."""

_HINT = "give the folder of a BERT as transformers' save_pretrained writes it"


@dataclass(frozen=True)
class BertFolder:
    """A folder that holds a BERT.

    Attributes
    ----------
    path
        the folder.
    size
        E, the numbers of a contextual vector.
    longest
        pieces that it reads at once, [CLS] and [SEP] included.
    begin, end, unknown
        the ids of [CLS], [SEP] and [UNK].
    library
        its tokenizer.
    table
        the name, in the weights, of the matrix with a row for each piece.
    """

    path: Path
    size: int
    longest: int
    begin: int
    end: int
    unknown: int
    library: hf.Tokenizer
    table: str

    @cached_property
    def digest(self) -> str:
        """A hash of all that decides what it computes of pieces: config.json and the weights."""
        config = json.dumps(_read_json(self.path / CONFIG), sort_keys=True)
        return hashlib.sha256(f"{config} {TextSource(self.path / WEIGHTS).sha256()}".encode()).hexdigest()

    def pieces(self, word: str) -> list[int]:
        """Return the ids of a word's pieces; none for what it cannot write."""
        ids: list[int] = self.library.encode(word, add_special_tokens=False).ids
        return [] if self.unknown in ids else ids

    def pieces_of(self, tokenizer: Tokenizer) -> NDArray[np.int32]:
        """Return the pieces of each symbol of a dictionary, (D, MOST_PIECES), -1 where there are no more.

        A sentence end is [SEP]; `<unk>`, and a word that has no pieces, is [UNK].
        """
        table = np.full((tokenizer.size, MOST_PIECES), -1, dtype=np.int32)
        for id in range(tokenizer.size):
            ids = [] if id == tokenizer.unk_id else self.pieces(tokenizer.token(id))
            ids = [self.end] if id == tokenizer.end_id else ids or [self.unknown]
            table[id, : len(ids[:MOST_PIECES])] = ids[:MOST_PIECES]
        return table

    def word_vectors(self, words: Iterable[str] | None = None) -> tuple[list[str], NDArray[np.float32]]:
        """Return words and for each the mean of the vectors that go into BERT for its pieces, (N, E').

        None asks for all pieces that stand at the beginning of a word. What has no pieces, `</s>` and `<unk>` are left
        out.
        """
        if words is None:
            words = (piece for piece in self.library.get_vocab() if piece[0] != "[" and piece[:2] != "##")
        pieces = {word: self.pieces(word) for word in words if word not in (END, UNK)}
        found = [word for word, ids in sorted(pieces.items()) if ids]
        rows = self._tensor(self.table)
        matrix = np.empty((len(found), rows.shape[1]), dtype=np.float32)
        for place, word in enumerate(found):
            matrix[place] = rows[pieces[word]].mean(axis=0)
        return found, matrix

    @property
    def row_size(self) -> int:
        """E', the numbers of a vector that goes in; those that come out are `size`."""
        with safe_open(self.path / WEIGHTS, framework="np") as stream:
            return int(stream.get_slice(self.table).get_shape()[1])

    def _tensor(self, name: str) -> NDArray[np.float32]:
        try:
            with safe_open(self.path / WEIGHTS, framework="np") as stream:
                return np.asarray(stream.get_tensor(name), dtype=np.float32)
        except (SafetensorError, OSError, TypeError, ValueError) as error:  # bf16 is unknown to NumPy
            raise ModelError(
                f"{self.path / WEIGHTS}: {name} cannot be read: {error}", hint="save it in fp32"
            ) from error


def is_bert(path: str | Path) -> bool:
    """Return whether a path, where a file of vectors could be, names the folder of a model."""
    return (Path(path) / CONFIG).is_file()


def open_bert(path: str | Path) -> BertFolder:
    """Look into a folder of a BERT.

    Raises
    ------
    ModelError
        for a folder that is missing, lacks a file, has one cut short, or holds another kind of model.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise ModelError(f"{folder} should be the folder of a BERT, and {what}", hint=_HINT)
    config = _read_json(folder / CONFIG)
    if config.get("model_type") not in KINDS:
        raise ModelError(
            f"{folder} holds no BERT: its config.json says model_type {config.get('model_type')!r}",
            hint=f"known: {', '.join(KINDS)}",
        )
    size: Any = config.get("hidden_size", config.get("dim"))
    longest: Any = config.get("max_position_embeddings", 512)
    sane = isinstance(size, int) and isinstance(longest, int) and size > 0 and longest >= MOST_PIECES + 2
    if not sane:
        raise ModelError(
            f"{folder / CONFIG} gives no sizes that can be: {size!r} and {longest!r}", hint="copy it again"
        )
    table = _check_weights(folder)
    library = _read_tokenizer(folder)
    begin, end, unknown = (library.token_to_id(mark) for mark in ("[CLS]", "[SEP]", "[UNK]"))
    if begin is None or end is None or unknown is None:
        raise ModelError(f"the tokenizer of {folder} has no [CLS], [SEP] or [UNK]", hint=_HINT)
    return BertFolder(folder, int(size), longest, begin, end, unknown, library, table)


def _missing(folder: Path, name: str) -> ModelError:
    return ModelError(f"{folder} has no {name}, which the folder of a BERT has", hint=_HINT)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _missing(path.parent, path.name) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}", hint="the file is damaged; copy it again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object", hint="the file is damaged; copy it again")
    return value


def _check_weights(folder: Path) -> str:
    """Return the name of the matrix with a row for each piece, or raise `ModelError`."""
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="np") as stream:
            names = [name for name in stream.keys() if name.endswith("word_embeddings.weight")]  # noqa: SIM118
    except FileNotFoundError as error:
        raise _missing(folder, WEIGHTS) from error
    except (SafetensorError, OSError) as error:
        hint = "the file is cut short, or no safetensors file at all; copy it again"
        raise ModelError(f"{path} cannot be read: {error}", hint=hint) from error
    if len(names) != 1:
        raise ModelError(f"{path} has no matrix word_embeddings.weight, as a BERT has", hint=_HINT)
    return str(names[0])


def _read_tokenizer(folder: Path) -> hf.Tokenizer:
    path = folder / TOKENIZER
    try:
        if path.exists():
            library = hf.Tokenizer.from_file(str(path))
        elif (path := folder / VOCABULARY).exists():
            more = folder / "tokenizer_config.json"
            lower = bool(_read_json(more).get("do_lower_case", True)) if more.exists() else True
            library = hf.BertWordPieceTokenizer(str(path), lowercase=lower)._tokenizer
        else:
            raise _missing(folder, f"{TOKENIZER} and no {VOCABULARY}")
    except ModelError:
        raise
    except Exception as error:  # the library raises Exception itself
        raise ModelError(f"{path} is broken: {error}", hint="copy it again") from error
    library.no_truncation()
    library.no_padding()
    return library
