"""What every tokenizer is: a dictionary of D symbols, and the way from text to their ids and back."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tokenizers as hf
from numpy.typing import NDArray

from elman.config import TextSettings
from elman.errors import UsageError
from elman.files import write_text
from elman.text.reading import TextSource

FILE_NAME = "tokenizer.json"
END = "</s>"
UNK = "<unk>"
Ids = NDArray[np.uint32]


@dataclass(frozen=True)
class Block:
    """Some lines as ids, each line with its sentence end, and what was counted on the way (see `Corpus`)."""

    ids: Ids
    lines: int
    sentences: int
    words: int
    characters: int
    oovs: int = 0
    oov_characters: int = 0


class Tokenizer(ABC):
    """A dictionary of D symbols.

    `encode` and its kin give the id D, one past the last, for a symbol outside the dictionary, so that it cannot be
    taken for a literal `<unk>`. A literal `<unk>` is the symbol of that name if training saw it (`unk_trained`), and
    is outside the dictionary otherwise.
    """

    unit: ClassVar[str]
    end: ClassVar[str]
    end_id: ClassVar[int] = 0
    unk_id: ClassVar[int | None] = None
    blank_lines: ClassVar[bool] = False
    """Whether a blank line is a sentence, of nothing but its end; otherwise it is skipped."""

    settings: TextSettings
    unk_trained: bool = False

    @classmethod
    @abstractmethod
    def train(cls, lines: Iterable[str], settings: TextSettings) -> Self:
        """Build the dictionary from lines of training text, read once, in a stream.

        Raises
        ------
        UsageError
            for settings that this unit cannot follow.
        """

    @classmethod
    @abstractmethod
    def from_library(cls, library: hf.Tokenizer, settings: TextSettings, unk_trained: bool) -> Self:
        """Build the tokenizer from what `tokenizers` read; `ValueError` says what is wrong with it."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The dictionary size D."""

    @property
    @abstractmethod
    def library(self) -> hf.Tokenizer:
        """The same tokenizer in the `tokenizers` library, for other tools; it has `<unk>` where `encode` has D."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, without a sentence end."""

    def pieces(self, text: str) -> list[str]:
        """Return what each id of `encode(text)` stands for, in the text's own writing, known or not."""
        return [self.token(id) for id in self.encode(text)]

    @abstractmethod
    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`; a sentence end becomes a line end, an unknown symbol `<unk>`."""

    @abstractmethod
    def token(self, id: int) -> str:
        """Return how the symbol `id` is written, or raise `IndexError`."""

    @abstractmethod
    def id(self, token: str) -> int | None:
        """Return the id of a symbol as `token` writes it, or None if the dictionary lacks it."""

    @abstractmethod
    def encode_block(self, lines: Sequence[str]) -> Block:
        """Encode and count lines of a corpus; words and BPE skip blank lines."""

    def encode_line(self, line: str) -> Ids:
        """Return the ids of a line and of its sentence end."""
        return np.array([*self.encode(line), self.end_id], dtype=np.uint32)

    def blocks(self, source: TextSource) -> Iterator[Block]:
        """Encode a text in a stream, about a megabyte at a time."""
        return map(self.encode_block, source.blocks())

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides which ids a text gets."""
        parts = [self.meta(), [self.token(id) for id in range(self.size)], *self._fingerprint_extra()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _fingerprint_extra(self) -> list[Any]:
        return []

    def meta(self) -> dict[str, Any]:
        """Return what `load_tokenizer` needs beside `tokenizer.json`, as plain JSON values."""
        return {
            "unit": self.unit,
            "size": self.size,
            "unk_trained": self.unk_trained,
            "settings": self.settings.model_dump(),
        }

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, in the format of the `tokenizers` library, into `folder`."""
        write_text(folder / FILE_NAME, self.library.to_str(pretty=True))

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"{type(self).__name__}(D={self.size}, unk_trained={self.unk_trained})"


def check_size(settings: TextSettings, least: int) -> None:
    """Refuse a `vocab_size` that is below `least`."""
    if settings.vocab_size is not None and settings.vocab_size < least:
        raise UsageError(
            f"vocab_size = {settings.vocab_size} is too small for unit={settings.unit}",
            hint=f"the least is {least}, which counts the special symbols",
        )


def refuse(settings: TextSettings, *names: str) -> None:
    """Refuse settings that mean nothing to this unit, if they are set."""
    for name in names:
        value = getattr(settings, name)
        if value != TextSettings.model_fields[name].default:
            raise UsageError(
                f"{name} = {value!r} means nothing for unit={settings.unit}", hint=f"leave {name} unset, or change unit"
            )


def vocabulary_list(library: hf.Tokenizer) -> list[str]:
    """Return the symbols of a library tokenizer by id, or raise `ValueError` where ids are not 0 .. D-1."""
    vocabulary = library.get_vocab()
    symbols = sorted(vocabulary, key=lambda symbol: vocabulary[symbol])
    if [vocabulary[symbol] for symbol in symbols] != list(range(len(symbols))):
        raise ValueError("its ids are not 0, 1, 2, ...")
    return symbols


def cut_sentences(ids: Iterable[int], end_id: int) -> list[list[int]]:
    """Cut ids at the sentence ends, which are dropped.

    >>> cut_sentences([5, 6, 0, 7], 0)
    [[5, 6], [7]]
    """
    sentences: list[list[int]] = [[]]
    for id in ids:
        if id == end_id:
            sentences.append([])
        else:
            sentences[-1].append(id)
    return sentences
