"""Where training stands, and who wants to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Progress:
    """Where training stands; plain numbers, so that a checkpoint can hold them."""

    epoch: int = 0
    index: int = 0
    update: int = 0
    epoch_loss: float = 0.0
    epoch_symbols: int = 0
    symbols: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    best_entropy: float | None = None
    best_epoch: int = 0
    glance_gap: float = 0.0
    finished: bool = False
    setbacks: int = 0
    alpha_scale: float = 1.0

    @property
    def symbols_per_second(self) -> float:
        """Speed of training alone, without validation, over the whole run."""
        return self.symbols / max(self.training_seconds, 1e-9)


class Listener:
    """What wants to know how training goes: the progress bar of the command line, or nobody."""

    def on_start(self, message: str) -> None:
        """Hear, before the first update, what training begins with."""

    def on_reading(self, done: int, total: int, words_per_second: float) -> None:
        """Hear how far a BERT has read a text, before the first update."""

    def on_update(self, progress: Progress, per_epoch: int, loss: float, symbols_per_second: float) -> None:
        """Hear of every update; `loss` is in nats a symbol over the epoch so far."""

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Hear of every epoch: what went into the log."""

    def on_setback(self, message: str) -> None:
        """Hear that a loss was no number, and that training went back."""
