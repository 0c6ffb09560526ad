"""Text drawn side by side: as the model says, whole sentences, the same for the same seed."""

from collections.abc import Callable

import pytest
import torch

from elman.apply.sampling import _pick, most_streams, sample
from elman.errors import UsageError
from elman.network.folder import Model

Trained = Callable[[str], Model]


def drawn(model: Model, tokens: int = 600, streams: int = 6, seed: int = 1, **options: object) -> list[list[int]]:
    return list(sample(model, tokens, streams, generator=torch.Generator().manual_seed(seed), **options))


def test_symbols_come_as_often_as_they_are_likely() -> None:
    p = torch.tensor([0.5, 0.0, 0.2, 0.25, 0.05, 0.0])
    picks = _pick(p.log().expand(20_000, -1).clone(), 1.0, torch.Generator().manual_seed(1))
    counts = torch.bincount(picks, minlength=6)
    assert counts[1] == counts[5] == 0
    expected = 20_000 * p[p > 0]
    chi_square = float(((counts[p > 0] - expected) ** 2 / expected).sum())
    assert chi_square < 21.1  # three degrees of freedom: one in ten thousand is more
    cold = _pick(p.log().expand(20_000, -1).clone(), 0.5, torch.Generator().manual_seed(1))
    share = float((p**2 / (p**2).sum())[0])
    assert float((cold == 0).double().mean()) == pytest.approx(share, abs=0.015)


def test_a_draw_that_rounds_up_to_the_whole_picks_nothing_impossible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.ones(shape))
    assert _pick(torch.tensor([[0.3, 0.7, 0.0]]).log(), 1.0, torch.Generator()).tolist() == [1]


def test_the_same_seed_draws_the_same_text_and_another_seed_another(trained: Trained) -> None:
    model = trained("word")
    assert drawn(model) == drawn(model)
    assert drawn(model) != drawn(model, seed=2)


@pytest.mark.parametrize("kind", ["word", "sentences", "char", "n-grams"])
def test_sentences_are_whole_and_what_the_model_learnt(kind: str, trained: Trained) -> None:
    model = trained(kind)
    sentences = drawn(model, tokens=3000, streams=20)
    assert 3000 * 0.5 < sum(len(s) + 1 for s in sentences) <= 3000
    assert all(model.tokenizer.end_id not in s for s in sentences)
    assert all(sentences) or model.tokenizer.blank_lines
    assert all(model.tokenizer.unk_id not in s for s in sentences)


def by_steps(model: Model, tokens: int, seed: int, *, anew: bool) -> list[list[int]]:
    """One stream, by the steps of the network; `anew`: from s(0) after each sentence."""
    generator, end = torch.Generator().manual_seed(seed), model.tokenizer.end_id
    state, symbol, sentences, open_ = model.network.initial_state(1), end, [], []
    for _ in range(tokens):
        if anew and symbol == end:
            state = model.network.initial_state(1)
        state, log_probs = model.network.step(state, torch.tensor([symbol]))
        symbol = int(_pick(log_probs.clone(), 1.0, generator))
        if symbol != end:
            open_.append(symbol)
        else:
            sentences, open_ = [*sentences, open_], []
    return [s for s in sentences if s]


@pytest.mark.parametrize("kind", ["word", "sentences", "n-grams"])
def test_one_stream_follows_the_steps_of_the_network(kind: str, trained: Trained) -> None:
    model = trained(kind)
    expected = by_steps(model, 120, 3, anew=kind == "sentences")
    assert len(expected) > 3
    assert drawn(model, tokens=120, streams=1, seed=3, unk=True) == expected
    if kind == "sentences":
        assert by_steps(model, 120, 3, anew=False) != expected


@pytest.mark.parametrize(("tokens", "streams", "temperature"), [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 10**9, 1.0)])
def test_numbers_out_of_range_are_refused(tokens: int, streams: int, temperature: float, trained: Trained) -> None:
    model = trained("word")
    assert most_streams(model) < 10**9
    with pytest.raises(UsageError):
        drawn(model, tokens, streams, temperature=temperature)
