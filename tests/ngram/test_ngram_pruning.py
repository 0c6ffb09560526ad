"""Pruned models sum to one, and what is pruned is what Stolcke's criterion says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import ModelError, UsageError
from elman.ngram.estimate import estimate
from elman.ngram.model import Level, NGramModel
from elman.ngram.pruning import prune_entropy

SENTENCES = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), min_size=1, max_size=30)


def distribution(model, context) -> dict[str, float]:
    return dict(zip(model.vocabulary, np.exp(model.next_log_probs(context)).tolist(), strict=True))


@settings(max_examples=100, deadline=None)
@given(
    sentences=SENTENCES,
    order=st.integers(1, 5),
    threshold=st.sampled_from([0.0, 1e-4, 1e-2, 1.0]),
    context=st.lists(st.sampled_from("abcdz"), max_size=6),
)
def test_a_pruned_model_sums_to_one(sentences, order, threshold, context):
    model = estimate(sentences, order=order)
    pruned = prune_entropy(model, threshold)
    assert sum(pruned.counts) <= sum(model.counts)
    assert sum(distribution(pruned, context).values()) == pytest.approx(1, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(sentences=SENTENCES, share=st.floats(1e-5, 0.1))
def test_what_goes_is_what_changes_little(sentences, share):
    """Each bigram by itself: the divergence of its context's distribution without it, weighed with the context."""
    model = estimate(sentences, order=2)
    first, second = model.levels
    kept = prune_entropy(model, share)
    kept_keys = set(kept.levels[1].keys.tolist()) if kept.order == 2 else set()
    for place, key in enumerate(second.keys.tolist()):
        context = key // (model.start_id + 1)
        weight = math.exp(first.log_probs[model.ids["</s>"] if context == model.start_id else context])
        before, after = after_one_word(model, context, None), after_one_word(model, context, place)
        said = before > 0  # a discount of zero may leave nothing for what is not listed
        change = math.expm1(weight * float(np.sum(before[said] * np.log(before[said] / after[said]))))
        if abs(change - share) > 1e-9:
            assert (key in kept_keys) == (change > share)


def after_one_word(model, context: int, without: int | None) -> np.ndarray:
    """Pr{ . | one word } of a bigram model, without one of the bigrams."""
    first, second = model.levels
    lower = np.exp(first.log_probs[:-1])
    contexts, words = np.divmod(second.keys, model.start_id + 1)
    listed = [place for place in np.flatnonzero(contexts == context) if place != without]
    probs = lower * (1 - np.exp(second.log_probs[listed]).sum()) / (1 - lower[words[listed]].sum())
    probs[words[listed]] = np.exp(second.log_probs[listed])
    return probs


def test_nothing_goes_at_zero_and_all_that_may_at_infinity():
    text = [line.split() for line in ["the cat sees a dog", "a dog sees the cat", "the cat sleeps"]]
    model = estimate(text, order=4)
    assert prune_entropy(model, 0.0).counts == model.counts
    assert prune_entropy(model, 1e9).order == 1
    assert distribution(prune_entropy(model, 1e9), ["the"]) == pytest.approx(distribution(estimate_one(model), []))


def estimate_one(model):
    return NGramModel(model.vocabulary, [model.levels[0]], unk_trained=False)


@pytest.mark.parametrize("threshold", [-1.0, math.nan, math.inf])
def test_a_threshold_that_cannot_be(threshold):
    with pytest.raises(UsageError, match="the threshold"):
        prune_entropy(estimate([["a"]], order=2), threshold)


def test_a_model_without_its_suffixes_is_refused():
    model = estimate([["a", "b", "c"]], order=3)
    lower = model.levels[1]
    radix = len(model.vocabulary) + 1
    gone = int(np.flatnonzero(lower.keys == model.ids["b"] * radix + model.ids["c"])[0])  # "a b c" stays
    keys = np.array([key for key in model.levels[2].keys if key // radix != gone])
    keys = np.array([(key // radix - (key // radix > gone)) * radix + key % radix for key in keys])
    values = model.levels[2].log_probs[: len(keys)]
    levels = [
        model.levels[0],
        Level(*(np.delete(part, gone) for part in (lower.keys, lower.log_probs, lower.backoffs))),
    ]
    broken = NGramModel(model.vocabulary, [*levels, Level(keys, values, np.empty(0))], unk_trained=False)
    with pytest.raises(ModelError, match="3-grams without their last 2 words"):
        prune_entropy(broken, 1e-8)
