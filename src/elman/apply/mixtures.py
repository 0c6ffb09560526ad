"""Linear interpolation: p(w) = sum_k m_k p_k(w), and the weights m by expectation maximisation on a validation text.

Sources: F. Jelinek and R. L. Mercer, "Interpolated estimation of Markov source parameters from sparse data" (1980);
T. M. Cover, "An algorithm for maximizing expected log investment return" (1984), for when to stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from elman.apply.traces import Values
from elman.errors import UsageError

TOLERANCE = 1e-6
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Tuned:
    """Weights, (K,), and the mean log-probability of an event at each step of EM, in nats; it never falls."""

    weights: Values
    history: list[float]


def log_mixture(log_probs: Values, weights: Values) -> Values:
    """Return log sum_k m_k p_k, (N,), for log p_k, (K, N), and m, (K,); NaN where any is NaN.

    A member of weight zero says nothing, not even by -inf.
    """
    weights = np.asarray(weights, dtype=np.float64)
    with np.errstate(divide="ignore"):
        shifted = log_probs[weights > 0] + np.log(weights[weights > 0])[:, None]
    most = shifted.max(axis=0)
    most = np.where(np.isneginf(most), 0.0, most)
    with np.errstate(divide="ignore"):
        mixed = most + np.log(np.exp(shifted - most).sum(axis=0))
    return np.where(np.isnan(log_probs).any(axis=0), np.nan, mixed)


def tune_weights(log_probs: Values, *, tolerance: float = TOLERANCE, most_steps: int = MOST_STEPS) -> Tuned:
    """Return the weights that make a text likeliest, for log p_k, (K, N), of its events.

    EM from equal weights: the share of member k in event t is r_k(t) = m_k p_k(t) / sum_j m_j p_j(t), and the next m_k
    is the mean of r_k(t). With g_k the mean of p_k(t) / sum_j m_j p_j(t), no weights at all make the text likelier by
    more than log max_k g_k a token (Cover's bound): so it stops when max_k g_k - 1 is below `tolerance`. Events that
    are left out (NaN), or that every member thinks impossible, say nothing.

    Raises
    ------
    UsageError
        where there is no event to tune on.
    """
    usable = ~np.isnan(log_probs).any(axis=0) & ~np.isneginf(log_probs).all(axis=0)
    events = log_probs[:, usable]
    count = events.shape[1]
    if count == 0:
        raise UsageError("there is no event to tune weights on", hint="give a longer text to tune on")
    most = events.max(axis=0)
    probs = np.exp(events - most)  # each event by its own unit, which changes no share
    weights = np.full(len(probs), 1 / len(probs))
    history: list[float] = []
    for _ in range(most_steps):
        mixed = weights @ probs
        history.append(float((np.log(mixed) + most).mean()))
        gain = cast(Values, probs @ (1 / mixed)) / count
        if gain.max() - 1 < tolerance:
            break
        weights = weights * gain
        weights /= weights.sum()
    return Tuned(weights, history)


def check_weights(weights: list[float], members: int) -> Values:
    """Return given weights as an array, or raise `UsageError` where they are no distribution over the members."""
    if len(weights) != members:
        raise UsageError(f"there are {len(weights)} weights for {members} members", hint="give one weight a member")
    if any(not 0 <= weight <= 1 for weight in weights) or abs(sum(weights) - 1) > 1e-3:
        raise UsageError("weights should lie between 0 and 1 and add up to 1", hint="for example --weights 0.6,0.4")
    return np.array(weights) / sum(weights)
