"""On a GPU the same commands do the same: they agree with the CPU, go on bit for bit, and wait for nothing."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.cli.main import run
from elman.config import build, parse_pairs
from elman.errors import Interrupted
from elman.learn.optimizers import OPTIMIZERS
from elman.learn.run import train_model
from elman.learn.steps import WindowSteps
from elman.network.cells import CELLS
from elman.network.folder import load_tensors
from elman.network.model import RecurrentNetwork
from elman.network.outputs import OUTPUTS
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.tokenizers import train_tokenizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SMALL = ["hidden=16", "epochs=3", "batch=4", "bptt=5", "negatives=5", "seed=3", "precision=fp32"]
LAYERS = [f"output={name}" for name in OUTPUTS]
WAYS = [
    *([layer, f"optimizer={name}", "beta=1e-5"] for layer in LAYERS for name in OPTIMIZERS),
    ["output=full", "regime=sentences", "clip=1", "activation=tanh"],
    ["output=full", "bias=true", "tied=true", "layers=2", "activation=relu", "alpha=0.1", "clip=1"],
    *([f"cell={name}", "output=full", "optimizer=adam", "bias=true"] for name in CELLS),
    ["output=sampled", "tied=true", "optimizer=sgd", "beta=1e-4", "beta_follows=true"],
]
names = pytest.mark.parametrize("way", WAYS, ids=" ".join)


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, nouns = random.Random(1), ["cat", "dog", "bird", "child", "fish", "horse"]
    for name, count in (("train", 200), ("valid", 40)):
        lines = (
            f"the {draw.choice(nouns)} {draw.choice(['sees', 'finds'])} a {draw.choice(nouns)}\n" for _ in range(count)
        )
        (tmp_path / f"{name}.txt").write_text("".join(lines))
    return tmp_path / "train.txt", tmp_path / "valid.txt"


def settings(*pairs: str, device: str = "cuda") -> Any:
    return build(parse_pairs([*SMALL, *pairs, f"device={device}"]))


def steps_on(device: str, train: Path, way: list[str]) -> tuple[WindowSteps, RecurrentNetwork]:
    """Return the updates of a network that begins with the same weights on every device."""
    chosen = settings("alpha=0.05", *way, device=device)
    source = TextSource(train)
    tokenizer = train_tokenizer(source, chosen.text)
    network = RecurrentNetwork(tokenizer.size, chosen.network)
    network.initialize(torch.Generator().manual_seed(1))
    network.to(device)
    learn = chosen.learn
    optimizer = OPTIMIZERS[learn.optimizer](network.named_parameters(), beta=learn.beta)
    return WindowSteps(network, optimizer, build_corpus(source, tokenizer), tokenizer, learn), network


@names
def test_losses_and_weights_agree_with_the_cpu(way: list[str], texts: tuple[Path, Path]) -> None:
    """A sampled softmax draws other symbols on another device: it is compared where it reads the whole dictionary."""
    whole = ["full_from=0"] if "output=sampled" in way else []
    losses, weights, moved = [], [], {}
    for device in ("cpu", "cuda"):
        steps, network = steps_on(device, texts[0], [*way, *whole])
        before = {name: weight.detach().cpu().clone() for name, weight in network.named_parameters()}
        steps.begin(0)
        losses.append([float(steps.update(index, 0.05)[0]) for index in range(4)])
        steps.end()
        weights.append({name: weight.detach().cpu() for name, weight in network.named_parameters()})
        moved = {name: float((weights[-1][name] - weight).norm()) for name, weight in before.items()}
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    for name, weight in weights[0].items():
        assert moved[name] > 0
        assert float((weights[1][name] - weight).norm()) < 0.01 * moved[name], name


@pytest.mark.parametrize(
    "way", [["output=full"], ["output=full", "optimizer=adam", "clip=1", "dropout=0.2"]], ids=" ".join
)
def test_an_update_waits_for_nothing(way: list[str], texts: tuple[Path, Path]) -> None:
    steps, _ = steps_on("cuda", texts[0], [*way, "beta=1e-5", "precision=bf16"])
    steps.begin(0)
    for index in range(5):  # by then the recurrence has become a graph
        steps.update(index, 0.05)
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses = [steps.update(index, 0.05)[0] for index in range(5, 10)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(isinstance(loss, torch.Tensor) and torch.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_model_trained_on_the_gpu_scores_alike_there_and_on_the_cpu(
    layer: str, precision: str, texts: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, valid = str(tmp_path / "model"), str(texts[1])
    pairs = [word for pair in (layer, "negatives=5") for word in ("--set", pair)]
    flags = ["--hidden", "16", "--batch", "4", "--epochs", "3", "--precision", precision, "--optimizer", "adam"]
    flags += ["--alpha", "0.02", "--device", "cuda", "--quiet"]
    assert run(["train", str(texts[0]), "--valid", valid, "--out", model, *flags, *pairs]) == 0
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["machine"]["gpu"]
    perplexities, scores = [], []
    for device in ("cpu", "cuda"):
        capfd.readouterr()
        assert run(["evaluate", model, valid, "--device", device, "--precision", "fp32", "--json"]) == 0
        perplexities.append(json.loads(capfd.readouterr().out)["token_perplexity"])
        assert run(["score", model, valid, "--device", device, "--json"]) == 0
        scores.append([json.loads(line)["logprob"] for line in capfd.readouterr().out.splitlines()])
    assert perplexities[1] == pytest.approx(perplexities[0], rel=1e-3)
    assert perplexities[0] == pytest.approx(card["result"]["valid_perplexity"], rel=0.1)
    assert perplexities[0] < 6  # of 11 symbols; the grammar has about 2.5
    assert len(scores[0]) == 40
    assert scores[1] == pytest.approx(scores[0], rel=1e-3)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "model.safetensors")


@pytest.mark.parametrize("layer", LAYERS)
def test_the_same_seed_gives_the_same_weights_and_a_stopped_run_goes_on_to_them(
    layer: str, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    chosen = settings(layer, "optimizer=adam", "alpha=0.02", "dropout=0.2")
    folders = [tmp_path / name for name in ("first", "second", "cut")]
    for folder in folders[:2]:
        train_model(texts[0], folder, chosen, valid=texts[1])
    calls = iter(range(10**6))
    with pytest.raises(Interrupted):
        train_model(texts[0], folders[2], chosen, valid=texts[1], should_stop=lambda: next(calls) == 9)
    train_model(texts[0], folders[2], chosen, valid=texts[1], resume=True)
    first = weights(folders[0])
    for folder in folders[1:]:
        other = weights(folder)
        assert all(torch.equal(other[name], first[name]) for name in first)


@pytest.mark.slow
def test_a_large_network_trains_many_times_as_fast_as_on_the_cpu(texts: tuple[Path, Path], tmp_path: Path) -> None:
    """A benchmark: prints words/s of both at D = 10,000, H = 1,000, B = 64, bf16 on the GPU."""
    draw = random.Random(1)
    text = tmp_path / "large.txt"
    words = (f"w{int(9_990 * draw.random() ** 3)}" for _ in range(400_000))
    text.write_text("".join(word + (" " if i % 20 else "\n") for i, word in enumerate(words, 1)))
    speeds = {}
    for device, precision, updates in (("cpu", "fp32", 3), ("cuda", "bf16", 100)):
        way = ["output=full", "hidden=1000", "batch=64", "bptt=20", f"precision={precision}"]
        steps, _ = steps_on(device, text, way)
        steps.begin(0)
        float(steps.update(0, 0.05)[0])
        began, symbols, loss = time.perf_counter(), 0, 0.0
        for index in range(1, 1 + updates):
            loss, count = steps.update(index, 0.05)
            symbols += count
        float(loss)
        speeds[device] = symbols / (time.perf_counter() - began)
    print({device: f"{speed:,.0f} words/s" for device, speed in speeds.items()})
    assert speeds["cuda"] > 5 * speeds["cpu"]


def test_the_bench_measures_products_and_training_on_the_gpu(capfd: pytest.CaptureFixture[str]) -> None:
    sizes = ["--hidden", "32", "--dictionary", "200", "--batch", "8,16", "--rounds", "2"]
    assert run(["bench", "--quick", *sizes, "--device", "cuda", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert set(result) == {"where", "plan", "machine", "training"} and result["where"]["device"] != "cpu"
    speeds = {name: row["words_per_second"] for name, row in result["training"]["sizes"][0]["contestants"].items()}
    assert {"elman full", "torch nn.RNN", "torch loop"} <= set(speeds) and min(speeds.values()) > 0
