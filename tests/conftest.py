"""For all tests: a machine that is busy fails nothing; tiny BERTs."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

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
