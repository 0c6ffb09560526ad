"""Numbers that others published, reached again. They take minutes: `scripts/test --slow`."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from elman.config import build, read_recipe
from elman.learn.run import train_model

SHARED = Path(__file__).parents[2] / "shared" / "data"


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/data/{name}, which is not here")
    return path


@pytest.mark.slow
def test_mikolovs_example_reaches_the_entropy_of_his_log(tmp_path: Path) -> None:
    folder = shared("rnnlm_example")
    model = train_model(
        folder / "rnnlm-0.2b.train",
        tmp_path / "model",
        build(read_recipe("mikolov2010-online")),
        valid=folder / "rnnlm-0.2b.valid",
    )
    valid = model.card["valid"]
    assert (valid["sentences"], valid["symbols"] - valid["sentences"], valid["oovs"]) == (999, 6091, 262)
    assert model.card["result"]["valid_loss"] / math.log(2) <= 6.19  # `VALID entropy: 6.1869`, after 11 epochs


FULL_SIZE = """
import json, resource, sys
from pathlib import Path
from elman.config import build, read_recipe
from elman.learn.run import train_model
from elman.learn.progress import Listener

class Losses(Listener):
    total = 0.0
    losses = []
    def on_update(self, progress, per_epoch, loss, per_second):
        self.losses.append(progress.epoch_loss - self.total)
        self.total = progress.epoch_loss

listener = Losses()
train, valid, out = sys.argv[1:]
plain = {"network.embedding": None, "network.tied": False, "network.bias": False, "network.output": "full"}
start = {"network.init_range": 2.5, "network.recurrent_scale": 0.004, "network.output_scale": 0.008}
rates = {"learn.alpha": 1e-4, "learn.batch": 64, "learn.noise": 0.0, "learn.max_updates": 12}
settings = build(read_recipe("notes-full"), {**plain, **start, **rates})
card = train_model(train, Path(out), settings, valid=valid, listener=listener).card
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"losses": listener.losses, "peak": peak, "parameters": card["parameters"]}))
"""


@pytest.mark.slow
def test_the_full_size_network_learns_in_under_6_gb(tmp_path: Path) -> None:
    folder = shared("ptb")
    valid = tmp_path / "valid.txt"
    valid.write_text("".join((folder / "ptb.valid.txt").read_text().splitlines(keepends=True)[:50]))
    command = [sys.executable, "-c", FULL_SIZE, str(folder / "ptb.train.txt"), str(valid), str(tmp_path / "model")]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert result["parameters"] == 2 * 10_000 * 5_000 + 5_000 * 5_000
    assert result["losses"][-1] < result["losses"][0]
    assert result["peak"] < 6e9
