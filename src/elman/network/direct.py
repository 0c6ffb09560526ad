"""Direct connections: n-grams that add to the logits, past the hidden layer.

Source: T. Mikolov, A. Deoras, D. Povey, L. Burget and J. Cernocky, "Strategies for training large scale neural network
language models" (ASRU 2011), the RNNME. There every n-gram that could be asked for owns a weight of a hash table; here
those own one that training saw, and none is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.errors import ModelError
from elman.network.devices import on_device
from elman.network.feature_kernels import add_features, feature_errors, features_of
from elman.network.history import NOTHING, keys
from elman.network.parts import Rows

DENSE = 2**24
"""Weights of a table that has one for every n-gram that could be; where that would be more, only what was seen has."""


class Direct(nn.Module):
    """a(t)[j] += sum over m = 1 .. n-1 of the weight of the n-gram w(t-m+1) .. w(t), j.

    With a small dictionary there is a weight for every such n-gram. Else `learn` finds those of a text: all contexts of
    m symbols, sorted by their keys, each with the symbols that came after it and a weight for each of them.

    Parameters
    ----------
    dictionary_size
        D.
    order
        n, 2 or more: features are of 2-grams up to n-grams. (What 1-grams would add is the bias.)
    """

    keys: Tensor  # (C,), of all contexts, those of one symbol first, then of two, ..; sorted within each
    bounds: Tensor  # (n,): where those of m symbols begin among them, and the end
    starts: Tensor  # (C + 1,): where each context's successors begin
    successors: Tensor  # (F,), int32: the symbols that were seen after it, rising

    def __init__(self, dictionary_size: int, order: int) -> None:
        super().__init__()
        self.dictionary_size, self.order = dictionary_size, order
        self.dense = dictionary_size**order <= DENSE
        rows = sum(dictionary_size**m for m in range(1, order)) if self.dense else 0
        self.weight = nn.Parameter(torch.zeros(rows, dictionary_size if self.dense else 1))
        self.before_reading: Callable[[Tensor], None] | None = None  # hears which rows of it a window is about to read
        if not self.dense:
            self.register_buffer("keys", torch.zeros(0, dtype=torch.long))
            self.register_buffer("bounds", torch.zeros(order, dtype=torch.long))
            self.register_buffer("starts", torch.zeros(1, dtype=torch.long))
            self.register_buffer("successors", torch.zeros(0, dtype=torch.int32))

    def learn(self, ids: NDArray[np.int64], *, boundary: int | None = None) -> None:
        """Give a weight, zero, to every n-gram of a text, (N,) ids in 0 .. D - 1; a full table is left as it is.

        `boundary`: sentences are independent, so that an n-gram may begin and end with this symbol, but has none of it
        in between.
        """
        if self.dense:
            return
        found, counts, successors = [], [], []
        for m in range(1, self.order):
            windows = np.lib.stride_tricks.sliding_window_view(ids, m + 1)
            if boundary is not None:
                windows = windows[(windows[:, 1:-1] != boundary).all(axis=1)]
            key = keys(torch.from_numpy(windows[:, :-1].copy()), self.dictionary_size)[0].numpy()
            order = np.lexsort((windows[:, -1], key))
            key, last = key[order], windows[order, -1]
            new_key = np.diff(key, prepend=key[:1] - 1) != 0
            new = new_key | (np.diff(last, prepend=-1) != 0)
            key, last, new_key = key[new], last[new], new_key[new]
            found.append(key[new_key])
            counts.append(np.diff(np.flatnonzero(new_key), append=len(key)))
            successors.append(last)
        device = self.weight.device
        starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
        self.bounds = torch.from_numpy(np.cumsum([0, *map(len, found)])).to(device)
        self.keys = torch.from_numpy(np.concatenate(found)).to(device)
        self.starts = torch.from_numpy(starts).to(device)
        self.successors = torch.from_numpy(np.concatenate(successors).astype(np.int32)).to(device)
        self.weight = nn.Parameter(self.weight.new_zeros(len(self.successors), 1))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:  # noqa: ANN401 - torch's
        """Take the sizes of what is loaded: they come from the text that was learnt."""
        for name, mine in [*self.named_parameters(), *self.named_buffers()]:
            given = state.get(prefix + name)
            if not self.dense and given is not None and given.shape != mine.shape and given.dim() == mine.dim():
                empty = mine.new_zeros(given.shape)
                setattr(self, name, nn.Parameter(empty) if isinstance(mine, nn.Parameter) else empty)
        super()._load_from_state_dict(state, prefix, *others)

    def check(self) -> None:
        """Raise `ModelError` where tables that were loaded do not fit each other."""
        if self.dense:
            return
        sizes = torch.diff(self.starts)
        fits = len(self.starts) == len(self.keys) + 1 and int(self.starts[0]) == 0 and bool((sizes >= 0).all())
        fits = fits and int(self.starts[-1]) == len(self.successors) == len(self.weight)
        fits = fits and len(self.bounds) == self.order and bool((torch.diff(self.bounds) >= 0).all())
        fits = fits and int(self.bounds[0]) == 0 and int(self.bounds[-1]) == len(self.keys)
        if not (fits and bool(((self.successors >= 0) & (self.successors < self.dictionary_size)).all())):
            hint = "the file of the weights is damaged; copy or train it again"
            raise ModelError("the direct connections of the output layer do not fit each other", hint=hint)

    def find(self, contexts: Tensor) -> Tensor:
        """Return the number of each context, (N, n - 1), of m = 1 .. n-1 symbols, given (N, n - 1) ids; -1: none.

        In a full table that is the row of its weights.
        """
        found, start = [], 0
        contexts = on_device(contexts, self.weight.device)
        for m in range(1, self.order):
            last = contexts[:, self.order - 1 - m :]
            if self.dense:
                powers = self.dictionary_size ** torch.arange(m, device=last.device)
                place = start + (last * powers).sum(-1)
                found.append(torch.where((last != NOTHING).all(-1), place, NOTHING))
                start += self.dictionary_size**m
                continue
            key, known = keys(last, self.dictionary_size)
            first, end = int(self.bounds[m - 1]), int(self.bounds[m])
            if first == end:
                found.append(torch.full_like(key, NOTHING))
                continue
            place = torch.searchsorted(self.keys[first:end], key).clamp_(max=end - first - 1) + first
            found.append(torch.where(known & (self.keys[place] == key), place, NOTHING))
        return torch.stack(found, dim=1)

    @torch.no_grad()
    def announce(self, contexts: Tensor) -> None:
        """Say which rows of a full table these contexts, (N, n - 1), are about to read, where anybody wants to know."""
        if self.before_reading is not None and self.dense:
            found = self.find(contexts)
            self.before_reading(torch.unique(found[found != NOTHING]))

    @torch.no_grad()
    def add_to(self, logits: Tensor, contexts: Tensor, columns: Tensor | None = None) -> None:
        """Add to logits, (N, M), in place, after contexts, (N, n - 1); `columns`: the symbols that they are of."""
        found = self.find(contexts)
        if not self.dense:
            tables = (self.starts, self.successors, self._place(columns))
            add_features(logits, self.weight.detach().squeeze(1), found, *tables)
            return
        table = self.weight if columns is None else self.weight[:, columns]
        for of_length in found.unbind(1):
            there = (of_length != NOTHING).to(table.dtype).unsqueeze(1)
            logits += (table[of_length.clamp(min=0)] * there).to(logits.dtype)

    def _place(self, columns: Tensor | None) -> Tensor | None:
        if columns is None:
            return None
        place = torch.full((self.dictionary_size,), -1, dtype=torch.long, device=columns.device)
        place[columns] = torch.arange(len(columns), device=columns.device)
        return place

    @torch.no_grad()
    def gradient(self, errors: Tensor, contexts: Tensor, columns: Tensor | None = None) -> Rows:
        """Return the gradient of the weights, given that of the logits: see `add_to`."""
        found = self.find(contexts)
        there = found != NOTHING
        used, inverse = torch.unique(found[there], return_inverse=True)
        if not self.dense:
            which = torch.full_like(found, NOTHING)
            which[there] = inverse
            tables = (self.starts, self.successors, self._place(columns))
            values = feature_errors(errors, found, used, which, *tables)
            return Rows(features_of(used, self.starts)[1], values.to(self.weight.dtype).unsqueeze(1))
        full = errors.to(self.weight.dtype)
        if columns is not None:
            full = full.new_zeros(len(errors), self.dictionary_size).index_copy_(1, columns, full)
        rows = there.nonzero()[:, 0]
        values = full.new_zeros(len(used), self.dictionary_size)
        return Rows(used, values.index_add_(0, inverse, full[rows]))

    def forward(self, contexts: Tensor) -> Tensor:
        """Return what is added to the logits, (N, D), after contexts, (N, n - 1): the slow twin of `add_to`."""
        total = self.weight.new_zeros(len(contexts), self.dictionary_size)
        for of_length in self.find(contexts).unbind(1):
            rows = (of_length != NOTHING).nonzero().squeeze(1)
            if self.dense:
                total = total.index_add(0, rows, self.weight[of_length[rows]])
                continue
            which, features = features_of(of_length[rows], self.starts)
            at = (rows[which], self.successors[features].long())
            total = total.index_put(at, self.weight[features, 0], accumulate=True)
        return total
