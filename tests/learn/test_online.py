"""The online regime against its slow twin, and against itself cut into pieces."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import TrainingError
from elman.learn.online import OnlineLearner, draw_weights
from elman.network.reference_online import online

D, H = 13, 5
SCALE = 6.0  # weights large enough for errors and states to matter


def make_weights(dtype=torch.float64, scale=SCALE, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [draw_weights(shape, generator, dtype=dtype) * scale for shape in ((D, H), (H, H), (H, D))]


def draw_words(count, seed=5):
    return np.random.default_rng(seed).integers(0, D + 1, count).tolist()  # D: outside the dictionary


def make_learner(weights, **options):
    return OnlineLearner(*weights, **{"alpha": 0.3, "beta": 1e-7, "bptt": 4, "bptt_block": 10} | options)


def assert_equal_bits(first, second):
    for name, a, b in zip("UWV", first, second, strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("cutoff", [15.0, 0.05])
@pytest.mark.parametrize(("bptt", "bptt_block"), [(4, 10), (1, 10), (0, 1), (2, 1), (2, 10), (5, 7), (3, 25), (12, 3)])
def test_fast_and_slow_twin_agree(bptt, bptt_block, cutoff, beta):
    options = {"alpha": 0.3, "beta": beta, "bptt": bptt, "bptt_block": bptt_block, "cutoff": cutoff}
    weights, words = make_weights(), draw_words(83)
    *expected, log_prob = online(*(weight.numpy() for weight in weights), words, **options)
    learner = make_learner(weights, **options)
    assert learner.learn(words) == pytest.approx(log_prob, rel=1e-10)
    learner.settle()
    for name, found, slow in zip("UWV", weights, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), slow, rtol=1e-9, atol=1e-11, err_msg=name)


def test_cutoff_changes_what_is_learnt():
    bound, free = make_weights(), make_weights()
    make_learner(bound, cutoff=0.05).learn(draw_words(40))
    make_learner(free, cutoff=None).learn(draw_words(40))
    assert not torch.allclose(bound[0], free[0])


@settings(max_examples=40)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=6),
    bptt=st.integers(1, 6),
    bptt_block=st.integers(1, 14),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_pieces_equal_the_whole_bit_for_bit(cuts, bptt, bptt_block, dtype):
    options = {"bptt": bptt, "bptt_block": bptt_block, "beta": 0.01}
    words = draw_words(60)
    whole, pieces = make_weights(dtype), make_weights(dtype)
    log_prob = make_learner(whole, **options).learn(words)
    learner = make_learner(pieces, **options)
    ends = [0, *sorted(cuts), len(words)]
    scored = [learner.learn(words[start:end]) for start, end in pairwise(ends)]
    assert sum(scored) == pytest.approx(log_prob, rel=1e-12)
    assert_equal_bits(whole, pieces)


@pytest.mark.parametrize("cut", [0, 1, 17, 20, 29, 30])
def test_a_restored_learner_goes_on_bit_for_bit(cut):
    words, whole, broken = draw_words(60), make_weights(torch.float32), make_weights(torch.float32)
    make_learner(whole, bptt_block=7).learn(words)
    first = make_learner(broken, bptt_block=7)
    first.learn(words[:cut])
    saved, weights = first.state_tensors(), [weight.clone() for weight in broken]
    first.learn(words[::-1])  # what the first learner does afterwards is nothing to the second
    second = make_learner(weights, bptt_block=7)
    second.load_state_tensors(saved)
    second.learn(words[cut:])
    assert_equal_bits(whole, weights)


def test_a_state_of_another_shape_is_refused():
    state = make_learner(make_weights(), bptt=5).state_tensors()
    with pytest.raises(TrainingError, match="states"):
        make_learner(make_weights(), bptt=6).load_state_tensors(state)
    del state["errors"]
    with pytest.raises(TrainingError, match="missing"):
        make_learner(make_weights(), bptt=5).load_state_tensors(state)


def test_settling_in_the_middle_changes_only_rounding():
    words, plain, settled = draw_words(45), make_weights(), make_weights()
    make_learner(plain).learn(words)
    learner = make_learner(settled)
    for start in range(0, 45, 9):
        learner.learn(words[start : start + 9])
        learner.settle()
    for a, b in zip(plain[:2], settled[:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_settle_brings_the_last_words_into_v():
    weights, words = make_weights(), draw_words(3)
    before = weights[2].clone()
    learner = make_learner(weights)
    learner.learn(words)
    assert torch.equal(weights[2], before)
    learner.settle()
    assert not torch.equal(weights[2], before)


def test_reset_begins_a_new_stream():
    words, once, again = draw_words(25), make_weights(), make_weights()
    fresh = make_learner(once)
    expected = fresh.learn(words)
    learner = make_learner(again)
    learner.learn(draw_words(33, seed=9))
    for weight, kept in zip(again, make_weights(), strict=True):
        weight.copy_(kept)
    learner.reset()
    assert learner.learn(words) == expected
    assert_equal_bits(once, again)


def test_learning_follows_the_models_own_parameters():
    parameters = [torch.nn.Parameter(weight) for weight in make_weights(torch.float32)]
    before = [parameter.detach().clone() for parameter in parameters]
    make_learner(parameters).learn(torch.tensor(draw_words(30)))
    assert all(not torch.equal(now, then) for now, then in zip(parameters, before, strict=True))


def test_beta_shrinks_v_with_every_tenth_word_alone():
    weights = make_weights()
    before = weights[2].clone()
    learner = make_learner(weights, alpha=0.5, beta=0.5, bptt_block=5)
    learner.learn([D] * 29)  # no word is known: nothing is learnt, beta alone moves V
    learner.settle()
    torch.testing.assert_close(weights[2], before * 0.75**2, rtol=1e-15, atol=0)


def test_words_outside_the_dictionary_are_not_scored():
    assert make_learner(make_weights()).learn([D, -1, D + 7]) == 0.0


def test_nothing_to_learn_changes_nothing():
    weights = make_weights()
    assert make_learner(weights).learn([]) == 0.0
    assert_equal_bits(weights, make_weights())


def test_a_log_probability_that_is_no_number_is_an_error():
    weights = make_weights()
    weights[0][0, 0] = float("nan")
    with pytest.raises(TrainingError, match="alpha"):
        make_learner(weights).learn([1, 2, 3])


def test_a_pattern_is_learnt():
    learner = make_learner(make_weights(torch.float32, scale=1.0))
    for _ in range(60):
        learner.learn([1, 2, 3, 4, 5] * 10)
    assert learner.learn([1, 2, 3, 4, 5] * 10) > 50 * np.log(0.9)


def test_weights_start_as_sums_of_three_draws():
    weights = draw_weights((400, 400), torch.Generator().manual_seed(1))
    assert weights.abs().max() <= 0.3
    assert weights.abs().max() > 0.25
    assert weights.std().item() == pytest.approx(0.1, rel=0.02)  # sqrt(3) * 0.2 / sqrt(12)
    assert abs(weights.mean().item()) < 0.002
