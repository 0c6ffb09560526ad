"""What the machine can do at best: products of matrices, and memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from elman.apply.bench.plan import Plan, Tell
from elman.apply.bench.timing import Speed, Work, probe, take_turns
from elman.network.devices import bf16_is_fast

GIGA = 1e9
KINDS = ("fp32", "bf16")
WINDOW_ROWS = 1280  # 64 streams of 20 steps, as `training` has them at H = 5,000
STREAMS = 64


def precisions(device: str = "cpu") -> dict[str, torch.dtype]:
    """Return the types that products may be made in: bf16 only where the device multiplies it in hardware."""
    bf16 = {"bf16": torch.bfloat16} if bf16_is_fast(device) else {}
    return {"fp32": torch.float32, **bf16}


class Product:
    """The product of an N x K matrix with a K x M one, into a buffer; a call is one product, in GFLOP."""

    def __init__(self, rows: int, inner: int, columns: int, dtype: torch.dtype, device: str = "cpu") -> None:
        draw = torch.Generator().manual_seed(0)
        self.left = torch.randn(rows, inner, generator=draw).to(device, dtype)
        self.right = torch.randn(inner, columns, generator=draw).to(device, dtype)
        self.out = torch.empty(rows, columns, dtype=dtype, device=device)
        self.gflop = 2 * rows * inner * columns / GIGA

    def __call__(self) -> float:
        """Multiply; return how many GFLOP that was."""
        torch.mm(self.left, self.right, out=self.out)
        return self.gflop


def best_square(sides: Sequence[int], dtype: torch.dtype, least: float, device: str = "cpu") -> Product:
    """Return the square product whose rate is the highest."""
    rates = {side: probe(Product(side, side, side, dtype, device), least) for side in sides}
    side = max(rates, key=lambda side: rates[side])
    return Product(side, side, side, dtype, device)


def training_shapes(hidden: int, dictionary: int) -> dict[str, tuple[int, int, int]]:
    """Return the products (N, K, M) of an update: one step of the recurrence, and the three with V."""
    return {
        f"step, H = {hidden}": (STREAMS, hidden, hidden),
        f"s V, H = {hidden}": (WINDOW_ROWS, hidden, dictionary),
        f"e V^T, H = {hidden}": (WINDOW_ROWS, dictionary, hidden),
        f"s^T e, H = {hidden}": (hidden, WINDOW_ROWS, dictionary),
    }


def memory_works(megabytes: int, device: str = "cpu") -> dict[str, Work]:
    """Return what reads and what copies a block of memory; a call says how many GB (10^9 bytes) it moved."""
    source = torch.ones(megabytes * 1_000_000 // 4, device=device)
    target = torch.empty_like(source)
    gigabytes = source.numel() * 4 / GIGA

    def read() -> float:
        source.sum()
        return gigabytes

    def copy() -> float:
        target.copy_(source)
        return 2 * gigabytes  # read and written

    return {"read": read, "copy": copy}


def machine(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure GEMM rates (GFLOP/s), square and in the shapes of training, and memory rates (GB/s)."""
    shapes = {f"square {side}": (side, side, side) for side in plan.sides}
    for hidden in plan.hidden:
        shapes |= training_shapes(hidden, plan.dictionary)
    rows: list[dict[str, Any]] = []
    for name, sizes in shapes.items():
        tell(f"machine: {name}")
        works: dict[str, Work] = {
            kind: Product(*sizes, dtype, plan.device) for kind, dtype in precisions(plan.device).items()
        }
        speeds = _rates(works, plan)
        rows.append({"name": name, "sizes": list(sizes), **{kind: _summary(speeds.get(kind)) for kind in KINDS}})
    tell("machine: memory")
    memory = {name: _summary(speed) for name, speed in _rates(memory_works(plan.memory_mb, plan.device), plan).items()}
    squares = rows[: len(plan.sides)]
    best = {kind: max((row[kind]["median"] for row in squares if row[kind]), default=None) for kind in KINDS}
    return {"gemm_gflops": rows, "best_gemm_gflops": best, "memory_gb_per_second": memory}


def _rates(works: dict[str, Work], plan: Plan) -> dict[str, Speed]:
    for work in works.values():
        work()  # the first one also makes room in memory
    return take_turns(works, rounds=min(3, plan.rounds), least=plan.least / 4)


def _summary(speed: Speed | None) -> dict[str, Any] | None:
    return None if speed is None else {"median": speed.median, "turns": list(speed.turns)}
