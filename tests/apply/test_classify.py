"""Classifiers at work: intervals, comparisons, answers in a stream, and the Python API for all kinds of input."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import elman
from elman.apply import classify
from elman.apply.classify import wilson
from elman.errors import TextError, UsageError
from elman.text.reading import TextSource

TINY = {"hidden": 6, "epochs": 3, "threads": 1}


def lines(count: int, seed: int) -> tuple[list[str], list[str]]:
    draw = np.random.default_rng(seed)
    labels = [["good", "bad"][int(draw.integers(2))] for _ in range(count)]
    words = {"good": ["fine", "nice", "great"], "bad": ["poor", "awful", "sad"]}
    rows = (["it", "is", *draw.choice(words[label], draw.integers(1, 5)), "today"] for label in labels)
    return [" ".join(row) for row in rows], labels


@pytest.fixture(scope="module")
def classifier() -> elman.Classifier:
    return elman.Classifier.fit(*lines(80, 1), **(TINY | {"epochs": 15}), alpha=0.02)


# From the table of R. G. Newcombe, "Two-sided confidence intervals for the single proportion" (1998), method 3.
@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_the_literature(right: int, total: int, low: float, high: float) -> None:
    assert wilson(right, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_ends_of_an_interval_are_where_the_share_is_just_borne(counts: tuple[int, int]) -> None:
    right, total = counts
    share = right / total
    low, high = wilson(right, total)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        if 0 < end < 1:  # |p - end| is z standard deviations of a share whose mean is `end`
            assert abs(share - end) == pytest.approx(classify.Z * math.sqrt(end * (1 - end) / total), rel=1e-6)


def test_a_comparison_is_what_counting_by_hand_gives(classifier: elman.Classifier) -> None:
    texts, labels = lines(50, 2)
    found = classifier.evaluate(texts, labels)
    assert list(found.scores) == ["recurrent", "feedforward", "linear", "majority"]
    for net in ("recurrent", "feedforward", "linear"):
        answers = [classifier.predict([text], net=net)[0] for text in texts]
        assert found.scores[net].right == sum(a == b for a, b in zip(answers, labels, strict=True))
        log_probs = [classifier.log_probs([text], net=net)[0] for text in texts]
        losses = [-row[classifier.labels.index(label)] for row, label in zip(log_probs, labels, strict=True)]
        assert found.scores[net].loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.scores["majority"].right == labels.count(classifier.model.majority)
    answers = classifier.predict(texts)
    for i, truth in enumerate(classifier.labels):
        for j, said in enumerate(classifier.labels):
            assert found.confusion[i, j] == sum((a, b) == (said, truth) for a, b in zip(answers, labels, strict=True))
    assert found.scores["recurrent"].accuracy > 0.9
    assert found.as_dict()["confusion_of"] == "recurrent"


def test_answers_come_in_order_with_probabilities_that_sum_to_one(classifier: elman.Classifier, tmp_path: Path) -> None:
    texts, _ = lines(300, 3)
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts) + "\n\n")
    found = list(classify.predict(classifier.model, path))
    assert [answer.sequence for answer in found] == texts
    assert [answer.label for answer in found] == classifier.predict(texts)
    for answer in found:
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert answer.probability == max(answer.probabilities.values()) == answer.probabilities[answer.label]


def test_answers_stream(classifier: elman.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "texts.txt", 0
    path.write_text("it is fine\n")

    def endless(source: TextSource) -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "it is fine"

    monkeypatch.setattr(TextSource, "lines", endless)
    answers = classify.predict(classifier.model, path)
    assert next(answers).sequence == "it is fine" and read <= 2 * classify.LINES


def test_lines_with_labels_are_answered_without_looking_at_them(classifier: elman.Classifier, tmp_path: Path) -> None:
    path = tmp_path / "some.tsv"
    path.write_text("whatever\tit is fine\ngood\tit is sad\n")
    found = [answer.label for answer in classify.predict(classifier.model, path, labelled=True)]
    assert found == classifier.predict(["it is fine", "it is sad"])
    with pytest.raises(TextError, match="line 1: there is a tab") as caught:
        list(classify.predict(classifier.model, path))
    assert "--labelled" in str(caught.value.hint)


def test_a_classifier_of_texts_is_saved_and_loaded(classifier: elman.Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    again = elman.load_classifier(tmp_path / "model")
    texts = ["it is fine", "never seen words", "sad"]
    for net in ("recurrent", "feedforward", "linear"):
        np.testing.assert_array_equal(again.log_probs(texts, net=net), classifier.log_probs(texts, net=net))
    assert again.labels == ("bad", "good") and again.card["result"] == classifier.card["result"]


def test_points_without_a_sequence_are_told_apart_by_the_feedforward_net_where_no_line_can(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    x = draw.uniform(-1, 1, size=(600, 2)) * [1.0, 100.0] + [0.0, 500.0]  # columns of different sizes
    y = (x[:, 0] > 0) ^ (x[:, 1] > 500)
    net = elman.Classifier.fit(x[:400], y[:400], hidden=16, epochs=60, alpha=0.02, threads=1)
    found = net.evaluate(x[400:], y[400:])
    assert list(found.scores) == ["feedforward", "linear", "majority"]
    assert found.scores["feedforward"].accuracy > 0.9 > 0.75 > found.scores["linear"].accuracy
    assert net.labels == ("False", "True") and set(net.predict(x[:5])) <= {"False", "True"}
    net.save(tmp_path / "model")
    np.testing.assert_array_equal(elman.load_classifier(tmp_path / "model").log_probs(x), net.log_probs(x))
    with pytest.raises(UsageError, match="no net 'recurrent'"):
        net.log_probs(x, net="recurrent")


@pytest.mark.parametrize("pool", ["last", "mean"])
def test_sequences_of_vectors_are_told_apart_by_their_order(pool: str) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(400, 6, 3))
    x[::2], y = np.sort(x[::2], axis=1), ["up", "down"] * 200
    x[1::2] = -np.sort(-x[1::2], axis=1)
    net = elman.Classifier.fit(x[:300], y[:300], pool=pool, hidden=12, epochs=15, alpha=0.02, threads=1)
    found = net.evaluate(x[300:], y[300:])
    assert found.scores["recurrent"].accuracy > 0.95
    assert found.scores["linear"].accuracy < 0.7 and found.scores["feedforward"].accuracy < 0.7
    ragged = [x[0][:2], x[1], x[2][:4]]
    np.testing.assert_allclose(net.log_probs(ragged)[1], net.log_probs(x[1:2])[0], rtol=1e-4, atol=1e-6)


def test_sequences_of_vectors_may_have_different_lengths() -> None:
    draw = np.random.default_rng(1)
    x = [draw.normal(size=(draw.integers(1, 9), 2)) for _ in range(60)]
    y = ["long" if len(steps) > 4 else "short" for steps in x]
    net = elman.Classifier.fit(x, y, **TINY)
    assert net.model.shape.kind == "vectors" and len(net.predict(x)) == 60


@pytest.mark.parametrize(
    ("x", "y", "complaint"),
    [
        ([], [], "list of texts"),
        ("text", ["a"] * 4, "list of texts"),
        (["a", "b"], ["x"], "2 inputs and 1 labels"),
        (["a", "b"], ["x", "x"], "fewer than two labels"),
        (["a", "b"], ["x", "y"], "none can be held out"),
        (["a", "", "b", "c"], ["x", "x", "y", "y"], "holds no symbol"),
        (np.ones(4), [0, 1, 0, 1], "an array of 1 dimensions"),
        (np.ones((4, 2, 2, 2)), [0, 1, 0, 1], "an array of 4 dimensions"),
        (np.array([[1.0], [np.nan], [2.0], [3.0]] * 4), [0, 1] * 8, "is nan"),
        (np.array([["a", "b"]] * 4), [0, 1] * 2, "no real numbers"),
    ],
)
def test_inputs_that_cannot_be_are_refused_in_words(x: object, y: list[object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        elman.Classifier.fit(x, y, **TINY)  # type: ignore[arg-type]


def test_inputs_of_another_kind_or_with_unknown_labels_are_refused(classifier: elman.Classifier) -> None:
    with pytest.raises(UsageError, match="reads symbols, and these are points"):
        classifier.predict(np.ones((2, 2)))
    with pytest.raises(UsageError, match="label 2 is 'ugly'"):
        classifier.evaluate(["it is fine", "it is"], ["good", "ugly"])
    with pytest.raises(UsageError, match="there is no setting 'hiden'"):
        elman.Classifier.fit(["a"] * 4, ["x", "y"] * 2, hiden=4)


def test_validation_may_be_given(tmp_path: Path) -> None:
    texts, labels = lines(40, 1)
    net = elman.Classifier.fit(texts, labels, valid=lines(20, 2), **TINY)
    assert net.card["result"]["recurrent"]["epochs"] == 3
    with pytest.raises(UsageError, match="label 1 is 'ugly'"):
        elman.Classifier.fit(texts, labels, valid=(["it"], ["ugly"]), **TINY)


def test_a_file_trains_through_the_function_as_lists_do(tmp_path: Path) -> None:
    texts, labels = lines(60, 1)
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in zip(labels, texts, strict=True)))
    from_file = elman.train_classifier(path, out=tmp_path / "model", **TINY)
    from_lists = elman.Classifier.fit(texts, labels, **TINY)
    np.testing.assert_array_equal(from_file.log_probs(texts), from_lists.log_probs(texts))
    assert from_file.card["train"]["labels"] == {"bad": labels.count("bad") - 3, "good": labels.count("good") - 3}
    assert elman.load_classifier(tmp_path / "model").card["command"] == "elman.train_classifier"
