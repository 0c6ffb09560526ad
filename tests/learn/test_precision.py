"""Products in bf16 learn as well as products in fp32."""

from __future__ import annotations

import math
import statistics
from importlib.resources import files
from pathlib import Path

import pytest

from elman.config import build, parse_pairs
from elman.learn.run import train_model


@pytest.mark.slow
@pytest.mark.parametrize("output", ["full", "sampled"])
def test_bf16_reaches_the_perplexity_of_fp32(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds each: the means differ by less than the seeds do among themselves, or by less than one percent."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    data = files("elman.data")
    train, valid = tmp_path / "train.txt", tmp_path / "valid.txt"
    lines = (data / "everyday.train.txt").read_text("utf-8").splitlines(keepends=True)
    train.write_text("".join(lines[:12_000]), "utf-8")
    valid.write_text((data / "everyday.valid.txt").read_text("utf-8"), "utf-8")
    given = ["lowercase=true", "split_punctuation=true", "min_count=3", "hidden=128", "activation=tanh", "clip=2"]
    given += ["recurrent_scale=0.3", "recurrent_rate=0.1", "optimizer=adam", "alpha=0.005", "schedule=linear"]
    entropies: dict[str, list[float]] = {}
    for precision in ("fp32", "bf16"):
        for seed in (1, 2, 3):
            settings = build(
                parse_pairs([*given, f"output={output}", f"precision={precision}", f"seed={seed}", "epochs=2"])
            )
            model = train_model(train, tmp_path / f"{precision}-{seed}", settings, valid=valid)
            entropies.setdefault(precision, []).append(math.log(model.card["result"]["valid_perplexity"]))
    apart = abs(statistics.mean(entropies["bf16"]) - statistics.mean(entropies["fp32"]))
    assert apart < max(0.01, statistics.stdev(entropies["fp32"]))
