"""The feedforward net, which has no history but a window of the last symbols: the baseline for all that recur."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.network.cell import Cell, multiply


class Feedforward(Cell):
    """s(t) = f( x(t) A_1 + x(t-1) A_2 + .. + x(t-n+1) A_n + b ), with n = `network.window`; before a text x is zero.

    A state holds s(t), which nothing reads but what is above, and the n - 1 inputs that the next window begins with.

    Source: Y. Bengio, R. Ducharme, P. Vincent and C. Jauvin, "A neural probabilistic language model" (JMLR 2003),
    without its connections from x to the output.
    """

    recurrent = ()

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.window = settings.window
        self.A = nn.Parameter(torch.zeros(self.window * input_size, hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size)) if settings.bias else None

    @property
    def state_size(self) -> int:
        """How many numbers a state is made of: s(t) and n - 1 inputs, the latest first."""
        return self.hidden_size + (self.window - 1) * self.input_size

    def _active(self, sums: Tensor) -> Tensor:
        return self.activation.function(sums if self.bias is None else sums + self.bias)

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) and the inputs that go on."""
        seen = torch.cat([drive, state[:, self.hidden_size :]], dim=1)
        return torch.cat([self._active(seen @ self.A), seen[:, : seen.shape[1] - self.input_size]], dim=1)

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return the state after the window, and s of all its steps by one product: none needs another."""
        length, batch, _ = drive.shape
        before = state[:, self.hidden_size :].view(batch, self.window - 1, self.input_size).transpose(0, 1).flip(0)
        inputs = torch.cat([before, drive])
        seen = torch.cat([inputs[self.window - 1 - k :][:length] for k in range(self.window)], dim=2)
        states = self._active(multiply(seen, self.A, product))
        return torch.cat([states[-1], seen[-1, :, : seen.shape[2] - self.input_size]], dim=1), states
