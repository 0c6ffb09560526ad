"""Scores of DNA: what a piece, a strand, an ambiguous base and a block that is learnt from may and may not change."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.apply import dna_scores
from elman.apply.dna import AdaptingStrand, BaseScorer, Strand, Values, generate_bases
from elman.apply.dna_adapting import from_model, from_nothing, recipe_of_dna
from elman.apply.dna_baselines import Counted, Growing, growing_orders
from elman.apply.dna_scores import ScoredPiece, adapt_regions, bases_trained_on, score_regions
from elman.config import NetworkSettings, Settings, build, to_flat
from elman.errors import ModelError, UsageError
from elman.learn.bases import BaseLearner
from elman.network.bases import Codes, Contexts
from elman.network.bases_folder import BaseModel, new_contexts, new_network
from elman.ngram.markov import best_order, fit
from elman.text.dna import COMPATIBLE, N, encode, reverse_complement
from elman.text.genome import Genome
from elman.text.regions import Region

SMALL = {
    "text.unit": "dna",
    "network.encoder": "n-gram",
    "network.ngrams": [2, 3],
    "network.counts": [1, 2, 3, 11, 16],
    "network.counts_bits": 10,
    "network.hidden": 6,
    "network.activation": "tanh",
    "learn.optimizer": "adam",
    "learn.alpha": 0.02,
    "learn.counts_rate": 0.01,
    "learn.batch": 3,
    "learn.bptt": 7,
    "learn.threads": 1,
}
BLOCK_SIZE = 21


def settings() -> Settings:
    return build(SMALL)


def drawn(length: int, seed: int, *, ambiguous: float = 0.0) -> Codes:
    """Bases of which each is likely the one two before it, and here and there an IUPAC code."""
    draw = np.random.default_rng(seed)
    codes = draw.integers(0, 4, length)
    for place in np.flatnonzero(draw.random(length) < 0.6):
        codes[place] = codes[max(place - 2, 0)]
    codes[draw.random(length) < ambiguous] = draw.integers(4, 15)
    return codes.astype(np.uint8)


def made(counted: Sequence[Codes] = (), *, net: NetworkSettings | None = None) -> BaseModel:
    net = net or settings().network
    network = new_network(net, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(4)
    model = BaseModel(network.eval(), new_contexts(net, 1000), list(counted), {"settings": to_flat(settings())})
    model.count()
    return model


@pytest.fixture(scope="module")
def model() -> BaseModel:
    return made([drawn(4000, 1)])


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dna_scores, "PIECE", 100)
    monkeypatch.setattr(dna_scores, "WARMING", 80)


def at_once(model: BaseModel, codes: Codes, *, ambiguous: str = "skip") -> Values:
    strand = Strand(model, ambiguous=ambiguous)
    strand.begin()
    return strand.read(codes)


def values_of(pieces: Sequence[ScoredPiece]) -> Values:
    return np.concatenate([piece.values for piece in pieces])


def adapting(ambiguous: str = "skip") -> AdaptingStrand:
    return from_nothing(settings(), 1000).strand(ambiguous=ambiguous)


@pytest.mark.parametrize("ambiguous", ["skip", "sum"])
@given(cuts=st.lists(st.integers(0, 300), max_size=5), seed=st.integers(0, 99))
def test_a_strand_read_in_pieces_is_the_strand_read_at_once(
    model: BaseModel, ambiguous: str, cuts: list[int], seed: int
) -> None:
    codes = drawn(300, seed, ambiguous=0.1)
    strand = Strand(model, ambiguous=ambiguous)
    strand.begin()
    pieces = np.concatenate([strand.read(part) for part in np.split(codes, sorted(cuts))])
    assert np.array_equal(pieces, at_once(model, codes, ambiguous=ambiguous), equal_nan=True)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("ambiguous", ["skip", "sum"])
def test_both_strands_in_pieces_are_the_means_of_both_at_once(model: BaseModel, ambiguous: str, threads: int) -> None:
    codes = drawn(730, 5, ambiguous=0.02)
    genome = Genome.of({"a": codes})
    region = [Region("a", 0, 730)]
    pieces = list(score_regions(model, genome, region, ambiguous=ambiguous, threads=threads))
    forward = at_once(model, codes, ambiguous=ambiguous)
    backward = at_once(model, reverse_complement(codes), ambiguous=ambiguous)[::-1]
    assert len(pieces) == 8 and [piece.last for piece in pieces] == [False] * 7 + [True]
    np.testing.assert_allclose(values_of(pieces), (forward + backward) / 2, atol=1e-6)
    one = values_of(list(score_regions(model, genome, region, strands="forward", ambiguous=ambiguous)))
    np.testing.assert_allclose(one, forward, atol=1e-6)
    assert not np.allclose(forward, backward, atol=0.01, equal_nan=True)


@pytest.mark.usefixtures("short_pieces")
def test_counts_without_a_net_are_the_same_in_pieces_to_the_last_bit() -> None:
    model = made([drawn(3000, 1)])
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.zero_()
    codes = drawn(500, 6)
    pieces = list(score_regions(model, Genome.of({"a": codes}), [Region("a", 0, 500)], strands="forward"))
    assert np.array_equal(values_of(pieces), at_once(model, codes))


def test_threads_change_no_bit(model: BaseModel, short_pieces: None) -> None:
    genome = Genome.of({"a": drawn(450, 1), "b": drawn(70, 2, ambiguous=0.1), "c": drawn(0, 3), "d": drawn(333, 4)})
    regions = [Region(record.name, 0, record.length) for record in genome]
    one, four = (list(score_regions(model, genome, regions, threads=threads)) for threads in (1, 4))
    assert np.array_equal(values_of(one), values_of(four), equal_nan=True)
    assert [piece.score.region.name for piece in four] == ["a"] * 5 + ["b", "c"] + ["d"] * 4


def test_a_sequence_that_is_its_own_reverse_complement_reads_alike_on_both_strands(model: BaseModel) -> None:
    half = drawn(150, 8)
    codes = np.concatenate([half, reverse_complement(half)])
    values = values_of(list(score_regions(model, Genome.of({"a": codes}), [Region("a", 0, 300)])))
    np.testing.assert_allclose(values, values[::-1], rtol=1e-12)


def test_the_other_strand_has_the_same_bits_per_base(model: BaseModel) -> None:
    codes = drawn(400, 9, ambiguous=0.03)
    one, other = (
        list(score_regions(model, Genome.of({"a": each}), [Region("a", 0, 400)]))[-1].score
        for each in (codes, reverse_complement(codes))
    )
    assert one.bits_per_base == pytest.approx(other.bits_per_base, rel=1e-12)
    assert (one.bases, one.skipped) == (other.bases, other.skipped) and one.skipped > 0


def test_a_region_is_scored_as_the_slice_by_itself(model: BaseModel) -> None:
    codes = drawn(500, 10, ambiguous=0.02)
    genome, alone = Genome.of({"a": codes}), Genome.of({"x": codes[123:321]})
    region = list(score_regions(model, genome, [Region("a", 123, 321)]))
    whole = list(score_regions(model, alone, [Region("x", 0, 198)]))
    assert region[0].start == 123 and np.array_equal(values_of(region), values_of(whole), equal_nan=True)


@pytest.mark.usefixtures("short_pieces")
def test_a_ring_can_be_cut_anywhere(model: BaseModel) -> None:
    codes = drawn(430, 11)
    values = [
        values_of(list(score_regions(model, Genome.of({"a": each}), [Region("a", 0, 430)], circular=True)))
        for each in (codes, np.roll(codes, -137))
    ]
    np.testing.assert_allclose(np.roll(values[0], -137), values[1], atol=1e-6)
    line = values_of(list(score_regions(model, Genome.of({"a": codes}), [Region("a", 0, 430)])))
    assert abs(line[0] - values[0][0]) > 1e-3 and np.allclose(line[100:330], values[0][100:330], atol=1e-6)


def test_a_part_of_a_ring_is_a_line(model: BaseModel) -> None:
    genome = Genome.of({"a": drawn(200, 12)})
    ring, line = (
        values_of(list(score_regions(model, genome, [Region("a", 0, 199)], circular=circular)))
        for circular in (True, False)
    )
    assert np.array_equal(ring, line)


def test_an_n_costs_nothing_and_an_r_what_a_or_g_would(model: BaseModel) -> None:
    before, after = encode("ACGTTGCAAC"), encode("GATTAC")
    for code in (N, *encode("RYKMSWBDHV").tolist()):
        codes = np.concatenate([before, [np.uint8(code)] * 2, after]).astype(np.uint8)
        values = at_once(model, codes, ambiguous="sum")
        each = [math.exp(at_once(model, np.append(before, np.uint8(base)))[-1]) for base in range(4)]
        first = [math.exp(at_once(model, np.array([base], np.uint8))[0]) for base in range(4)]
        assert values[10] == pytest.approx(math.log(COMPATIBLE[code] @ each / sum(each)), abs=1e-6)
        assert values[11] == pytest.approx(math.log(COMPATIBLE[code] @ first / sum(first)), abs=1e-6)
        assert code != N or (values[10], values[11]) == (0.0, 0.0)
        assert np.array_equal(values[12:], at_once(model, after))
        skipped = at_once(model, codes)
        assert np.isnan(skipped[10:12]).all() and np.array_equal(skipped[:10], values[:10])


@pytest.mark.parametrize("ambiguous", ["skip", "sum"])
@pytest.mark.parametrize("kind", ["strand", "reverse", "adapting"])
@given(place=st.integers(1, 199), seed=st.integers(0, 9))
def test_no_later_base_changes_one_bit_of_an_earlier_value(
    model: BaseModel, kind: str, ambiguous: str, place: int, seed: int
) -> None:
    def read(codes: Codes) -> Values:
        strand = adapting(ambiguous) if kind == "adapting" else Strand(model, ambiguous=ambiguous)
        strand.begin()
        return strand.read(reverse_complement(codes) if kind == "reverse" else codes)

    codes = drawn(200, seed, ambiguous=0.05)
    other = codes.copy()
    if kind == "reverse":  # what comes later on the other strand stands earlier here
        other[:-place] = drawn(200 - place, seed + 50, ambiguous=0.2)
    else:
        other[place:] = drawn(200 - place, seed + 50, ambiguous=0.2)
    assert np.array_equal(read(codes)[:place], read(other)[:place], equal_nan=True)


def test_what_was_read_teaches_what_comes_later() -> None:
    codes = np.tile(drawn(60, 14), 20)
    strand = adapting()
    strand.begin()
    values = strand.read(codes)
    assert -values[-300:].mean() < 0.2 < 1 < -values[:60].mean()


def test_without_a_rate_the_net_and_the_weights_stay_as_they_are() -> None:
    codes, net = drawn(300, 15), settings()
    still = from_nothing(net, 300, alpha=0.0, rate=0.0)
    before = [weight.clone() for weight in still.learner.network.parameters()]  # type: ignore[union-attr]
    mix = still.learner.contexts.weights.copy()
    strand = still.strand()
    strand.begin()
    strand.read(codes)
    after = list(still.learner.network.parameters())  # type: ignore[union-attr]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert np.array_equal(mix, still.learner.contexts.weights) and still.learner.contexts.tables.any()


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("ambiguous", ["skip", "sum"])
def test_learning_while_scoring_in_pieces_is_the_same_as_at_once_to_the_last_bit(ambiguous: str) -> None:
    codes = drawn(500, 16, ambiguous=0.02)
    one = adapting(ambiguous)
    one.begin()
    expected = one.read(codes)
    pieces = list(adapt_regions(adapting(ambiguous), Genome.of({"a": codes}), [Region("a", 0, 500)]))
    assert [piece.start for piece in pieces] == list(range(0, 500, 4 * BLOCK_SIZE))
    assert np.array_equal(values_of(pieces), expected, equal_nan=True)


def test_what_one_record_taught_the_next_one_knows() -> None:
    codes = drawn(400, 17)
    genome = Genome.of({"a": codes, "b": codes})
    first, second = adapt_regions(adapting(), genome, [Region(name, 0, 400) for name in "ab"])
    assert second.score.bits_per_base < first.score.bits_per_base - 0.5


def test_a_trained_model_learns_at_the_rates_of_its_card() -> None:
    found = from_model(made())
    assert (found.alpha, found.rate, found.learner.block) == (0.02, 0.01, BLOCK_SIZE)
    assert (from_model(made(), alpha=0.5, rate=0.25).alpha, from_model(made(), rate=0.25).rate) == (0.5, 0.25)


@pytest.mark.parametrize("card", [{}, {"settings": None}, {"settings": {"learn.alpha": "much"}}, {"settings": []}])
def test_a_card_without_settings_cannot_say_how_to_learn(card: dict[str, object]) -> None:
    model = made()
    with pytest.raises(ModelError, match="does not say how it was trained"):
        from_model(BaseModel(model.network, model.contexts, [], card))


def test_only_a_recipe_for_dna_begins_from_nothing() -> None:
    assert recipe_of_dna("dna").text.unit == "dna"
    with pytest.raises(UsageError, match="for unit char, not for dna"):
        recipe_of_dna("chars")


@pytest.mark.parametrize("call", ["strand", "adapting", "regions"])
def test_another_way_to_treat_ambiguous_bases_is_refused(model: BaseModel, call: str) -> None:
    with pytest.raises(UsageError, match="choose skip or sum"):
        if call == "strand":
            Strand(model, ambiguous="n")
        elif call == "adapting":
            adapting("n")
        else:
            list(score_regions(model, Genome.of({}), [], ambiguous="n"))


def test_a_learner_without_a_net_only_counts() -> None:
    learner = BaseLearner(None, Contexts([2, 4], bits=10), settings().learn)
    strand = AdaptingStrand(learner, alpha=0.0, rate=0.01)
    strand.begin()
    assert -strand.read(np.tile(drawn(50, 18), 30))[-50:].mean() < 0.5


def test_the_scorer_of_variants_reads_a_sequence_after_nothing(model: BaseModel) -> None:
    sequences = [drawn(50, seed, ambiguous=0.1) for seed in range(5)]
    for threads in (1, 2):
        found = BaseScorer(model, threads=threads).log_probs_batch(sequences)
        for values, codes in zip(found, sequences, strict=True):
            assert np.array_equal(values, at_once(model, codes), equal_nan=True)


def test_bases_that_were_trained_on_are_counted_once() -> None:
    genome = Genome.of({"a": drawn(100, 1), "b": drawn(50, 2)})
    card = {"train": {"regions": ["a:1-60", "gone:1-9", "b:1-500"]}}
    regions = [Region("a", 0, 100), Region("a", 50, 70), Region("b", 0, 50)]
    assert bases_trained_on(card, genome, regions) == 60
    assert bases_trained_on({}, genome, regions) == 0


def scored(model: BaseModel, codes: Codes, **options: object) -> list[ScoredPiece]:
    genome = Genome.of({"a": codes})
    return list(score_regions(model, genome, [Region("a", 0, len(codes))], **options))  # type: ignore[arg-type]


@pytest.mark.usefixtures("short_pieces")
def test_the_baseline_is_the_context_model_of_what_the_model_was_trained_on(model: BaseModel) -> None:
    training, codes = model.counted, drawn(450, 20, ambiguous=0.02)
    baseline = Counted(training)
    expected = fit(training, baseline.order).log_probs(codes)
    found = np.concatenate([baseline.log_probs(piece) for piece in scored(model, codes)])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    summed = np.concatenate([baseline.log_probs(piece) for piece in scored(model, codes, ambiguous="sum")])
    assert np.array_equal(summed[codes < 4], expected[codes < 4])
    np.testing.assert_allclose(summed[codes >= 4], np.log(COMPATIBLE[codes[codes >= 4]].sum(axis=1) / 4))


def test_the_order_of_the_baseline_is_what_leaving_one_out_likes() -> None:
    assert Counted([drawn(30_000, 21)]).order == 2  # each base is likely the one two before it
    codes = drawn(300, 22)
    fitted = fit(codes, 3, reverse_complement=False)
    gains = []
    for order in range(4):  # one by one, by hand
        model, total, count = fitted.of_order(order), 0.0, 0
        for place in range(order, 300):
            word = int(sum(int(codes[place - back]) << 2 * back for back in range(order + 1)))
            n, of = int(model.tables[order][word]), int(model.contexts[order][word // 4])
            total += math.log((n - 1 + model.alpha) / (of - 1 + 4 * model.alpha))
            count += 1
        gains.append(total / count)
    assert best_order(fitted) == int(np.argmax(gains))
    assert best_order(fit(codes[:0], 3)) == 0


def test_growing_counts_are_the_counts_so_far_by_hand() -> None:
    codes = drawn(700, 23)
    piece = ScoredPiece(dna_scores.RecordScore(Region("a", 0, 700)), 0, codes[:0], codes, np.zeros(700), True)
    found = Growing(700).log_probs(piece)
    assert growing_orders(700) == [2]
    for place in (2, 3, 100, 500, 699):
        past, context = codes[:place], codes[place - 2 : place].tolist()
        n = np.ones(4)
        for strand in (past, reverse_complement(past)):
            for at in range(2, place):
                if strand[at - 2 : at].tolist() == context:
                    n[strand[at]] += 1
        assert found[place] == pytest.approx(math.log(n[codes[place]] / n.sum()), abs=1e-5)


def test_growing_counts_begin_with_what_was_trained_on_and_follow_the_best_order_so_far() -> None:
    codes = np.tile(drawn(60, 24), 400)
    piece = ScoredPiece(
        dna_scores.RecordScore(Region("a", 0, len(codes))), 0, codes[:0], codes, np.zeros(len(codes)), True
    )
    fresh, knowing = Growing(len(codes)), Growing(len(codes), [codes])
    values = fresh.log_probs(piece)
    assert fresh.orders == [2, 4] and fresh.order == 4
    assert knowing.log_probs(piece)[:1000].mean() > values[:1000].mean() + 0.01


@given(size=st.integers(1, 4), count=st.integers(1, 70), seed=st.integers(0, 9))
def test_a_seed_draws_the_same_bases_in_pieces_of_any_size(model: BaseModel, size: int, count: int, seed: int) -> None:
    parts = list(generate_bases(model, count, generator=torch.Generator().manual_seed(seed), size=16 * size))
    whole = list(generate_bases(model, count, generator=torch.Generator().manual_seed(seed)))
    assert len(whole) == 1 and np.array_equal(np.concatenate(parts), whole[0]) and len(whole[0]) == count


def test_bases_are_drawn_as_the_model_says(model: BaseModel) -> None:
    prompt = encode("ACGTTGCA")
    y = [math.exp(at_once(model, np.append(prompt, np.uint8(base)))[-1]) for base in range(4)]
    generator = torch.Generator().manual_seed(1)
    first = [next(generate_bases(model, 1, generator=generator, prompt=prompt))[0] for _ in range(3000)]
    np.testing.assert_allclose(np.bincount(first, minlength=4) / 3000, y, atol=0.04)


def test_a_prompt_with_an_ambiguous_base_is_refused(model: BaseModel) -> None:
    with pytest.raises(UsageError, match="holds an ambiguous base"):
        list(generate_bases(model, 1, generator=torch.Generator(), prompt=encode("ACN")))
