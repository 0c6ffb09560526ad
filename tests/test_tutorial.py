"""The tutorial does what it says: its blocks run in order, and print what stands below them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


class Block(NamedTuple):
    """A piece of code, the line where it stands, and the output that the page shows below it."""

    language: str
    code: str
    shown: str | None
    line: int


def blocks() -> list[Block]:
    page = PAGE.read_text("utf-8")
    return [Block(m[1], m[2], m[3], page.count("\n", 0, m.start()) + 2) for m in BLOCK.finditer(page)]


def run(block: Block, names: dict[str, Any], folder: Path) -> str:
    """Run a block in a folder, where the process must be already, and return what it prints on stdout."""
    if block.language == "sh":
        done = subprocess.run(["bash", "-ec", block.code], cwd=folder, env=environment(folder), **CAPTURED)
        assert done.returncode == 0, f"line {block.line}: {done.stderr}"
        return str(done.stdout)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile("\n" * (block.line - 1) + block.code, str(PAGE), "exec"), names)
    return out.getvalue()


CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "encoding": "utf-8"}


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which `elman` is this source tree, under this Python."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "elman").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m elman "$@"\n')
    (programs / "elman").chmod(0o755)
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    same = {"PYTHONPATH": path, "PYTHONUTF8": "1", "COLUMNS": "100", "NO_COLOR": "1"}
    return {**os.environ, **same, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def alike(shown: str, printed: str) -> float:
    """Return the share of lines that say the same: words alike, and numbers within 5 % or 0.02.

    Trainings on another processor round otherwise; bars, made of numbers, may be a bit longer.

    >>> alike("a 1.00\\nb 2", "a 1.03\\nc 2")
    0.5
    """
    pairs = list(zip(shown.splitlines(), printed.splitlines(), strict=False))
    longest = max(len(shown.splitlines()), len(printed.splitlines()))
    return sum(_same_line(left, right) for left, right in pairs) / longest if longest else 1.0


def _same_line(shown: str, printed: str) -> bool:
    left, right = ([float(n) for n in NUMBER.findall(line)] for line in (shown, printed))
    words = [re.sub(r"[█▉▊▋▌▍▎▏\s]", "", NUMBER.sub("#", line)) for line in (shown, printed)]
    near = all(abs(a - b) <= max(0.02 * (abs(a) > 0.2), 0.05 * abs(a)) for a, b in zip(left, right, strict=False))
    return words[0] == words[1] and near


def has_matplotlib() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def test_all_of_the_tutorial_runs_and_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "tutorial"}
    found = blocks()
    assert len([block for block in found if block.shown]) >= 15
    for block in found:
        if "import matplotlib" in block.code and not has_matplotlib():
            continue
        printed = run(block, names, tmp_path)
        if block.shown is None:
            assert block.language == "sh" or not printed, f"line {block.line} prints what the page does not show"
            continue
        trained = block.language == "sh" or "fading(" in block.code
        least = 0.8 if trained else 1.0
        assert alike(block.shown, printed) >= least, f"line {block.line} now prints:\n{printed}"


def test_a_line_that_says_something_else_is_not_alike() -> None:
    assert alike("store 0.104\n", "store 0.104\n") == 1
    assert alike("store 0.104\n", "store 0.124\n") == 0
    assert alike("store 0.104\n", "shop 0.104\n") == 0
    assert alike("store 0.104\n", "") == 0


def test_every_block_of_code_of_the_tutorial_is_run() -> None:
    opened = re.findall(r"^```(\w+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len([name for name in opened if name != "text"]) == len(blocks())
