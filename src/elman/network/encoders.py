"""U: how w(t) is encoded and what U makes of it.

An encoder turns the symbols of a window into the drive of the first layer, x(t) = w(t) U. It may look back, never
ahead. `ENCODERS` is the table that the settings, the docs and the contract tests read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OneHot(nn.Module):
    """w(t) is the one-hot row of the current symbol, so w(t) U is the row of U with that symbol's number.

    The matrix of zeros and ones is never made: the product is a row lookup.

    Parameters
    ----------
    dictionary_size
        D.
    drive_size
        columns of U: what the first cell takes (H for an Elman cell).
    """

    def __init__(self, dictionary_size: int, drive_size: int) -> None:
        super().__init__()
        self.U = nn.Parameter(torch.zeros(dictionary_size, drive_size))

    def forward(self, symbols: Tensor, *, sparse: bool = False) -> Tensor:
        """Return w(t) U, (..., H), for symbols (...); `sparse`: the gradient of U holds only the rows in use."""
        return nn.functional.embedding(symbols, self.U, sparse=sparse)


ENCODERS: dict[str, type[OneHot]] = {"one-hot": OneHot}
