"""`elman vectors` and `elman train --input`: what they print when all is well, and what they say when not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from elman.network.folder import load_model
from elman.text.vectors import read_vectors

from .commandline import TINY, Elman, Texts


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text("cat 1 2 3\ndog 1 2 2.5\nking -1 4 0\nqueen -1 4 1\nman 0 2 0\nwoman 0 2 1\nthe 0.1 0 -1\n")
    return path


@pytest.mark.parametrize("name", [None, "from", "nearest", "analogy", "similarity", "train"])
def test_every_command_of_vectors_has_help(name: str | None, elman: Elman) -> None:
    result = elman("vectors", *([name, "--help"] if name else []))
    assert result.code == 0 and "Usage: elman vectors" in result.out
    assert name is None or "--json" in result.out


@pytest.mark.parametrize("binary", [[], ["--binary"]])
def test_rows_of_u_come_out_and_are_read_back(binary: list[str], elman: Elman, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "u"
    result = elman("vectors", "from", model, "--out", out, *binary)
    assert result.code == 0 and str(out) in result.out and "'<unk>'" in result.err
    loaded, found = load_model(model), read_vectors(out)
    tokens = [loaded.tokenizer.token(id) for id in range(loaded.tokenizer.size)]
    assert found.words == [token for token in tokens if token != "<unk>"] and found.words[0] == "</s>"
    assert ("binary" in found.kind) == bool(binary)
    U = loaded.network.encoder.U.detach().numpy()
    for word, row in zip(found.words, found.matrix, strict=True):
        np.testing.assert_array_equal(row, U[tokens.index(word)])
    facts = json.loads(elman("vectors", "from", model, "--out", out, "--json", *binary).out)
    assert facts["words"] == len(found.words) and facts["size"] == 8 and facts["left_out"] == ["<unk>"]


def test_a_file_and_a_model_answer_alike(elman: Elman, model: Path, tmp_path: Path) -> None:
    assert elman("vectors", "from", model, "--out", tmp_path / "u.gz").code == 0
    answers = [elman("vectors", "nearest", path, "cat", "Dog", "--top", 3) for path in (model, tmp_path / "u.gz")]
    assert answers[0].code == answers[1].code == 0
    assert answers[0].out == answers[1].out and answers[0].out.startswith("cat:\n")


def test_nearest_prints_words_with_their_cosines(elman: Elman, glove: Path) -> None:
    result = elman("vectors", "nearest", glove, "CAT", "--top", 1)
    assert result.code == 0 and result.out == "dog  0.9960\n"
    facts = json.loads(elman("vectors", "nearest", glove, "CAT", "--top", 1, "--first", 2, "--json").out)
    assert facts["vectors"] == 2 and facts["words"][0]["found"] == "cat"
    assert facts["words"][0]["nearest"] == [{"word": "dog", "cosine": pytest.approx(0.99602, abs=1e-5)}]


def test_analogy_prints_sections_and_a_total(elman: Elman, glove: Path, tmp_path: Path) -> None:
    (tmp_path / "q").write_text(": family\nman woman king queen\nMan Woman Cat The\n: none\nRome Italy Oslo Norway\n")
    result = elman("vectors", "analogy", glove, tmp_path / "q")
    assert result.code == 0
    assert [" ".join(line.split()) for line in result.out.splitlines()] == [
        "family 50.0 % 1 of 2, 0 skipped",
        "none - 0 of 0, 1 skipped",
        "total 50.0 % 1 of 2, 1 skipped",
    ]
    facts = json.loads(elman("vectors", "analogy", glove, tmp_path / "q", "--json").out)
    assert (facts["accuracy"], facts["skipped"], facts["sections"][1]["accuracy"]) == (0.5, 1, None)


def test_similarity_prints_spearman(elman: Elman, glove: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text("cat dog 9\nking queen 8\ncat the 1\ncat unheard 5\n")
    result = elman("vectors", "similarity", glove, tmp_path / "pairs")
    assert result.code == 0 and result.out == "Spearman 1.0000 over 3 pairs, 1 skipped\n"
    facts = json.loads(elman("vectors", "similarity", glove, tmp_path / "pairs", "--json").out)
    assert (facts["spearman"], facts["used"], facts["skipped"]) == (pytest.approx(1.0), 3, 1)


def test_vectors_come_from_standard_input(glove: Path) -> None:
    command = [sys.executable, "-m", "elman", "vectors", "nearest", "-", "cat", "--top", "1"]
    done = subprocess.run(command, input=glove.read_bytes(), capture_output=True, check=False)
    assert done.returncode == 0 and done.stdout == b"dog  0.9960\n", done.stderr


def test_files_are_read_without_torch(glove: Path) -> None:
    program = (
        "import sys; from elman.cli.main import run; "
        f"code = run(['vectors', 'nearest', {str(glove)!r}, 'cat']); sys.exit(code or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_mistakes_are_one_sentence(elman: Elman, glove: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("a 1 2\nb 3\n")
    cases = [
        (["nearest", glove, "cow"], 2, "has no vector for 'cow'"),
        (["nearest", tmp_path / "bad", "a"], 1, "line 2: 'b' has 1 numbers where line 1 has 2"),
        (["nearest", tmp_path, "a"], 1, "has no config.json"),
        (["analogy", "-", "-"], 2, "standard input cannot be both"),
        (["similarity", glove, tmp_path / "none"], 1, "does not exist"),
        (["from", model, "--out", tmp_path], 1, "is a folder"),
        (["from", model, "--out", "-", "--json"], 2, "cannot take both"),
        (["from", glove, "--out", tmp_path / "x"], 1, "is not a folder"),
    ]
    for arguments, code, sentence in cases:
        result = elman("vectors", *arguments)
        assert (result.code, sentence in result.sentence) == (code, True), result.err
        assert result.out == ""


def test_where_gensim_is_missing_the_error_names_the_extra(
    elman: Elman, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    result = elman("vectors", "train", texts.train, "--out", tmp_path / "v")
    assert result.code == 1 and "gensim is not installed" in result.sentence
    assert "pip install 'elman[vectors]'" in result.err and not (tmp_path / "v").exists()


def test_vectors_are_learnt_from_a_text(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    pytest.importorskip("gensim", reason="the extra elman[vectors] is not installed")
    out = tmp_path / "v"
    for path in (out, tmp_path / "again"):
        result = elman("vectors", "train", texts.train, "--out", path, "--size", 6, "--epochs", 2, "--json")
        assert result.code == 0 and json.loads(result.out)["size"] == 6
    found = read_vectors(out)
    assert found.matrix.shape == (9, 6) and set(found.words[:2]) == {"the", "a"}
    assert out.read_bytes() == (tmp_path / "again").read_bytes(), "one thread, one seed"
    result = elman("vectors", "train", texts.train, "--out", tmp_path / "none", "--min-count", 1000)
    assert result.code == 1 and "no word that comes 1000 times" in result.sentence
    assert not (tmp_path / "none").exists()


def test_train_takes_vectors_as_its_input(elman: Elman, texts: Texts, glove: Path, tmp_path: Path) -> None:
    common = ["train", texts.train, "--valid", texts.valid, *TINY[:-1]]
    result = elman(*common, "--out", tmp_path / "m", "--input", f"vectors:{glove}")
    assert result.code == 0 and "words of the dictionary" in result.err.splitlines()[0]
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert card["settings"]["learn.vectors"] == str(glove) and card["settings"]["network.embedding"] == 3
    assert card["vectors"]["words_found"] == 3
    again = elman(*common, "--out", tmp_path / "m", "--input", f"vectors:{glove}", "--resume")
    assert again.code == 0
    (tmp_path / "r.toml").write_text(f'[learn]\nvectors = "{glove}"\nfreeze_vectors = true\n')
    result = elman(*common, "--out", tmp_path / "o", "--recipe", tmp_path / "r.toml", "--input", "one-hot")
    assert result.code == 0 and "words of the dictionary" not in result.err
    assert "vectors" not in json.loads((tmp_path / "o" / "card.json").read_text())


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("vector:x", "--input 'vector:x' cannot be"),
        ("vectors:", "--input vectors names no file"),
        ("vectors", "--input vectors names no file"),
        ("one-hot:3", "--input one-hot takes nothing after it"),
        ("ngram:", "--input ngram: names no numbers of symbols"),
        ("ngram:2,x", "--input ngram:2,x names no numbers of symbols"),
        ("ngram:1", "network.ngrams.0 = 1 cannot be"),
        ("", "--input '' cannot be"),
        ("vectors:nothing.txt", "nothing.txt does not exist"),
    ],
)
def test_an_input_that_cannot_be_is_one_sentence(
    spec: str, sentence: str, elman: Elman, texts: Texts, tmp_path: Path
) -> None:
    result = elman("train", texts.train, "--out", tmp_path / "m", "--input", spec, *TINY)
    assert result.code in (1, 2) and sentence in result.sentence
    assert not (tmp_path / "m").exists()


def test_symbols_that_hold_a_space_are_left_out_and_named(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    tiny = [*TINY[:-2], "1", "--quiet"]
    assert elman("train", texts.train, "--unit", "char", "--out", tmp_path / "m", *tiny).code == 0
    result = elman("vectors", "from", tmp_path / "m", "--out", tmp_path / "u")
    assert result.code == 0 and "' '" in result.err and "'\\n'" in result.err
    found = read_vectors(tmp_path / "u").words
    assert {"t", "h", "e"} <= set(found) and " " not in found
