"""A model folder: what is written is read back, and what is damaged is refused in words."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from elman.config import NetworkSettings, TextSettings
from elman.errors import ModelError
from elman.network.folder import FORMAT_VERSION, load_model, save_card, save_config, save_weights
from elman.network.model import RecurrentNetwork
from elman.text.tokenizers import TOKENIZERS

LINES = ["the cat sat on the mat", "the dog sat on the cat", "a <unk> sat"]


@pytest.fixture(params=[{}, {"tied": True, "bias": True, "layers": 2}], ids=str)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    tokenizer = TOKENIZERS["word"].train(LINES, TextSettings())
    network = RecurrentNetwork(tokenizer.size, NetworkSettings(hidden=5, **request.param))
    network.initialize(torch.Generator().manual_seed(1))
    save_config(tmp_path, network, tokenizer, "sentences")
    save_weights(tmp_path, network)
    save_card(tmp_path, {"command": "elman train"})
    return tmp_path


def test_a_model_is_read_back_as_it_was_written(folder: Path) -> None:
    first = load_model(folder)
    assert (first.regime, first.card["command"]) == ("sentences", "elman train")
    copy = folder / "copy"
    copy.mkdir()
    save_config(copy, first.network, first.tokenizer, first.regime)
    save_weights(copy, first.network)
    second = load_model(copy)
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert second.tokenizer.fingerprint == first.tokenizer.fingerprint
    assert (folder / "config.json").read_text() == (copy / "config.json").read_text()


def test_an_unknown_key_of_a_newer_card_does_no_harm(folder: Path) -> None:
    save_card(folder, {"something": {"new": 1}})
    assert load_model(folder).card["something"] == {"new": 1}


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_cut_short_is_refused(folder: Path, name: str, share: float) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        load_model(folder)


class Bomb:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("exploded"),))


def test_a_pickle_in_disguise_is_refused_and_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="no safetensors file"):
        load_model(folder)
    torch.save({"U": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="no safetensors file"):
        load_model(folder)
    assert not (folder / "exploded").exists()


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "install a newer elman"),
        ({"format_version": "one"}, "no valid format_version"),
        ({"model_type": "bert"}, "not an elman model"),
        ({"network": {"hidden": -3}}, "does not describe a model"),
        ({"network": {"cell": "lstm9"}}, "does not describe a model"),
        ({"network": {"hidden": 6}}, "belong to another model"),
        ({"text": {}}, "config.json"),
        ({"vocab_size": 5}, "symbols"),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_is_refused(folder: Path, changes: dict, words: str) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert words in str(caught.value)


def test_weights_of_another_model_or_without_value_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    name = "encoder.U"
    save_file({k: v for k, v in weights.items() if k != name}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"has no {name}"):
        load_model(folder)
    save_file(weights | {name: weights[name] * torch.nan}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="no numbers"):
        load_model(folder)


def test_a_path_that_is_no_model_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="not a folder"):
        load_model(tmp_path / "file")
    shutil.rmtree(tmp_path / "empty", ignore_errors=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_model(tmp_path / "empty")
