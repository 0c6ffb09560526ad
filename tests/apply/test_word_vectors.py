"""Neighbours, analogies and similarity: each against the slow and obvious way, and against published counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.apply import word_vectors
from elman.apply.word_vectors import analogies, find_word, nearest, ranks, similarity, spearman
from elman.errors import ElmanError, TextError, UsageError
from elman.text.vectors import WordVectors, read_vectors

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "vectors"
NAMES = [f"w{place}" for place in range(40)]


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    matrix = np.random.default_rng(1).normal(size=(40, 5)).astype(np.float32)
    matrix[7] = 0
    return WordVectors(NAMES, matrix)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def slow_answer(vectors: WordVectors, a: str, b: str, c: str) -> str:
    """3CosAdd, a word at a time."""
    units = [row / np.linalg.norm(row) if row.any() else row for row in vectors.matrix]
    place = vectors.places
    target = units[place[b]] - units[place[a]] + units[place[c]]
    others = [word for word in vectors.words if word not in (a, b, c)]
    return max(others, key=lambda word: cosine(target, units[place[word]]))


def test_neighbours_are_those_of_the_largest_cosine(vectors: WordVectors) -> None:
    expected = sorted(
        (
            (cosine(vectors.matrix[3], row), word)
            for word, row in zip(NAMES, vectors.matrix, strict=True)
            if word != "w3"
        ),
        reverse=True,
    )
    found = nearest(vectors, "w3", 39)
    assert [word for word, _ in found] == [word for _, word in expected]
    np.testing.assert_allclose([value for _, value in found], [value for value, _ in expected], atol=1e-6)
    assert nearest(vectors, "W3", 4) == found[:4], "in lower case"
    assert len(nearest(vectors, "w3", 1000)) == 39


def test_a_row_of_zeros_is_like_nothing(vectors: WordVectors) -> None:
    assert {value for _, value in nearest(vectors, "w7", 5)} == {0.0}


def test_an_unknown_word_is_named_with_one_that_is_spelt_alike(vectors: WordVectors) -> None:
    with pytest.raises(UsageError, match=r"has no vector for 'x3'.*did you mean w3"):
        find_word(vectors, "x3")


@pytest.mark.parametrize("scores", [1 << 24, 90])
def test_analogies_are_answered_as_one_by_one(
    scores: int, vectors: WordVectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_vectors, "SCORES", scores)
    draw = np.random.default_rng(2)
    lines, expected = [], {}
    for section in ("one", "two"):
        lines.append(f": {section}")
        right = 0
        for number in range(30):
            a, b, c, d = draw.choice(NAMES, 4, replace=False)
            answer = slow_answer(vectors, a, b, c)
            if number % 3 == 0:
                d = answer
            right += d == answer
            lines.append(f"{a} {b.upper()} {c} {d}")
        lines.append("w1 w2 w3 unheard")
        expected[section] = right
    (tmp_path / "q").write_text("\n".join(lines))
    *sections, total = analogies(vectors, tmp_path / "q")
    assert {section.name: section.right for section in sections} == expected
    assert [(section.asked, section.skipped) for section in sections] == [(30, 1), (30, 1)]
    assert (total.asked, total.right, total.skipped) == (60, sum(expected.values()), 2)
    assert total.accuracy == total.right / 60


def test_given_words_are_no_answers(tmp_path: Path) -> None:
    matrix = np.array([[1, 0], [1, 0.1], [0.9, 0], [0, 1]], dtype=np.float32)
    (tmp_path / "q").write_text("a b c d\na b c a\n")
    section, total = analogies(WordVectors(list("abcd"), matrix), tmp_path / "q")
    assert (section.name, section.right, total.asked) == ("no section", 1, 2)


def test_where_every_word_is_unknown_there_is_no_accuracy(vectors: WordVectors, tmp_path: Path) -> None:
    (tmp_path / "q").write_text(": s\na b c d\n")
    assert [(part.asked, part.skipped, part.accuracy) for part in analogies(vectors, tmp_path / "q")] == [
        (0, 1, None)
    ] * 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (": s\nw1 w2 w3\n", "line 2: a question is four words, and this line has 3"),
        (": s\n", "holds no question"),
        ("", "is empty"),
    ],
)
def test_a_bad_file_of_questions_is_named(text: str, sentence: str, vectors: WordVectors, tmp_path: Path) -> None:
    (tmp_path / "q").write_text(text)
    with pytest.raises(TextError, match=sentence):
        analogies(vectors, tmp_path / "q")


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12))
def test_equal_values_share_the_mean_of_their_ranks(values: list[int]) -> None:
    places: dict[int, list[int]] = {}
    for place, value in enumerate(sorted(values), start=1):
        places.setdefault(value, []).append(place)
    expected = [sum(places[value]) / len(places[value]) for value in values]
    np.testing.assert_array_equal(ranks(np.array(values)), expected)


@given(st.permutations(range(8)))
def test_spearman_without_ties_is_the_sum_of_squared_differences(order: list[int]) -> None:
    differences = sum((one - other) ** 2 for one, other in enumerate(order))
    expected = 1 - 6 * differences / (8 * (64 - 1))
    assert spearman(np.arange(8.0), np.array(order)) == pytest.approx(expected)


def test_spearman_of_values_that_are_all_equal_is_none() -> None:
    assert np.isnan(spearman(np.ones(3), np.arange(3.0)))


def test_pairs_come_with_tabs_commas_or_spaces(vectors: WordVectors, tmp_path: Path) -> None:
    table = [("w1", "w2", 1.0), ("W3", "w4", 5.0), ("w5", "w6", 2.5), ("w8", "unheard", 9.0), ("w1", "w1", 10.0)]
    known = [row for row in table if row[1] != "unheard"]
    cosines = [cosine(vectors.matrix[int(a[1:])], vectors.matrix[int(b[1:])]) for a, b, _ in known]
    expected = spearman(np.array(cosines), np.array([score for *_, score in known]))
    for mark in ("\t", ",", " ", " ; "):
        head = mark.join(("Word 1", "Word2", "Human (mean)")) + "\n# a remark\n"
        (tmp_path / "pairs").write_text(head + "".join(f"{a}{mark}{b}{mark}{score}\n" for a, b, score in table))
        found = similarity(vectors, tmp_path / "pairs")
        assert (found.pairs, found.skipped) == (4, 1)
        assert found.spearman == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("w1 w2 1\nw3 w4\n", "line 2: a pair is two words and a number"),
        ("w1 w2 1\nw3 w4 nan\n", "line 2: a pair is two words and a number"),
        ("w1 w2\n", "line 1: a pair is two words and a number"),
        ("w1 w2 1\nno one 2\n", "knows both words of only 1 of the 2 pairs"),
    ],
)
def test_a_bad_file_of_pairs_is_named(text: str, sentence: str, vectors: WordVectors, tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text(text)
    with pytest.raises(ElmanError, match=sentence):
        similarity(vectors, tmp_path / "pairs")


def test_glove_answers_as_gensim_finds_it_to() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared vectors are not here")
    glove = read_vectors(SHARED / "glove.6B.50d.subset.txt")
    total = analogies(glove, SHARED / "questions-words.txt")[-1]
    assert (total.right, total.asked, total.skipped) == (3720, 8039, 11505)  # gensim 4.4.0, evaluate_word_analogies
    found = similarity(glove, SHARED / "EN-WS-353-ALL.txt")
    assert found.pairs == 291 and found.spearman == pytest.approx(0.5044500181, abs=1e-6)  # evaluate_word_pairs
