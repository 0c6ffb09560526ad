import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import UsageError
from elman.text.batches import RandomWindows, known, random_cuts, sentence_batches, streams, windows

END = 0
IDS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(lambda ids: np.array(ids, dtype=np.uint16))


@given(ids=IDS, batch=st.integers(1, 7), length=st.integers(1, 9))
def test_windows_are_the_streams_cut(ids, batch, length):
    if len(ids) < batch:
        with pytest.raises(UsageError, match="too few"):
            windows(ids, batch, length, END)
        return
    inputs, targets = streams(ids, batch, END)
    cut = windows(ids, batch, length, END)
    assert all(x.dtype == y.dtype == np.int64 and x.shape == y.shape for x, y in cut)
    assert all(y.flags.c_contiguous and len(y) == length for _, y in list(cut)[:-1])
    assert np.concatenate([x for x, _ in cut]).T.tolist() == inputs.tolist()
    assert np.concatenate([y for _, y in cut]).T.tolist() == targets.tolist()
    assert len(list(cut)) == len(cut)
    assert cut.targets == targets.size


@given(ids=IDS, batch=st.integers(1, 7))
def test_each_id_is_a_target_once_but_for_the_tail(ids, batch):
    if len(ids) < batch:
        return
    inputs, targets = streams(ids, batch, END)
    assert targets.ravel().tolist() == ids[: len(ids) - len(ids) % batch].tolist()
    assert inputs.ravel().tolist() == [END, *targets.ravel().tolist()[:-1]]


def test_one_stream_loses_nothing():
    ids = np.arange(1, 12)
    cut = windows(ids, 1, 4, END)
    assert [len(y) for _, y in cut] == [4, 4, 3]
    assert np.concatenate([y for _, y in cut]).ravel().tolist() == ids.tolist()


def test_a_run_can_go_on_in_the_middle():
    cut = windows(np.arange(1, 50), 3, 4, END)
    rest = list(cut)[2:]
    resumed = list(cut.iterate(2))
    assert len(rest) == len(resumed)
    assert all((a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(rest, resumed, strict=True))
    assert (cut[-1][1] == cut[len(cut) - 1][1]).all()
    with pytest.raises(IndexError):
        cut[len(cut)]


def test_windows_do_not_copy_the_text(tmp_path):
    path = tmp_path / "ids"
    np.arange(1000, dtype=np.uint16).tofile(path)
    mapped = np.memmap(path, dtype=np.uint16, mode="r")
    assert np.shares_memory(windows(mapped, 4, 10, END)._streams, mapped)


@given(ids=IDS, batch=st.integers(1, 7), length=st.integers(1, 9), jitter=st.floats(0, 8), epoch=st.integers(0, 3))
def test_random_windows_hold_every_target_once_an_epoch(ids, batch, length, jitter, epoch):
    if len(ids) < batch:
        return
    inputs, targets = streams(ids, batch, END)
    cut = RandomWindows(ids, batch, length, END, jitter=jitter, seed=5)
    found = list(cut.epoch(epoch))
    assert np.concatenate([x for x, _ in found]).T.tolist() == inputs.tolist()
    assert np.concatenate([y for _, y in found]).T.tolist() == targets.tolist()
    assert cut.count(epoch) == len(found) == len(cut.epoch(epoch))


def test_random_lengths_are_about_the_length_and_one_in_twenty_is_half_of_it():
    lengths = np.diff(random_cuts(2_000_000, 70, 3.0, 1, 0))[:-1]
    short = lengths < 50
    assert short.mean() == pytest.approx(0.05, abs=0.01)
    assert lengths[~short].mean() == pytest.approx(69.5, abs=0.2)  # a draw is cut down to a whole number
    assert lengths[~short].std() == pytest.approx(3, abs=0.1)
    assert lengths[short].mean() == pytest.approx(34.5, abs=0.5)
    assert np.diff(random_cuts(10_000, 8, 30.0, 1, 0))[:-1].min() == 5


def test_random_windows_follow_from_seed_and_epoch_alone():
    first, again, other, later = (random_cuts(900, 9, 3.0, *at).tolist() for at in ((1, 0), (1, 0), (2, 0), (1, 1)))
    assert first == again
    assert first != other
    assert first != later


def test_ids_outside_the_dictionary_are_told_apart():
    ids = np.array([[0, 7], [6, 7]])
    assert [part.tolist() for part in known(ids, 7, 1)] == [[[0, 1], [6, 1]], [[True, False], [True, False]]]
    assert known(ids, 7, None)[0].tolist() == [[0, 0], [6, 0]]


def plain_sentences(ids) -> list[list[int]]:
    sentences: list[list[int]] = [[]]
    for id in ids.tolist():
        sentences[-1].append(id)
        if id == END:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


@given(ids=IDS, batch=st.integers(1, 9))
def test_batches_hold_every_sentence_once(ids, batch):
    expected = plain_sentences(ids)
    batches = sentence_batches(ids, batch, END)
    assert batches.sentences == len(expected)
    found = {}
    for item in batches:
        assert item.inputs.dtype == item.targets.dtype == np.int64
        assert item.inputs.shape == item.targets.shape == item.mask.shape
        assert item.mask.any(axis=1).all()  # no step is padding alone
        for column, sentence in enumerate(item.sentences.tolist()):
            length = item.mask[:, column].sum()
            assert item.mask[:length, column].all()
            found[sentence] = item.targets[:length, column].tolist()
            assert item.inputs[:length, column].tolist() == [END, *found[sentence][:-1]]
            assert (item.targets[length:, column] == END).all()
    assert [found[sentence] for sentence in range(len(expected))] == expected


@given(ids=IDS, batch=st.integers(1, 9))
def test_batches_are_nearly_equal_and_sorted_by_length(ids, batch):
    batches = sentence_batches(ids, batch, END)
    sizes = [len(item.sentences) for item in batches]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-batches.sentences // batch)
    lengths = [length for item in batches for length in item.mask.sum(axis=0).tolist()]
    assert lengths == sorted(lengths)


@given(ids=IDS, batch=st.integers(1, 9))
def test_results_go_back_into_the_order_of_the_text(ids, batch):
    batches = sentence_batches(ids, batch, END)
    sums = np.concatenate([(item.targets * item.mask).sum(axis=0) for item in batches])
    assert batches.in_text_order(sums).tolist() == [sum(sentence) for sentence in plain_sentences(ids)]
    places = np.concatenate([item.sentences for item in batches])
    assert batches.in_text_order(places).tolist() == list(range(batches.sentences))


def test_an_epoch_has_its_own_order_that_can_be_repeated():
    batches = sentence_batches(np.tile([1, 2, END], 200), 4, END)
    first = batches.order(1, 0)
    assert sorted(first.tolist()) == list(range(len(batches)))
    assert first.tolist() == batches.order(1, 0).tolist()
    assert len({tuple(batches.order(seed, epoch).tolist()) for seed in (1, 2) for epoch in (0, 1)}) == 4
    whole = [item.sentences.tolist() for item in batches.iterate(first)]
    assert [item.sentences.tolist() for item in batches.iterate(first, start=7)] == whole[7:]
    assert len(list(batches.iterate(start=7))) == len(batches) - 7


def test_one_very_long_sentence_is_one_batch():
    ids = np.array([*([3] * 100_000), END, 2, END])
    last = sentence_batches(ids, 1, END)[-1]
    assert last.targets.shape == (100_001, 1)


def test_sentences_are_found_across_the_chunks_of_a_search(monkeypatch):
    from elman.text import batches

    ids = np.array([1, END, 2, 3, END, END, 4])
    assert batches._stops(ids, END, chunk=2).tolist() == [2, 5, 6, 7]


def test_no_ids_are_refused():
    with pytest.raises(UsageError):
        sentence_batches(np.array([], dtype=np.uint16), 2, END)
