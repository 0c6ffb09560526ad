"""A larger model teaches a smaller one: what it expects at every place of the text, besides what stands there.

Source: G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network" (2015). There the loss is the
cross-entropy with all of the teacher's probabilities; here symbols are drawn from them, whose mean loss is the same,
so that any output layer learns from them, a sampled one too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import Interrupted, UsageError
from elman.learn.measure import ROWS
from elman.learn.steps import known_symbols
from elman.network.devices import on_device
from elman.network.folder import Model
from elman.text.batches import Ids, windows
from elman.text.symbols import Tokenizer

DRAWS = 16
"""Draws for every place of the text, at the most: 2 bytes each, or 4 with more than 65,536 symbols."""
STREAMS, STEPS = 32, 64
"""The text goes by in so many parallel streams, so many steps at a time."""

Draws = NDArray[np.uint16] | NDArray[np.uint32]


def check_teacher(teacher: Model, tokenizer: Tokenizer, *, name: str) -> None:
    """Raise `UsageError` for a teacher that has another dictionary, or another order of it."""
    theirs = teacher.tokenizer
    same = theirs.size == tokenizer.size and theirs.unit == tokenizer.unit
    if not (same and all(theirs.token(id) == tokenizer.token(id) for id in range(tokenizer.size))):
        raise UsageError(
            f"the teacher {name} has another dictionary",
            hint="train both on the same text, with the same settings of the section text",
        )


@torch.no_grad()
def draw_lessons(
    teacher: Model, ids: Ids, *, draws: int, seed: int, should_stop: Callable[[], bool] = lambda: False
) -> Draws:
    """Return for every symbol of a text what the teacher, given all before it, would have had there.

    Parameters
    ----------
    ids
        the text, (N,).
    draws
        K, how often it is drawn for each place, independently.

    Returns
    -------
    (K, N), each from Pr{ w(t) | w(1) .. w(t-1) } of the teacher, which reads the text in parallel streams. The tail
    that fills no row of streams stays as the text has it.
    """
    network, tokenizer = teacher.network.eval(), teacher.tokenizer
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    batch = max(1, min(STREAMS, len(ids)))
    kind = np.uint16 if tokenizer.size <= 2**16 else np.uint32
    drawn = np.broadcast_to(np.asarray(ids).astype(kind), (draws, len(ids))).copy()
    length = len(ids) // batch
    lessons = drawn[:, : batch * length].reshape(draws, batch, length)
    state, start = network.initial_state(batch), 0
    for inputs, _ in windows(ids, batch, STEPS, tokenizer.end_id):
        state, states = network.unroll(state, on_device(known_symbols(inputs, tokenizer), device))
        for rows in torch.split(states, max(1, ROWS // batch)):
            if should_stop():
                raise Interrupted("stopped while the teacher read the text, before any update")
            log_probs = network.output.log_probs(rows.reshape(len(rows) * batch, -1), network.encoder.U)
            found = torch.multinomial(log_probs.exp_(), draws, replacement=True, generator=generator)
            here = found.view(len(rows), batch, draws).permute(2, 1, 0).cpu().numpy()
            lessons[:, :, start : start + len(rows)] = here
            start += len(rows)
    return drawn
