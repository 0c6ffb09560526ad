"""What comes next: the likeliest symbols after a prompt, and text drawn one symbol after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.errors import UsageError
from elman.learn.measure import WINDOW
from elman.learn.steps import known_symbols
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
    ids, _, unknown = read_symbols(model, prompt)
    # What is not in the dictionary enters as <unk>; every unit that can meet the unknown has one.
    symbols = known_symbols(np.array([tokenizer.end_id, *ids], dtype=np.int64), tokenizer).to(device)
    state = network.initial_state(1)
    with torch.no_grad():
        for start in range(0, len(symbols) - 1, WINDOW):
            state, _ = network.unroll(state, symbols[start : min(start + WINDOW, len(symbols) - 1)].unsqueeze(1))
    state, log_probs = network.step(state, symbols[-1:])
    return state, log_probs[0], unknown


def read_symbols(model: Model, prompt: str) -> tuple[list[int], list[str], list[str]]:
    """Return the symbols of a prompt, how it writes each, and what of it is outside the dictionary, each once.

    Lines are sentences as in a text: an end stands between them, blank ones count where the unit counts them, and where
    sentences are independent only the last line matters.
    """
    tokenizer = model.tokenizer
    lines = prompt.split("\n")
    ids: list[int] = []
    written: list[str] = []
    unknown: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        here, pieces = tokenizer.encode(line), tokenizer.pieces(line)
        unknown |= dict.fromkeys(piece for piece, i in zip(pieces, here, strict=True) if i == tokenizer.size)
        ids, written = ids + here, written + pieces
        if number < len(lines) and (line.strip() or tokenizer.blank_lines):
            ends = model.regime != "sentences"
            ids, written = ([*ids, tokenizer.end_id], [*written, tokenizer.end]) if ends else ([], [])
    return ids, written, list(unknown)


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
    sentences: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Draw symbols after a prompt, one at a time, each fed back as the next input; never <unk>.

    Parameters
    ----------
    tokens
        how many symbols at the most; unset, MOST a sentence.
    sentences
        how many sentences; unset, one, or as many as there are `tokens` for, where these are given. A sentence of a
        model of independent sentences begins from s(0), as in training.
    temperature
        what log y is divided by before drawing; 0 always takes the likeliest.
    top_k
        draw among the k likeliest only.
    top_p
        draw among the likeliest that together hold this share of the probability (nucleus sampling: A. Holtzman et
        al., "The curious case of neural text degeneration", ICLR 2020).
    generator
        where randomness comes from, on the CPU.

    Raises
    ------
    UsageError
        for a number out of range, when the first symbol is asked for.
    """
    _check_sampling(tokens, sentences, temperature, top_k, top_p)
    network, end_id = model.network, model.tokenizer.end_id
    if tokens is None:
        sentences = sentences or 1
    remaining = sentences
    state, log_probs, _ = read_prompt(model, prompt)
    device = log_probs.device
    for _ in range(MOST * (sentences or 1) if tokens is None else tokens):
        symbol = _draw(log_probs, model.tokenizer.unk_id, temperature, top_k, top_p, generator)
        yield symbol
        if symbol == end_id:
            remaining = None if remaining is None else remaining - 1
            if remaining == 0:
                return
            if model.regime == "sentences":
                state = network.initial_state(1)
        state, rows = network.step(state, torch.tensor([symbol], device=device))
        log_probs = rows[0]


def _check_sampling(
    tokens: int | None, sentences: int | None, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    for name, count in (("tokens", tokens), ("sentences", sentences), ("top-k", top_k)):
        if count is not None and count < 1:
            raise UsageError(f"{name} = {count} cannot be: it should be at least 1")
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"temperature = {temperature:g} cannot be: it should be 0 or more")
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
    scores = log_probs.detach().double().cpu().clone()
    if unk_id is not None:
        scores[unk_id] = -torch.inf
    if temperature == 0:
        return int(scores.argmax())
    scores -= scores.max()  # the likeliest has 0, which no temperature, however small, turns into -inf
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
    continuation = tokenizer.decode(symbols)
    if tokenizer.unit != "word":
        return prompt + continuation
    prompt = _trimmed(prompt)
    apart = prompt and continuation and not prompt.endswith("\n") and not continuation.startswith("\n")
    return prompt + (" " if apart else "") + continuation


def _trimmed(prompt: str) -> str:
    """Take spaces off the end, but not the line ends that end a sentence."""
    return prompt.rstrip(" \t\r")


def stream(model: Model, prompt: str, symbols: Iterable[int]) -> Iterator[str]:
    """Give the text of `join` piece by piece as symbols come, the prompt first; never half of a character."""
    tokenizer = model.tokenizer
    yield _trimmed(prompt) if tokenizer.unit == "word" else prompt
    before, held, written = prompt, list[int](), len(join(model, prompt, []))
    for symbol in symbols:
        held.append(symbol)
        text = join(model, before, held)
        whole = text if symbol == tokenizer.end_id else text.rstrip("\ufffd")  # the beginning of a character
        yield whole[written:]
        written = max(written, len(whole))
        if symbol == tokenizer.end_id:  # a new line depends on nothing before it
            before, held, written = "", [], 0
    yield join(model, before, held)[written:]
