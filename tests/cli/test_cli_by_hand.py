"""`elman explain --by-hand`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from elman.apply import by_hand_check

from .commandline import Elman

BY_HAND = ("explain", "--by-hand")


def test_without_arguments_it_shows_its_own_example(elman: Elman) -> None:
    result = elman(*BY_HAND)
    assert (result.code, result.err) == (0, "")
    assert "row row row your" in result.out and "They agree" in result.out
    assert max(map(len, result.out.splitlines())) <= 100


def test_the_same_seed_shows_the_same_numbers(elman: Elman) -> None:
    first, again, other = (elman(*BY_HAND, "--seed", seed).out for seed in (5, 5, 6))
    assert first == again != other


def test_the_words_of_a_sentence_are_its_dictionary(elman: Elman) -> None:
    told = json.loads(elman(*BY_HAND, "the cat sat the", "--json").out)
    assert told["sentence"] == ["the", "cat", "sat", "the"]
    assert told["dictionary"] == ["the", "cat", "sat"]


def test_two_arguments_are_one_sentence(elman: Elman) -> None:
    assert json.loads(elman(*BY_HAND, "the", "cat sat", "--json").out)["sentence"] == ["the", "cat", "sat"]


def test_every_flag_is_followed(elman: Elman) -> None:
    flags = {"--alpha": 0.25, "--beta": 0.125, "--bptt": 1, "--hidden": 3, "--steps": 2}
    given = [str(item) for pair in flags.items() for item in pair]
    told = json.loads(elman(*BY_HAND, *given, "--activation", "tanh", "--learn", "all", "--seed", 4, "--json").out)
    assert all(told[name.removeprefix("--")] == value for name, value in flags.items())
    assert (told["activation"], told["learn"], told["seed"]) == ("tanh", "all", 4)
    assert len(told["updates"]) == 2 and len(told["updates"][0]["before"]["W"]) == 3
    assert [(one["number"], one["type"], one["agrees"]) for one in told["checks"]] == [
        (number, kind, True) for number in (1, 2) for kind in ("float64", "float32")
    ]


def test_more_digits_are_shown_when_asked_for(elman: Elman) -> None:
    told = json.loads(elman(*BY_HAND, "--json").out)
    shown = elman(*BY_HAND, "--digits", 9).out
    assert f"{told['updates'][0]['readings'][0]['y'][0]:.9f}" in shown


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_dictionary_may_be_a_file(pack, elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(pack(b"the cat\nsat the\n"))
    assert json.loads(elman(*BY_HAND, "cat sat", "--dictionary", path, "--json").out)["dictionary"] == [
        "the",
        "cat",
        "sat",
    ]


def test_the_sentence_may_come_from_standard_input(elman: Elman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the cat\n")))
    assert json.loads(elman(*BY_HAND, "-", "--json").out)["sentence"] == ["the", "cat"]


def test_a_page_is_written_whole(elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "new" / "board.html"
    result = elman(*BY_HAND, "--html", path)
    assert (result.code, result.out) == (0, "") and str(path) in result.err
    page = path.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n") and "<math" in page
    assert [other.name for other in path.parent.iterdir()] == ["board.html"]
    assert elman(*BY_HAND, "--html", "-").out == page


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["row"], "the sentence has one word, 'row'"),
        ([" "], "the sentence has no word"),
        (["the dog sat", "--dictionary", "the cat sat"], "the dictionary does not hold 'dog'"),
        (["a b c d e f g h i"], "a dictionary of 9 words is too large"),
        (["a b", "--dictionary", "a b c d e f g h i"], "a dictionary of 9 words is too large"),
        (["a b a b a b a b a b a b a"], "a sentence of 13 words is too long"),
        (["a a"], "a dictionary of one word leaves nothing to guess"),
        (["--dictionary", "a b"], "a dictionary needs a sentence"),
        (["a b", "--dictionary", "nowhere.txt"], "--dictionary 'nowhere.txt' is one word, and no file"),
        (["-", "--dictionary", "-"], "standard input cannot be both"),
        (["--hidden", "7"], "hidden = 7 does not fit on a whiteboard"),
        (["--alpha", "0"], "alpha = 0 cannot be"),
        (["--alpha", "nan"], "alpha = nan cannot be"),
        (["--beta", "1"], "beta = 1 cannot be"),
        (["--bptt", "0"], "bptt = 0 cannot be"),
        (["--steps", "0"], "--steps"),
        (["--steps", "2000"], "steps = 2000 cannot be"),
        (["--activation", "sigmod"], "activation 'sigmod' cannot be"),
        (["--learn", "first"], "learn 'first' cannot be"),
        (["--digits", "0"], "--digits"),
        (["--seed", "-1"], "--seed"),
        (["--html", ""], "the path to write to is empty"),
        (["--html", "-", "--json"], "standard output cannot take both"),
        (["a", "b", "c"], "unexpected extra argument"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], complaint: str, elman: Elman) -> None:
    result = elman(*BY_HAND, *arguments)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.sentence


@pytest.mark.parametrize("flag", ["dictionary", "learn", "hidden", "activation", "alpha", "beta", "bptt", "seed"])
def test_flags_of_the_whiteboard_go_with_it_only(flag: str, elman: Elman) -> None:
    result = elman("explain", "model", "the cat", f"--{flag}", "1")
    assert (result.code, result.out) == (2, "")
    assert f"--{flag} goes with --by-hand only" in result.sentence


@pytest.mark.parametrize("flag", ["units", "top", "at", "target", "from", "back", "plot", "threads"])
def test_flags_of_a_model_do_not_go_with_the_whiteboard(flag: str, elman: Elman) -> None:
    result = elman(*BY_HAND, f"--{flag}", "1")
    assert (result.code, result.out) == (2, "")
    assert f"--{flag} goes with a MODEL, not with --by-hand" in result.sentence


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"a\n\0\n", "NUL byte"),
        (gzip.compress(b"a b " * 99)[:20], "cut short"),
        (b"\xff\xfea\0", "UTF-16"),
    ],
)
def test_a_dictionary_that_cannot_be_read(content: bytes, complaint: str, elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    result = elman(*BY_HAND, "a b", "--dictionary", path)
    assert (result.code, result.out) == (1, "")
    assert complaint in result.sentence and str(path) in result.sentence


def test_a_dictionary_file_that_is_too_large_is_not_read_to_its_end(elman: Elman, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(f"word{n}" for n in range(500_000)))
    result = elman(*BY_HAND, "word1 word2", "--dictionary", path)
    assert (result.code, result.out) == (2, "") and "more than 8 words" in result.sentence


def test_a_page_that_cannot_be_written_is_refused_before_any_work(elman: Elman, tmp_path: Path) -> None:
    result = elman(*BY_HAND, "--html", tmp_path)
    assert (result.code, result.out) == (1, "") and "is a folder" in result.sentence


def test_numbers_that_are_too_large_say_so(elman: Elman) -> None:
    flags = ["--activation", "relu", "--hidden", "5", "--alpha", "1", "--beta", "0", "--seed", "1"]
    flags += ["--learn", "all", "--bptt", "3", "--steps", "50"]
    dictionary = ("--dictionary", "row your boat")
    result = elman(*BY_HAND, "your row row row your row row row row row", *dictionary, *flags)
    assert (result.code, result.out) == (1, "")
    assert "outgrew the whiteboard in update" in result.sentence


def test_an_engine_that_disagrees_is_exit_code_1(elman: Elman, monkeypatch: pytest.MonkeyPatch) -> None:
    step = by_hand_check.engine_step

    def wrong(task, update, dtype):
        matrices, loss = step(task, update, dtype)
        matrices.U[0, 0] += 0.5
        return matrices, loss

    monkeypatch.setattr(by_hand_check, "engine_step", wrong)
    result = elman(*BY_HAND)
    assert result.code == 1
    assert "the engine's U after update 1 differs by 0.5" in result.sentence
    assert "They agree" not in result.out and "differs by 0.5" in " ".join(result.out.split())


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "elman", *BY_HAND, *arguments]
    return subprocess.run(command, capture_output=True, check=True, env=os.environ | environment)


def test_a_terminal_of_another_encoding_gets_ascii() -> None:
    out = run(PYTHONIOENCODING="ascii").stdout
    assert out.isascii() and b"V <- V + alpha s(3)^T e_o(3) - beta V" in out and b"\\x" not in out


def test_the_width_of_the_terminal_is_kept() -> None:
    for columns, most in (("70", 70), ("500", 100)):
        lines = run(COLUMNS=columns, PYTHONIOENCODING="utf-8").stdout.decode().splitlines()
        assert max(map(len, lines)) <= most


def on_a_terminal(**environment: str) -> bytes:
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "elman", *BY_HAND, "--steps", "1"]
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    settings = clean | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | environment
    seen = b""
    with subprocess.Popen(command, stdout=inner, env=settings) as process:
        os.close(inner)
        with contextlib.suppress(OSError):  # how Linux says that the other end was closed
            while part := os.read(outer, 1 << 16):
                seen += part
    os.close(outer)
    assert process.returncode == 0
    return seen


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_gets_colour_unless_it_asks_for_none() -> None:
    assert b"\x1b[1mWhat there is\x1b[0m" in on_a_terminal()
    assert b"\x1b" not in on_a_terminal(NO_COLOR="1")


PAGE = Path(__file__).resolve().parents[2] / "docs" / "by-hand.md"
MARKS = [f"<!-- output of elman explain --by-hand: {end} -->" for end in ("begin", "end")]


def test_the_page_of_the_docs_shows_what_it_prints() -> None:
    """All but how far the engine is off: rounding may differ from one processor to the next."""
    text = PAGE.read_text("utf-8")
    shown = text[text.index(MARKS[0]) + len(MARKS[0]) : text.index(MARKS[1])].strip()
    printed = run(COLUMNS="80", PYTHONIOENCODING="utf-8").stdout.decode().strip()
    body = shown.removeprefix("```text\n").removesuffix("\n```")
    found, expected = (without_differences(one) for one in (body, printed))
    assert found == expected, f"put into {PAGE.name} what this prints: COLUMNS=80 elman explain --by-hand"


def without_differences(text: str) -> list[str]:
    return [line.split()[0] if line.lstrip().startswith("float") else line for line in text.splitlines()]
