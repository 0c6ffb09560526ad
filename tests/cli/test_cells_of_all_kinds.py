"""Every cell is trained, resumed, evaluated, stepped and scored by the same commands; so is one of somebody's own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elman.network.cells import CELLS

from .commandline import TINY, Elman, Texts

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_trained_and_put_to_work_by_the_same_commands(
    name: str, elman: Elman, texts: Texts, tmp_path: Path
) -> None:
    out = tmp_path / "model"
    more = [
        ("bias", "true"),
        ("dropout", 0.1),
        ("weight_dropout", 0.1),
        ("embedding", 7),
        ("context", 3),
        ("layers", 2),
    ]
    pairs = [word for key, value in more for word in ("--set", f"{key}={value}")]
    command = ["train", texts.train, "--valid", texts.valid, "--out", out, *TINY, "--cell", name, *pairs]
    command += ["--optimizer", "adam", "--alpha", "0.02"]
    assert elman(*command, "--json").code == 0
    card = json.loads((out / "card.json").read_text())
    result = elman("evaluate", out, texts.valid, "--json", "--batch", "4")
    assert result.code == 0
    perplexity = json.loads(result.out)["perplexity"]
    assert perplexity == pytest.approx(card["result"]["valid_perplexity"], rel=0.02)
    assert 1 < perplexity < 30
    running = json.loads(elman("evaluate", out, texts.valid, "--json").out)["logprob10"]
    lines = elman("score", out, texts.valid, "--json", "--regime", "running", "--base", "10").out.splitlines()
    assert sum(json.loads(line)["logprob"] for line in lines) == pytest.approx(running, rel=1e-4)
    assert elman("generate", out, "--seed", "1", "--tokens", "5").code == 0
    assert elman("predict", out, "the cat").code == 0
    assert name in elman("info", out).out


def test_the_cell_of_the_docs_is_trained_and_used(texts: Texts, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (DOCS / "cells.md").read_text(), re.DOTALL)
    assert code is not None and "class" in code[1]
    (tmp_path / "mycell.py").write_text(code[1])

    def elman(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "elman", *map(str, arguments)]
        given = {"PATH": "/usr/bin", "ELMAN_CACHE": str(tmp_path / "cache"), **environment}
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=given, check=False)

    name = "mycell:Leaky"
    trained = elman("train", texts.train, "--valid", texts.valid, "--out", "model", *TINY, "--cell", name)
    assert trained.returncode == 0, trained.stderr
    refused = elman("evaluate", "model", texts.valid)
    assert (
        refused.returncode == 1 and "ELMAN_CELLS=mycell:Leaky" in refused.stderr and "Traceback" not in refused.stderr
    )
    used = elman("evaluate", "model", texts.valid, "--json", ELMAN_CELLS=name)
    assert used.returncode == 0, used.stderr
    assert 1 < json.loads(used.stdout)["perplexity"] < 40


def test_a_cell_that_is_none_is_one_clear_sentence(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    for name, part in [
        ("lstn", "there is no cell 'lstn'"),
        ("nosuch:Cell", "cannot be had"),
        ("json:loads", "is no cell"),
    ]:
        result = elman("train", texts.train, "--out", tmp_path / "m", "--cell", name)
        assert result.code == 2 and part in result.sentence
