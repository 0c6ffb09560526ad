"""Dynamic evaluation: the network goes on learning from the text that it is being tested on.

A text is read in segments. Each is scored first, and only then learnt from, so that no symbol is scored by weights that
have seen it. With L the loss of a segment and w any weight:

    sgd    w <- w - alpha dL/dw                                                    L summed over the segment
    rms    w <- w - alpha (dL/dw) / (r + epsilon) + min(1, lambda r / mean r) (w_0 - w)    L averaged over it

r is the root mean square of dL/dw over segments of a text, w_0 the weight as it was trained, and mean r is over all
weights of the network. The first is the update of training, without beta.

Sources: T. Mikolov et al., "Recurrent neural network based language model" (Interspeech 2010) for the first; B. Krause,
E. Kahembwe, I. Murray and S. Renals, "Dynamic evaluation of neural sequence models" (ICML 2018) for the second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from elman.errors import UsageError
from elman.learn.optimizers import SGD, Optimizer, as_rows
from elman.learn.steps import known_symbols
from elman.network.devices import on_device
from elman.network.folder import Model
from elman.network.model import RecurrentNetwork
from elman.network.parts import Rows
from elman.text.batches import Ids, windows

STREAMS = 32
"""Streams side by side when the squares of gradients are gathered."""

MOST_WINDOWS = 200
"""Windows, spread over the text, that the squares of gradients are gathered from."""

KINDS = ("sgd", "rms")


@dataclass(frozen=True)
class Dynamic:
    """How a network follows the text.

    `alpha` is the learning rate. sgd moves what multiplies states, W, at `recurrent_rate` times that; `decay`, which is
    lambda, and `epsilon` are for rms.
    """

    kind: str = "sgd"
    alpha: float = 0.002
    segment: int = 20
    recurrent_rate: float = 0.1
    decay: float = 0.001
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no dynamic evaluation {self.kind!r}", hint="choose sgd or rms")
        rates = min(self.alpha, self.recurrent_rate)
        if rates < 0 or self.segment < 1 or not 0 <= self.decay <= 1 or self.epsilon <= 0:
            raise UsageError(
                "dynamic evaluation needs rates of at least 0, a segment of 1 or more, decay in 0 .. 1, epsilon above 0"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return what counts for this kind as plain JSON values."""
        others = {"recurrent_rate"} if self.kind == "rms" else {"decay", "epsilon"}
        return {k: v for k, v in asdict(self).items() if k not in others}


DEFAULTS = {"sgd": Dynamic("sgd", alpha=0.002), "rms": Dynamic("rms", alpha=4e-5)}


class Segment(NamedTuple):
    """A piece of running text under a model: log y[target], (n,), and what went to the output, (n, H), if asked for."""

    log_probs: Tensor
    hidden: Tensor | None


def follow_text(
    model: Model, ids: Ids, dynamic: Dynamic, *, oov: str = "skip", hidden: bool = False, rms: RMS | None = None
) -> Iterator[Segment]:
    """Read a running text; yield each segment's scores before learning from it. The model itself is not changed.

    Parameters
    ----------
    oov
        "skip" learns nothing from symbols outside the dictionary, whose scores mean nothing; "unk" takes them as <unk>.
    hidden
        whether to give the states too, for a cache.
    rms
        what `gather_rms` returned; for the kind rms.
    """
    network, tokenizer = copy_of(model.network), model.tokenizer
    device = next(network.parameters()).device
    mover = _mover(network, dynamic, rms)
    sparse = not network.settings.tied
    state = network.initial_state(1)
    for inputs, targets in windows(ids, 1, dynamic.segment, tokenizer.end_id):
        symbols = on_device(known_symbols(inputs, tokenizer), device)
        following = on_device(known_symbols(targets, tokenizer), device)
        mover.before_reading("encoder.U", symbols)
        _, log_probs = network.target_log_probs(state, symbols, following)
        states = _hidden(network, state, symbols) if hidden else None
        yield Segment(log_probs.reshape(-1), states)
        counted = torch.from_numpy(targets < tokenizer.size if oov == "skip" else np.ones_like(targets, dtype=bool))
        share = 1.0 if dynamic.kind == "sgd" else 1 / len(targets)
        state, loss = network.loss(
            state,
            symbols,
            following,
            weights=on_device(counted.to(log_probs.dtype) * share, device),
            sparse=sparse,
            factored=sparse and mover.takes_factors,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        mover.step(dynamic.alpha)


@torch.no_grad()
def _hidden(network: RecurrentNetwork, state: tuple[Tensor, ...], symbols: Tensor) -> Tensor:
    return network.output.parted(network.unroll(state, symbols)[1])[0].squeeze(1)


def copy_of(network: RecurrentNetwork) -> RecurrentNetwork:
    """Return a network of the same weights that shares none of them."""
    first = next(network.parameters())
    twin = RecurrentNetwork(network.dictionary_size, network.settings).to(first.device, first.dtype)
    twin.load_state_dict(network.state_dict())
    return twin.eval()


def _mover(network: RecurrentNetwork, dynamic: Dynamic, rms: RMS | None) -> Optimizer:
    if dynamic.kind == "sgd":
        recurrent = {name.split(".")[-1] for name in network.recurrent_names()}
        return SGD(network.named_parameters(), rates=dict.fromkeys(recurrent, dynamic.recurrent_rate))
    if rms is None:
        raise UsageError("dynamic evaluation by rms needs the root mean squares of gradients: see gather_rms")
    return DecayingRMS(network.named_parameters(), rms, decay=dynamic.decay, epsilon=dynamic.epsilon)


RMS = Mapping[str, Tensor]
"""The root mean square of the gradient of every weight, by the weight's name."""


class DecayingRMS(Optimizer):
    """The rms form: each weight at its own rate, and drawn back to where it was trained to.

    A row of U that a segment did not read costs nothing: it is drawn back when it is next read.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], rms: RMS, *, decay: float, epsilon: float
    ) -> None:
        super().__init__(parameters)
        mean = sum(float(r.double().sum()) for r in rms.values()) / max(1, sum(r.numel() for r in rms.values()))
        if mean == 0:
            raise UsageError("the gradients that were gathered are all zero", hint="gather them from another text")
        self.trained = {name: weight.detach().clone() for name, weight in self.parameters.items()}
        self.rate_of = {name: 1 / (rms[name] + epsilon) for name in self.parameters}
        self.left = {name: 1 - (rms[name] * (decay / mean)).clamp(max=1) for name in self.parameters}
        U = self.parameters.get("encoder.U")
        self.drawn_at = None if U is None else torch.zeros(len(U), dtype=torch.long, device=U.device)

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        """Draw the whole weight back by one step and move it."""
        weight.sub_(self.trained[name]).mul_(self.left[name]).add_(self.trained[name])
        weight.addcmul_(gradient, self.rate_of[name], value=-alpha)
        if name == "encoder.U" and self.drawn_at is not None:
            self.drawn_at.fill_(self.steps)

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        """Move some rows; of U, the others are drawn back when they are next read."""
        trained, left, rate = (
            as_rows(side[name], like=self.parameters[name]) for side in (self.trained, self.left, self.rate_of)
        )
        if name == "encoder.U":
            self._draw_back(rows.ids)
        else:
            weight.sub_(trained).mul_(left).add_(trained)
        weight.index_add_(0, rows.ids, rows.values * rate[rows.ids], alpha=-alpha)

    def before_reading(self, name: str, symbols: Tensor) -> None:
        """Draw back the rows of U that are about to be read, by what was put off."""
        if name == "encoder.U":
            self._draw_back(torch.unique(symbols))

    @torch.no_grad()
    def _draw_back(self, ids: Tensor) -> None:
        assert self.drawn_at is not None
        weight, trained, left = self.parameters["encoder.U"], self.trained["encoder.U"], self.left["encoder.U"]
        owed = (self.steps - self.drawn_at[ids]).to(weight.dtype).unsqueeze(1)
        weight[ids] = trained[ids] + (weight[ids] - trained[ids]) * left[ids].pow(owed)
        self.drawn_at[ids] = self.steps


class _Squares(Optimizer):
    """Adds up the squares of gradients, and moves nothing."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        super().__init__(parameters)
        self.sums = {name: torch.zeros_like(weight.detach()) for name, weight in self.parameters.items()}

    def move(self, name: str, weight: Tensor, gradient: Tensor, alpha: float) -> None:
        self.sums[name].addcmul_(gradient, gradient)

    def move_rows(self, name: str, weight: Tensor, rows: Rows, alpha: float) -> None:
        as_rows(self.sums[name], like=self.parameters[name]).index_add_(0, rows.ids, rows.values.square())


def gather_rms(model: Model, ids: Ids, *, segment: int = 20, most_windows: int = MOST_WINDOWS) -> RMS:
    """Return the root mean square of the gradient of each weight, over windows of a text, spread evenly.

    A window is `segment` symbols of up to STREAMS streams side by side, its loss the mean over all of them.
    """
    network, tokenizer = copy_of(model.network), model.tokenizer
    device = next(network.parameters()).device
    squares = _Squares(network.named_parameters())
    streams = max(1, min(STREAMS, len(ids) // segment))
    text = windows(ids, streams, segment, tokenizer.end_id)
    count = min(len(text), most_windows)
    state = network.initial_state(streams)
    for index in np.linspace(0, len(text) - 1, count).round().astype(int):
        inputs, targets = text[int(index)]
        symbols, following = (on_device(known_symbols(ids, tokenizer), device) for ids in (inputs, targets))
        weights = on_device(torch.from_numpy(targets < tokenizer.size).to(torch.float32), device) / len(targets)
        state, loss = network.loss(state, symbols, following, weights=weights, sparse=not network.settings.tied)
        loss.backward()  # type: ignore[no-untyped-call]
        squares.step(0.0)
    return {name: (total / count).sqrt() for name, total in squares.sums.items()}
