"""An explanation's numbers: those of the equations in NumPy, and facts that follow from the equations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elman.apply.explain import Explanation, explain
from elman.apply.predict import predict
from elman.apply.score import score_line
from elman.errors import TextError, UsageError
from elman.network import reference
from elman.network.folder import Model

Drawn = Callable[..., Model]
TEXT = "the cat sees a dog"
SHAPES = [{}, {"layers": 2}, {"bias": True}, {"tied": True}, {"layers": 3, "bias": True, "tied": True}]


def as_reference(model: Model) -> reference.Weights:
    network = model.network

    def array(weight: torch.Tensor | None) -> NDArray[np.float64] | None:
        return None if weight is None else weight.detach().double().numpy()

    layers = [
        reference.Layer(array(U), array(cell.W), array(cell.bias))
        for U, cell in zip([network.encoder.U, *network.between], network.cells, strict=True)
    ]
    output = network.output
    return reference.Weights(layers, array(output.V), array(output.bias), network.settings.activation)


def ids_of(model: Model, text: str = TEXT) -> list[int]:
    return [model.tokenizer.end_id, *model.tokenizer.encode(text)]


def run_reference(weights: reference.Weights, ids: list[int]) -> tuple[list[NDArray[np.float64]], NDArray[np.float64]]:
    """The states of each layer, (T + 1, H), and log y, (T, D)."""
    states = reference.forward(weights, reference.initial_state(weights, 1), np.array(ids)[:, np.newaxis])
    return [s[:, 0] for s in states], reference.output(weights, states[-1][1:, 0])


def targets_of(model: Model, found: Explanation) -> list[int]:
    return [model.tokenizer.id(why.target) for why in found.why]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("shape", SHAPES)
def test_states_and_probabilities_are_those_of_the_reference(drawn: Drawn, activation: str, shape: dict) -> None:
    model = drawn(activation=activation, **shape)
    found = explain(model, TEXT, units=100, top=100)
    ids = ids_of(model)
    states, log_y = run_reference(as_reference(model), ids)
    assert found.length == len(found.steps) == len(ids)
    for t, step in enumerate(found.steps):
        for part in step.state:
            expected = states[part.layer - 1][t + 1]
            assert part.norm == pytest.approx(np.linalg.norm(expected), abs=1e-12)
            assert len(part.units) == len(expected) == part.size
            values = [abs(unit.value) for unit in part.units]
            assert values == sorted(values, reverse=True)
            for unit in part.units:
                assert unit.value == pytest.approx(expected[unit.index], abs=1e-12)
        for token, probability in step.next:
            assert math.log(probability) == pytest.approx(log_y[t][model.tokenizer.id(token)], abs=1e-9)
        if t + 1 < len(ids):
            assert step.log_prob == pytest.approx(log_y[t][ids[t + 1]], abs=1e-9)
    assert sum(p for _, p in found.steps[0].next) == pytest.approx(1.0)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_sent_back_from_every_step_is_that_of_the_reference(
    drawn: Drawn, activation: str, shape: dict
) -> None:
    model = drawn(activation=activation, **shape)
    found = explain(model, TEXT)
    weights, ids = as_reference(model), ids_of(model)
    states = reference.forward(weights, reference.initial_state(weights, 1), np.array(ids)[:, np.newaxis])
    log_y = reference.output(weights, states[-1][1:])
    for why, target in zip(found.why, targets_of(model, found), strict=True):
        e_o = np.zeros_like(log_y)
        e_o[why.t - 1, 0] = reference.one_hot(np.array(target), log_y.shape[-1]) - np.exp(log_y[why.t - 1, 0])
        expected = reference.errors_back(weights, states, e_o)
        for errors in why.errors:
            norms = np.linalg.norm(expected[errors.layer - 1][:, 0], axis=1)[: why.t][::-1]
            np.testing.assert_allclose(errors.norms, norms, rtol=1e-9, atol=1e-12)
            assert errors.symbol == "e_h" and len(errors.factors) == why.t - 1


@pytest.mark.parametrize("shape", SHAPES)
def test_leave_one_out_is_the_reference_run_again_without_the_word(drawn: Drawn, shape: dict) -> None:
    model = drawn(activation="tanh", **shape)
    found = explain(model, TEXT)
    weights, ids = as_reference(model), ids_of(model)
    _, log_y = run_reference(weights, ids)
    for why, target in zip(found.why, targets_of(model, found), strict=True):
        for word in why.words:
            rest = ids[: word.t - 1] + ids[word.t : why.t]
            if not rest:
                assert word.leave_one_out is None
                continue
            expected = log_y[why.t - 1][target] - run_reference(weights, rest)[1][-1][target]
            assert word.leave_one_out == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("reach", [0.3, 0.8, 3.0])
def test_no_step_back_of_a_sigmoid_net_multiplies_by_more_than_a_quarter_of_w(drawn: Drawn, reach: float) -> None:
    model = drawn(activation="sigmoid", reach=reach)
    largest = np.linalg.norm(model.network.cells[0].W.detach().double().numpy(), 2)
    for why in explain(model, TEXT).why:
        (errors,) = why.errors
        assert errors.bound == pytest.approx(largest / 4)
        assert all(0 < factor <= largest / 4 for factor in errors.factors)


def test_a_relu_net_that_only_moves_its_units_around_keeps_the_norm_of_the_error(drawn: Drawn) -> None:
    model = drawn(activation="relu")
    with torch.no_grad():
        model.network.cells[0].W.copy_(torch.eye(7)[torch.randperm(7, generator=torch.Generator().manual_seed(1))])
        model.network.encoder.U.abs_()
    for why in explain(model, TEXT).why:
        assert why.errors[0].factors == pytest.approx([1.0] * (why.t - 1))


def test_an_lstm_whose_forget_gate_stands_open_keeps_the_error_of_c(drawn: Drawn) -> None:
    model = drawn(cell="lstm")
    with torch.no_grad():
        model.network.cells[0].weight_hh.zero_()
        model.network.cells[0].bias_ih[7:14] = 60.0
    why = explain(model, TEXT).why_at
    h, c = why.errors
    assert (h.part, c.part, h.symbol, c.symbol) == ("s", "c", "dE/ds", "dE/dc")
    assert h.norms[1:] == [0.0] * (why.t - 1), "no weight takes s(t-1) anywhere"
    assert c.norms[0] == 0.0, "c(t) reaches y(t) by way of s(t) alone"
    assert c.factors[1:] == pytest.approx([1.0] * (why.t - 2))


def test_a_window_of_vectors_sends_no_error_back_beyond_it(drawn: Drawn) -> None:
    why = explain(drawn(cell="feedforward", window=3), TEXT).why_at
    products = [word.gradient_x_input for word in reversed(why.words)]
    assert all(products[:3]) and products[3:] == [0.0] * (why.t - 3)
    assert why.errors[0].factors[0] == 0.0 and why.errors[0].factors[1] is None


def test_the_numbers_are_those_that_predict_and_score_give(drawn: Drawn) -> None:
    model = drawn(activation="tanh")
    found = explain(model, TEXT, top=20)
    known = [(token, p) for token, p in found.steps[-1].next if token != "<unk>"]
    for (token, mine), (other, theirs) in zip(known, predict(model, TEXT, 20).next, strict=True):
        assert token == other and mine == pytest.approx(theirs, rel=1e-4)
    end = dict(found.steps[-1].next)["</s>"]
    total = sum(step.log_prob for step in found.steps[:-1]) + math.log(end)
    assert total == pytest.approx(score_line(model, TEXT), rel=1e-4)


def test_surprisal_is_in_bits(drawn: Drawn) -> None:
    step = explain(drawn(), TEXT).steps[0]
    assert step.surprisal == pytest.approx(-math.log2(step.probability))
    assert step.as_dict()["surprisal_bits"] == step.surprisal


def test_units_that_are_not_named_are_summed_up(drawn: Drawn) -> None:
    model = drawn(activation="tanh", reach=3.0)
    whole, cut = explain(model, TEXT, units=7), explain(model, TEXT, units=3)
    for all_of, some in zip(whole.steps, cut.steps, strict=True):
        values = [abs(unit.value) for unit in all_of.state[0].units]
        assert values == sorted(values, reverse=True) and all_of.state[0].others_mean is None
        assert some.state[0].units == all_of.state[0].units[:3] and some.state[0].others == 4
        assert some.state[0].others_mean == pytest.approx(np.mean(values[3:]))
        assert some.state[0].saturated == sum(1 - value**2 < 0.05 for value in values)


def test_the_error_is_that_of_the_last_word_that_is_known_to_come(drawn: Drawn) -> None:
    model = drawn()
    found = explain(model, TEXT)
    assert (found.at, found.why_at.target, found.why_at.origin) == (5, "dog", "text")
    last = explain(model, TEXT, at=6)
    best = next(token for token, _ in last.steps[-1].next if token != "<unk>")
    assert last.why_at.origin == "likeliest" and last.why_at.target == best
    asked = explain(model, TEXT, target="owl")
    assert (asked.at, asked.why_at.target, asked.why_at.origin) == (6, "owl", "asked")
    earlier = explain(model, TEXT, at=2, target="owl")
    assert (earlier.why_at.target, earlier.steps[1].came) == ("owl", "cat")
    assert earlier.steps == found.steps, "what is asked for changes nothing that was read or said"
    assert earlier.why[0] == found.why[0]


def test_a_word_that_training_never_saw_is_read_as_unk_and_has_no_surprisal(drawn: Drawn) -> None:
    found = explain(drawn(), "the zebra sees")
    before, unseen, _ = found.steps[1:]
    assert (unseen.symbol, unseen.written, unseen.unknown) == ("<unk>", "zebra", True)
    assert (before.came, before.log_prob, before.surprisal) == ("zebra", None, None)
    assert found.why[1].origin == "likeliest" and found.unknown == ["zebra"]
    assert any("zebra" in note for note in found.notes)


def test_steps_that_are_left_out_change_no_number_of_the_others(drawn: Drawn) -> None:
    model = drawn(activation="tanh", layers=2)
    text = " ".join([TEXT] * 3)
    whole, part = explain(model, text), explain(model, text, start=5, steps=6)
    assert (part.first, part.last, part.at, part.length) == (5, 10, 10, 16)
    assert part.as_dict()["left_out"] == {"before": 4, "after": 6}
    assert any("10 are left out" in note for note in part.notes)
    assert part.steps == whole.steps[4:10]
    for mine, theirs in zip(part.why, whole.why[4:10], strict=True):
        for word, other in zip(mine.words, theirs.words[4:], strict=True):
            assert word.leave_one_out == pytest.approx(other.leave_one_out, abs=1e-12)
            assert word.gradient_x_input == pytest.approx(other.gradient_x_input, abs=1e-12)
        for errors, all_errors in zip(mine.errors, theirs.errors, strict=True):
            assert errors.norms == pytest.approx(all_errors.norms[: len(errors.norms)])


def test_going_back_fewer_steps_changes_no_number_of_the_others(drawn: Drawn) -> None:
    model = drawn(cell="gru")
    whole, cut = explain(model, TEXT), explain(model, TEXT, back=2)
    assert any("2 steps at the most" in note for note in cut.notes)
    for mine, theirs in zip(cut.why, whole.why, strict=True):
        assert len(mine.words) == min(2, mine.t)
        for word, other in zip(mine.words, theirs.words[-2:], strict=True):
            assert word.gradient_x_input == pytest.approx(other.gradient_x_input, abs=1e-12)
            assert (word.leave_one_out is None) == (other.leave_one_out is None)
            assert word.leave_one_out is None or word.leave_one_out == pytest.approx(other.leave_one_out, abs=1e-12)


def test_a_long_text_shows_its_end_or_the_steps_before_the_one_asked_for(drawn: Drawn) -> None:
    model, text = drawn(), " ".join([TEXT] * 20)
    assert (explain(model, text).first, explain(model, text).last) == (62, 101)
    middle = explain(model, text, at=50, steps=10)
    assert (middle.first, middle.last, middle.at) == (41, 50, 50)
    early = explain(model, text, at=3, steps=10)
    assert (early.first, early.last, early.at) == (1, 10, 3)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"at": 7}, "at = 7 cannot be: the text has steps 1 to 6"),
        ({"at": 0}, "at = 0 cannot be"),
        ({"start": 9}, "from = 9 cannot be"),
        ({"at": 1, "start": 3}, "not among the steps 3 to 6"),
        ({"target": "zebra"}, "'zebra' is no symbol"),
        ({"target": "the cat"}, "'the cat' is no symbol"),
        ({"units": 0}, "units = 0"),
        ({"top": 0}, "top = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"back": 0}, "back = 0"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_sentence(drawn: Drawn, options: dict, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        explain(drawn(), TEXT, **options)
    assert complaint in caught.value.message and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_text_without_a_word_is_refused(drawn: Drawn, text: str) -> None:
    with pytest.raises(TextError, match="empty"):
        explain(drawn(), text)


def test_sentences_follow_each_other_in_running_text_only(drawn: Drawn) -> None:
    text = "the cat\na dog"
    assert [s.symbol for s in explain(drawn(regime="running"), text).steps] == [
        "</s>",
        "the",
        "cat",
        "</s>",
        "a",
        "dog",
    ]
    assert [s.symbol for s in explain(drawn(), text).steps] == ["</s>", "a", "dog"]


def test_the_whole_is_plain_json(drawn: Drawn) -> None:
    found = explain(drawn(cell="lstm", layers=2), "the zebra sees")
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["why"][0]["words"][0]["leave_one_out"] is None
    assert values["summary"]["bptt"] == 5 and values["summary"]["activation"] is None
    assert {part["name"] for part in values["steps"][0]["state"]} == {"s", "c"}
    letters = {weight["name"]: weight["letter"] for weight in values["summary"]["weights"]}
    assert letters["encoder.U"] == letters["cells.0.weight_ih"] == "U"
    assert (letters["cells.1.weight_hh"], letters["output.V"], letters["cells.0.bias_ih"]) == ("W", "V", "bias")


@pytest.mark.parametrize("kind", ["word", "sentences", "char", "byte", "n-grams", "bpe"])
def test_models_of_every_unit_are_explained(trained: Callable[[str], Model], kind: str) -> None:
    model = trained(kind)
    found = explain(model, "The cat sees")
    assert len(found.steps) == found.length == len(model.tokenizer.encode("The cat sees")) + 1
    assert found.steps[0].symbol == model.tokenizer.end
    json.dumps(found.as_dict(), allow_nan=False)
    for step in found.steps:
        assert 0 < sum(p for _, p in step.next) <= 1
