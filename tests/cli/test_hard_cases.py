"""What a user may try that nobody planned for: extreme numbers, half-damaged models, empty names, lost patience."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elman.config import SECTIONS, known_keys
from elman.network.folder import load_tensors

from .commandline import TINY, Elman, Texts

BARE = ["--quiet", "--set", "max_updates=2", "--set", "threads=1"]


def bounds() -> Iterator[tuple[str, str]]:
    """Every numeric setting with values just and far outside its range, read from the settings themselves."""
    for section, kind in SECTIONS.items():
        for name, field in kind.model_fields.items():
            key = f"{section}.{name}"
            for limit in field.metadata:
                for bound, beyond in (("ge", -1), ("le", 1), ("gt", 0), ("lt", 0)):
                    if (value := getattr(limit, bound, None)) is not None:
                        yield key, repr(value + beyond * max(1, abs(value)))
            if "float" in str(field.annotation):
                yield from ((key, value) for value in ("nan", "inf", "-inf"))
            if "int" in str(field.annotation):
                yield from ((key, value) for value in ("1.5", "'many'", "[1]", "true and false"))


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


@pytest.mark.parametrize(("key", "value"), list(bounds()))
def test_no_number_out_of_range_gets_through(key: str, value: str, elman: Elman, texts: Texts, tmp_path: Path) -> None:
    result = elman("train", texts.train, "--out", tmp_path / "out", *BARE, "--set", f"{key}={value}")
    assert (result.code, result.out) == (2, "")
    assert result.sentence.startswith((f"elman: {key} = ", f"elman: {key}.0 = "))  # the whole, or the first of a list
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pair", ["bptt=100000000000000000000", "epochs=100000000000000000000", "clip=1e-300"])
def test_a_number_that_is_only_silly_is_followed(pair: str, elman: Elman, texts: Texts, tmp_path: Path) -> None:
    assert elman("train", texts.train, "--out", tmp_path / "out", "--hidden", "4", *BARE, "--set", pair).code == 0


@pytest.mark.parametrize("key", known_keys())
def test_set_reaches_every_setting(key: str, elman: Elman, texts: Texts, tmp_path: Path) -> None:
    result = elman("train", texts.train, "--out", tmp_path / "out", "--set", f"{key}={{}}")  # a table fits none
    assert result.code == 2 and key in result.sentence


@pytest.mark.parametrize("where", ["out", "train", "valid", "model", "text", "vocabulary"])
def test_an_empty_name_is_no_path(where: str, elman: Elman, texts: Texts, model: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    arguments = {
        "out": ["train", texts.train, "--out", ""],
        "train": ["train", "", "--out", out],
        "valid": ["train", texts.train, "--valid", "", "--out", out],
        "vocabulary": ["train", texts.train, "--vocabulary", "", "--out", out],
        "model": ["info", ""],
        "text": ["evaluate", model, ""],
    }
    result = elman(*arguments[where])
    assert result.code in (1, 2) and "is empty" in result.sentence
    assert not Path(out).exists()


# A model that stands where another is to be written


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "flags",
    [
        ["--valid", "no.txt"],
        ["--batch", "100000"],
        ["--vocab-size", "2"],
        ["--regime", "online", "--layers", "2"],
        ["--min-count", "1000000"],
        ["--hidden", "0"],
    ],
)
def test_overwriting_takes_nothing_away_before_training_begins(
    flags: list[str], elman: Elman, texts: Texts, copy: Path
) -> None:
    before = contents(copy)
    result = elman("train", texts.train, "--out", copy, "--overwrite", *BARE, *flags)
    assert result.code in (1, 2) and result.sentence
    assert contents(copy) == before


def test_what_is_refused_leaves_no_folder_in_the_way(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    train = ["train", texts.train, "--out", tmp_path / "out", "--hidden", "4", *BARE]
    assert elman(*train, "--batch", "100000").code == 2
    assert not (tmp_path / "out").exists()
    assert elman(*train).code == 0


def test_a_finished_run_is_not_resumed_with_other_settings(elman: Elman, texts: Texts, copy: Path) -> None:
    train = ["train", texts.train, "--valid", texts.valid, "--out", copy, "--resume", *TINY]
    assert elman(*train).code == 0
    result = elman(*train, "--hidden", "9")
    assert result.code == 1 and "began with network.hidden = 8" in result.sentence


def test_a_model_without_its_checkpoint_is_not_trained_over(elman: Elman, texts: Texts, copy: Path) -> None:
    (copy / "card.json").unlink()  # as of a model from elsewhere
    before = contents(copy)
    result = elman("train", texts.train, "--valid", texts.valid, "--out", copy, "--resume", *TINY)
    assert result.code == 1 and "no checkpoint" in result.sentence
    assert contents(copy) == before


# Models that are almost right


def changed(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in values.items():
        section, _, name = key.partition("__")
        if name:
            config[section][name] = value
        else:
            config[section] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"regime": "walking"}, "no regime 'walking'"),
        ({"network__hidden": 8_000_000_000_000}, "hidden = 8000000000000 cannot be"),
        ({"network__dropout": math.nan}, "dropout = nan cannot be"),
        ({"network__activation": "step"}, "no activation 'step'"),
        ({"network": None}, "does not describe a model"),
        ({"text": 5}, "does not describe a model"),
        ({"vocab_size": -3}, "tokenizer.json"),
        ({"vocab_size": 10**18}, "tokenizer.json"),
        ({"format_version": "1"}, "format_version"),
    ],
)
def test_a_config_that_describes_no_model(values: dict[str, Any], complaint: str, elman: Elman, copy: Path) -> None:
    changed(copy, **values)
    result = elman("info", copy)
    assert (result.code, result.out) == (1, "") and complaint in result.sentence


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "card.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe{", b"[" * 100_000, b"[1]", b"null", b"7"])
def test_a_file_that_holds_something_else(name: str, content: bytes, elman: Elman, copy: Path) -> None:
    (copy / name).write_bytes(content)
    result = elman("predict", copy, "the")
    assert (result.code, result.out) == (1, "") and str(copy) in result.sentence


@pytest.mark.parametrize("card", [{}, {"result": [1], "train": 5, "settings": "x"}, {"result": {"epochs": "x"}}])
def test_a_card_changes_no_answer(card: dict[str, Any], elman: Elman, texts: Texts, copy: Path) -> None:
    before = elman("predict", copy, "the").out
    (copy / "card.json").write_text(json.dumps(card))
    assert elman("predict", copy, "the").out == before
    assert elman("info", copy).code == 0
    assert json.loads(elman("info", copy, "--json").out)["network"]["hidden"] == 8
    result = elman("train", texts.train, "--out", copy, "--resume", *TINY)
    assert result.code == 1 and "card.json" in result.sentence


# Every unit


@pytest.mark.parametrize("unit", ["word", "char", "byte", "bpe"])
def test_every_unit_takes_every_command(unit: str, elman: Elman, texts: Texts, tmp_path: Path) -> None:
    out, size = tmp_path / unit, ["--vocab-size", "270"] if unit == "bpe" else []
    train = ["train", texts.train, "--valid", texts.valid, "--out", out, "--unit", unit, "--hidden", "6", *BARE, *size]
    assert elman(*train).code == 0
    zipped = tmp_path / "valid.gz"
    zipped.write_bytes(gzip.compress(Path(texts.valid).read_bytes()))
    results = [json.loads(elman("evaluate", out, text, "--json").out) for text in (texts.valid, zipped)]
    assert results[0]["logprob10"] == results[1]["logprob10"] < 0
    assert (results[0]["words"], results[0]["sentences"]) == (100, 20)
    following = json.loads(elman("predict", out, "the ", "--top", "1000000", "--json").out)
    missing = following["unk_probability"] or 0.0
    assert math.fsum(entry["probability"] for entry in following["next"]) == pytest.approx(1 - missing, abs=1e-5)
    assert "<unk>" not in [entry["token"] for entry in following["next"]]
    bars = elman("predict", out, "the", "--top", "300").out.splitlines()
    assert all(line.split("  0.")[0].strip() for line in bars)  # a space shows as ' '
    written = json.loads(elman("generate", out, "--prompt", "the ", "--tokens", "7", "--seed", "1", "--json").out)
    assert len(written["tokens"]) == 7 and written["text"].startswith("the")
    scores = [json.loads(line) for line in elman("score", out, texts.valid, "--json", "--base", "10").out.splitlines()]
    alone = json.loads(elman("evaluate", out, texts.valid, "--json", "--regime", "sentences").out)
    assert math.fsum(line["logprob"] for line in scores) == pytest.approx(alone["logprob10"], rel=1e-5)
    assert elman("info", out, "--json").code == 0


def test_lines_of_a_prompt_are_sentences(elman: Elman, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(prompt: str) -> list[dict[str, Any]]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(prompt.encode())))
        answers: list[dict[str, Any]] = json.loads(elman("predict", model, "-", "--json").out)["next"]
        return answers

    assert answer("the cat sees\nthe") == answer("the cat sees\n\n  \nthe\n")
    assert answer("the cat sees\nthe") != answer("the cat sees the")
    written = elman("generate", model, "--prompt", "the cat sees a dog\nthe", "--temperature", "0").out
    assert written.startswith("the cat sees a dog\nthe ")


# Streams


@pytest.mark.skipif(sys.platform == "win32", reason="there is no POSIX shell")
def test_closed_streams_are_no_catastrophe(model: Path) -> None:
    program = f"{shlex.quote(sys.executable)} -m elman"
    for command, code in ((f"predict {model} - <&-", 0), (f"info {model} >&-", 0), ("nothing 2>&-", 2)):
        done = subprocess.run(f"{program} {command}", shell=True, capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr


def test_a_prompt_that_is_not_utf8_is_read(elman: Elman, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the \xff\n")))
    result = elman("predict", model, "-")
    assert result.code == 0 and "read as unknown" in result.err


# A terminal


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("colourless", [False, True])
def test_a_terminal_shows_a_bar_in_colour_unless_told_not_to(colourless: bool, texts: Texts, tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm", "COLUMNS": "150"} | ({"NO_COLOR": "1"} if colourless else {})
    command = [sys.executable, "-m", "elman", "train", texts.train, "--out", str(tmp_path / "m"), *TINY[:-1]]
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a pty
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    out, _ = done.communicate(timeout=60)
    assert done.returncode == 0 and b"perplexity" in out and b"\x1b" not in out
    assert b"\x1b[2K" in shown and b"symbols/s" in shown and b"epoch 2/2: alpha" in shown
    assert bool(re.search(rb"\x1b\[[0-9;]*[1-9][0-9;]*m", shown)) is not colourless


# Ctrl-C


def start(*arguments: object) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-m", "elman", *map(str, arguments)], stdout=pipe, stderr=pipe, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_an_interrupted_run_ends_bit_for_bit_as_one_that_was_not(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    small = ["--hidden", "8", "--batch", "2", "--bptt", "3", "--threads", "1", "--optimizer", "adam", "--epochs", "4"]
    train = ["train", texts.train, "--valid", texts.valid, *small, "--quiet", "--checkpoint-every", "0"]
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    process = start(*train, "--set", "log_every=5", "--out", cut)
    deadline = time.monotonic() + 60
    while not (cut / "log.jsonl").exists() or not (cut / "log.jsonl").read_text():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), error
    assert elman(*train, "--set", "log_every=5", "--out", cut, "--resume").code == 0
    assert elman(*train, "--out", whole).code == 0
    weights, others = (load_tensors(folder / "model.safetensors") for folder in (cut, whole))
    assert all(weights[name].equal(others[name]) for name in others) and weights.keys() == others.keys()
    assert not list(cut.glob(".*")) and not (cut / "checkpoint.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_stops_an_evaluation_in_one_sentence(presses: int, texts: Texts, model: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    long.write_text(Path(texts.valid).read_text() * 10_000)
    process = start("score", model, long)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()  # torch is there, and the work has begun
    for _ in range(presses):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "elman: interrupted; what was saved before is good\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_while_a_corpus_is_built_leaves_nothing(texts: Texts, tmp_path: Path) -> None:
    long, out = tmp_path / "long.txt", tmp_path / "out"
    long.write_text(Path(texts.valid).read_text() * 30_000)
    process = start("train", long, "--out", out, "--threads", "1")
    cache, patience = Path(os.environ["ELMAN_CACHE"]), time.monotonic() + 60
    while not list(cache.rglob("*.tmp")) and process.poll() is None and time.monotonic() < patience:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and error.splitlines()[0].startswith("elman: interrupted")
    assert not list(tmp_path.rglob("*.tmp")) and not list(cache.rglob("*.tmp")) and not out.exists()
