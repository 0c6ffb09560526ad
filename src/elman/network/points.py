"""Points in, a label out: the feedforward net, and the linear softmax that it has to beat.

A point is a row x of F numbers, (B, F). A bag of n-grams is such a row too, nearly all of it zeros, and is given by the
numbers that are not: the product with a matrix is then a sum of a few of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.network.activations import ACTIVATIONS
from elman.network.dropping import Dropper
from elman.text.bags import Bag


class Bags(NamedTuple):
    """Rows of mostly zeros: row b has `weights` at the places `ids`, from number `offsets[b]` to the next row's."""

    ids: Tensor
    offsets: Tensor
    weights: Tensor

    @classmethod
    def of(cls, bags: Sequence[Bag], dtype: torch.dtype = torch.float32, *, unit_norm: bool = True) -> Bags:
        """Make rows of bags: counts, each row divided by its Euclidean norm, so that length alone says nothing.

        Without `unit_norm` they are the counts: n-grams at their places are one-hot, and as many in each row.
        """
        norms = [float((bag.counts**2).sum()) ** 0.5 if unit_norm else 1.0 for bag in bags]
        weights = [bag.counts / max(1e-12, norm) for bag, norm in zip(bags, norms, strict=True)]
        sizes = torch.tensor([0, *(len(bag.ids) for bag in bags)])
        return cls(
            torch.cat([torch.from_numpy(bag.ids) for bag in bags]),
            sizes.cumsum(0)[:-1],
            torch.cat([torch.from_numpy(values) for values in weights]).to(dtype),
        )

    def dense(self, features: int) -> Tensor:
        """Return the rows with all their zeros, (B, F): the slow twin."""
        rows = self.weights.new_zeros(len(self.offsets), features)
        ends = [*self.offsets.tolist()[1:], len(self.ids)]
        for row, start, end in zip(rows, self.offsets.tolist(), ends, strict=True):
            row[self.ids[start:end]] = self.weights[start:end]
        return rows


Points = Tensor | Bags
"""Rows x, (B, F): dense, or bags."""


def product(x: Points, matrix: Tensor, *, sparse: bool = False) -> Tensor:
    """Return x matrix, (B, M), for a matrix (F, M); `sparse`: its gradient holds only the rows in use."""
    if isinstance(x, Tensor):
        return x @ matrix
    return nn.functional.embedding_bag(
        x.ids, matrix, x.offsets, mode="sum", per_sample_weights=x.weights, sparse=sparse
    )


class Linear(nn.Module):
    """Softmax regression, y = g( x V + c ): no hidden layer.

    Parameters
    ----------
    features
        F.
    labels
        K.
    """

    def __init__(self, features: int, labels: int) -> None:
        super().__init__()
        self.V = nn.Parameter(torch.zeros(features, labels))
        self.bias = nn.Parameter(torch.zeros(labels))

    def forward(self, x: Points) -> Tensor:
        """Return log y, (B, K)."""
        return torch.log_softmax(product(x, self.V) + self.bias, dim=-1)


class Feedforward(nn.Module):
    """The feedforward net: s = f( x U + b ), y = g( s V + c ).

    Parameters
    ----------
    features
        F, the columns of x; U is (F, H).
    labels
        K; V is (H, K).
    settings
        H, f, how weights start, and `dropout` of the hidden units in training.
    """

    def __init__(self, features: int, labels: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.activation = ACTIVATIONS[settings.activation]
        self.U = nn.Parameter(torch.zeros(features, settings.hidden))
        self.b = nn.Parameter(torch.zeros(settings.hidden))
        self.V = nn.Parameter(torch.zeros(settings.hidden, labels))
        self.c = nn.Parameter(torch.zeros(labels))

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw both matrices from [-init_range, init_range]; biases stay zero."""
        for matrix in (self.U, self.V):
            matrix.uniform_(-self.settings.init_range, self.settings.init_range, generator=generator)

    def forward(self, x: Points, generator: torch.Generator | None = None) -> Tensor:
        """Return log y, (B, K); hidden units are dropped only where a `generator` is given."""
        sparse = generator is not None and isinstance(x, Bags)
        hidden = self.activation.function(product(x, self.U, sparse=sparse) + self.b)
        hidden = Dropper(self.settings, generator).units(hidden, self.settings.dropout, locked=False)
        return torch.log_softmax(hidden @ self.V + self.c, dim=-1)
