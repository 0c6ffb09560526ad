"""Losses that are read late change nothing but when they are read."""

import json
import math
import random
from pathlib import Path

import pytest
import torch

from elman.config import build, parse_pairs
from elman.errors import TrainingError
from elman.learn.losses import MOST, Losses
from elman.learn.run import train_model
from elman.learn.steps import WindowSteps
from elman.network.folder import load_tensors

SETTINGS = build(parse_pairs(["hidden=8", "epochs=2", "threads=1", "batch=4", "bptt=5", "log_every=7", "clip=1"]))


class OnGpu(WindowSteps):
    """Updates whose losses come as tensors, as on a GPU."""

    spoilt: frozenset[int] = frozenset()

    def update(self, index: int, alpha: float) -> tuple[float | torch.Tensor, int]:
        loss, symbols = super().update(index, alpha)
        self.made = getattr(self, "made", 0) + 1
        return torch.tensor(math.nan if self.made in self.spoilt else loss, dtype=torch.float64), symbols


def test_numbers_are_due_at_once_and_tensors_later() -> None:
    losses = Losses()
    assert not losses.due
    losses.append(1.5, 3, 1, 0.1)
    assert losses.due
    assert losses.take() == [(1.5, 3, 1, 0.1)]
    for update in range(2, MOST + 1):
        losses.append(torch.tensor(float(update)), 2, update, 0.1)
        assert not losses.due
    losses.append(torch.tensor(0.25), 2, MOST + 1, 0.1)
    assert losses.due
    assert [loss for loss, *_ in losses.take()] == [*map(float, range(2, MOST + 1)), 0.25]
    assert losses.take() == []


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "finds", "a"]
    for name, sentences in (("train", 150), ("valid", 30)):
        lines = ("".join(f"{draw.choice(words)} " for _ in range(draw.randint(1, 6))) for _ in range(sentences))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.txt", tmp_path / "valid.txt"


def test_a_run_whose_losses_are_read_late_is_the_same_run(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, weights = [], []
    for name in ("at-once", "late"):
        if name == "late":
            monkeypatch.setattr("elman.learn.trainer.WindowSteps", OnGpu)
        train_model(texts[0], tmp_path / name, SETTINGS, valid=texts[1])
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        logs.append([{k: v for k, v in line.items() if "second" not in k} for line in lines])
        weights.append(load_tensors(tmp_path / name / "model.safetensors"))
    assert logs[0] == logs[1]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_loss_that_is_no_number_sends_the_run_back_once_though_it_is_read_late(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.learn.trainer.WindowSteps", OnGpu)
    monkeypatch.setattr(OnGpu, "spoilt", {3})
    train_model(texts[0], tmp_path / "once", SETTINGS, valid=texts[1])
    lines = [json.loads(line) for line in (tmp_path / "once" / "log.jsonl").read_text().splitlines()]
    assert [line["failed_update"] for line in lines if "setback" in line] == [3]
    monkeypatch.setattr(OnGpu, "spoilt", {3, 60})  # counted over all that were made
    with pytest.raises(TrainingError, match=r"became nan at update \d+ \(epoch"):
        train_model(texts[0], tmp_path / "twice", SETTINGS, valid=texts[1])
