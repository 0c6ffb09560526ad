"""Every optimiser, schedule, average and random length: a run that was cut goes on to the same bits."""

import json
import random
from pathlib import Path

import pytest
import torch

from elman.config import build, parse_pairs
from elman.errors import Interrupted
from elman.learn import steps
from elman.learn.run import train_model
from elman.network.folder import load_tensors

SMALL = ["hidden=6", "epochs=6", "threads=1", "batch=4", "bptt=6", "checkpoint_every=11", "log_every=5", "beta=1e-4"]
WAYS = {
    "rmsprop": ["optimizer=rmsprop", "alpha=0.02", "warmup=9", "schedule=constant"],
    "adam, beta1 0": ["optimizer=adam", "adam_beta1=0", "alpha=0.02", "schedule=cosine", "warmup=0.2", "clip=1"],
    "nt-asgd": ["optimizer=nt-asgd", "nonmono=1", "average_every=3", "alpha=2", "clip=1"],
    "average": ["average=0.95", "average_every=2", "alpha=1", "output=sampled", "negatives=3", "dropout=0.2"],
    "average, halve": ["average=0.99", "alpha=2"],
    "plateau": ["schedule=plateau", "patience=1", "decay=4", "alpha=2", "warmup=5"],
    "jitter": ["bptt_jitter=2", "alpha=1", "clip=1", "schedule=linear", "warmup=12"],
    "jitter, average": ["bptt_jitter=1.5", "optimizer=adam", "alpha=0.02", "average=0.9", "schedule=constant"],
    "n-grams": ["encoder=n-gram", "ngrams=[2, 3]", "direct=3", "optimizer=adam", "alpha=0.02", "beta=0.001"],
    "n-grams by class": ["direct=3", "output=class", "optimizer=adam", "alpha=0.02", "beta=0.001"],
    "n-grams seen": ["direct=9", "output=sampled", "negatives=3", "beta=0.001", "tied=true", "reset=0.1"],
    "n-grams by sgd": ["direct=9", "direct_sgd=true", "direct_rate=50", "optimizer=adam", "alpha=0.02", "beta=0.001"],
    "online average": ["regime=online", "average=0.9", "average_every=1", "epochs=3"],
}


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Words by chance: validation soon becomes worse, as the training text is learnt by heart."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "finds", "a", "bird"]
    for name, sentences in (("train", 120), ("valid", 20)):
        lines = ("".join(f"{draw.choice(words)} " for _ in range(draw.randint(1, 6))) for _ in range(sentences))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.txt", tmp_path / "valid.txt"


class Stopper:
    """Ask to stop at the given call, as Ctrl-C would."""

    def __init__(self, call: int) -> None:
        self.calls, self.call = 0, call

    def __call__(self) -> bool:
        self.calls += 1
        return self.calls >= self.call


def told(folder: Path) -> list[dict[str, object]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def assert_cut_is_whole(texts: tuple[Path, Path], tmp_path: Path, pairs: list[str], stops: list[int]) -> list[dict]:
    """Train in one go, and with an interrupt after each of so many calls; compare weights and log."""
    settings = build(parse_pairs([*SMALL, *pairs]))
    train_model(texts[0], tmp_path / "whole", settings, valid=texts[1])
    whole = load_tensors(tmp_path / "whole" / "model.safetensors")
    cut, interrupts = tmp_path / "cut", 0
    for stop in [*stops, 10**9]:
        try:
            train_model(texts[0], cut, settings, valid=texts[1], resume=True, should_stop=Stopper(stop))
        except Interrupted:
            interrupts += 1
    assert interrupts == len(stops)
    found = load_tensors(cut / "model.safetensors")
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    assert told(tmp_path / "whole") == told(cut)
    assert {path.name for path in cut.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
    return told(cut)


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_run_goes_on_bit_for_bit(way: str, texts: tuple[Path, Path], tmp_path: Path) -> None:
    log = assert_cut_is_whole(texts, tmp_path, WAYS[way], [2] if "online" in way else [1, 4, 20, 30, 9])
    if way == "nt-asgd":
        assert [line["epoch"] for line in log if line.get("averaging")] == [4], "the mean never began"
    if way == "plateau":
        alphas = [line["alpha"] for line in log if "valid_loss" in line]
        assert alphas[-1] == alphas[0] / 4, "alpha never fell"


def test_random_lengths_make_as_many_updates_as_were_planned(texts: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = [*SMALL, "bptt_jitter=2", "schedule=linear", "epochs=4", "patience=9", "log_every=1"]
    model = train_model(texts[0], tmp_path / "model", build(parse_pairs(pairs)), valid=texts[1])
    log = told(tmp_path / "model")
    epochs = [line["update"] for line in log if "valid_loss" in line]
    alphas = [line["alpha"] for line in log if "valid_loss" not in line]
    planned = model.card["result"]["updates"]
    assert len({b - a for a, b in zip([0, *epochs], epochs, strict=False)}) > 1, "every epoch has as many windows"
    assert alphas == pytest.approx([0.5 * (1 - done / planned) for done in range(planned)])


@pytest.mark.parametrize("way", ["plateau", "average", "jitter", "nt-asgd"])
@pytest.mark.parametrize("at", [7, 50])
def test_a_run_that_went_back_goes_on_bit_for_bit(
    way: str, at: int, texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W is no number when alpha is still what it was, in the update after the one numbered `at`."""
    plain = steps.WindowSteps.update

    def poisoned(self: steps.WindowSteps, index: int, alpha: float) -> tuple[float, int]:
        done = self.optimizer.steps
        loss = plain(self, index, alpha)
        if done == at and trainer_scale() == 1.0:
            with torch.no_grad():
                next(self.network.cells[0].parameters()).fill_(torch.nan)
        return loss

    from elman.learn import trainer

    current: list[trainer.Trainer] = []
    begin = trainer.Trainer.__init__

    def remember(self: trainer.Trainer, *given: object, **named: object) -> None:
        current[:] = [self]
        begin(self, *given, **named)

    def trainer_scale() -> float:
        return current[0].progress.alpha_scale

    monkeypatch.setattr(trainer.Trainer, "__init__", remember)
    monkeypatch.setattr(steps.WindowSteps, "update", poisoned)
    log = assert_cut_is_whole(texts, tmp_path, WAYS[way], [3, 6, 18, 30])
    setbacks = [line for line in log if "setback" in line]
    assert len(setbacks) == 1
    assert "cells.0.W held what is no finite number" in setbacks[0]["setback"]
    assert setbacks[0]["failed_update"] == at + 2
    assert setbacks[0]["update"] <= at


def test_direct_connections_learn_by_sgd_where_that_is_asked_for(texts: tuple[Path, Path], tmp_path: Path) -> None:
    """One update from weights of zero: SGD moves them by the errors, Adam all by alpha."""
    sizes = {}
    for rule in ("false", "true"):
        pairs = [*SMALL, "direct=3", "optimizer=adam", "alpha=0.02", "beta=0", "max_updates=1", f"direct_sgd={rule}"]
        model = train_model(texts[0], tmp_path / rule, build(parse_pairs(pairs)), valid=texts[1])
        weights = dict(model.network.named_parameters())["output.direct.weight"].detach()
        sizes[rule] = weights[weights != 0].abs()
    assert sizes["false"].max() / sizes["false"].median() < 1.01
    assert sizes["true"].max() / sizes["true"].median() > 2
