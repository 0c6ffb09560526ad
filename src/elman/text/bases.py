"""Bases of DNA: four symbols, whichever case they are written in, and the letters that say "one of these"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import tokenizers as hf
from numpy.typing import NDArray
from tokenizers import decoders, models, normalizers, pre_tokenizers

from elman.config import TextSettings
from elman.errors import TextError
from elman.text.dna import BASES, CODE_OF_BYTE, LETTERS, NO_BASE, foreign_hint
from elman.text.labelled import Labelled
from elman.text.symbols import UNK, Block, Ids, Tokenizer, refuse, vocabulary_list

END = "\n"
TOKENS = (*LETTERS[:BASES], UNK, END)


class DnaTokenizer(Tokenizer):
    r"""The bases A, C, G, T (0 to 3, U is T) in either case, `<unk>` (4) for all other letters, and "\n" (5).

    The complement of base b is 3 - b.
    """

    unit = "dna"
    end = END
    end_id = 5
    unk_id = 4
    blank_lines = True

    def __init__(self, settings: TextSettings, *, unk_trained: bool) -> None:
        self.settings = settings
        self.unk_trained = unk_trained

    @classmethod
    def train(cls, lines: Iterable[str], settings: TextSettings) -> Self:
        """Look whether there is another letter than a base; the dictionary is always the same."""
        refuse(settings, "lowercase", "split_punctuation", "vocabulary", "min_count", "vocab_size")
        other = False
        for line in lines:
            other = other or bool((_codes(line) == len(TOKENS)).any())
        return cls(settings, unk_trained=other)

    @classmethod
    def from_library(cls, library: hf.Tokenizer, settings: TextSettings, unk_trained: bool) -> Self:
        """Check that the library's dictionary is the bases."""
        if tuple(vocabulary_list(library)) != TOKENS:
            raise ValueError("its symbols are not A, C, G, T, <unk> and a line end")
        return cls(settings, unk_trained=unk_trained)

    @property
    def size(self) -> int:
        """The dictionary size D: 6."""
        return len(TOKENS)

    @cached_property
    def library(self) -> hf.Tokenizer:
        """The same tokenizer in the `tokenizers` library."""
        library = hf.Tokenizer(models.WordLevel({token: id for id, token in enumerate(TOKENS)}, UNK))
        upper: list[Any] = [normalizers.Replace(letter, base) for letter, base in zip("acgtUu", "ACGTTT", strict=True)]
        library.normalizer = normalizers.Sequence(upper)
        library.pre_tokenizer = pre_tokenizers.Split(hf.Regex(r"[\s\S]"), "isolated")
        library.decoder = decoders.Fuse()
        return library

    def encode(self, text: str) -> list[int]:
        """Return the bases of `text`, D for every other letter."""
        ids: list[int] = _codes(text).tolist()
        return ids

    def pieces(self, text: str) -> list[str]:
        """Return the letters of `text` as they are."""
        return list(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Join bases, in upper case; another letter becomes `<unk>`."""
        return "".join(UNK if id == self.size else TOKENS[id] for id in ids)

    def token(self, id: int) -> str:
        """Return the base `id`."""
        return str(TOKENS[id])

    def id(self, token: str) -> int | None:
        """Return the id of a base, in either case, or None."""
        written = token.upper() if token.upper() in TOKENS else token
        return TOKENS.index(written) if written in TOKENS else None

    def encode_block(self, lines: Sequence[str]) -> Block:
        """Encode and count lines, blank ones included; each line is one word."""
        text = "\n".join([*lines, ""])
        ids = _codes(text)
        others = int(np.count_nonzero(ids == self.size))
        return Block(
            ids=ids,
            lines=len(lines),
            sentences=len(lines),
            words=len(text.split()),
            characters=len(text),
            oovs=others,
            oov_characters=others,
        )


def _table() -> Ids:
    codes = np.frombuffer(CODE_OF_BYTE, dtype=np.uint8)
    table = np.where(codes < BASES, codes, len(TOKENS)).astype(np.uint32)
    table[ord(END)] = DnaTokenizer.end_id
    return table


_TABLE = _table()


def _codes(text: str) -> Ids:
    """Return the id of each letter; what is not ASCII is "?" first, which is no base."""
    return _TABLE[np.frombuffer(text.encode("ascii", errors="replace"), dtype=np.uint8)]


def reverse_complement(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the other strand of ids: from the end to the beginning, 3 - b for a base, any other id as it is.

    >>> reverse_complement(np.array([0, 1, 1, 4])).tolist()
    [4, 2, 2, 3]
    """
    other = ids[::-1]
    return np.where(other < BASES, BASES - 1 - other, other)


def ambiguous(data: Labelled) -> Counter[str]:
    """Count the letters of sequences that stand for several bases, in upper case.

    Raises
    ------
    TextError
        for the first letter that is not of the IUPAC code, such as those of a protein.
    """
    counts: Counter[str] = Counter()
    for example in data.examples:
        codes = example.sequence.encode("ascii", errors="replace").translate(CODE_OF_BYTE)
        if (place := codes.find(NO_BASE)) >= 0:
            letter = example.sequence[place]
            raise TextError(
                f"{data.name}, line {example.line}: letter {place + 1} of the sequence is {letter!r}, which is no base",
                hint=foreign_hint(min(ord(letter), 127)),
            )
        counts.update(LETTERS[code] for code in codes if code >= BASES)
    return counts
