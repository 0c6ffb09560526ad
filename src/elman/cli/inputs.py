"""`--input SPEC`: how the current symbol comes in, said in one word; SPEC stands for some settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elman.errors import UsageError, nearest

NO_VECTORS = {"learn.vectors": None, "learn.vectors_rms": None, "learn.freeze_vectors": False}


def one_hot(rest: str) -> dict[str, Any]:
    """Return the settings of `one-hot`: rows of U that begin at random."""
    if rest:
        raise UsageError(f"--input one-hot takes nothing after it, and was given {rest!r}", hint="--input one-hot")
    return {"network.encoder": "one-hot", **NO_VECTORS}


def ngram(rest: str) -> dict[str, Any]:
    """Return the settings of `ngram:N,N,..`: one-hot over the last N symbols too, for each N."""
    orders = [int(part) for part in rest.split(",") if part.strip().isdecimal()]
    if not orders or len(orders) != len(rest.split(",")):
        raise UsageError(f"--input ngram:{rest} names no numbers of symbols", hint="for example --input ngram:2,3")
    return {"network.encoder": "n-gram", "network.ngrams": orders, **NO_VECTORS}


def vectors(rest: str) -> dict[str, Any]:
    """Return the settings of `vectors:FILE`: rows of U that begin as word vectors."""
    if not rest:
        raise UsageError("--input vectors names no file", hint="--input vectors:FILE")
    return {"network.encoder": "one-hot", "learn.vectors": rest}


def bert(rest: str) -> dict[str, Any]:
    """Return the settings of `bert:DIR`: a BERT reads the last symbols, and says what it makes of the current one."""
    if not rest:
        raise UsageError("--input bert names no folder", hint="--input bert:DIR")
    return {"network.encoder": "bert", "network.bert": rest, **NO_VECTORS}


def bert_static(rest: str) -> dict[str, Any]:
    """Return the settings of `bert-static:DIR`: rows of U that begin as the vectors of their pieces in a BERT."""
    if not rest:
        raise UsageError("--input bert-static names no folder", hint="--input bert-static:DIR")
    from elman.text.bert import open_bert

    open_bert(rest)  # so that a file of vectors is not taken for one
    return {"network.encoder": "one-hot", "learn.vectors": rest}


INPUTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "one-hot": one_hot,
    "ngram": ngram,
    "vectors": vectors,
    "bert": bert,
    "bert-static": bert_static,
}
"""What can stand before the colon of SPEC; each is given what stands after it."""


def input_settings(spec: str | None) -> dict[str, Any]:
    """Return the settings that SPEC stands for, by full keys; none where it is None.

    >>> input_settings("vectors:glove.txt")
    {'network.encoder': 'one-hot', 'learn.vectors': 'glove.txt'}
    >>> input_settings("ngram:2,3")["network.ngrams"]
    [2, 3]
    """
    if spec is None:
        return {}
    name, _, rest = spec.partition(":")
    if name not in INPUTS:
        close = nearest(name, INPUTS)
        known = f"known: {', '.join(INPUTS)}"
        raise UsageError(f"--input {spec!r} cannot be", hint=f"did you mean {close}? {known}" if close else known)
    return INPUTS[name](rest)
