"""For all tests: a machine that is busy fails nothing; tiny BERTs."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from safetensors.numpy import save_file

settings.register_profile("no hurry", deadline=None)
settings.load_profile("no hurry")

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["the", "cat", "dog", "##s", "see", "##n", "a", "bird", "sings", "mouse"],
]


@pytest.fixture
def bert_folder(tmp_path: Path) -> Path:
    """The folder of a BERT as far as it can be read without transformers: row i of its input holds i, i/2 and 1."""
    folder = tmp_path / "bert"
    folder.mkdir()
    config = {"model_type": "bert", "hidden_size": 3, "max_position_embeddings": 32}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    rows = np.arange(len(PIECES), dtype=np.float32)
    matrix = np.stack([rows, rows / 2, np.ones_like(rows)], axis=1)
    save_file({"bert.embeddings.word_embeddings.weight": matrix}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that makes a tiny BERT of some kind and seed, with weights drawn at random, once a session."""

    @cache
    def made(kind: str = "bert", seed: int = 0) -> Path:
        transformers = pytest.importorskip("transformers", reason="the extra elman[bert] is not installed")
        import torch

        folder = tmp_path_factory.mktemp(kind) / "folder"
        sizes = {"vocab_size": len(PIECES), "max_position_embeddings": 24, "initializer_range": 0.5}
        if kind == "distilbert":
            config = transformers.DistilBertConfig(dim=8, n_layers=2, n_heads=2, hidden_dim=16, **sizes)
        else:
            sizes |= {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
            sizes |= {"embedding_size": 6} if kind == "electra" else {}
            config = transformers.AutoConfig.for_model(kind, **sizes)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            transformers.AutoModel.from_config(config).save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
        return folder

    return made


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Any]:
    """A function that makes a model of a few words from a shape, all weights drawn by lot and away from zero."""
    import torch

    from elman.config import NetworkSettings, TextSettings
    from elman.network.encoders import Bert
    from elman.network.folder import Model
    from elman.network.model import RecurrentNetwork
    from elman.text.words import WordTokenizer

    lines = ["the cat sees a dog", "a bird wants the owl now"]
    tokenizer = WordTokenizer.train(lines, TextSettings(unit="word"))

    def make(*, seed: int = 0, regime: str = "sentences", reach: float = 0.8, **shape: object) -> Model:
        network = RecurrentNetwork(tokenizer.size, NetworkSettings.model_validate({"hidden": 7, **shape}))
        if isinstance(network.encoder, Bert):
            network.encoder.learn(tokenizer)
        if network.output.direct is not None:
            network.output.direct.learn(
                np.concatenate([tokenizer.encode_line(line) for line in lines]).astype(np.int64)
            )
        network.output.prepare(torch.arange(tokenizer.size))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in network.parameters():
                weight.uniform_(-reach, reach, generator=generator)
        return Model(network.eval(), tokenizer, regime, {"settings": {"learn.bptt": 5}})

    return make
