"""The log of a run, log.jsonl: one JSON object a line, of updates, epochs, and what went wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from elman.errors import OutputError
from elman.files import write_text

LOG = "log.jsonl"


class Log:
    """The log in a run's folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def add(self, entry: dict[str, Any]) -> None:
        """Write one more line."""
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def cut(self, update: int, *, setback: bool = True) -> None:
        """Drop what the log says of updates after `update`: they will be made again.

        `setback` says whether a line on how training went back stays; it belongs to the checkpoint that knows of it.
        """
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        kept = [
            line
            for line in lines
            if (entry := _entry(line)) is not None
            and entry.get("update", 0) <= update
            and (setback or "setback" not in entry)
        ]
        write_text(self.path, "".join(line + "\n" for line in kept))


def _entry(line: str) -> dict[str, Any] | None:
    """Read a line of the log; a line that a crash cut short is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
