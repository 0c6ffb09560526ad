"""Rows of U that begin as word vectors: which, how large, what is said of it, and that frozen ones never move."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.config import Settings, build, parse_pairs
from elman.errors import ElmanError, Interrupted, TextError, UsageError
from elman.learn.progress import Listener
from elman.learn.run import resolve, train_model
from elman.learn.vectors import begin_with_vectors
from elman.network.folder import Model, load_model
from elman.network.model import RecurrentNetwork
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.tokenizers import train_tokenizer

SMALL = ["hidden=6", "epochs=2", "threads=1", "batch=4", "bptt=6", "seed=3"]
KNOWN = {"the": [1.0, 2, 3, 4], "cat": [4.0, 3, 2, 1], "sees": [0.5, 0, -0.5, 1], "anna": [1.0, -1, 1, -1]}


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """`dog` and `a` have no vector; `Anna` has one in lower case."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "a", "Anna"]
    for name, sentences in (("train", 60), ("valid", 10)):
        lines = (" ".join(draw.choice(words) for _ in range(4)) for _ in range(sentences))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.txt", tmp_path / "valid.txt"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join(map(str, row))}\n" for word, row in KNOWN.items()))
    return path


def settings_of(vectors: Path, *pairs: str) -> Settings:
    return build(parse_pairs([*SMALL, f"vectors={vectors}", *pairs]))


def trained(texts: tuple[Path, Path], out: Path, settings: Settings, **more: Any) -> Model:
    return train_model(texts[0], out, settings, valid=texts[1], **more)


def begun(texts: tuple[Path, Path], settings: Settings) -> tuple[RecurrentNetwork, RecurrentNetwork, Any, Any]:
    """The network as it is drawn, and the same with vectors."""
    settings = resolve(settings)
    source = TextSource(texts[0])
    tokenizer = train_tokenizer(source, settings.text)
    networks = []
    for _ in range(2):
        network = RecurrentNetwork(tokenizer.size, settings.network)
        network.initialize(torch.Generator().manual_seed(3), silent=tokenizer.unk_id)
        networks.append(network)
    facts = begin_with_vectors(networks[1], tokenizer, build_corpus(source, tokenizer), settings.learn)
    return networks[0], networks[1], tokenizer, facts


def rms(values: torch.Tensor | np.ndarray) -> float:
    return float((torch.as_tensor(values).detach().double() ** 2).mean() ** 0.5)


def test_known_words_begin_as_vectors_and_the_others_as_they_were(texts: tuple[Path, Path], vectors: Path) -> None:
    drawn, network, tokenizer, facts = begun(texts, settings_of(vectors))
    assert network.settings.embedding == 4
    U, before = network.encoder.U, drawn.encoder.U
    found = {"the": "the", "cat": "cat", "sees": "sees", "Anna": "anna"}
    for word, known in found.items():
        torch.testing.assert_close(U[tokenizer.id(word)], facts["scale"] * torch.tensor(KNOWN[known]))
    for word in ("dog", "a", "</s>", "<unk>"):
        assert torch.equal(U[tokenizer.id(word)], before[tokenizer.id(word)])
    others = {name: weight for name, weight in network.named_parameters() if name != "encoder.U"}
    assert all(torch.equal(weight, drawn.get_parameter(name)) for name, weight in others.items())


def test_their_root_mean_square_is_that_of_the_start_or_as_asked(texts: tuple[Path, Path], vectors: Path) -> None:
    for pairs, expected in (([], None), (["vectors_rms=0.4"], 0.4)):
        drawn, network, tokenizer, facts = begun(texts, settings_of(vectors, *pairs))
        ids = [tokenizer.id(word) for word in ("the", "cat", "sees", "Anna")]
        drawn_rows = [id for id in range(tokenizer.size) if id != tokenizer.unk_id]
        expected = expected or rms(drawn.encoder.U[drawn_rows])
        assert rms(network.encoder.U[ids]) == pytest.approx(expected, rel=1e-5)
        assert facts["rms"] == pytest.approx(rms(np.array(list(KNOWN.values()))))
        assert facts["scale"] == pytest.approx(expected / facts["rms"], rel=1e-5)


def test_what_was_found_is_said_and_kept(texts: tuple[Path, Path], vectors: Path, tmp_path: Path) -> None:
    class Ears(Listener):
        heard = ""

        def on_start(self, message: str) -> None:
            self.heard = message

    ears = Ears()
    model = trained(texts, tmp_path / "model", settings_of(vectors), listener=ears)
    facts = model.card["vectors"]
    words = texts[0].read_text().split()
    known = sum(word in ("the", "cat", "sees", "Anna") for word in words)
    assert (facts["words"], facts["words_found"], facts["words_found_in_lower_case"]) == (6, 4, 1)
    assert (facts["tokens"], facts["tokens_found"]) == (len(words), known)
    assert (facts["file"], facts["size"], facts["frozen"]) == (str(vectors), 4, False)
    assert facts["sha256"] == TextSource(vectors).sha256()
    assert f"{100 * known / len(words):.1f} % of the training text; the other 2 begin at random" in ears.heard
    assert model.card["settings"]["network.embedding"] == 4
    first = json.loads((tmp_path / "model" / "log.jsonl").read_text().splitlines()[0])
    assert first == {"update": 0, "vectors": facts}
    assert load_model(tmp_path / "model").card["vectors"] == facts


FROZEN = {
    "sgd, beta": ["beta=0.01", "alpha=0.5"],
    "adam, beta, word dropout": ["optimizer=adam", "alpha=0.01", "beta=0.01", "word_dropout=0.3", "input_dropout=0.2"],
    "rmsprop, clip, sentences": ["optimizer=rmsprop", "alpha=0.01", "beta=0.01", "clip=1", "regime=sentences"],
    "nt-asgd": ["optimizer=nt-asgd", "nonmono=1", "average_every=2", "beta=0.01", "epochs=5", "alpha=3"],
    "average": ["optimizer=adam", "average=0.9", "average_every=2", "alpha=0.01"],
    "sampled": ["output=sampled", "negatives=3", "optimizer=adam", "beta=0.01", "alpha=0.01"],
    "output_block": ["output_block=2", "beta=0.01"],
    "lstm": ["cell=lstm", "optimizer=adam", "alpha=0.01", "beta=0.01"],
    "no embedding": ["hidden=4", "beta=0.01", "alpha=0.5"],
    "online": ["regime=online", "hidden=4", "beta=0.001"],
}


@pytest.mark.parametrize("way", FROZEN)
def test_frozen_rows_stay_bit_for_bit(way: str, texts: tuple[Path, Path], vectors: Path, tmp_path: Path) -> None:
    pairs = FROZEN[way]
    _, start, *_ = begun(texts, settings_of(vectors, *pairs))
    frozen = trained(texts, tmp_path / "frozen", settings_of(vectors, "freeze_vectors=true", *pairs)).network
    free = trained(texts, tmp_path / "free", settings_of(vectors, *pairs)).network
    assert torch.equal(frozen.encoder.U, start.encoder.U)
    moved = (free.encoder.U != start.encoder.U).any(dim=1)
    assert moved.sum() >= 6, "without freezing they move"
    assert all(
        not torch.equal(weight, start.get_parameter(name))
        for name, weight in frozen.named_parameters()
        if name != "encoder.U" and weight.abs().sum() > 0
    ), "all else learns"
    assert all(weight.requires_grad for weight in frozen.parameters())


@pytest.mark.parametrize("pairs", [[], ["freeze_vectors=true", "beta=0.01"]])
def test_a_cut_run_goes_on_without_the_file(
    pairs: list[str], texts: tuple[Path, Path], vectors: Path, tmp_path: Path
) -> None:
    settings = settings_of(vectors, "optimizer=adam", "alpha=0.01", "checkpoint_every=3", *pairs)
    given = parse_pairs(["embedding=none", f"vectors={vectors}"])
    whole = trained(texts, tmp_path / "whole", settings)
    calls = iter(range(10**9))
    with pytest.raises(Interrupted):
        trained(texts, tmp_path / "cut", settings, given=given, should_stop=lambda: next(calls) == 15)
    vectors.unlink()
    cut = trained(texts, tmp_path / "cut", settings, given=given, resume=True)
    for name, weight in whole.network.named_parameters():
        assert torch.equal(weight, cut.network.get_parameter(name)), name
    assert cut.card["vectors"] == whole.card["vectors"]
    logs = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0]) for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_tied_rows_may_begin_as_vectors_but_not_stay(texts: tuple[Path, Path], vectors: Path, tmp_path: Path) -> None:
    model = trained(texts, tmp_path / "model", settings_of(vectors, "tied=true"))
    assert model.network.encoder.U.shape[1] == 4
    with pytest.raises(UsageError, match="freeze_vectors cannot be had with"):
        trained(texts, tmp_path / "other", settings_of(vectors, "tied=true", "freeze_vectors=true"))


def test_the_row_of_an_unk_that_training_never_saw_stays_zero(texts: tuple[Path, Path], vectors: Path) -> None:
    vectors.write_text(vectors.read_text() + "<unk> 1 1 1 1\n</s> 2 2 2 2\n")
    _, network, tokenizer, facts = begun(texts, settings_of(vectors))
    assert facts["special_found"] == ["</s>"] and facts["words_found"] == 4
    assert not network.encoder.U[tokenizer.id("<unk>")].any()
    assert torch.equal(network.encoder.U[tokenizer.id("</s>")], torch.full((4,), 2 * facts["scale"]))


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (["embedding=7"], "network.embedding is 7, and the vectors of"),
        (["regime=online"], "regime online has no layer between U and the states: H is 6"),
        (["vectors=-"], "is read more than once"),
        (["vectors=nothing.txt"], "nothing.txt does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    pairs: list[str], sentence: str, texts: tuple[Path, Path], vectors: Path, tmp_path: Path
) -> None:
    with pytest.raises(ElmanError, match=sentence):
        trained(texts, tmp_path / "model", settings_of(vectors, *pairs))
    assert not (tmp_path / "model").exists()


def test_vectors_of_another_language_are_refused(texts: tuple[Path, Path], vectors: Path, tmp_path: Path) -> None:
    vectors.write_text("der 1 2 3 4\n</s> 1 2 3 4\n")
    with pytest.raises(TextError, match="for none of the 8 symbols of the dictionary"):
        trained(texts, tmp_path / "model", settings_of(vectors))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("pair", ["freeze_vectors=true", "vectors_rms=1"])
def test_settings_of_vectors_need_vectors(pair: str) -> None:
    with pytest.raises(UsageError, match=r"give learn\.vectors"):
        build(parse_pairs([pair]))
