"""f, the activation of the hidden layer, and its derivative written in terms of its own output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """An elementwise function s = f(a) whose derivative f'(a) can be computed from s alone.

    `function` is what autograd differentiates, `in_place` what the fast path runs over its own buffer, `derivative`
    what the backward pass through time multiplies by: f'(a) as a function of s = f(a).
    """

    name: str
    function: Callable[[Tensor], Tensor]
    in_place: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]


ACTIVATIONS: dict[str, Activation] = {
    # f(a) = 1 / (1 + exp(-a)),  f'(a) = s (1 - s)
    "sigmoid": Activation("sigmoid", torch.sigmoid, torch.sigmoid_, lambda s: s * (1 - s)),
    # f(a) = tanh(a),  f'(a) = 1 - s^2
    "tanh": Activation("tanh", torch.tanh, torch.tanh_, lambda s: 1 - s * s),
    # f(a) = max(a, 0),  f'(a) = [s > 0]
    "relu": Activation("relu", torch.relu, torch.relu_, lambda s: (s > 0).to(s.dtype)),
}
