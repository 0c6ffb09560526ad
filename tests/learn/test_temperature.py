"""The temperature of the softmax: found on validation, folded into V, said in the card."""

import random
from pathlib import Path

import pytest
import torch

from elman.config import NetworkSettings, build, parse_pairs
from elman.errors import UsageError
from elman.learn.measure import measure
from elman.learn.run import resolve, train_model
from elman.learn.temperature import best_temperature, curve, fold
from elman.network.folder import load_model, load_tensors
from elman.network.model import RecurrentNetwork
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource


def a_network(**shape: object) -> RecurrentNetwork:
    network = RecurrentNetwork(12, NetworkSettings(hidden=5, **shape))
    network.initialize(torch.Generator().manual_seed(1))
    return network


def sampled(network: RecurrentNetwork, temperature: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """States, and targets drawn from the network at a temperature: the one that suits them best, but for chance."""
    generator = torch.Generator().manual_seed(2)
    states = 10 * torch.randn(count, 5, generator=generator)
    y = torch.softmax(network.output.logits(states, network.encoder.U) / temperature, dim=1)
    return states, torch.multinomial(y, 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_where_the_loss_is_least(temperature: float) -> None:
    network = a_network(bias=True)
    states, targets = sampled(network, temperature)
    found = best_temperature(network, states, targets)
    assert found == pytest.approx(temperature, rel=0.08)
    losses = [curve(network, states, targets, 1 / (found * factor)).loss for factor in (0.97, 1.0, 1.03)]
    assert losses[1] == min(losses)


def test_the_curve_is_cross_entropy_and_its_derivatives() -> None:
    network = a_network(bias=True).double()
    states, targets = sampled(network.float(), 1.0, 3000)
    network, states = network.double(), states.double()
    b = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    logits = network.output.logits(states, network.encoder.U).detach()
    loss = torch.nn.functional.cross_entropy(b * logits, targets)
    (slope,) = torch.autograd.grad(loss, b, create_graph=True)
    (bend,) = torch.autograd.grad(slope, b)
    found = curve(network, states, targets, 0.7)
    assert (found.loss, found.slope, found.bend) == pytest.approx(tuple(float(x.detach()) for x in (loss, slope, bend)))


def test_folding_divides_the_logits_with_their_bias() -> None:
    network = a_network(bias=True)
    network.output.bias.data.uniform_(-1, 1)
    states = torch.randn(3, 5)
    before = network.output.logits(states, network.encoder.U)
    fold(network, 2.5)
    torch.testing.assert_close(network.output.logits(states, network.encoder.U), before / 2.5)


@pytest.mark.parametrize("wrong", ["tied=true", "output=class", "output=adaptive"])
def test_it_is_refused_where_v_alone_is_not_the_logits(wrong: str) -> None:
    with pytest.raises(UsageError, match="tune_temperature cannot be had"):
        resolve(build(parse_pairs(["tune_temperature=true", wrong])))


def test_training_folds_it_in_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A net that learns chance by heart is too sure of itself."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "finds", "a", "bird"]
    for name, sentences in (("train", 60), ("valid", 40)):
        lines = ("".join(f"{draw.choice(words)} " for _ in range(draw.randint(1, 6))) for _ in range(sentences))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    common = ["hidden=20", "threads=1", "batch=2", "bptt=6", "optimizer=adam", "alpha=0.02", "max_updates=400"]
    results, models = [], []
    for tune in ("false", "true"):
        pairs = [*common, "epochs=30", "schedule=constant", "patience=1000", f"tune_temperature={tune}"]
        settings = build(parse_pairs(pairs))
        model = train_model(tmp_path / "train.txt", tmp_path / tune, settings, valid=tmp_path / "valid.txt")
        results.append(model.card["result"])
        models.append(load_tensors(tmp_path / tune / "model.safetensors"))
    temperature = results[1]["temperature"]
    assert "temperature" not in results[0]
    assert temperature != 1.0
    torch.testing.assert_close(models[1]["output.V"] * temperature, models[0]["output.V"])
    assert results[1]["valid_loss"] < results[0]["valid_loss"]
    loaded = load_model(tmp_path / "true")
    corpus = build_corpus(TextSource(tmp_path / "valid.txt"), loaded.tokenizer)
    found = measure(loaded.network, corpus, loaded.tokenizer, batch=2).entropy
    assert found == pytest.approx(results[1]["valid_loss"], rel=1e-5)
