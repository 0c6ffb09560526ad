"""The estimator in arrays says what the one in dictionaries says, and what lmplz says."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import TextError, UsageError
from elman.ngram import reference
from elman.ngram.estimate import adjust, count, discounts_of, estimate
from elman.ngram.sentences import batches
from elman.text.reading import TextSource

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
UNBOUNDED = st.lists(st.lists(st.sampled_from("abcde"), max_size=8).map(list), min_size=1, max_size=30)
SENTENCES = UNBOUNDED.filter(lambda sentences: any(sentences))


@pytest.fixture(scope="session")
def ptb() -> Path:
    if not (SHARED / "ptb").is_dir():
        pytest.skip("the Penn Treebank is not in ../shared/data/ptb")
    return SHARED / "ptb"


def perplexity(model, path: Path) -> tuple[float, int]:
    values = np.concatenate(model.log_probs(words for batch in batches(path) for words in batch))
    return math.exp(-values.mean()), len(values)


# KenLM's `lmplz`, with <unk> written as another word so that it takes it, gives 148.28 and 141.19.
@pytest.mark.parametrize(("order", "expected"), [(3, 148.28), (5, 141.19)])
def test_ptb_has_the_perplexity_that_lmplz_gives(ptb, order, expected):
    model = estimate(TextSource(ptb / "ptb.train.txt"), order=order)
    value, tokens = perplexity(model, ptb / "ptb.test.txt")
    assert (round(value, 2), tokens) == (expected, 82_430)
    assert model.unk_trained and len(model.vocabulary) == 10_000


# lmplz -o 5 --prune 0 0 1 2 3, likewise: 149.4873 and these n-grams (and one word more, its own <unk>)
def test_ptb_pruned_has_the_ngrams_and_the_perplexity_of_lmplz(ptb):
    model = estimate(ptb / "ptb.train.txt", order=5, prune=[0, 0, 1, 2, 3])
    assert model.counts == [10_001, 264_990, 81_305, 15_771, 4_766]
    assert perplexity(model, ptb / "ptb.test.txt")[0] == pytest.approx(149.4873, abs=5e-4)


@settings(max_examples=100, deadline=None)
@given(sentences=SENTENCES, order=st.integers(1, 6), steps=st.lists(st.integers(0, 2), max_size=5))
def test_arrays_estimate_what_dictionaries_estimate(sentences, order, steps):
    prune = [0, *np.cumsum(steps).tolist()][:order]
    model = estimate(sentences, order=order, prune=prune)
    slow = reference.estimate(sentences, order=order, prune=prune)
    assert sum(model.counts) == len(slow)
    words = [*model.vocabulary, "<s>"]
    listed = [(id,) for id in range(len(words))]
    for n, level in enumerate(model.levels, start=1):
        if n > 1:
            contexts, last = np.divmod(level.keys, len(words))
            listed = [(*listed[context], word) for context, word in zip(contexts, last, strict=True)]
        for place, ids in enumerate(listed):
            prob, backoff = slow[tuple(words[id] for id in ids)]
            assert math.exp(level.log_probs[place]) == pytest.approx(prob, abs=1e-12)
            if n < model.order:
                assert math.exp(level.backoffs[place]) == pytest.approx(backoff, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    sentences=SENTENCES,
    order=st.integers(1, 6),
    steps=st.lists(st.integers(0, 2), max_size=5),
    context=st.lists(st.sampled_from("abcdez"), max_size=8),
)
def test_every_context_has_a_distribution_that_sums_to_one(sentences, order, steps, context):
    model = estimate(sentences, order=order, prune=[0, *np.cumsum(steps).tolist()][:order])
    values = model.next_log_probs(context)
    assert values.shape == (len(model.vocabulary),)
    assert np.exp(values).sum() == pytest.approx(1, abs=1e-12)


def test_discounts_by_hand():
    # n1 = 4, n2 = 2, n3 = 1, n4 = 1: Y = 4/8; D1 = 1 - 2 Y 2/4, D2 = 2 - 3 Y 1/2, D3 = 3 - 4 Y 1/1
    assert discounts_of(np.array([1, 1, 1, 1, 2, 2, 3, 4, 9, 0, 0])) == [0.5, 1.25, 1.0]
    assert discounts_of(np.array([1, 1, 2])) is None
    assert discounts_of(np.array([1] * 9 + [2] + [3] * 9)) is None  # D2 below 0


def test_a_model_by_hand():
    """One sentence, "a b", order 2, discounts 1/2, 1, 3/2: all adjusted counts are 1."""
    model = estimate([["a", "b"]], order=2)
    prob = dict(zip(model.vocabulary, np.exp(model.levels[0].log_probs), strict=False))
    # unigrams: </s>, a, b each (1 - 1/2) / 3, and the rest, 1/2, over the four words
    assert prob == pytest.approx({"<unk>": 1 / 8, "</s>": 1 / 6 + 1 / 8, "a": 1 / 6 + 1 / 8, "b": 1 / 6 + 1 / 8})
    after_a = dict(zip(model.vocabulary, np.exp(model.next_log_probs(["a"])), strict=True))
    assert after_a == pytest.approx({"<unk>": 1 / 16, "</s>": 7 / 48, "a": 7 / 48, "b": 1 / 2 + 7 / 48})
    assert model.facts["fallback_orders"] == [1, 2]


def test_what_stands_after_the_beginning_is_counted_as_often_as_it_was_seen():
    flat = np.array([3, 1, 0, 3, 1, 0, 3, 2, 1, 0])  # <s> = 3: "1", "1", "2 1"
    counts = count(flat, 3, start=3)
    assert [level.keys.tolist() for level in counts[:2]] == [[0, 1, 2, 3], [4, 9, 13, 14]]
    adjusted = adjust(counts, start=3)
    assert adjusted[0].tolist() == [1, 2, 1, 0]  # how many words before; <s> has none
    assert adjusted[1].tolist() == [2, 1, 2, 1]  # "1 </s>" after <s> and 2; "2 1" after <s>; <s> 1 twice; <s> 2 once
    assert adjusted[2].tolist() == [1, 2, 1]  # as often as seen: "2 1 </s>", "<s> 1 </s>", "<s> 2 1"


def test_an_order_above_the_longest_sentence_is_left_out():
    model = estimate([["a", "b"], ["a"]], order=9)
    assert model.order == 4 and model.facts["order_asked"] == 9  # <s> a b </s>


def test_pruning_all_of_the_highest_order_lowers_it():
    model = estimate([["a", "b"], ["b", "a"]], order=3, prune=[0, 0, 5])
    assert model.order == 2 and len(model.levels[-1].backoffs) == 0


def test_a_bound_that_the_text_writes_is_an_unknown_word():
    model = estimate([["a", "</s>", "b"], ["<s>", "a"]], order=2)
    assert model.vocabulary == ["</s>", "<unk>", "a", "b"] and model.unk_trained


def test_blank_lines_are_no_sentences(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a b\n\n \nb\n")
    facts = estimate(path, order=2).facts
    assert (facts["sentences"], facts["words"]) == (2, 3)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"order": 0}, "order = 0 cannot be"),
        ({"order": 99}, "order = 99 cannot be"),
        ({"order": 3, "prune": [1]}, "the first threshold is 1"),
        ({"order": 3, "prune": [0, 2, 1]}, "thresholds 0,2,1 fall"),
        ({"order": 2, "prune": [0, 0, 1]}, "3 thresholds are too many"),
        ({"order": 2, "fallback": [0.5, 1]}, "fallback discounts"),
        ({"order": 2, "fallback": [0.5, 1, math.nan]}, "fallback discounts"),
    ],
)
def test_options_that_cannot_be(options, complaint):
    with pytest.raises(UsageError, match=complaint):
        estimate([["a"]], **options)


@pytest.mark.parametrize("sentences", [[], [[]]])
def test_no_word_is_no_model(sentences):
    with pytest.raises(TextError, match="no word"):
        estimate(sentences, order=2)
