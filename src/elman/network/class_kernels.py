"""The softmax within the class of each row's target, and its errors: compiled, and as PyTorch's operations."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from elman.network import kernels
from elman.network.kernels import address, fits, softmax_error

LANES = 16
"""The smallest H for which it is compiled: one step of its products."""


class Classes(NamedTuple):
    """Which columns of a matrix make up each class, and which rows of a window have their target in it.

    starts
        (K + 1,), int64: class k is columns starts[k] .. starts[k + 1] - 1.
    order
        (N,), int64: the rows of the window, sorted by class.
    ends
        (K + 1,), int64: the rows of class k are order[ends[k]] .. order[ends[k + 1] - 1].
    """

    starts: Tensor
    order: Tensor
    ends: Tensor


def class_softmax(
    states: Tensor,
    columns: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    weights: Tensor | None = None,
    d_states: Tensor | None = None,
    d_columns: Tensor | None = None,
    places: Tensor | None = None,
    extra: Tensor | None = None,
) -> Tensor:
    """Return the log-probability of each row's target within its class, and add up the weighted errors.

    For row n, with k the class of its target d, a(j) = s(n) . v(j) over the columns j of class k, and e(n) the error:

        y = softmax( a ),   returned: log y(d),   e(n) = weights[n] ( y - one-hot(d) )
        d_states[n] += sum_j e(n)(j) v(j),   d_columns[ places[k] + j - starts[k] ] = sum_n e(n)(j) s(n)

    Parameters
    ----------
    states
        s, (N, H).
    columns
        v, (D, H): a matrix column by column.
    targets
        d, (N,), int64, columns.
    d_states, d_columns, places
        (N, H), (M, H) and (K,), int64; all three, or none where no errors are wanted.
    extra
        (N, size of the largest class): what is added to a, in its first columns; where errors are wanted, e takes its
        place.

    Returns
    -------
    Tensor
        (N,), of the states' type.
    """
    tensors = (states, columns, weights, d_states, d_columns, extra)
    plain = all(t is None or (t.is_contiguous() and t.dtype is torch.float32) for t in tensors)
    if not (fits(*tensors) and plain and states.shape[1] >= LANES and hasattr(kernels.compiled, "class_softmax")):
        return class_softmax_slowly(
            states,
            columns,
            targets,
            classes,
            weights=weights,
            d_states=d_states,
            d_columns=d_columns,
            places=places,
            extra=extra,
        )
    log_probs = torch.empty(len(states))
    kernels.compiled.class_softmax(
        *(t.data_ptr() for t in (states, columns, targets.contiguous(), *classes)),
        *(address(t) for t in (weights, d_states, d_columns, places, extra, log_probs)),
        len(classes.starts) - 1,
        states.shape[1],
        0 if extra is None else extra.shape[1],
        torch.get_num_threads(),
    )
    return log_probs


def class_softmax_slowly(
    states: Tensor,
    columns: Tensor,
    targets: Tensor,
    classes: Classes,
    *,
    weights: Tensor | None = None,
    d_states: Tensor | None = None,
    d_columns: Tensor | None = None,
    places: Tensor | None = None,
    extra: Tensor | None = None,
) -> Tensor:
    """Do what `class_softmax` does, one class after the other."""
    log_probs = states.new_empty(len(states))
    starts, ends = classes.starts.tolist(), classes.ends.tolist()
    at = None if places is None else places.tolist()
    for k, (first, last) in enumerate(pairwise(ends)):
        if first == last:
            continue
        rows = classes.order[first:last]
        s, v = states[rows], columns[starts[k] : starts[k + 1]]
        errors = torch.mm(s, v.t())
        if extra is not None:
            errors += extra[rows, : len(v)]
        log_probs[rows] = softmax_error(
            errors, targets[rows] - starts[k], weights=None if weights is None else weights[rows]
        )
        if d_states is not None and d_columns is not None and at is not None:
            if extra is not None:
                extra[rows, : len(v)] = errors
            d_states[rows] += torch.mm(errors, v)
            d_columns[at[k] : at[k] + len(v)] = torch.mm(errors.t(), s)
    return log_probs
