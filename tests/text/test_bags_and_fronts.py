"""Features without an order: bags of n-grams against counting by hand, and real numbers made comparable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.config import TextSettings
from elman.errors import TextError, UsageError
from elman.text.bags import NgramDictionary, PlacedDictionary
from elman.text.fronts import FRONTS, PointFront, SymbolFront, VectorFront, check_sequences, symbols_of
from elman.text.labelled import Example, Labelled
from elman.text.tokenizers import TOKENIZERS

sequences = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=1, max_size=5)


@given(sequences, st.integers(1, 3), st.lists(st.integers(0, 4), max_size=8))
def test_a_bag_counts_what_a_slow_count_finds(texts: list[list[int]], order: int, text: list[int]) -> None:
    dictionary = NgramDictionary.of(texts, order)
    listed = [tuple(int(s) for s in row if s >= 0) for row in dictionary.table]
    windows = {tuple(t[i : i + n]) for t in texts for n in range(1, order + 1) for i in range(len(t) - n + 1)}
    assert len(listed) == len(set(listed)) and set(listed) == windows
    bag = dictionary.bag(text)
    slow = [sum(tuple(text[i : i + len(gram)]) == gram for i in range(len(text))) for gram in listed]
    found = np.zeros(len(listed))
    found[bag.ids] = bag.counts
    assert found.tolist() == slow


def test_the_n_grams_of_most_sequences_are_kept_and_how_often_one_sequence_has_them_does_not_count() -> None:
    dictionary = NgramDictionary.of([[7, 7, 7, 7, 5], [5, 6], [6, 5]], 1, most=2)
    assert dictionary.table.tolist() == [[5], [6]]


def test_a_dictionary_is_made_again_of_its_table() -> None:
    first = NgramDictionary.of([[1, 2, 3], [2, 3]], 2)
    bag, again = first.bag([2, 3, 1]), NgramDictionary(first.table).bag([2, 3, 1])
    assert bag.ids.tolist() == again.ids.tolist() and bag.counts.tolist() == again.counts.tolist()


@given(sequences, st.integers(1, 3), st.lists(st.integers(0, 4), max_size=8))
def test_at_places_an_n_gram_is_there_or_not(texts: list[list[int]], order: int, text: list[int]) -> None:
    dictionary = PlacedDictionary.of(texts, order)
    assert dictionary.order == order
    listed = [(int(row[0]), tuple(int(s) for s in row[1:] if s >= 0)) for row in dictionary.table]
    windows = {(i, tuple(t[i : i + n])) for t in texts for n in range(1, order + 1) for i in range(len(t) - n + 1)}
    assert len(listed) == len(set(listed)) and set(listed) == windows
    bag = PlacedDictionary(dictionary.table).bag(text)
    assert bag.ids.tolist() == [
        id for id, (place, gram) in enumerate(listed) if tuple(text[place : place + len(gram)]) == gram
    ]
    assert (bag.counts == 1).all()


def test_the_other_strand_is_that_of_the_letters() -> None:
    tokenizer = TOKENIZERS["dna"].train(["acgt"], TextSettings(unit="dna"))
    texts, others = ["aaacgn", "GGT"], ["ncgttt", "acc"]
    ids = [each.tolist() for each in symbols_of(tokenizer, texts + others)]
    front = SymbolFront(tokenizer, NgramDictionary.of(ids, 2), PlacedDictionary.of(ids, 2))
    found, expected = front.other_strand(front.encode(texts)), front.encode(others)
    assert [each.tolist() for each in found.sequences or []] == [each.tolist() for each in expected.sequences or []]
    for a, b in zip([*found.rows, *(found.placed or [])], [*expected.rows, *(expected.placed or [])], strict=True):
        assert a.ids.tolist() == b.ids.tolist() and a.counts.tolist() == b.counts.tolist()


def test_where_places_count_another_length_is_refused() -> None:
    tokenizer = TOKENIZERS["dna"].train(["acgt"], TextSettings(unit="dna"))
    front = SymbolFront(tokenizer, NgramDictionary.of([[0, 1, 2, 3]], 1), length=4)
    assert len(front.encode(["acgt", "NNNN"])) == 2
    with pytest.raises(UsageError, match="sequence 2 has 3 symbols, and 4 were expected"):
        front.encode(["acgt", "acg"])
    data = Labelled("some.tsv", [Example(1, "a", "acgt"), Example(7, "b", "acgta")])
    with pytest.raises(TextError, match=r"some.tsv, line 7: 5 symbols, and 4 were expected"):
        check_sequences(data, tokenizer, 4)


@pytest.mark.parametrize("unit", ["word", "char", "byte", "bpe", "dna"])
def test_every_unit_gives_ids_within_the_dictionary_even_for_what_it_never_saw(unit: str) -> None:
    size = 300 if unit == "bpe" else None
    tokenizer = TOKENIZERS[unit].train(["the cat", "a dog"], TextSettings(unit=unit, vocab_size=size))
    front = SymbolFront(tokenizer, NgramDictionary.of([ids.tolist() for ids in symbols_of(tokenizer, ["the cat"])], 2))
    encoded = front.encode(["the cat", "Ж zebra"])
    assert encoded.sequences is not None
    assert all(ids.min() >= 0 and ids.max() < tokenizer.size for ids in encoded.sequences)
    assert len(encoded.rows[0].ids) == front.features  # type: ignore[union-attr]


def test_a_sequence_without_a_symbol_is_refused_by_number() -> None:
    tokenizer = TOKENIZERS["word"].train(["a b"], TextSettings())
    with pytest.raises(UsageError, match="sequence 2 holds no symbol"):
        symbols_of(tokenizer, ["a", " "])
    with pytest.raises(UsageError, match="sequence 1 is int"):
        symbols_of(tokenizer, [5])  # type: ignore[list-item]


def test_points_are_standardised_by_training_and_a_constant_column_is_left_alone() -> None:
    train = np.array([[1.0, 5.0], [3.0, 5.0]])
    front = PointFront.of(train)
    assert front.encode(train).rows.tolist() == [[-1.0, 0.0], [1.0, 0.0]]  # type: ignore[union-attr]
    assert front.encode([[5.0, 6.0]]).rows.tolist() == [[3.0, 1.0]]  # type: ignore[union-attr]


def test_vectors_are_standardised_over_all_steps_and_their_features_are_the_mean() -> None:
    texts = [np.array([[0.0], [2.0]]), np.array([[4.0]])]
    encoded = VectorFront.of(texts).encode(texts)
    deviation = np.std([0.0, 2.0, 4.0])
    assert encoded.sequences is not None
    np.testing.assert_allclose(encoded.sequences[0], [[-2 / deviation], [0.0]], rtol=1e-6)
    np.testing.assert_allclose(encoded.rows, [[-1 / deviation], [2 / deviation]], rtol=1e-6)


@pytest.mark.parametrize(
    ("points", "complaint"),
    [
        ([[1.0, float("nan")]], r"the value at \(0, 1\) is nan"),
        ([[float("inf"), 1.0]], r"the value at \(0, 0\) is inf"),
        ([1.0, 2.0], r"this one is \(2,\)"),
        ([["a", "b"]], "no real numbers"),
        (np.zeros((0, 2)), r"this one is \(0, 2\)"),
        ([[1.0, 2.0, 3.0]], "vectors of 2 numbers were expected, and these have 3"),
    ],
)
def test_points_that_cannot_be_are_refused(points: object, complaint: str) -> None:
    front = PointFront.of([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(UsageError, match=complaint):
        front.encode(points)  # type: ignore[arg-type]


def test_a_bad_sequence_of_vectors_is_named_by_number() -> None:
    with pytest.raises(UsageError, match=r"sequence 2: the value at \(0, 0\) is nan"):
        VectorFront.of([np.ones((2, 1)), np.full((1, 1), np.nan)])
    with pytest.raises(UsageError, match="sequence 2 has vectors of 2 numbers, not 1"):
        VectorFront.of([np.ones((2, 1)), np.ones((2, 2))])


def test_every_kind_is_in_the_table() -> None:
    assert sorted(FRONTS) == ["points", "symbols", "vectors"]
