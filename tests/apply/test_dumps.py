"""A dump is read back as it was written, other tools' are read too, and what is wrong is named with its line."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.apply.dumps import read_dump, write_dump
from elman.apply.traces import Trace, check_aligned, counted_by_all, tally
from elman.errors import TextError, UsageError


def trace(text: str, values: list[float], name: str = "a") -> Trace:
    return Trace(name, text.split(), np.array(values))


@pytest.mark.parametrize("name", ["dump.tsv", "dump.tsv.gz"])
@pytest.mark.parametrize("base", ["e", "2", "10"])
def test_a_dump_is_read_back_as_it_was_written(name: str, base: str, tmp_path: Path) -> None:
    before = trace("the cat\tcat \u20ac # </s>", [-0.1, -2.5, math.nan, -math.inf, -123.456789, 0.0])
    before.tokens[1] = "a\ttab"
    write_dump(tmp_path / name, before, base=base, text="t.txt")
    data = (tmp_path / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith("gz") else data).decode()
    assert text.startswith(f"# elman log-probabilities\tbase={base}\tsource=a\ttext=t.txt\nthe\t")
    after = read_dump(tmp_path / name)
    assert after.tokens == ["the", "a<0x09>tab", *before.tokens[2:]]
    np.testing.assert_allclose(after.log_probs, before.log_probs, rtol=1e-9)


@given(tokens=st.lists(st.text(min_size=1, max_size=5).filter(lambda t: "\0" not in t), min_size=1, max_size=20))
def test_any_token_has_one_line(tokens: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    tokens = [token.encode("utf-8", errors="replace").decode() for token in tokens]
    path = tmp_path_factory.mktemp("dumps") / "any.tsv"
    write_dump(path, Trace("any", tokens, -np.arange(len(tokens), dtype=float)))
    after = read_dump(path)
    assert len(after.tokens) == len(tokens)
    assert after.log_probs.tolist() == [-float(i) for i in range(len(tokens))]
    for one, other in zip(tokens, after.tokens, strict=True):
        assert other == one or any(character < " " for character in one) or one == "<eos>"


@pytest.mark.parametrize(
    ("head", "flag", "factor"),
    [
        ("# base=10\n", None, math.log(10)),
        ("# made by a tool\n", "2", math.log(2)),
        ("", "e", 1.0),
        ("", "10", math.log(10)),
    ],
)
def test_dumps_of_other_tools_are_read(head: str, flag: str | None, factor: float, tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text(f"{head}#\t-1\nzebra\t\nowl\tOOV\nthe\t-inf\n<eos>\t -2.5e0 \r\n\n")
    found = read_dump(path, base=flag)
    assert found.tokens == ["#", "zebra", "owl", "the", "</s>"]
    np.testing.assert_allclose(found.log_probs, np.array([-1, np.nan, np.nan, -np.inf, -2.5]) * factor)
    assert found.place(0).endswith("line 2" if head else "line 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the\t-1\n", "does not state the base"),
        ("# base=3\nthe\t-1\n", "base '3'"),
        ("# base=e\nthe\t-1\nthe -2\n", "line 3 is not token<TAB>"),
        ("# base=e\nthe\t0.25\n", "line 2: 0.25 is above 0"),
        ("# base=e\nthe\tx\n", "line 2: 'x' is no number"),
        ("# base=e\nthe\t-1\n\na\t-1\n", "line 3 is empty"),
        ("# base=e\n", "holds no tokens"),
    ],
)
def test_what_is_no_dump_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(text)
    with pytest.raises((TextError, UsageError), match=message):
        read_dump(path)


def test_traces_that_part_are_named_with_their_line() -> None:
    one = trace("the cat </s>", [-1, -1, -1])
    check_aligned([one, trace("the <unk> </s>", [-1, math.nan, -1])])
    other = Trace("b.tsv", ["the", "dog", "</s>"], np.zeros(3), first_line=2)
    with pytest.raises(TextError, match=r"b.tsv, line 3 has 'dog' where a, token 2 has 'cat'"):
        check_aligned([one, other])
    with pytest.raises(TextError, match="ends after 2 tokens"):
        check_aligned([one, trace("the cat", [-1, -1], "b")])
    with pytest.raises(TextError, match="token 3"):  # an unknown word is no sentence end
        check_aligned([one, trace("the cat <unk>", [-1, -1, -1], "b")])


def test_what_any_leaves_out_does_not_count() -> None:
    one, other = trace("a b c", [-1, math.nan, -1]), trace("a b c", [-1, -1, -math.inf])
    assert counted_by_all([one, other]).tolist() == [True, False, True]
    with pytest.raises(UsageError, match="no token"):
        counted_by_all([one, trace("a b c", [math.nan, -1, math.nan])])


def test_a_tally_is_srilms() -> None:
    count = tally(["a", "b", "</s>", "c", "d", "</s>"], np.array([-1, math.nan, -2, -math.inf, -3, -4]))
    assert (count.sentences, count.words, count.oovs, count.zeroprobs) == (2, 4, 1, 1)
    assert count.perplexity == pytest.approx(math.exp(10 / (4 - 1 - 1 + 2)))
    assert count.perplexity1 == pytest.approx(math.exp(10 / (4 - 1 - 1)))
    assert count.as_dict()["logprob10"] == pytest.approx(-10 / math.log(10))
