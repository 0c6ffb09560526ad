"""How training shows itself on stderr: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from elman.cli.common import console, note
from elman.config import Settings
from elman.learn.measure import Measure
from elman.learn.progress import Listener
from elman.learn.progress import Progress as Standing

SECONDS_BETWEEN_LINES = 10.0


def epoch_line(entry: dict[str, Any], epochs: int) -> str:
    """Say how an epoch went."""
    if "valid_bits_per_base" in entry:
        best = " (best so far)" if entry["best"] else ""
        line = f"pass {entry['epoch']}/{epochs}: alpha {entry['alpha']:.4g}, training"
        line += f" {entry['train_bits_per_base']:.4f} bits a base, validation {entry['valid_bits_per_base']:.4f}{best}"
        return line + f", {entry['symbols_per_second']:.0f} bases/s, {entry['seconds']:.0f} s"
    line = f"epoch {entry['epoch']}/{epochs}: alpha {entry['alpha']:.4g}, training perplexity"
    line += f" {entry['train_perplexity']:.2f}"
    if "valid_perplexity" in entry:
        line += f", validation perplexity {entry['valid_perplexity']:.2f}{' (best so far)' if entry['best'] else ''}"
    return line + f", {entry['symbols_per_second']:.0f} symbols/s, {entry['seconds']:.0f} s"


class Lines(Listener):
    """One line every few seconds and one an epoch, for logs and pipes; of DNA in bits a base."""

    def __init__(self, epochs: int, *, dna: bool = False) -> None:
        self.epochs, self.dna = epochs, dna
        self.last = time.monotonic()

    def on_start(self, message: str) -> None:
        """Print what training begins with."""
        note(message)

    def on_reading(self, done: int, total: int, words_per_second: float) -> None:
        """Print a line if the last one is some seconds old."""
        if time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            note(f"BERT reads the text {done / total:4.0%}: {words_per_second:.0f} words/s")

    def on_update(self, progress: Standing, per_epoch: int, loss: float, symbols_per_second: float) -> None:
        """Print a line if the last one is some seconds old."""
        if time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            share = progress.index / per_epoch
            what = "pass" if self.dna else "epoch"
            line = f"{what} {progress.epoch + 1}/{self.epochs} {share:4.0%}: "
            if self.dna:
                line += f"{loss / math.log(2):.4f} bits a base, {symbols_per_second:.0f} bases/s"
            else:
                line += f"loss {loss:.3f}, perplexity {Measure(-loss, 1).perplexity:.1f}"
                line += f", {symbols_per_second:.0f} symbols/s"
            note(line)

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Print how the epoch went."""
        note(epoch_line(entry, self.epochs))

    def on_setback(self, message: str) -> None:
        """Print that training went back, and why."""
        note(message)


class Bar(Listener):
    """A bar for the epoch, with loss, perplexity (of DNA bits a base), symbols/s and the time left."""

    def __init__(self, epochs: int, screen: Console, *, dna: bool = False) -> None:
        self.epochs, self.dna = epochs, dna
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=screen,
            transient=True,
        )
        self.task: TaskID | None = None
        self.reading: TaskID | None = None

    def on_start(self, message: str) -> None:
        """Print what training begins with, above the bar."""
        self.bar.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def on_reading(self, done: int, total: int, words_per_second: float) -> None:
        """Move a bar of its own, which goes when the text is read."""
        speed = f"{words_per_second:.0f} words/s"
        if self.reading is None:
            self.reading = self.bar.add_task("BERT reads the text", total=total, speed=speed)
        self.bar.update(self.reading, completed=done, speed=speed)
        if done == total:
            self.bar.remove_task(self.reading)
            self.reading = None

    def on_update(self, progress: Standing, per_epoch: int, loss: float, symbols_per_second: float) -> None:
        """Move the bar."""
        speed = f"loss {loss:.3f} ppl {Measure(-loss, 1).perplexity:.1f} {symbols_per_second:.0f} symbols/s"
        if self.dna:
            speed = f"{loss / math.log(2):.4f} bits a base {symbols_per_second:.0f} bases/s"
        description = f"{'pass' if self.dna else 'epoch'} {progress.epoch + 1}/{self.epochs}"
        if self.task is None:
            self.task = self.bar.add_task(description, total=per_epoch, speed=speed)
        self.bar.update(self.task, completed=progress.index, description=description, speed=speed)

    def on_epoch(self, entry: dict[str, Any]) -> None:
        """Print how the epoch went, above the bar."""
        self.bar.console.print(epoch_line(entry, self.epochs), highlight=False, markup=False, soft_wrap=True)
        if self.task is not None:
            self.bar.reset(self.task)

    def on_setback(self, message: str) -> None:
        """Print that training went back, and why, above the bar."""
        self.bar.console.print(message, highlight=False, markup=False, soft_wrap=True)
        if self.task is not None:
            self.bar.reset(self.task)


@contextmanager
def progress_of(settings: Settings, *, quiet: bool) -> Iterator[Listener]:
    """Give the listener that suits where stderr goes."""
    screen, dna = console(), settings.text.unit == "dna"
    if quiet:
        yield Listener()
    elif screen.is_terminal:
        bar = Bar(settings.learn.epochs, screen, dna=dna)
        with bar.bar:
            yield bar
    else:
        yield Lines(settings.learn.epochs, dna=dna)
