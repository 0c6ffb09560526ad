"""Subwords: byte-level BPE, trained by the `tokenizers` library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from elman.config import TextSettings
from elman.text.symbols import END, Block, Tokenizer, check_size, cut_sentences, refuse, vocabulary_list

DEFAULT_SIZE = 8000


class BPETokenizer(Tokenizer):
    """Byte-level BPE: `</s>` (0), the 256 bytes, then merges; any text can be written, so nothing is unknown.

    Source: R. Sennrich et al., "Neural machine translation of rare words with subword units" (ACL 2016), over the byte
    alphabet of GPT-2. `</s>` is in the dictionary but no text encodes to it, as the pre-tokenizer cuts within it.
    """

    unit = "bpe"
    end = END

    def __init__(self, library: hf.Tokenizer, settings: TextSettings) -> None:
        self.settings = settings
        self._library = library
        self._tokens = vocabulary_list(library)
        self._ids = {token: id for id, token in enumerate(self._tokens)}

    @classmethod
    def train(cls, lines: Iterable[str], settings: TextSettings) -> Self:
        """Learn merges up to `vocab_size` symbols (8,000 if unset); fewer if the text has no more pairs to merge."""
        refuse(settings, "split_punctuation", "vocabulary", "min_count")
        check_size(settings, 256 + 2)
        trainer = trainers.BpeTrainer(
            vocab_size=settings.vocab_size or DEFAULT_SIZE,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        learner = _library(models.BPE(), settings)
        learner.train_from_iterator(lines, trainer)
        model = json.loads(learner.to_str())["model"]
        # Built anew, without the trainer's special token, which the library would find in texts.
        return cls(_library(_model(model), settings), settings)

    @classmethod
    def from_library(cls, library: hf.Tokenizer, settings: TextSettings, unk_trained: bool) -> Self:
        """Take the library's tokenizer as it is, once its dictionary is found to be ours."""
        if library.token_to_id(END) != 0:
            raise ValueError(f"its first symbol is not {END}")
        if not set(pre_tokenizers.ByteLevel.alphabet()) <= library.get_vocab().keys():
            raise ValueError("it is not byte-level BPE: bytes are missing")
        return cls(library, settings)

    @property
    def size(self) -> int:
        """The dictionary size D."""
        return len(self._tokens)

    @property
    def library(self) -> hf.Tokenizer:
        """The tokenizer of the `tokenizers` library that does the work."""
        return self._library

    def _fingerprint_extra(self) -> list[Any]:
        return [self._library.to_str()]  # the merges

    def encode(self, text: str) -> list[int]:
        """Return the ids of the subwords of `text`."""
        clean = text.encode("utf-8", errors="replace").decode("utf-8")  # the library refuses lone surrogates
        ids: list[int] = self._library.encode(clean, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Join subwords; a sentence end becomes a line end, bytes that are not UTF-8 U+FFFD."""
        sentences = cut_sentences(ids, self.end_id)
        return "\n".join(self._library.decode(line, skip_special_tokens=False) for line in sentences)

    def token(self, id: int) -> str:
        """Return the subword `id` in the byte alphabet, where `Ġ` is a space; `decode([id])` gives its text."""
        return self._tokens[id]

    def id(self, token: str) -> int | None:
        """Return the id of a subword as `token` writes it, or None."""
        return self._ids.get(token)

    def encode_block(self, lines: Sequence[str]) -> Block:
        """Encode and count lines, skipping blank ones; words are what stands between spaces."""
        kept = [line for line in lines if line and not line.isspace()]
        ids: list[int] = []
        for encoding in self._library.encode_batch_fast(kept, add_special_tokens=False):
            ids += encoding.ids
            ids.append(self.end_id)
        return Block(
            ids=np.array(ids, dtype=np.uint32),
            lines=len(lines),
            sentences=len(kept),
            words=sum(len(line.split()) for line in kept),
            characters=sum(map(len, kept)) + len(kept),
        )


def _library(model: models.BPE, settings: TextSettings) -> hf.Tokenizer:
    library = hf.Tokenizer(model)
    if settings.lowercase:
        library.normalizer = normalizers.Lowercase()
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    library.decoder = decoders.ByteLevel()
    return library


def _model(model: dict[str, Any]) -> models.BPE:
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    return models.BPE(model["vocab"], merges)
