"""How weights follow gradients. `OPTIMIZERS` is the table that the settings, the docs and the contract tests read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elman.network.devices import on_device
from elman.network.kernels import adam_rows, move_rows, shift
from elman.network.parts import Factors, Rows, rows_of, take_parts

LATE = {"encoder.U", "encoder.grams", "output.V", "output.direct.weight"}
"""Weights of which a window reads a few rows, so that they shrink when they are read (`Optimizer.before_reading`)."""


class Optimizer:
    """Weights, the rate that each has relative to alpha, and one `step` that moves them against their gradients.

    Parameters
    ----------
    parameters
        (name, weight) pairs; weights are changed in place.
    beta
        L2 regularisation: every matrix shrinks by this share with each step, whatever alpha is. A bias does not.
    rates
        what alpha is multiplied by for weights of a name, whole or its last part: `{"cells.0.W": 0.1, "U": 2.0}`.
    moments
        b1 and b2: what an update leaves of the mean gradient and of the mean square, where an optimiser keeps them.
    plain
        names of weights that follow their gradients by SGD, whatever the rule of the others is.
    """

    default_alpha = 0.1
    takes_factors = False
    """Whether `step` takes the gradient of V as the two factors of a product."""
    averages = False
    """Whether the weights that count are means over updates, once validation stops improving (`learn.averaging`)."""

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta: float = 0.0,
        rates: Mapping[str, float] | None = None,
        moments: tuple[float, float] = (0.9, 0.999),
        plain: Collection[str] = (),
    ) -> None:
        self.parameters = dict(parameters)
        self.plain = frozenset(plain)
        self.beta = beta
        self.rates = dict(rates or {})
        self.betas = moments
        self.steps = 0
        self.shrinking = beta
        """What the current step takes of a matrix: beta, or less of it where it follows a schedule."""
        self.before = self.shrunk = 0.0  # log of what all steps so far have left of a weight that nothing else moves
        self.late = {}  # for each matrix that shrinks late: its rows, one a symbol, and `shrunk` when each shrank last
        if beta:
            for name in LATE & set(self.parameters):
                weight = self.parameters[name].detach()
                wide = weight.shape[1] > 1  # to shrink single numbers costs less than to know which are behind
                if wide and (name != "output.V" or not weight.is_contiguous()):
                    rows = as_rows(weight, like=weight)
                    self.late[name] = (rows, torch.zeros(len(rows), dtype=torch.float64, device=rows.device))

    def rate(self, name: str) -> float:
        """Return the factor on alpha for the weight of that name."""
        return self.rates.get(name, self.rates.get(name.split(".")[-1], 1.0))

    @torch.no_grad()
    def step(self, alpha: float) -> None:
        """Move every weight that has a gradient, whole or in parts, then forget the gradients."""
        self.steps += 1
        self.before, self.shrunk = self.shrunk, self.shrunk + math.log1p(-self.shrinking)
        for name, weight in self.parameters.items():
            rate = alpha * self.rate(name)
            parts = take_parts(weight)
            if isinstance(parts, Factors):
                self.follow(weight, parts, rate)
            move, move_rows = (self.slide, self.slide_rows) if name in self.plain else (self.move, self.move_rows)
            if isinstance(parts, Rows):
                move_rows(name, as_rows(weight, like=weight), parts, rate)
            if weight.grad is not None and weight.grad.is_sparse:
                move_rows(name, weight, rows_of(weight.grad), rate)
            elif weight.grad is not None:
                move(name, weight, weight.grad, rate)
            weight.grad = None

    def keep(self, weight: Tensor) -> float:
        """Return what a step leaves of a weight: 1 - beta of a matrix, all of a bias."""
        return 1 - self.shrinking if weight.dim() > 1 else 1.0

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move one weight against its gradient, at rate alpha."""
        raise NotImplementedError(f"{type(self).__name__} has no move")

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move the rows of one weight that a window touched; the others cost nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no move_rows")

    def slide(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Shrink a weight and move it by SGD."""
        if name in self.late:
            self._catch_up(name, torch.arange(len(self.late[name][0]), device=weight.device))
            weight.add_(gradient, alpha=-alpha)
        else:
            shift(weight, gradient, keep=self.keep(weight), rate=-alpha)

    def slide_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move some rows by SGD; those others that have to shrink do so when they are next read."""
        keep = self._owed(name, rows.ids).to(weight.dtype) if name in self.late else None
        if keep is None and self.beta:
            weight.mul_(self.keep(weight))
        move_rows(weight, rows.values, rows.ids, keep=keep, rate=-alpha)

    def follow(self, weight: Tensor, factors: Factors, alpha: float) -> None:
        """Move one weight whose gradient comes as the factors of a product."""
        raise NotImplementedError(f"{type(self).__name__} has no follow")

    def before_reading(self, name: str, symbols: Tensor) -> None:
        """Shrink the rows that are about to be read by what was put off."""
        if name in self.late:
            self._catch_up(name, symbols.reshape(-1))

    @torch.no_grad()
    def _catch_up(self, name: str, symbols: Tensor) -> None:
        rows, shrunk = self.late[name]
        symbols = on_device(symbols, rows.device)
        # To pick them costs less than to shrink them all, but on a GPU, where it would have to be waited for.
        behind = symbols if symbols.device.type != "cpu" else symbols[shrunk[symbols] != self.shrunk]
        if len(behind):
            factor = self._owed(name, behind).to(rows.device, rows.dtype).unsqueeze(1)
            rows[behind] = rows[behind] * factor  # a row that is named twice is written twice, with the same values

    def _owed(self, name: str, symbols: Tensor) -> Tensor:
        """Return what rows are to be multiplied by, (1 - beta)^n, and count them as done."""
        _, shrunk = self.late[name]
        owed = torch.exp(self.shrunk - shrunk[symbols])
        shrunk[symbols] = self.shrunk
        return owed

    def settle(self) -> None:
        """Shrink all rows by what was put off."""
        for name, (rows, _) in self.late.items():
            self._catch_up(name, torch.arange(len(rows), device=rows.device))

    def state(self) -> dict[str, Tensor]:
        """Return what the optimiser remembers between steps, for a checkpoint: how far each row has shrunk."""
        late = {f"{name}.shrunk": shrunk for name, (_, shrunk) in self.late.items()}
        shrunk = torch.tensor(self.shrunk, dtype=torch.float64)
        return {"steps": torch.tensor(self.steps), "shrunk": shrunk, **late}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.steps, self.shrunk = int(state["steps"]), float(state["shrunk"])
        for name, (_, shrunk) in self.late.items():
            shrunk.copy_(state[f"{name}.shrunk"])


class SGD(Optimizer):
    """Stochastic gradient descent, the update of the equations: V <- V + alpha * s^T e_o - beta * V.

    A row of U that a window did not touch costs nothing, nor does one of V where V lies in memory row by row: it
    shrinks when it is next read, by (1 - beta)^n for the n updates that went by, which is the dense rule up to
    rounding. V moves in one pass where its gradient comes as the two factors of a product.
    """

    default_alpha = 0.5
    takes_factors = True

    def follow(self, weight: Tensor, factors: Factors, alpha: float) -> None:
        """Shrink a weight and add alpha times the product of two factors, made in their own type."""
        if factors.left.dtype is weight.dtype:
            weight.addmm_(factors.left, factors.right, beta=self.keep(weight), alpha=-alpha)
        else:
            shift(weight, torch.mm(factors.left, factors.right), keep=self.keep(weight), rate=-alpha)

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Shrink the weight and move it."""
        self.slide(name, weight, gradient, alpha)

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move some rows; those others that have to shrink do so when they are next read."""
        self.slide_rows(name, weight, rows, alpha)


class NTASGD(SGD):
    """SGD whose weights are averaged once validation stops improving: non-monotonically triggered averaged SGD.

    The steps are those of `SGD`. When to begin and the mean itself are in `learn.averaging.TriggeredMean`.

    Source: S. Merity, N. S. Keskar and R. Socher, "Regularizing and optimizing LSTM language models" (ICLR 2018).
    """

    averages = True


class Adam(Optimizer):
    """Adam, with beta taken from the weights themselves and not from the gradient; rows move only when touched.

    With n the number of the update and g a gradient:

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        w <- (1 - beta) w - alpha ( m / (1 - b1^n) ) / ( sqrt( v / (1 - b2^n) ) + epsilon )

    A row of U or V that the window did not touch keeps its m and v and does not go on moving; it shrinks with every
    update, touched or not, late as with `SGD`. So the
    moments of a symbol are means over its own appearances, and as v starts at zero the first of them move its row by
    more than alpha: after k of them by about alpha (1 - b1^k) / sqrt(1 - b2^k), 3.2 alpha at first, 6 alpha at ten,
    then falling. Rare words learn from few appearances, and are not driven on in between. A dense gradient touches
    every row, which is Adam as published. With b1 = 0 no m is kept.

    Sources: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization" (ICLR 2015); I. Loshchilov and
    F. Hutter, "Decoupled weight decay regularization" (ICLR 2019).
    """

    default_alpha = 0.001
    epsilon = 1e-8

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta: float = 0.0,
        rates: Mapping[str, float] | None = None,
        moments: tuple[float, float] = (0.9, 0.999),
        plain: Collection[str] = (),
    ) -> None:
        super().__init__(parameters, beta=beta, rates=rates, moments=moments, plain=plain)
        first = self.betas[0] > 0
        adaptive = {name: weight for name, weight in self.parameters.items() if name not in self.plain}
        self.moments = {name: Moments.of(weight, first=first) for name, weight in adaptive.items()}

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move every row of the weight."""
        keep = self._due(name, None)
        self._adam(name, weight, Rows(torch.arange(0), as_rows(gradient, like=weight)), alpha, keep)

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move the rows that are in the gradient."""
        if name not in self.late and self.beta:
            weight.mul_(self.keep(weight))
            self._adam(name, weight, rows, alpha, 1.0)
        else:
            self._adam(name, weight, rows, alpha, self._due(name, rows.ids))

    def _due(self, name: str, symbols: Tensor | None) -> float:
        """Return what this step leaves of some rows, or of all, which have shrunk by all that was due before it."""
        if name not in self.late:
            return self.keep(self.parameters[name])
        rows, shrunk = self.late[name]
        symbols = torch.arange(len(rows), device=rows.device) if symbols is None else symbols
        if rows.device.type == "cpu" and bool((shrunk[symbols] == self.before).all()):
            shrunk[symbols] = self.shrunk
            return 1 - self.shrinking
        self._catch_up(name, symbols)
        return 1.0

    def _adam(self, name: str, weight: Tensor, rows: Rows, alpha: float, keep: float) -> None:
        moments = self.moments[name]
        step = partial(
            adam_rows if moments.first is not None else square_rows,
            step=self.steps,
            alpha=alpha,
            betas=self.betas,
            epsilon=self.epsilon,
            keep=keep,
        )
        step(
            as_rows(weight, like=weight),
            *(moment for moment in moments if moment is not None),
            rows.values,
            rows.ids if len(rows.ids) else None,
        )

    def state(self) -> dict[str, Tensor]:
        """Return what every optimiser remembers, and the moments of every weight."""
        return super().state() | self._tensors()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        super().load_state(state)
        for name, value in self._tensors().items():
            value.copy_(state[name])

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value
            for name, moments in self.moments.items()
            for key, value in moments._asdict().items()
            if value is not None
        }


class RMSProp(Adam):
    """Adam with b1 = 0: each gradient over the root of its mean square. The mean gradient is neither made nor stored.

        v <- b2 v + (1 - b2) g^2,   w <- (1 - beta) w - alpha g / ( sqrt( v / (1 - b2^n) ) + epsilon )

    The division by 1 - b2^n, which the lecture lacks, is Adam's; it is what recurrent language models were tuned with.

    Sources: T. Tieleman and G. Hinton, "Neural networks for machine learning", lecture 6.5 (2012); G. Melis, C. Dyer
    and P. Blunsom, "On the state of the art of evaluation in neural language models" (ICLR 2018) for b1 = 0.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta: float = 0.0,
        rates: Mapping[str, float] | None = None,
        moments: tuple[float, float] = (0.0, 0.999),
        plain: Collection[str] = (),
    ) -> None:
        super().__init__(parameters, beta=beta, rates=rates, moments=(0.0, moments[1]), plain=plain)


class Moments(NamedTuple):
    """What Adam remembers of one weight: m, where there is one, and v, (N, M)."""

    first: Tensor | None
    second: Tensor

    @classmethod
    def of(cls, weight: Tensor, *, first: bool = True) -> Moments:
        """Return the moments of a weight that was never moved."""
        rows = as_rows(weight.detach(), like=weight)
        return cls(torch.zeros_like(rows) if first else None, torch.zeros_like(rows))


SCRATCH = 1 << 16
"""Numbers of a first moment that lives for one call of the compiled loop only: they stay in the cache."""


def square_rows(
    weight: Tensor,
    second: Tensor,
    gradient: Tensor,
    rows: Tensor | None,
    *,
    step: int,
    alpha: float,
    betas: tuple[float, float],
    epsilon: float,
    keep: float,
) -> None:
    """Make one step of Adam with b1 = 0 for some rows of a weight, in place; parameters as in `kernels.adam_rows`.

    The compiled loop wants a first moment, so it gets one that is thrown away, a piece at a time.
    """
    picked, squares = (weight, second) if rows is None else (weight[rows], second[rows])
    height = max(1, SCRATCH // max(1, gradient.shape[1]))
    scratch = torch.empty_like(gradient[:height])
    for start in range(0, len(gradient), height):
        here = slice(start, start + height)
        values = gradient[here]
        adam_rows(
            picked[here],
            scratch[: len(values)].zero_(),
            squares[here],
            values,
            None,
            step=step,
            alpha=alpha,
            betas=betas,
            epsilon=epsilon,
            keep=keep,
        )
    if rows is not None:
        weight[rows], second[rows] = picked, squares


def as_rows(tensor: Tensor, *, like: Tensor) -> Tensor:
    """Return a tensor as a matrix of contiguous rows, in the order in which the weight `like` lies in memory."""
    if tensor.dim() == 1:
        return tensor.unsqueeze(0)
    return (tensor if like.is_contiguous() else tensor.t()).contiguous()


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "nt-asgd": NTASGD, "adam": Adam, "rmsprop": RMSProp}


def clip_gradients(weights: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale all gradients down together so that their joint norm is at most `limit`; return the norm before, ().

    On a GPU nobody waits for the norm.

    Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks" (2013).
    """
    gradients = []
    for weight in weights:
        if weight.grad is not None and weight.grad.is_sparse:
            vars(weight)["parts"], weight.grad = rows_of(weight.grad), None
        parts = vars(weight).get("parts")
        if isinstance(parts, Factors):
            raise ValueError("the norm of a product is not known from its factors")
        if isinstance(parts, Rows):
            gradients.append(parts.values)
        if weight.grad is not None:
            gradients.append(weight.grad)
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if norm.device.type != "cpu" or float(norm) > limit:
        factor = (limit / norm).clamp(max=1.0) if norm.device.type != "cpu" else limit / float(norm)
        for gradient in gradients:
            gradient.mul_(factor)
    return norm
