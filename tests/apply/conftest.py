"""Tiny trained models, one of each kind, for the whole session."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elman.config import build, parse_pairs
from elman.learn.run import train_model
from elman.network.folder import Model

NOUNS, VERBS = ["cat", "dog", "bird", "child", "owl"], ["sees", "finds", "wants"]


def sentences(count: int, seed: int) -> str:
    """Sentences of a tiny grammar: who does what with which thing."""
    draw = random.Random(seed)
    lines = (
        f"The {draw.choice(NOUNS)} {draw.choice(VERBS)} {draw.choice(['a', 'the'])} {draw.choice(NOUNS)}"
        f"{draw.choice([' today', '', ' now'])}.\n"
        for _ in range(count)
    )
    return "".join(lines)


KINDS = {
    "word": ["unit=word", "min_count=20", "lowercase=true", "split_punctuation=true"],
    "sentences": ["unit=word", "regime=sentences", "layers=2"],
    "char": ["unit=char", "regime=running", "min_count=3"],
    "byte": ["unit=byte", "activation=tanh"],
    "n-grams": ["unit=word", "encoder=n-gram", "direct=7", "buckets=100"],
    "bpe": ["unit=bpe", "vocab_size=280"],
}


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with train.txt and test.txt, and its own cache of corpora."""
    folder = tmp_path_factory.mktemp("apply")
    (folder / "train.txt").write_text(sentences(150, 1) + "Örö!\n")
    (folder / "test.txt").write_text(sentences(30, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="session")
def trained(room: Path) -> Callable[[str], Model]:
    """Give the model of a kind, trained when it is first asked for."""
    models: dict[str, Model] = {}

    def model(kind: str) -> Model:
        if kind not in models:
            small = ["hidden=10", "optimizer=adam", "alpha=0.01", "threads=1", "batch=4", "bptt=8", "max_updates=80"]
            settings = build(parse_pairs([*small, *KINDS[kind]]))
            models[kind] = train_model(room / "train.txt", room / kind, settings, valid=room / "test.txt")
        return models[kind]

    return model
