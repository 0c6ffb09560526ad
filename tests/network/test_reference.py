"""The reference is held against the definition of a gradient: finite differences of the log-likelihood."""

from copy import deepcopy

import numpy as np
import pytest

from elman.network import reference
from elman.network.reference import Layer, Weights

D, H, T, B = 3, 4, 5, 2


def make_weights(*, f="sigmoid", layers=1, bias=False, tied=False, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(0.0, 0.7, shape)

    stack = [Layer(draw(D if n == 0 else H, H), draw(H, H), draw(H) if bias else None) for n in range(layers)]
    return Weights(stack, None if tied else draw(H, D), draw(D) if bias else None, f)


def arrays(weights):
    found = {"V": weights.V, "c": weights.c}
    for n, layer in enumerate(weights.layers):
        found |= {f"U{n}": layer.U, f"W{n}": layer.W, f"b{n}": layer.b}
    return {name: array for name, array in found.items() if array is not None}


def draw_words(*shape, seed=1):
    return np.random.default_rng(seed).integers(0, D, shape)


def draw_state(weights, streams=B, seed=2):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0.1, 0.9, (streams, H)) for _ in weights.layers]


def mean_log_likelihood(weights, state, words, targets):
    log_y = reference.log_probabilities(weights, state, words)
    return sum(log_y[t, b, targets[t, b]] for t in range(len(words)) for b in range(words.shape[1])) / words.shape[1]


def by_differences(weights, likelihood, step=1e-6):
    found = {}
    for name in arrays(weights):
        gradient = np.zeros_like(arrays(weights)[name])
        for at in np.ndindex(gradient.shape):
            up, down = deepcopy(weights), deepcopy(weights)
            arrays(up)[name][at] += step
            arrays(down)[name][at] -= step
            gradient[at] = (likelihood(up) - likelihood(down)) / (2 * step)
        found[name] = gradient
    return found


def assert_same(found, expected, atol=1e-12):
    found, expected = arrays(found), arrays(expected) if isinstance(expected, Weights) else expected
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=atol, err_msg=name)


@pytest.mark.parametrize("f", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_those_of_the_log_likelihood(f, layers, bias, tied):
    weights = make_weights(f=f, layers=layers, bias=bias, tied=tied)
    words, targets, state = draw_words(T, B), draw_words(T, B, seed=7), draw_state(weights)
    found, _, scored = reference.gradients(weights, state, words, targets)
    expected = by_differences(weights, lambda w: mean_log_likelihood(w, state, words, targets))
    assert_same(found, expected, atol=1e-8)
    assert sum(scored) / B == pytest.approx(mean_log_likelihood(weights, state, words, targets))


@pytest.mark.parametrize("f", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("tied", [False, True])
def test_word_gradient_is_that_of_the_last_words_log_likelihood(f, tied):
    weights = make_weights(f=f, bias=True, tied=tied)
    words = draw_words(T + 1)

    def last_alone(w):
        log_y = reference.log_probabilities(w, reference.initial_state(w, 1), words[:-1, np.newaxis])
        return log_y[-1, 0, words[-1]]

    # With an alpha of (almost) nothing the weights stand still until the last word, whose update is then the gradient.
    before = reference.word_by_word(weights, words[:-1], alpha=0.0, bptt=T).weights
    after = reference.word_by_word(weights, words, alpha=1e-6, bptt=T).weights
    early = reference.word_by_word(weights, words[:-1], alpha=1e-6, bptt=T).weights
    assert_same(before, weights)
    found = {name: (arrays(after)[name] - arrays(early)[name]) / 1e-6 for name in arrays(weights)}
    for name, expected in by_differences(weights, last_alone).items():
        np.testing.assert_allclose(found[name], expected, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("f", ["sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("tied", [False, True])
def test_both_forms_agree_on_one_word(f, tied):
    weights = make_weights(f=f, bias=True, tied=tied)
    words = np.array([2, 0])
    word = reference.word_by_word(weights, words, alpha=0.3, beta=0.01, bptt=9)
    window = reference.window_by_window(weights, words[:, np.newaxis], alpha=0.3, beta=0.01, bptt=9)
    assert_same(word.weights, window.weights)
    assert word.log_likelihood == pytest.approx(window.log_likelihood)


def test_both_forms_agree_on_windows_of_one_word():
    weights, words = make_weights(), draw_words(9)
    word = reference.word_by_word(weights, words, alpha=0.3, beta=0.01, bptt=1)
    window = reference.window_by_window(weights, words[:, np.newaxis], alpha=0.3, beta=0.01, bptt=1)
    assert_same(word.weights, window.weights)
    np.testing.assert_allclose(word.state[0], window.state[0])


def test_window_gradient_is_the_sum_of_the_word_gradients():
    weights, words = make_weights(), draw_words(T + 1)
    state = reference.initial_state(weights, 1)
    whole, _, _ = reference.gradients(weights, state, words[:-1, np.newaxis], words[1:, np.newaxis])
    total = {name: np.zeros_like(array) for name, array in arrays(weights).items()}
    for length in range(1, T + 1):
        early = reference.word_by_word(weights, words[:length], alpha=1e-6, bptt=T).weights
        late = reference.word_by_word(weights, words[: length + 1], alpha=1e-6, bptt=T).weights
        for name in total:
            total[name] += (arrays(late)[name] - arrays(early)[name]) / 1e-6
    for name, array in arrays(whole).items():
        np.testing.assert_allclose(total[name], array, atol=1e-4, err_msg=name)


def test_bptt_longer_than_the_stream_changes_nothing():
    weights, words = make_weights(f="tanh"), draw_words(6)
    short = reference.word_by_word(weights, words, alpha=0.3, bptt=5)
    long = reference.word_by_word(weights, words, alpha=0.3, bptt=50)
    assert_same(short.weights, long.weights)


def test_bptt_shorter_than_the_stream_changes_the_weights():
    weights, words = make_weights(f="tanh"), draw_words(6)
    short = reference.word_by_word(weights, words, alpha=0.3, bptt=2)
    long = reference.word_by_word(weights, words, alpha=0.3, bptt=3)
    assert not np.allclose(short.weights.layers[0].W, long.weights.layers[0].W)


def test_gradients_of_streams_are_averaged():
    weights, words, targets = make_weights(), draw_words(T, B), draw_words(T, B, seed=7)
    state = draw_state(weights)
    both, _, _ = reference.gradients(weights, state, words, targets)
    streams = [slice(b, b + 1) for b in range(B)]
    alone = [
        arrays(reference.gradients(weights, [s[b] for s in state], words[:, b], targets[:, b])[0]) for b in streams
    ]
    assert_same(both, {name: sum(one[name] for one in alone) / B for name in arrays(weights)})


@pytest.mark.parametrize("layers", [1, 2])
def test_two_windows_carry_the_state(layers):
    weights, words = make_weights(layers=layers), draw_words(T + 1, B)
    two = reference.window_by_window(weights, words, alpha=0.0, bptt=3)
    one = reference.window_by_window(weights, words, alpha=0.0, bptt=T)
    for carried, whole in zip(two.state, one.state, strict=True):
        np.testing.assert_allclose(carried, whole, rtol=1e-12)
    np.testing.assert_allclose(sum(two.log_likelihood), sum(one.log_likelihood))


def test_no_error_goes_back_into_the_last_window():
    weights, words = make_weights(), draw_words(4, 1)
    first = reference.window_by_window(weights, words[:3], alpha=0.5, bptt=2)
    second, _, _ = reference.gradients(first.weights, first.state, words[2:3], words[3:4])
    expected = reference.update(first.weights, second, alpha=0.5, beta=0.0)
    assert_same(reference.window_by_window(weights, words, alpha=0.5, bptt=2).weights, expected)


@pytest.mark.parametrize("tied", [False, True])
def test_beta_shrinks_matrices_once_an_update_and_biases_never(tied):
    weights, words = make_weights(bias=True, tied=tied), draw_words(7, B)
    found = reference.window_by_window(weights, words, alpha=0.0, beta=0.5, bptt=2).weights
    for name, array in arrays(found).items():
        updates = 0 if name[0] in "bc" else 3
        np.testing.assert_array_equal(array, arrays(weights)[name] * 0.5**updates, err_msg=name)
    found = reference.word_by_word(weights, words[:, 0], alpha=0.0, beta=0.5, bptt=2).weights
    for name, array in arrays(found).items():
        updates = 0 if name[0] in "bc" else 6
        np.testing.assert_array_equal(array, arrays(weights)[name] * 0.5**updates, err_msg=name)


def test_training_on_a_pattern_learns_the_pattern():
    words = np.array([0, 1, 2] * 60)
    learnt = reference.word_by_word(make_weights(), words, alpha=0.5, bptt=4)
    assert np.mean(learnt.log_likelihood[-9:]) > np.log(0.9)
