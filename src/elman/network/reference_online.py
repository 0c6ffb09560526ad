"""Mikolov's toolkit in NumPy, float64, a step at a time: the slow twin of `learn.online`.

Source: T. Mikolov, rnnlm 0.2b to 0.4d (`CRnnLM::learnNet`), with the full softmax in place of classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elman.network.reference import Array, activation, derivative, log_softmax, one_hot


def online(
    U: Array,
    W: Array,
    V: Array,
    words: Sequence[int],
    *,
    alpha: float,
    beta: float,
    bptt: int,
    bptt_block: int,
    cutoff: float = 15.0,
    first: int = 0,
) -> tuple[Array, Array, Array, float]:
    """Train on one stream as the toolkit does; return U, W, V and the log-probability (nats) of the words.

    V follows every word. Every `bptt_block` words the errors left at the hidden layer go back together, each taken in
    at its own word, through `bptt + bptt_block - 2` steps; U and W follow then (with bptt <= 1: one step, every word).
    A word outside the dictionary enters as no word, is not scored, and leaves no error.

    Parameters
    ----------
    U, W, V : the weights at the start, (D, H), (H, H) and (H, D); they are not changed.
    words : the stream of ids, from the first word that is predicted on.
    first : the word before it.
    """
    U, W, V = U.copy(), W.copy(), V.copy()
    D, H = U.shape
    block, steps = (bptt_block, bptt + bptt_block - 2) if bptt > 1 else (1, 1)
    s = [np.ones(H)]  # newest last; the first state is all ones
    w = [np.zeros(D)]  # w[t] led to s[t]
    e = [np.zeros(H)]  # the error that the word predicted from s[t] left there
    log_prob, before = 0.0, first
    for counter, word in enumerate(words, start=1):
        shrink = alpha * beta if counter % 10 == 0 else 0.0
        w.append(one_hot(np.array(before), D) if 0 <= before < D else np.zeros(D))
        s.append(activation("sigmoid", w[-1] @ U + s[-1] @ W))
        e.append(np.zeros(H))
        e_o = np.zeros(D)
        if 0 <= word < D:
            log_y = log_softmax(s[-1] @ V)
            log_prob += float(log_y[word])
            e_o = one_hot(np.array(word), D) - np.exp(log_y)
        e[-1] = np.clip(e_o @ V.T, -cutoff, cutoff)
        V += alpha * np.outer(s[-1], e_o) - shrink * V
        if counter % block == 0:
            dU, dW, touched = _back(W, s, w, e, steps, cutoff)
            U += alpha * dU - shrink * touched * U
            W += alpha * dW - shrink * W
            e = [np.zeros(H) for _ in e]  # each error goes back once
        before = word
    return U, W, V, log_prob


def _back(
    W: Array, s: list[Array], w: list[Array], e: list[Array], steps: int, cutoff: float
) -> tuple[Array, Array, Array]:
    """Return dU, dW, and which rows of U were inputs on the way, (D, 1), of one pass back through time."""
    dU, dW = np.zeros((len(w[0]), len(W))), np.zeros_like(W)
    carried = e[-1]
    for t in range(len(s) - 1, max(len(s) - 1 - steps, 0), -1):
        e_h = carried * derivative("sigmoid", s[t])
        dU += np.outer(w[t], e_h)
        dW += np.outer(s[t - 1], e_h)
        carried = np.clip(e_h @ W.T, -cutoff, cutoff) + e[t - 1]
    touched = np.sum(w[-steps:], axis=0)[:, np.newaxis] > 0
    return dU, dW, touched
