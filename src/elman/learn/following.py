"""V follows time: inside a window of U and W, V moves after every few time steps.

The states of a sigmoid layer have a mean far from zero, so that V has one direction of large curvature: plain SGD bears
only a few time steps between two moves of V. Moving V itself that often would cost a pass over its H x D numbers each
time; here it moves once a window, and what it would have been in between comes from the products of the window's own
states and errors, as in `learn.online`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from elman.network.kernels import shift, softmax_error


class OutputFollower:
    """Plain SGD for V with one update after every block of time steps, B streams side by side.

    With k = 0, 1, ... the blocks of a window, S(k) their states and E(k) = Y(k) - D(k), row by row,

        V(k+1) = (1 - beta) V(k) - (alpha / B) S(k)^T E(k)

    so that, with c = 1 - beta and S'(i) = c^(-1-i) S(i), all products with V are products with V(0) and a correction:

        S(k) V(k)    = c^k ( S(k) V(0)    - (alpha / B) sum_{i<k} ( S(k) S'(i)^T ) E(i)  )
        E(k) V(k)^T  = c^k ( E(k) V(0)^T  - (alpha / B) sum_{i<k} ( E(k) E(i)^T ) S'(i) )

    Parameters
    ----------
    V : (H, D), float, on the CPU; changed in place.
    beta : L2 regularisation, applied once a block.
    block : time steps between two updates of V.
    product : the type that products with V are made in.
    """

    def __init__(self, V: Tensor, *, beta: float, block: int, product: torch.dtype) -> None:
        self.V = V.detach()
        self.beta, self.block, self.product = beta, block, product
        self._logits = V.new_empty(0, dtype=product)
        self._change = torch.empty_like(self.V, dtype=product)
        self.refresh()

    def refresh(self) -> None:
        """Notice that V was changed by someone else."""
        self._copy = self.V if self.V.dtype is self.product else self.V.to(self.product)

    @torch.no_grad()
    def learn(self, states: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        """Score a window, move V, and return its loss and the errors that go back to the states.

        Parameters
        ----------
        states : (T, B, H).
        targets : (T, B), int64.
        alpha : learning rate.

        Returns
        -------
        loss : - log y(t)[target], summed over the window and averaged over the streams.
        errors : d loss / d states, (T, B, H).
        """
        length, batch, hidden = states.shape
        rate = alpha / batch
        rows = states.reshape(length * batch, hidden)
        ages = torch.arange(length).div(self.block, rounding_mode="floor").repeat_interleave(batch)
        blocks = int(ages[-1]) + 1
        shrunk = torch.pow(torch.tensor(1.0 - self.beta, dtype=torch.float64), ages).to(rows.dtype).unsqueeze(1)
        before = rows / (shrunk * (1.0 - self.beta))
        logits = self._buffer(length * batch)
        torch.mm((rows * shrunk).to(self.product), self._copy, out=logits)
        near = torch.mm(rows * shrunk, before.t()).mul_(-rate).to(self.product)
        flat, log_probs = targets.reshape(-1), []
        for k in range(blocks):
            here, past = self._block(k, batch, length), k * self.block * batch
            if past:
                logits[here].addmm_(near[here, :past], logits[:past])  # what lies behind are errors already
            log_probs.append(softmax_error(logits[here], flat[here]))
        errors = torch.mm(logits, self._copy.t()).to(rows.dtype)
        for k in range(1, blocks):
            here, past = self._block(k, batch, length), k * self.block * batch
            products = torch.mm(logits[here], logits[:past].t()).to(rows.dtype)
            errors[here].addmm_(products, before[:past], alpha=-rate)
        errors.mul_(shrunk / batch)
        self._move(before, logits, (1.0 - self.beta) ** blocks, rate)
        return -torch.cat(log_probs).sum() / batch, errors.view(states.shape)

    def _buffer(self, rows: int) -> Tensor:
        if len(self._logits) < rows:  # made once: fresh memory costs more than what is done in it
            self._logits = self.V.new_empty(rows, self.V.shape[1], dtype=self.product)
        return self._logits[:rows]

    def _block(self, k: int, batch: int, length: int) -> slice:
        return slice(k * self.block * batch, min((k + 1) * self.block, length) * batch)

    def _move(self, before: Tensor, errors: Tensor, keep: float, rate: float) -> None:
        left = before.t().contiguous().to(self.product)
        if self._copy is self.V:
            self.V.addmm_(left, errors, beta=keep, alpha=-rate * keep)
        else:
            torch.mm(left, errors, out=self._change)
            shift(self.V, self._change, keep=keep, rate=-rate * keep, copy=self._copy)
