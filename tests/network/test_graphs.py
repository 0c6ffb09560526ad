"""Recorded loops do what the loops do; here the recorder is one that just keeps the loop, on a GPU it is CUDA's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elman.network import graphs
from elman.network.activations import ACTIVATIONS
from elman.network.graphs import SIGHTS, Graphs
from elman.network.recurrence import unroll, unroll_slowly


class Recorder:
    """Counts what is recorded and how often it runs again."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, loop: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1

        def again() -> None:
            self.replayed += 1
            loop()

        return again


def add(left: Tensor, right: Tensor, total: Tensor) -> None:
    torch.add(left, right, out=total)


def test_a_loop_is_recorded_when_its_sizes_come_again_and_reads_what_it_is_given_then() -> None:
    recorder = Recorder()
    loops = Graphs(recorder)
    for turn in range(6):
        left, right, total = torch.full((3,), float(turn)), torch.ones(3), torch.zeros(3)
        loops.run(add, "add", (left, right), (total,))
        assert total.tolist() == [turn + 1.0] * 3
        assert left.tolist() == [turn] * 3
    assert (recorder.recorded, recorder.replayed) == (1, 6 - SIGHTS)


def test_sizes_types_and_names_are_kept_apart_and_the_oldest_is_dropped() -> None:
    recorder = Recorder()
    loops = Graphs(recorder, kept=2)
    kinds = [
        ("add", 2, torch.float32),
        ("add", 3, torch.float32),
        ("add", 2, torch.float64),
        ("other", 2, torch.float32),
    ]
    for _ in range(2):
        for name, size, dtype in kinds:
            for _ in range(SIGHTS + 1):
                total = torch.zeros(size, dtype=dtype)
                loops.run(add, name, (torch.ones(size, dtype=dtype), torch.ones(size, dtype=dtype)), (total,))
                assert total.tolist() == [2.0] * size
    assert len(loops.recorded) == 2
    assert recorder.recorded == 2 * len(kinds)


@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_recurrence_as_a_graph_agrees_with_the_slow_one(
    name: str, product: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    loops = Graphs(recorder)

    def run(loop: Any, name: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        loops.run(loop, name, inputs, outputs)

    monkeypatch.setattr(graphs, "run", run)
    draw = torch.Generator().manual_seed(1)
    activation, close = ACTIVATIONS[name], 1e-5 if product is torch.float32 else 0.03
    for _ in range(SIGHTS + 3):
        drive, initial = torch.randn(5, 3, 8, generator=draw), torch.randn(3, 8, generator=draw)
        W, weights = 0.3 * torch.randn(8, 8, generator=draw), torch.randn(5, 3, 8, generator=draw)
        found = []
        for way in (unroll, unroll_slowly):
            leaves = [part.clone().requires_grad_() for part in (drive, initial, W)]
            states = way(*leaves, activation, *([product] if way is unroll else []))
            (states * weights).sum().backward()
            found.append([states.detach(), *(leaf.grad for leaf in leaves)])
        for mine, slow in zip(*found, strict=True):
            assert (mine - slow).norm() <= close * slow.norm()
    assert (recorder.recorded, recorder.replayed) == (2, 6)
