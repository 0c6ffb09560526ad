"""The folder of a classifier: what is written is read back, and what is damaged or for another task is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.config import NetworkSettings, TextSettings
from elman.errors import ModelError, OutputError
from elman.learn.fitting import Inputs, log_probs
from elman.network import classifier_folder
from elman.network.classifier_folder import NETS, ClassifierModel, Nets, Shape, load_classifier, save_classifier
from elman.network.folder import load_model, save_config, save_weights
from elman.network.model import RecurrentNetwork
from elman.text.bags import NgramDictionary, PlacedDictionary
from elman.text.fronts import Front, PointFront, SymbolFront, VectorFront
from elman.text.tokenizers import TOKENIZERS

TEXTS = ["the cat sat", "the dog sat on the cat"]


def model_of(kind: str) -> ClassifierModel:
    front: Front
    if kind == "symbols":
        tokenizer = TOKENIZERS["word"].train(TEXTS, TextSettings())
        front = SymbolFront(tokenizer, NgramDictionary.of([tokenizer.encode(text) for text in TEXTS], 2))
    else:
        shift, scale = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
        front = PointFront(shift, scale) if kind == "points" else VectorFront(shift, scale)
    order = 2 if kind == "symbols" else 0
    shape = Shape(kind, ("a", "ü"), front.inputs, front.features, order, "mean", NetworkSettings(hidden=5))
    return made(shape, front)


def model_of_bases() -> ClassifierModel:
    tokenizer = TOKENIZERS["dna"].train(["acgtn"], TextSettings(unit="dna"))
    ids = [[0, 1, 2, 3, 4]]
    front = SymbolFront(tokenizer, NgramDictionary.of(ids, 2), PlacedDictionary.of(ids, 3), 5)
    sizes = {"length": 5, "placed": front.placed and len(front.placed), "places": 3}
    reading = {"direction": "both", "strands": "both", "members": 2}
    network = NetworkSettings(hidden=5, encoder="n-gram")
    shape = Shape("symbols", ("a", "ü"), front.inputs, front.features, 2, "places", network, **sizes, **reading)
    return made(shape, front)


def made(shape: Shape, front: Front) -> ClassifierModel:
    nets = Nets(shape)
    for weight in nets.parameters():
        torch.nn.init.uniform_(weight, generator=torch.Generator().manual_seed(1))
    return ClassifierModel(shape, front, nets, "ü", {"command": "x"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_classifier(tmp_path / "model", model_of("symbols"))
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["symbols", "vectors", "points"])
def test_a_classifier_is_read_back_as_it_was_written(kind: str, tmp_path: Path) -> None:
    first = model_of(kind)
    save_classifier(tmp_path / "model", first)
    second = load_classifier(tmp_path / "model")
    assert (second.shape, second.majority, second.card) == (first.shape, "ü", {"command": "x"})
    for a, b in zip(first.nets.parameters(), second.nets.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, array in first.front.arrays().items():
        assert np.array_equal(array, second.front.arrays()[name])
    assert (tmp_path / "model" / "tokenizer.json").exists() == (kind == "symbols")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_one_of_bases_at_places_is_read_back_with_all_its_members(tmp_path: Path) -> None:
    first = model_of_bases()
    save_classifier(tmp_path / "model", first)
    second = load_classifier(tmp_path / "model")
    assert second.shape == first.shape
    weights = second.nets.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in first.nets.named_parameters())
    assert {name for name in weights if name.startswith("recurrent.nets.1.back.")}
    encoded = second.front.encode(["acgtn", "ggttc"])  # type: ignore[arg-type]
    for name in NETS:
        a, b = (log_probs(getattr(nets, name), Inputs.of(encoded, name), 2) for nets in (first.nets, second.nets))
        assert np.array_equal(a, b)


def test_a_folder_of_an_earlier_version_reads_forward_and_has_no_places(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    for key in ("direction", "strands", "members", "length", "placed", "places"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_classifier(folder).shape == model_of("symbols").shape


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("share", [None, 0.0, 0.5, 0.99])
def test_a_file_missing_or_cut_short_is_named(folder: Path, name: str, share: float | None) -> None:
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if share is not None:
        (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("labels", None, "it has no 'labels'"),
        ("labels", ["a"], "labels or sizes cannot be"),
        ("labels", ["a", "b", "ü"], "config.json says ("),
        ("majority", "z", "labels or sizes cannot be"),
        ("kind", "images", "there is no kind 'images'"),
        ("pool", "first", "there is no pool 'first'"),
        ("inputs", 0, "labels or sizes cannot be"),
        ("features", -3, "labels or sizes cannot be"),
        ("features", "many", "many"),
        ("network", {"hidden": 0}, "hidden"),
        ("network", {"cell": "ltsm"}, "there is no cell 'ltsm'"),
        ("text", None, "does not say how text is read"),
        ("text", 5, "does not say how text is read"),
        ("format_version", 99, "install a newer"),
        ("task", "translate", "a model for 'translate', not a classifier"),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_words(folder: Path, key: str, value: object, complaint: str) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config[key] = value
    if value is None:
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        load_classifier(folder)
    assert complaint in str(caught.value)


def test_a_classifier_is_no_language_model_and_the_other_way_round(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds a classifier, not a language model") as caught:
        load_model(folder)
    assert "elman classify" in str(caught.value.hint)
    tokenizer = TOKENIZERS["word"].train(TEXTS, TextSettings())
    network = RecurrentNetwork(tokenizer.size, NetworkSettings(hidden=5))
    save_config(tmp_path / "language", network, tokenizer, "running")
    save_weights(tmp_path / "language", network)
    assert load_model(tmp_path / "language").tokenizer.size == tokenizer.size
    with pytest.raises(ModelError, match="holds a language model, not a classifier") as caught:
        load_classifier(tmp_path / "language")
    assert "elman evaluate" in str(caught.value.hint)


def test_a_model_is_replaced_only_if_so_asked_and_other_files_stay(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="already holds a model"):
        save_classifier(folder, model_of("points"))
    assert (folder / "model.safetensors").read_bytes() == before
    save_classifier(folder, model_of("points"), overwrite=True)
    assert load_classifier(folder).shape.kind == "points"
    assert not (folder / "tokenizer.json").exists() and (folder / "notes.txt").read_text() == "mine"


def test_a_folder_of_other_things_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            save_classifier(tmp_path, model_of("points"), overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("step", ["save_tensors", "save_card", "write_text"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupt_while_writing_leaves_nothing(
    step: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(classifier_folder, step, fail)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        save_classifier(tmp_path / "model", model_of("symbols"))
    assert not list(tmp_path.iterdir())
