"""The whiteboard held against the engine: one training step of the fast path for each update, number by number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from elman.apply.by_hand import ByHand, Matrices, Update, plain
from elman.apply.by_hand_task import Task
from elman.config import NetworkSettings
from elman.learn.optimizers import SGD
from elman.network.model import RecurrentNetwork

TYPES = {"float64": torch.float64, "float32": torch.float32}
TOLERANCES = {"float64": 1e-10, "float32": 1e-4}
"""How far the engine may be from the whiteboard, for numbers of size 1; training computes in float32."""


@dataclass(frozen=True)
class Check:
    """How far the engine is from the whiteboard after one update, at most: in U, W and V, and in the loss (nats).

    `tolerance` is how far each may be: rounding, in proportion to the largest numbers that were added up.
    """

    number: int
    type: str
    U: float
    W: float
    V: float
    loss: float
    tolerance: float

    @property
    def worst(self) -> tuple[str, float]:
        """What differs most, and by how much; what is no number counts as the most."""
        found = {"U": self.U, "W": self.W, "V": self.V, "loss": self.loss}
        return max(found.items(), key=lambda item: np.inf if np.isnan(item[1]) else item[1])

    @property
    def agrees(self) -> bool:
        """Whether all that differs is rounding."""
        return self.worst[1] <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """Return the check as plain JSON values."""
        return {**plain(self), "agrees": self.agrees}


def check(found: ByHand) -> list[Check]:
    """Let the engine make each update from the same weights, in float64 and in float32."""
    return [_check(found.task, update, name) for update in found.updates for name in TYPES]


def _check(task: Task, update: Update, name: str) -> Check:
    matrices, loss = engine_step(task, update, TYPES[name])
    by_hand = -sum(reading.log_probability for reading in update.readings if reading.learnt)
    far = {
        key: float(np.abs(getattr(matrices, key) - getattr(update.after, key)).max(initial=0.0))
        for key in ("U", "W", "V")
    }
    return Check(
        update.number, name, far["U"], far["W"], far["V"], abs(loss - by_hand), TOLERANCES[name] * _size(task, update)
    )


def _size(task: Task, update: Update) -> float:
    """Return how large numbers get on the way, 1 at least: rounding is in proportion to it."""
    inside = max(float(np.abs(part).max()) for reading in update.readings for part in (reading.drive, reading.logits))
    outside = max(
        max(float(np.abs(after).max()), task.alpha * float(np.abs(gradient).max()))
        for after, gradient in ((getattr(update.after, key), getattr(update.gradient, key)) for key in ("U", "W", "V"))
    )
    return max(1.0, inside) * max(1.0, outside)


def engine_step(task: Task, update: Update, dtype: torch.dtype) -> tuple[Matrices, float]:
    """Return the weights after one step of training, as `learn.steps` makes it with SGD, and the loss (nats).

    The window is the words that errors go back to; what was read before enters as the state that it begins with.
    """
    network = RecurrentNetwork(len(task.dictionary), NetworkSettings(hidden=task.hidden, activation=task.activation))
    network.to(dtype)
    named = {"encoder.U": update.before.U, "cells.0.W": update.before.W, "output.V": update.before.V}
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name, values in named.items():
            weights[name].copy_(torch.from_numpy(values))
    optimizer = SGD(network.named_parameters(), beta=task.beta)
    window = update.readings[update.first :]
    symbols = torch.tensor([[reading.word_id] for reading in window])
    targets = torch.tensor([[reading.target_id] for reading in window])
    learnt = torch.tensor([[float(reading.learnt)] for reading in window], dtype=dtype)
    state = (torch.from_numpy(window[0].before).to(dtype).unsqueeze(0),)
    optimizer.before_reading("encoder.U", symbols)
    _, loss = network.loss(state, symbols, targets, weights=learnt, product=dtype, sparse=True, factored=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step(task.alpha)
    optimizer.settle()
    after = {name: weights[name].detach().double().numpy() for name in named}
    return Matrices(after["encoder.U"], after["cells.0.W"], after["output.V"]), float(loss.detach())
