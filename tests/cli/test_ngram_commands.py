"""`elman ngram`: what it prints when all is well, and what it says when not."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from elman.ngram import arpa

from .commandline import Elman, Texts


@pytest.fixture(scope="session")
def counts(texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An ARPA file; tests do not change it."""
    from elman.ngram.estimate import estimate

    path = tmp_path_factory.mktemp("counts") / "model.arpa"
    arpa.save(estimate(texts.train, order=3), path)
    return str(path)


@pytest.mark.parametrize("arguments", [[], ["train"], ["evaluate"], ["convert"]])
def test_every_command_has_help(arguments: list[str], elman: Elman) -> None:
    result = elman("ngram", *arguments, *(["--help"] if arguments else []))
    assert result.code == 0 and "Usage: elman ngram" in result.out
    assert not arguments or "--json" in result.out


@pytest.mark.parametrize("name", ["new/model.arpa", "model.arpa.gz", "model.safetensors"])
def test_train_evaluate_and_convert(name: str, elman: Elman, texts: Texts, tmp_path: Path) -> None:
    path = tmp_path / name
    result = elman("ngram", "train", texts.train, "--order", 3, "--out", path)
    assert result.code == 0 and str(path) in result.out and "3:" in result.out
    text = elman("ngram", "evaluate", path, texts.valid)
    assert text.code == 0 and "20 sentences, 100 words, 0 OOVs" in text.out and "ppl=" in text.out
    values = json.loads(elman("ngram", "evaluate", path, texts.valid, "--json").out)
    assert (values["order"], values["tokens"], values["regime"]) == (3, 120, "sentences")
    assert f"ppl= {values['perplexity']:.6g}" in text.out
    other = tmp_path / "other.arpa"
    assert elman("ngram", "convert", path, other).code == 0
    again = json.loads(elman("ngram", "evaluate", other, texts.valid, "--json").out)
    assert again["perplexity"] == pytest.approx(values["perplexity"], rel=1e-6)


def test_units_are_those_of_elman_evaluate(elman: Elman, texts: Texts, counts: str, model: Path) -> None:
    mine = json.loads(elman("ngram", "evaluate", counts, texts.valid, "--json").out)
    others = json.loads(elman("evaluate", model, texts.valid, "--regime", "sentences", "--json").out)
    same = ("file", "unit", "regime", "oov", "sentences", "words", "oovs", "zeroprobs", "tokens")
    assert {name: mine[name] for name in same} == {name: others[name] for name in same}
    characters = [v["logprob10"] / v["bits_per_character"] for v in (mine, others)]
    assert characters[0] == pytest.approx(characters[1])
    assert mine.keys() - others.keys() == {"order", "load_seconds"}


def test_train_as_json(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    out = tmp_path / "model.arpa"
    pruned = ["--prune", "0,0,1", "--prune-entropy", "1e-6"]
    values = json.loads(elman("ngram", "train", texts.train, "--order", 4, "--out", out, *pruned, "--json").out)
    assert (values["order_asked"], values["prune"], values["prune_entropy"]) == (4, [0, 0, 1, 1], 1e-6)
    assert values["ngrams"] == arpa.load(out).counts
    assert sum(values["ngrams"]) < sum(values["counted"])
    assert (values["sentences"], values["words"]) == (80, 400)
    assert len(values["discounts"]) == 4 and all(len(three) == 3 for three in values["discounts"])


def test_what_was_not_done_as_asked_is_said(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("a b\n")
    result = elman("ngram", "train", tmp_path / "text.txt", "--order", 9, "--out", tmp_path / "model.arpa")
    assert result.code == 0
    assert "too small to estimate the discounts of order 1, 2" in result.err
    assert "there is no n-gram of order 5: the model has order 4" in result.err


def test_streams_in_and_out(elman: Elman, texts: Texts, counts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    feed(gzip.compress(Path(texts.train).read_bytes()))
    result = elman("ngram", "train", "-", "--order", "3", "--out", "-")
    assert result.out == Path(counts).read_text() and "standard output" in result.err
    expected = json.loads(elman("ngram", "evaluate", counts, texts.valid, "--json").out)["perplexity"]
    feed(gzip.compress(result.out.encode()))
    assert json.loads(elman("ngram", "evaluate", "-", texts.valid, "--json").out)["perplexity"] == expected
    feed(Path(texts.valid).read_bytes())
    assert json.loads(elman("ngram", "evaluate", counts, "-", "--json").out)["perplexity"] == expected
    feed(result.out.encode())
    assert elman("ngram", "convert", "-", "-").out == result.out


def test_unknown_words_are_said(elman: Elman, counts: str, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sees a zebra\n")
    left = elman("ngram", "evaluate", counts, tmp_path / "text.txt").out
    assert "1 OOVs" in left and "1 words that the model does not know were left out" in left
    scored = elman("ngram", "evaluate", counts, tmp_path / "text.txt", "--oov", "unk").out
    assert "were scored as <unk>" in scored


BAD_FILES = {
    "missing": (None, "does not exist"),
    "empty": (b"", "is empty"),
    "binary": (b"\0\1\2\n" * 9, ""),
    "cut gzip": (gzip.compress(b"the cat\n" * 500)[:-9], "cut short"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("command", ["train", "model", "text", "convert", "arrays"])
def test_a_file_that_cannot_be_read(
    name: str, command: str, elman: Elman, texts: Texts, counts: str, tmp_path: Path
) -> None:
    content, complaint = BAD_FILES[name]
    path = tmp_path / ("bad.safetensors" if command == "arrays" else "bad")
    if content is not None:
        path.write_bytes(content)
    out = tmp_path / "out" / "model.arpa"
    arguments = {
        "train": ["train", path, "--out", out],
        "model": ["evaluate", path, texts.valid],
        "text": ["evaluate", counts, path],
        "convert": ["convert", path, out],
        "arrays": ["evaluate", path, texts.valid],
    }
    result = elman("ngram", *arguments[command])
    assert (result.code, result.out) == (1, "")
    assert str(path) in result.sentence and (complaint in result.sentence or command == "arrays")
    assert not out.exists() and not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--order", "0"], "order = 0 cannot be"),
        (["--order", "77"], "order = 77 cannot be"),
        (["--order", "five"], "'--order'"),
        (["--prune", "0,x"], "--prune: 'x' is no whole number"),
        (["--prune", "1"], "the first threshold is 1"),
        (["--prune", "0 2 1"], "thresholds 0,2,1 fall"),
        (["--prune-entropy", "-1"], "the threshold -1.0 cannot be"),
        (["--discount-fallback", "0.5,1"], "fallback discounts"),
        (["--discount-fallback", "a,b,c"], "--discount-fallback: 'a' is no number"),
        (["--odrer", "3"], "there is no flag --odrer"),
    ],
)
def test_a_flag_that_cannot_be_is_wrong_usage(
    flags: list[str], complaint: str, elman: Elman, texts: Texts, tmp_path: Path
) -> None:
    result = elman("ngram", "train", texts.train, "--out", tmp_path / "model.arpa", *flags)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.sentence and not list(tmp_path.iterdir())


def test_wrong_usage_comes_with_a_hint(elman: Elman, texts: Texts, counts: str) -> None:
    wrong = {
        "did you mean evaluate": ["evalaute", "x"],
        "did you mean unk": ["evaluate", counts, texts.valid, "--oov", "unkn"],
        "elman ngram train --help": ["train", texts.train],
        "give a file for one": ["evaluate", "-", "-"],
        "leave out --json": ["train", texts.train, "--out", "-", "--json"],
        "or - for standard output": ["convert", counts, ""],
    }
    for hint, arguments in wrong.items():
        result = elman("ngram", *arguments)
        assert (result.code, result.out) == (2, "") and hint in result.err, result


def test_an_output_that_is_a_folder(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    result = elman("ngram", "train", texts.train, "--out", tmp_path)
    assert result.code == 1 and "is a folder" in result.sentence


def test_counting_needs_no_torch(texts: Texts, counts: str) -> None:
    program = (
        "import sys; from elman.cli.main import run\n"
        f"code = run(['ngram', 'evaluate', {counts!r}, {texts.valid!r}])\n"
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
