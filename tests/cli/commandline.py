"""What a command leaves behind, and a text to give it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TINY = ["--hidden", "8", "--batch", "4", "--bptt", "5", "--threads", "1", "--epochs", "2", "--quiet"]


@dataclass
class Texts:
    """The paths of a training text and a validation text."""

    train: str
    valid: str


@dataclass
class Result:
    """What a command left: its exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of complaint on stderr, its hint (if any) on a second."""
        lines = self.err.splitlines()
        assert "Traceback" not in self.err
        assert lines and lines[0].startswith("elman: "), self.err
        assert len(lines) == 1 or (len(lines) == 2 and lines[1].startswith("  hint: ")), self.err
        return lines[0]


Elman = Callable[..., Result]


def write_text(path: Path, count: int, seed: int) -> str:
    """Sentences of a tiny grammar."""
    draw = random.Random(seed)
    nouns, verbs = ["cat", "dog", "bird", "child"], ["sees", "finds", "wants"]
    lines = (f"the {draw.choice(nouns)} {draw.choice(verbs)} a {draw.choice(nouns)}\n" for _ in range(count))
    path.write_text("".join(lines))
    return str(path)
