"""The log of a run, log.jsonl: one JSON object a line, of updates, epochs, and what went wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from elman.errors import ModelError, OutputError
from elman.files import write_text

LOG = "log.jsonl"
Entry = dict[str, Any]


class Writer(Protocol):
    """Who else is told what the log is told."""

    def cut(self, update: int, sent: int) -> None:
        """Hear, at the beginning and wherever training goes back, that updates after `update` are still to come.

        What an earlier run wrote goes as far as `sent`. A run that is resumed says what came after `update` again, bit
        for bit; one that went back, at a loss that was no number, does not.
        """

    def add(self, entry: Entry) -> None:
        """Hear a line."""


class Log:
    """The log in a run's folder, and those who are told the same."""

    def __init__(self, folder: Path, writers: Sequence[Writer] = ()) -> None:
        self.path = folder / LOG
        self.writers = writers

    def add(self, entry: Entry) -> None:
        """Write one more line."""
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from error
        for writer in self.writers:
            writer.add(entry)

    def cut(self, update: int, *, setback: bool = True) -> None:
        """Drop what the log says of updates after `update`: they will be made again.

        `setback` says whether a line on how training went back stays; it belongs to the checkpoint that knows of it.
        """
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        entries = [(line, entry) for line in lines if (entry := _entry(line)) is not None]
        kept = [
            line for line, entry in entries if entry.get("update", 0) <= update and (setback or "setback" not in entry)
        ]
        write_text(self.path, "".join(line + "\n" for line in kept))
        sent = max((entry.get("update", 0) for _, entry in entries), default=0)
        for writer in self.writers:
            writer.cut(update, max(update, sent))


def read_log(folder: Path) -> tuple[list[Entry], bool]:
    """Return the lines of a run's log, and whether the last was cut short: by a crash, or as the run is at work.

    Raises
    ------
    ModelError
        for what is no folder of a run, a log that is empty, or a line that no run wrote; with the number of the line.
    """
    path = folder / LOG
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is no log: it is not UTF-8", hint="the file is damaged") from error
    except FileNotFoundError as error:
        what = f"{folder} has no {LOG}" if folder.is_dir() else f"{folder} does not exist"
        raise ModelError(what, hint="give a folder that elman train made with --out") from error
    except OSError as error:
        what = f"{path} cannot be read: {error.strerror or error}" if folder.is_dir() else f"{folder} is not a folder"
        raise ModelError(what, hint="give a folder that elman train made with --out") from error
    lines = text.splitlines()
    cut = bool(lines) and _entry(lines[-1]) is None and not text.endswith("\n")
    entries = []
    for number, line in enumerate(lines[:-1] if cut else lines, start=1):
        entry = _entry(line)
        if entry is None:
            raise ModelError(f"{path}, line {number} is no JSON object: {line[:60]!r}", hint="the file is damaged")
        if not _is_number(entry.get("update")):
            hint = "it was written by another program, or another version of elman"
            raise ModelError(f"{path}, line {number} does not say after which update it was written", hint=hint)
        entries.append(entry)
    if not entries:
        raise ModelError(f"{path} holds no line yet", hint="a line is written every learn.log_every updates")
    return entries, cut


def numbers(entry: Entry) -> dict[str, float]:
    """Return what of a line is a number: not its texts, nor what is true or false."""
    return {name: value for name, value in entry.items() if _is_number(value)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _entry(line: str) -> Entry | None:
    """Read a line of the log; a line that a crash cut short is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) else None
