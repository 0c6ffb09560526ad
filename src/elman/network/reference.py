"""The equations of the design in NumPy, float64, written to be read. Every fast path is tested against these lines.

    s(t) = f( w(t) U + s(t-1) W )         w(t): the one-hot row of the current word
    y(t) = g( s(t) V )                    g: softmax
    e_o(t) = d(t) - y(t)                  d(t): the one-hot row of the word that really came next

Rows are vectors. T: words in a window, B: streams side by side, D: dictionary size, H: hidden size. A gradient here is
the direction in which the log-likelihood grows, so that alpha times it is added.

Sources: T. Mikolov et al., "Recurrent neural network based language model" (Interspeech 2010) and "Extensions of
recurrent neural network language model" (ICASSP 2011); T. Mikolov, PhD thesis (Brno 2012) for beta.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Words = NDArray[np.int64]


@dataclass
class Layer:
    """One recurrent layer: U is (D, H) for the first layer and (H, H) above it, W is (H, H), the bias b is (H,)."""

    U: Array
    W: Array
    b: Array | None = None


@dataclass
class Weights:
    """All that is learnt: the layers from the bottom up, V (H, D), its bias c (D,), and the name of f.

    V is None where U and V are tied (V = U^T): then there is one matrix, one gradient and one shrinking by beta.
    Gradients have the same form.
    """

    layers: list[Layer]
    V: Array | None
    c: Array | None = None
    f: str = "sigmoid"

    def output(self) -> Array:
        """Return V, (H, D): its own matrix, or U^T."""
        return self.layers[0].U.T if self.V is None else self.V


@dataclass
class Learnt:
    """What came out of training: the weights, the last state, and the log-likelihood of each scored word."""

    weights: Weights
    state: list[Array]
    log_likelihood: list[float] = field(default_factory=list)


def one_hot(words: Words, dictionary_size: int) -> Array:
    """Return the one-hot rows of `words`: (...) becomes (..., D).

    >>> one_hot(np.array([0, 2]), 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    return np.eye(dictionary_size)[words]


def activation(name: str, a: Array) -> Array:
    """Return f(a) elementwise: sigmoid 1 / (1 + exp(-a)), tanh, or relu max(a, 0)."""
    if name == "sigmoid":
        return 1.0 / (1.0 + np.exp(-a))
    return {"tanh": np.tanh(a), "relu": np.maximum(a, 0.0)}[name]


def derivative(name: str, s: Array) -> Array:
    """Return f'(a) written in terms of s = f(a): sigmoid s (1 - s), tanh 1 - s^2, relu [s > 0]."""
    return {"sigmoid": s * (1.0 - s), "tanh": 1.0 - s * s, "relu": (s > 0.0).astype(np.float64)}[name]


def log_softmax(a: Array) -> Array:
    """Return log( exp(a) / sum exp(a) ) over the last axis; the shift by max(a) cancels and keeps exp small."""
    a = a - a.max(axis=-1, keepdims=True)
    return np.asarray(a - np.log(np.exp(a).sum(axis=-1, keepdims=True)))


def initial_state(weights: Weights, streams: int) -> list[Array]:
    """Return s(0) = 0 for each layer, (B, H)."""
    return [np.zeros((streams, layer.W.shape[0])) for layer in weights.layers]


def forward(weights: Weights, state: list[Array], words: Words) -> list[Array]:
    """Return the states of each layer, (T + 1, B, H), the given state first.

        s_l(t) = f( s_{l-1}(t) U_l + s_l(t-1) W_l + b_l ),    s_{-1}(t) = w(t)

    Parameters
    ----------
    state : s(0) of each layer, (B, H).
    words : ids, (T, B).
    """
    below = one_hot(words, weights.layers[0].U.shape[0])
    states = []
    for layer, s in zip(weights.layers, state, strict=True):
        rows = [s]
        for x in below:
            bias = 0.0 if layer.b is None else layer.b
            rows.append(activation(weights.f, x @ layer.U + rows[-1] @ layer.W + bias))
        states.append(np.stack(rows))
        below = states[-1][1:]
    return states


def output(weights: Weights, s: Array) -> Array:
    """Return log y = log g( s V + c ), (..., D), for states of the uppermost layer, (..., H)."""
    return log_softmax(s @ weights.output() + (0.0 if weights.c is None else weights.c))


def log_probabilities(weights: Weights, state: list[Array], words: Words) -> Array:
    """Return log Pr{ next | words so far }, (T, B, D), for ids (T, B).

    A dictionary of three words and weights of zero leave every word equally likely:

    >>> nothing = Weights([Layer(np.zeros((3, 2)), np.zeros((2, 2)))], np.zeros((2, 3)))
    >>> np.exp(log_probabilities(nothing, initial_state(nothing, 1), np.array([[0], [2]]))).round(3)
    array([[[0.333, 0.333, 0.333]],
    <BLANKLINE>
           [[0.333, 0.333, 0.333]]])
    """
    return output(weights, forward(weights, state, words)[-1][1:])


def errors_back(weights: Weights, states: list[Array], e_o: Array) -> list[Array]:
    """Return the hidden errors of each layer over a window, (T, B, H), from the output errors, (T, B, D).

        e_h(t) = ( e_o(t) V^T + e_h(t+1) W^T ) * f'(s(t)),    e_h(T+1) = 0

    For a layer under another, e_h U^T of that other stands in place of e_o V^T.
    """
    from_above = e_o @ weights.output().T
    errors: list[Array] = []
    for layer, s in zip(reversed(weights.layers), reversed(states), strict=True):
        later = np.zeros_like(s[0])
        e_h = np.zeros_like(from_above)
        for t in reversed(range(len(e_h))):
            later = (from_above[t] + later @ layer.W.T) * derivative(weights.f, s[t + 1])
            e_h[t] = later
        errors.insert(0, e_h)
        from_above = e_h @ layer.U.T
    return errors


def gradients(
    weights: Weights, state: list[Array], words: Words, targets: Words
) -> tuple[Weights, list[Array], list[float]]:
    """Return the gradients over one window, the last state, and the log-likelihood of each word, stream beside stream.

        dV = 1/B sum_t s(t)^T e_o(t)    dU = 1/B sum_t w(t)^T e_h(t)    dW = 1/B sum_t s(t-1)^T e_h(t)

    summed over the window, averaged over the streams. Where U and V are tied, dU also takes in dV^T.

    Parameters
    ----------
    state : s(0) of each layer, (B, H): no error goes back before it.
    words, targets : ids, (T, B); targets[t] is the word that came after words[t].
    """
    streams, dictionary_size = words.shape[1], weights.layers[0].U.shape[0]
    states = forward(weights, state, words)
    log_y, d = output(weights, states[-1][1:]), one_hot(targets, dictionary_size)
    e_o = d - np.exp(log_y)
    below, layers = one_hot(words, dictionary_size), []
    for layer, s, e_h in zip(weights.layers, states, errors_back(weights, states, e_o), strict=True):
        dU, dW = over_window(below, e_h) / streams, over_window(s[:-1], e_h) / streams
        layers.append(Layer(dU, dW, None if layer.b is None else e_h.sum((0, 1)) / streams))
        below = s[1:]
    dV: Array | None = over_window(states[-1][1:], e_o) / streams
    if weights.V is None and dV is not None:
        layers[0].U += dV.T
        dV = None
    dc = None if weights.c is None else e_o.sum((0, 1)) / streams
    scored: list[float] = (log_y * d).sum(-1).ravel().tolist()
    return Weights(layers, dV, dc, weights.f), [s[-1] for s in states], scored


def over_window(rows: Array, errors: Array) -> Array:
    """Return sum_t rows(t)^T errors(t), (N, M), over all words and streams, for (T, B, N) and (T, B, M)."""
    return np.asarray(np.einsum("tbn,tbm->nm", rows, errors))


def update(weights: Weights, gradient: Weights, *, alpha: float, beta: float) -> Weights:
    """Return the weights after one update: each matrix X becomes X + alpha dX - beta X; a bias does not shrink.

    >>> before = Weights([Layer(np.ones((3, 2)), np.ones((2, 2)))], None)
    >>> nothing = Weights([Layer(np.zeros((3, 2)), np.zeros((2, 2)))], None)
    >>> update(before, nothing, alpha=0.5, beta=0.25).layers[0].W
    array([[0.75, 0.75],
           [0.75, 0.75]])
    """

    def moved(X: Array, dX: Array) -> Array:
        return X + alpha * dX - beta * X

    def bias(b: Array | None, db: Array | None) -> Array | None:
        return None if b is None or db is None else b + alpha * db

    layers = [
        Layer(moved(old.U, new.U), moved(old.W, new.W), bias(old.b, new.b))
        for old, new in zip(weights.layers, gradient.layers, strict=True)
    ]
    V = None if weights.V is None or gradient.V is None else moved(weights.V, gradient.V)
    return Weights(layers, V, bias(weights.c, gradient.c), weights.f)


def window_by_window(weights: Weights, words: Words, *, alpha: float, beta: float = 0.0, bptt: int) -> Learnt:
    """Train on B streams side by side, one update for each window of `bptt` words; the last window may be shorter.

    The last state of a window is the first of the next, without its history.

    Parameters
    ----------
    words : ids, (N + 1, B); each row is predicted from those before it, the first row from nothing and so not at all.
    """
    learnt = Learnt(weights, initial_state(weights, words.shape[1]))
    inputs, targets = words[:-1], words[1:]
    for start in range(0, len(inputs), bptt):
        window = slice(start, start + bptt)
        gradient, learnt.state, scored = gradients(learnt.weights, learnt.state, inputs[window], targets[window])
        learnt.weights = update(learnt.weights, gradient, alpha=alpha, beta=beta)
        learnt.log_likelihood += scored
    return learnt


def word_by_word(weights: Weights, words: Words, *, alpha: float, beta: float = 0.0, bptt: int) -> Learnt:
    """Train on one stream with one layer, one update a word.

        e_h(t) = ( e_o(t) V^T ) * f'(s(t))
        e_h(t-k-1) = ( e_h(t-k) W^T ) * f'(s(t-k-1))         k = 0 .. bptt-1
        dV = s(t)^T e_o(t)    dU = sum_k w(t-k)^T e_h(t-k)    dW = sum_k s(t-k-1)^T e_h(t-k)

    The sums end early where the stream begins. States stay as they were computed, with the weights of their time.

    Parameters
    ----------
    words : ids, (N + 1,); each word but the first is predicted from those before it.

    Training on "a b b b ..." teaches three words that b follows b:

    >>> start = Weights([Layer(np.zeros((3, 2)), np.zeros((2, 2)))], np.zeros((2, 3)))
    >>> learnt = word_by_word(start, np.array([0, 1, 1, 1, 1, 1, 1, 1]), alpha=1.0, bptt=3)
    >>> np.exp(learnt.log_likelihood).round(2)
    array([0.33, 0.45, 0.57, 0.67, 0.76, 0.83, 0.87])
    """
    s = [np.zeros(len(weights.layers[0].W))]  # s[t] is s(t), from s(0) = 0 on
    w = [np.zeros(len(weights.layers[0].U))]  # w[t] is w(t); w(0) is no word
    log_likelihood: list[float] = []
    for word, target in pairwise(words):
        layer, d = weights.layers[0], one_hot(target, len(w[0]))
        w.append(one_hot(word, len(w[0])))
        s.append(activation(weights.f, w[-1] @ layer.U + s[-1] @ layer.W + (0.0 if layer.b is None else layer.b)))
        log_y = output(weights, s[-1])
        log_likelihood.append(float(log_y[target]))
        gradient = _word_gradients(weights, s, w, d - np.exp(log_y), bptt)
        weights = update(weights, gradient, alpha=alpha, beta=beta)
    return Learnt(weights, [s[-1][np.newaxis]], log_likelihood)


def _word_gradients(weights: Weights, s: list[Array], w: list[Array], e_o: Array, bptt: int) -> Weights:
    """Return the gradients at the last word t of s and w, looking bptt words back."""
    layer, V, t = weights.layers[0], weights.output(), len(s) - 1
    dU, dW, db = np.zeros_like(layer.U), np.zeros_like(layer.W), np.zeros(len(layer.W))
    e_h = (e_o @ V.T) * derivative(weights.f, s[t])
    for k in range(min(bptt, t)):
        dU += np.outer(w[t - k], e_h)
        dW += np.outer(s[t - k - 1], e_h)
        db += e_h
        e_h = (e_h @ layer.W.T) * derivative(weights.f, s[t - k - 1])
    dV: Array | None = np.outer(s[t], e_o)
    if weights.V is None and dV is not None:
        dU, dV = dU + dV.T, None
    hidden = Layer(dU, dW, None if layer.b is None else db)
    return Weights([hidden], dV, None if weights.c is None else e_o, weights.f)
