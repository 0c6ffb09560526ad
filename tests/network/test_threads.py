"""How many threads compute where nobody says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from elman.network import devices
from elman.network.devices import MOST_THREADS_UNASKED, default_threads


@pytest.mark.parametrize(
    ("processors", "quota", "threads"),
    [
        (1, None, 1),
        (2, "max 100000", 2),
        (8, None, 8),
        (128, None, MOST_THREADS_UNASKED),
        (64, "200000 100000", 2),
        (64, "50000 100000", 1),
        (4, "1600000 100000", 4),
        (4, "nonsense", 4),
        (4, "100000 0", 4),
    ],
)
def test_threads_are_what_processors_and_container_allow(
    processors: int, quota: str | None, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    monkeypatch.setattr(devices, "CPU_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n", encoding="ascii")
    assert default_threads() == threads


def test_where_there_is_no_affinity_processors_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(devices, "CPU_QUOTA", tmp_path / "cpu.max")
    assert default_threads() == 3
