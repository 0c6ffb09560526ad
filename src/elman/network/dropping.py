"""What training leaves out so that a network does not learn by heart; in use everything is there.

| setting | what is dropped | source |
|---|---|---|
| `dropout`, `between_dropout` | units on the way up, at each step anew | Zaremba et al. (2014) |
| the same, `locked`; `input_dropout` | the same units at every step of a window | Gal and Ghahramani (2016) |
| `word_dropout` | symbols: whole rows of U, for a window | Gal and Ghahramani (2016) |
| `weight_dropout` | recurrent weights, for a window: DropConnect | Wan et al. (2013), Merity et al. (2018) |
| `zoneout` | changes: a unit stays as it was | Krueger et al. (2017) |

What is kept is scaled up by 1 / (1 - rate), so that its mean is what it was; with zoneout, use takes the mean of both.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from elman.config import NetworkSettings
from elman.network.cell import Cell


class Dropper:
    """What one window drops; with no generator nothing is dropped at all."""

    def __init__(self, settings: NetworkSettings, generator: torch.Generator | None) -> None:
        self.settings, self.generator = settings, generator

    def _kept(self, like: Tensor, rate: float) -> Tensor:
        """Return 0 for what is dropped and 1 / (1 - rate) for the rest, in the shape and type of `like`."""
        # One draw of 64 bits decides over four units: the rate is exact to 1/65536.
        draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
        bits = draws.random_(-(2**63), None, generator=self.generator).view(torch.int16)[: like.numel()]
        kept = bits.view(like.shape) >= round(rate * 65536) - 32768
        return kept.to(like.dtype).mul_(1 / (1 - rate))

    def units(self, values: Tensor, rate: float, *, locked: bool) -> Tensor:
        """Drop units of (T, B, H), at each step anew or, `locked`, the same ones at all steps of a stream."""
        if self.generator is None or rate == 0.0:
            return values
        return values * self._kept(values[:1] if locked else values, rate)

    def layer(self, outputs: Tensor, *, top: bool) -> Tensor:
        """Drop units on the way up from a layer: the last one, or one below another."""
        settings = self.settings
        rate = settings.dropout if top or settings.between_dropout is None else settings.between_dropout
        return self.units(outputs, rate, locked=settings.locked)

    def words(self, drive: Tensor, symbols: Tensor, dictionary_size: int) -> Tensor:
        """Drop symbols, wherever they are in the window: (T, B, E) of `symbols`, (T, B)."""
        rate = self.settings.word_dropout
        if self.generator is None or rate == 0.0:
            return drive
        kept = self._kept(drive.new_empty(dictionary_size), rate)
        return drive * kept[symbols.to(kept.device)].unsqueeze(-1)

    def unroll(self, cell: Cell, state: Tensor, drive: Tensor, product: torch.dtype | None) -> tuple[Tensor, Tensor]:
        """Unroll a layer, with recurrent weights dropped for the whole window, or with changes dropped step by step."""
        weights = {}
        if self.generator is not None and self.settings.weight_dropout > 0.0:
            for name in cell.recurrent:
                weight = cell.get_parameter(name)
                weights[name] = weight * self._kept(weight, self.settings.weight_dropout)
        if self.settings.zoneout > 0.0:
            return self._zoned_out(cell, weights, state, drive)
        if not weights:
            return cell.unroll(state, drive, product)
        result: tuple[Tensor, Tensor] = functional_call(cell, weights, (state, drive, product))
        return result

    def _zoned_out(self, cell: Cell, weights: dict[str, Tensor], state: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        outputs = []
        for x in drive.unbind(0):
            # A window of one step is a step, and goes the way that knows of weights that are not the cell's own.
            after, _ = functional_call(_Step(cell), {f"cell.{k}": v for k, v in weights.items()}, (state, x))
            if self.generator is None:
                state = kept_back(state, after, self.settings.zoneout)
            else:
                changes = self._kept(after, self.settings.zoneout) * (1 - self.settings.zoneout)  # 0 or 1
                state = torch.lerp(state, after, changes)
            outputs.append(cell.output(state))
        return state, torch.stack(outputs)


class _Step(torch.nn.Module):
    """A cell whose forward is its step."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, state: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell.step(state, drive)
        return state, state


def kept_back(before: Tensor, after: Tensor, zoneout: float) -> Tensor:
    """Return the state that use takes where training zones out: the mean of what training draws."""
    return after if zoneout == 0.0 else torch.lerp(after, before, zoneout)


def activity(outputs: Tensor, dropped: Tensor, *, ar: float, tar: float) -> Tensor | None:
    """Return the penalty on states, (T, B, H), per stream and window: large ones, and ones that change much.

    ar mean( h^2 ) of what goes to the output plus tar mean( (h(t) - h(t-1))^2 ) of what the last layer sends up, T
    times, since the loss is a sum over T steps. None where there is none.

    Source: S. Merity, B. McCann and R. Socher, "Revisiting activation regularization for language RNNs" (2017).
    """
    penalty = None
    if ar > 0.0:
        penalty = ar * dropped.square().mean()
    if tar > 0.0 and len(outputs) > 1:
        change = tar * (outputs[1:] - outputs[:-1]).square().mean()
        penalty = change if penalty is None else penalty + change
    return None if penalty is None else len(outputs) * penalty


def with_penalty(loss: Tensor, penalty: Tensor | None) -> Tensor:
    """Return a loss of the same value whose gradient is that of the loss and the penalty together."""
    return loss if penalty is None else loss + (penalty - penalty.detach())
