"""What comes next: probabilities as the model gives them, and text drawn from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.apply import predict as module
from elman.apply.predict import generate, join, predict, stream
from elman.errors import UsageError
from elman.network.folder import Model

Trained = Callable[[str], Model]
KINDS = ["word", "sentences", "char", "byte", "bpe", "n-grams"]


def stepwise(model: Model, prompt: str) -> torch.Tensor:
    """log y after a prompt, one step after the other."""
    tokenizer, network = model.tokenizer, model.network
    state = network.initial_state(1)
    for symbol in [tokenizer.end_id, *tokenizer.encode(prompt)]:
        known = tokenizer.unk_id if symbol == tokenizer.size else symbol
        state, log_probs = network.step(state, torch.tensor([known]))
    return log_probs[0]


def drawn(model: Model, prompt: str = "", seed: int = 1, **options: Any) -> list[int]:
    return list(generate(model, prompt, generator=torch.Generator().manual_seed(seed), **options))


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_is_the_model_s_own_not_rescaled(kind: str, trained: Trained) -> None:
    model = trained(kind)
    everything = predict(model, "the cat", top=10**6)
    probabilities = [probability for _, probability in everything.next]
    assert math.fsum([*probabilities, everything.unk_probability or 0.0]) == pytest.approx(1.0, abs=1e-5)
    assert probabilities == sorted(probabilities, reverse=True)
    assert "<unk>" not in dict(everything.next)
    expected = stepwise(model, "the cat").exp()
    if model.tokenizer.unk_id is None:
        assert everything.unk_probability is None
    else:
        assert everything.unk_probability == pytest.approx(float(expected[model.tokenizer.unk_id]))
        expected[model.tokenizer.unk_id] = 0
    assert probabilities[0] == pytest.approx(float(expected.max()), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_prompt_is_read_in_windows(kind: str, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    model, prompt = trained(kind), "the cat sees a dog " * 3
    expected = float(stepwise(model, prompt).exp().max())
    for window in (1, 4, 1000):
        monkeypatch.setattr(module, "WINDOW", window)
        answer = predict(model, prompt, top=1)
        assert max(answer.next[0][1], answer.unk_probability or 0.0) == pytest.approx(expected, rel=1e-4)


def test_an_empty_prompt_is_the_start_of_a_sentence(trained: Trained) -> None:
    assert predict(trained("word"), "", 1).next[0][0] == "the"


def test_a_prompt_is_normalised_as_the_text_was(trained: Trained) -> None:
    model = trained("word")
    assert predict(model, "The  CAT sees.").next == predict(model, "the cat sees .").next


def test_a_sentence_end_is_an_answer(trained: Trained) -> None:
    assert predict(trained("word"), "the cat sees a dog .", 1).next[0][0] == "</s>"


def test_unknown_words_of_a_prompt_are_named_once(trained: Trained) -> None:
    assert predict(trained("word"), "the Zebra sees a zebra, the cat").unknown == ["zebra", ","]
    assert predict(trained("char"), "the żebra").unknown == ["ż"]
    assert predict(trained("bpe"), "the żebra").unknown == []


@pytest.mark.parametrize("top", [0, -1])
def test_no_answers_are_refused(top: int, trained: Trained) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        predict(trained("word"), "the", top)


# Generation


@pytest.mark.parametrize("kind", KINDS)
def test_temperature_zero_takes_the_likeliest(kind: str, trained: Trained) -> None:
    model = trained(kind)
    written = drawn(model, temperature=0, tokens=6)
    assert written == drawn(model, seed=2, top_k=1, tokens=6) == drawn(model, temperature=1e-310, tokens=6)
    network, unk = model.network, model.tokenizer.unk_id
    state, log_probs = network.step(network.initial_state(1), torch.tensor([model.tokenizer.end_id]))
    for symbol in written:
        if unk is not None:
            log_probs[0, unk] = -math.inf
        assert symbol == int(log_probs[0].argmax())
        if symbol == model.tokenizer.end_id and model.regime == "sentences":
            state = network.initial_state(1)
        state, log_probs = network.step(state, torch.tensor([symbol]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_writes_the_same_text(kind: str, trained: Trained) -> None:
    texts = [drawn(trained(kind), seed=seed, tokens=20) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == 20


def test_unk_is_never_written(trained: Trained) -> None:
    model = trained("word")
    model.network.output.V.data[:, model.tokenizer.unk_id] += 3.0  # as likely as can be
    try:
        assert model.tokenizer.unk_id not in drawn(model, tokens=300)
        assert (predict(model, "the").unk_probability or 0) > 0.5
    finally:
        model.network.output.V.data[:, model.tokenizer.unk_id] -= 3.0


@pytest.mark.parametrize("kind", ["word", "sentences", "char"])
def test_sentences_are_counted(kind: str, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1000)
    model = trained(kind)
    end = model.tokenizer.end_id
    for wanted, options in ((1, {}), (3, {"sentences": 3}), (2, {"sentences": 2, "tokens": 10**6})):
        written = drawn(model, **options)
        assert written.count(end) == wanted and written[-1] == end
    assert len(drawn(model, tokens=40)) == 40
    assert len(drawn(model, tokens=5, sentences=100)) <= 5


def test_independent_sentences_begin_afresh(trained: Trained) -> None:
    model = trained("sentences")
    first, second = drawn(model, sentences=2, temperature=0), drawn(model, sentences=1, temperature=0)
    assert first == second * 2


def test_draws_follow_the_probabilities(trained: Trained) -> None:
    model = trained("word")
    log_probs = stepwise(model, "the")
    log_probs[model.tokenizer.unk_id] = -math.inf
    expected = torch.softmax(log_probs / 0.7, 0)
    generator = torch.Generator().manual_seed(3)
    options = {"tokens": 1, "temperature": 0.7, "generator": generator}
    counts = Counter(next(generate(model, "the", **options)) for _ in range(600))
    for symbol, probability in enumerate(expected.tolist()):
        spread = math.sqrt(600 * probability * (1 - probability))
        assert abs(counts[symbol] - 600 * probability) <= 4.5 * spread + 1


def test_top_k_and_top_p_draw_from_the_likeliest(trained: Trained) -> None:
    model = trained("word")
    answers = predict(model, "the", 10**6).next
    known = math.fsum(probability for _, probability in answers)
    likeliest = [token for token, _ in answers]
    nucleus = 1 + sum(math.fsum(p for _, p in answers[: k + 1]) / known < 0.6 for k in range(len(answers)))
    for options, allowed in (({"top_k": 3}, 3), ({"top_p": 0.6}, nucleus), ({"top_p": 1e-9}, 1)):
        seen = {model.tokenizer.token(drawn(model, "the", seed=s, tokens=1, **options)[0]) for s in range(120)}
        assert seen <= set(likeliest[:allowed])
        assert likeliest[0] in seen and (allowed == 1 or len(seen) > 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tokens", 0),
        ("sentences", 0),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_p", math.nan),
    ],
)
def test_numbers_out_of_range_are_refused(name: str, value: float, trained: Trained) -> None:
    with pytest.raises(UsageError, match=name.replace("_", "-")):
        drawn(trained("word"), **{name: value})


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6), prompt=st.sampled_from(["", "The cat", "the cat ", "ö", "The cat sees.\n", " "]))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_streamed_text_is_the_text(kind: str, seed: int, prompt: str, trained: Trained) -> None:
    model = trained(kind)
    symbols = drawn(model, prompt, seed=seed, tokens=12, temperature=3.0)
    assert "".join(stream(model, prompt, symbols)) == join(model, prompt, symbols)


def test_a_character_of_several_bytes_is_streamed_whole(trained: Trained) -> None:
    model = trained("byte")
    pieces = list(stream(model, "x", "aöżb\n".encode()))
    assert [piece for piece in pieces if piece] == ["x", "a", "ö", "ż", "b", "\n"]


def test_words_are_streamed_one_by_one(trained: Trained) -> None:
    model = trained("word")
    symbols = [*model.tokenizer.encode("sees a dog."), model.tokenizer.end_id, *model.tokenizer.encode("the")]
    assert list(stream(model, "The cat ", symbols)) == ["The cat", " sees", " a", " dog", " .", "\n", "the", ""]
