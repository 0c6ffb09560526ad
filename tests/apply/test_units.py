"""What a unit fires on is counted from its activations, which are those of the net that reads the text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.apply.running import tokens_of
from elman.apply.units import activations, units
from elman.config import build, parse_pairs
from elman.errors import Interrupted, UsageError
from elman.learn.run import train_model
from elman.learn.steps import known_symbols
from elman.network.folder import Model
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource

Trained = Callable[[str], Model]


def ids_of(model: Model, path: Path) -> np.ndarray:
    return np.asarray(build_corpus(TextSource(path), model.tokenizer).ids).astype(np.int64)


@pytest.mark.parametrize("kind", ["word", "char", "byte", "n-grams"])
def test_activations_are_the_states_of_the_unrolled_net(kind: str, trained: Trained, room: Path) -> None:
    model = trained(kind)
    ids = ids_of(model, room / "test.txt")[:60]
    symbols = known_symbols(np.concatenate([[model.tokenizer.end_id], ids]), model.tokenizer)
    with torch.no_grad():
        _, states = model.network.unroll(model.network.initial_state(1), symbols[:, None])
    found = activations(model, ids, layer=1)
    np.testing.assert_allclose(found, states[1:, 0, : model.network.settings.hidden], rtol=1e-5, atol=1e-6)


def test_independent_sentences_begin_anew(trained: Trained, room: Path) -> None:
    model = trained("sentences")
    ids = ids_of(model, room / "test.txt")
    stops = np.flatnonzero(ids == model.tokenizer.end_id)
    second = slice(int(stops[0]) + 1, int(stops[1]) + 1)
    whole = activations(model, ids, layer=2, regime="sentences")[second]
    np.testing.assert_allclose(whole, activations(model, ids[second], layer=2), rtol=1e-5, atol=1e-6)
    carried = activations(model, ids, layer=2, regime="running")[second]
    assert np.abs(whole - carried).max() > 1e-6


@pytest.mark.parametrize("cell", ["lstm", "gru", "scrn"])
def test_any_cell_shows_what_it_sends_up(cell: str, room: Path) -> None:
    pairs = [f"cell={cell}", "hidden=6", "layers=2", "max_updates=5", "threads=1", "batch=4", "bptt=8"]
    pairs += ["context=3"] if cell == "scrn" else []
    model = train_model(room / "train.txt", room / cell, build(parse_pairs(pairs)), valid=room / "test.txt")
    for layer in (1, 2):
        result = units(model, room / "test.txt", layer=layer, top=100)
        assert len(result.units) == result.size == model.network.cells[layer - 1].output_size


def test_means_and_counts_are_those_of_a_loop_over_the_text(trained: Trained, room: Path) -> None:
    model, path = trained("word"), room / "test.txt"
    result = units(model, path, chosen=[2, 7], words=1000, least=2)
    ids, tokens = ids_of(model, path), tokens_of(model, TextSource(path))
    states = activations(model, ids, layer=1)
    assert [unit.unit for unit in result.units] == [2, 7]
    for unit in result.units:
        column = states[:, unit.unit].astype(float)
        places: dict[str, list[float]] = {}
        for symbol, value in zip(ids.tolist(), column, strict=True):
            if symbol < model.tokenizer.size:
                places.setdefault(model.tokenizer.token(symbol), []).append(value)
        expected = {word: (np.mean(v), len(v)) for word, v in places.items() if len(v) >= 2}
        assert {w.word: (pytest.approx(w.mean), w.count) for w in unit.words} == expected
        assert [w.mean for w in unit.words] == sorted((w.mean for w in unit.words), reverse=True)
        assert unit.mean == pytest.approx(column.mean()) and unit.deviation == pytest.approx(column.std())
        best = np.mean(sorted(mean for mean, _ in expected.values())[-5:])
        assert unit.selectivity == pytest.approx((best - column.mean()) / column.std())
        groups = [column[ids == symbol] for symbol in np.unique(ids)]
        between = sum(len(group) * (group.mean() - column.mean()) ** 2 for group in groups)
        assert unit.by_word == pytest.approx(between / ((column - column.mean()) ** 2).sum())
        strongest = unit.contexts[0]
        assert strongest.activation == pytest.approx(column.max())
        assert strongest.word == tokens[int(column.argmax())]


def test_the_most_selective_units_come_first(trained: Trained, room: Path) -> None:
    result = units(trained("word"), room / "test.txt", top=10)
    found = [unit.selectivity for unit in result.units]
    assert len(found) == 10 and found == sorted(found, reverse=True) and found[0] > found[-1]


def test_contexts_are_pieces_of_the_text_and_share_nothing(trained: Trained, room: Path) -> None:
    model = trained("word")
    tokens = " ".join(tokens_of(model, TextSource(room / "test.txt")))
    for unit in units(model, room / "test.txt", top=3, contexts=6).units:
        said = [" ".join([*firing.before, firing.word, *firing.after]) for firing in unit.contexts]
        assert len(set(said)) == len(said) == 6
        assert all(text in tokens for text in said)


def test_contexts_of_sentences_that_stand_for_themselves_do_not_leave_them(trained: Trained, room: Path) -> None:
    model = trained("sentences")
    lines = (room / "test.txt").read_text().splitlines()
    whole = ["".join(f" {word}" for word in line.split()) + " </s>" for line in lines]
    for unit in units(model, room / "test.txt", top=5, contexts=8).units:
        for firing in unit.contexts:
            assert "</s>" not in [*firing.before, *firing.after[:-1]]
            text = " " + " ".join([*firing.before, firing.word, *firing.after])
            assert any(text in line for line in whole)
            if len(firing.before) < 5:
                assert any(line.startswith(text) for line in whole)


def test_a_unit_is_followed_along_a_sentence_of_ones_own(trained: Trained, room: Path) -> None:
    model = trained("word")
    result = units(model, room / "test.txt", chosen=[1, 4], along="The zebra sees a cat")
    assert result.sentence == ["the", "zebra", "sees", "a", "cat"]
    ids = np.array(model.tokenizer.encode("The zebra sees a cat"))
    np.testing.assert_allclose(np.array(result.activations).T, activations(model, ids, layer=1)[:, [1, 4]], rtol=1e-6)


def test_without_one_the_sentence_is_one_of_the_text(trained: Trained, room: Path) -> None:
    model, path = trained("word"), room / "test.txt"
    result = units(model, path, top=2)
    tokens, states = tokens_of(model, TextSource(path)), activations(model, ids_of(model, path), layer=1)
    length = len(result.sentence)
    place = next(at for at in range(len(tokens)) if tokens[at : at + length] == result.sentence)
    order = [unit.unit for unit in result.units]
    starts = [at for at in range(place, len(tokens)) if tokens[at : at + length] == result.sentence]
    assert any(np.allclose(states[at : at + length, order].T, result.activations) for at in starts)


def test_only_so_many_symbols_are_read_and_that_is_said(trained: Trained, room: Path) -> None:
    result = units(trained("char"), room / "test.txt", tokens=50)
    assert result.tokens == 50 < result.all_tokens


def test_a_unit_that_never_moves_is_the_least_interesting(trained: Trained, room: Path) -> None:
    import copy

    model = trained("byte")
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        network.encoder.U[:, 3] = 0
        network.cells[0].W[:, 3] = 0
    still = Model(network, model.tokenizer, model.regime, {})
    result = units(still, room / "test.txt", top=10, tokens=300)
    assert result.units[-1].unit == 3
    assert (result.units[-1].selectivity, result.units[-1].by_word, result.units[-1].deviation) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": 3}, "there is no layer 3"),
        ({"layer": 0}, "there is no layer 0"),
        ({"chosen": [10]}, "there is no unit 10 in layer 1"),
        ({"chosen": [-1]}, "there is no unit -1"),
        ({"along": "  "}, "holds no symbol"),
    ],
)
def test_what_there_is_not_is_refused(options: dict, sentence: str, trained: Trained, room: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        units(trained("sentences"), room / "test.txt", **options)


def test_reading_stops_when_asked_to(trained: Trained, room: Path) -> None:
    with pytest.raises(Interrupted):
        units(trained("word"), room / "test.txt", should_stop=lambda: True)
