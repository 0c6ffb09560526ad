"""ARPA files: what is written is read, what others write is read, and what is wrong is said with its line."""

import gzip
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from elman.errors import ModelError, TextError
from elman.ngram import arpa, storage
from elman.ngram.estimate import estimate
from elman.text.reading import TextSource

TEXT = [line.split() for line in ["the cat sees a dog", "a dog sees the cat", "the kæt sleeps", "a cat"]]

# p(a) = 0.3, p(b) = 0.2, p(</s>) = 0.5 - 0.1 for <unk>; after "<s>" a has 0.5, after "a" b has 0.6, </s> 0.1
SMALL = """\
# a remark, as some tools leave

\\data\\
ngram 1=5
ngram  2 = 3

\\1-grams:
-99\t<s>\t-0.14612804
-1\t<unk>
-0.39794001\t</s>
-0.52287875\ta\t-0.12493874
-0.69897\tb

\\2-grams:
-0.30103\t<s> a
-0.22184875\ta b
-1\ta </s>

\\end\\
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))


def load(tmp_path: Path, content: str | bytes):
    path = tmp_path / "model.arpa"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return arpa.load(path)


def test_a_small_file_by_hand(tmp_path):
    model = load(tmp_path, SMALL)
    assert (model.order, model.counts, model.unk_trained) == (2, [5, 3], False)
    assert model.vocabulary == ["<unk>", "</s>", "a", "b"]
    start, after_a = 10**-0.14612804, 10**-0.12493874
    known = {
        ("a",): [0.5, 0.1],
        ("a", "b"): [0.5, 0.6, 0.4],  # nothing is listed after b, whose weight is 1
        ("b", "a"): [start * 0.2, 0.3, 0.1],
        ("a", "a"): [0.5, after_a * 0.3, 0.1],
    }
    for words, probs in known.items():
        assert np.exp(model.log_probs([words])[0]).tolist() == pytest.approx(probs, rel=1e-6)
    assert np.exp(model.log_probs([["a", "z"]], oov="unk")[0]).tolist() == pytest.approx([0.5, after_a * 0.1, 0.4])
    for context in ([], ["a"], ["b"], ["z"]):
        assert np.exp(model.next_log_probs(context)).sum() == pytest.approx(1, abs=1e-6)


def test_what_others_vary_means_the_same(tmp_path):
    known = load(tmp_path, SMALL).log_probs([["a", "b", "a"]])[0].tolist()
    varied = {
        "carriage returns": SMALL.replace("\n", "\r\n"),
        "spaces for tabs": SMALL.replace("\t", " "),
        "text before": "made by a tool\nof others\n" + SMALL,
        "text after": SMALL + "nobody reads this\n\\data\\\n",
        "all weights": SMALL.replace("<unk>\n", "<unk>\t0\n").replace("</s>\n", "</s>\t0\n", 1),
        "0 for <s>": SMALL.replace("-99\t<s>", "0\t<s>"),
        "blank lines": SMALL.replace("-1\ta </s>", "\n-1\ta </s>\n"),
        "another order of lines": SMALL.replace("-0.30103\t<s> a\n", "").replace(
            "</s>\n\n\\end", "</s>\n-0.30103 <s> a\n\n\\end"
        ),
        "an empty order above": SMALL.replace("2 = 3\n", "2 = 3\nngram 3=0\n").replace("\\end", "\\3-grams:\n\n\\end"),
    }
    for name, content in varied.items():
        assert load(tmp_path, content).log_probs([["a", "b", "a"]])[0].tolist() == known, name
    assert load(tmp_path, gzip.compress(SMALL.encode())).log_probs([["a", "b", "a"]])[0].tolist() == known


def test_an_ngram_across_a_sentence_end_joins_no_sentences(tmp_path):
    content = swap("2 = 3\n", "2 = 4\nngram 3=1\n").replace("-1\ta </s>", "-1\ta </s>\n-0.1\t</s> <s>\t-2")
    model = load(tmp_path, content.replace("\\end", "\\3-grams:\n-2\t</s> <s> b\n\n\\end"))
    assert model.order == 3
    alone, after = model.log_probs([["b"]])[0], model.log_probs([["a"], ["b"]])[1]
    assert after.tolist() == alone.tolist()


@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz", "model.safetensors"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_what_is_written_is_read(tmp_path, name, order):
    model = estimate(TEXT, order=order)
    path = tmp_path / "new" / name
    arpa.save_any(model, path)
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith("gz")
    again = arpa.load_any(path)
    assert (again.vocabulary, again.counts, again.unk_trained) == (model.vocabulary, model.counts, False)
    for sentence in [*TEXT, ["the", "dog", "zebra", "a"]]:
        for oov in ("skip", "unk"):
            values, expected = (m.log_probs([sentence], oov=oov)[0] for m in (again, model))
            np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-7)
    if name.endswith("safetensors"):
        assert again.facts == model.facts
        assert all((x.log_probs == y.log_probs).all() for x, y in zip(again.levels, model.levels, strict=True))


def test_the_form_is_the_one_that_others_read(tmp_path):
    arpa.save(estimate([["a", "b"]], order=2), tmp_path / "model.arpa")
    assert (tmp_path / "model.arpa").read_text() == (
        "\\data\\\nngram 1=5\nngram 2=3\n\n"
        "\\1-grams:\n-0.5351132\t</s>\t0.0\n-0.90309\t<unk>\t0.0\n"
        "-0.5351132\ta\t-0.30103\n-0.5351132\tb\t-0.30103\n-99.0\t<s>\t-0.30103\n\n"
        "\\2-grams:\n-0.1898795\ta b\n-0.1898795\tb </s>\n-0.1898795\t<s> a\n\n\\end\\\n"
    )


def test_the_same_model_is_the_same_gzip_file(tmp_path):
    model = estimate(TEXT, order=2)
    for name in ("one.arpa.gz", "two.arpa.gz"):
        arpa.save(model, tmp_path / name)
    assert (tmp_path / "one.arpa.gz").read_bytes() == (tmp_path / "two.arpa.gz").read_bytes()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("unk", ["<unk>", "unk"])
def test_a_file_tells_whether_unk_was_a_word_of_the_text(tmp_path, order, unk):
    arpa.save(estimate([*TEXT, ["the", unk, "sleeps"]], order=order), tmp_path / "model.arpa")
    assert arpa.load(tmp_path / "model.arpa").unk_trained == (unk == "<unk>")


def test_a_word_with_a_space_cannot_be_written(tmp_path):
    model = estimate([["a", " "]], order=2)
    with pytest.raises(ModelError, match="the word ' ' cannot stand"):
        arpa.save(model, tmp_path / "model.arpa")
    assert not list(tmp_path.iterdir())
    arpa.save_any(model, tmp_path / "model.safetensors")
    assert arpa.load_any(tmp_path / "model.safetensors").vocabulary == model.vocabulary


def swap(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new, 1)


BAD = {
    "no heading": ("the cat sees a dog\n" * 3, "is not an ARPA file"),
    "a zip file": (b"PK\x03\x04\n" + bytes(range(256)) * 9, "is not an ARPA file"),
    "cut after counts": (SMALL.split("\\1-grams")[0], "is cut short: it ends in line 6 without \\end\\"),
    "cut in an order": (SMALL.split("-1\ta </s>")[0], "is cut short: it ends in line 16 without \\end\\"),
    "cut in a line": (SMALL.split(" </s>")[0], "line 17: '-1 a' is not a log-probability, 2 word(s)"),
    "too few": (swap("ngram 1=5", "ngram 1=6"), "line 14: the section \\1-grams: holds 5 n-grams where line 4 says 6"),
    "too many": (swap("2 = 3", "2 = 2"), "line 19: the section \\2-grams: holds 3 n-grams where line 5 says 2"),
    "no counts": (SMALL.replace("ngram", "# ngram"), "line 4: '# ngram 1=5' is not of the form: ngram 1=COUNT"),
    "counts that jump": (swap("ngram  2", "ngram 3"), "line 5: 'ngram 3 = 3' is not of the form: ngram 2=COUNT"),
    "no orders": ("\\data\\\n\\end\\\n", "line 2: there is no line ngram 1=COUNT"),
    "order missing": (re.sub(r"(?s)\\2-grams:.*(?=\\end)", "", SMALL), "line 14: the section \\2-grams: is missing"),
    "order unexpected": (swap("\\1-grams:", "\\2-grams:"), "line 7: the section \\2-grams: is not expected here"),
    "order undeclared": (
        swap("\\end", "\\3-grams:\n-1\ta b a\n\n\\end"),
        "line 19: the section \\3-grams: is not expected",
    ),
    "nonsense heading": (swap("\\2-grams:", "\\zwei-grams:"), "line 14: '\\\\zwei-grams:' is no heading"),
    "nonsense line": (swap("-0.69897\tb", "b"), "line 12: 'b' is not a log-probability, 1 word(s)"),
    "no number": (swap("-0.69897", "-0.69.897"), "line 12: '-0.69.897' is not a number"),
    "no number behind": (swap("-0.12493874", "x"), "line 11: 'x' is not a number"),
    "nan": (swap("-0.69897", "nan"), "line 12: 'nan' is not the logarithm"),
    "infinite weight": (swap("-0.12493874", "inf"), "line 11: 'inf' is not the logarithm"),
    "probability above 1": (
        swap("-0.69897", "0.69897"),
        "line 12: '0.69897' is the logarithm of a probability above 1",
    ),
    "word unknown": (swap("a b", "a z"), "line 16: the word 'z' is not among the 1-grams"),
    "word twice": (swap("\tb", "\ta"), "line 12: the word 'a' is there twice"),
    "<s> twice": (swap("\tb", "\t<s>"), "line 12: the word '<s>' is there twice"),
    "n-gram twice": (swap("a </s>", "a b"), "line 17: the 2-gram 'a b' is there twice"),
    "no </s>": (SMALL.replace("</s>", "end"), "line 7: there is no </s> among the 1-grams"),
    "not UTF-8": (SMALL.replace("b\n", "\xe4\n").encode("latin-1"), "line 12: the word '\\\\xe4' is not UTF-8"),
    "empty order below": (
        re.sub(r"(?s)2 = 3(.*grams:\n).*\n\n", r"2=0\nngram 3=1\1\n\\3-grams:\n-1\ta b a\n\n", SMALL),
        "line 18: 'a b a' is listed without the n-gram that it begins with",
    ),
    "beginning missing": (
        swap("2 = 3\n", "2 = 3\nngram 3=1\n").replace("\\end", "\\3-grams:\n-1\tb a b\n\n\\end"),
        "line 21: 'b a b' is listed without the n-gram that it begins with",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_its_line(tmp_path, name):
    content, complaint = BAD[name]
    with pytest.raises(ModelError) as caught:
        load(tmp_path, content)
    assert complaint in caught.value.message and str(tmp_path / "model.arpa") in caught.value.message
    assert caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "is empty"), (b"\n\n", "blank"), (gzip.compress(SMALL.encode())[:60], "cut short")],
)
def test_a_file_that_cannot_be_read(tmp_path, content, complaint):
    with pytest.raises(TextError, match=complaint):
        load(tmp_path, content)
    with pytest.raises(TextError, match="does not exist"):
        arpa.load(tmp_path / "none.arpa")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.sampled_from(["", "\n", "\t", "9", "\\", "x", "-", "\0"]))
def test_a_changed_file_is_read_or_refused(tmp_path_factory, place, new):
    path = tmp_path_factory.mktemp("changed") / "model.arpa"
    path.write_text(SMALL[:place] + new + SMALL[place + 1 :])
    try:
        model = arpa.read(TextSource(path))
    except ModelError as error:
        assert str(path) in error.message
    else:
        model.log_probs([["a", "b"]])


@pytest.mark.parametrize("columns", ["whole", "by lines"])
def test_lines_that_are_cut_together_are_cut_alone(tmp_path, monkeypatch, columns):
    from elman.ngram import arpa_reader

    arpa.save(estimate(TEXT, order=3), tmp_path / "model.arpa")
    if columns == "by lines":
        monkeypatch.setattr(arpa_reader, "_columns", lambda lines: None)
    model = arpa.read(TextSource(tmp_path / "model.arpa"))
    expected = estimate(TEXT, order=3).log_probs(TEXT)
    for values, others in zip(model.log_probs(TEXT), expected, strict=True):
        np.testing.assert_allclose(values, others, atol=1e-7)


# The cache


def test_a_second_look_reads_the_cache(tmp_path, monkeypatch):
    first = load(tmp_path, SMALL)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(arpa, "Reader", None)
    second = arpa.load(tmp_path / "model.arpa")
    assert second.vocabulary == first.vocabulary and not second.unk_trained
    assert second.log_probs([["a", "b"]])[0].tolist() == first.log_probs([["a", "b"]])[0].tolist()


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("name", ["model.arpa", "model.arpa.gz"])
def test_what_is_remembered_is_what_reading_leaves(tmp_path, order, name):
    model = estimate([*TEXT * 3, ["a", "<unk>"]], order=order, prune=[0, 1][:order])
    arpa.save(model, tmp_path / name)
    arpa.remember(model, tmp_path / name)
    (entry,) = (tmp_path / "cache").iterdir()
    remembered = entry.read_bytes()
    entry.unlink()
    arpa.load(tmp_path / name)
    assert entry.read_bytes() == remembered


def test_a_changed_file_has_another_entry(tmp_path):
    load(tmp_path, SMALL)
    assert math.exp(load(tmp_path, swap("-0.30103\t<s>", "-0.5\t<s>")).log_probs([["a"]])[0][0]) == pytest.approx(
        10**-0.5
    )
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "bits", "other", "empty"])
def test_a_damaged_entry_is_made_anew(tmp_path, damage):
    expected = load(tmp_path, SMALL).log_probs([["a", "b"]])[0].tolist()
    (entry,) = (tmp_path / "cache").iterdir()
    whole = entry.read_bytes()
    damaged = {"cut": whole[:-9], "bits": whole[:-9] + b"\1" + whole[-8:], "other": b"x" * 99, "empty": b""}[damage]
    entry.write_bytes(damaged)
    assert load(tmp_path, SMALL).log_probs([["a", "b"]])[0].tolist() == expected
    assert entry.read_bytes() == whole


def test_without_a_cache_it_goes_on(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "file"))
    assert load(tmp_path, SMALL).order == 2


def test_a_damaged_model_of_arrays_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    storage.save(estimate(TEXT, order=2), path)
    whole = path.read_bytes()
    for content, complaint in [
        (whole[:-9], "cannot be read"),
        (whole[:-1] + b"\1", "checksum"),
        (b"", "cannot be read"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ModelError, match=complaint):
            storage.load(path)
    with pytest.raises(ModelError, match="does not exist"):
        storage.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "source": ""}', "[" * 9999, '{"version": 2}'])
def test_metadata_of_another_kind_are_refused(tmp_path, text):
    path = tmp_path / "model.safetensors"
    save_file({"vocabulary": np.zeros(3, dtype=np.uint8)}, path, {"elman-ngram": text})
    with pytest.raises(ModelError, match=r"is no model of counts|is damaged"):
        storage.load(path)


def test_a_model_of_no_order_is_refused(tmp_path):
    model = estimate(TEXT, order=1)
    model.levels = []
    storage.save(model, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="its order is 0"):
        storage.load(tmp_path / "model.safetensors")


def test_arrays_that_do_not_fit_together_are_refused(tmp_path):
    model = estimate(TEXT, order=2)
    level = model.levels[1]
    for keys in (level.keys[::-1].copy(), level.keys + 10**6, level.keys[:-1], level.keys.astype(np.int32)):
        model.levels[1] = type(level)(keys, level.log_probs, level.backoffs)
        storage.save(model, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match=r"is damaged: the (keys|arrays) of order 2"):
            storage.load(tmp_path / "model.safetensors")
