"""`elman mix`, and `elman evaluate` with dumps, caches and dynamic evaluation, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elman.apply import caches, dynamic
from elman.apply.dumps import read_dump
from elman.cli import evaluate

from .commandline import Elman, Texts, write_text


@pytest.fixture
def test_text(tmp_path: Path) -> str:
    return write_text(tmp_path / "test.txt", 15, 3)


def test_mixing_prints_weights_and_perplexities(elman: Elman, texts: Texts, model: Path, test_text: str) -> None:
    command = ["mix", model, "cache:plain:50", "--tune", texts.valid, "--text", test_text, "--threads", 1]
    result = elman(*command)
    assert result.code == 0 and "ppl of test.txt" in result.out and "cache:plain:50" in result.out
    values = json.loads(elman(*command, "--json").out)
    assert sum(values["weights"]) == pytest.approx(1)
    for key, path in (("tune", texts.valid), ("text", test_text)):
        alone = json.loads(elman("evaluate", model, path, "--json").out)
        assert values[key]["file"] == path
        assert values[key]["members"][0]["perplexity"] == pytest.approx(alone["perplexity"], rel=1e-5)
        assert values[key]["members"][0]["words"] == alone["words"]
        assert f"ppl= {values[key]['mix']['perplexity']:.6g}" in result.out
    assert values["tune"]["mix"]["perplexity"] <= values["tune"]["members"][0]["perplexity"] * (1 + 2e-6)


def test_weights_are_kept_in_a_file(elman: Elman, texts: Texts, model: Path, test_text: str, tmp_path: Path) -> None:
    kept = tmp_path / "weights.json"
    members = [model, "cache:bigram:50", "cache:decay:0.02"]
    tuned = json.loads(elman("mix", *members, "--tune", texts.valid, "--text", test_text, "--out", kept, "--json").out)
    assert json.loads(kept.read_text())["members"] == [str(member) for member in members]
    again = json.loads(elman("mix", *members, "--weights", kept, "--text", test_text, "--json").out)
    assert again["weights"] == pytest.approx(tuned["weights"])
    assert again["text"]["mix"]["perplexity"] == pytest.approx(tuned["text"]["mix"]["perplexity"])


def test_dumps_stand_for_the_model_that_wrote_them(elman: Elman, texts: Texts, model: Path, test_text: str,
                                                   tmp_path: Path) -> None:  # fmt: skip
    valid, test, mixture = tmp_path / "v.tsv.gz", tmp_path / "t.tsv", tmp_path / "mix.tsv"
    for text, dump in ((texts.valid, valid), (test_text, test)):
        with_dump, plain = (elman("evaluate", model, text, *more, "--json") for more in (["--dump", dump], []))
        shown, expected = json.loads(with_dump.out), json.loads(plain.out)
        assert shown["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-6)
    texts_given = ["--tune", texts.valid, "--text", test_text]
    result = elman("mix", f"{valid}:{test}", model, *texts_given, "--dump", mixture, "--json")
    values = json.loads(result.out)
    first, second = (member["perplexity"] for member in values["text"]["members"])
    assert first == pytest.approx(second, rel=1e-6)
    assert values["text"]["mix"]["perplexity"] == pytest.approx(first, rel=1e-6)
    assert read_dump(mixture).tokens == read_dump(test).tokens
    assert elman("mix", mixture, test, "--weights", "0.5,0.5", "--text", test_text).code == 0


@pytest.mark.parametrize("cache", ["neural", "plain", "decay", "bigram"])
def test_a_cache_is_tuned_on_validation_text(cache: str, elman: Elman, texts: Texts, model: Path,
                                             test_text: str) -> None:  # fmt: skip
    result = elman(
        "evaluate", model, test_text, "--cache", cache, "--cache-size", 30, "--tune-on", texts.valid, "--json"
    )
    values = json.loads(result.out)
    best = min(values["tried"], key=lambda trial: trial["perplexity"])
    assert values["cache"]["kind"] == cache
    assert values["cache"]["weight"] == best["cache_weight"]
    assert values["cache"].get("flatness") == best.get("flatness")
    assert "perplexity" in result.err  # what was tried
    given = [f"--cache-{name}" for name in values["cache"] if name != "kind"]
    flags = [x for flag, value in zip(given, list(values["cache"].values())[1:], strict=True) for x in (flag, value)]
    again = json.loads(elman("evaluate", model, test_text, "--cache", cache, *flags, "--json").out)
    assert again["perplexity"] == pytest.approx(values["perplexity"], rel=1e-9)


@pytest.mark.parametrize("dynamic", ["sgd", "rms"])
def test_dynamic_evaluation_says_what_it_did(dynamic: str, elman: Elman, texts: Texts, model: Path,
                                             tmp_path: Path) -> None:  # fmt: skip
    flags = ["--dynamic", dynamic, "--dynamic-segment", 5]
    statistics = ["--dynamic-statistics", texts.train] if dynamic == "rms" else []
    result = elman("evaluate", model, texts.valid, *flags, *statistics)
    assert result.code == 0 and f"dynamic: kind {dynamic}, alpha " in result.out and "segment 5" in result.out
    values = json.loads(elman("evaluate", model, texts.valid, *flags, "--tune-on", texts.valid, "--json").out)
    least = min(values["tried"], key=lambda trial: trial["perplexity"])
    assert values["dynamic"]["alpha"] == least["alpha"]
    assert values["token_perplexity"] == pytest.approx(least["perplexity"], rel=1e-5)
    still = json.loads(elman("evaluate", model, texts.valid, "--json").out)
    assert values["perplexity"] != pytest.approx(still["perplexity"], rel=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "M", "T", "--dynamic", "adam"], "--dynamic"),
        (["evaluate", "M", "T", "--cache", "plane"], "did you mean plain"),
        (["evaluate", "M", "T", "--dynamic-alpha", "0.1"], "say --dynamic too"),
        (["evaluate", "M", "T", "--cache-size", "10"], "say --cache too"),
        (["evaluate", "M", "T", "--tune-on", "T"], "--tune-on chooses nothing"),
        (["evaluate", "M", "T", "--dynamic", "rms"], "--dynamic-statistics"),
        (["evaluate", "M", "T", "--cache", "plain", "--regime", "sentences"], "running text"),
        (["evaluate", "M", "T", "--dynamic", "sgd", "--precision", "int8"], "fp32"),
        (["evaluate", "M", "T", "--dump", "D", "--batch", "2"], "one stream"),
        (["evaluate", "M", "T", "--dynamic", "sgd", "--dynamic-decay", "3"], "decay in 0 .. 1"),
        (["mix", "M"], "--tune"),
        (["mix", "M", "--weights", "1"], "--text"),
        (["mix", "M", "--tune", "-"], "standard input"),
        (["mix", "M", "nowhere.tsv", "--tune", "T"], "there is no member nowhere.tsv"),
        (["mix", "M", "cache:neural:5", "--tune", "T"], "--cache neural"),
        (["mix", "M", "M", "--weights", "0.5,0.7", "--text", "T"], "add up to 1"),
        (["mix", "M", "--weights", "some.json", "--text", "T"], "cannot be read as weights"),
        (["mix", "M", "--tune", "T", "--dump", "D"], "--text"),
        (["mix", "cache:plain:5", "--tune", "T"], "needs a model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_sentence_with_a_hint(
    arguments: list[str], message: str, elman: Elman, texts: Texts, model: Path
) -> None:
    names = {"M": str(model), "T": texts.valid}
    result = elman(*(names.get(argument, argument) for argument in arguments))
    assert result.code == 2
    assert result.sentence and message in result.err


def test_a_dump_that_does_not_fit_is_named_with_its_line(
    elman: Elman, texts: Texts, model: Path, tmp_path: Path
) -> None:
    dump = tmp_path / "other.tsv"
    words = Path(texts.valid).read_text().split("\n")[0].split()
    dump.write_text("".join(f"{word}\t-1\n" for word in [*words, "</s>", "zebra"]))
    result = elman("mix", model, dump, "--tune", texts.valid)
    assert result.code == 1 or result.code == 2
    assert "does not state the base" in result.sentence
    result = elman("mix", model, dump, "--tune", texts.valid, "--base", "10")
    assert result.code == 1 and f"{dump}, line {len(words) + 2} has 'zebra'" in result.sentence


def test_the_command_line_knows_what_there_is() -> None:
    assert sorted(evaluate.CACHES) == sorted(caches.KINDS)
    assert sorted(evaluate.DYNAMIC) == sorted(dynamic.KINDS) == sorted(dynamic.DEFAULTS)
