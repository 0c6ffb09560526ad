"""Write docs/cli.md from the program's own help: python docs/make_cli.py."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import typer

from elman.cli.main import app, run

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
<!-- made by docs/make_cli.py; do not edit -->

# Commands

What `elman COMMAND --help` says. Answers go to standard output, remarks and progress to standard error; with `--json`
the answer is JSON. [Exit codes](errors.md) are 0, 1 for a failure, 2 for wrong usage, 130 for an interrupt.
"""


def help_of(*arguments: str) -> str:
    """Return what the program says to `--help`, 100 columns wide."""
    text = io.StringIO()
    with patch.dict(os.environ, COLUMNS="100"), contextlib.redirect_stdout(text):
        run([*arguments, "--help"])
    return "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())


def names_of(group, *before: str) -> Iterator[tuple[str, ...]]:
    """Give the names of all commands, those of a group after its own."""
    for name, command in group.commands.items():
        yield (*before, name)
        if hasattr(command, "commands"):
            yield from names_of(command, *before, name)


def page() -> str:
    """Return the whole page."""
    parts = [
        f"## elman {' '.join(names)}\n\n```text\n{help_of(*names)}\n```\n"
        for names in names_of(typer.main.get_command(app))
    ]
    return "\n".join([HEAD, f"```text\n{help_of()}\n```\n", *parts])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
