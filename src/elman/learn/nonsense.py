"""Where numbers stop being numbers: which part of the network, the likely cause, and what to do about it.

Nothing here runs while training goes well; it looks at the network when a loss is already infinite or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from elman.network.model import RecurrentNetwork

SLOWER = "try a smaller --alpha, or --clip 1"


class Finding(NamedTuple):
    """What became no number first, in words, and what to do about it."""

    what: str
    hint: str


class Nonsense(Exception):  # noqa: N818 - caught by the trainer alone, which makes a `TrainingError` of it
    """A loss that is no number, of an update that used the given alpha."""

    def __init__(self, loss: float, update: int, alpha: float) -> None:
        super().__init__(f"the loss became {loss}")
        self.loss, self.update, self.alpha = loss, update, alpha


def bad(tensor: Tensor) -> bool:
    """Return whether any number of a tensor is infinite or none."""
    if tensor.is_sparse:
        tensor = tensor._values()
    return bool(tensor.is_floating_point() and not tensor.isfinite().all())


def bad_weights(parameters: Iterable[tuple[str, nn.Parameter]]) -> Finding | None:
    """Name the weights that hold what is no number."""
    names = [name for name, weight in parameters if bad(weight.detach())]
    if not names:
        return None
    what = f"{', '.join(names)} held what is no finite number, as the gradient or the step before had become too large"
    return Finding(what, SLOWER)


def bad_gradients(parameters: Iterable[tuple[str, nn.Parameter]]) -> Finding | None:
    """Name the weights whose gradient, whole or in parts, holds what is no number."""
    names = []
    for name, weight in parameters:
        parts = vars(weight).get("parts")
        gradients = [*(parts or ()), *([] if weight.grad is None else [weight.grad])]
        if any(bad(gradient) for gradient in gradients):
            names.append(name)
    if not names:
        return None
    what = f"the gradient of {', '.join(names)} became infinite on the way back through time"
    return Finding(what, "try a smaller --bptt, a smaller learn.recurrent_rate, or a smaller --alpha")


@torch.no_grad()
def bad_part(network: RecurrentNetwork, state: Any, symbols: Tensor) -> Finding | None:  # noqa: ANN401 - any cell's
    """Run a window forward and name what is no number first: what a layer is given, its states, or the logits.

    `state` is what the window begins with, `symbols` (T, B). A layer is watched at its `unroll`, whatever cell it is.
    """
    found: list[Finding] = []
    with _watched(network, found):
        network.unroll(state, symbols)
    if found:
        return found[0]
    largest = max(((float(w.detach().abs().max()), name) for name, w in network.named_parameters()), default=None)
    at = "" if largest is None else f"; the largest weight is {largest[0]:.3g}, in {largest[1]}"
    return Finding(f"all states are finite, so the logits of the output layer overflowed{at}", SLOWER)


@contextmanager
def _watched(network: RecurrentNetwork, found: list[Finding]) -> Iterator[None]:
    """Look at what goes into every layer and comes out of it while the block runs."""
    plain: list[Any] = [cell.unroll for cell in network.cells]
    for layer, (cell, unroll) in enumerate(zip(network.cells, plain, strict=True), start=1):
        vars(cell)["unroll"] = _watch(cell, unroll, layer, found)
    try:
        yield
    finally:
        for cell in network.cells:
            vars(cell).pop("unroll", None)


def _watch(cell: nn.Module, unroll: Callable[..., Any], layer: int, found: list[Finding]) -> Callable[..., Any]:
    def watched(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever a cell takes and gives
        if any(bad(tensor) for tensor in _tensors((given, tuple(named.values())))):
            what = f"what layer {layer} is given (its drive, w(t) U or the layer below, or its first state) is infinite"
            found.append(Finding(what, "try a smaller --alpha, or a smaller learn.input_rate"))
        after = unroll(*given, **named)
        if any(bad(tensor) for tensor in _tensors(after)):
            sizes = [(float(weight.detach().abs().max()), name) for name, weight in cell.named_parameters()]
            largest = "".join(f"; its largest weight is {size:.3g}, in {name}" for size, name in sorted(sizes)[-1:])
            what = f"the states of layer {layer} grew without bound in the recurrence{largest}"
            hint = "try --activation tanh, a smaller learn.recurrent_rate, a smaller --alpha, or --clip 1"
            found.append(Finding(what, hint))
        return after

    return watched


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401 - nested tuples and lists of tensors
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
