"""The temperature of the softmax: what logits are divided by after training, so that validation is as likely as can be.

A network that learnt too long is too sure of itself (T > 1 helps), one that learnt with much dropout not sure enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.learn.measure import states_and_targets
from elman.network.model import RecurrentNetwork
from elman.network.outputs import OUTPUTS
from elman.network.scoring import Scorer
from elman.text.corpus import Corpus
from elman.text.symbols import Tokenizer

STEPS = 20
ROWS = 1024  # states whose logits are there at once
NEAR = 1e-6  # a step of b smaller than that changes nothing that anybody could see
SHARPEST, FLATTEST = 20.0, 0.05


@dataclass(frozen=True)
class Curve:
    """The mean loss (nats a symbol) at b = 1 / T, and its first two derivatives by b."""

    loss: float
    slope: float
    bend: float


def check_foldable(settings: NetworkSettings) -> None:
    """Refuse an output layer that has no matrix of its own whose scaling is a temperature."""
    able = [name for name, layer in OUTPUTS.items() if layer.one_product]
    if settings.tied or settings.output not in (*able, "auto"):
        what = "where U and V are tied" if settings.tied else f"with the output layer {settings.output!r}"
        raise UsageError(
            f"learn.tune_temperature cannot be had {what}: no scaling of V alone is a temperature there",
            hint=f"leave it off, or choose network.output from {', '.join(able)}, not tied",
        )


@torch.no_grad()
def curve(network: RecurrentNetwork, states: Tensor, targets: Tensor, b: float) -> Curve:
    """Return the loss of targets, (N,), after states, (N, H), with logits a multiplied by b.

    It is convex in b:

    loss = mean( log sum_j exp(b a_j) - b a_d ),   loss' = mean( E[a] - a_d ),   loss'' = mean( Var[a] )
    """
    total = torch.zeros(3, dtype=torch.float64)
    for s, d in zip(torch.split(states, ROWS), torch.split(targets, ROWS), strict=True):
        logits = network.output.logits(s, network.encoder.U)
        log_y = torch.log_softmax(b * logits, dim=1)
        y = log_y.exp()
        mean = (y * logits).sum(1)
        at_target = logits.gather(1, d.unsqueeze(1)).squeeze(1)
        spread = (y * (logits - mean.unsqueeze(1)) ** 2).sum(1)
        lost = -log_y.gather(1, d.unsqueeze(1)).squeeze(1)
        total += torch.stack([part.double().sum().cpu() for part in (lost, mean - at_target, spread)])
    return Curve(*(total / len(targets)).tolist())


def best_temperature(network: RecurrentNetwork, states: Tensor, targets: Tensor) -> float:
    """Return the T that makes targets, (N,), after states, (N, H), as likely as can be: Newton's method for 1 / T.

    As the loss is convex in 1 / T there is one such T; each step stays where the slope says that it is.
    """
    low, high, b = FLATTEST, SHARPEST, 1.0
    for _ in range(STEPS):
        here = curve(network, states, targets, b)
        low, high = (low, b) if here.slope > 0 else (b, high)
        step = b - here.slope / here.bend if here.bend > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - b) < NEAR:
            break
        b = following
    return 1 / b


def tune_temperature(
    network: RecurrentNetwork, corpus: Corpus, tokenizer: Tokenizer, *, regime: str, batch: int
) -> float:
    """Return the temperature that suits a corpus best, as the network is; it is not changed."""
    with torch.no_grad():
        pieces = list(states_and_targets(Scorer(network), corpus, tokenizer, regime, batch, "skip"))
    states, targets = (torch.cat(parts) for parts in zip(*pieces, strict=True))
    return best_temperature(network, states, targets)


@torch.no_grad()
def fold(network: RecurrentNetwork, temperature: float) -> None:
    """Divide V, and the bias of the output layer, by T, so that the network is one whose logits are a / T."""
    check_foldable(network.settings)
    network.output.scale(1 / temperature)
    if network.output.bias is not None:
        network.output.bias.div_(temperature)
