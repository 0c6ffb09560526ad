"""What is measured, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PART_NAMES = ("machine", "training", "scoring", "growth")
ON_GPU = ("machine", "training")

Tell = Callable[[str], None]
"""Hears, in a sentence, what is being measured now."""


@dataclass(frozen=True)
class Plan:
    """Sizes and durations of a benchmark; the defaults take some minutes on two cores.

    Attributes
    ----------
    hidden, dictionary, bptt
        H (each in turn), D and T of the networks that train.
    batches
        B that every contestant tries; from `large` units on only those up to `large_batch`.
    rounds
        how often the contestants take turns; with `large` units, three times at the most.
    least
        seconds that a turn lasts at least.
    words
        of the synthetic text.
    steps
        steps whose latency is taken.
    sides
        of the square products.
    memory_mb
        the block of memory that is read and copied, MB (10^6 bytes); it has to be larger than the caches.
    device
        where products and training are measured: cpu or cuda.
    grow
        for each quantity that grows (hidden, dictionary, batch, words) its values.
    """

    hidden: tuple[int, ...] = (200, 1000, 5000)
    dictionary: int = 10_000
    bptt: int = 20
    batches: tuple[int, ...] = (20, 64, 128, 256)
    large: int = 2000
    large_batch: int = 64
    precision: str = "auto"
    rounds: int = 5
    least: float = 0.4
    words: int = 150_000
    steps: int = 3000
    sides: tuple[int, ...] = (2048, 3072, 4096)
    memory_mb: int = 256
    grow_hidden: tuple[int, ...] = (250, 500, 1000, 2000)
    grow_dictionary: tuple[int, ...] = (5_000, 10_000, 20_000, 40_000)
    grow_batch: tuple[int, ...] = (16, 32, 64, 128)
    grow_words: tuple[int, ...] = (50_000, 100_000, 200_000, 400_000)
    threads: int | None = None
    device: str = "cpu"
    seed: int = 1

    def batches_for(self, hidden: int) -> tuple[int, ...]:
        """Return the batch sizes that are tried at H = hidden."""
        few = tuple(batch for batch in self.batches if batch <= self.large_batch)
        return few if hidden >= self.large and few else self.batches

    def rounds_for(self, hidden: int) -> int:
        """Return how often contestants take turns at H = hidden."""
        return min(3, self.rounds) if hidden >= self.large else self.rounds


QUICK = Plan(
    hidden=(200,),
    batches=(20, 128),
    rounds=3,
    least=0.15,
    words=50_000,
    steps=1000,
    sides=(1024, 2048),
    memory_mb=128,
    grow_hidden=(250, 500, 1000),
    grow_dictionary=(5_000, 10_000, 20_000),
    grow_batch=(16, 32, 64),
    grow_words=(25_000, 50_000, 100_000),
)
"""A short benchmark, of about a minute: it shows that all is well, and only roughly how fast."""
