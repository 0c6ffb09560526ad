"""One point of `growth`, measured in a process of its own: python -m elman.apply.bench.point POINT FOLDER."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from elman.apply.bench.plan import Plan
from elman.apply.bench.texts import read
from elman.apply.bench.timing import probe, threads
from elman.apply.bench.training import FULL, ElmanLearner, new_network, settings_for

MEGA = 1e6


@dataclass(frozen=True)
class Point:
    """Sizes of a network and of its text; `epoch`: whole epochs are timed, reading the text included, not updates."""

    hidden: int
    dictionary: int
    batch: int
    words: int
    epoch: bool = False
    bptt: int = 20
    precision: str = "auto"
    threads: int | None = None
    seed: int = 1
    least: float = 0.4


def peak_megabytes() -> float | None:
    """Return the most memory that this process has held, in MB (10^6 bytes); None where the system does not say.

    Linux tells it of this program alone (VmHWM); what `getrusage` says there includes the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        held = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(held[0]) * 1024 / MEGA if held else None
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGA
    return None


def measure_point(point: Point, folder: Path) -> dict[str, float | None]:
    """Return the seconds of an update, or of an epoch, over the text in `folder`, and the peak memory in MB."""
    plan = Plan(precision=point.precision, bptt=point.bptt, seed=point.seed)
    before = peak_megabytes()
    with threads(point.threads):
        start = time.perf_counter()
        text = read(folder)
        network = new_network(plan, point.hidden, FULL, point.dictionary)
        learner = ElmanLearner(network, text, settings_for(plan, point.hidden, FULL, point.batch))
        if point.epoch:
            for _ in range(learner.steps.per_epoch):
                learner()
            seconds = time.perf_counter() - start
        else:
            seconds = point.batch * point.bptt / probe(learner, point.least)
    after = peak_megabytes()
    return {"seconds": seconds, "peak_mb": None if before is None or after is None else after - before}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_point(Point(**json.loads(sys.argv[1])), Path(sys.argv[2]))))
