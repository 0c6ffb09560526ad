"""Every recipe trains, in small: the settings fit together, whatever machine they are meant for."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from elman.apply.evaluate import evaluate
from elman.config import build, read_recipe, read_tuning, recipe_names
from elman.learn.ranges import read_ranges
from elman.learn.run import train_model
from elman.network.folder import load_model

TEXTS = [name for name in recipe_names() if read_recipe(name).get("text.unit") != "dna"]
"""Recipes for texts; that for DNA is tried where DNA is."""


@pytest.mark.parametrize("name", TEXTS)
def test_a_recipe_trains_in_small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    lines = [f"the {who} sees a {what}" for who in ("cat", "dog", "bird") for what in ("fish", "tree", "mouse")] * 6
    text = tmp_path / "text.txt"
    text.write_text("\n".join(lines) + "\n")
    recipe = read_recipe(name)
    sizes = {key: 12 for key in ("network.hidden", "network.last_hidden", "network.embedding") if key in recipe}
    small = {"learn.batch": 3, "learn.bptt": 6, "learn.max_updates": 6, "learn.epochs": 2, "learn.negatives": 4}
    more = {"learn.threads": 1} | ({} if recipe.get("learn.regime") == "online" else small)
    model = train_model(text, tmp_path / "model", build(recipe, sizes, more, {"learn.epochs": 2}), valid=text)
    assert math.isfinite(model.card["result"]["valid_loss"])
    log = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert not any("setback" in entry for entry in log)
    assert 1 < evaluate(load_model(tmp_path / "model"), text).token_perplexity < 60


@pytest.mark.parametrize("name", [name for name in recipe_names() if read_tuning(name)])
def test_what_a_recipe_lets_be_tuned_fits_its_settings(name: str) -> None:
    assert read_ranges(read_tuning(name), name, read_recipe(name))
