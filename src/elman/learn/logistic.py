"""The linear softmax, fitted whole: L-BFGS over all inputs at once, with as much L2 as suits validation best."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elman.learn.fitting import Batch, Inputs, Judged, judge, log_probs
from elman.network.points import Linear
from elman.text.fronts import Encoded

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Weights of L2 that are tried, the strongest first; each begins where the one before ended."""
STEPS = 200
"""Steps of L-BFGS for each of them, at the most."""


@dataclass(frozen=True)
class LinearFit:
    """Which penalty suited validation best, and how well."""

    penalty: float
    valid: Judged

    def as_dict(self) -> dict[str, float]:
        """Return it as plain JSON values."""
        return {"penalty": self.penalty, "valid_loss": self.valid.loss, "valid_accuracy": self.valid.accuracy}


def fit_linear(
    linear: Linear,
    train: Encoded,
    targets: NDArray[np.int64],
    valid: Encoded,
    valid_targets: NDArray[np.int64],
    name: str = "linear",
) -> LinearFit:
    """Fit a linear softmax in float64, in place: the minimum of mean( - log y[label] ) + penalty / 2 |V|^2.

    The minimum is one, so that nothing is drawn; the penalty is that of `PENALTIES` with the best validation loss.
    """
    held, best = Inputs.of(valid, name, torch.float64), None
    for penalty, fitted in path(len(linear.V), len(linear.bias), Inputs.of(train, name, torch.float64), targets):
        judged = judge(log_probs(fitted, held, len(linear.bias)), valid_targets)
        if best is None or judged.loss < best.valid.loss:
            best = LinearFit(penalty, judged)
            linear.load_state_dict(fitted.state_dict())
    assert best is not None
    return best


def path(features: int, labels: int, rows: Inputs, targets: NDArray[np.int64]) -> Iterator[tuple[float, Linear]]:
    """Give every penalty, the strongest first, and the softmax at its minimum, the same one each time, moved on."""
    fitted = Linear(features, labels).double()
    x, answers = rows.batch(np.arange(len(rows))), torch.from_numpy(targets)
    for penalty in PENALTIES:
        descend(fitted, x, answers, penalty)
        yield penalty, fitted


def descend(linear: Linear, x: Batch, answers: Tensor, penalty: float) -> None:
    """Go to the minimum for one penalty, from where the weights are."""
    optimizer = torch.optim.LBFGS(
        linear.parameters(),
        max_iter=STEPS,
        history_size=20,
        tolerance_grad=1e-6,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = nn.functional.nll_loss(linear(x), answers) + 0.5 * penalty * linear.V.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
