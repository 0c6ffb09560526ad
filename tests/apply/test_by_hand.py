"""The whiteboard against the reference, against the engine, and against the definition of a gradient."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from elman.apply import by_hand_check
from elman.apply.by_hand import ByHand, Matrices, Update, by_hand, draw_weights, perplexity
from elman.apply.by_hand_check import check, engine_step
from elman.apply.by_hand_task import MOST_HIDDEN, MOST_LENGTH, MOST_STEPS, MOST_WORDS, Task
from elman.errors import TrainingError, UsageError
from elman.network import reference

NAMES = ("U", "W", "V")
WORDS = ("row", "your", "boat", "gently", "down", "the", "stream", "merrily")


def compute(task: Task, seed: int = 1) -> ByHand:
    return by_hand(task, draw_weights(task, np.random.default_rng(seed)))


def drawn(task: Task, seed: int) -> ByHand:
    """For hypothesis: ReLU may run away with a large alpha, which is a case of its own."""
    try:
        return compute(task, seed)
    except TrainingError:
        assert task.activation == "relu"
        reject()


@st.composite
def tasks(draw: st.DrawFn, **fixed: object) -> Task:
    dictionary = WORDS[: draw(st.integers(2, MOST_WORDS))]
    values = {
        "sentence": tuple(draw(st.lists(st.sampled_from(dictionary), min_size=2, max_size=MOST_LENGTH))),
        "dictionary": dictionary,
        "hidden": draw(st.integers(1, MOST_HIDDEN)),
        "activation": draw(st.sampled_from(["sigmoid", "tanh", "relu"])),
        "alpha": draw(st.floats(0.01, 1.0)),
        "beta": draw(st.floats(0.0, 0.5)),
        "bptt": draw(st.integers(1, 14)),
        "steps": draw(st.integers(1, 5)),
        "learn": draw(st.sampled_from(["last", "all"])),
    }
    return Task(**(values | fixed))


SEEDS = st.integers(0, 10**6)


def assert_same(found: Matrices, expected: reference.Weights, atol: float = 1e-9) -> None:
    pairs = {"U": expected.layers[0].U, "W": expected.layers[0].W, "V": expected.V}
    for name, array in pairs.items():
        np.testing.assert_allclose(getattr(found, name), array, rtol=1e-9, atol=atol, err_msg=name)


@settings(max_examples=60)
@given(tasks(learn="last"), SEEDS)
def test_each_update_from_the_last_word_is_that_of_the_reference(task: Task, seed: int) -> None:
    for update in drawn(task, seed).updates:
        weights = update.before.reference(task.activation)
        inputs = np.array(task.ids[:-1])
        states = reference.forward(weights, reference.initial_state(weights, 1), inputs[:, np.newaxis])[0][:, 0]
        e_o = reference.one_hot(np.array(task.ids[-1]), len(task.dictionary)) - np.exp(
            reference.output(weights, states[-1])
        )
        w = [np.zeros(len(task.dictionary)), *reference.one_hot(inputs, len(task.dictionary))]
        gradient = reference._word_gradients(weights, list(states), w, e_o, task.bptt)
        assert_same(update.gradient, gradient)
        assert_same(update.after, reference.update(weights, gradient, alpha=task.alpha, beta=task.beta))
        np.testing.assert_allclose([reading.s for reading in update.readings], states[1:], rtol=1e-12)
        np.testing.assert_allclose(update.readings[-1].e_o, e_o, atol=1e-12)


@settings(max_examples=60)
@given(tasks(learn="all"), SEEDS)
def test_updates_from_all_words_are_those_of_the_reference_window_by_window(task: Task, seed: int) -> None:
    length = len(task.sentence) - 1
    windows = math.ceil(length / task.bptt)
    task = replace(task, steps=2 * windows)  # the sentence, twice
    found = drawn(task, seed)
    words, weights = np.array(task.ids)[:, np.newaxis], found.start.reference(task.activation)
    once = reference.window_by_window(weights, words, alpha=task.alpha, beta=task.beta, bptt=task.bptt)
    again = reference.window_by_window(once.weights, words, alpha=task.alpha, beta=task.beta, bptt=task.bptt)
    assert_same(found.updates[windows - 1].after, once.weights)
    assert_same(found.end, again.weights)
    scored = [reading.log_probability for update in found.updates for reading in update.readings]
    np.testing.assert_allclose(scored, once.log_likelihood + again.log_likelihood, rtol=1e-9, atol=1e-12)


def test_one_word_is_learnt_as_the_reference_learns_word_by_word() -> None:
    task = Task(sentence=("row", "your"), steps=1)
    found = compute(task)
    expected = reference.word_by_word(
        found.start.reference("sigmoid"), np.array(task.ids), alpha=task.alpha, beta=task.beta, bptt=task.bptt
    )
    assert_same(found.end, expected.weights)
    assert found.log_probabilities == pytest.approx(expected.log_likelihood)


@settings(max_examples=60)
@given(tasks(), SEEDS)
def test_the_engine_makes_the_same_updates(task: Task, seed: int) -> None:
    found = drawn(task, seed)
    checks = check(found)
    assert len(checks) == 2 * task.steps
    for one in checks:
        assert one.agrees, one
        if one.type == "float64":
            assert one.worst[1] < 1e-11, one


@settings(max_examples=25)
@given(tasks(hidden=2, steps=1), SEEDS)
def test_an_update_follows_minus_the_gradient_of_the_loss_and_shrinks_by_beta(task: Task, seed: int) -> None:
    """Finite differences, through as many steps as bptt leaves: what was read before is a state that stands still."""
    if task.activation == "relu":  # a kink within a difference is no gradient
        task = replace(task, activation="tanh")
    update = drawn(task, seed).updates[0]
    for name in NAMES:
        before, after = getattr(update.before, name), getattr(update.after, name)
        gradient = np.zeros_like(before)
        for at in np.ndindex(before.shape):
            losses = []
            for step in (1e-6, -1e-6):
                moved = {key: getattr(update.before, key).copy() for key in NAMES}
                moved[name][at] += step
                losses.append(loss(Matrices(**moved), update, task.activation))
            gradient[at] = (losses[0] - losses[1]) / 2e-6
        np.testing.assert_allclose(after, before - task.alpha * gradient - task.beta * before, atol=1e-7, err_msg=name)


def loss(matrices: Matrices, update: Update, f: str) -> float:
    """Minus the log-likelihood of what is learnt, of a window that begins where errors end."""
    window = update.readings[update.first :]
    weights = matrices.reference(f)
    words = np.array([[reading.word_id] for reading in window])
    log_y = reference.log_probabilities(weights, [window[0].before[np.newaxis]], words)
    return -sum(log_y[place, 0, reading.target_id] for place, reading in enumerate(window) if reading.learnt)


@settings(max_examples=40)
@given(tasks(), SEEDS)
def test_every_line_of_an_update_follows_from_the_lines_before(task: Task, seed: int) -> None:
    for update in drawn(task, seed).updates:
        start, readings = update.before, {reading.t: reading for reading in update.readings}
        for reading in update.readings:
            assert reading.w[reading.word_id] == reading.d[reading.target_id] == 1.0
            np.testing.assert_allclose(reading.from_word, start.U[reading.word_id])
            np.testing.assert_allclose(reading.drive, reading.from_word + reading.before @ start.W, atol=1e-12)
            np.testing.assert_allclose(reading.powers / reading.powers.sum(), reading.y, rtol=1e-9)
            assert reading.y.sum() == pytest.approx(1.0)
            assert reading.e_o.sum() == pytest.approx(0.0, abs=1e-12)
        for later, error in zip([None, *update.back], update.back, strict=False):
            arriving = np.zeros(task.hidden)
            if error.from_output is not None:
                arriving = arriving + readings[error.t].e_o @ start.V.T
            if later is not None:
                arriving = arriving + later.e_h @ start.W.T
            np.testing.assert_allclose(error.e_h, arriving * readings[error.t].slope, atol=1e-12)
        assert len(update.back) == min(task.bptt, len(update.readings))
        np.testing.assert_allclose(update.gradient.U, sum(error.u_term for error in update.back), atol=1e-12)
        np.testing.assert_allclose(update.gradient.W, sum(error.w_term for error in update.back), atol=1e-12)


@settings(max_examples=40)
@given(tasks(learn="last"), SEEDS)
def test_what_is_cut_off_is_what_a_longer_bptt_would_add(task: Task, seed: int) -> None:
    short = drawn(task, seed).updates[0]
    long = drawn(replace(task, bptt=MOST_LENGTH), seed).updates[0]
    assert short.left_out is not None
    for name in ("U", "W"):
        whole = getattr(long.gradient, name)
        missing = np.linalg.norm(whole - getattr(short.gradient, name))
        assert short.left_out[name] * np.linalg.norm(whole) == pytest.approx(missing, abs=1e-9)
    assert [faded.used for faded in short.fading] == [faded.k < task.bptt for faded in short.fading]
    for faded, error in zip(short.fading, long.back, strict=True):
        assert faded.norm == pytest.approx(np.linalg.norm(error.e_h))


def test_factors_multiply_to_what_is_left_of_an_error() -> None:
    update = compute(Task(sentence=("row",) * 9 + ("your",))).updates[0]
    fading = update.fading
    assert len(fading) == 9
    factors = [faded.factor for faded in fading[1:] if faded.factor is not None]
    assert fading[0].factor is None and len(factors) == 8
    assert math.prod(factors) == pytest.approx(fading[-1].norm / fading[0].norm)
    assert update.mean_factor == pytest.approx(math.prod(factors) ** (1 / 8))


def test_an_error_of_nothing_has_no_factor() -> None:
    task = Task(activation="relu", hidden=1)
    dead = Matrices(-np.ones((3, 1)), np.ones((1, 1)), np.ones((1, 3)))  # a unit that never fires
    update = by_hand(task, dead).updates[0]
    assert [(faded.norm, faded.factor) for faded in update.fading] == [(0.0, None)] * 3
    assert update.mean_factor is None and update.left_out == {"U": 0.0, "W": 0.0}


def test_probabilities_after_an_update_are_those_that_the_next_one_reads() -> None:
    found = compute(Task(steps=4))
    before = found.log_probabilities
    for update in found.updates:
        assert [reading.log_probability for reading in update.readings] == pytest.approx(before)
        before = update.log_probabilities
        assert update.sentence_perplexity == pytest.approx(math.exp(-np.mean(before)))
        assert update.perplexity == pytest.approx(math.exp(-before[-1]))


def test_learning_makes_what_is_learnt_less_perplexing() -> None:
    for learn in ("last", "all"):
        found = compute(Task(learn=learn, steps=60, bptt=3, beta=0.0))
        assert found.updates[-1].perplexity < 0.7 * found.perplexity


@given(SEEDS, st.sampled_from(["sigmoid", "tanh", "relu"]))
def test_weights_can_be_copied_from_the_board(seed: int, f: str) -> None:
    task = Task(activation=f)
    first, second = (draw_weights(task, np.random.default_rng(seed)) for _ in range(2))
    for name in NAMES:
        array = getattr(first, name)
        assert np.array_equal(array, getattr(second, name))
        assert np.array_equal(array, array.round(3 if f == "relu" else 1))
        assert (np.abs(array) <= 1.0).all() and (array != 0.0).all()


def test_all_of_it_becomes_json() -> None:
    found = compute(Task())
    told = json.loads(json.dumps(found.as_dict()))
    assert told["sentence"] == ["row", "row", "row", "your"] and told["alpha"] == 0.5
    assert told["updates"][0]["after"]["U"] == found.updates[0].after.U.tolist()
    assert told["updates"][2]["readings"][1]["y"] == found.updates[2].readings[1].y.tolist()
    assert told["updates"][0]["back"][0]["from_later"] is None
    assert told["perplexity"] == found.perplexity


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sentence": ("row",)}, "the sentence has one word, 'row'"),
        ({"sentence": ()}, "the sentence has no word"),
        ({"sentence": ("row", "rwo")}, "does not hold 'rwo'"),
        ({"sentence": ("row",) * 13}, "13 words is too long"),
        ({"sentence": ("row", "row"), "dictionary": ("row",)}, "nothing to guess"),
        ({"dictionary": ("row", "your", "row")}, "holds 'row' twice"),
        ({"dictionary": (*WORDS, "more")}, "9 words is too large"),
        ({"hidden": 7}, "hidden = 7 does not fit"),
        ({"hidden": 0}, "hidden = 0"),
        ({"activation": "tahn"}, "activation 'tahn'"),
        ({"learn": "none"}, "learn 'none'"),
        ({"alpha": 0.0}, "alpha = 0"),
        ({"alpha": math.nan}, "alpha = nan"),
        ({"alpha": math.inf}, "alpha = inf"),
        ({"beta": 1.0}, "beta = 1"),
        ({"beta": math.nan}, "beta = nan"),
        ({"bptt": 0}, "bptt = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": MOST_STEPS + 1}, "steps = 1001"),
    ],
)
def test_what_does_not_fit_on_a_whiteboard_is_refused(change: dict, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Task(**change)
    assert complaint in caught.value.message and caught.value.hint


def test_a_word_that_is_spelt_otherwise_is_suggested() -> None:
    with pytest.raises(UsageError, match="did you mean row"):
        Task(sentence=("row", "rwo"))


def test_numbers_that_outgrow_the_whiteboard_say_in_which_update() -> None:
    sentence = ("your", "row", "row", "row", "your", *["row"] * 5)
    task = Task(sentence, activation="relu", hidden=5, alpha=1.0, beta=0.0, bptt=3, learn="all", steps=9)
    with pytest.raises(TrainingError, match=r"in update [2-9]"):
        compute(task)


def test_an_engine_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(task: Task, update: Update, dtype: object) -> tuple[Matrices, float]:
        matrices, found = engine_step(task, update, dtype)
        matrices.W[0, 1] += 1e-3
        return matrices, found

    monkeypatch.setattr(by_hand_check, "engine_step", wrong)
    checks = check(compute(Task(steps=2)))
    assert not any(one.agrees for one in checks)
    assert {one.worst[0] for one in checks} == {"W"}


def test_an_engine_that_computes_no_number_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(task: Task, update: Update, dtype: object) -> tuple[Matrices, float]:
        matrices, found = engine_step(task, update, dtype)
        matrices.V[:] = np.nan
        return matrices, found

    monkeypatch.setattr(by_hand_check, "engine_step", wrong)
    one = check(compute(Task(steps=1)))[0]
    assert not one.agrees and one.worst[0] == "V" and not one.as_dict()["agrees"]


def test_perplexity_of_what_cannot_be_is_infinite() -> None:
    assert perplexity([-1e9]) == math.inf
