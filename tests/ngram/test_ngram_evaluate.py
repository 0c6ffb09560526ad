"""Counting as SRILM counts, and as `elman evaluate` does."""

import gzip
import math

import numpy as np
import pytest

from elman.config import TextSettings
from elman.errors import TextError, UsageError
from elman.ngram.estimate import estimate
from elman.ngram.evaluate import evaluate
from elman.ngram.model import Level, NGramModel
from elman.text.tokenizers import TOKENIZERS

TRAIN = ["the cat sees a dog", "a dog sees the cat", "the cat sleeps"]
TEST = ["the cat sleeps", "", "a zebra sees  the <unk> käfer", "</s> the"]


@pytest.fixture
def model():
    return estimate(map(str.split, TRAIN), order=3)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(TEST) + "\n")
    return path


@pytest.mark.parametrize("oov", ["skip", "unk"])
def test_the_numbers_are_those_of_the_words_one_by_one(model, text, oov):
    result = evaluate(model, text, oov=oov)
    values = np.concatenate(model.log_probs([line.split() for line in TEST if line], oov=oov))
    scored = values[~np.isnan(values)]
    assert (result.sentences, result.words, result.oovs, result.zeroprobs) == (3, 11, 4, 0)
    assert result.tokens == len(scored) == (10 if oov == "skip" else 14)
    assert result.logprob10 == pytest.approx(scored.sum() / math.log(10))
    assert result.perplexity == result.token_perplexity == pytest.approx(10 ** (-result.logprob10 / len(scored)))
    assert result.perplexity1 == pytest.approx(10 ** (-result.logprob10 / (len(scored) - 3)))


def test_counts_are_those_of_the_tokenizer(model, text):
    block = TOKENIZERS["word"].train(iter(TRAIN), TextSettings()).encode_block(TEST)
    for oov, characters in (("skip", block.characters - block.oov_characters), ("unk", block.characters)):
        result = evaluate(model, text, oov=oov)
        assert (result.sentences, result.words, result.oovs) == (block.sentences, block.words, block.oovs)
        bits = -result.logprob10 * math.log2(10)
        assert result.bits_per_character == pytest.approx(bits / characters)


def test_a_word_of_no_probability_is_counted_and_left_out(tmp_path):
    never = Level(np.arange(4), np.log([0.5, 0.5, 1e-300, 1e-300]), np.empty(0))
    never.log_probs[2:] = -np.inf
    model = NGramModel(["</s>", "a", "b"], [never], unk_trained=False)
    (tmp_path / "text.txt").write_text("a b\n")
    result = evaluate(model, tmp_path / "text.txt")
    assert (result.zeroprobs, result.oovs, result.perplexity, result.perplexity1) == (1, 0, 2.0, pytest.approx(4.0))


def test_batches_and_gzip_change_no_number(model, tmp_path):
    line = "a zebra sees the cat\n"
    (tmp_path / "one.txt").write_text(line)
    (tmp_path / "many.txt.gz").write_bytes(gzip.compress(line.encode() * 60_000))
    one, many = evaluate(model, tmp_path / "one.txt"), evaluate(model, tmp_path / "many.txt.gz")
    assert many.perplexity == pytest.approx(one.perplexity, rel=1e-9)
    assert (many.words, many.oovs) == (300_000, 60_000)
    assert many.bits_per_character == pytest.approx(one.bits_per_character)


def test_a_text_of_unknown_words_is_refused(model, tmp_path):
    (tmp_path / "text.txt").write_text("zebra käfer\n")
    with pytest.raises(TextError, match="only words that the model does not know"):
        evaluate(model, tmp_path / "text.txt")
    assert evaluate(model, tmp_path / "text.txt", oov="unk").oovs == 2


def test_a_wrong_oov_is_wrong_usage(model, text):
    with pytest.raises(UsageError, match="oov 'no' cannot be"):
        evaluate(model, text, oov="no")
