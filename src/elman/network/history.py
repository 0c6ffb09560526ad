"""The last symbols before the current one, carried from window to window, for what reads n-grams of them.

A history is a tensor of ids, (B, N), oldest first, NOTHING where no symbol was: before the first of a text.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING = -1


def no_history(batch: int, length: int, device: torch.device) -> Tensor:
    """Return the history at the start of a text, (B, N)."""
    return torch.full((batch, length), NOTHING, dtype=torch.long, device=device)


def recent(history: Tensor, symbols: Tensor) -> Tensor:
    """Return history and window as one run of symbols, (N + T, B)."""
    return torch.cat([history.t(), symbols.to(history.device)])


def after(run: Tensor, length: int) -> Tensor:
    """Return the history that the window after this run begins with, (B, N)."""
    return run[len(run) - length :].t().contiguous()


def contexts(run: Tensor, n: int, steps: int) -> Tensor:
    """Return the n symbols up to and with each of the last `steps` ones of a run, (steps, B, n), oldest first."""
    first = len(run) - steps - n + 1
    return torch.stack([run[first + k : first + k + steps] for k in range(n)], dim=-1)


def keys(contexts: Tensor, dictionary_size: int) -> tuple[Tensor, Tensor]:
    """Return a number for each context, (..., n) ids, and whether all of its symbols are there.

    The number is sum_k id(k) (D + 1)^k modulo 2^64: one of its own for each context while (D + 1)^n is less.
    """
    key = torch.zeros(contexts.shape[:-1], dtype=torch.long, device=contexts.device)
    for symbol in contexts.unbind(-1):
        key = key * (dictionary_size + 1) + symbol
    return key, (contexts != NOTHING).all(-1)


def scattered(key: Tensor, rows: int) -> Tensor:
    """Return a row in 0 .. rows - 1 for each key, as good as drawn by lot.

    Source: the finalizer of SplitMix64, G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number
    generators" (OOPSLA 2014).
    """
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15), (31, 1)):
        key = (key ^ ((key >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return (key & (2**63 - 1)) % rows
