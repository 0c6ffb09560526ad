"""The training of a classifier: what it can learn, the same bits from the same seed, and the linear minimum."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.config import build, read_recipe, recipe_names
from elman.errors import OutputError, TextError, TrainingError, UsageError
from elman.learn import optimizers
from elman.learn.classify import DEFAULTS, classifier_settings, train_classifier
from elman.learn.fitting import Inputs, epoch_batches, judge, log_probs, scoring_batches
from elman.learn.logistic import PENALTIES, descend, fit_linear
from elman.learn.several import Plan
from elman.network.classifier import members_of
from elman.network.classifier_folder import ClassifierModel
from elman.network.points import Feedforward, Linear
from elman.text.fronts import Encoded
from elman.text.labelled import read_labelled, stratified_split

PLAN = ("pool", "ngrams", "share", "direction", "members")
SMALL = {"unit": "char", "hidden": 8, "epochs": 2, "threads": 1}


def order_matters(count: int, seed: int) -> str:
    """A and b, once each among dots: the label says which comes first, so that a bag of letters knows nothing."""
    draw = np.random.default_rng(seed)
    lines = []
    for index in range(count):
        length = int(draw.integers(4, 12))
        first, second = sorted(draw.choice(length, 2, replace=False))
        label, pair = [("ab", "ab"), ("ba", "ba")][index % 2]
        letters = ["."] * length
        letters[first], letters[second] = pair
        lines.append(f"{label}\t{''.join(letters)}\n")
    return "".join(lines)


def trained(folder: Path, text: str, out: Path | None = None, **settings: Any) -> ClassifierModel:
    path = folder / "train.tsv"
    path.write_text(text)
    plan = Plan(**{name: settings.pop(name) for name in PLAN if name in settings})
    return train_classifier(path, out, SMALL | settings, plan=plan)[0]


@pytest.mark.parametrize(("pool", "cell"), [("last", "elman"), ("last", "gru"), ("mean", "lstm")])
def test_order_is_learnt_by_the_recurrent_net_and_by_no_bag(pool: str, cell: str, tmp_path: Path) -> None:
    model = trained(
        tmp_path, order_matters(300, 1), pool=pool, cell=cell, ngrams=1, hidden=16, epochs=25, alpha=0.02, share=0.3
    )
    result = model.card["result"]
    assert result["recurrent"]["valid_accuracy"] > 0.95
    assert result["feedforward"]["valid_accuracy"] < 0.7 and result["linear"]["valid_accuracy"] < 0.7


def test_composition_is_learnt_by_every_net(tmp_path: Path) -> None:
    lines = [f"{'ab'[i % 2]}\t{'ab'[i % 2] * (3 + i % 5)}c" for i in range(60)]
    result = trained(tmp_path, "\n".join(lines), epochs=20, alpha=0.02).card["result"]
    assert [result[net]["valid_accuracy"] for net in ("recurrent", "feedforward", "linear")] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_gives_others(optimizer: str, tmp_path: Path) -> None:
    settings = {"optimizer": optimizer, "dropout": 0.3, "beta": 1e-3, "clip": 0.5}
    text = order_matters(40, 1)
    first, again, other = (trained(tmp_path, text, seed=seed, **settings).nets.state_dict() for seed in (1, 1, 2))
    for name, weight in first.items():
        assert torch.equal(weight, again[name]), name
    for name in ("recurrent.body.cells.0.W", "feedforward.U"):
        assert not torch.equal(first[name], other[name])


def test_the_weights_of_the_best_epoch_are_kept(tmp_path: Path) -> None:
    text = order_matters(60, 1)
    model = trained(tmp_path, text, epochs=8, alpha=5.0, clip=100.0, optimizer="sgd", schedule="constant", patience=8)
    history = model.card["result"]["recurrent"]["history"]
    losses = [entry["valid_loss"] for entry in history]
    assert np.argmin(losses) + 1 == model.card["result"]["recurrent"]["best_epoch"]
    data = read_labelled(tmp_path / "train.tsv")
    _, held = stratified_split(data.labels, 0.1, np.random.default_rng(1))
    encoded = model.front.encode(data.part(held).sequences)  # type: ignore[arg-type]
    targets = np.array([model.labels.index(label) for label in data.part(held).labels])
    assert model.nets.recurrent is not None
    found = judge(log_probs(model.nets.recurrent, Inputs.sequences(encoded), 2), targets)
    assert found.loss == pytest.approx(min(losses))
    assert min(losses) < losses[-1], "the last epoch has to be another one, or this test says nothing"


def test_patience_ends_training_and_updates_may_be_limited(tmp_path: Path) -> None:
    text = order_matters(40, 1)
    limited = trained(tmp_path, text, epochs=9, batch=10, max_updates=5).card["result"]["recurrent"]
    assert (limited["updates"], limited["epochs"]) == (5, 2)
    stuck = trained(tmp_path, text, epochs=50, alpha=1e-12, patience=2, schedule="constant").card["result"]
    assert stuck["recurrent"]["epochs"] < 50


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_loss_that_is_no_number_is_said_with_the_net_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the \w+ net: after \d+ updates the loss is (nan|inf)") as caught:
        trained(tmp_path, order_matters(40, 1), optimizer="sgd", alpha=1e9, clip=None, activation="relu", epochs=20)
    assert "--alpha" in str(caught.value.hint)


def test_settings_of_no_meaning_are_left_out_and_named() -> None:
    settings, left_out = classifier_settings({"output": "sampled", "bptt": 7, "hidden": 5, "precision": "auto"})
    assert left_out == ["learn.bptt", "network.output"]
    assert (settings.network.output, settings.network.hidden, settings.learn.precision) == ("full", 5, "fp32")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_can_be_begun_with_or_says_why_not(name: str) -> None:
    recipe = read_recipe(name)
    if recipe.get("learn.optimizer") == "nt-asgd" or "learn.average" in recipe:
        with pytest.raises(UsageError, match="not averaged"):
            classifier_settings(recipe)
    else:
        settings, _ = classifier_settings(recipe)
        assert settings.network.hidden == recipe.get("network.hidden", DEFAULTS["network.hidden"])


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(order_matters(40, 1),), daemon=True)
    writer.start()
    model, _ = train_classifier(pipe, None, SMALL)
    writer.join(timeout=10)
    assert model.card["train"]["examples"] == 36 and "sha256" not in model.card["train"]


def test_defaults_are_those_of_a_classifier_and_give_way() -> None:
    settings, _ = classifier_settings({"optimizer": "sgd", "activation": "sigmoid"})
    assert (settings.learn.optimizer, settings.network.activation) == ("sgd", "sigmoid")
    assert settings.learn.schedule == DEFAULTS["learn.schedule"] != build().learn.schedule


@pytest.mark.parametrize(
    "given",
    [{"precision": "bf16"}, {"optimizer": "nt-asgd"}, {"average": 0.9}, {"hiden": 1}, {"output": 5}, {"cell": "x"}],
)
def test_settings_that_cannot_be_followed_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        classifier_settings(given)


def test_a_label_that_only_validation_has_is_named_before_training(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tx\na\ty\nb\tx\nb\tz\n")
    (tmp_path / "v.tsv").write_text("a\tx\nc\ty\n")
    with pytest.raises(TextError, match=r"v.tsv, line 2: training never saw the label 'c'"):
        train_classifier(tmp_path / "t.tsv", tmp_path / "out", SMALL, valid=tmp_path / "v.tsv")
    assert not (tmp_path / "out").exists()


def test_what_was_decided_is_said(tmp_path: Path) -> None:
    path, notes = tmp_path / "t.tsv", []
    path.write_text("a\tx\na\ty\nb\tx\nb\tz\n" * 10)
    train_classifier(path, None, SMALL | {"bptt": 3}, note=notes.append)
    assert notes[0] == "of no meaning to a classifier, and left out: learn.bptt"
    assert notes[1] == "validation: 4 of 40 lines, a share of 0.1 of every label, seed 1"
    assert notes[2].endswith("sequences are in both the training and the validation examples")


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tx\n")  # which could not be trained on either
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        train_classifier(tmp_path / "t.tsv", tmp_path / "file", SMALL)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 7), st.integers(0, 3))
def test_an_epoch_reads_everything_once(lengths: list[int], batch: int, epoch: int) -> None:
    batches = epoch_batches(np.array(lengths), batch, 1, epoch)
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(len(lengths)))
    assert all(1 <= len(some) <= batch for some in batches)
    assert len(batches) == -(-len(lengths) // batch)


def test_epochs_differ_in_order_and_a_batch_has_sequences_of_nearly_one_length() -> None:
    lengths = np.random.default_rng(1).integers(1, 1000, 400)
    first, second = (epoch_batches(lengths, 4, 1, epoch) for epoch in (0, 1))
    assert [some.tolist() for some in first] != [some.tolist() for some in second]
    steps = sum(len(some) * lengths[some].max() for some in first)
    assert steps < 1.2 * lengths.sum()


@given(st.lists(st.sampled_from([1, 50, 1 << 17, 1 << 20]), min_size=1, max_size=20))
def test_scoring_reads_everything_once_within_memory(lengths: list[int]) -> None:
    batches = list(scoring_batches(np.array(lengths)))
    assert sorted(itertools.chain.from_iterable(batches)) == list(range(len(lengths)))
    for some in batches:
        assert len(some) == 1 or len(some) * max(lengths[i] for i in some) <= 1 << 18


def points(count: int, seed: int) -> tuple[Encoded, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(count, 4)).astype(np.float32)
    return Encoded(None, x), (x @ draw.normal(size=(4, 3)) + draw.normal(size=(count, 3))).argmax(axis=1)


def test_the_linear_softmax_is_at_its_minimum_where_newton_steps_also_end() -> None:
    encoded, targets = points(200, 1)
    x, penalty = torch.from_numpy(encoded.rows).double(), 0.01  # type: ignore[arg-type]
    net = Linear(4, 3).double()
    descend(net, x, torch.from_numpy(targets), penalty)
    wide = np.hstack([encoded.rows, np.ones((200, 1))])  # type: ignore[list-item]
    A, d = np.zeros((5, 3)), np.eye(3)[targets]
    shrink = penalty * np.repeat([1, 1, 1, 1, 0], 3)
    for _ in range(30):  # Newton's method, with the matrix of second derivatives written out
        y = np.exp(wide @ A)
        y /= y.sum(axis=1, keepdims=True)
        gradient = (wide.T @ (y - d) / 200).ravel() + shrink * A.ravel()
        second = sum(np.kron(np.outer(r, r), np.diag(p) - np.outer(p, p)) for r, p in zip(wide, y, strict=True)) / 200
        A -= np.linalg.lstsq(second + np.diag(shrink), gradient, rcond=None)[0].reshape(5, 3)
    np.testing.assert_allclose(net.V.detach(), A[:4], atol=1e-4)
    np.testing.assert_allclose(net.bias.detach() - net.bias[0].detach(), A[4] - A[4, 0], atol=1e-4)


def test_the_penalty_is_the_best_on_validation() -> None:
    (train, targets), (valid, held) = points(40, 1), points(40, 2)
    net = Linear(4, 3)
    fit = fit_linear(net, train, targets, valid, held)
    losses = []
    for penalty in PENALTIES:
        other = Linear(4, 3).double()
        descend(other, torch.from_numpy(train.rows).double(), torch.from_numpy(targets), penalty)  # type: ignore[arg-type]
        losses.append(judge(log_probs(other, Inputs.rows(valid, torch.float64), 3), held).loss)
    assert fit.penalty == PENALTIES[int(np.argmin(losses))]
    assert fit.valid.loss == pytest.approx(min(losses), rel=1e-3)
    assert judge(log_probs(net, Inputs.rows(valid), 3), held).loss == pytest.approx(fit.valid.loss, rel=1e-4)


def test_inputs_are_scored_in_their_own_order() -> None:
    net = Feedforward(4, 3, build().network)
    net.initialize(torch.Generator().manual_seed(1))
    encoded, _ = points(700, 1)
    found = log_probs(net, Inputs.rows(encoded), 3)
    with torch.no_grad():
        slow = torch.cat([net(torch.from_numpy(encoded.rows[i : i + 1])) for i in range(700)])  # type: ignore[arg-type]
    np.testing.assert_allclose(found, slow, rtol=1e-5)


def test_rows_of_n_grams_that_no_batch_reads_shrink_like_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They shrink when they are next read; the slow twin shrinks every row with every update."""
    weights = []
    for late in (optimizers.LATE, set()):
        monkeypatch.setattr(optimizers, "LATE", late)
        orders: dict[str, Any] = {"encoder": "n-gram", "network.ngrams": [2, 3]}
        model = trained(tmp_path, order_matters(60, 3), beta=0.05, batch=4, direction="both", **orders)
        weights.append(dict(model.nets.named_parameters()))
    assert {"recurrent.body.encoder.grams", "recurrent.back.encoder.grams"} < weights[0].keys()
    for name, weight in weights[0].items():
        torch.testing.assert_close(weight, weights[1][name], rtol=1e-4, atol=1e-6)


def test_members_are_trained_from_starts_of_their_own_and_the_first_is_the_one_alone(tmp_path: Path) -> None:
    text = order_matters(60, 4)
    alone, together = trained(tmp_path, text), trained(tmp_path, text, members=2)
    assert together.nets.recurrent is not None and alone.nets.recurrent is not None
    first, second = members_of(together.nets.recurrent)
    for (name, weight), other in zip(alone.nets.recurrent.named_parameters(), first.parameters(), strict=True):
        assert torch.equal(weight, other), name
    assert not torch.equal(first.get_parameter("body.encoder.U"), second.get_parameter("body.encoder.U"))
    assert [each["epochs"] for each in together.card["result"]["recurrent"]["members"]] == [2, 2]
