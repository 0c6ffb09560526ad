"""Losses of updates that a GPU may still be at work on, read many at a time: to read each would be to wait for each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MOST = 50
"""Losses that are left unread, at the most: so many updates later training notices that a loss is no number."""


class Loss(NamedTuple):
    """The loss of an update (nats, summed), over how many symbols, the update's number, and its learning rate."""

    loss: float
    symbols: int
    update: int
    alpha: float


class Losses:
    """Losses in the order of their updates, numbers or tensors, (), on a device."""

    def __init__(self) -> None:
        self._unread: list[tuple[float | Tensor, tuple[int, int, float]]] = []

    def append(self, loss: float | Tensor, symbols: int, update: int, alpha: float) -> None:
        """Add the loss of one more update."""
        self._unread.append((loss, (symbols, update, alpha)))

    @property
    def due(self) -> bool:
        """Whether `take` should be called now: at once for a number, now and then for tensors."""
        return len(self._unread) >= MOST or (bool(self._unread) and isinstance(self._unread[-1][0], float))

    def take(self) -> list[Loss]:
        """Return what was added since the last time, waiting for the device once."""
        unread, self._unread = self._unread, []
        tensors = [loss for loss, _ in unread if isinstance(loss, Tensor)]
        read = iter(torch.stack(tensors).tolist() if tensors else ())
        return [Loss(next(read) if isinstance(loss, Tensor) else loss, *rest) for loss, rest in unread]
