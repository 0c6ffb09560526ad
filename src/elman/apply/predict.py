"""What comes next: the likeliest symbols after a prompt, and text drawn one symbol after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.errors import UsageError
from elman.network.folder import Model
from elman.network.model import State

MOST = 100
"""Symbols that `generate` writes where no number is given; a sentence end comes sooner."""


@dataclass(frozen=True)
class Prediction:
    """The likeliest next symbols with their probabilities, most likely first.

    <unk> is never among them: `unk_probability` is the probability that the model gives it (None where there is no
    <unk>), and the others are not rescaled. `unknown` holds what of the prompt the model does not know.
    """

    prompt: str
    next: list[tuple[str, float]]
    unk_probability: float | None
    unknown: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction as plain JSON values."""
        return {
            "prompt": self.prompt,
            "next": [{"token": token, "probability": probability} for token, probability in self.next],
            "unk_probability": self.unk_probability,
            "unknown": self.unknown,
        }


def read_prompt(model: Model, prompt: str) -> tuple[State, Tensor, list[str]]:
    """Read a sentence end and then the prompt; return the state, log y, (D,), and the symbols that are not known."""
    tokenizer, network = model.tokenizer, model.network
    device = next(network.parameters()).device
    ids = tokenizer.encode(prompt)
    unknown = unknown_symbols(model, prompt, ids)
    # What is not in the dictionary enters as <unk>; every unit that can meet the unknown has one.
    known = [tokenizer.unk_id if i == tokenizer.size and tokenizer.unk_id is not None else i for i in ids]
    state = network.initial_state(1)
    for symbol in [tokenizer.end_id, *known]:
        state, log_probs = network.step(state, torch.tensor([symbol], device=device))
    return state, log_probs[0], unknown


def unknown_symbols(model: Model, text: str, ids: list[int]) -> list[str]:
    """Return the words or characters of a text that are outside the dictionary, in order, each once."""
    tokenizer = model.tokenizer
    if tokenizer.size not in ids:
        return []
    pieces = tokenizer.pieces(text)
    return list(dict.fromkeys(piece for piece, i in zip(pieces, ids, strict=True) if i == tokenizer.size))


def predict(model: Model, prompt: str, top: int = 10) -> Prediction:
    """Return the `top` likeliest symbols after a prompt.

    The prompt is read from the start of a sentence. For words, `</s>` is an answer like any other: the sentence ends.
    """
    if top < 1:
        raise UsageError(f"top = {top} cannot be: it should be at least 1")
    _, log_probs, unknown = read_prompt(model, prompt)
    tokenizer = model.tokenizer
    probabilities = log_probs.double().exp()
    unk = None
    if tokenizer.unk_id is not None:
        unk = float(probabilities[tokenizer.unk_id])
        probabilities[tokenizer.unk_id] = -1.0
    count = min(top, tokenizer.size - (tokenizer.unk_id is not None))
    values, ids = torch.topk(probabilities, count)
    answers = [(shown(model, int(i)), float(p)) for p, i in zip(values, ids, strict=True)]
    return Prediction(prompt, answers, unk, unknown)


def shown(model: Model, symbol: int) -> str:
    """Return a symbol as a person reads it; BPE pieces as their text."""
    tokenizer = model.tokenizer
    if tokenizer.unit == "bpe" and symbol != tokenizer.end_id:
        return tokenizer.decode([symbol])
    return tokenizer.token(symbol)


def generate(
    model: Model,
    prompt: str = "",
    *,
    tokens: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Draw symbols after a prompt, one at a time, each fed back as the next input; never <unk>.

    Parameters
    ----------
    tokens
        how many symbols; without it, up to the sentence end, at most MOST.
    temperature
        what log y is divided by before drawing; 0 always takes the likeliest.
    top_k
        draw among the k likeliest only.
    top_p
        draw among the likeliest that together hold this share of the probability (nucleus sampling: A. Holtzman et
        al., "The curious case of neural text degeneration", ICLR 2020).
    generator
        where randomness comes from.
    """
    _check_sampling(tokens, temperature, top_k, top_p)
    state, log_probs, _ = read_prompt(model, prompt)
    device = log_probs.device
    for _ in range(MOST if tokens is None else tokens):
        symbol = _draw(log_probs, model.tokenizer.unk_id, temperature, top_k, top_p, generator)
        yield symbol
        if tokens is None and symbol == model.tokenizer.end_id:
            return
        state, rows = model.network.step(state, torch.tensor([symbol], device=device))
        log_probs = rows[0]


def _check_sampling(tokens: int | None, temperature: float, top_k: int | None, top_p: float | None) -> None:
    if tokens is not None and tokens < 1:
        raise UsageError(f"tokens = {tokens} cannot be: it should be at least 1")
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"temperature = {temperature:g} cannot be: it should be 0 or more")
    if top_k is not None and top_k < 1:
        raise UsageError(f"top-k = {top_k} cannot be: it should be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise UsageError(f"top-p = {top_p:g} cannot be: it should be more than 0 and at most 1")


def _draw(
    log_probs: Tensor,
    unk_id: int | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    generator: torch.Generator | None,
) -> int:
    scores = log_probs.double().clone()
    if unk_id is not None:
        scores[unk_id] = -torch.inf
    if temperature == 0:
        return int(scores.argmax())
    probabilities = torch.softmax(scores / temperature, 0)
    values, ids = probabilities.sort(descending=True, stable=True)
    if top_k is not None:
        values = values[:top_k]
    if top_p is not None:
        before = values.cumsum(0) - values
        values = values[before < top_p]
    return int(ids[torch.multinomial(values, 1, generator=generator)])


def join(model: Model, prompt: str, symbols: list[int]) -> str:
    """Return the prompt and what was drawn after it as one text; words are separated by spaces."""
    tokenizer = model.tokenizer
    if tokenizer.unit == "word" and prompt:
        continuation = tokenizer.decode(symbols)
        return prompt.rstrip() + ("" if continuation.startswith("\n") else " ") + continuation
    return prompt + tokenizer.decode(symbols)
