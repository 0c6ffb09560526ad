"""Write docs/cli.md from the program's own help: python docs/make_cli.py."""

import contextlib
import io
import os
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


def page() -> str:
    """Return the whole page."""
    commands = typer.main.get_command(app).commands
    parts = [f"## elman {name}\n\n```text\n{help_of(name)}\n```\n" for name in commands]
    return "\n".join([HEAD, f"```text\n{help_of()}\n```\n", *parts])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
