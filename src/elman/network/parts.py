"""Gradients that are not a matrix: what a window says about a large matrix, in the form in which it came about.

A loss leaves one as the attribute `parts` of the weight, in place of `grad`; the optimisers know what to do with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Factors(NamedTuple):
    """The gradient is the product left right, of (H, N) and (N, D)."""

    left: Tensor
    right: Tensor


class Rows(NamedTuple):
    """The gradient of some rows: `values[i]`, (N, H), belongs to row `ids[i]`, (N,); every row is named once at most.

    For V, (H, D), the rows are those of its transpose: one a symbol.
    """

    ids: Tensor
    values: Tensor


def take_parts(weight: nn.Parameter) -> Factors | Rows | None:
    """Return what a loss left with the weight, if anything, and forget it."""
    parts: Factors | Rows | None = vars(weight).pop("parts", None)
    return parts


def rows_of(gradient: Tensor) -> Rows:
    """Return a sparse gradient, as the row lookup of U leaves it, with a row that comes twice added up."""
    ids, inverse = torch.unique(gradient._indices()[0], return_inverse=True)
    values = gradient._values()
    return Rows(ids, values.new_zeros(len(ids), values.shape[1]).index_add_(0, inverse, values))


def joined(parts: Sequence[Rows], *, scale: Tensor | None = None) -> Rows:
    """Return the sum of gradients by rows, times `scale`, with a row that is in several of them added up."""
    if len(parts) > 1:
        ids, inverse = torch.unique(torch.cat([rows.ids for rows in parts]), return_inverse=True)
        values = torch.cat([rows.values for rows in parts])
        parts = [Rows(ids, values.new_zeros(len(ids), values.shape[1]).index_add_(0, inverse, values))]
    return parts[0] if scale is None else Rows(parts[0].ids, parts[0].values * scale)
