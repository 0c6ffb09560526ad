"""Perplexity by history is that of a net that begins anew before each target, and at its longest that of evaluate."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.apply import horizon as module
from elman.apply.evaluate import evaluate
from elman.apply.horizon import beginning, first_of_history, horizon
from elman.config import build, parse_pairs
from elman.errors import Interrupted, UsageError
from elman.learn.run import train_model
from elman.network.folder import Model
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource

Trained = Callable[[str], Model]
KINDS = ["word", "sentences", "char", "byte", "n-grams", "bpe"]
TEXT = "The cat sees a zebra.\nThe dog, now.\na owl finds the child today\nThe bird wants a cat.\n"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def slow(model: Model, ids: list[int], k: int, regime: str) -> list[float]:
    """The log-probability of each target that counts, the net begun anew and read k + 1 symbols before each."""
    network, tokenizer = model.network, model.tokenizer
    values = []
    for place, target in enumerate(ids):
        first = max(0, place - k)
        if regime == "sentences":
            ends = [at + 1 for at in range(first, place) if ids[at] == tokenizer.end_id]
            first = max([first, *ends])
        state, log_probs = network.initial_state(1), torch.zeros(1, tokenizer.size)
        for at in range(first, place + 1):
            symbol = tokenizer.end_id if at == 0 else ids[at - 1]
            known = symbol if symbol < tokenizer.size else (tokenizer.unk_id or 0)
            state, log_probs = network.step(state, torch.tensor([known]))
        if target < tokenizer.size:
            values.append(float(log_probs[0, target]))
    return values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regime", ["running", "sentences"])
def test_every_length_of_history_is_a_net_begun_anew(
    kind: str, regime: str, trained: Trained, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(kind)
    monkeypatch.setattr(module, "ROOM", 10 * 12 * 7)  # seven readings side by side
    result = horizon(model, text, histories=[0, 1, 4, 11], regime=regime)
    ids = np.asarray(build_corpus(TextSource(text), model.tokenizer).ids).tolist()
    for k, found in zip(result.histories, result.perplexities, strict=True):
        values = slow(model, ids, k, regime)
        assert result.symbols == len(values)
        assert found == pytest.approx(math.exp(-math.fsum(values) / len(values)), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regime", ["running", "sentences"])
def test_the_whole_history_is_what_evaluate_says(kind: str, regime: str, trained: Trained, text: Path) -> None:
    model = trained(kind)
    result = horizon(model, text, histories=[0, 3, 500], regime=regime)
    said = evaluate(model, text, regime=regime)
    assert result.whole == pytest.approx(said.token_perplexity, rel=1e-6)
    assert result.perplexities[-1] == pytest.approx(result.whole, rel=1e-5)  # longer than the text
    assert result.symbols == said.tokens
    assert horizon(model, text).regime == evaluate(model, text).regime


def test_unseen_words_count_where_that_is_asked_for(trained: Trained, text: Path) -> None:
    model = trained("word")
    assert model.tokenizer.unk_trained
    skipped, scored = (horizon(model, text, histories=[2], oov=oov) for oov in ("skip", "unk"))
    assert scored.symbols > skipped.symbols
    assert scored.whole == pytest.approx(evaluate(model, text, oov="unk").token_perplexity, rel=1e-6)


def test_a_net_of_a_window_remembers_its_window_and_no_more(room: Path) -> None:
    pairs = ["cell=feedforward", "window=3", "hidden=8", "max_updates=40", "threads=1", "batch=4", "bptt=8", "alpha=1"]
    model = train_model(room / "train.txt", room / "window", build(parse_pairs(pairs)), valid=room / "test.txt")
    result = horizon(model, room / "test.txt", histories=[0, 1, 2, 3, 9])
    assert result.perplexities[2:] == pytest.approx([result.whole] * 3, rel=1e-5)
    assert abs(result.perplexities[0] / result.whole - 1) > 1e-3
    assert result.enough is not None and result.enough <= 2


def test_the_limit_takes_whole_sentences(trained: Trained, text: Path, tmp_path: Path) -> None:
    model = trained("sentences")
    lines = TEXT.splitlines(keepends=True)
    sizes = np.cumsum([len(model.tokenizer.encode_line(line.rstrip())) for line in lines])
    (tmp_path / "head.txt").write_text("".join(lines[:2]))
    result = horizon(model, text, histories=[3], tokens=int(sizes[2]) - 1)
    assert result.tokens == sizes[1] and result.all_tokens == sizes[3]
    assert result.whole == pytest.approx(evaluate(model, tmp_path / "head.txt").token_perplexity, rel=1e-6)


def test_the_beginning_of_one_long_sentence_is_a_part_of_it() -> None:
    ids = np.array([5, 6, 7, 8, 0, 9, 0])
    assert beginning(ids, 3, 0).tolist() == [5, 6, 7]
    assert beginning(ids, 6, 0).tolist() == [5, 6, 7, 8, 0]
    assert beginning(ids, 7, 0).tolist() == beginning(ids, 99, 0).tolist() == ids.tolist()


def test_a_history_begins_where_its_sentence_does() -> None:
    ids = np.array([5, 6, 0, 7, 0, 0, 8])
    assert first_of_history(ids, 0).tolist() == [0, 0, 0, 3, 3, 5, 6]
    assert first_of_history(ids, None).tolist() == [0] * 7


@pytest.mark.parametrize("histories", [[], [-1, 2], [10**9]])
def test_lengths_that_cannot_be_are_refused(histories: list[int], trained: Trained, text: Path) -> None:
    with pytest.raises(UsageError, match="lengths of history"):
        horizon(trained("word"), text, histories=histories)


def test_lengths_are_taken_once_and_in_order(trained: Trained, text: Path) -> None:
    result = horizon(trained("word"), text, histories=[5, 0, 5, 2])
    assert result.histories == [0, 2, 5]


def test_enough_is_where_all_that_follow_are_near() -> None:
    assert module._enough([0, 1, 2, 3], [200.0, 100.0, 150.0, 100.5], 100.0) == 3
    assert module._enough([0, 1, 2], [100.9, 99.0, 100.0], 100.0) == 0
    assert module._enough([0, 1], [300.0, 102.0], 100.0) is None


def test_it_stops_when_asked_to(trained: Trained, text: Path) -> None:
    with pytest.raises(Interrupted):
        horizon(trained("word"), text, should_stop=lambda: True)
