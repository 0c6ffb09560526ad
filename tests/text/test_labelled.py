"""Sequences with labels: what is read, what is refused and where, how some are held out."""

from __future__ import annotations

import gzip
import io
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import TextError, UsageError
from elman.text.labelled import check_labels, labels_of, read_labelled, stratified_folds, stratified_split

GOOD = "n\tacgt\nei\tggta\n\nn\tttta\n"


def written(folder: Path, data: str | bytes, name: str = "some.tsv") -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_a_file_gives_labels_and_sequences_with_their_line_numbers(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, GOOD))
    assert (data.labels, data.sequences) == (["n", "ei", "n"], ["acgt", "ggta", "ttta"])
    assert [example.line for example in data.examples] == [1, 2, 4]
    assert labels_of(data, least=1) == ["ei", "n"]


def test_gzip_and_standard_input_are_read_as_a_plain_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = read_labelled(written(tmp_path, GOOD)).examples
    assert read_labelled(written(tmp_path, gzip.compress(GOOD.encode()), "some.gz")).examples == plain
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(GOOD.encode())))
    assert read_labelled("-").examples == plain


def test_a_header_is_skipped_and_lines_are_counted_with_it(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "class\tsequence\n" + GOOD), header=True)
    assert data.labels == ["n", "ei", "n"] and data.examples[0].line == 2


def test_a_windows_file_is_read_as_any(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("\n", "\r\n"))
    assert read_labelled(path).sequences == read_labelled(path, raw=True).sequences == ["acgt", "ggta", "ttta"]


def test_spaces_around_a_label_are_no_part_of_it_and_those_in_a_sequence_stay(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, " b \t the cat \n"))
    assert (data.labels, data.sequences) == (["b"], [" the cat "])


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"n\tacgt\nacgt\n", "line 2: there is no tab"),
        (b"n\tacgt\nei\tac\tgt\n", "line 2: there are 2 tabs"),
        (b"n\tacgt\n\n\tacgt\n", "line 3: the label is empty"),
        (b"n\tacgt\nei\t  \n", "line 2: the sequence is empty"),
        (b"n\tacgt\nei\t\n", "line 2: the sequence is empty"),
        (b"", "is empty"),
        (b"\n\n", "only blank lines"),
        (b"n\tacgt\nei\tk\xe4se\n", "line 2: byte 5 of the line, 0xe4, is not UTF-8"),
        (b"n\tac\0gt\n", "line 1 holds a NUL byte"),
    ],
)
def test_a_bad_line_is_named(data: bytes, complaint: str, tmp_path: Path) -> None:
    path = written(tmp_path, data)
    with pytest.raises(TextError) as caught:
        read_labelled(path)
    assert complaint in caught.value.message and str(path) in caught.value.message


def test_a_header_alone_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="a header and no example"):
        read_labelled(written(tmp_path, "class\tsequence\n"), header=True)


def test_sequences_of_bytes_may_be_any_and_labels_may_not(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, b"n\tk\xe4se\n"), raw=True)
    assert data.sequences[0].encode("utf-8", errors="surrogateescape") == b"k\xe4se"
    with pytest.raises(TextError, match="line 1: the label is not UTF-8"):
        read_labelled(written(tmp_path, b"k\xe4\tse\n"), raw=True)


def test_one_label_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="only one label, 'n'"):
        labels_of(read_labelled(written(tmp_path, "n\tacgt\nn\tgg\n")))


def test_a_label_with_one_example_is_named_with_its_line_and_on_line_1_a_header_is_suspected(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="line 1: the label 'class' has 1 example,") as caught:
        labels_of(read_labelled(written(tmp_path, "class\tsequence\nn\ta\nn\tc\nei\tg\nei\tt\n")))
    assert "--header" in str(caught.value.hint)
    with pytest.raises(TextError, match="line 3: the label 'ei' has 1 example,") as caught:
        labels_of(read_labelled(written(tmp_path, "n\ta\nn\tc\nei\tg\n")))
    assert "--header" not in str(caught.value.hint)


def test_a_label_that_training_never_saw_is_named_with_its_line(tmp_path: Path) -> None:
    data = read_labelled(written(tmp_path, "n\ta\nie\tc\n"))
    check_labels(data, {"n", "ie"}, ["ie", "n"])
    with pytest.raises(TextError, match=r"some.tsv, line 2: training never saw the label 'ie'"):
        check_labels(data, {"n", "ei"}, ["ei", "n"])


@given(
    st.lists(st.sampled_from("abc"), min_size=6).filter(lambda labels: min(Counter(labels).values()) >= 2),
    st.floats(0.01, 0.99),
    st.integers(0, 5),
)
def test_a_split_loses_nothing_and_has_every_label_on_both_sides(labels: list[str], share: float, seed: int) -> None:
    kept, held = stratified_split(labels, share, np.random.default_rng(seed))
    assert sorted([*kept, *held]) == list(range(len(labels)))
    total = Counter(labels)
    for side in (kept, held):
        assert {labels[index] for index in side} == set(labels)
    for label, count in Counter(labels[index] for index in held).items():
        assert count == min(total[label] - 1, max(1, round(share * total[label])))
    again = stratified_split(labels, share, np.random.default_rng(seed))
    assert np.array_equal(kept, again[0]) and np.array_equal(held, again[1])


@given(st.lists(st.sampled_from("abc"), min_size=2), st.integers(2, 8), st.integers(0, 5))
def test_folds_are_of_one_size_and_so_is_every_label_in_them(labels: list[str], count: int, seed: int) -> None:
    if count > len(labels):
        with pytest.raises(UsageError, match=f"{count} folds of {len(labels)} examples"):
            stratified_folds(labels, count, np.random.default_rng(seed))
        return
    folds = stratified_folds(labels, count, np.random.default_rng(seed))
    for some in (range(len(labels)), *([i for i, each in enumerate(labels) if each == label] for label in "abc")):
        sizes = np.bincount(folds[list(some)], minlength=count)
        assert len(sizes) == count and sizes.max() - sizes.min() <= 1
    assert np.array_equal(folds, stratified_folds(labels, count, np.random.default_rng(seed)))


def test_another_seed_deals_out_otherwise() -> None:
    first, second = (stratified_folds(["a", "b"] * 50, 5, np.random.default_rng(seed)).tolist() for seed in (1, 2))
    assert first != second


def test_another_seed_holds_out_others() -> None:
    labels = ["a", "b"] * 50
    first, second = (stratified_split(labels, 0.2, np.random.default_rng(seed))[1].tolist() for seed in (1, 2))
    assert first != second


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_that_cannot_be_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        stratified_split(["a", "b"] * 5, share, np.random.default_rng(1))
