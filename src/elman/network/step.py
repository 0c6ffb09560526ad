"""One symbol at a time, as a keyboard or a beam asks: a network ready to step, with V in the layout that it needs.

`Stepper` is the fast path; `RecurrentNetwork.step` on a network whose V went through `storage.stored` is its twin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from elman.errors import UsageError
from elman.network.kernels import stored_log_probs, stored_log_probs_slowly
from elman.network.model import RecurrentNetwork, State
from elman.network.storage import as_int8, check_weights

THREAD_WORK = 4_000_000
"""Weights that are worth a thread: fewer are multiplied before a second thread has woken up."""

MOST_ROWS = 16
"""States side by side up to which the compiled loop is taken; for more, one product of matrices is faster."""


class Stepper:
    """A network that reads one symbol a call, and answers with the log-probabilities of all that may come next.

    With `weights` other than "fp32" it holds its own copy of V, made when it is: later changes of the network's V do
    not reach it (make another one).

    Parameters
    ----------
    network
        the network; its recurrent part is used as it is.
    weights
        how V is stored: "fp32" as it is, "bf16" in half the memory, "int8" in a quarter, with one scale a symbol.

    Raises
    ------
    UsageError
        for another storage, or one that the network's output layer does not have.
    """

    def __init__(self, network: RecurrentNetwork, *, weights: str = "fp32") -> None:
        check_weights(weights)
        self.network, self.weights = network, weights
        self._output = None if weights == "fp32" else StoredOutput(network, weights)

    def initial_state(self, batch: int = 1) -> State:
        """Return s(0) for `batch` sequences side by side."""
        return self.network.initial_state(batch)

    def step(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read one symbol a sequence, (B,); return the next state and log y, (B, D)."""
        if self._output is None:
            return self.network.step(state, symbols)
        with torch.no_grad():
            state, above = self.network.advance(state, symbols)
            return state, self._output.log_probs(above)


class StoredOutput:
    """The full softmax with its V stored symbol by symbol, (D, H), in bf16 or int8; log y comes from one fused loop."""

    def __init__(self, network: RecurrentNetwork, weights: str) -> None:
        output = network.output
        if not output.one_product:
            raise UsageError(
                f"output {network.settings.output} is not stored in {weights}", hint="leave weights at fp32"
            )
        V = output.matrix(network.encoder.U).detach()
        self.offset = None if output.bias is None else output.bias.detach().clone()
        self.scales: Tensor | None = None
        if weights == "int8":
            self.rows, scales = as_int8(V)
            self.scales, self.rows = scales.contiguous(), self.rows.contiguous()
        else:
            self.rows = V.t().to(torch.bfloat16).contiguous()

    def log_probs(self, states: Tensor) -> Tensor:
        """Return log y, (B, D), for states (B, H)."""
        if len(states) > MOST_ROWS:
            return stored_log_probs_slowly(states, self.rows, self.scales, self.offset)
        threads = min(torch.get_num_threads(), 1 + self.rows.numel() // THREAD_WORK)
        return stored_log_probs(states.contiguous(), self.rows, self.scales, self.offset, threads=threads)
