"""U: how w(t) is encoded and what U makes of it.

An encoder turns the symbols of a window into the drive of the first layer, x(t) = w(t) U. It may look back, never
ahead. `ENCODERS` is the table that the settings, the docs and the contract tests read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from elman.network.devices import on_device
from elman.network.parts import Rows


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
        """Return w(t) U, (..., H), for symbols (...); `sparse`: the gradient of U holds only the rows in use.

        Symbols may be on the CPU while U is on a GPU: which rows are in use is then found without waiting for the GPU.
        """
        if sparse and symbols.device.type == "cpu" != self.U.device.type:
            return look_up(self.U, symbols)
        return nn.functional.embedding(on_device(symbols, self.U.device), self.U, sparse=sparse)


class _LookUp(torch.autograd.Function):
    """The rows of U that are named, and in `U.parts` their gradient: added up for each row in use."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        U: Tensor,
        ids: Tensor,
        places: Tensor,
    ) -> Tensor:
        ctx.U, ctx.ids, ctx.places = U, ids, places
        return U[ids][places]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        values = error.new_zeros(len(ctx.ids), error.shape[-1])
        # On a GPU this adds in a fixed order, which `index_add_` does not: the same run gives the same weights.
        values.index_put_((ctx.places.reshape(-1),), error.reshape(-1, error.shape[-1]), accumulate=True)
        ctx.U.parts = Rows(ctx.ids, values)
        return None, None, None


def look_up(U: Tensor, symbols: Tensor) -> Tensor:
    """Return U[symbols], (..., H), for symbols (...) on the CPU; U's gradient is left as `parts.Rows`."""
    ids, places = torch.unique(symbols, return_inverse=True)
    rows: Tensor = _LookUp.apply(U, on_device(ids, U.device), on_device(places, U.device))  # type: ignore[no-untyped-call]
    return rows


ENCODERS: dict[str, type[OneHot]] = {"one-hot": OneHot}
