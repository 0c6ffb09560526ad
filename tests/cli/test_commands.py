"""What the commands print when all is well."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elman import __version__
from elman.cli.train import train
from elman.config import full_key, recipe_names
from elman.learn.optimizers import OPTIMIZERS
from elman.learn.schedules import SCHEDULES
from elman.network.activations import ACTIVATIONS

from .commandline import TINY, Elman, Texts

COMMANDS = ["train", "evaluate", "mix", "predict", "generate", "score", "info", "demo"]


def test_help_starts_without_torch() -> None:
    program = "import sys; from elman.cli.main import run; code = run({}); sys.exit(code or 'torch' in sys.modules)"
    for arguments in ([], ["--help"], ["train", "--help"], ["--version"], ["recipes"]):
        done = subprocess.run([sys.executable, "-c", program.format(arguments)], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout, done.stderr


def test_without_arguments_it_prints_help(elman: Elman) -> None:
    result = elman()
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in COMMANDS)
    assert elman("--help").out == result.out


def test_version(elman: Elman) -> None:
    assert elman("--version").out == f"elman {__version__}\n"


def test_python_m_elman_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "elman", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"elman {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_in_json(name: str, elman: Elman) -> None:
    assert "--json" in elman(name, "--help").out


def test_choices_in_the_help_are_those_of_the_tables() -> None:
    for name, table in (("activation", ACTIVATIONS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        metavar = _metavar(name)
        assert set(metavar.split("|")) == set(table)


def _metavar(name: str) -> str:
    import typing

    hint = typing.get_type_hints(train, include_extras=True)[name]
    return str(hint.__metadata__[0].metavar)


def test_flags_of_train_are_settings() -> None:
    import typing

    others = {
        "context",
        "text",
        "out",
        "valid",
        "holdout",
        "recipe",
        "config",
        "pairs",
        "input",
        "resume",
        "overwrite",
        "quiet",
        "as_json",
        "return",
    }
    for name in typing.get_type_hints(train).keys() - others:
        assert full_key(name).endswith(f".{name}")


def test_training_says_what_came_of_it(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    out = tmp_path / "model"
    result = elman("train", texts.train, "--valid", texts.valid, "--out", out, *TINY)
    assert result.code == 0 and "perplexity" in result.out and str(out) in result.out
    assert f"elman predict {out}" in result.err
    result = elman("train", texts.train, "--out", out, "--overwrite", "--json", *TINY)
    values = json.loads(result.out)
    assert (values["model"], values["updates"] > 0, values["valid_perplexity"] > 1) == (str(out), True, True)


def test_progress_goes_to_stderr_as_lines_where_it_is_no_terminal(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    result = elman("train", texts.train, "--out", tmp_path / "m", *TINY[:-1])
    lines = [line for line in result.err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 2 and "validation perplexity" in lines[0]
    assert "\x1b" not in result.err + result.out
    assert "epoch 1/2" not in result.out


def test_layers_of_settings_overrule_each_other(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[network]\nhidden = 5\nlayers = 2\nactivation = 'relu'\n[learn]\nalpha = 0.7\n")
    arguments = ["--recipe", "notes", "--config", tmp_path / "my.toml", "--set", "layers=3", "--set", "learn.alpha=0.3"]
    tiny = ["--alpha", "0.2", "--epochs", "1", "--threads", "1", "--set", "max_updates=2", "--quiet"]
    assert elman("train", texts.train, "--out", tmp_path / "m", *arguments, *tiny).code == 0
    settings = json.loads((tmp_path / "m" / "card.json").read_text())["settings"]
    wanted = {"beta": 1e-5, "hidden": 5, "activation": "relu", "layers": 3, "alpha": 0.2}  # weakest layer first
    assert {key: settings[full_key(key)] for key in wanted} == wanted


def test_a_finished_run_resumed_is_left_as_it_is(elman: Elman, texts: Texts, model: Path) -> None:
    before = (model / "model.safetensors").stat().st_mtime_ns
    result = elman("train", texts.train, "--valid", texts.valid, "--out", model, "--resume", *TINY)
    assert result.code == 0
    assert (model / "model.safetensors").stat().st_mtime_ns == before


def test_evaluate_prints_srilms_lines(elman: Elman, texts: Texts, model: Path) -> None:
    result = elman("evaluate", model, texts.valid)
    number = r"[-\d.e+]+"
    assert re.match(
        rf"file {re.escape(texts.valid)}: 20 sentences, 100 words, 0 OOVs\n"
        rf"0 zeroprobs, logprob= {number} ppl= {number} ppl1= {number}\n"
        rf"{number} bits per character, {number} words/s\n",
        result.out,
    )
    values = json.loads(elman("evaluate", model, texts.valid, "--json").out)
    keys = "sentences words oovs logprob10 perplexity perplexity1 bits_per_character words_per_second"
    assert set(keys.split()) <= values.keys()
    assert values["perplexity"] == pytest.approx(10 ** (-values["logprob10"] / 120))


def test_evaluate_says_what_a_storage_of_v_costs(elman: Elman, texts: Texts, model: Path) -> None:
    result = elman("evaluate", model, texts.valid, "--weights", "int8", "--precision", "fp32")
    assert result.code == 0 and re.search(
        r"V stored in int8: ppl= [\d.]+, in full: ppl= [\d.]+ \([+-][\d.]+ %\)", result.out
    )
    values = json.loads(elman("evaluate", model, texts.valid, "--weights", "int8", "--json").out)
    full = json.loads(elman("evaluate", model, texts.valid, "--json").out)
    assert (values["weights"], values["full_perplexity"]) == ("int8", full["perplexity"])
    assert (full["weights"], full["precision"], full["full_perplexity"]) == ("fp32", "fp32", None)


@pytest.mark.parametrize("command", ["evaluate", "score"])
def test_precision_is_chosen_or_refused(command: str, elman: Elman, texts: Texts, model: Path) -> None:
    assert elman(command, model, texts.valid, "--precision", "auto").code == 0
    wrong = elman(command, model, texts.valid, "--precision", "bf61")
    assert wrong.code == 2 and "did you mean bf16?" in wrong.err and "--precision" in wrong.sentence


def test_evaluate_says_how_unseen_words_were_treated(
    elman: Elman, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(monkeypatch, "the cat sees a zebra\n")
    result = elman("evaluate", model, "-")
    assert "standard input: 1 sentences, 5 words, 1 OOVs" in result.out
    assert "left out" in result.out


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_predict_lists_words_with_their_probabilities(elman: Elman, model: Path) -> None:
    result = elman("predict", model, "the cat", "--top", "3")
    lines = result.out.splitlines()
    assert result.code == 0 and len(lines) == 3 and "<unk>" not in result.out
    values = json.loads(elman("predict", model, "the cat", "--top", "3", "--json").out)
    assert [entry["token"] for entry in values["next"]] == [line.split()[0] for line in lines]
    assert all(0 < entry["probability"] < 1 for entry in values["next"])
    assert values.keys() >= {"prompt", "next", "unk_probability", "unknown"}


def test_predict_says_what_it_does_not_know(elman: Elman, model: Path) -> None:
    result = elman("predict", model, "the zebra")
    assert "zebra" in result.err
    assert json.loads(elman("predict", model, "the zebra", "--json").out)["unknown"] == ["zebra"]


def test_generate_repeats_itself_with_a_seed(elman: Elman, model: Path) -> None:
    arguments = ["generate", model, "--prompt", "the cat", "--tokens", "12", "--seed", "3"]
    first = elman(*arguments)
    assert first.code == 0 and first.out.startswith("the cat") and first.out.endswith("\n")
    assert elman(*arguments).out == first.out
    values = json.loads(elman(*arguments, "--json").out)
    assert values["text"].rstrip("\n") == first.out.rstrip("\n")
    assert (len(values["tokens"]), values["seed"]) == (12, 3)
    unseeded = json.loads(elman("generate", model, "--tokens", "9", "--json").out)
    again = json.loads(elman("generate", model, "--tokens", "9", "--seed", unseeded["seed"], "--json").out)
    assert again == unseeded


def test_generate_draws_much_text_in_streams(elman: Elman, model: Path) -> None:
    arguments = ["generate", model, "--streams", "5", "--tokens", "200", "--seed", "4"]
    first, second = elman(*arguments), elman(*arguments, "--json")
    assert (first.code, first.err) == (0, "")
    assert first.out.count("\n") > 5
    assert json.loads(second.out) == {"text": first.out, "seed": 4}
    for wrong, said in (([*arguments, "--prompt", "the"], "goes without --prompt"), (arguments[:4], "needs --tokens")):
        result = elman(*wrong)
        assert result.code == 2
        assert said in result.sentence
    assert "--unk goes with --streams" in elman("generate", model, "--unk").sentence


def test_generate_writes_sentences(elman: Elman, model: Path) -> None:
    assert elman("generate", model, "--sentences", "3", "--top-k", "4", "--seed", "1").out.count("\n") == 3


def test_score_answers_line_by_line(elman: Elman, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("the cat sees a dog\n\nthe zebra\n")
    plain = elman("score", model, path)
    scores = [line.split("\t") for line in plain.out.splitlines()]
    assert [line for _, line in scores] == ["the cat sees a dog", "", "the zebra"]
    assert float(scores[1][0]) == 0 and "1 " in plain.err
    entries = [json.loads(line) for line in elman("score", model, path, "--tokens", "--json").out.splitlines()]
    assert len(entries) == 3 and entries[2]["oovs"] == 1
    assert entries[2]["tokens"][1] == {"token": "zebra", "logprob": None}
    assert float(scores[0][0]) == pytest.approx(math.fsum(t["logprob"] for t in entries[0]["tokens"]), abs=1e-5)
    assert len(elman("score", model, path, "--tokens").out.splitlines()) == 3 + 6 + 3


def test_score_and_evaluate_agree(elman: Elman, texts: Texts, model: Path) -> None:
    lines = elman("score", model, texts.valid, "--base", "10", "--regime", "running").out.splitlines()
    total = math.fsum(float(line.split("\t")[0]) for line in lines)
    expected = json.loads(elman("evaluate", model, texts.valid, "--json").out)["logprob10"]
    assert total == pytest.approx(expected, rel=1e-5)


def test_info_says_how_a_model_was_trained(elman: Elman, model: Path) -> None:
    result = elman("info", model)
    assert "H = 8" in result.out and "parameters" in result.out and "perplexity" in result.out
    assert "elman train" in result.out
    assert json.loads(elman("info", model, "--json").out)["network"]["hidden"] == 8


def test_recipes_are_listed(elman: Elman) -> None:
    result = elman("recipes")
    assert all(f"{name}:" in result.out for name in recipe_names())
    assert json.loads(elman("recipes", "--json").out).keys() == set(recipe_names())


def test_a_reader_that_goes_away_is_not_complained_of(model: Path, texts: Texts) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "elman", "score", str(model), texts.train]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_text_that_stdout_cannot_write_is_escaped(model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the żebra\n")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "elman", "score", str(model), str(tmp_path / "text.txt")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "\\u017cebra" in done.stdout
    command = [sys.executable, "-m", "elman", "predict", str(model), "the"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "###" in done.stdout
