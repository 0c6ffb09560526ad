"""Context models of DNA: against dictionaries, one base at a time; and the numbers that they must reach."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import UsageError
from elman.ngram import baseline as baselines
from elman.ngram import markov, meme
from elman.ngram.baseline import baseline, orders_for
from elman.ngram.markov import ALPHAS, WordCounts, best_alpha, bits_per_base, fit, other_strand
from elman.text.dna import LETTERS, decode, encode, reverse_complement
from elman.text.genome import Genome, open_genome
from elman.text.holdout import hold_out
from elman.text.regions import Region

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dna"
TEXTS = st.text(alphabet="ACGTACGTACGTNR", max_size=60)


def slow_counts(texts: list[str], order: int, both: bool) -> Counter[str]:
    """Every word of known bases, of each length up to order + 1."""
    counts: Counter[str] = Counter()
    if both:
        texts = [*texts, *(decode(reverse_complement(encode(text))) for text in texts)]
    for text in texts:
        for length in range(1, order + 2):
            for start in range(len(text) - length + 1):
                word = text[start : start + length]
                if set(word) <= set("ACGT"):
                    counts[word] += 1
    return counts


def slow_log_probs(text: str, counts: Counter[str], order: int, alpha: float) -> list[float]:
    """For each base: go back as far as the context is known, `order` at the most, and divide."""
    found = []
    for place, base in enumerate(text):
        if base not in "ACGT":
            found.append(math.nan)
            continue
        start = place
        while start > max(0, place - order) and text[start - 1] in "ACGT":
            start -= 1
        context = text[start:place]
        total = sum(counts[context + other] for other in "ACGT")
        found.append(math.log((counts[context + base] + alpha) / (total + 4 * alpha)))
    return found


@given(texts=st.lists(TEXTS, max_size=3), text=TEXTS, order=st.integers(0, 4), both=st.booleans())
def test_counts_and_log_probs_are_those_of_dictionaries(texts, text, order, both):
    counts = slow_counts(texts, order, both)
    model = fit([encode(each) for each in texts], order, reverse_complement=both, alpha=0.5)
    for length, table in enumerate(model.tables, start=1):
        assert {meme.word(key, length): n for key, n in enumerate(table.tolist()) if n} == {
            word: n for word, n in counts.items() if len(word) == length
        }
    np.testing.assert_allclose(model.log_probs(encode(text)), slow_log_probs(text, counts, order, 0.5))


@given(text=st.text(alphabet="ACGTACGTN", min_size=1, max_size=80), order=st.integers(0, 5), size=st.integers(1, 9))
def test_pieces_after_their_contexts_equal_the_whole(text, order, size):
    codes = encode(text)
    whole = fit(codes, order)
    counts = WordCounts(order)
    pieces = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markov, "_BLOCK", size)
        for start in range(0, len(codes), 2 * size):
            before = min(order, start)
            piece = codes[start - before : start + 2 * size]
            counts.add(piece, before=before)
            pieces.append(whole.log_probs(piece, before=before))
    for one, other in zip(whole.tables, counts.tables(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(whole.log_probs(codes), np.concatenate(pieces))


@given(order=st.integers(0, 4), alpha=st.sampled_from([None, 0.01, 3.0]), text=TEXTS)
def test_probabilities_of_a_context_sum_to_one(order, alpha, text):
    model = fit(encode(text), order, alpha=alpha)
    context = encode("ACGTACGT"[:order])
    log_probs = [model.log_probs(np.append(context, np.uint8(x)))[-1] for x in range(4)]
    assert np.exp(log_probs).sum() == pytest.approx(1)


@given(text=TEXTS, order=st.integers(0, 3))
def test_a_model_of_both_strands_is_the_same_from_either(text, order):
    codes = encode(text)
    for one, other in zip(fit(codes, order).tables, fit(reverse_complement(codes), order).tables, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, other_strand(one))


def test_a_lower_order_of_a_model_is_the_model_of_that_order():
    codes = np.random.default_rng(1).integers(0, 5, 3000).astype(np.uint8)
    model = fit(codes, 6)
    for order in (0, 3, 5):
        lower = fit(codes, order)
        np.testing.assert_array_equal(model.of_order(order).log_probs(codes), lower.log_probs(codes))


def test_alpha_is_the_one_that_leaves_one_out_best():
    codes = np.random.default_rng(2).integers(0, 4, 400).astype(np.uint8)
    counts = slow_counts([decode(codes)], 2, both=True)

    def left_one_out(alpha: float) -> float:
        total = 0.0
        for word, n in counts.items():
            if len(word) == 3:
                of_context = sum(counts[word[:2] + base] for base in "ACGT")
                total += n * math.log((n - 1 + alpha) / (of_context - 1 + 4 * alpha))
        return total

    model = fit(codes, 2)
    assert model.alpha == max(ALPHAS, key=left_one_out)
    assert best_alpha(np.zeros(64, dtype=np.int64), np.zeros(16, dtype=np.int64)) == 1


def test_the_histogram_of_large_counts_is_that_of_small_ones(monkeypatch):
    table = np.random.default_rng(3).integers(0, 50, 256)
    small = markov._histogram(table)
    monkeypatch.setattr(markov, "_DENSE", 3)
    for one, other in zip(small, markov._histogram(table), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bases", [None, 1000, 1 << 31])
def test_counts_take_four_bytes_where_they_suffice(bases):
    counts = WordCounts(1, bases=bases)
    counts.add(encode("ACGT"))
    assert {table.dtype for table in counts.tables()} == {np.dtype(np.uint32 if bases == 1000 else np.int64)}


@pytest.mark.parametrize(
    ("order", "alpha"), [(-1, None), (13, None), (2, 0.0), (2, -1.0), (2, math.nan), (2, math.inf)]
)
def test_orders_and_alphas_that_cannot_be_are_refused(order, alpha):
    with pytest.raises(UsageError):
        fit(encode("ACGT"), order, alpha=alpha)


def test_a_sequence_that_repeats_needs_few_bits_and_a_random_one_two():
    random = np.random.default_rng(4).integers(0, 4, 60_000).astype(np.uint8)
    assert bits_per_base(fit(random[:50_000], 3).log_probs(random[50_000:])) == pytest.approx(2, abs=0.01)
    periodic = np.tile(encode("ACGGT"), 400)
    assert bits_per_base(fit(periodic, 4, reverse_complement=False).log_probs(periodic)) < 0.01


# The baseline of a genome


def test_a_baseline_is_its_models_on_its_regions():
    draw = np.random.default_rng(5)
    genome = Genome.of(
        {"a": draw.integers(0, 5, 4000).astype(np.uint8), "b": draw.integers(0, 4, 900).astype(np.uint8)}
    )
    split = hold_out(genome, "a:1001-3000")
    result = baseline(genome, split, orders=[3, 1])
    training = [genome.fetch(each.name, each.start, each.end) for each in split.training]
    held_out = genome.fetch("a", 1000, 3000)
    assert [each.order for each in result.orders] == [1, 3]
    for each in result.orders:
        model = fit(training, each.order)
        assert each.bits_per_base == pytest.approx(bits_per_base(model.log_probs(held_out)))
        assert each.alpha == model.alpha
    assert (result.skipped, result.bases) == ((held_out == 4).sum(), (held_out < 4).sum())
    assert result.training_bases == sum((codes < 4).sum() for codes in training)
    assert result.best.bits_per_base == min(each.bits_per_base for each in result.orders)
    assert result.as_dict()["order"] == result.best.order


def test_many_short_regions_equal_one_by_one(monkeypatch):
    codes = np.random.default_rng(6).integers(0, 4, 500).astype(np.uint8)
    genome = Genome.of({"a": codes})
    regions = [
        Region("a", start, start + length) for start, length in [(0, 7), (20, 1), (100, 180), (300, 30), (400, 64)]
    ]
    expected = fit([codes[each.start : each.end] for each in regions], 3).tables
    for batch in (1, 40, 1000):  # all in windows, some, none
        monkeypatch.setattr(baselines, "_BATCH", batch)
        for one, other in zip(expected, baselines.count(genome, regions, 3).tables(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_part_of_nothing_but_n_is_refused():
    genome = Genome.of({"a": encode("ACGT" * 9), "gap": encode("N" * 20)})
    for what, message in [("gap", "the held-out part has no base"), ("a", "the training part has no base")]:
        with pytest.raises(UsageError, match=message):
            baseline(genome, hold_out(genome, what), orders=[1])


def test_orders_that_the_bases_are_enough_for():
    assert orders_for(1) == [0, 1, 2]
    assert orders_for(4_000_000) == orders_for(3_000_000_000) == list(range(13))


# Files of the MEME Suite


@given(text=st.text(alphabet="ACGTN", max_size=200), order=st.integers(0, 3), both=st.booleans())
def test_a_background_file_sums_to_one_and_is_alike_on_both_strands(text, order, both):
    counts = WordCounts(order)
    counts.add(encode(text))
    lines = meme.background(counts.tables(reverse_complement=both), order=order).splitlines()
    assert [line for line in lines if line.startswith("#")] == [f"# order {k}" for k in range(order + 1)]
    probs = {word: float(prob) for word, prob in (line.split() for line in lines if not line.startswith("#"))}
    assert len(probs) == sum(4**length for length in range(1, order + 2))
    assert [*map(len, probs)] == sorted(map(len, probs)) and all(0 < prob < 1 for prob in probs.values())
    for length in range(1, order + 2):
        assert sum(prob for word, prob in probs.items() if len(word) == length) == pytest.approx(1, abs=1e-5)
    if both:
        assert all(probs[word] == probs[decode(reverse_complement(encode(word)))] for word in probs)


def test_the_words_of_a_background_file_have_their_frequencies(tmp_path):
    counts = WordCounts(1)
    counts.add(encode("AACGT" * 2000))
    meme.write_background(tmp_path / "new" / "bg", counts.tables(reverse_complement=False), order=1)
    probs = dict(line.split() for line in (tmp_path / "new" / "bg").read_text().splitlines() if line[0] != "#")
    assert float(probs["AA"]) == pytest.approx(0.2, abs=1e-3) and float(probs["AG"]) < 1e-4
    assert float(probs["A"]) == pytest.approx(0.4, abs=1e-3)
    assert all(
        sum(float(probs[x + end]) for x in "ACGT") == pytest.approx(float(probs[end]), abs=1e-3) for end in "ACGT"
    )
    assert meme.word(0b000110, 3) == "ACG" and LETTERS[:4] == "ACGT"


# What the README of the data promises


@pytest.mark.parametrize(
    ("file", "order", "bits"),
    [
        ("ecoli_k12_mg1655_U00096.2.fa", 6, 1.933),
        ("lambda_NC_001416.fa", 4, 1.979),
        ("sarscov2_MN908947.3.fa", 2, 1.975),
    ],
)
def test_published_numbers_on_the_last_tenth(file, order, bits, tmp_path):
    if not (SHARED / file).is_file():
        pytest.skip("the genomes are not in ../shared/data/dna")
    genome = open_genome(SHARED / file, cache_folder=tmp_path)
    split = hold_out(genome, 0.1)
    result = baseline(genome, split, orders=[order], alpha=1)
    assert round(result.best.bits_per_base, 3) == bits
    chosen = baseline(genome, split, orders=[order])
    assert chosen.best.bits_per_base < result.best.bits_per_base + 1e-4
