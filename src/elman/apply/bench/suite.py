"""The whole benchmark: where it runs, and its parts. `PARTS` is the table that the command reads."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from elman import __version__
from elman.apply.bench.growth import growth
from elman.apply.bench.machine import machine
from elman.apply.bench.plan import PART_NAMES, Plan, Tell
from elman.apply.bench.scoring import scoring
from elman.apply.bench.timing import threads
from elman.apply.bench.training import training
from elman.network import kernels
from elman.network.devices import bf16_is_fast

Part = Callable[[Plan, Tell], dict[str, Any]]

PARTS: dict[str, Part] = dict(zip(PART_NAMES, (machine, training, scoring, growth), strict=True))


def bench(parts: Sequence[str], plan: Plan, tell: Tell = lambda message: None) -> dict[str, Any]:
    """Run the named parts in order; return what was measured and where, as plain JSON values."""
    with threads(plan.threads) as count:
        return {"where": where(count, plan.device), "plan": _describe(plan)} | {
            name: PARTS[name](plan, tell) for name in parts
        }


def where(count: int, device: str = "cpu") -> dict[str, Any]:
    """Describe the machine, the versions, and how busy the machine is: the load average of the last minute."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows has none
    return {
        "elman": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.system(),
        "processor": platform.machine(),
        "processors": os.cpu_count(),
        "threads": count,
        "bf16": bf16_is_fast(device),
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "kernels": kernels.available(),
        "load": load,
    }


def _describe(plan: Plan) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(plan).items()}
