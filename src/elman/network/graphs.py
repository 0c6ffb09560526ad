"""Loops of small operations as CUDA graphs: on a GPU to launch an operation takes longer than a step of the recurrence.

A loop whose sizes come again is recorded once, over memory of its own, and is then launched as one operation; what goes
in and what comes out is copied, which a GPU does in no time beside the loop. Elsewhere a loop is just called. cuDNN has
loops of its own for tanh and ReLU, with an H x H product at the input that the equations do not have, none for the
sigmoid, and no products in bf16 with states in fp32; a graph serves all activations alike (decision 0011).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import torch
from torch import Tensor

Loop = Callable[..., None]
Recorder = Callable[[Callable[[], None]], Callable[[], None]]

SIGHTS = 2
"""How often sizes come before they are recorded: the last window of a text and the lengths of sentences rarely do."""
KEPT = 8


def record(loop: Callable[[], None]) -> Callable[[], None]:
    """Record what a loop launches, after one run that lets libraries prepare; return what launches it again."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        loop()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loop()
    return graph.replay


class _Recorded:
    """A loop over memory of its own, and how to run it again."""

    def __init__(self, loop: Loop, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], recorder: Recorder) -> None:
        self.inputs = [tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs]
        self.outputs = [torch.empty_like(tensor) for tensor in outputs]
        self.again = recorder(lambda: loop(*self.inputs, *self.outputs))

    def __call__(self, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        for mine, given in zip(self.inputs, inputs, strict=True):
            mine.copy_(given)
        self.again()
        for mine, asked in zip(self.outputs, outputs, strict=True):
            asked.copy_(mine)


class Graphs:
    """The loops that were recorded, the latest few; threads take turns."""

    def __init__(self, recorder: Recorder = record, kept: int = KEPT) -> None:
        self.recorder, self.kept = recorder, kept
        self.seen: OrderedDict[Hashable, int] = OrderedDict()
        self.recorded: OrderedDict[Hashable, _Recorded] = OrderedDict()
        self.lock = Lock()

    def run(self, loop: Loop, name: Hashable, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        """Do what `loop(*inputs, *outputs)` does: it may read the inputs only, and has to fill the outputs.

        `name` says, together with the sizes, which loop it is: all that it depends on besides tensors.
        """
        key = (name, *((tensor.shape, tensor.dtype, tensor.device) for tensor in (*inputs, *outputs)))
        with self.lock:
            if key in self.recorded:
                self.recorded.move_to_end(key)
            elif self.seen.setdefault(key, 0) < SIGHTS:
                self.seen[key] += 1
                self.seen.move_to_end(key)
                if len(self.seen) > 16 * self.kept:
                    self.seen.popitem(last=False)
                loop(*inputs, *outputs)
                return
            else:
                if len(self.recorded) == self.kept:
                    self.recorded.popitem(last=False)
                self.recorded[key] = _Recorded(loop, inputs, outputs, self.recorder)
            self.recorded[key](inputs, outputs)


_GRAPHS = Graphs()


def run(loop: Loop, name: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:  # noqa: ANN401 - a key
    """Run a loop over tensors: on a GPU as a graph once its sizes have come again, elsewhere as it is."""
    if inputs[0].is_cuda and not torch.cuda.is_current_stream_capturing():
        _GRAPHS.run(loop, name, inputs, outputs)
    else:
        loop(*inputs, *outputs)
