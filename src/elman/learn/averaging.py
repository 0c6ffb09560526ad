"""Weights averaged over updates: what is validated and saved, while training goes on from the weights themselves.

An average is taken of the weights after every `every` updates, in one pass over them; before it, what an optimiser put
off (rows that shrink late) has to be done. To take all updates would cost a pass each, and weights that lie a few
updates apart are nearly the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from elman.config import LearnSettings
from elman.learn.optimizers import OPTIMIZERS


class Average:
    """No average: the weights that count are the network's own. The others change what they say.

    Parameters
    ----------
    parameters
        (name, weight) pairs.
    every
        updates between two weights that go into the average.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], *, every: int = 1) -> None:
        self.parameters, self.every = dict(parameters), every
        self.weights: dict[str, Tensor] = {}
        self.taken = 0

    @property
    def active(self) -> bool:
        """Whether there is an average."""
        return bool(self.weights)

    def due(self, update: int) -> bool:
        """Return whether the weights after that update, numbered from 1, go into the average."""
        return self.active and update % self.every == 0

    def kept(self) -> float:
        """Return the share of the average that the next weights leave of it."""
        raise NotImplementedError(f"{type(self).__name__} averages nothing")

    @torch.no_grad()
    def start(self) -> None:
        """Begin with the weights as they are."""
        self.weights = {name: weight.detach().clone() for name, weight in self.parameters.items()}
        self.taken = 0

    @torch.no_grad()
    def take(self) -> None:
        """Take the weights as they are into the average: a <- kept * a + (1 - kept) * w."""
        share = 1 - self.kept()
        for name, average in self.weights.items():
            average.lerp_(self.parameters[name].detach(), share)
        self.taken += 1

    def after_epoch(self, entropy: float) -> bool:
        """Hear of an epoch's validation entropy (nats a symbol); return whether the average is to start now."""
        return False

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network have the averaged weights while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, average in self.weights.items():
            weight = self.parameters[name].detach()
            own = weight.clone()
            weight.copy_(average)  # in place, as others hold views of the weight
            average.copy_(own)

    def facts(self) -> dict[str, Any]:
        """Return what the average remembers besides weights, for a checkpoint."""
        return {"taken": self.taken}

    def load(self, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take back the weights of the average, and what `facts` returned."""
        self.taken = int(facts.get("taken", 0))
        self.weights = {}
        if weights:
            self.start()
            self.taken = int(facts["taken"])
            for name, average in self.weights.items():
                average.copy_(weights[name])


class MovingAverage(Average):
    """The exponential moving average of the weights from the first update on: a <- d a + (1 - d) w.

    With k = `every` and n weights taken before, d = min( decay^k, (1 + n) / (10 + n) ): as the average begins with
    weights that have learnt nothing, its horizon grows with training, up to 1 / (1 - decay) updates.

    Source: B. T. Polyak and A. B. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control
    Optim. 30 (1992), for averages; the growing horizon is that of TensorFlow's `ExponentialMovingAverage`.
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], *, decay: float, every: int = 1) -> None:
        super().__init__(parameters, every=every)
        self.decay = decay
        self.start()

    def kept(self) -> float:
        """Return d."""
        return float(min(self.decay**self.every, (1 + self.taken) / (10 + self.taken)))


class TriggeredMean(Average):
    """The plain mean of the weights since validation stopped improving, as NT-ASGD takes it.

    The mean begins after an epoch whose validation is worse than the best of all but the last `nonmono` before it.

    Source: S. Merity, N. S. Keskar and R. Socher, "Regularizing and optimizing LSTM language models" (ICLR 2018).
    """

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], *, nonmono: int = 5, every: int = 1) -> None:
        super().__init__(parameters, every=every)
        self.nonmono = nonmono
        self.entropies: list[float] = []

    def kept(self) -> float:
        """Return n / (n + 1): the next weights count as much as each of the n before."""
        return self.taken / (self.taken + 1)

    def after_epoch(self, entropy: float) -> bool:
        """Return whether validation is worse than its best `nonmono` epochs ago, for the first time."""
        trigger = not self.active and entropy > min(self.entropies[: -self.nonmono], default=math.inf)
        self.entropies.append(entropy)
        return trigger

    def facts(self) -> dict[str, Any]:
        """Return how many weights were taken, and the validation of every epoch so far."""
        return {**super().facts(), "entropies": self.entropies}

    def load(self, weights: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take back the weights of the average, and what `facts` returned."""
        super().load(weights, facts)
        self.entropies = list(facts["entropies"])


def average_of(parameters: Iterable[tuple[str, nn.Parameter]], learn: LearnSettings) -> Average:
    """Return the average that the settings ask for."""
    if OPTIMIZERS[learn.optimizer].averages:
        return TriggeredMean(parameters, nonmono=learn.nonmono, every=learn.average_every)
    if learn.average is not None:
        return MovingAverage(parameters, decay=learn.average, every=learn.average_every)
    return Average(parameters)
