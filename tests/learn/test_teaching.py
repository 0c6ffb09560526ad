"""A teacher's draws: from its probabilities, at their places, and learnt from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elman.config import build, parse_pairs
from elman.errors import Interrupted, ModelError, UsageError
from elman.learn.optimizers import SGD
from elman.learn.run import train_model
from elman.learn.steps import WindowSteps
from elman.learn.teaching import DRAWS, draw_lessons
from elman.network.folder import Model
from elman.network.model import RecurrentNetwork
from elman.text.batches import random_cuts, windows
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.tokenizers import train_tokenizer

SMALL = ["hidden=6", "epochs=2", "threads=1", "batch=4", "bptt=6", "alpha=0.5"]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.txt"
    path.write_text("the cat sees the dog today\na bird wants the cat\n" * 40)
    return path


@pytest.fixture
def teacher(text: Path, tmp_path: Path) -> Path:
    train_model(text, tmp_path / "teacher", build(parse_pairs([*SMALL, "cell=gru", "direct=3"])), valid=text)
    return tmp_path / "teacher"


def model_of(text: Path) -> tuple[Model, np.ndarray]:
    settings = build(parse_pairs(["hidden=5", "activation=tanh", "init_range=1", "direct=3"]))
    tokenizer = train_tokenizer(TextSource(text), settings.text)
    network = RecurrentNetwork(tokenizer.size, settings.network)
    network.initialize(torch.Generator().manual_seed(2))
    return Model(network, tokenizer, "running", {}), build_corpus(TextSource(text), tokenizer).ids


def test_draws_have_the_probabilities_of_the_teacher(text: Path) -> None:
    """Against one step after the other; the first of 32 streams, so many draws that a wrong place would show."""
    model, ids = model_of(text)
    draws = 3000
    drawn = draw_lessons(model, ids, draws=draws, seed=1)
    assert drawn.shape == (draws, len(ids))
    state, symbol = model.network.initial_state(1), model.tokenizer.end_id
    for place in range(len(ids) // 32):
        state, log_probs = model.network.step(state, torch.tensor([symbol]))
        expected = log_probs.exp().squeeze(0).detach().numpy()
        found = np.bincount(drawn[:, place], minlength=model.tokenizer.size) / draws
        assert np.abs(found - expected).max() < 5 * np.sqrt(0.25 / draws)
        symbol = int(ids[place])


def test_a_tail_that_fills_no_stream_stays_as_it_is(text: Path) -> None:
    model, ids = model_of(text)
    assert len(ids) % 32
    drawn = draw_lessons(model, ids, draws=2, seed=1)
    tail = len(ids) // 32 * 32
    assert (drawn[:, tail:] == ids[tail:]).all()
    assert (drawn[0] != drawn[1]).any()


@pytest.mark.parametrize("jitter", [0, 2])
def test_a_lesson_stands_where_its_symbol_stood(jitter: int, text: Path) -> None:
    """Draws that are the text itself, plus one: every target of every window is one more than that of the text."""
    settings = build(parse_pairs([*SMALL, f"bptt_jitter={jitter}", "teacher=x", "teacher_share=1"]))
    model, ids = model_of(text)
    corpus = build_corpus(TextSource(text), model.tokenizer)
    lessons = np.stack([ids + 1, ids + 2])
    optimizer = SGD(model.network.named_parameters())
    steps = WindowSteps(model.network, optimizer, corpus, model.tokenizer, settings.learn, lessons=lessons)
    for epoch in range(3):
        steps.begin(epoch)
        for index in range(steps.per_epoch):
            _, targets, _, _ = steps.read(index)
            assert torch.equal(steps._taught(index, targets), targets + 1 + epoch % 2)


def test_a_share_of_the_targets_is_the_teachers(text: Path) -> None:
    settings = build(parse_pairs(["batch=4", "bptt=50", "teacher=x", "teacher_share=0.25"]))
    model, ids = model_of(text)
    corpus = build_corpus(TextSource(text), model.tokenizer)
    steps = WindowSteps(
        model.network,
        SGD(model.network.named_parameters()),
        corpus,
        model.tokenizer,
        settings.learn,
        lessons=ids[None] + 1,
    )
    steps.begin(0)
    taught = sum(int((steps._taught(i, steps.read(i)[1]) != steps.read(i)[1]).sum()) for i in range(steps.per_epoch))
    assert taught / len(ids) == pytest.approx(0.25, abs=0.06)


def test_windows_over_another_text_are_cut_alike() -> None:
    ids = np.arange(100)
    for cuts in (None, random_cuts(25, 6, 2.0, 1, 0)):
        plan = windows(ids, 4, 6, 0) if cuts is None else type(windows(ids, 4, 6, 0))(ids, 4, 6, 0, cuts=cuts)
        other = plan.over(ids + 1000)
        assert len(other) == len(plan)
        assert all((b[1] == a[1] + 1000).all() for a, b in zip(plan, other, strict=True))


def test_a_student_of_a_good_teacher_alone_learns_the_text(text: Path, teacher: Path, tmp_path: Path) -> None:
    """It never sees a target of the text, and comes near the teacher."""
    pairs = [*SMALL, "epochs=12", "optimizer=adam", "alpha=0.02", f"teacher={teacher}", "teacher_share=1"]
    strong = train_model(
        text,
        teacher,
        build(parse_pairs([*SMALL, "optimizer=adam", "alpha=0.02", "epochs=12"])),
        valid=text,
        overwrite=True,
    )
    student = train_model(text, tmp_path / "student", build(parse_pairs(pairs)), valid=text)
    best, found = (model.card["result"]["valid_perplexity"] for model in (strong, student))
    assert best < 2
    assert found < 1.3 * best


def test_a_teacher_with_another_dictionary_is_refused(text: Path, teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("one two three\nfour five\n" * 30)
    with pytest.raises(UsageError, match="another dictionary"):
        train_model(other, tmp_path / "student", build(parse_pairs([*SMALL, f"teacher={teacher}"])), valid=other)
    assert not (tmp_path / "student").exists()


def test_a_teacher_that_is_not_there_is_named(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nobody"):
        train_model(text, tmp_path / "student", build(parse_pairs([*SMALL, f"teacher={tmp_path}/nobody"])), valid=text)


def test_independent_sentences_have_no_teacher() -> None:
    with pytest.raises(UsageError, match="teacher is of windows over running text"):
        build(parse_pairs(["regime=sentences", "teacher=x"]))


def test_no_more_is_drawn_than_there_are_epochs(
    text: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def draw(*arguments: object, draws: int, **named: object) -> object:
        asked.append(draws)
        return draw_lessons(*arguments, draws=draws, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("elman.learn.run.draw_lessons", draw)
    for epochs in (2, DRAWS + 1):
        pairs = [*SMALL, f"teacher={teacher}", f"epochs={epochs}", "max_updates=3"]
        train_model(text, tmp_path / "student", build(parse_pairs(pairs)), valid=text, overwrite=True)
    assert asked == [2, DRAWS]


def test_a_run_that_was_stopped_goes_on_with_the_same_lessons(text: Path, teacher: Path, tmp_path: Path) -> None:
    pairs = [*SMALL, f"teacher={teacher}", "noise=0.3", "checkpoint_every=5", "epochs=4"]
    settings = build(parse_pairs(pairs))
    whole = train_model(text, tmp_path / "whole", settings, valid=text)
    calls = iter([False] * 60)
    with pytest.raises(Interrupted):
        train_model(text, tmp_path / "cut", settings, valid=text, should_stop=lambda: next(calls, True))
    again = train_model(text, tmp_path / "cut", settings, valid=text, resume=True)
    for (name, one), other in zip(whole.network.named_parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other), name
