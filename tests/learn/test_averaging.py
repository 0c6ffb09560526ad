"""Averages of weights, against slow and obvious twins."""

import json
import random
from pathlib import Path

import pytest
import torch
from torch import nn

from elman.config import build, parse_pairs
from elman.errors import UsageError
from elman.learn import trainer
from elman.learn.averaging import Average, MovingAverage, TriggeredMean
from elman.learn.measure import Measure
from elman.learn.optimizers import SGD
from elman.learn.progress import Listener
from elman.learn.run import train_model
from elman.network.folder import load_tensors


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "finds", "a"]
    for name, sentences in (("train", 120), ("valid", 20)):
        lines = ("".join(f"{draw.choice(words)} " for _ in range(draw.randint(1, 6))) for _ in range(sentences))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.txt", tmp_path / "valid.txt"


def shares(decay: float, every: int):
    return lambda taken: min(decay**every, (1 + taken) / (10 + taken))


def test_an_average_of_rows_that_shrink_late_is_that_of_the_dense_rule() -> None:
    """Sparse steps that put shrinking off, against dense steps and an average in float64."""
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(7, 3, generator=generator)
    weight, dense = nn.Parameter(start.clone()), start.double()
    optimizer = SGD([("encoder.U", weight)], beta=0.05)
    average, twin, kept = MovingAverage([("encoder.U", weight)], decay=0.9, every=3), dense.clone(), shares(0.9, 3)
    for update in range(1, 31):
        rows = torch.randint(0, 7, (1, 2), generator=generator)
        optimizer.before_reading("encoder.U", rows[0])
        values = torch.randn(2, 3, generator=generator)
        weight.grad = torch.sparse_coo_tensor(rows, values, (7, 3), check_invariants=False)
        dense = 0.95 * dense - 0.1 * weight.grad.to_dense().double()
        optimizer.step(0.1)
        if average.due(update):
            optimizer.settle()
            average.take()
            share = kept(update // 3 - 1)
            twin = share * twin + (1 - share) * dense
    torch.testing.assert_close(average.weights["encoder.U"].double(), twin, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(twin, dense, atol=1e-3)


def test_the_network_has_the_average_only_while_it_is_lent() -> None:
    weight = nn.Parameter(torch.arange(6.0).view(3, 2).t())  # lies in memory column by column
    average, view = MovingAverage([("V", weight)], decay=0.5), weight.detach()
    with torch.no_grad():
        weight.add_(10)
    with average.in_place():
        assert view.sum() == 15
    assert view.sum() == 75
    assert average.weights["V"].sum() == 15
    with Average([("V", weight)]).in_place():
        assert view.sum() == 75


def test_the_mean_begins_when_validation_is_worse_than_some_epochs_ago() -> None:
    weight = nn.Parameter(torch.zeros(2))
    mean = TriggeredMean([("W", weight)], nonmono=2)
    assert [mean.after_epoch(entropy) for entropy in (5.0, 4.0, 3.0, 3.5, 3.6, 3.7)] == [False] * 5 + [True]
    mean.start()
    seen = [torch.tensor([float(n), -n * n]) for n in range(1, 6)]
    for value in seen:
        weight.data.copy_(value)
        assert mean.due(1)
        mean.take()
    torch.testing.assert_close(mean.weights["W"], torch.stack(seen).mean(0))
    assert not mean.after_epoch(9.0)


WAYS = {
    "ema": ["optimizer=adam", "alpha=0.02", "average=0.95", "average_every=3"],
    "lazy ema": ["output=sampled", "negatives=3", "beta=1e-3", "alpha=0.5", "average=0.9", "average_every=2"],
    "nt-asgd": ["optimizer=nt-asgd", "nonmono=1", "average_every=4", "alpha=0.5", "beta=1e-3"],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_validated_and_saved_is_the_average(
    way: str, texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against an average in float64 of the weights that a listener saw after every update."""
    entropies, validated = iter([3.0, 2.9, 3.1, 2.8, 2.7]), []

    def told(network: nn.Module, *_: object, **__: object) -> Measure:
        validated.append({name: weight.detach().clone() for name, weight in network.named_parameters()})
        return Measure(-next(entropies), 1)

    monkeypatch.setattr(trainer, "measure", told)
    pairs = ["hidden=6", "epochs=5", "threads=1", "batch=4", "bptt=5", "schedule=constant", *WAYS[way]]
    settings = build(parse_pairs(pairs))
    learn, seen, network = settings.learn, [], []
    plain = trainer.Trainer.__init__

    def remember(self: trainer.Trainer, given: nn.Module, *more: object, **named: object) -> None:
        network.append(given)
        plain(self, given, *more, **named)
        seen.append({name: weight.detach().double().clone() for name, weight in given.named_parameters()})

    class Watch(Listener):
        def on_update(self, progress: object, per_epoch: int, loss: float, symbols_per_second: float) -> None:
            seen.append({name: weight.detach().double().clone() for name, weight in network[0].named_parameters()})

    monkeypatch.setattr(trainer.Trainer, "__init__", remember)
    train_model(texts[0], tmp_path / "model", settings, valid=texts[1], listener=Watch())
    log = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    first = 0
    if way == "nt-asgd":
        epochs = [line for line in log if "valid_loss" in line]
        assert [line["epoch"] for line in epochs if line.get("averaging")] == [3]
        first = epochs[2]["update"]
    average, taken, every = seen[first], 0, learn.average_every
    kept = shares(learn.average, every) if learn.average else lambda n: n / (n + 1)
    for update in range(first + 1, len(seen)):
        if update % every == 0:
            share = kept(taken)
            average = {name: share * a + (1 - share) * seen[update][name] for name, a in average.items()}
            taken += 1
    assert taken >= 5
    saved = load_tensors(tmp_path / "model" / "model.safetensors")
    for name, weight in average.items():
        torch.testing.assert_close(saved[name].double(), weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(validated[-1][name].double(), weight, rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(seen[-1][name], weight, atol=1e-4) for name, weight in average.items())


def test_two_averages_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="nt-asgd averages the weights itself"):
        build(parse_pairs(["optimizer=nt-asgd", "average=0.99"]))
