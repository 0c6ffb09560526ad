"""The demo tells the whole story; here with a net that has hardly learnt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elman.apply import demo
from elman.config import Settings, build, read_recipe

from .commandline import Elman, Texts


@pytest.fixture(autouse=True)
def hardly_trained(texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(seed: int, threads: int | None) -> Settings:
        small = {"network.hidden": 8, "learn.max_updates": 3, "learn.threads": 1, "learn.precision": "fp32"}
        return build(read_recipe("demo"), small, {"learn.seed": seed})

    monkeypatch.setattr(demo, "demo_settings", settings)


def test_the_demo_fills_the_blank_and_can_be_run_again(elman: Elman, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    result = elman("demo", "--out", out)
    assert result.code == 0, result.err
    perplexity, blank, *_ = [line for line in result.out.splitlines() if line]
    assert "Held-out perplexity" in perplexity and "word frequencies alone" in perplexity
    assert blank == "Can you pick up milk at the ___"
    bars = [line for line in result.out.splitlines() if "█" in line]
    assert len(bars) == 10 and "<unk>" not in result.out
    assert f"elman predict {out}" in result.out
    assert elman("predict", out, "it was a").code == 0
    values = json.loads(elman("demo", "--out", out, "--json").out)
    assert len(values["next"]) == 10 and len(values["sentences"]) == 3
    assert 1 < values["unigram_perplexity"] < values["evaluation"]["tokens"]


def test_the_demo_touches_nothing_else(elman: Elman, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")  # of a run that was cut short, say
    result = elman("demo", "--out", tmp_path)
    assert result.code == 1 and "not a demo" in result.sentence
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
