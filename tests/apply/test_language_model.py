"""The Python API: short, and the same numbers as everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import elman
from elman.apply.evaluate import evaluate
from elman.apply.info import info
from elman.errors import ModelError, OutputError, UsageError
from elman.network.folder import Model

Trained = Callable[[str], Model]
TINY = {"hidden": 6, "max_updates": 3, "threads": 1, "batch": 2, "bptt": 4}


@pytest.fixture
def lm(trained: Trained) -> elman.LanguageModel:
    return elman.LanguageModel(trained("word"))


def test_training_without_a_folder_leaves_none_behind(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    lm = elman.train(room / "train.txt", valid=room / "test.txt", unit="char", learn_alpha=0.5, **TINY)
    assert list(tmp_path.iterdir()) == []
    assert (lm.card["settings"]["text.unit"], lm.card["settings"]["learn.alpha"]) == ("char", 0.5)
    assert lm.perplexity(room / "test.txt") > 1


def test_a_trained_folder_is_loaded_again(room: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    lm = elman.train(str(room / "train.txt"), out=out, recipe="notes", **TINY)
    again = elman.load(out)
    assert again.perplexity(room / "test.txt") == lm.perplexity(room / "test.txt")
    assert again.card == lm.card
    with pytest.raises(OutputError, match="already holds"):
        elman.train(room / "train.txt", out=out, **TINY)
    elman.train(room / "train.txt", out=out, overwrite=True, **TINY)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("hiden", "network.hidden"), ("network_hiden", "network.hidden"), ("resum", "resume"), ("outt", "out")],
)
def test_a_keyword_that_is_none_comes_with_the_nearest(wrong: str, hint: str, room: Path) -> None:
    with pytest.raises(UsageError, match="there is no setting") as error:
        elman.train(room / "train.txt", **{wrong: 5})
    assert hint in (error.value.hint or "")


def test_saving_keeps_everything_and_overwrites_nothing_unasked(lm: elman.LanguageModel, tmp_path: Path) -> None:
    lm.save(tmp_path / "copy")
    copy = elman.load(tmp_path / "copy")
    assert copy.predict("the cat", 5) == lm.predict("the cat", 5)
    assert copy.card == lm.card
    with pytest.raises(OutputError, match="already holds"):
        lm.save(tmp_path / "copy")
    lm.save(tmp_path / "copy", overwrite=True)


def test_steps_give_what_score_adds_up(lm: elman.LanguageModel) -> None:
    state, log_probs = lm.start()
    total = 0.0
    tokens = list(lm.tokens())
    for word in ["the", "cat", "sees", "a", "dog", ".", "</s>"]:
        total += float(log_probs[tokens.index(word)])
        state, log_probs = lm.step(state, word)
    assert log_probs.shape == (len(tokens),)
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-5)
    assert lm.score("The cat sees a dog.") == pytest.approx(total, rel=1e-5)
    assert lm.score("The cat sees a dog.", base="2") == pytest.approx(total / math.log(2), rel=1e-5)


def test_a_state_is_a_value_that_can_be_used_twice(lm: elman.LanguageModel) -> None:
    state = lm.initial_state()
    first, again = lm.step(state, "the")[1], lm.step(state, lm.model.tokenizer.id("the"))[1]
    lm.step(state, "cat")
    assert torch.equal(first, again)
    assert torch.equal(first, lm.step(state, "the")[1])


def test_an_unknown_token_is_read_as_unk_and_an_id_outside_is_refused(lm: elman.LanguageModel) -> None:
    state = lm.initial_state()
    assert torch.equal(lm.step(state, "zebra")[1], lm.step(state, "<unk>")[1])
    for wrong in (-1, lm.model.tokenizer.size):
        with pytest.raises(UsageError, match="no symbol"):
            lm.step(state, wrong)


def test_the_facade_answers_as_the_functions_do(lm: elman.LanguageModel, room: Path) -> None:
    assert lm.perplexity(room / "test.txt") == evaluate(lm.model, room / "test.txt").perplexity
    assert [token for token, _ in lm.predict("the", 3)] == [token for token, _ in lm.predict("the", 10)][:3]
    text = lm.generate("The cat", seed=4)
    assert text == lm.generate("The cat", seed=4)
    assert text.startswith("The cat ") and "\n" not in text
    assert lm.generate("The", sentences=3, seed=4).count("\n") == 2


def test_info_says_what_a_model_is(lm: elman.LanguageModel) -> None:
    facts = info(lm.model)
    D, H = facts["dictionary_size"], 10
    assert facts["parameters"] == D * H + H * H + H * D
    assert (facts["unit"], facts["regime"], facts["network"]["hidden"]) == ("word", "running", H)
    assert facts["result"]["valid_perplexity"] > 1
    assert facts["data"]["train"]["sentences"] == 151
    assert f"D={D}" in repr(lm)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        elman.load(tmp_path / "nothing")
