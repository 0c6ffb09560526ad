"""How weights follow gradients. `OPTIMIZERS` is the table that the settings, the docs and the contract tests read."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Optimizer:
    """Weights, the rate that each has relative to alpha, and one `step` that moves them against their gradients.

    Parameters
    ----------
    parameters
        (name, weight) pairs; weights are changed in place.
    beta
        L2 regularisation: every matrix shrinks by this share with each step, whatever alpha is. A bias does not.
    recurrent_rate
        what alpha is multiplied by for the recurrent matrices, those named W.
    """

    default_alpha = 0.1
    follows_parts = False
    """Whether `step` takes gradients in parts: rows of U, and of V the two factors of a product (`weight.factors`)."""

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], *, beta: float = 0.0, recurrent_rate: float = 1.0
    ) -> None:
        self.parameters = dict(parameters)
        self.beta = beta
        self.recurrent_rate = recurrent_rate

    def rate(self, name: str) -> float:
        """Return the factor on alpha for the weight of that name."""
        return self.recurrent_rate if name.split(".")[-1] == "W" else 1.0

    @torch.no_grad()
    def step(self, alpha: float) -> None:
        """Move every weight that has a gradient, then forget the gradients."""
        for name, weight in self.parameters.items():
            if weight.grad is not None:
                self.shrink(weight)
                self.move(name, weight, weight.grad, alpha * self.rate(name))
                weight.grad = None

    def shrink(self, weight: Tensor) -> None:
        """Take beta of a matrix from it."""
        if self.beta and weight.dim() > 1:
            weight.mul_(1 - self.beta)

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move one weight against its gradient, which may be sparse, at rate alpha."""
        raise NotImplementedError(f"{type(self).__name__} has no move")

    def before_reading(self, symbols: Tensor) -> None:
        """Hear which rows of U are about to be read, where shrinking rows is put off until then."""

    def settle(self) -> None:
        """Do now what was put off: before validation, and before a model is saved."""

    def state(self) -> dict[str, Tensor]:
        """Return what the optimiser remembers between steps, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""


class SGD(Optimizer):
    """Stochastic gradient descent, the update of the equations: V <- V + alpha * s^T e_o - beta * V.

    A row of U that a window did not touch costs nothing: it shrinks when it is next read, by (1 - beta)^n for the n
    updates that went by, which is the dense rule up to rounding. V moves in one pass where its gradient comes as the
    two factors of a product.
    """

    default_alpha = 0.5
    follows_parts = True

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], *, beta: float = 0.0, recurrent_rate: float = 1.0
    ) -> None:
        super().__init__(parameters, beta=beta, recurrent_rate=recurrent_rate)
        self.steps = 0
        U = self.parameters.get("encoder.U")
        self.U = U if beta else None
        self.shrunk_at = torch.zeros(
            0 if U is None else U.shape[0], dtype=torch.long, device=None if U is None else U.device
        )

    @torch.no_grad()
    def step(self, alpha: float) -> None:
        """Move every weight that has a gradient, then forget the gradients."""
        for name, weight in self.parameters.items():
            factors = vars(weight).pop("factors", None)
            if factors is not None:
                weight.addmm_(*factors, beta=1 - self.beta, alpha=-alpha * self.rate(name))
        self.steps += 1
        super().step(alpha)

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move the weight; rows that a sparse gradient does not name cost nothing."""
        if gradient.is_sparse:
            weight.index_add_(0, gradient._indices()[0], gradient._values(), alpha=-alpha)
        else:
            weight.add_(gradient, alpha=-alpha)

    def shrink(self, weight: Tensor) -> None:
        """Take beta of a matrix from it: of U only the rows that are in the gradient, or all if it is dense."""
        if weight is not self.U:
            super().shrink(weight)
        elif weight.grad is not None and weight.grad.is_sparse:
            self._catch_up(weight.grad._indices()[0])
        else:
            self.settle()

    def before_reading(self, symbols: Tensor) -> None:
        """Shrink the rows of U that are about to be read by what was put off."""
        self._catch_up(symbols.reshape(-1))

    @torch.no_grad()
    def _catch_up(self, rows: Tensor) -> None:
        if self.U is not None:
            owed = (self.steps - self.shrunk_at[rows]).to(self.U.device, torch.float64)
            factor = torch.pow(1 - self.beta, owed).to(self.U.dtype).unsqueeze(1)
            self.U[rows] = self.U[rows] * factor  # a row that is named twice is written twice, with the same values
            self.shrunk_at[rows] = self.steps

    def settle(self) -> None:
        """Shrink all rows of U by what was put off."""
        if self.U is not None:
            self._catch_up(torch.arange(self.U.shape[0], device=self.U.device))

    def state(self) -> dict[str, Tensor]:
        """Return how far each row of U has shrunk."""
        return {"steps": torch.tensor(self.steps), "shrunk_at": self.shrunk_at} if self.U is not None else {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        if self.U is not None:
            self.steps = int(state["steps"])
            self.shrunk_at.copy_(state["shrunk_at"])


class Adam(Optimizer):
    """Adam, with beta taken from the weights themselves and not from the gradient.

    Sources: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization" (ICLR 2015); I. Loshchilov and
    F. Hutter, "Decoupled weight decay regularization" (ICLR 2019).
    """

    default_alpha = 0.001
    betas = (0.9, 0.999)
    epsilon = 1e-8

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], *, beta: float = 0.0, recurrent_rate: float = 1.0
    ) -> None:
        super().__init__(parameters, beta=beta, recurrent_rate=recurrent_rate)
        self.inner = {
            name: torch.optim.Adam([weight], betas=self.betas, eps=self.epsilon, fused=True)
            for name, weight in self.parameters.items()
        }

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Move the weight by torch's own fused Adam."""
        if gradient.is_sparse:
            weight.grad = gradient.to_dense()
        inner = self.inner[name]
        inner.param_groups[0]["lr"] = alpha
        inner.step()

    def state(self) -> dict[str, Tensor]:
        """Return both moments and the step count of every weight."""
        return {
            f"{name}.{key}": value
            for name, inner in self.inner.items()
            for key, value in inner.state.get(self.parameters[name], {}).items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        for key, value in state.items():
            name, kind = key.rsplit(".", 1)
            weight = self.parameters[name]
            self.inner[name].state[weight][kind] = value.to(weight.device)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


def clip_gradients(weights: Iterable[nn.Parameter], limit: float) -> float:
    """Scale all gradients down together so that their joint norm is at most `limit`; return the norm before.

    Source: R. Pascanu, T. Mikolov and Y. Bengio, "On the difficulty of training recurrent neural networks" (2013).
    """
    gradients = []
    for weight in weights:
        if weight.grad is not None and weight.grad.is_sparse:
            weight.grad = weight.grad.coalesce()
            gradients.append(weight.grad._values())
        elif weight.grad is not None:
            gradients.append(weight.grad)
    norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))
    if norm > limit:
        for gradient in gradients:
            gradient.mul_(limit / norm)
    return norm
