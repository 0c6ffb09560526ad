"""Caches: what was said lately is likely to be said again. p = (1 - m) p_model + m p_cache.

With x(1), x(2), ... the symbols of a text and n the size of the cache, over the positions i of the n symbols before t:

    plain    p_cache(w) = #{ i : x(i) = w } / #{ i }
    decay    p_cache(w) ~ sum of exp( -rate (t - 1 - i) ) over all i before t with x(i) = w
    bigram   p_cache(w) = #{ i : x(i-1) x(i) = x(t-1) w } / #{ i : x(i-1) = x(t-1) }, or plain where that is 0 / 0
    neural   p_cache(w) ~ sum of exp( flatness s(t) . s(i) ) over i with x(i) = w

where s(i) is the state that x(i) was expected from. Symbols that are left out of the score are left out of the cache
too. A cache that is empty expects a sentence end; so each p_cache is a distribution, always.

Sources: R. Kuhn and R. De Mori, "A cache-based natural language model for speech recognition" (1990); F. Jelinek et
al., "A dynamic language model for speech recognition" (1991) for bigrams; P. R. Clarkson and A. J. Robinson, "Language
model adaptation using mixtures and an exponentially decaying cache" (1997); E. Grave, A. Joulin and N. Usunier,
"Improving neural language models with a continuous cache" (ICLR 2017).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.apply.traces import Values
from elman.errors import UsageError

ROWS = 256
"""Positions that the neural cache is asked for at once."""


def plain_cache(symbols: Sequence[Hashable], end: Hashable, *, size: int, rate: float = 0.0) -> Values:
    """Return p_cache(x(t)), (N,): the share of x(t) in the last `size` symbols."""
    counts: dict[Hashable, int] = defaultdict(int)
    found = np.empty(len(symbols))
    for t, symbol in enumerate(symbols):
        held = min(t, size)
        found[t] = counts[symbol] / held if held else symbol == end
        counts[symbol] += 1
        if t >= size:
            counts[symbols[t - size]] -= 1
    return found


def decay_cache(symbols: Sequence[Hashable], end: Hashable, *, size: int, rate: float = 0.0) -> Values:
    """Return p_cache(x(t)), (N,): all that came before, each symbol less by exp(-rate) with every step since."""
    sums: dict[Hashable, tuple[float, int]] = {}  # of each symbol, and when it came last
    keep, total = math.exp(-rate), 0.0
    found = np.empty(len(symbols))
    for t, symbol in enumerate(symbols):
        last_sum, last = sums.get(symbol, (0.0, 0))
        held = last_sum * keep ** max(0, t - 1 - last)
        found[t] = held / total if t else symbol == end
        sums[symbol] = (held * keep + 1.0, t)
        total = total * keep + 1.0
    return found


def bigram_cache(symbols: Sequence[Hashable], end: Hashable, *, size: int, rate: float = 0.0) -> Values:
    """Return p_cache(x(t)), (N,): the share of x(t) in what followed x(t-1) among the last `size` symbols."""
    pairs: dict[tuple[Hashable, Hashable], int] = defaultdict(int)
    befores: dict[Hashable, int] = defaultdict(int)
    found = plain_cache(symbols, end, size=size)
    history: list[tuple[Hashable, Hashable]] = list(zip([end, *symbols[:-1]], symbols, strict=True))
    for t, pair in enumerate(history):
        if befores[pair[0]]:
            found[t] = pairs[pair] / befores[pair[0]]
        pairs[pair] += 1
        befores[pair[0]] += 1
        if t >= size:
            old = history[t - size]
            pairs[old] -= 1
            befores[old[0]] -= 1
    return found


COUNTING: dict[str, Callable[..., Values]] = {"plain": plain_cache, "decay": decay_cache, "bigram": bigram_cache}
"""The caches that count symbols and need no network."""

KINDS = (*COUNTING, "neural")


@dataclass(frozen=True)
class Cache:
    """A cache: its `weight` in the mixture is m; `rate` is for decay, `flatness` for neural."""

    kind: str = "neural"
    size: int = 500
    weight: float = 0.1
    flatness: float = 0.3
    rate: float = 0.005

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no cache {self.kind!r}", hint=f"choose {', '.join(KINDS)}")
        if self.size < 1 or not 0 <= self.weight <= 1 or self.flatness < 0 or self.rate < 0:
            raise UsageError(
                "a cache needs a size of at least 1, a weight from 0 to 1, and a flatness and a rate of at least 0"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return what counts for this kind as plain JSON values."""
        others = {"neural": {"rate"}, "decay": {"size", "flatness"}}.get(self.kind, {"flatness", "rate"})
        return {k: v for k, v in asdict(self).items() if k not in others}

    def counted(self, symbols: Sequence[Hashable], end: Hashable) -> Values:
        """Return log p_cache(x(t)), (N,), of a cache that counts."""
        with np.errstate(divide="ignore"):
            return np.log(COUNTING[self.kind](symbols, end, size=self.size, rate=self.rate))


class NeuralCache:
    """The neural cache over a text that is read from its beginning to its end, for several flatnesses at once.

    Parameters
    ----------
    size
        n, how many positions are remembered.
    flatness
        (F,), what products of states are multiplied by.
    end
        what an empty cache expects.
    """

    def __init__(self, *, size: int, flatness: Sequence[float], end: int) -> None:
        self.size, self.flatness, self.end = size, list(flatness), end
        self._states: Tensor | None = None
        self._symbols: Tensor | None = None

    @torch.no_grad()
    def read(self, states: Tensor, symbols: Tensor) -> Tensor:
        """Return log p_cache(x(t)), (F, N), for states (N, H) and what came after each, (N,); then remember them."""
        blocks = zip(torch.split(states, ROWS), torch.split(symbols, ROWS), strict=True)
        return torch.cat([states.new_empty(len(self.flatness), 0), *(self._block(*block) for block in blocks)], dim=1)

    def _block(self, states: Tensor, symbols: Tensor) -> Tensor:
        before = 0 if self._symbols is None else len(self._symbols)
        if self._states is not None and self._symbols is not None:
            all_states, all_symbols = torch.cat([self._states, states]), torch.cat([self._symbols, symbols])
        else:
            all_states, all_symbols = states, symbols
        products = states @ all_states.t()
        age = torch.arange(before, before + len(states), device=states.device).unsqueeze(1) - torch.arange(
            len(all_states), device=states.device
        )
        held = (age >= 1) & (age <= self.size)
        same = held & (symbols.unsqueeze(1) == all_symbols)
        most = products.masked_fill(~held, -torch.inf).amax(dim=1, keepdim=True)
        products.sub_(most).masked_fill_(~held, 0.0)
        found = [_shares(products * flatness, held, same) for flatness in self.flatness]
        empty = torch.where(symbols == self.end, 0.0, -torch.inf).to(states.dtype)
        self._states, self._symbols = all_states[-self.size :], all_symbols[-self.size :]
        return torch.stack([torch.where(held.any(dim=1), row, empty) for row in found])


def _shares(exponents: Tensor, held: Tensor, same: Tensor) -> Tensor:
    """Return the logarithm of the share, (N,), that `same` has in the sum of exp(exponents) over `held`, all (N, M)."""
    weights = exponents.exp_().mul_(held)
    return torch.log((weights * same).sum(dim=1)) - torch.log(weights.sum(dim=1))
