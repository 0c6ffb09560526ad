"""Epochs of updates for nets that give a label to each input: the recurrent and the feedforward one learn here.

One label comes from a whole sequence, so nothing is carried from batch to batch and errors go back to its beginning.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.config import LearnSettings
from elman.errors import TrainingError
from elman.learn.nonsense import SLOWER
from elman.learn.optimizers import OPTIMIZERS, Optimizer, clip_gradients
from elman.learn.schedules import SCHEDULES, warm_up
from elman.network.classifier import Padded, pad
from elman.network.devices import on_device
from elman.network.points import Bags
from elman.text.bags import Bag
from elman.text.fronts import Encoded

SORTED_BATCHES = 50
"""Batches whose sequences are sorted by length together, so that less is padded; which ones is drawn each epoch."""
SCORED, SCORED_STEPS = 256, 1 << 18
"""Inputs that are scored side by side, and steps of all of them together, at the most."""

Batch = Padded | Bags | Tensor
Indices = NDArray[np.int64]


class Net(Protocol):
    """Log y, (B, K), of a batch; what training drops is dropped only where there is a generator."""

    def __call__(self, batch: Any, generator: torch.Generator | None = None) -> Tensor: ...  # noqa: D102, ANN401


@dataclass(frozen=True)
class Inputs:
    """What one net reads: sequences, bags of n-grams or points; batches of them are made when they are asked for."""

    items: Sequence[NDArray[Any]] | Sequence[Bag] | NDArray[np.float32]
    lengths: Indices
    dtype: torch.dtype = torch.float32
    unit_norm: bool = True

    @classmethod
    def of(cls, encoded: Encoded, net: str, dtype: torch.dtype = torch.float32) -> Inputs:
        """Take what the net of a name reads: sequences, n-grams at their places, or else the features."""
        if net == "recurrent":
            return cls.sequences(encoded)
        return cls.placed(encoded, dtype) if net.endswith("_places") else cls.rows(encoded, dtype)

    @classmethod
    def sequences(cls, encoded: Encoded) -> Inputs:
        """Take the sequences."""
        assert encoded.sequences is not None, "points are no sequences"
        return cls(encoded.sequences, np.array([len(sequence) for sequence in encoded.sequences]))

    @classmethod
    def rows(cls, encoded: Encoded, dtype: torch.dtype = torch.float32) -> Inputs:
        """Take the features."""
        return cls(encoded.rows, np.ones(len(encoded), dtype=np.int64), dtype)

    @classmethod
    def placed(cls, encoded: Encoded, dtype: torch.dtype = torch.float32) -> Inputs:
        """Take the n-grams at their places."""
        assert encoded.placed is not None, "nobody asked for places"
        return cls(encoded.placed, np.ones(len(encoded), dtype=np.int64), dtype, unit_norm=False)

    def __len__(self) -> int:
        return len(self.lengths)

    def batch(self, indices: Indices) -> Batch:
        """Return some of the inputs side by side."""
        if isinstance(self.items, np.ndarray):
            return torch.from_numpy(self.items[indices]).to(self.dtype)
        some: list[Any] = [self.items[index] for index in indices]
        return Bags.of(some, self.dtype, unit_norm=self.unit_norm) if isinstance(some[0], Bag) else pad(some)


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device."""
    if isinstance(batch, Tensor):
        return on_device(batch, device)
    return type(batch)(*(on_device(part, device) for part in batch))


def epoch_batches(lengths: Indices, batch: int, seed: int, epoch: int) -> list[Indices]:
    """Return every index once, in batches of nearly equal lengths; the order follows from seed and epoch alone."""
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(lengths))
    batches: list[Indices] = []
    for start in range(0, len(order), batch * SORTED_BATCHES):
        some = order[start : start + batch * SORTED_BATCHES]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[first : first + batch] for first in range(0, len(some), batch)]
    return [batches[place] for place in draw.permutation(len(batches))]


def scoring_batches(lengths: Indices) -> Iterator[Indices]:
    """Give every index once, the shortest inputs first, as many side by side as memory bears."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < min(len(order), start + SCORED) and (stop + 1 - start) * lengths[order[stop]] <= SCORED_STEPS:
            stop += 1
        yield order[start:stop]
        start = stop


@torch.no_grad()
def log_probs(net: Net, inputs: Inputs, labels: int, device: str | torch.device = "cpu") -> NDArray[np.float64]:
    """Return log y for every input, (N, K), in their order."""
    found = np.empty((len(inputs), labels))
    for indices in scoring_batches(inputs.lengths):
        found[indices] = net(moved(inputs.batch(indices), torch.device(device))).double().cpu().numpy()
    return found


class Judged(NamedTuple):
    """How well log-probabilities fit labels: the mean of -log y[label], in nats, and the share that is right."""

    loss: float
    accuracy: float


def judge(found: NDArray[np.float64], targets: Indices) -> Judged:
    """Compare log y, (N, K), with the right labels, (N,)."""
    loss = -float(found[np.arange(len(targets)), targets].mean())
    return Judged(loss, float((found.argmax(axis=1) == targets).mean()))


@dataclass
class Fitted:
    """How a training went: an entry for each epoch, and which of them was best on validation."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best: Judged = field(default_factory=lambda: Judged(math.inf, 0.0))
    updates: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "epochs": len(self.history),
            "best_epoch": self.best_epoch,
            "valid_loss": self.best.loss,
            "valid_accuracy": self.best.accuracy,
            "updates": self.updates,
            "seconds": round(self.seconds, 1),
            "history": self.history,
        }


Tell = Callable[[str, dict[str, Any]], None]
"""Hears of every epoch: the name of the net, and the entry of its history."""


class Fitter:
    """Trains one net by gradients, and keeps the weights of the epoch that was best on validation.

    Parameters
    ----------
    name, net
        what it is called, and the net; its weights are changed in place.
    weights, rates
        the weights by name, and what alpha is multiplied by for some of them (as `learn.optimizers` has it).
    settings
        resolved: alpha is a number.
    """

    def __init__(
        self,
        name: str,
        net: nn.Module,
        weights: Mapping[str, nn.Parameter],
        settings: LearnSettings,
        *,
        rates: Mapping[str, float] | None = None,
        tell: Tell = lambda name, entry: None,
    ) -> None:
        self.name, self.net, self.weights, self.settings, self.tell = name, net, dict(weights), settings, tell
        self.optimizer: Optimizer = OPTIMIZERS[settings.optimizer](
            self.weights.items(),
            beta=settings.beta,
            rates=rates,
            moments=(settings.adam_beta1, settings.adam_beta2),
        )
        self.schedule = SCHEDULES[settings.schedule](
            min_improvement=settings.min_improvement, patience=settings.patience, decay=settings.decay
        )
        self.device = next(iter(self.weights.values())).device
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.fitted = Fitted()

    def fit(self, train: Inputs, targets: Indices, valid: Inputs, valid_targets: Indices, labels: int) -> Fitted:
        """Train to the end; raises `TrainingError` for a loss that is no number."""
        start, best = time.perf_counter(), self._copy()
        per_epoch = -(-len(train) // self.settings.batch)
        planned = min(self.settings.epochs * per_epoch, self.settings.max_updates or math.inf)
        for epoch in range(self.settings.epochs):
            train_loss, alpha = self._epoch(train, targets, epoch, int(planned))
            judged = judge(log_probs(self.net, valid, labels, self.device), valid_targets)
            self._refuse(judged.loss)
            better = judged.loss < self.fitted.best.loss
            if better:
                self.fitted.best, self.fitted.best_epoch, best = judged, epoch + 1, self._copy()
            elif self.schedule.restores_best:
                self._take(best)
            entry = {"epoch": epoch + 1, "alpha": alpha, "train_loss": train_loss, "valid_loss": judged.loss}
            entry |= {"valid_accuracy": judged.accuracy, "best": better}
            self.fitted.history.append(entry)
            self.fitted.seconds = time.perf_counter() - start
            self.tell(self.name, entry | {"epochs": self.settings.epochs, "seconds": self.fitted.seconds})
            if self.schedule.after_epoch(judged.loss) or self.fitted.updates >= planned:
                break
        self._take(best)
        return self.fitted

    def run(self, train: Inputs, targets: Indices) -> Fitted:
        """Train for all epochs, with nothing to validate on, and keep the last weights; errors as in `fit`."""
        start = time.perf_counter()
        per_epoch = -(-len(train) // self.settings.batch)
        planned = int(min(self.settings.epochs * per_epoch, self.settings.max_updates or math.inf))
        for epoch in range(self.settings.epochs):
            train_loss, alpha = self._epoch(train, targets, epoch, planned)
            self.fitted.history.append({"epoch": epoch + 1, "alpha": alpha, "train_loss": train_loss})
        self.fitted.seconds = time.perf_counter() - start
        return self.fitted

    def _epoch(self, train: Inputs, targets: Indices, epoch: int, planned: int) -> tuple[float, float]:
        """Make the updates of an epoch; return the mean loss of its inputs, and the last alpha."""
        total, count, alpha = 0.0, 0, 0.0
        for indices in epoch_batches(train.lengths, self.settings.batch, self.settings.seed, epoch):
            if self.fitted.updates >= planned:
                break
            alpha = self._alpha(planned)
            loss = self._update(train.batch(indices), torch.from_numpy(targets[indices]), alpha)
            total, count = total + loss * len(indices), count + len(indices)
        self.optimizer.settle()
        return total / max(1, count), alpha

    def _alpha(self, planned: int) -> float:
        learn, done = self.settings, self.fitted.updates
        assert learn.alpha is not None, "settings are resolved"
        warmup = learn.warmup if learn.warmup >= 1 else learn.warmup * planned
        return learn.alpha * self.schedule.factor(done / planned) * warm_up(done + 1, warmup)

    def _update(self, batch: Batch, targets: Tensor, alpha: float) -> float:
        """Move the weights against the gradient of the mean loss of a batch; return that loss."""
        if isinstance(batch, Padded) and not batch.values.is_floating_point():
            self.optimizer.before_reading("encoder.U", batch.values)
        found = self.net(moved(batch, self.device), self.generator)
        loss = nn.functional.nll_loss(found, on_device(targets, self.device))
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        self._refuse(value)
        if self.settings.clip is not None:
            self._refuse(float(clip_gradients(self.weights.values(), self.settings.clip)))
        if self.settings.beta_follows:
            self.optimizer.shrinking = self.settings.beta * alpha / (self.settings.alpha or alpha)
        self.optimizer.step(alpha)
        self.fitted.updates += 1
        return value

    def _refuse(self, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"the {self.name} net: after {self.fitted.updates} updates the loss is {value}", hint=SLOWER
            )

    def _copy(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    @torch.no_grad()
    def _take(self, weights: Mapping[str, Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(weights[name])
