"""How time and memory grow with H, D, B and the length of the text: each point in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from elman.apply.bench.plan import Plan, Tell
from elman.apply.bench.point import Point
from elman.apply.bench.texts import written
from elman.apply.bench.timing import exponent
from elman.errors import ElmanError

BASE = Point(hidden=200, dictionary=10_000, batch=32, words=100_000)
LONG = Point(hidden=50, dictionary=1_000, batch=64, words=0, epoch=True)
"""What stays the same where the text grows: small, since whole epochs are trained."""

WHAT = {
    "hidden": "an update",
    "dictionary": "an update",
    "batch": "an update",
    "words": "reading the text, and an epoch",
}
"""The quantities that grow, and what `seconds` are of."""


def points(plan: Plan, quantity: str) -> list[Point]:
    """Return the points at which a quantity is measured, all else equal."""
    common = {"bptt": plan.bptt, "seed": plan.seed, "threads": plan.threads, "precision": plan.precision}
    base = {**asdict(LONG if quantity == "words" else BASE), **common, "least": plan.least}
    return [Point(**{**base, quantity: value}) for value in getattr(plan, f"grow_{quantity}")]


def growth(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure seconds and peak memory (MB above the program with its libraries) at some sizes; fit exponents."""
    table = {}
    for quantity, what in WHAT.items():
        tell(f"growth: {quantity}")
        chosen = points(plan, quantity)
        found = [measured(point) for point in chosen]
        sizes = [getattr(point, quantity) for point in chosen]
        seconds, megabytes = ([entry[key] for entry in found] for key in ("seconds", "peak_mb"))
        table[quantity] = {
            "seconds_of": what,
            "fixed": {key: value for key, value in asdict(chosen[0]).items() if key != quantity},
            "sizes": sizes,
            "seconds": seconds,
            "peak_mb": megabytes,
            "seconds_exponent": exponent(sizes, seconds),
            "peak_mb_exponent": exponent(sizes, megabytes),
        }
    return table


def measured(point: Point) -> dict[str, float | None]:
    """Measure a point in a new process, where no earlier one has left memory behind."""
    with written(point.dictionary, point.words, point.seed) as folder:
        command = [sys.executable, "-m", "elman.apply.bench.point", json.dumps(asdict(point)), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise ElmanError(
            f"measuring {point} failed: {said[-1] if said else f'exit code {done.returncode}'}",
            hint="is there enough memory? elman bench --quick takes smaller sizes",
        )
    result: dict[str, float | None] = json.loads(done.stdout)
    return result
