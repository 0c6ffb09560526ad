"""Text drawn from a model in many streams side by side: as much of it as another model wants to learn from.

Uses: an n-gram model of what a network says, for a decoder that reads nothing else (A. Deoras, T. Mikolov, S. Kombrink,
M. Karafiat and S. Khudanpur, "Variational approximation of long-span language models for LVCSR", ICASSP 2011), or a
smaller network that learns from a larger one (Y. Kim and A. M. Rush, "Sequence-level knowledge distillation", 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from elman.errors import UsageError
from elman.network.folder import Model

MOST_LOGITS = 2**26
"""Logits of one step of all streams, at the most: 256 MB."""


def most_streams(model: Model) -> int:
    """Return how many streams there is room for."""
    return max(1, MOST_LOGITS // model.tokenizer.size)


def sample(
    model: Model,
    tokens: int,
    streams: int,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    unk: bool = False,
    listener: Callable[[int], None] = lambda done: None,
) -> Iterator[list[int]]:
    """Draw about so many symbols in streams of like length; give the sentences of each, one stream after the other.

    Each stream is one running text from s(0), or, of a model of independent sentences, a row of them. What a stream had
    begun when its symbols were used up is left out, so that sentences are whole and somewhat fewer symbols come.

    Parameters
    ----------
    tokens
        symbols to draw, of all streams together, sentence ends among them.
    generator
        where randomness comes from, on the CPU.
    temperature
        what log y is divided by before drawing, above 0.
    unk
        whether <unk> may be drawn: a text to learn from should hold it where the training text did.
    listener
        hears how many symbols were drawn.

    Raises
    ------
    UsageError
        for numbers out of range, when the first sentence is asked for.
    """
    if streams < 1 or tokens < 1 or not 0 < temperature < float("inf"):
        raise UsageError(
            "drawing text side by side needs at least one stream, one symbol and a temperature above 0",
            hint="for the likeliest text, temperature 0, leave --streams out",
        )
    if streams > most_streams(model):
        raise UsageError(f"{streams} streams are too many for this dictionary", hint=f"at most {most_streams(model)}")
    end_id = model.tokenizer.end_id
    for row in _draw(model, -(-tokens // streams), streams, generator, temperature, unk, listener).t():
        sentence: list[int] = []
        for symbol in row.tolist():
            if symbol == end_id:
                if sentence or model.tokenizer.blank_lines:
                    yield sentence
                sentence = []
            else:
                sentence.append(symbol)


@torch.no_grad()
def _draw(
    model: Model,
    steps: int,
    streams: int,
    generator: torch.Generator,
    temperature: float,
    unk: bool,
    listener: Callable[[int], None],
) -> Tensor:
    """Return the symbols that were drawn, (steps, streams), int32."""
    network, tokenizer = model.network, model.tokenizer
    device = next(network.parameters()).device
    drawn = torch.empty(steps, streams, dtype=torch.int32)
    state = network.initial_state(streams)
    fresh = network.initial_state(streams)
    symbols = torch.full((streams,), tokenizer.end_id, device=device)
    for step in range(steps):
        if model.regime == "sentences":
            ended = (symbols == tokenizer.end_id).unsqueeze(1)
            state = tuple(torch.where(ended, new, old) for new, old in zip(fresh, state, strict=True))
        state, log_probs = network.step(state, symbols)
        if tokenizer.unk_id is not None and not unk:
            log_probs[:, tokenizer.unk_id] = -torch.inf
        symbols = _pick(log_probs.cpu(), temperature, generator)
        drawn[step] = symbols
        symbols = symbols.to(device)
        listener((step + 1) * streams)
    return drawn


def _pick(log_probs: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return one symbol for each row of log y, (S, D): the first at which the sum of probabilities passes a draw."""
    if temperature != 1.0:
        log_probs = (log_probs - log_probs.amax(dim=1, keepdim=True)) / temperature
    sums = log_probs.exp_().cumsum(1)
    total = sums[:, -1:].contiguous()
    draws = torch.rand(len(sums), 1, generator=generator, dtype=sums.dtype) * total
    draws = torch.minimum(draws, torch.nextafter(total, torch.zeros_like(total)))  # rounding may have made it the total
    return torch.searchsorted(sums, draws, right=True).squeeze(1)
