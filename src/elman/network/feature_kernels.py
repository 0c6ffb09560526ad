"""What n-grams add to the logits, and the errors sent back to them: compiled, and as PyTorch's operations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elman.network import kernels
from elman.network.history import NOTHING
from elman.network.kernels import address, fits


class Features(NamedTuple):
    """Which symbols were seen after each context, and which columns of the logits they have.

    starts
        (C + 1,), int64: the features of context c are those from starts[c] to starts[c + 1].
    successors
        (F,), int32: the symbol of each.
    place
        (D,), int64: the column of each symbol, -1 for none; not given where the columns are the symbols.
    groups, own
        (D,) and (N,), int64, or none: a row of logits has columns for the symbols of one group only, its own.
    """

    starts: Tensor
    successors: Tensor
    place: Tensor | None = None
    groups: Tensor | None = None
    own: Tensor | None = None

    def of(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Return for all features of some contexts, (K,), which of the K each belongs to, and its number."""
        counts = self.starts[contexts + 1] - self.starts[contexts]
        begins = counts.cumsum(0) - counts
        features = torch.arange(int(counts.sum()), device=counts.device)
        features += torch.repeat_interleave(self.starts[contexts] - begins, counts)
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts), features

    def columns(self, rows: Tensor, features: Tensor) -> Tensor:
        """Return the columns that features, (K,), have in some rows, (K,); -1 for none."""
        symbols = self.successors[features].long()
        at = symbols if self.place is None else self.place[symbols]
        if self.groups is not None and self.own is not None:
            at = torch.where(self.groups[symbols] == self.own[rows], at, NOTHING)
        return at


def _addresses(features: Features) -> tuple[int, ...]:
    return tuple(address(part) for part in features)


def add_features(logits: Tensor, weight: Tensor, found: Tensor, features: Features) -> None:
    """Add to logits, (N, M), in place, the weights, (F,), of the features of each row.

    `found`, (N, L), int64, holds the number of each row's context of each length, NOTHING where there is none.
    """
    if not fits(logits, weight) or weight.dtype is not torch.float32:
        add_features_slowly(logits, weight, found, features)
        return
    found, threads = found.contiguous(), torch.get_num_threads()
    pointers = (*(t.data_ptr() for t in (logits, weight, found)), *_addresses(features))
    half = int(logits.dtype is torch.bfloat16)
    kernels.compiled.features_add(*pointers, *found.shape, logits.stride(0), half, threads)


def add_features_slowly(logits: Tensor, weight: Tensor, found: Tensor, features: Features) -> None:
    """Do what `add_features` does, one length of contexts after the other."""
    for of_length in found.unbind(1):
        rows = (of_length != NOTHING).nonzero().squeeze(1)
        which, numbers = features.of(of_length[rows])
        rows = rows[which]
        at = features.columns(rows, numbers)
        there = at != NOTHING
        added = weight[numbers[there]].to(logits.dtype)
        logits[rows[there], at[there]] += added  # all of one length are different


def feature_errors(
    errors: Tensor, found: Tensor, used: Tensor, which: Tensor, features: Features, *, dtype: torch.dtype
) -> Tensor:
    """Return the errors of logits, (N, M), added up for every feature of the contexts in use, one after the other.

    `used`, (K,), are the contexts that `found` has, each once; `which`, (N, L), the place among them of each.
    """
    counts = features.starts[used + 1] - features.starts[used]
    begins = counts.cumsum(0) - counts
    values = torch.zeros(int(counts.sum()), dtype=dtype, device=errors.device)
    if not fits(errors, values) or dtype is not torch.float32:
        return feature_errors_slowly(errors, values, found, which, begins, features)
    found, which = found.contiguous(), which.contiguous()
    pointers = (*(t.data_ptr() for t in (errors, values, found, which, begins)), *_addresses(features))
    half = int(errors.dtype is torch.bfloat16)
    kernels.compiled.features_back(*pointers, *found.shape, errors.stride(0), half)
    return values


def feature_errors_slowly(
    errors: Tensor, values: Tensor, found: Tensor, which: Tensor, begins: Tensor, features: Features
) -> Tensor:
    """Do what `feature_errors` does."""
    rows, lengths = (found != NOTHING).nonzero(as_tuple=True)
    contexts, places = found[rows, lengths], which[rows, lengths]
    one, numbers = features.of(contexts)
    rows = rows[one]
    into = numbers + (begins[places] - features.starts[contexts])[one]
    at = features.columns(rows, numbers)
    there = at != NOTHING
    return values.index_add_(0, into[there], errors[rows[there], at[there]].to(values.dtype))
