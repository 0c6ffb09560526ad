"""Look-ups: all positions at once say what one at a time says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import ModelError, UsageError
from elman.ngram import model as model_module
from elman.ngram import reference, sentences
from elman.ngram.estimate import estimate
from elman.ngram.model import Level, NGramModel

TEXT = [line.split() for line in ["the cat sees a dog", "a dog sees the cat", "the <unk> sleeps", "a cat"]]
WORDS = st.lists(st.sampled_from(["a", "b", "c", "<unk>", "unheard", "<s>", "</s>"]), max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    training=st.lists(st.lists(st.sampled_from(["a", "b", "c", "<unk>"]), min_size=1, max_size=8), min_size=1),
    order=st.integers(1, 5),
    asked=st.lists(WORDS, min_size=1, max_size=5),
)
def test_arrays_look_up_what_dictionaries_look_up(training, order, asked):
    model, slow = estimate(training, order=order), reference.estimate(training, order=order)
    seen_unk = any("<unk>" in sentence for sentence in training)
    hidden = {"<s>": "never", "</s>": "never"} | ({} if seen_unk else {"<unk>": "never"})
    for sentence, values in zip(asked, model.log_probs(asked), strict=True):
        expected = reference.log_probs(slow, [hidden.get(word, word) for word in sentence])
        np.testing.assert_allclose(values, expected, rtol=1e-10)
        as_unk = [word if word in "abc" and (word,) in slow else "<unk>" for word in sentence]
        unk_values = model.log_probs([sentence], oov="unk")[0]
        np.testing.assert_allclose(unk_values, reference.log_probs(slow, as_unk), rtol=1e-10)


def test_the_next_words_are_those_that_are_scored():
    model = estimate(TEXT, order=4)
    for sentence in TEXT:
        for place, value in enumerate(model.log_probs([sentence])[0]):
            word = [*sentence, "</s>"][place]
            assert model.next_log_probs(sentence[:place])[model.ids[word]] == pytest.approx(value, rel=1e-12)
            assert (model.next_log_probs(["<s>", *sentence[:place]]) == model.next_log_probs(sentence[:place])).all()


def test_batches_change_no_number(monkeypatch):
    model, many = estimate(TEXT, order=3), TEXT * 7
    whole = model.log_probs(many)
    monkeypatch.setattr(sentences, "BATCH", 11)
    assert len(list(model_module.batches_of(many))) > 3
    parts = model.log_probs(iter(many))
    assert [part.tolist() for part in parts] == [values.tolist() for values in whole]
    assert model.log_probs([]) == []
    assert model.log_probs([[]])[0].shape == (1,)


def test_no_context_reaches_over_an_unknown_word():
    model = estimate(TEXT, order=3)
    values = model.log_probs([["the", "zebra", "cat"]])[0]
    assert np.isnan(values).tolist() == [False, True, False, False]
    assert values[2] == model.levels[0].log_probs[model.ids["cat"]]
    assert np.exp(model.next_log_probs(["the", "zebra"])).sum() == pytest.approx(1)


def test_an_unk_that_training_saw_is_a_word():
    assert not np.isnan(estimate(TEXT, order=2).log_probs([["the", "<unk>"]])[0]).any()
    unseen = estimate([["a", "b"]], order=2)
    assert np.isnan(unseen.log_probs([["a", "<unk>"]])[0]).tolist() == [False, True, False]
    assert not np.isnan(unseen.log_probs([["a", "<unk>"]], oov="unk")[0]).any()


def test_a_model_without_unk_cannot_score_as_unk():
    level = Level(np.arange(3), np.array([math.log(0.5), math.log(0.5), -math.inf]), np.empty(0))
    model = NGramModel(["</s>", "a"], [level], unk_trained=False)
    assert model.log_probs([["a"]])[0].tolist() == [math.log(0.5)] * 2
    with pytest.raises(UsageError, match="it has none"):
        model.log_probs([["a"]], oov="unk")
    with pytest.raises(UsageError, match="oov 'unkn' cannot be"):
        model.log_probs([["a"]], oov="unkn")
    with pytest.raises(ModelError, match="no </s>"):
        NGramModel(["a"], [level], unk_trained=False)


def test_ngrams_are_packed():
    model = estimate(TEXT * 3, order=5)
    assert model.nbytes <= 24 * sum(model.counts)
