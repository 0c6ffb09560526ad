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
from elman.network.feature_kernels import Features, add_features, feature_errors
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
    full_table
        whether every n-gram that could be has a weight; unset, if these are few.
    """

    keys: Tensor  # (C,), of all contexts, those of one symbol first, then of two, ..; sorted within each
    bounds: Tensor  # (n,): where those of m symbols begin among them, and the end
    starts: Tensor  # (C + 1,): where each context's successors begin
    successors: Tensor  # (F,), int32: the symbols that were seen after it, rising

    def __init__(self, dictionary_size: int, order: int, *, full_table: bool | None = None) -> None:
        super().__init__()
        self.dictionary_size, self.order = dictionary_size, order
        self.dense = dictionary_size**order <= DENSE if full_table is None else full_table
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
            _misfit()

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
    def announce(self, found: Tensor) -> None:
        """Say which rows of a full table a window with these contexts is about to read, where anybody wants to know."""
        if self.before_reading is not None and self.dense:
            self.before_reading(torch.unique(found[found != NOTHING]))

    def features(self, columns: Tensor | None = None) -> Features:
        """Return where the features are in logits whose columns are these symbols, (M,), or all."""
        if columns is None:
            return Features(self.starts, self.successors)
        place = torch.full((self.dictionary_size,), NOTHING, dtype=torch.long, device=columns.device)
        place[columns] = torch.arange(len(columns), device=columns.device)
        return Features(self.starts, self.successors, place)

    @torch.no_grad()
    def add_to(self, logits: Tensor, found: Tensor, columns: Tensor | None = None) -> None:
        """Add to logits, (N, M), in place, after the contexts that `find` found; `columns`: the symbols they are of."""
        if not self.dense:
            add_features(logits, self.weight.detach().squeeze(1), found, self.features(columns))
            return
        table = self.weight if columns is None else self.weight[:, columns]
        for of_length in found.unbind(1):
            there = (of_length != NOTHING).to(table.dtype).unsqueeze(1)
            logits += (table[of_length.clamp(min=0)] * there).to(logits.dtype)

    @torch.no_grad()
    def gradient(self, errors: Tensor, found: Tensor, columns: Tensor | None = None) -> Rows:
        """Return the gradient of the weights, given that of the logits: see `add_to`."""
        if not self.dense:
            return gradient_of(errors, found, self.features(columns), dtype=self.weight.dtype)
        there = found != NOTHING
        used, inverse = torch.unique(found[there], return_inverse=True)
        full = errors.to(self.weight.dtype)
        if columns is not None:
            full = full.new_zeros(len(errors), self.dictionary_size).index_copy_(1, columns, full)
        values = full.new_zeros(len(used), self.dictionary_size)
        return Rows(used, values.index_add_(0, inverse, full[there.nonzero()[:, 0]]))

    def forward(self, found: Tensor) -> Tensor:
        """Return what is added to the logits, (N, D), after contexts that `find` found: the slow twin of `add_to`."""
        if not self.dense:
            return dense_sum(self.weight, found, self.features(), self.dictionary_size)
        total = self.weight.new_zeros(len(found), self.dictionary_size)
        for of_length in found.unbind(1):
            rows = (of_length != NOTHING).nonzero().squeeze(1)
            total = total.index_add(0, rows, self.weight[of_length[rows]])
        return total


def _misfit() -> None:
    hint = "the file of the weights is damaged; copy or train it again"
    raise ModelError("the direct connections of the output layer do not fit each other", hint=hint)


def gradient_of(errors: Tensor, found: Tensor, features: Features, *, dtype: torch.dtype) -> Rows:
    """Return the gradient of the weights of features, (F, 1), given the errors of the logits, (N, M)."""
    there = found != NOTHING
    used, inverse = torch.unique(found[there], return_inverse=True)
    which = torch.full_like(found, NOTHING)
    which[there] = inverse
    values = feature_errors(errors, found, used, which, features, dtype=dtype)
    return Rows(features.of(used)[1], values.unsqueeze(1))


def dense_sum(weight: Tensor, found: Tensor, features: Features, width: int) -> Tensor:
    """Return what features with these weights, (F, 1), add to logits, (N, width), for autograd to differentiate."""
    total = weight.new_zeros(len(found), width)
    for of_length in found.unbind(1):
        rows = (of_length != NOTHING).nonzero().squeeze(1)
        which, numbers = features.of(of_length[rows])
        at = (rows[which], features.successors[numbers].long())
        total = total.index_put(at, weight[numbers, 0], accumulate=True)
    return total


class ClassDirect(Direct):
    """The same for a softmax by classes: weights of (context, class) for the class, of (context, symbol) within it.

    `split` finds the pairs of context and class, once the n-grams of a text and the classes are known.
    """

    class_starts: Tensor  # (C + 1,): where each context's classes begin
    class_successors: Tensor  # (G,), int32: the classes that were seen after it, rising

    def __init__(self, dictionary_size: int, order: int) -> None:
        super().__init__(dictionary_size, order, full_table=False)
        self.class_weight = nn.Parameter(torch.zeros(0, 1))
        self.register_buffer("class_starts", torch.zeros(1, dtype=torch.long))
        self.register_buffer("class_successors", torch.zeros(0, dtype=torch.int32))

    def split(self, class_of: Tensor) -> None:
        """Give a weight, zero, to every pair of a context and a class of its successors; (D,), the class of each."""
        contexts, number = len(self.keys), int(class_of.max()) + 1
        owner = torch.repeat_interleave(torch.arange(contexts, device=self.starts.device), torch.diff(self.starts))
        pairs = torch.unique(owner * number + class_of.to(owner.device)[self.successors.long()])
        sizes = torch.bincount(pairs // number, minlength=contexts)
        self.class_starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.class_successors = (pairs % number).to(torch.int32)
        self.class_weight = nn.Parameter(self.weight.new_zeros(len(pairs), 1))

    def of_classes(self) -> Features:
        """Return where the features of classes are in logits of all classes."""
        return Features(self.class_starts, self.class_successors)

    def within(self, class_of: Tensor, place: Tensor, own: Tensor) -> Features:
        """Return where the features of symbols are in the logits of each row's own class.

        `class_of` and `place`, (D,), are the class of each symbol and its place in it; `own`, (N,), the rows' classes.
        """
        return Features(self.starts, self.successors, place, class_of, own)

    def check(self) -> None:
        """Raise `ModelError` where tables that were loaded do not fit each other."""
        super().check()
        if len(self.class_starts) != len(self.starts) or len(self.class_successors) != len(self.class_weight):
            _misfit()
