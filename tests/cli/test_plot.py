"""`elman plot`: every kind of picture, in every form, and a sentence for what cannot be drawn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .commandline import TINY, Elman, Texts

KINDS = {"curves": [], "units": ["--units", "TEXT"], "vectors": ["--vectors"], "horizon": ["--horizon", "TEXT"]}


def arguments(kind: str, texts: Texts) -> list[str]:
    return [texts.valid if word == "TEXT" else word for word in KINDS[kind]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_in_characters_json_and_a_page(
    kind: str, elman: Elman, texts: Texts, model: Path, tmp_path: Path
) -> None:
    result = elman("plot", model, *arguments(kind, texts), "--html", tmp_path / "page.html")
    assert result.code == 0 and result.out and "Traceback" not in result.err
    assert "\x1b" not in result.out
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "default-src 'none'" in page
    assert "page.html" in result.err
    values = json.loads(elman("plot", model, *arguments(kind, texts), "--json").out)
    assert values


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_draws_a_figure(kind: str, elman: Elman, texts: Texts, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    for name in ("a.png", "b.svg", "c.pdf"):
        result = elman("plot", model, *arguments(kind, texts), "--plot", tmp_path / name)
        assert result.code == 0 and (tmp_path / name).stat().st_size > 1000
    dark = elman("plot", model, *arguments(kind, texts), "--plot", tmp_path / "dark.svg", "--dark")
    assert dark.code == 0 and "#161616" in (tmp_path / "dark.svg").read_text()


def test_curves_of_two_runs_say_where_each_was_best(elman: Elman, texts: Texts, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    tiny = [*TINY, "--clip", "1", "--set", "log_every=5"]
    assert elman("train", texts.train, "--valid", texts.valid, "--out", other, *tiny).code == 0
    result = elman("plot", model, other)
    assert result.code == 0
    assert "validation perplexity" in result.out and "gradient norm, before clipping" in result.out
    log = [json.loads(line) for line in (other / "log.jsonl").read_text().splitlines()]
    best = min(entry["valid_perplexity"] for entry in log if "valid_loss" in entry)
    values = json.loads(elman("plot", model, other, "--json", "--x", "updates").out)
    assert (values["x"], values["unit"], values["measure"]) == ("updates", "word", "perplexity")
    assert min(values["runs"][1]["curves"]["valid"]["y"]) == pytest.approx(best)
    bits = json.loads(elman("plot", other, "--json", "--loss", "bits").out)
    assert 2 ** min(bits["runs"][0]["curves"]["valid"]["y"]) == pytest.approx(best)


def test_curves_are_read_without_torch(model: Path) -> None:
    program = (
        "import sys; from elman.cli.main import run; code = run(sys.argv[1:]); sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, "plot", str(model)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_horizons_whole_history_is_what_evaluate_says(elman: Elman, texts: Texts, model: Path) -> None:
    (found,) = json.loads(elman("plot", model, "--horizon", texts.valid, "--json").out)["models"]
    said = json.loads(elman("evaluate", model, texts.valid, "--json").out)
    assert found["whole"] == pytest.approx(said["token_perplexity"], rel=1e-6)
    assert found["symbols"] == said["tokens"] == found["tokens"]
    lines = elman("plot", model, "--horizon", texts.valid, "--history", "0,3").out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["history", "0", "3", "whole"]


def test_units_and_layers_are_those_that_were_asked_for(elman: Elman, texts: Texts, model: Path) -> None:
    words = ["--units", texts.valid, "--unit", 5, "--unit", 2, "--along", "the cat sees a dog"]
    values = json.loads(elman("plot", model, *words, "--json").out)
    assert [unit["unit"] for unit in values["units"]] == [5, 2]
    assert values["sentence"] == ["the", "cat", "sees", "a", "dog"]
    result = elman("plot", model, *words)
    assert result.out.startswith("unit 5: ") and "[" in result.out
    wrong = elman("plot", model, "--units", texts.valid, "--layer", 2)
    assert (wrong.code, wrong.sentence) == (2, "elman: there is no layer 2")


def test_words_stand_at_their_places(elman: Elman, model: Path, tmp_path: Path) -> None:
    result = elman("plot", model, "--vectors", "--words", "cat dog bird sees wants")
    assert all(word in result.out for word in ("cat", "dog", "bird", "sees", "wants"))
    assert "of the variance" in result.out
    (tmp_path / "words.txt").write_text("cat dog bird\n")
    values = json.loads(elman("plot", model, "--vectors", "--words", tmp_path / "words.txt", "--json").out)
    assert values["words"] == ["cat", "dog", "bird"] and sum(values["shares"]) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_terminal_of_ascii_gets_ascii(kind: str, texts: Texts, model: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "elman", "plot", str(model), *arguments(kind, texts)]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and b"\\u" not in done.stdout


def test_colour_is_for_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from elman.cli.plot import screen

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert screen().colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not screen().colour
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not screen().colour


WRONG = {
    "two kinds": (["--vectors", "--units", "TEXT"], "--units and --vectors cannot be drawn at once"),
    "a flag of another kind": (["--vectors", "--unit", "3"], "--unit means nothing here"),
    "a flag of runs": (["--units", "TEXT", "--x", "symbols"], "--x means nothing here"),
    "a flag of models": (["--top", "3"], "--top means nothing here"),
    "an axis": (["--x", "updatse"], "--x 'updatse' cannot be"),
    "a loss": (["--loss", "bit"], "--loss 'bit' cannot be"),
    "history": (["--horizon", "TEXT", "--history", "1,two"], "--history '1,two' is no list of whole numbers"),
    "negative history": (["--horizon", "TEXT", "--history", "-3"], "--history '-3' is no list of whole numbers"),
    "no words": (["--vectors", "--words", " "], "--words names no word"),
    "an unknown word": (["--vectors", "--words", "cat dog brid"], "no vector for 'brid'"),
    "no format": (["--plot", "figure"], "does not say what to write"),
    "dark alone": (["--dark"], "--dark is of a figure"),
    "a folder to write to": (["--html", "."], "is no file to write to"),
    "two results on stdout": (["--html", "-", "--json"], "both write to standard output"),
    "a unit": (["--units", "TEXT", "--unit", "8"], "there is no unit 8 in layer 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_one_sentence(name: str, elman: Elman, texts: Texts, model: Path) -> None:
    given, sentence = WRONG[name]
    result = elman("plot", model, *(texts.valid if word == "TEXT" else word for word in given))
    assert (result.code, result.out) == (2, "")
    assert sentence in result.sentence


def test_a_folder_without_a_log_is_one_sentence(elman: Elman, model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    (copy / "log.jsonl").unlink()
    result = elman("plot", copy)
    assert (result.code, result.sentence) == (1, f"elman: {copy} has no log.jsonl")
    with (copy / "log.jsonl").open("w") as stream:
        stream.write((model / "log.jsonl").read_text()[:-20])
    result = elman("plot", copy)
    assert result.code == 0 and "cut short" in result.err


@pytest.mark.parametrize("kind", ["units", "vectors"])
def test_two_models_at_once_are_for_horizons(kind: str, elman: Elman, texts: Texts, model: Path) -> None:
    result = elman("plot", model, model, *arguments(kind, texts))
    assert result.code == 2 and "is of one model, and 2 were given" in result.sentence
    values = json.loads(elman("plot", model, model, "--horizon", texts.valid, "--json").out)["models"]
    assert len(values) == 2 and values[0]["perplexities"] == values[1]["perplexities"]


@pytest.mark.parametrize("kind", ["units", "vectors", "horizon"])
def test_no_model_is_one_sentence(kind: str, elman: Elman, texts: Texts, tmp_path: Path) -> None:
    result = elman("plot", tmp_path, *arguments(kind, texts))
    assert result.code == 1 and "config.json" in result.sentence


def test_a_figure_that_cannot_be_drawn_is_refused_before_anything_is_computed(
    elman: Elman, texts: Texts, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = elman("plot", model, "--horizon", texts.valid, "--plot", tmp_path / "figure.png")
    assert (result.code, result.out) == (1, "")
    assert "matplotlib" in result.sentence and "pip install 'elman[plot]'" in result.err
    assert not (tmp_path / "figure.png").exists()


def test_training_may_tell_others(elman: Elman, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("trackio", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, library, None)
    result = elman("train", texts.train, "--out", tmp_path / "run", *TINY, "--log", "trackio")
    assert result.code == 1 and "pip install 'elman[trackio]'" in result.err
    result = elman("train", texts.train, "--out", tmp_path / "run", *TINY, "--log", "trackoi")
    assert result.code == 2 and "learn.log.0 = 'trackoi'" in result.sentence
    assert not (tmp_path / "run").exists()


def test_a_page_may_go_to_stdout_and_a_text_may_come_from_stdin(texts: Texts, model: Path) -> None:
    command = [sys.executable, "-m", "elman", "plot", str(model)]
    with Path(texts.valid).open("rb") as stream:
        done = subprocess.run([*command, "--units", "-", "--html", "-"], stdin=stream, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!DOCTYPE html>") and done.stdout.endswith("</html>\n")
    twice = subprocess.run(
        [*command, str(model), "--horizon", "-"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert twice.returncode == 2 and "standard input is read once" in twice.stderr
