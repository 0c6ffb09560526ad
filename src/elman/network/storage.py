"""V stored in fewer bits: weights only, for scoring and for single steps. Training never sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from elman.errors import UsageError, nearest

WEIGHTS = ("fp32", "bf16", "int8")
"""How V can be stored; the perplexity that a storage costs is what `elman evaluate --weights` prints."""


def check_weights(weights: str) -> None:
    """Refuse a storage that is not among `WEIGHTS`."""
    if weights not in WEIGHTS:
        close = nearest(weights, WEIGHTS)
        raise UsageError(
            f"weights {weights!r} cannot be", hint=f"did you mean {close}?" if close else f"choose {', '.join(WEIGHTS)}"
        )


def as_int8(V: Tensor) -> tuple[Tensor, Tensor]:
    """Return V, (H, D), symbol by symbol: rows, (D, H), int8 of at most 127, and the scale of each row, (D,).

    V is near rows^T * scales; a row's largest weight is kept exactly, and no weight moves by more than half a scale.
    """
    rows = V.detach().t()
    scales = rows.abs().amax(dim=1) / 127
    scales = torch.where(scales > 0, scales, torch.ones_like(scales))
    return (rows / scales.unsqueeze(1)).round().clamp_(-127, 127).to(torch.int8), scales


def stored(V: Tensor, weights: str) -> Tensor:
    """Return what is left of V, (H, D), of its own type, once it was stored as `weights`."""
    check_weights(weights)
    if weights == "int8":
        rows, scales = as_int8(V)
        return (rows * scales.unsqueeze(1)).t()
    return V.detach().to(torch.bfloat16).to(V.dtype) if weights == "bf16" else V.detach()
