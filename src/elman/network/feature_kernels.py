"""What n-grams add to the logits, and the errors sent back to them: compiled, and as PyTorch's operations.

`found`, (N, L), holds for each row of logits the number of its context of each length, NOTHING where there is none. The
features of context c are those from starts[c] to starts[c + 1]: each has a symbol, in `successors`, and a weight.
`place`, (D,), is the column of each symbol, or -1; where it is not given the columns are the symbols.
"""

from __future__ import annotations

import torch
from torch import Tensor

from elman.network import kernels
from elman.network.history import NOTHING
from elman.network.kernels import COMPILED_TYPES, address


def features_of(contexts: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Return for all features of some contexts, (K,), which of the K each belongs to, and its number."""
    counts = starts[contexts + 1] - starts[contexts]
    begins = counts.cumsum(0) - counts
    features = torch.arange(int(counts.sum()), device=counts.device)
    features += torch.repeat_interleave(starts[contexts] - begins, counts)
    return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts), features


def _fits(logits: Tensor, weight: Tensor) -> bool:
    on_cpu = logits.device.type == "cpu" and logits.dtype in COMPILED_TYPES and weight.dtype is torch.float32
    return kernels.available() and on_cpu and logits.stride(-1) == 1


def add_features(
    logits: Tensor, weight: Tensor, found: Tensor, starts: Tensor, successors: Tensor, place: Tensor | None = None
) -> None:
    """Add to logits, (N, M), in place, the weights, (F,), of the features of each row."""
    if not _fits(logits, weight):
        add_features_slowly(logits, weight, found, starts, successors, place)
        return
    found = found.contiguous()
    pointers = (tensor.data_ptr() for tensor in (logits, weight, found, starts, successors))
    half = int(logits.dtype is torch.bfloat16)
    kernels.compiled.features_add(
        *pointers, address(place), *found.shape, logits.stride(0), half, torch.get_num_threads()
    )


def add_features_slowly(
    logits: Tensor, weight: Tensor, found: Tensor, starts: Tensor, successors: Tensor, place: Tensor | None = None
) -> None:
    """Do what `add_features` does, one length of contexts after the other."""
    for of_length in found.unbind(1):
        rows = (of_length != NOTHING).nonzero().squeeze(1)
        which, features = features_of(of_length[rows], starts)
        rows, at = rows[which], successors[features].long()
        if place is not None:
            inside = place[at] >= 0
            rows, features, at = rows[inside], features[inside], place[at[inside]]
        logits[rows, at] += weight[features].to(logits.dtype)  # all of one length are different


def feature_errors(
    errors: Tensor,
    found: Tensor,
    used: Tensor,
    which: Tensor,
    starts: Tensor,
    successors: Tensor,
    place: Tensor | None = None,
) -> Tensor:
    """Return the errors of logits, (N, M), added up for every feature of the contexts in use, one after the other.

    `used`, (K,), are the contexts that `found` has, each once; `which`, (N, L), the place among them of each.
    """
    counts = starts[used + 1] - starts[used]
    begins = counts.cumsum(0) - counts
    values = torch.zeros(int(counts.sum()), dtype=torch.float32, device=errors.device)
    if not _fits(errors, values):
        values = values.to(errors.dtype if errors.dtype is torch.float64 else torch.float32)
        return feature_errors_slowly(errors, values, found, which, begins, starts, successors, place)
    pointers = (t.data_ptr() for t in (errors, values, found.contiguous(), which.contiguous(), begins))
    tables = (starts.data_ptr(), successors.data_ptr(), address(place))
    half = int(errors.dtype is torch.bfloat16)
    kernels.compiled.features_back(*pointers, *tables, *found.shape, errors.stride(0), half)
    return values


def feature_errors_slowly(
    errors: Tensor,
    values: Tensor,
    found: Tensor,
    which: Tensor,
    begins: Tensor,
    starts: Tensor,
    successors: Tensor,
    place: Tensor | None = None,
) -> Tensor:
    """Do what `feature_errors` does."""
    rows, lengths = (found != NOTHING).nonzero(as_tuple=True)
    contexts, places = found[rows, lengths], which[rows, lengths]
    one, features = features_of(contexts, starts)
    rows, at = rows[one], successors[features].long()
    into = features + (begins[places] - starts[contexts])[one]
    if place is not None:
        inside = place[at] >= 0
        rows, at, into = rows[inside], place[at[inside]], into[inside]
    return values.index_add_(0, into, errors[rows, at].to(values.dtype))
