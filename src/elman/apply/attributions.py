"""Why a step said what it said: the error sent back through time, and what each earlier word did to a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from elman.apply.unrolled import Unrolled, log_probs, parts_of
from elman.network.cell import Cell
from elman.network.cells import Elman
from elman.network.minimal import IndRNN
from elman.network.model import RecurrentNetwork

LARGEST = 1000
"""Units up to which the norm of W is computed: beyond, it takes longer than all of the rest."""

STEEPEST = {"sigmoid": 0.25, "tanh": 1.0, "relu": 1.0}


@dataclass(frozen=True)
class Errors:
    """The error of one step, E = log y(t)[target], in one part of one layer's state, for k = 0, 1, 2, ... steps back.

    Attributes
    ----------
    state_norms
        ||dE / ds(t-k)||.
    hidden_norms
        ||e_h(t-k)||, e_h = dE / ds * f'(s), the error before the activation as in the equations; None where the state
        is not f of a sum.
    bound
        the most that a factor can be, max f' * ||W||_2; None where the recurrence is not one product with W.
    """

    layer: int
    part: str
    state_norms: list[float]
    hidden_norms: list[float] | None
    bound: float | None

    @property
    def norms(self) -> list[float]:
        """The norms of e_h, or of dE / ds where there is no e_h."""
        return self.state_norms if self.hidden_norms is None else self.hidden_norms

    @property
    def factors(self) -> list[float | None]:
        """What each step back multiplies by, ||e_h(t-k-1)|| / ||e_h(t-k)||; None where nothing is left to multiply."""
        return [later / earlier if earlier else None for earlier, later in pairwise(self.norms)]

    @property
    def symbol(self) -> str:
        """What the norms are of, as the equations write it."""
        return f"dE/d{self.part}" if self.hidden_norms is None else "e_h"

    def as_dict(self) -> dict[str, Any]:
        """Return the norms as plain JSON values."""
        return {
            "layer": self.layer,
            "part": self.part,
            "norm_of": self.symbol,
            "norms": self.norms,
            "factors": self.factors,
            "factor_at_most": self.bound,
            "state_norms": self.state_norms,
        }


@dataclass(frozen=True)
class Contribution:
    """What one word did to a prediction, in natural logs; more than 0: it made the prediction likelier.

    Attributes
    ----------
    t
        the step at which the word came in.
    gradient_x_input
        the gradient of the log-probability with respect to the word's vector, times that vector.
    leave_one_out
        the log-probability less what it is where the word is left out of the history; None where nothing is left.
    """

    t: int
    symbol: str
    gradient_x_input: float
    leave_one_out: float | None


@dataclass(frozen=True)
class Why:
    """What one step predicted, and why: E = log y(t)[target], sent back.

    `origin` says where the target is from: "text", it came next; "likeliest", nothing known came next; "asked".
    """

    t: int
    target: str
    origin: str
    log_prob: float
    errors: list[Errors]
    words: list[Contribution]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "t": self.t,
            "target": self.target,
            "origin": self.origin,
            "log_prob": self.log_prob,
            "errors": [errors.as_dict() for errors in self.errors],
            "words": [dict(vars(word)) for word in self.words],
        }


@dataclass(frozen=True)
class Outputs:
    """What the output layer said of each of n steps.

    Attributes
    ----------
    targets, log_prob
        the symbol whose log-probability is E, and E.
    came
        the log-probability of the symbol that came next; None where none did.
    likeliest
        the likeliest symbols and their probabilities.
    gradients
        dE / d above, (n, top_size).
    """

    targets: list[int]
    log_prob: list[float]
    came: list[float | None]
    likeliest: list[list[tuple[int, float]]]
    gradients: Tensor


def read_outputs(
    run: Unrolled, following: Sequence[int | None], asked: dict[int, int], *, top: int, no_answer: int | None
) -> Outputs:
    """Return what the output layer says of each step; E is of the symbol asked for, that came next, or the likeliest.

    `following` are the symbols that came next, (n,); `asked` says of which rows another symbol is E's; `no_answer`,
    <unk>, is not taken for the likeliest.
    """
    above = torch.cat(run.above).detach().requires_grad_()
    read = Outputs([], [], [], [], torch.zeros_like(above))
    for here, log_y in log_probs(run.network, above):
        values, ids = log_y.detach().topk(min(max(top, 2), log_y.shape[1]))
        rows = range(here.start, here.start + len(log_y))
        for row, likeliest, probabilities in zip(rows, ids.tolist(), values.exp().tolist(), strict=True):
            came = following[row]
            best = next((symbol for symbol in likeliest if symbol != no_answer), likeliest[0])
            read.targets.append(asked.get(row, best if came is None else came))
            read.came.append(None if came is None else float(log_y[row - here.start, came].detach()))
            read.likeliest.append(list(zip(likeliest, probabilities, strict=True))[:top])
        aimed = torch.tensor(read.targets[here], device=log_y.device)
        at_target = log_y.gather(1, aimed.unsqueeze(1)).squeeze(1)
        read.gradients.add_(torch.autograd.grad(at_target.sum(), above)[0])
        read.log_prob.extend(at_target.tolist())
    return read


@dataclass(frozen=True)
class Sent:
    """The error of one step sent back to steps `first` and on: norms, and gradient x input of each of those steps."""

    first: int
    errors: list[Errors]
    gradient_x_input: list[float]


def send_back(run: Unrolled, gradients: Tensor, *, back: int) -> list[Sent]:
    """Send the error of every step back over `back` steps, its own among them, or to the first of `run`."""
    layers = [cell for cell in run.network.cells if isinstance(cell, Cell)]
    bounds = [_bound(run.network, layer) for layer in range(len(layers))]
    sent = []
    for row, above in enumerate(run.above):
        low = max(0, row - back + 1)
        vectors = run.vectors[low : row + 1]
        states = [s for after in run.states[low + 1 : row + 2] for s in after[: len(layers)]]
        found = torch.autograd.grad(
            above, [*vectors, *states], gradients[row : row + 1], retain_graph=True, allow_unused=True
        )
        products = [0.0 if g is None else float((g * x.detach()).sum()) for g, x in zip(found, vectors, strict=False)]
        of_states = found[len(vectors) :]
        errors: list[Errors] = []
        for layer, bound in enumerate(bounds):
            mine, values = of_states[layer :: len(layers)], states[layer :: len(layers)]
            errors += _errors(run.network, layer, values[::-1], mine[::-1], bound)
        sent.append(Sent(run.first + low, errors, products))
    return sent


def _errors(
    network: RecurrentNetwork,
    layer: int,
    states: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    bound: float | None,
) -> list[Errors]:
    """Return the norms of each part of a layer's state, (1, state_size) a step, the latest step first."""
    s = torch.cat(list(states)).detach()
    e_s = torch.cat([torch.zeros_like(s[:1]) if g is None else g for g in gradients])
    cell = network.cells[layer]
    assert isinstance(cell, Cell)
    found = []
    for part in parts_of(cell):
        columns = slice(part.start, part.stop)
        hidden = None
        if is_activation(cell, network):
            hidden = (e_s * cell.activation.derivative(s))[:, columns].norm(dim=1).tolist()
        norms = e_s[:, columns].norm(dim=1).tolist()
        found.append(Errors(layer + 1, part.name, norms, hidden, bound))
    return found


def is_activation(cell: Cell, network: RecurrentNetwork) -> bool:
    """Return whether a cell's state is f of a sum, and so has an e_h."""
    return type(cell) in (Elman, IndRNN) and network.settings.zoneout == 0.0


def _bound(network: RecurrentNetwork, layer: int) -> float | None:
    """Return max f' * ||W||_2 for the uppermost layer of plain nets: below it, errors also arrive from above."""
    cell = network.cells[layer]
    if type(cell) is not Elman or layer < len(network.cells) - 1 or network.settings.zoneout:
        return None
    steepest = STEEPEST.get(cell.activation.name)
    if steepest is None or cell.hidden_size > LARGEST:
        return None
    return steepest * float(torch.linalg.matrix_norm(cell.W, ord=2))


def leave_one_out(run: Unrolled, targets: Sequence[int], log_prob: Sequence[float], *, back: int) -> list[list[float]]:
    """Return, for each step t, log y(t)[target] less what it is without each of the words of the last `back` steps.

    All words are left out side by side: at offset j, row i of a batch has not read w(i) and reads w(i + j). Row t of
    the answer ends with w(t) itself; NaN where nothing is left to predict from.
    """
    steps, reach = len(targets), min(back, len(targets))
    without = [[float("nan")] * reach for _ in range(steps)]  # [t][j]: of target(t), with w(t - j) left out
    rows = range(steps)
    aimed = torch.tensor(list(targets))
    state = tuple(torch.cat(list(layer)) for layer in zip(*run.states[:-1], strict=True))
    with torch.no_grad():
        ups = [*([] if run.before is None else [run.before]), *(up.detach() for up in run.above[:-1])]
        start = steps - len(ups)
        if ups:
            for t, value in zip(rows[start:], _at(run.network, torch.cat(ups), aimed[start:]), strict=True):
                without[t][0] = value
        for j in range(1, reach):
            state = tuple(layer[: steps - j] for layer in state)
            state, up = run.network.advance(state, run.symbols[j:])
            for i, value in enumerate(_at(run.network, up, aimed[j:])):
                without[i + j][j] = value
    return [
        [log_prob[t] - value for value in reversed(values[: min(t + 1, reach)])] for t, values in enumerate(without)
    ]


def _at(network: RecurrentNetwork, above: Tensor, targets: Tensor) -> list[float]:
    """Return log y[target] of each row, (N, top_size)."""
    found = list[float]()
    for here, log_y in log_probs(network, above):
        mine = targets[here].to(log_y.device)
        found += log_y.gather(1, mine.unsqueeze(1)).squeeze(1).tolist()
    return found
