"""The folder of a model of DNA: what is written is read back, and what is damaged is refused before it costs memory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from elman.config import NetworkSettings, TextSettings
from elman.errors import ModelError, UsageError
from elman.network.bases import BaseReader, Codes, Contexts
from elman.network.bases_folder import (
    BaseModel,
    count_all,
    load_base_model,
    new_contexts,
    new_network,
    save_base_config,
    save_base_weights,
)
from elman.network.folder import FORMAT_VERSION, WEIGHTS, load_model, save_card, save_config, save_weights
from elman.network.model import RecurrentNetwork
from elman.text.tokenizers import TOKENIZERS

SETTINGS = NetworkSettings(
    hidden=5, encoder="n-gram", ngrams=[2, 3], counts=[0, 3, 14], counts_bits=9, activation="tanh", bias=True
)


def sequences() -> list[Codes]:
    draw = np.random.default_rng(1)
    return [draw.integers(0, 4, length).astype(np.uint8) for length in (37, 1, 80)]


def save(folder: Path, settings: NetworkSettings, counted: list[Codes]) -> tuple[RecurrentNetwork, Contexts]:
    network = new_network(settings, torch.Generator().manual_seed(1))
    contexts = new_contexts(settings, sum(map(len, counted)))
    contexts.weights[:] = np.random.default_rng(2).normal(size=contexts.weights.shape)
    save_base_config(folder, network, contexts)
    save_base_weights(folder, network, contexts, counted)
    save_card(folder, {"command": "elman train"})
    return network, contexts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path, SETTINGS, sequences())
    return tmp_path


def y_of(model: BaseModel) -> np.ndarray:
    return BaseReader(model.contexts, model.network).follow(sequences()[2])


def test_a_model_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    network, contexts = save(tmp_path, SETTINGS, sequences())
    count_all(contexts, sequences())
    model = load_base_model(tmp_path)
    for a, b in zip(network.parameters(), model.network.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(model.contexts.weights, contexts.weights)
    np.testing.assert_array_equal(model.contexts.tables, contexts.tables)
    assert contexts.tables.any() and model.card == {"command": "elman train"}
    for one, other in zip(model.counted, sequences(), strict=True):
        np.testing.assert_array_equal(one, other)
    expected = BaseReader(contexts, network).follow(sequences()[2])
    np.testing.assert_array_equal(y_of(model), expected)


def test_what_was_counted_is_stored_at_four_bases_a_byte(folder: Path) -> None:
    assert len(load_file(folder / WEIGHTS)["counts.bases"]) == 30  # 118 bases, in one run


def test_the_bits_that_were_chosen_are_stored(tmp_path: Path) -> None:
    """A table of another size puts other contexts into one place, and so says something else."""
    save(tmp_path, SETTINGS.model_copy(update={"counts_bits": None}), sequences())
    assert json.loads((tmp_path / "config.json").read_text())["network"]["counts_bits"] == 12
    assert load_base_model(tmp_path).contexts.bits == 12


@pytest.mark.parametrize("counted", [[], [np.empty(0, np.uint8)], sequences()[1:2]], ids=len)
def test_few_or_no_bases_may_have_been_counted(counted: list[Codes], tmp_path: Path) -> None:
    save(tmp_path, SETTINGS, counted)
    assert [len(codes) for codes in load_base_model(tmp_path).counted] == [len(codes) for codes in counted]


def test_without_contexts_no_bases_are_stored(tmp_path: Path) -> None:
    save(tmp_path, SETTINGS.model_copy(update={"counts": []}), sequences())
    assert load_base_model(tmp_path).counted == []


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_base_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "card.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_file_cut_short_is_refused(folder: Path, name: str, share: float) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_base_model(folder)


def test_a_model_without_a_card_is_read(folder: Path) -> None:
    (folder / "card.json").unlink()
    assert load_base_model(folder).card == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "install a newer elman"),
        ({"format_version": "one"}, "no valid format_version"),
        ({"model_type": "bert"}, "not an elman model"),
        ({"task": "language"}, "holds a language model, not a model of DNA"),
        ({"task": "classify"}, "holds a classifier, not a model of DNA"),
        ({"task": "folding"}, "a model for 'folding'"),
        ({"task": ["dna"]}, "a model for"),
        ({"vocab_size": 5}, "vocab_size is 5"),
        ({"network": []}, "does not describe a model"),
        ({"network": None}, "does not describe a model"),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, changes: dict, words: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(ModelError) as caught:
        load_base_model(folder)
    assert words in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("key", ["network", "vocab_size", "format_version", "model_type", "task"])
def test_a_config_that_lacks_something_is_refused(folder: Path, key: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_base_model(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden": 6}, "belong to another model"),
        ({"hidden": -3}, "does not describe a model"),
        ({"ngrams": [2]}, "belong to another model"),
        ({"ngrams": [12]}, "does not describe a model"),
        ({"encoder": "one-hot", "cell": "lstm"}, "does not describe a model"),
        ({"cell": "lstm9"}, "does not describe a model"),
        ({"activation": "sine"}, "does not describe a model"),
        ({"output": "class"}, "does not describe a model"),
        ({"layers": 2}, "does not describe a model"),
        ({"bias": False}, ""),
        ({"counts": [0, 3]}, r"counts.weights is (3, 24), config.json says (2, 24)"),
        ({"counts": [0, 3, 14, 15]}, r"counts.weights is (3, 24), config.json says (4, 24)"),
        ({"counts": [0, 3, 25]}, "does not describe a model"),
        ({"counts": [0, 3, -1]}, "does not describe a model"),
        ({"counts": [2] * 25}, "does not describe a model"),
        ({"counts_bits": None}, "has no 'counts_bits'"),
        ({"counts_bits": 31}, "does not describe a model"),
        ({"counts_bits": 30}, "4.3 GB an order, more than 118 bases can fill"),
        ({"counts_bits": "many"}, "does not describe a model"),
        ({"unheard": 1}, "does not describe a model"),
    ],
    ids=str,
)
def test_a_shape_that_does_not_fit_is_refused(folder: Path, changes: dict, words: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["network"] |= changes
    (folder / "config.json").write_text(json.dumps(config))
    if not words:  # weights that the shape has no use for are left alone, as with every model
        assert load_base_model(folder).network.settings.bias is False
        return
    with pytest.raises(ModelError) as caught:
        load_base_model(folder)
    assert words in str(caught.value) and caught.value.hint


def test_tables_that_bases_cannot_fill_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr("elman.network.bases_folder.Contexts", lambda orders, bits: made.append(bits))
    settings = NetworkSettings(counts=[16, 24], counts_bits=30)
    with pytest.raises(UsageError, match=r"4\.3 GB an order"):
        new_contexts(settings, 10_000_000)
    assert not made
    new_contexts(settings, 3_100_000_000)
    new_contexts(settings.model_copy(update={"counts": [12]}), 5)  # has no hashed table
    new_contexts(settings.model_copy(update={"counts_bits": 24}), 5)
    assert made == [30, 30, 24]


def edit(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors (`counts_bases` for counts.bases), or take them out."""
    tensors = load_file(folder / WEIGHTS)
    for name, tensor in changes.items():
        name = name.replace("_", ".")
        tensors.pop(name)
        if tensor is not None:
            tensors[name] = tensor
    save_file(tensors, folder / WEIGHTS)


HUGE = 2**62


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network_output_V": None}, "output.V"),
        ({"network_output_V": torch.zeros(5, 4) * torch.nan}, "no numbers"),
        ({"network_output_V": torch.zeros(4, 5)}, "belong to another model"),
        ({"counts_weights": None}, "has no counts.weights"),
        ({"counts_bases": None}, "has no counts.bases"),
        ({"counts_lengths": None}, "has no counts.lengths"),
        ({"counts_weights": torch.full((3, 24), torch.nan)}, "no numbers"),
        ({"counts_weights": torch.full((3, 24), torch.inf)}, "no numbers"),
        ({"counts_weights": torch.zeros(3, 23)}, "config.json says (3, 24)"),
        ({"counts_weights": torch.zeros(72)}, "with 1 dimensions"),
        ({"counts_weights": torch.zeros(3, 24, dtype=torch.bfloat16)}, "bfloat16"),
        ({"counts_weights": torch.zeros(3, 24, dtype=torch.float64)}, "float64"),
        ({"counts_bases": torch.zeros(30, dtype=torch.int8)}, "int8"),
        ({"counts_bases": torch.zeros(3, 10, dtype=torch.uint8)}, "with 2 dimensions"),
        ({"counts_bases": torch.zeros(29, dtype=torch.uint8)}, "116 bases, counts.lengths say 118"),
        ({"counts_bases": torch.zeros(31, dtype=torch.uint8)}, "124 bases"),
        ({"counts_lengths": torch.tensor([37, 1, 81, -1])}, "no lengths"),
        ({"counts_lengths": torch.tensor([37, 1, 80], dtype=torch.int32)}, "int32"),
        ({"counts_lengths": torch.tensor(118)}, "with 0 dimensions"),
        ({"counts_lengths": torch.zeros(0, dtype=torch.int64)}, "say 0"),
        ({"counts_lengths": torch.tensor([HUGE, HUGE, HUGE, HUGE, 118])}, "say 18446744073709551734"),
    ],
    ids=str,
)
def test_tensors_that_do_not_fit_are_refused(folder: Path, changes: dict, words: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError) as caught:
        load_base_model(folder)
    assert words in str(caught.value) and caught.value.hint


def test_a_changed_base_changes_what_is_said(folder: Path) -> None:
    """That bases are what was trained on, no shape says: the card's digest does."""
    before = y_of(load_base_model(folder))
    packed = load_file(folder / WEIGHTS)["counts.bases"]
    packed[20] ^= 3
    edit(folder, counts_bases=packed)
    assert (y_of(load_base_model(folder)) != before).any()


def test_a_model_of_a_text_is_none_of_dna_nor_the_other_way(folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    tokenizer = TOKENIZERS["word"].train(["a cat"], TextSettings())
    network = RecurrentNetwork(tokenizer.size, NetworkSettings(hidden=5))
    save_config(text, network, tokenizer, "running")
    save_weights(text, network)
    with pytest.raises(ModelError, match="holds a language model, not a model of DNA"):
        load_base_model(text)
    with pytest.raises(ModelError, match="holds a model of DNA, not a language model"):
        load_model(folder)
    with pytest.raises(ModelError, match="does not exist"):
        load_base_model(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is not a folder"):
        load_base_model(folder / "config.json")
