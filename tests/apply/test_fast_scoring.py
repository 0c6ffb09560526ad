"""Faster ways to score a text, and what they cost."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from elman.apply import score as scores
from elman.apply.evaluate import chosen_precision, evaluate
from elman.apply.language_model import LanguageModel
from elman.apply.score import score
from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network import scoring
from elman.network.folder import Model
from elman.network.model import RecurrentNetwork
from elman.network.storage import stored

Trained = Callable[[str], Model]
KINDS = ["word", "sentences", "char", "byte", "bpe"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_precision_moves_perplexity_per_symbol_by_less_than_a_thousandth(
    precision: str, kind: str, trained: Trained, room: Path
) -> None:
    full, rough = (evaluate(trained(kind), room / "test.txt", precision=name) for name in ("fp32", precision))
    assert (full.precision, rough.precision) == ("fp32", precision)
    assert rough.token_perplexity == pytest.approx(full.token_perplexity, rel=1e-3)
    assert rough.token_perplexity != full.token_perplexity
    assert evaluate(trained(kind), room / "test.txt", precision="auto").precision in ("fp32", "bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "auto"])
def test_what_computes_in_fp32_says_so(precision: str, trained: Trained) -> None:
    model = trained("word")
    network = RecurrentNetwork(model.tokenizer.size, NetworkSettings(hidden=20, output="class"))
    assert chosen_precision(dataclasses.replace(model, network=network), precision) == "fp32"


def test_a_precision_that_there_is_not_is_refused(trained: Trained, room: Path) -> None:
    with pytest.raises(UsageError, match="fp16"):
        evaluate(trained("word"), room / "test.txt", precision="fp16")
    with pytest.raises(UsageError, match="fp16"):
        list(score(trained("word"), ["the cat"], precision="fp16"))
    with pytest.raises(UsageError, match="int4"):
        evaluate(trained("word"), room / "test.txt", weights="int4")


@pytest.mark.parametrize("weights", ["bf16", "int8"])
def test_what_a_storage_costs_is_measured_on_the_text(weights: str, trained: Trained, room: Path) -> None:
    model = trained("word")
    rounded = dataclasses.replace(model, network=copy.deepcopy(model.network))
    rounded.network.output.V.data.copy_(stored(model.network.output.V, weights))
    result, full, expected = (
        evaluate(which, room / "test.txt", weights=how)
        for which, how in ((model, weights), (model, "fp32"), (rounded, "fp32"))
    )
    assert result.perplexity == pytest.approx(expected.perplexity, rel=1e-6)
    assert (result.full_perplexity, full.full_perplexity) == (full.perplexity, None)
    assert result.perplexity != full.perplexity


@pytest.mark.parametrize("regime", ["running", "sentences"])
@pytest.mark.parametrize("kind", [*KINDS, "n-grams"])
def test_how_many_lines_are_taken_at_a_time_changes_no_score(
    kind: str, regime: str, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(kind)
    lines = ["the cat sees a dog .", "", "a owl", "the bird finds the child today . " * 9, "the dog wants"] * 30
    many = [line.log_prob for line in score(model, lines, regime=regime)]
    monkeypatch.setattr(scores, "LINES", 1)
    monkeypatch.setattr(scores, "MOST_LINES", 1)
    monkeypatch.setattr(scoring, "ROOM", 100 * model.network.settings.hidden)
    assert [line.log_prob for line in score(model, lines, regime=regime)] == pytest.approx(many, rel=1e-5)


def test_running_text_in_blocks_is_running_text(trained: Trained, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained("char")
    whole = evaluate(model, room / "test.txt", regime="running").logprob10
    for room_for in (40, 300):
        monkeypatch.setattr(scoring, "ROOM", room_for * model.network.settings.hidden)
        assert evaluate(model, room / "test.txt", regime="running").logprob10 == pytest.approx(whole, rel=1e-6)
    monkeypatch.setattr(scoring, "SHORTEST", 10**9)  # as one stream
    assert evaluate(model, room / "test.txt", regime="running").logprob10 == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("weights", ["fp32", "bf16", "int8"])
def test_a_stepper_says_what_the_model_says(weights: str, trained: Trained) -> None:
    lm = LanguageModel(trained("sentences"))
    stepper = lm.stepper(weights=weights)
    state = other = lm.initial_state()
    for word in ["The", "cat", "sees"]:
        state, log_probs = lm.step(state, word)
        other, rows = stepper.step(other, lm.symbol(word))
        assert float(rows.exp().sum()) == pytest.approx(1.0, rel=1e-5)
        assert rows[0].tolist() == pytest.approx(log_probs.tolist(), abs=1e-6 if weights == "fp32" else 0.02)
    assert not math.isnan(float(log_probs[0]))
