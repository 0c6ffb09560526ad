"""Characters and bytes: dictionaries without a notion of words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Self

import numpy as np
import tokenizers as hf
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers

from elman.config import TextSettings
from elman.errors import UsageError
from elman.text.reading import CHUNK, TextSource
from elman.text.symbols import UNK, Block, Ids, Tokenizer, check_size, refuse, vocabulary_list

_CODE_POINTS = 0x110000


class CharTokenizer(Tokenizer):
    r"""Unicode characters by falling frequency, after the line end "\n" (0) and `<unk>` (1)."""

    unit = "char"
    end = "\n"
    unk_id = 1
    blank_lines = True

    def __init__(self, characters: Sequence[str], settings: TextSettings, *, unk_trained: bool) -> None:
        self.settings = settings
        self.unk_trained = unk_trained
        self._tokens = [self.end, UNK, *characters]
        self._ids = {token: id for id, token in enumerate(self._tokens)}

    @classmethod
    def train(cls, lines: Iterable[str], settings: TextSettings) -> Self:
        """Count characters and keep the most frequent; ties: first seen first."""
        refuse(settings, "lowercase", "split_punctuation", "vocabulary")
        check_size(settings, 3)
        counts = _count(lines)
        ordered = sorted(counts, key=lambda character: -counts[character])
        kept = [character for character in ordered if counts[character] >= settings.min_count]
        if settings.vocab_size is not None:
            kept = kept[: settings.vocab_size - 2]
        return cls(kept, settings, unk_trained=len(kept) < len(counts))

    @classmethod
    def from_library(cls, library: hf.Tokenizer, settings: TextSettings, unk_trained: bool) -> Self:
        """Build the tokenizer from the library's `WordLevel` dictionary of single characters."""
        tokens = vocabulary_list(library)
        if tokens[:2] != [cls.end, UNK] or any(len(token) != 1 for token in tokens[2:]):
            raise ValueError("its symbols are not a line end, <unk> and single characters")
        return cls(tokens[2:], settings, unk_trained=unk_trained)

    @property
    def size(self) -> int:
        """The dictionary size D."""
        return len(self._tokens)

    @cached_property
    def library(self) -> hf.Tokenizer:
        """The same tokenizer in the `tokenizers` library."""
        library = hf.Tokenizer(models.WordLevel(self._ids, UNK))
        library.pre_tokenizer = pre_tokenizers.Split(hf.Regex(r"[\s\S]"), "isolated")
        library.decoder = decoders.Fuse()
        return library

    @cached_property
    def _lookup(self) -> Ids:
        """The id of every code point."""
        table = np.full(_CODE_POINTS, self.size, dtype=np.uint32)
        table[[ord(token) for token in self._tokens if token != UNK]] = [
            id for id, token in enumerate(self._tokens) if token != UNK
        ]
        return table

    def encode(self, text: str) -> list[int]:
        """Return the ids of the characters of `text`, D for those outside the dictionary."""
        ids: list[int] = self._lookup[_code_points(text)].tolist()
        return ids

    def pieces(self, text: str) -> list[str]:
        """Return the characters of `text`, known or not."""
        return list(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Join characters; an unknown one becomes `<unk>`."""
        return "".join(UNK if id == self.size else self._tokens[id] for id in ids)

    def token(self, id: int) -> str:
        """Return the character `id`."""
        return self._tokens[id]

    def id(self, token: str) -> int | None:
        """Return the id of a character, or None."""
        return self._ids.get(token)

    def encode_block(self, lines: Sequence[str]) -> Block:
        """Encode and count lines, blank ones included; words are what stands between spaces."""
        text = "\n".join([*lines, ""])
        ids = self._lookup[_code_points(text)]
        oovs = int(np.count_nonzero(ids == self.size))
        return Block(
            ids=ids,
            lines=len(lines),
            sentences=len(lines),
            words=len(text.split()),
            characters=len(text),
            oovs=oovs,
            oov_characters=oovs,
        )


class ByteTokenizer(Tokenizer):
    """The 256 bytes, each its own id; byte 10, the line end, is the sentence end."""

    unit = "byte"
    end = "\n"
    end_id = 10
    blank_lines = True

    def __init__(self, settings: TextSettings) -> None:
        self.settings = settings

    @classmethod
    def train(cls, lines: Iterable[str], settings: TextSettings) -> Self:
        """Read nothing: there are always 256 bytes."""
        refuse(settings, "lowercase", "split_punctuation", "vocabulary", "min_count")
        if settings.vocab_size not in (None, 256):
            raise UsageError(
                f"vocab_size = {settings.vocab_size}, but there are 256 bytes", hint="leave vocab_size unset"
            )
        return cls(settings)

    @classmethod
    def from_library(cls, library: hf.Tokenizer, settings: TextSettings, unk_trained: bool) -> Self:
        """Check that the library's dictionary is the 256 bytes."""
        if library.get_vocab() != _byte_alphabet():
            raise ValueError("its symbols are not the 256 bytes")
        return cls(settings)

    @property
    def size(self) -> int:
        """The dictionary size D: 256."""
        return 256

    @cached_property
    def library(self) -> hf.Tokenizer:
        """The same tokenizer in the `tokenizers` library: byte-level BPE without a merge."""
        library = hf.Tokenizer(models.BPE(_byte_alphabet(), []))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.decoder = decoders.ByteLevel()
        return library

    def encode(self, text: str | bytes) -> list[int]:
        """Return the bytes of `text`, in UTF-8."""
        return list(text if isinstance(text, bytes) else _utf8(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Read bytes as UTF-8; what is not becomes U+FFFD."""
        return bytes(ids).decode("utf-8", errors="replace")

    def token(self, id: int) -> str:
        """Return an ASCII character as itself, any other byte as `<0xNN>`."""
        if not 0 <= id < 256:
            raise IndexError(f"{id} is not a byte")
        return chr(id) if id < 128 else f"<0x{id:02X}>"

    def id(self, token: str) -> int | None:
        """Return the byte that `token` writes, or None."""
        if len(token) == 1 and ord(token) < 128:
            return ord(token)
        return _HIGH_BYTES.get(token)

    def encode_block(self, lines: Sequence[str | bytes]) -> Block:
        """Encode and count lines, blank ones included; words stand between ASCII spaces, characters are UTF-8's."""
        data = b"\n".join([*(line if isinstance(line, bytes) else _utf8(line) for line in lines), b""])
        ids = np.frombuffer(data, dtype=np.uint8)
        return Block(
            ids=ids.astype(np.uint32),
            lines=len(lines),
            sentences=len(lines),
            words=len(data.split()),
            characters=int(np.count_nonzero((ids & 0xC0) != 0x80)),  # all but continuation bytes
        )

    def blocks(self, source: TextSource) -> Iterator[Block]:
        """Encode a text, or any file, as the bytes that it is."""
        return map(self.encode_block, source.raw_blocks())


_HIGH_BYTES = {f"<0x{byte:02X}>": byte for byte in range(128, 256)}


def _utf8(text: str) -> bytes:
    # Bytes of the command line that are no UTF-8 arrive as surrogates; they are given back as they were.
    return text.encode("utf-8", errors="surrogateescape")


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="<u4")


def _count(lines: Iterable[str]) -> dict[str, int]:
    """Count characters, in the order in which they are first seen."""
    totals = np.zeros(_CODE_POINTS, dtype=np.int64)
    seen: dict[str, None] = {}
    for text in _gather(lines):
        codes = _code_points(text)
        here = np.bincount(codes, minlength=1)
        new = np.flatnonzero((here > 0) & (totals[: len(here)] == 0))
        seen.update(dict.fromkeys(sorted(map(chr, new), key=text.index)))
        totals[: len(here)] += here
    return {character: int(totals[ord(character)]) for character in seen}


def _gather(lines: Iterable[str]) -> Iterator[str]:
    """Join lines, without their ends, to texts of about a megabyte."""
    held: list[str] = []
    length = 0
    for line in lines:
        held.append(line)
        length += len(line)
        if length >= CHUNK:
            yield "".join(held)
            held, length = [], 0
    yield "".join(held)


def _byte_alphabet() -> dict[str, int]:
    """Return how byte-level BPE writes each byte: printable ones as themselves, others from U+0100."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
