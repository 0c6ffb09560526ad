"""A BERT reads the texts before the first update: all that will be asked for, once, and an interrupt keeps it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elman.cli.progress import Lines
from elman.config import build, parse_pairs
from elman.errors import Interrupted
from elman.learn import reading_ahead
from elman.learn.progress import Listener, Progress
from elman.learn.run import train_model
from elman.network import bert
from elman.network.bert import FrozenBert, Window

WORDS = 400


@pytest.fixture
def train(tiny_bert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that trains a small network beside a tiny BERT on a text, with an empty cache at first."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    bert._shared.cache_clear()
    monkeypatch.setattr(reading_ahead, "TOGETHER", 64)
    draw, words = random.Random(1), ["the", "cat", "dogs", "see", "a", "cow", "<unk>"]
    lines = [" ".join(draw.choice(words) for _ in range(draw.randint(1, 6))) for _ in range(WORDS // 4)]
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n")

    def run(*pairs: str, **more: object) -> None:
        network = ["encoder=bert", f"network.bert={tiny_bert()}", "bert_window=5", "hidden=6"]
        given = parse_pairs([*network, "epochs=2", "threads=1", "batch=4", "bptt=7", *pairs])
        train_model(tmp_path / "text.txt", tmp_path / "model", build(given), given=given, overwrite=True, **more)

    return run


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """The windows that BERT has read."""
    seen: list[Window] = []
    compute = FrozenBert.compute

    def noted(self: FrozenBert, windows: list[Window]) -> np.ndarray:
        seen.extend(windows)
        return compute(self, windows)

    monkeypatch.setattr(FrozenBert, "compute", noted)
    return seen


class Counts(Listener):
    """How much was read when the first update was done, and how the reading went."""

    def __init__(self, read: list[Window]) -> None:
        self.read, self.before, self.steps = read, 0, list[tuple[int, int]]()

    def on_reading(self, done: int, total: int, words_per_second: float) -> None:
        assert words_per_second > 0
        self.steps.append((done, total))

    def on_update(self, progress: Progress, per_epoch: int, loss: float, symbols_per_second: float) -> None:
        self.before = self.before or len(self.read)


@pytest.mark.parametrize("way", ["regime=running", "regime=sentences", "bptt_jitter=2", "batch=1"])
def test_no_update_and_no_validation_waits_for_bert(way: str, train: Callable[..., None], read: list[Window]) -> None:
    listener = Counts(read)
    train(way, listener=listener)
    assert 0 < listener.before == len(read) == len(set(read))
    done, totals = zip(*listener.steps, strict=True)
    assert len(set(totals)) == 1 and done[-1] == totals[0] and done[:2] == (64, 128)


@pytest.mark.parametrize("way", ["noise=0.5", "max_updates=3"])
def test_what_training_may_never_ask_for_is_not_read(way: str, train: Callable[..., None], read: list[Window]) -> None:
    listener = Counts(read)
    train(way, "epochs=1", listener=listener)
    assert 0 < listener.steps[-1][1] < WORDS / 4
    assert len(read) > listener.before / 2


def test_an_interrupt_keeps_what_bert_has_read(train: Callable[..., None], read: list[Window], tmp_path: Path) -> None:
    asked = iter(range(10**9))
    with pytest.raises(Interrupted, match=r"while BERT read the text; what it made of 128 of 4\d\d words is kept"):
        train(should_stop=lambda: next(asked) == 2)
    first = len(read)
    assert first > 20 and not (tmp_path / "model").exists()
    bert._shared.cache_clear()  # as at the end of the program: what is not on disk yet is written
    train()
    assert len(read) == len(set(read)) > first


def test_lines_tell_now_and_then_how_far_bert_has_read(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(epochs=1)
    lines.on_reading(1024, 4096, 47.4)
    assert capsys.readouterr().err == "", "not more often than every few seconds"
    lines.last -= 60
    lines.on_reading(1024, 4096, 47.4)
    assert capsys.readouterr().err == "BERT reads the text  25%: 47 words/s\n"
