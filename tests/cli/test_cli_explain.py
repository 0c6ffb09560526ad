"""`elman explain`: a table for a terminal, JSON, a page, and one clear sentence for what cannot be."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .commandline import Elman

TEXT = "the cat sees a"


def test_a_terminal_gets_every_step_the_error_sent_back_and_which_word_mattered(elman: Elman, model: Path) -> None:
    result = elman("explain", model, TEXT)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("s(t) = f( w(t) U + s(t") and "sigmoid" in lines[0]
    assert "8 x 8" in lines[1] and "shared by all steps" in lines[1] and "bptt 5" in lines[1]
    steps = [line.split() for line in lines[4:9]]
    assert [(step[0], step[1]) for step in steps] == [
        ("1", "</s>"),
        ("2", "the"),
        ("3", "cat"),
        ("4", "sees"),
        ("5", "a"),
    ]
    assert steps[1][2] == "cat" and steps[1][4] == "bits"
    assert 'The error of step 4 ("a", which came next' in result.out and "k  w(t-k)" in result.out
    assert "a factor is at most max f' ||W||" in result.out and "█" in result.out
    assert sum(line.split()[-3:-2] == ["sees"] or "sees" in line for line in lines) >= 2


def test_json_on_stdout_is_the_whole_explanation(elman: Elman, model: Path) -> None:
    result = elman("explain", model, "the zebra", "--json", "--top", "3", "--units", "2")
    values = json.loads(result.out)
    assert [step["symbol"] for step in values["steps"]] == ["</s>", "the", "<unk>"]
    assert all(len(step["next"]) == 3 and len(step["state"][0]["units"]) == 2 for step in values["steps"])
    assert len(values["why"]) == 3 and values["unknown"] == ["zebra"]
    assert "zebra" in result.err and "zebra" in values["notes"][0]


def test_the_text_may_come_from_standard_input(elman: Elman, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = elman("explain", model, TEXT).out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{TEXT}\n".encode())))
    assert elman("explain", model, "-").out == plain


def test_a_page_is_written_beside_and_named_on_stderr(elman: Elman, model: Path, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "net.html"
    result = elman("explain", model, TEXT, "--html", page)
    assert (result.code, result.out) == (0, "") and str(page) in result.err
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>") and list(page.parent.iterdir()) == [page]
    assert elman("explain", model, TEXT, "--html", "-").out == page.read_text("utf-8")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_figure_is_written_in_the_form_that_its_name_says(
    elman: Elman, model: Path, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    path = tmp_path / f"net.{kind}"
    assert elman("explain", model, TEXT, "--plot", path).code == 0
    assert path.read_bytes().startswith(b"\x89PNG" if kind == "png" else b"<?xml")


def test_a_figure_without_matplotlib_names_the_extra_before_anything_is_read(
    elman: Elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = elman("explain", tmp_path / "nowhere", TEXT, "--plot", tmp_path / "net.png")
    assert result.code == 1 and "is not installed" in result.sentence and "elman[plot]" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        ([], 2, "missing argument TEXT"),
        ([""], 1, "the text is empty"),
        (["the cat", "--at", "9"], 2, "at = 9 cannot be: the text has steps 1 to 3"),
        (["the cat", "--at", "0"], 2, "--at"),
        (["the cat", "--from", "9"], 2, "from = 9 cannot be"),
        (["the cat", "--target", "zebra"], 2, "the target 'zebra' is no symbol"),
        (["the cat", "--plot", "net.doc"], 2, "does not say what to write"),
        (["the cat", "--html", ""], 2, "--html: the path is empty"),
        (["the cat", "--html", "/"], 2, "--html: / is a folder"),
        (["the cat", "--html", "-", "--json"], 2, "standard output"),
    ],
)
def test_what_cannot_be_is_one_clear_sentence(
    elman: Elman, model: Path, arguments: list[str], code: int, complaint: str
) -> None:
    result = elman("explain", model, *arguments)
    assert (result.code, result.out) == (code, "")
    assert complaint in result.sentence


def test_a_folder_that_holds_no_model_is_named(elman: Elman, tmp_path: Path) -> None:
    missing = elman("explain", tmp_path / "nowhere", "the cat")
    assert missing.code == 1 and "does not exist" in missing.sentence
    assert elman("explain").code == 2 and "missing argument MODEL" in elman("explain").sentence
    config = {"model_type": "elman", "format_version": 1, "task": "dna"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    dna = elman("explain", tmp_path, "ACGT")
    assert dna.code == 1 and "holds a model of DNA, not a language model" in dna.sentence


def test_a_terminal_that_knows_no_block_gets_plain_bars(model: Path) -> None:
    command = [sys.executable, "-m", "elman", "explain", str(model), TEXT]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and b"####" in done.stdout and b"\\u2588" not in done.stdout
