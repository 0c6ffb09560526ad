"""A sentence under a model, taken apart: what each step read, held, said and learnt from, and which word mattered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from elman.apply.attributions import (
    Contribution,
    Outputs,
    Sent,
    Why,
    is_activation,
    leave_one_out,
    read_outputs,
    send_back,
)
from elman.apply.predict import read_symbols, shown
from elman.apply.summary import Summary, summary
from elman.apply.unrolled import Unrolled, in_float64, parts_of, saturated, unroll_text
from elman.errors import TextError, UsageError
from elman.learn.steps import known_symbols
from elman.network.cell import Cell
from elman.network.folder import Model

Ids = NDArray[np.int64]

STEPS = 40
"""Steps that are shown where nobody says: as many as a page can hold."""


@dataclass(frozen=True)
class Unit:
    """One number of a state, and where in it that is."""

    index: int
    value: float


@dataclass(frozen=True)
class StatePart:
    """A part of a layer's state after a step: its most active units, and the others summed up.

    Attributes
    ----------
    name
        "s", or what else the cell carries on: "c" of an LSTM or SCRN, "x" of a window of vectors.
    norm
        the Euclidean norm of the whole part.
    others, others_mean
        how many units are not among `units`, and the mean of their |s|; None where there are none.
    saturated
        of all units, how many hardly move (f' below a twentieth of its most); None where they have no end to stick to.
    """

    layer: int
    name: str
    size: int
    norm: float
    units: list[Unit]
    others: int
    others_mean: float | None
    saturated: int | None

    def as_dict(self) -> dict[str, Any]:
        """Return the part as plain JSON values."""
        return dict(vars(self)) | {"units": [dict(vars(unit)) for unit in self.units]}


@dataclass(frozen=True)
class Step:
    """One step: w(t), s(t), y(t).

    Attributes
    ----------
    symbol, written
        w(t) as the dictionary has it, and as the text wrote it: they differ for what is read as <unk>.
    next
        the likeliest symbols after it, <unk> among them, with their probabilities.
    came, log_prob
        the symbol that really came next and its natural log-probability; both None where the text says none, log_prob
        None where the dictionary lacks it, and then `came` is as the text wrote it.
    """

    t: int
    symbol: str
    written: str
    unknown: bool
    state: list[StatePart]
    next: list[tuple[str, float]]
    came: str | None
    log_prob: float | None

    @property
    def probability(self) -> float | None:
        """The probability of what came next."""
        return None if self.log_prob is None else math.exp(self.log_prob)

    @property
    def surprisal(self) -> float | None:
        """How surprising what came next was, in bits: - log2 of its probability."""
        return None if self.log_prob is None else -self.log_prob / math.log(2)

    def as_dict(self) -> dict[str, Any]:
        """Return the step as plain JSON values."""
        return dict(vars(self)) | {
            "state": [part.as_dict() for part in self.state],
            "next": [{"token": token, "probability": probability} for token, probability in self.next],
            "probability": self.probability,
            "surprisal_bits": self.surprisal,
        }


@dataclass(frozen=True)
class Explanation:
    """A text under a model, steps `first` to `last` of `length`, t counted from 1.

    The first symbol that is read is the sentence end before the text, as in training; s(0) is before it. `at` is the
    step whose error is the one to look at first, `back` how many steps errors and contributions go back.
    """

    summary: Summary
    text: str
    length: int
    first: int
    last: int
    at: int
    back: int
    unknown: list[str]
    steps: list[Step]
    why: list[Why]
    notes: list[str]

    @property
    def why_at(self) -> Why:
        """Why step `at` said what it said."""
        return self.why[self.at - self.first]

    def as_dict(self) -> dict[str, Any]:
        """Return the whole explanation as plain JSON values; logarithms are natural, surprisals in bits."""
        return dict(vars(self)) | {
            "summary": self.summary.as_dict(),
            "steps": [step.as_dict() for step in self.steps],
            "why": [why.as_dict() for why in self.why],
            "left_out": {"before": self.first - 1, "after": self.length - self.last},
        }


def explain(
    model: Model,
    text: str,
    *,
    at: int | None = None,
    target: str | None = None,
    units: int = 8,
    top: int = 5,
    steps: int = STEPS,
    start: int | None = None,
    back: int = STEPS,
) -> Explanation:
    """Take a model apart at work on a text, in float64, read as `predict` reads it: from s(0), a sentence end first.

    Parameters
    ----------
    at
        the step whose error to look at; unset, the last one that the text has a known next symbol for, or the last one
        of all where `target` is given.
    target
        the symbol that is taken as the right answer at that step; unset, the one that came next, or the likeliest one
        where none that is known did.
    units
        how many units of each state to name, those with the largest |s|.
    top
        how many next symbols to name.
    steps, start
        how many steps to show, from which on; unset, those that end with the text, or with `at`.
    back
        how many steps errors and contributions go back at the most.

    Raises
    ------
    TextError
        for a text without a symbol.
    UsageError
        for a number out of range, or a target that the dictionary lacks.
    """
    for name, count in (("units", units), ("top", top), ("steps", steps), ("back", back)):
        if count < 1:
            raise UsageError(f"{name} = {count} cannot be: it should be at least 1")
    ids, pieces, unknown = read_symbols(model, text)
    if not ids:
        raise TextError("the text is empty: there is nothing to explain", hint="give a few words")
    tokenizer = model.tokenizer
    read = np.array([tokenizer.end_id, *ids], dtype=np.int64)
    following = [*(i if i < tokenizer.size else None for i in ids), None]
    chosen = None if target is None else _symbol(model, target)
    first, last, at = _window(following, at=at, start=start, steps=steps, asked=chosen is not None)
    asked = {} if chosen is None else {at - first: chosen}
    network = in_float64(model.network)
    device = next(network.parameters()).device
    run = unroll_text(network, known_symbols(read[:last], tokenizer).to(device), first)
    outputs = read_outputs(run, following[first - 1 : last], asked, top=top, no_answer=tokenizer.unk_id)
    return Explanation(
        summary=summary(model),
        text=text,
        length=len(read),
        first=first,
        last=last,
        at=at,
        back=back,
        unknown=unknown,
        steps=_steps(model, run, outputs, [tokenizer.end, *pieces], read, units),
        why=_why(model, run, outputs, asked, back),
        notes=_notes(run, len(read), last, back, unknown),
    )


def _steps(model: Model, run: Unrolled, outputs: Outputs, written: Sequence[str], read: Ids, units: int) -> list[Step]:
    """Return what each step read, held and said; `written` and `read` are of the whole text."""
    found = []
    for row, symbol in enumerate(run.symbols.tolist()):
        t = run.first + row
        came = written[t] if t < len(written) else None
        if outputs.came[row] is not None:
            came = shown(model, int(read[t]))
        found.append(
            Step(
                t=t,
                symbol=shown(model, symbol),
                written=written[t - 1],
                unknown=int(read[t - 1]) == model.tokenizer.size,
                state=_state(run, row, units),
                next=[(shown(model, i), probability) for i, probability in outputs.likeliest[row]],
                came=came,
                log_prob=outputs.came[row],
            )
        )
    return found


def _why(model: Model, run: Unrolled, outputs: Outputs, asked: dict[int, int], back: int) -> list[Why]:
    """Return of each step why it predicted what it did."""
    symbols = [shown(model, symbol) for symbol in run.symbols.tolist()]
    without = leave_one_out(run, outputs.targets, outputs.log_prob, back=back)
    found = []
    for row, sent in enumerate(send_back(run, outputs.gradients, back=back)):
        origin = "asked" if row in asked else "likeliest" if outputs.came[row] is None else "text"
        words = _contributions(symbols, sent, without[row], run.first)
        target = shown(model, outputs.targets[row])
        found.append(Why(run.first + row, target, origin, outputs.log_prob[row], sent.errors, words))
    return found


def _symbol(model: Model, target: str) -> int:
    """Return the id of a symbol that a person names, as the dictionary writes it or as a text would."""
    tokenizer = model.tokenizer
    found = tokenizer.id(target)
    if found is None:
        ids = tokenizer.encode(target)
        found = ids[0] if len(ids) == 1 and ids[0] < tokenizer.size else None
    if found is None:
        raise UsageError(
            f"the target {target!r} is no symbol of the dictionary of {tokenizer.size}",
            hint="elman predict lists likely ones",
        )
    return found


def _window(
    following: Sequence[int | None], *, at: int | None, start: int | None, steps: int, asked: bool
) -> tuple[int, int, int]:
    """Return the first and the last step to show, and the step whose error to look at."""
    length = len(following)
    for name, step in (("at", at), ("from", start)):
        if step is not None and not 1 <= step <= length:
            raise UsageError(
                f"{name} = {step} cannot be: the text has steps 1 to {length}, the sentence end before it among them",
                hint=f"choose {name} from 1 to {length}",
            )
    if start is not None:
        first = start
    else:
        end = at if at is not None and at <= length - steps else length
        first = max(1, end - steps + 1)
    last = min(length, first + steps - 1)
    if at is not None and not first <= at <= last:
        raise UsageError(
            f"at = {at} is not among the steps {first} to {last} that are shown", hint="change --from or --steps"
        )
    if at is None:
        known = [t for t in range(first, last + 1) if following[t - 1] is not None]
        at = last if asked or not known else known[-1]
    return first, last, at


def _state(run: Unrolled, row: int, units: int) -> list[StatePart]:
    """Return the parts of the state after a step."""
    found = []
    for layer, cell in enumerate(run.network.cells):
        assert isinstance(cell, Cell)
        for part in parts_of(cell):
            values: Tensor = run.states[row + 1][layer][0, part.start : part.stop].detach()
            strong = values.abs().topk(min(units, len(values))).indices
            rest = values.abs().sum() - values[strong].abs().sum()
            others = len(values) - len(strong)
            found.append(
                StatePart(
                    layer=layer + 1,
                    name=part.name,
                    size=len(values),
                    norm=float(values.norm()),
                    units=[Unit(int(i), float(values[i])) for i in strong],
                    others=others,
                    others_mean=max(0.0, float(rest)) / others if others else None,
                    saturated=saturated(part, values),
                )
            )
    return found


def _contributions(symbols: Sequence[str], sent: Sent, without: Sequence[float], first: int) -> list[Contribution]:
    """Return what the words of steps `sent.first` and on did to a prediction."""
    return [
        Contribution(t, symbols[t - first], product, None if math.isnan(loss) else loss)
        for t, (product, loss) in enumerate(zip(sent.gradient_x_input, without, strict=True), sent.first)
    ]


def _notes(run: Unrolled, length: int, last: int, back: int, unknown: Sequence[str]) -> list[str]:
    """Return what has to be said with the numbers."""
    network, notes = run.network, list[str]()
    if unknown:
        notes.append(f"not in the dictionary, and read as <unk>: {', '.join(unknown)}")
    if run.first > 1 or last < length:
        left = length - (last - run.first + 1)
        notes.append(
            f"steps {run.first} to {last} of {length} are shown, {left} are left out; --from and --steps choose"
        )
    if back < last - run.first + 1:
        notes.append(f"errors and contributions go back {back} steps at the most; --back changes that")
    if run.first > 1:
        notes.append(f"errors and contributions go back to step {run.first} at the most, the first that is shown")
    if network.settings.encoder == "n-gram":
        notes.append("a vector x(t) holds n-grams too, which end with w(t): gradient x input counts them with w(t)")
    if network.settings.encoder == "bert":
        notes.append(
            "a vector x(t) comes from BERT, which reads earlier words too: gradient x input counts all with w(t)"
        )
    if network.output.direct is not None:
        notes.append(
            "n-grams also reach the output past the state: leave-one-out counts them, gradient x input does not"
        )
    if not all(isinstance(cell, Cell) and is_activation(cell, network) for cell in network.cells):
        notes.append("the state is not f of one sum here, so errors are dE/ds(t-k), not those before an activation")
    if any(len(parts_of(cell)) > 1 for cell in network.cells if isinstance(cell, Cell)):
        notes.append("the parts of a state are counted apart: what c(t) does by way of s(t) is in dE/ds(t)")
    return notes
