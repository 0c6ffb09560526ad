"""Learning from bases of DNA as they come: each block is predicted by weights that saw none of it, then learnt from.

The counts and what mixes them learn from every base (`network.bases`); the net's U, W and V from a block of L bases,
cut into L / T windows side by side, each from the state that the net had there:

    y(t) = softmax( s(t) V + c + m(t) ),    loss = - mean over the block of log y(t)[ w(t+1) ]

with m(t) what the contexts added to the logits when they predicted that base, which is a constant here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.config import LearnSettings
from elman.learn.optimizers import OPTIMIZERS, Optimizer, clip_gradients
from elman.learn.steps import rates_of
from elman.network.bases import LEARN_COUNTS, LEARN_WEIGHTS, BaseReader, Codes, Contexts, Floats
from elman.network.history import NOTHING
from elman.network.model import RecurrentNetwork


class BaseLearner:
    """A net and contexts that learn from each block of bases once it has been predicted.

    Parameters
    ----------
    network, contexts
        what learns; both are changed in place. Without a network only the contexts do.
    settings
        batch and bptt (a block is batch * bptt bases), optimizer, rates, clip, beta.
    """

    def __init__(self, network: RecurrentNetwork | None, contexts: Contexts, settings: LearnSettings) -> None:
        self.network, self.contexts, self.settings = network, contexts, settings
        self.block = settings.batch * settings.bptt
        self.reader = BaseReader(contexts, network, keep=self.block)
        self.optimizer: Optimizer | None = None
        self.sound = True
        """Whether the last block's gradient came of numbers; the compiled loop hides what is none."""
        self._norm: Tensor | None = None
        self.memory = 1 if network is None else network.memory + 1
        self._past = np.full(self.memory, NOTHING, dtype=np.int64)
        self._mixed: Floats = np.zeros((self.block, 4), dtype=np.float32)
        if network is not None:
            self.optimizer = OPTIMIZERS[settings.optimizer](
                network.named_parameters(),
                beta=settings.beta,
                rates=rates_of(network, settings),
                moments=(settings.adam_beta1, settings.adam_beta2),
            )

    def begin(self) -> None:
        """Start a sequence: what was read before it is no history of it."""
        self.reader.begin()
        self._past[:] = NOTHING

    def follow(self, codes: Codes, *, alpha: float, rate: float) -> Floats:
        """Predict a block of at most `block` bases, then learn from it; return y, (N, 4)."""
        y = self.reader.follow(
            codes, rate=rate, learn=LEARN_WEIGHTS | LEARN_COUNTS, keep=True, mixed=self._mixed[: len(codes)]
        )
        self.learn(codes, alpha=alpha)
        return y

    @property
    def mixed(self) -> Floats:
        """What the contexts added to the logits of a block, (block, 4): to be filled before `learn` is called alone."""
        return self._mixed

    def learn(self, codes: Codes, *, alpha: float) -> None:
        """Let the net learn from a block that the reader has read with `keep`, and go on to the next."""
        if self.network is not None and self.optimizer is not None:
            self._move(codes, alpha)
        count, states = len(codes), self.reader.states
        run = np.concatenate([self._past, codes])
        self._past = run[len(run) - self.memory :]
        states[:2] = states[count : count + 2].copy()

    def told(self) -> dict[str, float]:
        """Return the norm of the last gradient before it was clipped, where it was to be, for the log."""
        return {} if self._norm is None else {"gradient_norm": float(self._norm)}

    def _move(self, codes: Codes, alpha: float) -> None:
        network, optimizer = self.network, self.optimizer
        assert network is not None and optimizer is not None
        window = self._window(codes)
        if window is None:
            return
        _, above = network.unroll(window.state, window.symbols, sparse=True)
        logits = network.output.logits(above, network.encoder.U) + window.mixed
        at_target = torch.log_softmax(logits, dim=-1).gather(-1, window.targets.unsqueeze(-1)).squeeze(-1)
        loss = -(at_target * window.counted).sum() / window.counted.sum()
        self.sound = bool(loss.isfinite())
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip is not None:
            self._norm = clip_gradients(network.parameters(), self.settings.clip)
        optimizer.step(alpha)
        optimizer.settle()  # the loop reads all weights, also those of which it was put off that they shrink

    def _window(self, codes: Codes) -> _Window | None:
        """Cut a block into windows side by side; the first base of a sequence comes after nothing and teaches none."""
        network, length = self.network, self.settings.bptt
        assert network is not None
        first = 1 if self._past[-1] == NOTHING else 0
        count = len(codes) - first
        if count <= 0:
            return None
        streams = -(-count // length)
        run = np.concatenate([self._past, codes.astype(np.int64)])
        place = first + length * np.arange(streams)  # of the first target of each stream in the block
        step = np.minimum(place + np.arange(length)[:, None], len(codes) - 1)  # (T, B), of the targets
        counted = place + np.arange(length)[:, None] < len(codes)
        states = torch.from_numpy(self.reader.states[place].copy())  # s(t-2) of target t: before its input is read
        before = place[:, None] + np.arange(self.memory - 1)  # where the history of the input begins in `run`
        state = (states, torch.from_numpy(run[before])) if network.memory else (states,)
        return _Window(
            state=state,
            symbols=torch.from_numpy(run[step + self.memory - 1]),
            targets=torch.from_numpy(run[step + self.memory]),
            counted=torch.from_numpy(counted).to(torch.float32),
            mixed=torch.from_numpy(self._mixed[step]),
        )


class _Window:
    """A block cut into windows: states (B, H) and all else (T, B), `mixed` (T, B, 4)."""

    def __init__(
        self, *, state: tuple[Tensor, ...], symbols: Tensor, targets: Tensor, counted: Tensor, mixed: Tensor
    ) -> None:
        self.state, self.symbols, self.targets = state, symbols, targets
        self.counted, self.mixed = counted, mixed


def blocks(codes: NDArray[np.uint8], size: int) -> Iterator[Codes]:
    """Cut a sequence into blocks.

    >>> [len(block) for block in blocks(np.zeros(5, np.uint8), 2)]
    [2, 2, 1]
    """
    return (codes[at : at + size] for at in range(0, len(codes), size))
