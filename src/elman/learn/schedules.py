"""How alpha changes while a network learns. `SCHEDULES` is the table that the settings and the docs read.

A schedule says two things: by what alpha is multiplied at a given point of training, and, after each epoch's
validation, whether to go on. What it remembers is a plain dictionary, so that a checkpoint can hold it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass
class Schedule:
    """Keep alpha as it is; stop after `patience` epochs without a better validation.

    Parameters
    ----------
    min_improvement
        the share of the validation entropy by which an epoch has to improve to count (`Halve` only).
    patience
        epochs without a better validation before training stops (`Plateau`: before alpha falls).
    decay
        what alpha is divided by (`Plateau` only).
    """

    min_improvement: float = 0.003
    patience: int = 3
    decay: float = 2.0
    scale: float = 1.0
    halving: bool = False
    best: float = math.inf
    last: float = math.inf
    waited: int = 0

    restores_best = False
    """Whether an epoch that made validation worse is undone before the next."""

    def factor(self, progress: float) -> float:
        """Return what alpha is multiplied by when this share, 0 .. 1, of all planned updates is done."""
        return self.scale

    def after_epoch(self, entropy: float) -> bool:
        """Take an epoch's validation entropy (nats a symbol); return whether to stop."""
        self.waited = 0 if entropy < self.best else self.waited + 1
        self.best, self.last = min(self.best, entropy), entropy
        return self.waited >= self.patience

    def state(self) -> dict[str, float | bool | int]:
        """Return what the schedule remembers."""
        return asdict(self)


@dataclass
class Halve(Schedule):
    """The classic: once an epoch improves validation by less than 0.3 %, halve alpha each epoch; then stop.

    Source: T. Mikolov et al., "Recurrent neural network based language model" (Interspeech 2010).
    """

    restores_best = True

    def after_epoch(self, entropy: float) -> bool:
        """Start halving at the first epoch that improves too little; stop at the second."""
        improved = entropy * (1 + self.min_improvement) < self.last
        stop = not improved and self.halving
        if not improved and math.isfinite(self.last):
            self.halving = True
        if self.halving:
            self.scale /= 2
        self.best, self.last = min(self.best, entropy), entropy
        return stop


@dataclass
class Linear(Schedule):
    """Let alpha fall in a straight line to zero at the end of the planned epochs."""

    def factor(self, progress: float) -> float:
        """Return 1 - progress."""
        return max(0.0, 1.0 - progress)


@dataclass
class Cosine(Schedule):
    """Let alpha fall along half a cosine to zero at the end of the planned epochs.

    Source: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017).
    """

    def factor(self, progress: float) -> float:
        """Return (1 + cos(pi progress)) / 2."""
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


@dataclass
class Plateau(Schedule):
    """Divide alpha by `decay` after `patience` epochs without a better validation; stop when that brought nothing.

    Training stops when, after alpha was divided, as many epochs again went by without a better validation.
    """

    def after_epoch(self, entropy: float) -> bool:
        """Divide alpha where patience runs out for the first time since the best epoch; stop at the second."""
        if entropy < self.best:
            self.halving = False
        if not super().after_epoch(entropy):
            return False
        if self.halving:
            return True
        self.halving, self.waited = True, 0
        self.scale /= self.decay
        return False


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Schedule,
    "halve": Halve,
    "plateau": Plateau,
    "linear": Linear,
    "cosine": Cosine,
}


def warm_up(update: int, updates: float) -> float:
    """Return what alpha is multiplied by in update number `update`, from 1: it rises in a line to 1 at `updates`."""
    return min(1.0, update / updates) if updates > 0 else 1.0
