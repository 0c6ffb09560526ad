"""Rows of U that begin as word vectors made elsewhere, and stay so where they are frozen."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from elman.config import LearnSettings, Settings
from elman.errors import MissingExtra, TextError, UsageError
from elman.learn.steps import symbol_counts
from elman.network.model import RecurrentNetwork
from elman.text.bert import is_bert, open_bert
from elman.text.corpus import Corpus
from elman.text.reading import TextSource
from elman.text.symbols import Tokenizer
from elman.text.vectors import WordVectors, file_of, read_vectors, vector_size


def choose_embedding(settings: Settings) -> dict[str, Any]:
    """Return what the vectors decide of the network: its embedding is E where a row of U has another size.

    Raises
    ------
    UsageError
        for a network that cannot begin with them.
    TextError
        for a file that cannot be read.
    """
    learn, network = settings.learn, settings.network
    if learn.vectors is None:
        return {}
    if network.encoder != "one-hot":
        raise UsageError(
            f"learn.vectors is for words one by one, and network.encoder is {network.encoder!r}",
            hint="leave network.encoder as it is (one-hot), or learn.vectors unset",
        )
    if learn.freeze_vectors and network.tied:
        raise UsageError(
            "learn.freeze_vectors cannot be had with network.tied: V = U^T has to learn",
            hint="leave one of them out",
        )
    if learn.vectors == "-" or not TextSource(file_of(learn.vectors)).is_file:
        raise UsageError(f"learn.vectors = {learn.vectors!r} is read more than once", hint="give a file, not a pipe")
    if is_bert(learn.vectors):
        check_unit(settings)
    size = vector_size(learn.vectors)
    row = _row_size(settings)
    if row == size:
        return {}
    if network.embedding is not None:
        raise UsageError(
            f"network.embedding is {network.embedding}, and the vectors of {learn.vectors} have {size} numbers",
            hint="leave network.embedding unset, and it will be that",
        )
    if learn.regime == "online":
        raise UsageError(
            f"regime online has no layer between U and the states: H is {row}, and {learn.vectors} has {size} numbers",
            hint=f"choose --hidden {size}, or --regime running",
        )
    return {"network.embedding": size}


def check_unit(settings: Settings) -> None:
    """Raise `UsageError` where a BERT is to read what are no words."""
    if settings.text.unit != "word":
        raise UsageError(
            f"a BERT has vectors of words, and text.unit is {settings.text.unit!r}",
            hint="choose --unit word, or another --input",
        )


def choose_bert(settings: Settings) -> dict[str, Any]:
    """Return what a BERT that reads along decides of the network: how many numbers its vectors have.

    Raises
    ------
    UsageError
        for a unit other than words, or no folder.
    ModelError
        for a folder that holds no BERT.
    MissingExtra
        where transformers is not installed.
    """
    network = settings.network
    if network.encoder != "bert":
        return {}
    if network.bert is None:
        raise UsageError("network.encoder bert needs the folder of a BERT", hint="--input bert:DIR")
    check_unit(settings)
    folder = open_bert(network.bert)
    if network.bert_size not in (None, folder.size):
        raise UsageError(
            f"network.bert_size is {network.bert_size}, and the vectors of {network.bert} have {folder.size} numbers",
            hint="leave it unset",
        )
    if find_spec("transformers") is None:
        raise MissingExtra(f"{network.bert} is a BERT; to use it, transformers", "bert")
    return {"network.bert_size": folder.size}


def _row_size(settings: Settings) -> int:
    """Return how many numbers a row of U has; the network is made without memory for its weights."""
    with torch.device("meta"):
        network = RecurrentNetwork(2, settings.network.model_copy(update={"output": "full"}))
    return network.encoder.U.shape[1]


@torch.no_grad()
def begin_with_vectors(
    network: RecurrentNetwork, tokenizer: Tokenizer, corpus: Corpus, learn: LearnSettings
) -> dict[str, Any]:
    """Set the rows of U of those symbols that the file of `learn.vectors` knows, as they are written or in lower case.

    All are multiplied by one number, so that their root mean square is `learn.vectors_rms`, or else that of U before.
    The others stay as they are. Returns what was found, for the log and the card.

    Raises
    ------
    TextError
        for a file that knows no symbol of the dictionary.
    """
    assert learn.vectors is not None, "the caller asks first"
    U = network.encoder.U
    silent = None if tokenizer.unk_trained else tokenizer.unk_id
    tokens = {id: tokenizer.token(id) for id in range(tokenizer.size) if id != silent}
    vectors = read_vectors(learn.vectors, wanted={form for word in tokens.values() for form in (word, word.lower())})
    if vectors.size != U.shape[1]:
        raise TextError(f"{learn.vectors} changed while it was read", hint="begin again")
    places = {id: place for id, word in tokens.items() if (place := vectors.place(word)) is not None}
    if not set(places) - {tokenizer.end_id, tokenizer.unk_id}:
        raise TextError(
            f"{learn.vectors} has a vector for none of the {tokenizer.size} symbols of the dictionary",
            hint="is it of the language of the training text, and of words where the unit is words?",
        )
    ids = torch.tensor(list(places))
    rows = torch.from_numpy(vectors.matrix[list(places.values())])
    before = U[torch.tensor(list(tokens))].square().mean().sqrt().item()
    rms = rows.square().mean().sqrt().item()
    scale = (learn.vectors_rms or before) / rms if rms else 1.0
    U[ids] = (rows * scale).to(U)
    counts = symbol_counts(corpus.ids, tokenizer)
    return _facts(vectors, learn, tokenizer, places, counts) | {"rms": rms, "scale": scale}


def _facts(
    vectors: WordVectors, learn: LearnSettings, tokenizer: Tokenizer, places: dict[int, int], counts: torch.Tensor
) -> dict[str, Any]:
    special = {tokenizer.end_id, tokenizer.unk_id}
    words = [id for id in range(tokenizer.size) if id not in special]
    found = [id for id in places if id not in special]
    counts[tokenizer.end_id] = 0  # a sentence end is no token of the text
    return {
        "file": vectors.name,
        "sha256": TextSource(file_of(vectors.name)).sha256(),
        "format": vectors.kind,
        "size": vectors.size,
        "rows": vectors.rows,
        "duplicates": vectors.duplicates,
        "words": len(words),
        "words_found": len(found),
        "words_found_in_lower_case": sum(vectors.words[places[id]] != tokenizer.token(id) for id in found),
        "special_found": [tokenizer.token(id) for id in places if id in special],
        "tokens": int(counts.sum()),
        "tokens_found": int(counts[list(places)].sum()),
        "frozen": learn.freeze_vectors,
    }


def describe(facts: dict[str, Any]) -> str:
    """Say in a sentence what of the dictionary begins as a vector, and what happens with the rest."""
    share = 100 * facts["tokens_found"] / max(1, facts["tokens"])
    rest = facts["words"] - facts["words_found"]
    twice = f"; {facts['duplicates']} rows came twice, and the first counts" if facts["duplicates"] else ""
    kept = "; U stays as it is (learn.freeze_vectors)" if facts["frozen"] else ""
    return (
        f"{facts['file']} ({facts['format']}, {facts['size']} numbers a word) has {facts['words_found']} of the "
        f"{facts['words']} words of the dictionary ({facts['words_found_in_lower_case']} of them in lower case), "
        f"{share:.1f} % of the training text; the other {rest} begin at random; "
        f"the vectors are multiplied by {facts['scale']:.4g}{twice}{kept}"
    )
