"""How weights follow gradients. `OPTIMIZERS` is the table that the settings, the docs and the contract tests read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elman.network.devices import on_device
from elman.network.kernels import adam_rows, move_rows, shift
from elman.network.parts import Factors, Rows, rows_of, take_parts


class Optimizer:
    """Weights, the rate that each has relative to alpha, and one `step` that moves them against their gradients.

    Parameters
    ----------
    parameters
        (name, weight) pairs; weights are changed in place.
    beta
        L2 regularisation: every matrix shrinks by this share with each step, whatever alpha is. A bias does not.
    rates
        what alpha is multiplied by for matrices of a name: `{"U": 2.0, "W": 0.1}`.
    """

    default_alpha = 0.1
    takes_factors = False
    """Whether `step` takes the gradient of V as the two factors of a product."""

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.beta = beta
        self.rates = dict(rates or {})
        self.steps = 0

    def rate(self, name: str) -> float:
        """Return the factor on alpha for the weight of that name."""
        return self.rates.get(name.split(".")[-1], 1.0)

    @torch.no_grad()
    def step(self, alpha: float) -> None:
        """Move every weight that has a gradient, whole or in parts, then forget the gradients."""
        self.steps += 1
        for name, weight in self.parameters.items():
            rate = alpha * self.rate(name)
            parts = take_parts(weight)
            if isinstance(parts, Factors):
                self.follow(weight, parts, rate)
            if isinstance(parts, Rows):
                self.move_rows(name, as_rows(weight, like=weight), parts, rate)
            if weight.grad is not None and weight.grad.is_sparse:
                self.move_rows(name, weight, rows_of(weight.grad), rate)
            elif weight.grad is not None:
                self.move(name, weight, weight.grad, rate)
            weight.grad = None

    def keep(self, weight: Tensor) -> float:
        """Return what a step leaves of a weight: 1 - beta of a matrix, all of a bias."""
        return 1 - self.beta if weight.dim() > 1 else 1.0

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move one weight against its gradient, at rate alpha."""
        raise NotImplementedError(f"{type(self).__name__} has no move")

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move the rows of one weight that a window touched; the others cost nothing."""
        raise NotImplementedError(f"{type(self).__name__} has no move_rows")

    def follow(self, weight: Tensor, factors: Factors, alpha: float) -> None:
        """Move one weight whose gradient comes as the factors of a product."""
        raise NotImplementedError(f"{type(self).__name__} has no follow")

    def before_reading(self, name: str, symbols: Tensor) -> None:
        """Hear which rows of U or V are about to be read, where shrinking rows is put off until then."""

    def settle(self) -> None:
        """Do now what was put off: before validation, and before a model is saved."""

    def state(self) -> dict[str, Tensor]:
        """Return what the optimiser remembers between steps, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""


class SGD(Optimizer):
    """Stochastic gradient descent, the update of the equations: V <- V + alpha * s^T e_o - beta * V.

    A row of U that a window did not touch costs nothing, nor does one of V where V lies in memory row by row: it
    shrinks when it is next read, by (1 - beta)^n for the n updates that went by, which is the dense rule up to
    rounding. V moves in one pass where its gradient comes as the two factors of a product.
    """

    default_alpha = 0.5
    takes_factors = True

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(parameters, beta=beta, rates=rates)
        self.late = {}  # for each matrix that shrinks late: its rows, one a symbol, and when each shrank last
        if beta:
            for name in {"encoder.U", "output.V"} & set(self.parameters):
                weight = self.parameters[name].detach()
                if name == "encoder.U" or not weight.is_contiguous():
                    rows = as_rows(weight, like=weight)
                    self.late[name] = (rows, torch.zeros(len(rows), dtype=torch.long, device=rows.device))

    def follow(self, weight: Tensor, factors: Factors, alpha: float) -> None:
        """Shrink a weight and add alpha times the product of two factors, made in their own type."""
        if factors.left.dtype is weight.dtype:
            weight.addmm_(factors.left, factors.right, beta=self.keep(weight), alpha=-alpha)
        else:
            shift(weight, torch.mm(factors.left, factors.right), keep=self.keep(weight), rate=-alpha)

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Shrink the weight and move it."""
        if name in self.late:
            self._catch_up(name, torch.arange(len(self.late[name][0]), device=weight.device))
            weight.add_(gradient, alpha=-alpha)
        else:
            shift(weight, gradient, keep=self.keep(weight), rate=-alpha)

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move some rows; those others that have to shrink do so when they are next read."""
        keep = self._owed(name, rows.ids).to(weight.dtype) if name in self.late else None
        if keep is None and self.beta:
            weight.mul_(self.keep(weight))
        move_rows(weight, rows.values, rows.ids, keep=keep, rate=-alpha)

    def before_reading(self, name: str, symbols: Tensor) -> None:
        """Shrink the rows that are about to be read by what was put off."""
        if name in self.late:
            self._catch_up(name, symbols.reshape(-1))

    @torch.no_grad()
    def _catch_up(self, name: str, symbols: Tensor) -> None:
        rows, shrunk_at = self.late[name]
        symbols = on_device(symbols, rows.device)
        # To pick them costs less than to shrink them all, but on a GPU, where it would have to be waited for.
        behind = symbols if symbols.device.type != "cpu" else symbols[shrunk_at[symbols] != self.steps]
        if len(behind):
            factor = self._owed(name, behind).to(rows.device, rows.dtype).unsqueeze(1)
            rows[behind] = rows[behind] * factor  # a row that is named twice is written twice, with the same values

    def _owed(self, name: str, symbols: Tensor) -> Tensor:
        """Return what rows are to be multiplied by, (1 - beta)^n, and count them as done."""
        _, shrunk_at = self.late[name]
        owed = (self.steps - shrunk_at[symbols]).to(torch.float64)
        shrunk_at[symbols] = self.steps
        return torch.pow(1 - self.beta, owed)

    def settle(self) -> None:
        """Shrink all rows by what was put off."""
        for name, (rows, _) in self.late.items():
            self._catch_up(name, torch.arange(len(rows), device=rows.device))

    def state(self) -> dict[str, Tensor]:
        """Return how far each row has shrunk."""
        late = {f"{name}.shrunk_at": shrunk_at for name, (_, shrunk_at) in self.late.items()}
        return {"steps": torch.tensor(self.steps), **late}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.steps = int(state["steps"])
        for name, (_, shrunk_at) in self.late.items():
            shrunk_at.copy_(state[f"{name}.shrunk_at"])


class Adam(Optimizer):
    """Adam, with beta taken from the weights themselves and not from the gradient; rows move only when touched.

    With n the number of the update and g a gradient:

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        w <- (1 - beta) w - alpha ( m / (1 - b1^n) ) / ( sqrt( v / (1 - b2^n) ) + epsilon )

    A row of U or V that the window did not touch keeps its m and v, does not shrink and does not go on moving. So the
    moments of a symbol are means over its own appearances, and as v starts at zero the first of them move its row by
    more than alpha: after k of them by about alpha (1 - b1^k) / sqrt(1 - b2^k), 3.2 alpha at first, 6 alpha at ten,
    then falling. Rare words learn from few appearances, and are not driven on in between. A dense gradient touches
    every row, which is Adam as published.

    Sources: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization" (ICLR 2015); I. Loshchilov and
    F. Hutter, "Decoupled weight decay regularization" (ICLR 2019).
    """

    default_alpha = 0.001
    betas = (0.9, 0.999)
    epsilon = 1e-8

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        beta: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(parameters, beta=beta, rates=rates)
        self.moments = {name: Moments.of(weight) for name, weight in self.parameters.items()}

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move every row of the weight."""
        self._adam(name, weight, Rows(torch.arange(0), as_rows(gradient, like=weight)), alpha)

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move the rows that are in the gradient."""
        self._adam(name, weight, rows, alpha)

    def _adam(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        moments = self.moments[name]
        adam_rows(
            as_rows(weight, like=weight),
            moments.first,
            moments.second,
            rows.values,
            rows.ids if len(rows.ids) else None,
            step=self.steps,
            alpha=alpha,
            betas=self.betas,
            epsilon=self.epsilon,
            keep=self.keep(self.parameters[name]),
        )

    def state(self) -> dict[str, Tensor]:
        """Return the number of updates, and both moments of every weight."""
        moments = {
            f"{name}.{key}": value for name, moments in self.moments.items() for key, value in moments._asdict().items()
        }
        return {"steps": torch.tensor(self.steps), **moments}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.steps = int(state["steps"])
        for name, moments in self.moments.items():
            for key, value in moments._asdict().items():
                value.copy_(state[f"{name}.{key}"])


class Moments(NamedTuple):
    """What Adam remembers of one weight: m and v, (N, M)."""

    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Moments:
        """Return the moments of a weight that was never moved."""
        rows = as_rows(weight.detach(), like=weight)
        return cls(torch.zeros_like(rows), torch.zeros_like(rows))


def as_rows(tensor: Tensor, *, like: Tensor) -> Tensor:
    """Return a tensor as a matrix of contiguous rows, in the order in which the weight `like` lies in memory."""
    if tensor.dim() == 1:
        return tensor.unsqueeze(0)
    return (tensor if like.is_contiguous() else tensor.t()).contiguous()


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


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
