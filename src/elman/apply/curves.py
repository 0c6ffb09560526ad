"""How training runs went: the curves of their logs, in one unit, so that they can be laid over each other. No torch.

A line of log.jsonl says the mean loss since the beginning of the epoch; a curve shows the mean since the line before.
A classifier has no log: its card tells what its epochs were.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from elman.errors import ModelError, UsageError
from elman.learn.log import LOG, Entry, read_log

AXES = ("symbols", "updates", "seconds")
MEASURES = ("perplexity", "bits", "nats")
USUAL = {"word": "perplexity", "bpe": "perplexity", "char": "bits", "byte": "bits", "base": "bits"}
"""What a loss is shown as where nobody says, by unit; nats for all else."""

LEAST = 0.25
"""The share of the piece before it that the last piece of an epoch has to have to be a point of its own."""


@dataclass(frozen=True)
class Curve:
    """One quantity over a run: where, (N,), and what, (N,); values that are no finite number are kept as they are."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class RunCurves:
    """What a run's log says, as curves by name: train, valid, accuracy, alpha, gradient_norm, speed; those it has.

    `unit` is what one symbol is (for a classifier, label; None where it is not known), `dictionary_size` is D, `valid`
    the digest of the text that it was validated on, where these are known. `setbacks` are the places where a loss was
    no number and training went back.
    """

    name: str
    folder: str
    unit: str | None
    dictionary_size: int | None
    valid: str | None
    curves: dict[str, Curve]
    setbacks: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class RunComparison:
    """Runs on one axis `x` (symbols, updates or seconds), losses in one `measure`, and what was found on the way."""

    x: str
    measure: str
    unit: str | None
    runs: list[RunCurves]
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Run:
    name: str
    folder: Path
    unit: str | None
    size: int | None
    valid: str | None
    entries: list[Entry]
    cut: bool = False


def read_runs(folders: Sequence[str | Path], *, x: str | None = None, measure: str | None = None) -> RunComparison:
    """Read the logs of runs.

    Parameters
    ----------
    x
        "symbols" (that were trained on), "updates" or "seconds"; by default symbols, where all runs logged them.
    measure
        of losses: "perplexity", "bits" or "nats" a symbol; by default what is usual for the unit.

    Raises
    ------
    ModelError
        for a folder without a log, and a log that no run wrote.
    UsageError
        for runs of different units, or an axis that a run does not know.
    """
    runs = [_read(Path(folder)) for folder in folders]
    names = [run.name for run in runs]
    units = {run.unit for run in runs}
    if len(units) > 1:
        first = runs[0]
        other = next(run for run in runs if run.unit != first.unit)
        raise UsageError(
            f"{first.folder} is of {_plural(first.unit)} and {other.folder} of {_plural(other.unit)}: a loss of one "
            "says nothing beside a loss of the other",
            hint="plot them apart",
        )
    unit = runs[0].unit
    measure = measure or USUAL.get(unit or "", "nats")
    x = x or ("symbols" if all(_knows(run, "symbols") for run in runs) else "updates")
    curves = [
        _curves(run, run.name if names.count(run.name) == 1 else str(run.folder), x=x, measure=measure) for run in runs
    ]
    return RunComparison(x, measure, unit, curves, _notes(runs))


def scaled(loss: float, measure: str) -> float:
    """Return a loss in nats as a perplexity (infinite where no float can hold it), in bits, or as it is.

    >>> scaled(math.log(8), "bits")
    3.0
    """
    if measure == "bits":
        return loss / math.log(2)
    if measure == "perplexity":
        return math.exp(loss) if loss < 700 else math.inf
    return loss


def _plural(unit: str | None) -> str:
    return {None: "an unknown unit", "bpe": "subwords"}.get(unit, f"{unit}s")


def _notes(runs: Sequence[_Run]) -> list[str]:
    notes = [
        f"the last line of {run.folder / LOG} is cut short and was left out: it was being written, or the run crashed"
        for run in runs
        if run.cut
    ]
    sizes = {run.size for run in runs if run.size is not None and run.unit != "label"}
    if len(sizes) > 1:
        notes.append(
            f"the runs have dictionaries of {' and '.join(f'{size:,}' for size in sorted(sizes))} symbols: with fewer, "
            "more is left out, and what is left is easier"
        )
    if len({run.valid for run in runs if run.valid}) > 1:
        notes.append("the runs were not validated on the same data: their validation losses cannot be compared")
    return notes


def _read(folder: Path) -> _Run:
    config, card = _json(folder / "config.json"), _json(folder / "card.json")
    valid = card.get("valid")
    digest = (valid.get("sha256") or valid.get("digest")) if isinstance(valid, dict) else None
    if valid is not None and isinstance(valid, dict) and "lines" in valid and digest:
        digest = f"{digest} {valid['lines']}"
    name = folder.name or str(folder.absolute().name)
    if config.get("task") == "classify" and not (folder / LOG).exists():
        return _Run(name, folder, "label", None, digest, _history(folder, card))
    entries, cut = read_log(folder)
    return _Run(name, folder, _unit(config), _whole(config.get("vocab_size")), digest, entries, cut)


def _unit(config: Entry) -> str | None:
    if config.get("task") == "dna":
        return "base"
    text = config.get("text")
    unit = text.get("unit") if isinstance(text, dict) else None
    return unit if isinstance(unit, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _json(path: Path) -> Entry:
    """Read what else is known of a run; it only says how to show the log, so that a damaged file is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _history(folder: Path, card: Entry) -> list[Entry]:
    """Return the epochs of a classifier as lines of a log; their updates from the whole number of them."""
    try:
        fitted = card["result"]["recurrent"]
        history, updates = fitted["history"], int(fitted["updates"])
        return [
            entry | {"update": round(updates * number / len(history))} for number, entry in enumerate(history, start=1)
        ]
    except (KeyError, TypeError, ValueError) as error:
        hint = "its card.json does not say how training went; train it again"
        raise ModelError(f"{folder} is of a classifier, and holds no curve", hint=hint) from error


def _knows(run: _Run, x: str) -> bool:
    key = {"updates": "update"}.get(x, x)
    return all(key in entry for entry in run.entries if _measured(entry))


def _measured(entry: Entry) -> bool:
    return any(name in entry for name in ("loss", "train_loss", "valid_loss"))


def _curves(run: _Run, name: str, *, x: str, measure: str) -> RunCurves:
    if not _knows(run, x):
        known = [axis for axis in AXES if _knows(run, axis)]
        why = "a classifier's card" if run.unit == "label" else "its log, of an older version of elman,"
        raise UsageError(f"{run.folder}: {why} does not say {x}", hint=f"choose --x {' or '.join(known)}")
    key = {"updates": "update"}.get(x, x)
    try:
        entries = [entry | {"x": float(entry[key])} for entry in run.entries if _measured(entry)]
        curves = {"train": _training(run, entries), "valid": _curve(entries, "valid_loss")}
        curves = {kind: Curve(c.x, [scaled(y, measure) for y in c.y]) for kind, c in curves.items()}
        for kind, field_ in (
            ("accuracy", "valid_accuracy"),
            ("alpha", "alpha"),
            ("gradient_norm", "gradient_norm"),
            ("speed", "symbols_per_second"),
        ):
            curves[kind] = _curve(entries, field_)
    except (TypeError, ValueError) as error:
        hint = "it was written by another program, or another version of elman"
        raise ModelError(f"{run.folder / LOG} holds what is no number: {error}", hint=hint) from error
    curves = {kind: curve for kind, curve in curves.items() if curve.x}
    if not curves:
        raise ModelError(
            f"{run.folder / LOG} holds no loss yet", hint="a line is written every learn.log_every updates"
        )
    setbacks = [float(entry[key]) for entry in run.entries if "setback" in entry and key in entry]
    return RunCurves(name, str(run.folder), run.unit, run.size, run.valid, curves, setbacks)


def _curve(entries: Sequence[Entry], name: str) -> Curve:
    chosen = [entry for entry in entries if name in entry]
    return Curve([entry["x"] for entry in chosen], [float(entry[name]) for entry in chosen])


def _training(run: _Run, entries: Sequence[Entry]) -> Curve:
    """Return the mean loss, in nats, from one line to the next.

    m(1) n(1) is the sum over the first n(1) symbols of an epoch, so the mean over the rest of n(2) is
    ( m(2) n(2) - m(1) n(1) ) / ( n(2) - n(1) ). Older logs know no symbols: there n counts updates, which are nearly
    all of the same size.
    """
    if run.unit == "label":
        return _curve(entries, "train_loss")
    key = "symbols" if _knows(run, "symbols") else "update"
    curve, begun, reached, total, before = Curve([], []), 0.0, 0.0, 0.0, 0.0
    for entry in entries:
        mean = entry.get("loss", entry.get("train_loss"))
        if mean is None:
            continue
        amount, ends = float(entry[key]), "train_loss" in entry
        piece, now = amount - reached, float(mean) * (amount - begun)
        if piece > 0 and not (ends and piece < LEAST * before):
            curve.x.append(entry["x"])
            curve.y.append((now - total) / piece)
        if piece > 0:
            before = piece
        reached, total = amount, now
        if ends:
            begun, total = amount, 0.0
    return curve
