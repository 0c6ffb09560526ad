"""Principal components are those of numpy's singular value decomposition, their signs settled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from elman.apply.projection import principal_components, project, words_of
from elman.errors import ModelError, UsageError
from elman.network.folder import Model

Trained = Callable[[str], Model]


def twin(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places and shares by the definition: eigenvectors of the scatter matrix, signs by the largest number."""
    X = X - X.mean(axis=0)
    _, S, Q = np.linalg.svd(X)
    places = []
    for row in Q[:2]:
        sign = 1.0 if row[np.abs(row).argmax()] > 0 else -1.0
        places.append(sign * (X @ row))
    return np.stack(places, axis=1), S[:2] ** 2 / (S**2).sum()


@given(arrays(np.float64, st.tuples(st.integers(4, 20), st.integers(3, 8)), elements=st.floats(-5, 5)), st.randoms())
def test_places_and_shares_are_those_of_the_twin(noise: np.ndarray, draw) -> None:
    rng = np.random.default_rng(draw.randrange(1000))
    X = noise / 100 + rng.normal(size=noise.shape) * np.linspace(3, 1, noise.shape[1])  # axes of different length
    places, axes, shares = principal_components(X)
    expected, expected_shares = twin(X)
    np.testing.assert_allclose(places, expected, atol=1e-8)
    np.testing.assert_allclose(shares, expected_shares, atol=1e-10)
    np.testing.assert_allclose(axes @ axes.T, np.eye(2), atol=1e-10)
    np.testing.assert_allclose((X - X.mean(axis=0)) @ axes.T, places, atol=1e-8)
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)


def test_turning_all_vectors_around_turns_no_sign_of_an_axis() -> None:
    X = np.random.default_rng(1).normal(size=(9, 4))
    places, axes, _ = principal_components(X)
    turned, turned_axes, _ = principal_components(-X)
    np.testing.assert_allclose(axes, turned_axes, atol=1e-12)
    np.testing.assert_allclose(places, -turned, atol=1e-12)


def test_a_plane_is_held_whole_by_two_axes() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 7)) + rng.normal(size=7)
    places, axes, shares = principal_components(X)
    assert shares.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(places @ axes + X.mean(axis=0), X, atol=1e-10)


def test_vectors_that_are_all_equal_or_have_one_number_have_places_too() -> None:
    places, _, shares = principal_components(np.ones((5, 3)))
    assert not places.any() and not shares.any()
    places, _, shares = principal_components(np.arange(5.0)[:, None])
    assert places.shape == (5, 2) and shares.tolist() == [1.0, 0.0]


def test_a_model_shows_its_most_frequent_words(trained: Trained, room: Path) -> None:
    model = trained("sentences")
    result = project(room / "sentences", top=6)
    assert result.words[0] == "</s>" and len(result.words) == 6 and result.size == 10
    rows = model.network.encoder.U.detach().double().numpy()[[model.tokenizer.id(word) for word in result.words]]
    np.testing.assert_allclose(result.points, principal_components(rows)[0], atol=1e-6)
    assert 0 < sum(result.shares) <= 1 and result.shares[0] >= result.shares[1]


def test_words_are_those_that_were_asked_for_once_each(trained: Trained, room: Path) -> None:
    trained("sentences")
    assert project(room / "sentences", words=["a", "the", "finds", "a"]).words == ["a", "the", "finds"]
    with pytest.raises(UsageError, match=r"no vector for 'finsd'.*did you mean finds"):
        project(room / "sentences", words=["a", "the", "finsd"])
    with pytest.raises(UsageError, match="2 vectors have no picture"):
        project(room / "sentences", words=["a", "the"])


def test_a_file_of_vectors_is_shown_as_well(tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_text("a 1 0 0\nb 0 1 0\nc 0 0 1\nd 1 1 1\n")
    assert project(tmp_path / "glove.txt").words == ["a", "b", "c", "d"]


def test_a_model_without_a_row_for_each_word_is_refused(trained: Trained, room: Path) -> None:
    trained("n-grams")
    with pytest.raises(ModelError, match="no row for each word"):
        project(room / "n-grams")


def test_words_are_given_in_a_line_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("milk bread\n\nshop\n")
    assert words_of(str(tmp_path / "words.txt")) == words_of(" milk bread  shop ") == ["milk", "bread", "shop"]
    assert words_of("") == []
