"""Cells with gates: GRU, LSTM and the Mogrifier LSTM, with weights in PyTorch's layout.

GRU and LSTM have forms that tests compare: `step`, by the equations; PyTorch's own kernels (cuDNN's on a GPU), which
`unroll` takes; and for the LSTM on a processor that multiplies in bf16, `_LSTMWindow`, which keeps its states in fp32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from elman.config import NetworkSettings
from elman.network.cell import Cell, multiply
from elman.network.step_kernels import lstm_back, lstm_step


class _Gated(Cell):
    """Weights as in `nn.LSTM` and `nn.GRU`: for the input, (G H, E), for the state, (G H, H), two biases, (G H,)."""

    recurrent = ("weight_hh",)
    gates = 4

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        rows = self.gates * hidden_size
        self.weight_ih = nn.Parameter(torch.zeros(rows, input_size))
        self.weight_hh = nn.Parameter(torch.zeros(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.zeros(rows))
        self.bias_hh = nn.Parameter(torch.zeros(rows))

    def weights(self, product: torch.dtype | None) -> list[Tensor]:
        """Return the weights as PyTorch's kernels take them, in the type of the products."""
        weights: list[Tensor] = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        return weights if product is None else [weight.to(product) for weight in weights]


class GRU(_Gated):
    """The gated recurrent unit, in the form that PyTorch and cuDNN have.

        r = sigmoid( x A_r + s W_r + b_r ),   z = sigmoid( x A_z + s W_z + b_z )
        n = tanh( x A_n + a_n + r * ( s W_n + b_n ) ),   s(t) = (1 - z) * n + z * s(t-1)

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder" (EMNLP 2014).
    """

    gates = 3

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t)."""
        below = linear(drive, self.weight_ih, self.bias_ih).chunk(3, dim=-1)
        before = linear(state, self.weight_hh, self.bias_hh).chunk(3, dim=-1)
        r, z = torch.sigmoid(below[0] + before[0]), torch.sigmoid(below[1] + before[1])
        n = torch.tanh(below[2] + r * before[2])
        return (1 - z) * n + z * state

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Run over a window by PyTorch's kernel."""
        kind = product or drive.dtype
        states, after = torch._VF.gru(
            drive.to(kind),
            state.unsqueeze(0).to(kind),
            self.weights(product),
            True,
            1,
            0.0,
            self.training,
            False,
            False,
        )
        return after[0].to(state.dtype), states.to(drive.dtype)


class LSTM(_Gated):
    """Long short-term memory, with forget gates and no peepholes. A state is s(t) and c(t) side by side.

        i, f, o = sigmoid( x A + s W + b ),   g = tanh( x A_g + s W_g + b_g )
        c(t) = f * c(t-1) + i * g,   s(t) = o * tanh( c(t) )

    Source: S. Hochreiter and J. Schmidhuber, "Long short-term memory" (1997); F. A. Gers, J. Schmidhuber and F.
    Cummins, "Learning to forget" (2000).
    """

    @property
    def state_size(self) -> int:
        """S(t) and c(t)."""
        return 2 * self.hidden_size

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) and c(t)."""
        hidden, memory = state.chunk(2, dim=-1)
        above = linear(drive, self.weight_ih, self.bias_ih) + linear(hidden, self.weight_hh, self.bias_hh)
        i, f, g, o = above.chunk(4, dim=-1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return torch.cat([torch.sigmoid(o) * torch.tanh(memory), memory], dim=-1)

    def unroll(self, state: Tensor, drive: Tensor, product: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Run over a window by PyTorch's kernel; for products in bf16 on a processor, by `_LSTMWindow`."""
        if drive.is_cuda or product in (None, drive.dtype):
            return self.unroll_by_torch(state, drive, product)
        hidden, memory = state.chunk(2, dim=-1)
        above = multiply(drive, self.weight_ih.t(), product) + (self.bias_ih + self.bias_hh)
        states, memory = _LSTMWindow.apply(  # type: ignore[no-untyped-call]
            above, hidden, memory, self.weight_hh, product or drive.dtype
        )
        return torch.cat([states[-1], memory], dim=-1), states

    def unroll_by_torch(
        self, state: Tensor, drive: Tensor, product: torch.dtype | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a window by PyTorch's kernel."""
        kind = product or drive.dtype
        hidden, memory = (part.unsqueeze(0).contiguous().to(kind) for part in state.chunk(2, dim=-1))
        states, hidden, memory = torch._VF.lstm(
            drive.to(kind), (hidden, memory), self.weights(product), True, 1, 0.0, self.training, False, False
        )
        return torch.cat([hidden[0], memory[0]], dim=-1).to(state.dtype), states.to(drive.dtype)


class _LSTMWindow(torch.autograd.Function):
    """The recurrence of the LSTM over a window, given x(t) A + b for all gates, (T, B, 4 H), as one node of the graph.

    Backward, for t = T .. 1, with e_s(t) the error from above and d(t) that of what goes into the gates:

        e_s += d(t+1) W,   e_c += e_s * o * (1 - tanh(c)^2)
        d_i = e_c g i (1-i),   d_f = e_c c(t-1) f (1-f),   d_g = e_c i (1-g^2),   d_o = e_s tanh(c) o (1-o),   e_c *= f

    States and errors are fp32; products may be bf16.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        above: Tensor,
        hidden: Tensor,
        memory: Tensor,
        weight: Tensor,
        product: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        length, batch, size = len(above), len(hidden), hidden.shape[1]
        above, gates = above.contiguous(), torch.empty_like(above, memory_format=torch.contiguous_format)
        states, memories = above.new_empty(length + 1, batch, size), above.new_empty(length + 1, batch, size)
        curves = above.new_empty(length, batch, size)  # tanh(c)
        narrow = states if product is above.dtype else states.new_empty(states.shape, dtype=product)
        states[0], memories[0], narrow[0] = hidden, memory, hidden
        matrix = weight.t().to(product)
        recurrent = above.new_empty(batch, 4 * size, dtype=product)
        for t in range(length):
            torch.mm(narrow[t], matrix, out=recurrent)
            copy = None if narrow is states else narrow[t + 1]
            lstm_step(above[t], recurrent, memories[t], gates[t], memories[t + 1], curves[t], states[t + 1], copy=copy)
        ctx.save_for_backward(gates, memories, curves, narrow, matrix)
        ctx.dtype = weight.dtype
        return states[1:], memories[length].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor, memory_error: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        gates, memories, curves, narrow, matrix = ctx.saved_tensors
        length, batch, size = curves.shape
        error, later = error.contiguous(), memory_error.clone(memory_format=torch.contiguous_format)
        deltas = torch.empty_like(gates)
        sources = deltas if matrix.dtype is deltas.dtype else torch.empty_like(deltas, dtype=matrix.dtype)
        back = matrix.t()
        recurrent = deltas.new_empty(batch, size, dtype=matrix.dtype)
        for t in range(length - 1, -1, -1):
            arriving = None if t == length - 1 else torch.mm(sources[t + 1], back, out=recurrent)
            copy = None if sources is deltas else sources[t]
            lstm_back(error[t], arriving, gates[t], memories[t], curves[t], later, deltas[t], copy=copy)
        d_hidden = torch.mm(sources[0], back).to(error.dtype) if ctx.needs_input_grad[1] else None
        flat = sources.view(length * batch, 4 * size)
        d_weight = torch.mm(flat.t(), narrow[:-1].reshape(length * batch, size)).to(ctx.dtype)
        return deltas, d_hidden, later, d_weight, None


class MogrifierLSTM(LSTM):
    """An LSTM whose input and state gate each other, turn by turn, before each step: `network.rounds` times.

        x <- 2 sigmoid( s Q_k ) * x   in rounds 1, 3, ...,     s <- 2 sigmoid( x R_k ) * s   in rounds 2, 4, ...

    Source: G. Melis, T. Kocisky and P. Blunsom, "Mogrifier LSTM" (ICLR 2020), with full matrices Q and R.
    """

    recurrent = ("weight_hh",)

    def __init__(self, input_size: int, hidden_size: int, settings: NetworkSettings) -> None:
        super().__init__(input_size, hidden_size, settings)
        self.rounds = settings.rounds
        self.Q = nn.Parameter(torch.zeros((self.rounds + 1) // 2 * hidden_size, input_size))
        self.R = nn.Parameter(torch.zeros(self.rounds // 2 * input_size, hidden_size))

    def step(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return s(t) and c(t)."""
        hidden, memory = state.chunk(2, dim=-1)
        down, up = torch.split(self.Q, self.hidden_size), torch.split(self.R, self.input_size)
        for k in range(self.rounds):
            if k % 2 == 0:
                drive = 2 * torch.sigmoid(hidden @ down[k // 2]) * drive
            else:
                hidden = 2 * torch.sigmoid(drive @ up[k // 2]) * hidden
        return super().step(torch.cat([hidden, memory], dim=-1), drive)

    unroll = Cell.unroll
