"""Words: what stands between spaces, with punctuation marks apart if so wished."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Self

import numpy as np
import tokenizers as hf
from tokenizers import models, normalizers, pre_tokenizers

from elman.config import TextSettings
from elman.errors import TextError, UsageError
from elman.text.reading import TextSource
from elman.text.symbols import END, UNK, Block, Tokenizer, check_size, cut_sentences, vocabulary_list

# Sentence marks of other tools. They are never words of the dictionary: one symbol, </s>, bounds our sentences, and a
# text cannot end a sentence by writing it. (ARPA files, too, keep both for themselves.)
RESERVED = ("<s>", END)
_SYMBOLS = frozenset("$+<=>^`|~")  # ASCII marks that Unicode does not count as punctuation
_LINE_END = ""  # stands for the sentence end in a list of words, where no word can be empty
_SPACES = r"\s\x1c-\x1f"  # what str.split() takes for spaces, in the library's regular expressions
_MEMO = 1 << 18  # distinct words whose parts are remembered


class WordTokenizer(Tokenizer):
    """Words by falling frequency, after `</s>` (0) and `<unk>` (1)."""

    unit = "word"
    end = END
    unk_id = 1

    def __init__(self, words: Sequence[str], settings: TextSettings, *, unk_trained: bool) -> None:
        self.settings = settings
        self.unk_trained = unk_trained
        self._tokens = [END, UNK, *words]
        self._ids = {token: id for id, token in enumerate(self._tokens)}
        self._lookup = _Lookup(self._ids, size=len(self._tokens))
        del self._lookup[END]
        if not unk_trained:
            del self._lookup[UNK]
        self._lookup[_LINE_END] = self.end_id

    @classmethod
    def train(cls, lines: Iterable[str], settings: TextSettings) -> Self:
        """Count words and keep the most frequent, or those of the vocabulary file; ties: first seen first."""
        check_size(settings, 3)
        listed = None if settings.vocabulary is None else _read_vocabulary(settings)
        split = _Splitter(settings)
        counts: Counter[str] = Counter()
        for line in lines:
            counts.update(split(line))
        seen_unk = counts.pop(UNK, 0) > 0
        kept = _choose(counts, settings) if listed is None else sorted(listed, key=lambda word: -counts[word])
        dropped = counts.keys() - set(kept)
        return cls(kept, settings, unk_trained=seen_unk or bool(dropped))

    @classmethod
    def from_library(cls, library: hf.Tokenizer, settings: TextSettings, unk_trained: bool) -> Self:
        """Build the tokenizer from the library's `WordLevel` dictionary."""
        tokens = vocabulary_list(library)
        if tokens[:2] != [END, UNK]:
            raise ValueError(f"its first symbols are not {END} and {UNK}")
        return cls(tokens[2:], settings, unk_trained=unk_trained)

    @property
    def size(self) -> int:
        """The dictionary size D."""
        return len(self._tokens)

    @cached_property
    def library(self) -> hf.Tokenizer:
        """The same tokenizer in the `tokenizers` library."""
        library = hf.Tokenizer(models.WordLevel(self._ids, UNK))
        reserved = normalizers.Replace(hf.Regex(rf"(?<![^{_SPACES}])</?s>(?![^{_SPACES}])"), UNK)
        library.normalizer = normalizers.Sequence([normalizers.Lowercase()] * self.settings.lowercase + [reserved])
        spaces = pre_tokenizers.Split(hf.Regex(f"[{_SPACES}]+"), "removed")
        library.pre_tokenizer = spaces
        if self.settings.split_punctuation:
            marks = pre_tokenizers.Split(hf.Regex(rf"{UNK}|[\p{{P}}{''.join(sorted(_SYMBOLS))}]"), "isolated")
            library.pre_tokenizer = pre_tokenizers.Sequence([spaces, marks])
        return library

    @cached_property
    def _split(self) -> _Splitter:
        return _Splitter(self.settings)

    def pieces(self, text: str) -> list[str]:
        """Return the words of `text` as the dictionary would write them, known or not."""
        return self._split(text)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words of `text`, D for those outside the dictionary."""
        return [self._lookup[word] for word in self._split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """Join words with spaces; a sentence end becomes a line end, an unknown word `<unk>`."""
        sentences = cut_sentences(ids, self.end_id)
        return "\n".join(" ".join(UNK if id == self.size else self._tokens[id] for id in line) for line in sentences)

    def token(self, id: int) -> str:
        """Return the word `id`."""
        return self._tokens[id]

    def id(self, token: str) -> int | None:
        """Return the id of a word, `</s>` and `<unk>` included, or None."""
        return self._ids.get(token)

    def encode_block(self, lines: Sequence[str]) -> Block:
        """Encode and count lines, skipping blank ones; a word has a space or a line end after it."""
        words: list[str] = []
        sentences = 0
        for line in map(self._split, lines):
            if line:
                words += line
                words.append(_LINE_END)
                sentences += 1
        ids = np.fromiter(map(self._lookup.__getitem__, words), dtype=np.uint32, count=len(words))
        oovs = np.flatnonzero(ids == self.size)
        return Block(
            ids=ids,
            lines=len(lines),
            sentences=sentences,
            words=len(words) - sentences,
            characters=sum(map(len, words)) + len(words) - sentences,
            oovs=len(oovs),
            oov_characters=sum(len(words[position]) + 1 for position in oovs),
        )


class _Lookup(dict[str, int]):
    """From words to ids; a word that is missing has the id D. A dictionary's own way to do it is the fastest."""

    def __init__(self, ids: dict[str, int], *, size: int) -> None:
        super().__init__(ids)
        self._oov = size

    def __missing__(self, word: str) -> int:
        return self._oov


class _Parts(dict[str, list[str]]):
    """From what stands between spaces to words and punctuation marks, remembered for the most part."""

    def __missing__(self, chunk: str) -> list[str]:
        parts = split_marks(chunk)
        if len(self) < _MEMO:
            self[chunk] = parts
        return parts


class _Splitter:
    """From a line to its words, as the settings say."""

    def __init__(self, settings: TextSettings) -> None:
        self._lowercase = settings.lowercase
        self._parts = _Parts() if settings.split_punctuation else None

    def __call__(self, line: str) -> list[str]:
        chunks = (lower(line) if self._lowercase else line).split()
        if self._parts is None:
            return chunks
        parts = self._parts
        return [word for chunk in chunks for word in parts[chunk]]


def lower(text: str) -> str:
    """Lower-case each character for itself, as the `tokenizers` library does (so a final sigma is like any other)."""
    return "".join(map(str.lower, text)) if "Σ" in text else text.lower()


def is_mark(character: str) -> bool:
    """Whether `character` is a punctuation mark: of a Unicode class P, or one of the ASCII marks ``$+<=>^`|~``."""
    return character in _SYMBOLS or unicodedata.category(character).startswith("P")


def split_marks(chunk: str) -> list[str]:
    """Cut a chunk of text so that every mark stands alone; `<unk>` anywhere, and a lone `<s>` or `</s>`, stay whole.

    >>> split_marks("(<unk>'s)")
    ['(', '<unk>', "'", 's', ')']
    """
    if chunk.isalnum() or chunk in RESERVED:
        return [chunk]
    words: list[str] = []
    for part in re.split(f"({UNK})", chunk):
        if part == UNK:
            words.append(part)
            continue
        spaced = "".join(f" {character} " if is_mark(character) else character for character in part)
        words += spaced.split()
    return words


def _choose(counts: Counter[str], settings: TextSettings) -> list[str]:
    """Return the words to keep, the most frequent first."""
    room = None if settings.vocab_size is None else settings.vocab_size - 2
    frequent = [word for word, count in counts.most_common() if count >= settings.min_count and word not in RESERVED]
    return frequent[:room]


def _read_vocabulary(settings: TextSettings) -> list[str]:
    """Read a file with one word a line; the special symbols may be listed."""
    if settings.vocab_size is not None or settings.min_count != 1:
        raise UsageError(
            "a vocabulary file already says which words there are", hint="leave vocab_size and min_count unset with it"
        )
    source = TextSource(str(settings.vocabulary))
    words: dict[str, None] = {}
    for number, line in enumerate(source.lines(), start=1):
        found = (lower(line) if settings.lowercase else line).split()
        if len(found) > 1:
            raise TextError(
                f"{source.name}, line {number}: {line.strip()!r} is more than one word", hint="one word a line"
            )
        words.update(dict.fromkeys(found))
    kept = [word for word in words if word not in (*RESERVED, UNK)]
    if not kept:
        raise TextError(f"{source.name} lists no word", hint="give one word a line")
    return kept
