"""Where numbers stop being numbers, the message names the part; training goes back once, with a smaller alpha."""

import json
import math
import random
import re
from pathlib import Path

import pytest
import torch

from elman.config import NetworkSettings, build, parse_pairs
from elman.errors import TrainingError
from elman.learn.checkpoint import GOOD
from elman.learn.nonsense import bad_gradients, bad_part, bad_weights
from elman.learn.optimizers import SGD
from elman.learn.progress import Listener
from elman.learn.run import train_model
from elman.learn.steps import WindowSteps
from elman.network.folder import load_model
from elman.network.model import RecurrentNetwork
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.tokenizers import train_tokenizer

SYMBOLS = torch.tensor([[1, 2], [3, 4], [5, 6]])


def network_of(**shape: object) -> RecurrentNetwork:
    network = RecurrentNetwork(9, NetworkSettings(hidden=4, layers=2, **shape))
    network.initialize(torch.Generator().manual_seed(1))
    return network


@torch.no_grad()
def spoil(network: RecurrentNetwork, part: str) -> None:
    if part == "drive":
        network.encoder.U.fill_(3e38)
        network.between[0].fill_(3e38)
    elif part == "states":
        network.encoder.U.fill_(1.0)
        network.cells[0].W.fill_(1e30)
    else:
        network.output.V.fill_(3e38)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("drive", "what layer 2 is given"),
        ("states", r"the states of layer 1 grew without bound.*largest weight is 1e\+30, in W"),
        ("logits", r"the logits.*3e\+38, in output.V"),
    ],
)
def test_the_first_part_that_is_no_number_is_named(part: str, said: str) -> None:
    network = network_of(activation="relu" if part == "states" else "tanh")
    spoil(network, part)
    if part == "drive":
        network.cells[0].W.data.zero_()
    before = dict(vars(network.cells[0]))
    found = bad_part(network, network.initial_state(2), SYMBOLS)
    assert found is not None
    assert re.search(said, found.what), found.what
    assert "--" in found.hint or "learn." in found.hint
    assert vars(network.cells[0]).keys() == before.keys()
    assert bad_weights(network.named_parameters()) is None


def test_weights_and_gradients_are_named() -> None:
    network = network_of()
    assert bad_gradients(network.named_parameters()) is None
    network.cells[1].W.data[0, 0] = math.inf
    assert "cells.1.W held" in bad_weights(network.named_parameters()).what
    _, loss = network.loss(network.initial_state(2), SYMBOLS, SYMBOLS, sparse=True)
    (loss * math.nan).backward()
    assert "encoder.U" in bad_gradients(network.named_parameters()).what


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "finds", "a"]
    for name, sentences in (("train", 150), ("valid", 30)):
        lines = ("".join(f"{draw.choice(words)} " for _ in range(draw.randint(1, 6))) for _ in range(sentences))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.txt", tmp_path / "valid.txt"


class Told(Listener):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def on_setback(self, message: str) -> None:
        self.messages.append(message)


WILD = ["hidden=8", "threads=1", "batch=4", "bptt=8", "activation=relu", "epochs=3", "schedule=constant"]


def test_a_run_that_blows_up_goes_back_and_learns_with_a_smaller_alpha(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = WindowSteps.update

    def blows_up(self: WindowSteps, index: int, alpha: float) -> tuple[float | torch.Tensor, int]:
        result = plain(self, index, alpha)
        if (self.epoch, index, alpha) == (1, 5, 0.2):
            self.network.encoder.U.data[3] = torch.nan
        return result

    monkeypatch.setattr(WindowSteps, "update", blows_up)
    listener, out = Told(), tmp_path / "model"
    settings = build(parse_pairs([*WILD, "alpha=0.2"]))
    model = train_model(texts[0], out, settings, valid=texts[1], listener=listener)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    epochs, setbacks = ([line for line in log if key in line] for key in ("valid_loss", "setback"))
    assert len(setbacks) == len(listener.messages) == 1
    assert setbacks[0]["setback"] in listener.messages[0]
    assert "(epoch 2, alpha 0.2): encoder.U held" in listener.messages[0]
    assert setbacks[0]["update"] == epochs[0]["update"]
    assert [line["alpha"] for line in epochs] == pytest.approx([0.2, 0.05, 0.05])
    assert model.card["result"]["updates"] == epochs[2]["update"]
    load_model(out)  # refuses weights that are no numbers
    assert not (out / GOOD).exists()


def test_a_run_that_blows_up_again_stops_with_the_layer_and_a_hint(texts: tuple[Path, Path], tmp_path: Path) -> None:
    listener = Told()
    with pytest.raises(TrainingError, match=r"alpha 1e\+09\): the states of layer 1.*no epoch") as error:
        settings = build(parse_pairs([*WILD, "alpha=4e9", "input_rate=1e9"]))
        train_model(texts[0], tmp_path / "model", settings, valid=texts[1], listener=listener)
    assert len(listener.messages) == 1
    assert error.value.hint


def test_an_online_run_goes_back_too(texts: tuple[Path, Path], tmp_path: Path) -> None:
    listener = Told()
    settings = build(parse_pairs(["regime=online", "hidden=8", "threads=1", "epochs=3", "alpha=1e9"]))
    with pytest.raises(TrainingError, match="the loss became nan at update"):
        train_model(texts[0], tmp_path / "model", settings, valid=texts[1], listener=listener)
    assert len(listener.messages) == 1


def test_an_update_without_a_finite_loss_moves_nothing(texts: tuple[Path, Path]) -> None:
    settings = build(parse_pairs([*WILD, "activation=sigmoid"]))
    source = TextSource(texts[0])
    tokenizer = train_tokenizer(source, settings.text)
    network = RecurrentNetwork(tokenizer.size, settings.network)
    network.initialize(torch.Generator().manual_seed(1))
    steps = WindowSteps(
        network, SGD(network.named_parameters()), build_corpus(source, tokenizer), tokenizer, settings.learn
    )
    steps.begin(0)
    steps.update(0, 0.1)
    network.output.V.data.fill_(3e38)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    loss, _ = steps.update(1, 0.1)
    assert not math.isfinite(loss)
    assert all(torch.equal(weight.detach(), before[name]) for name, weight in network.named_parameters())
    assert "logits" in steps.explain(1).what


def test_random_windows_move_as_a_mean_loss_with_alpha_in_proportion_to_length(texts: tuple[Path, Path]) -> None:
    """Against plain autograd: the mean loss, clipped, and alpha times length / bptt (Merity et al. 2018)."""
    settings = build(parse_pairs([*WILD, "activation=tanh", "bptt_jitter=3", "clip=0.3"]))
    bptt = settings.learn.bptt
    source = TextSource(texts[0])
    tokenizer = train_tokenizer(source, settings.text)
    corpus, networks = build_corpus(source, tokenizer), []
    for _ in range(2):
        networks.append(RecurrentNetwork(tokenizer.size, settings.network))
        networks[-1].initialize(torch.Generator().manual_seed(1))
    ours, theirs = networks
    steps = WindowSteps(ours, SGD(ours.named_parameters()), corpus, tokenizer, settings.learn)
    steps.begin(0)
    state, lengths, clipped = theirs.initial_state(4), set(), set()
    for index in range(8):
        symbols, targets, _, _ = steps.read(index)
        steps.update(index, 0.3)
        length = len(symbols)
        state, loss = theirs.loss(state, symbols, targets)
        theirs.zero_grad()
        (loss / length).backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.3 / bptt)
        clipped.add(float(norm) > 0.3 / bptt)
        with torch.no_grad():
            for weight in theirs.parameters():
                weight.sub_(weight.grad, alpha=0.3 * bptt * length / bptt)
        lengths.add(length)
    assert len(lengths) > 2
    assert any(clipped)  # or the limit was never tried
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
