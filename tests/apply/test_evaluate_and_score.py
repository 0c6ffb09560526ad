"""What is counted is what SRILM counts, and every number follows from one step after the other."""

from __future__ import annotations

import dataclasses
import gzip
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from elman.apply import evaluate as evaluation
from elman.apply.evaluate import evaluate
from elman.apply.score import lines_of, score
from elman.errors import TextError, UsageError
from elman.network.folder import Model
from elman.text.reading import TextSource

Trained = Callable[[str], Model]
KINDS = ["word", "sentences", "char", "byte", "bpe", "n-grams"]
TEXT = "The cat sees a zebra.\n\nThe dog, now.\n   \na owl finds <unk> the child today\n"


def stepwise(model: Model, lines: list[str], *, regime: str, oov: str = "skip") -> list[list[float | None]]:
    """The natural log-probability of every symbol, one step after the other; None for what is left out."""
    tokenizer, network = model.tokenizer, model.network
    scores: list[list[float | None]] = []
    state, before = network.initial_state(1), tokenizer.end_id
    for line in lines:
        if regime == "sentences":
            state, before = network.initial_state(1), tokenizer.end_id
        row: list[float | None] = []
        for symbol in [*tokenizer.encode(line), tokenizer.end_id]:
            outside = symbol == tokenizer.size
            state, log_probs = network.step(state, torch.tensor([before]))
            before = tokenizer.unk_id if outside and tokenizer.unk_id is not None else symbol
            row.append(None if outside and oov == "skip" else float(log_probs[0, before]))
        scores.append(row)
    return scores


def counted(model: Model) -> list[str]:
    """The lines of TEXT that are sentences for the model: for words and BPE, those that are not blank."""
    lines = TEXT.splitlines()
    return [line for line in lines if line.strip()] if model.tokenizer.unit in ("word", "bpe") else lines


def total(rows: list[list[float | None]]) -> float:
    return math.fsum(value for row in rows for value in row if value is not None)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regime", ["running", "sentences"])
def test_the_log_probability_is_that_of_single_steps(kind: str, regime: str, trained: Trained, text: Path) -> None:
    model = trained(kind)
    rows = stepwise(model, counted(model), regime=regime)
    result = evaluate(model, text, regime=regime)
    assert result.logprob10 == pytest.approx(total(rows) / math.log(10), rel=1e-5)
    assert result.sentences == len(rows)
    assert result.tokens == sum(value is not None for row in rows for value in row)
    assert result.oovs == sum(value is None for row in rows for value in row)
    assert (result.zeroprobs, result.unit, result.regime) == (0, model.tokenizer.unit, regime)


def test_perplexities_of_words_are_srilms(trained: Trained, text: Path) -> None:
    result = evaluate(trained("word"), text)
    assert (result.sentences, result.words) == (3, 5 + 1 + 4 + 1 + 7)
    assert result.oovs == 2  # zebra, and the comma, which training never saw; <unk> is a word, since owl became one
    assert result.perplexity == pytest.approx(10 ** (-result.logprob10 / (result.words - 2 + 3)))
    assert result.perplexity1 == pytest.approx(10 ** (-result.logprob10 / (result.words - 2)))
    assert result.token_perplexity == pytest.approx(result.perplexity)
    assert result.words_per_second > 0 and result.seconds > 0


def test_scoring_unseen_words_as_unk_takes_none_off(trained: Trained, text: Path) -> None:
    model = trained("word")
    assert model.tokenizer.unk_trained
    result = evaluate(model, text, oov="unk")
    rows = stepwise(model, counted(model), regime="running", oov="unk")
    assert result.logprob10 == pytest.approx(total(rows) / math.log(10), rel=1e-5)
    assert (result.oov, result.oovs, result.tokens) == ("unk", 2, result.words + result.sentences)
    assert result.perplexity == pytest.approx(10 ** (-result.logprob10 / (result.words + result.sentences)))


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_other_units_have_a_perplexity_per_word_and_one_per_symbol(kind: str, trained: Trained, text: Path) -> None:
    result = evaluate(trained(kind), text)
    assert result.words == len(TEXT.split())
    assert result.perplexity == pytest.approx(10 ** (-result.logprob10 / (result.words + result.sentences)))
    assert result.token_perplexity == pytest.approx(10 ** (-result.logprob10 / result.tokens))


@pytest.mark.parametrize("kind", ["char", "byte"])
def test_bits_per_character_are_over_the_characters_that_were_scored(kind: str, trained: Trained, text: Path) -> None:
    result = evaluate(trained(kind), text)
    characters = len(TEXT) - result.oovs
    assert result.bits_per_character == pytest.approx(-result.logprob10 * math.log2(10) / characters)


def test_how_many_sentences_lie_side_by_side_changes_nothing(
    trained: Trained, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained("sentences")
    together = evaluate(model, room / "test.txt")
    monkeypatch.setattr(evaluation, "SENTENCES", 1)
    alone = evaluate(model, room / "test.txt")
    assert (together.regime, together.tokens) == ("sentences", alone.tokens)
    assert together.logprob10 == pytest.approx(alone.logprob10, rel=1e-6)


def test_streams_are_an_approximation_of_running_text(trained: Trained, room: Path) -> None:
    one, many = (evaluate(trained("word"), room / "test.txt", batch=batch) for batch in (1, 4))
    assert one.tokens - 4 < many.tokens <= one.tokens
    assert many.perplexity == pytest.approx(one.perplexity, rel=0.1)
    assert many.perplexity != one.perplexity


def test_gzip_is_read_like_plain_text(trained: Trained, text: Path, tmp_path: Path) -> None:
    (tmp_path / "text.gz").write_bytes(gzip.compress(TEXT.encode()))
    assert evaluate(trained("char"), tmp_path / "text.gz").logprob10 == evaluate(trained("char"), text).logprob10


def test_bytes_that_are_not_utf8_are_scored_by_a_model_of_bytes(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("Die Käse\nund Öl\n".encode("latin-1"))
    assert evaluate(trained("byte"), path).tokens == 16
    with pytest.raises(TextError, match="UTF-8"):
        evaluate(trained("char"), path)


@pytest.mark.parametrize(("kind", "unknown"), [("word", "zzz qqq\n"), ("char", "жжжж\nж\n")])
def test_a_text_of_unknown_symbols_only_is_refused(kind: str, unknown: str, trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "foreign.txt"
    path.write_text(unknown)
    with pytest.raises(TextError, match="never saw"):
        evaluate(trained(kind), path)


def test_unk_is_not_scored_by_a_model_that_never_saw_one(trained: Trained, text: Path) -> None:
    for kind in ("byte", "bpe", "sentences"):
        model = trained(kind)
        assert not model.tokenizer.unk_trained
        with pytest.raises(UsageError, match="<unk>"):
            evaluate(model, text, oov="unk")
        with pytest.raises(UsageError, match="<unk>"):
            list(score(model, ["the cat"], oov="unk"))


# Line by line


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regime", ["running", "sentences"])
def test_lines_add_up_to_the_text(kind: str, regime: str, trained: Trained, text: Path) -> None:
    model = trained(kind)
    lines = TEXT.splitlines()
    scores = list(score(model, lines, regime=regime, base="10"))
    assert len(scores) == len(lines)
    result = evaluate(model, text, regime=regime)
    assert math.fsum(line.log_prob for line in scores) == pytest.approx(result.logprob10, rel=1e-5)
    assert sum(line.oovs for line in scores) == result.oovs


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_add_up_to_their_line(kind: str, trained: Trained) -> None:
    model = trained(kind)
    for line in score(model, counted(model)):
        assert math.fsum(t.log_prob for t in line.tokens if t.log_prob is not None) == pytest.approx(line.log_prob)
        assert sum(t.log_prob is None for t in line.tokens) == line.oovs
    rows = stepwise(model, counted(model), regime="sentences")
    for row, line in zip(rows, score(model, counted(model)), strict=True):
        for token, value in zip(line.tokens, row, strict=True):
            assert token.log_prob is value if value is None else token.log_prob == pytest.approx(value, rel=1e-4)


def test_a_line_does_not_depend_on_the_others(trained: Trained) -> None:
    model = trained("word")
    lines = TEXT.splitlines() * 40
    together = [line.log_prob for line in score(model, lines)]
    alone = [next(iter(score(model, [line]))).log_prob for line in TEXT.splitlines()]
    assert together == pytest.approx(alone * 40, rel=1e-5)


def test_the_base_only_changes_the_unit(trained: Trained) -> None:
    e, two, ten = (next(iter(score(trained("word"), ["the cat"], base=base))).log_prob for base in ("e", "2", "10"))
    assert two == pytest.approx(e / math.log(2))
    assert ten == pytest.approx(e / math.log(10))
    with pytest.raises(UsageError, match="base"):
        list(score(trained("word"), ["the cat"], base="3"))


def test_an_unseen_word_is_shown_as_it_was_written(trained: Trained) -> None:
    (line,) = score(trained("word"), ["The ZEBRA sees"])
    assert [(t.token, t.log_prob is None) for t in line.tokens] == [
        ("the", False),
        ("zebra", True),
        ("sees", False),
        ("</s>", False),
    ]
    (line,) = score(trained("word"), ["The ZEBRA sees"], oov="unk")
    assert line.oovs == 1 and all(t.log_prob is not None for t in line.tokens)


@pytest.mark.parametrize("kind", ["word", "char"])
def test_a_long_line_is_scored_in_windows(kind: str, trained: Trained, tmp_path: Path) -> None:
    model, line = trained(kind), "the cat sees a dog " * 60
    (tmp_path / "long.txt").write_text(line + "\nthe cat\n")
    rows = stepwise(model, [line, "the cat"], regime="sentences")
    long, short = score(model, [line, "the cat"])
    assert [long.log_prob, short.log_prob] == pytest.approx([total(rows[:1]), total(rows[1:])], rel=1e-5)
    result = evaluate(model, tmp_path / "long.txt", regime="sentences")
    assert result.logprob10 * math.log(10) == pytest.approx(total(rows), rel=1e-5)


def test_lines_of_bytes_need_not_be_text(trained: Trained, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("Die Käse\r\n\nund Öl".encode("latin-1"))
    model = trained("byte")
    lines = list(score(model, lines_of(model, TextSource(path)), regime="running", base="10"))
    assert math.fsum(line.log_prob for line in lines) == pytest.approx(evaluate(model, path).logprob10, rel=1e-5)
    assert [len(line.tokens) for line in lines] == [10, 1, 7]


def test_lines_are_scored_as_they_come(trained: Trained) -> None:
    def endless():
        while True:
            yield "the cat sees the dog"

    scores = score(trained("word"), endless())
    assert dataclasses.replace(next(scores)) == next(scores)
