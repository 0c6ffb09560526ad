"""What updates begin from, and how fast each weight moves."""

from pathlib import Path

import pytest
import torch

from elman.config import build, parse_pairs
from elman.errors import UsageError
from elman.learn.optimizers import SGD
from elman.learn.steps import WindowSteps, rates_of
from elman.network.model import RecurrentNetwork
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.tokenizers import train_tokenizer


def steps_of(folder: Path, *pairs: str) -> WindowSteps:
    settings = build(parse_pairs(["hidden=6", "batch=40", "bptt=4", "threads=1", *pairs]))
    text = folder / "text.txt"
    text.write_text("the cat sees the dog today\na bird wants the cat\n" * 60)
    source = TextSource(text)
    tokenizer = train_tokenizer(source, settings.text)
    network = RecurrentNetwork(tokenizer.size, settings.network)
    network.initialize(torch.Generator().manual_seed(1))
    corpus = build_corpus(source, tokenizer, cache_folder=folder)
    return WindowSteps(network, SGD(network.named_parameters()), corpus, tokenizer, settings.learn)


@pytest.mark.parametrize(("chance", "fewest", "most"), [(0.0, 0, 0), (0.3, 4, 20), (1.0, 40, 40)])
def test_some_streams_begin_a_window_anew(chance: float, fewest: int, most: int, tmp_path: Path) -> None:
    steps = steps_of(tmp_path, f"reset={chance}", "layers=2", "first_state=0.25")
    steps.begin(0)
    steps.update(0, 0.1)
    found = steps._begun_anew()
    anew = [(state == 0.25).all(dim=1) for state in found]
    assert fewest <= int(anew[0].sum()) <= most
    assert torch.equal(anew[0], anew[1])  # all layers of a stream together
    for state, carried in zip(found, steps.carried, strict=True):
        assert torch.equal(state[~anew[0]], carried[~anew[0]])


def test_a_window_that_begins_anew_learns_what_a_first_one_learns(tmp_path: Path) -> None:
    anew, first = (steps_of(tmp_path, f"reset={chance}", "alpha=0.5") for chance in (1.0, 0.0))
    for steps in (anew, first):
        steps.begin(0)
    anew.update(0, 0.0)  # the state moves on, the weights do not
    anew.update(1, 0.5)
    first.update(1, 0.5)
    for (name, one), other in zip(anew.network.named_parameters(), first.network.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_what_is_learnt_from_is_one_noisy_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbol that is replaced is replaced both where it is read and where it is predicted."""
    steps = steps_of(tmp_path, "noise=1")
    assert steps.noise is not None
    steps.noise.chances.fill_(0.5)
    steps.begin(0)
    clean = steps.read(0)
    seen, loss = [], steps.network.loss

    def spy(state, symbols, targets, **more):
        seen.append((symbols, targets))
        return loss(state, symbols, targets, **more)

    monkeypatch.setattr(steps.network, "loss", spy)
    steps.update(0, 0.1)
    ((symbols, targets),) = seen
    assert torch.equal(symbols[1:], targets[:-1])
    changed = (symbols != clean[0]).float().mean()
    assert 0.1 < changed < 0.9
    assert torch.equal(steps.read(0)[0], clean[0])


def test_only_running_text_can_begin_anew() -> None:
    with pytest.raises(UsageError, match="reset is of windows over running text"):
        build(parse_pairs(["regime=sentences", "reset=0.1"]))


def test_rates_are_of_the_input_of_what_multiplies_states_and_of_what_lies_between() -> None:
    shape = ["cell=lstm", "layers=2", "hidden=5", "embedding=3", "tied=true", "bias=true"]
    settings = build(parse_pairs([*shape, "input_rate=2", "recurrent_rate=0.5", "between_rate=0.25"]))
    rates = rates_of(RecurrentNetwork(7, settings.network), settings.learn)
    lstm = {"weight_ih": 0.25, "weight_hh": 0.5, "bias_ih": 0.25, "bias_hh": 0.25}
    layers = {f"cells.{layer}.{name}": rate for layer in range(2) for name, rate in lstm.items()}
    assert rates == {"encoder.U": 2.0, "down": 0.25, "output.bias": 1.0, **layers}


def test_a_matrix_between_moves_at_its_own_rate(tmp_path: Path) -> None:
    moves = []
    for rate in (1.0, 0.5):
        steps = steps_of(tmp_path, f"between_rate={rate}", "layers=2")
        before = {name: weight.detach().clone() for name, weight in steps.network.named_parameters()}
        steps.optimizer.rates = rates_of(steps.network, steps.settings)
        steps.begin(0)
        steps.update(0, 0.5)
        moves.append({name: weight.detach() - before[name] for name, weight in steps.network.named_parameters()})
    whole, half = moves
    for name in whole:
        torch.testing.assert_close(half[name], whole[name] * (0.5 if name.startswith("between") else 1.0))
