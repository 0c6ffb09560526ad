"""A dictionary of a million words, in the memory that a laptop has: `scripts/test --slow`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from elman.apply.bench.texts import TEXT, WORDS, written

D = 1_000_000
ROOM = 8e9
"""Bytes. U and V alone are 4.1 GB; peak memory was 6.9 GB when this was written."""

SHAPE = ["--hidden", "512", "--activation", "tanh", "--batch", "32", "--bptt", "20", "--threads", "2"]
LEARNING = [
    "--optimizer",
    "sgd",
    "--alpha",
    "0.01",
    "--epochs",
    "1",
    "--set",
    "output=sampled",
    "--set",
    "init_range=0.04",
]
SHORT = ["--set", "max_updates=600", "--set", "log_every=300", "--set", "checkpoint_every=0", "--quiet"]

# The child starts the training and says what it took, so that other tests' children are not counted.
PEAK = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "elman", *sys.argv[1:]]).returncode
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX only")
def test_a_million_words_train_in_8_gb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    with written(D, 400_000, seed=1) as folder:
        valid = tmp_path / "valid.txt"  # short: a word's distribution takes a GFLOP
        valid.write_text("".join((folder / TEXT).read_text("utf-8").splitlines(keepends=True)[:20]), encoding="utf-8")
        command = [
            "train",
            str(folder / TEXT),
            "--valid",
            str(valid),
            "--out",
            str(tmp_path / "model"),
            *SHAPE,
            *LEARNING,
            *SHORT,
        ]
        dictionary = ["--set", f"text.vocabulary={folder / WORDS}"]
        child = [sys.executable, "-c", PEAK, *command, *dictionary]
        result = subprocess.run(child, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    peak = int(result.stderr.split()[-1])
    config = json.loads((tmp_path / "model" / "config.json").read_text("utf-8"))
    entries = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text("utf-8").splitlines()]
    for path in (tmp_path / "model").iterdir():
        path.unlink()  # gigabytes
    print(f"peak memory {peak / 1e9:.2f} GB, loss {[round(entry.get('loss', 0.0), 2) for entry in entries]}")
    assert config["vocab_size"] == D
    assert peak < ROOM
    assert entries[-1]["train_loss"] < math.log(D) - 1
