"""Files of word vectors: every format reads to the same, and what is wrong with one is said in a sentence."""

from __future__ import annotations

import gzip
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from elman.errors import MissingExtra, TextError, UsageError
from elman.text.vector_writing import is_writable, write_vectors
from elman.text.vectors import read_vectors, vector_size

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "vectors"
ROWS = "the 0.5 -1 2e-3\nKatze 1 2 3\nç 4 5 6\n"
WORDS = ["the", "Katze", "ç"]
MATRIX = np.array([[0.5, -1, 2e-3], [1, 2, 3], [4, 5, 6]], dtype=np.float32)


def binary(words: list[str], matrix: np.ndarray, *, header: str | None = None, end: bytes = b"\n") -> bytes:
    rows = (word.encode() + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, matrix, strict=True))
    return (header or f"{len(words)} {matrix.shape[1]}").encode() + b"\n" + b"".join(rows)


def spaced(text: str) -> str:
    return "".join(f"{line} \n" for line in text.splitlines())


FILES = {
    "word2vec text": ("3 3\n" + ROWS).encode(),
    "fastText .vec": spaced("3 3\n" + ROWS).encode(),
    "GloVe": ROWS.encode(),
    "no line end": ROWS.strip().encode(),
    "tabs and \\r": ROWS.replace(" ", "\t").replace("\n", "\r\n").encode(),
    "byte order mark": b"\xef\xbb\xbf3 3\n" + ROWS.encode(),
    "word2vec binary": binary(WORDS, MATRIX),
    "gensim's binary": binary(WORDS, MATRIX, end=b""),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_every_format_is_known_by_its_bytes(name: str, packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(FILES[name]) if packed else FILES[name])
    found = read_vectors(path)
    assert found.words == WORDS and found.matrix.dtype == np.float32 and found.rows == 3
    np.testing.assert_array_equal(found.matrix, MATRIX)
    assert vector_size(path) == found.size == 3
    assert ("binary" in found.kind) == ("binary" in name)


@pytest.mark.parametrize("name", ["word2vec text", "GloVe", "word2vec binary"])
def test_only_words_that_are_asked_for_are_kept(name: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(FILES[name])
    found = read_vectors(path, wanted=["ç", "dog", "the"])
    assert found.words == ["the", "ç"] and found.rows == 3
    np.testing.assert_array_equal(found.matrix, MATRIX[[0, 2]])
    assert read_vectors(path, wanted=["dog"]).matrix.shape == (0, 3)
    assert read_vectors(path, first=2).words == ["the", "Katze"]


def test_a_word_is_looked_up_as_it_is_then_in_lower_case(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("paris 1 2\nMay 3 4\nmay 5 6\n")
    found = read_vectors(tmp_path / "v")
    assert [found.place(word) for word in ("Paris", "May", "MAY", "Rome")] == [0, 1, 2, None]


def test_of_a_word_that_comes_twice_the_first_row_counts(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("a 1 2\nb 3 4\na 5 6\na 7 8\n")
    found = read_vectors(tmp_path / "v")
    assert (found.words, found.duplicates) == (["a", "b"], 2)
    np.testing.assert_array_equal(found.matrix, [[1, 2], [3, 4]])
    assert read_vectors(tmp_path / "v", wanted=["b"]).duplicates == 0


def test_words_of_glove_may_hold_spaces(tmp_path: Path) -> None:
    (tmp_path / "v").write_text("the 1 2 3\n. . 4 5 6\nat name@domain.com 7 8 9\n")
    assert read_vectors(tmp_path / "v").words == ["the", ". .", "at name@domain.com"]


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9).filter(is_writable)
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.data(), st.booleans(), st.sampled_from(["v", "v.gz"]))
def test_what_is_written_is_read_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, as_binary: bool, name: str
) -> None:
    names = data.draw(st.lists(words, min_size=1, max_size=6, unique=True))
    matrix = data.draw(arrays.arrays(np.float32, (len(names), data.draw(st.integers(2, 5))), elements=numbers))
    path = tmp_path_factory.mktemp("written") / name
    write_vectors(path, names, matrix, binary=as_binary)
    found = read_vectors(path)
    assert found.words == names and found.kind == ("word2vec binary" if as_binary else "word2vec text")
    np.testing.assert_array_equal(found.matrix, matrix)


def test_the_same_vectors_give_the_same_packed_bytes(tmp_path: Path) -> None:
    write_vectors(tmp_path / "one.gz", WORDS, MATRIX)
    write_vectors(tmp_path / "two.gz", WORDS, MATRIX)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@pytest.mark.parametrize("word", ["New York", "", "a\tb", "a\n", "\x7f"])
def test_a_word_that_cannot_be_written_leaves_no_file(word: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_vectors(tmp_path / "v", ["the", word], np.zeros((2, 3), dtype=np.float32))
    assert list(tmp_path.iterdir()) == []


NAN = np.array([[1, 2, 3], [1, np.nan, 3]], dtype=np.float32)
WRONG = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\n", "is empty"),
    "too few words": (b"4 3\n" + ROWS.encode(), "says 4 words in its header, and holds 3"),
    "too many words": (b"2 3\n" + ROWS.encode(), "says 2 words in its header, and holds 3"),
    "E too small": (b"3 2\n" + ROWS.encode(), "line 2: 'the' has 3 numbers where the header says 2"),
    "E too large": (b"3 4\n" + ROWS.encode(), "line 2: 'the' has 3 numbers where the header says 4"),
    "E impossible": (b"3 99999999999999999999999\n" + ROWS.encode(), "which cannot be"),
    "N zero": (b"0 3\n", "which cannot be"),
    "another dimension": (ROWS.encode() * 2 + b"x 1 2\n", "line 7: 'x' has 2 numbers where line 1 has 3"),
    "one number more": (ROWS.encode() * 2 + b"x 1 2 3 4\n", "line 7: 'x' has 4 numbers where line 1 has 3"),
    "a cut line": (ROWS.encode()[:-3], "line 3: 'ç' has 2 numbers where line 1 has 3"),
    "nan": (ROWS.encode() + b"x 1 nan 3\n", "line 4: the vector of 'x' holds nan"),
    "inf": (ROWS.encode() + b"x 1 2 -inf\n", "line 4: the vector of 'x' holds -inf"),
    "beyond float32": (ROWS.encode() + b"x 1 2 1e39\n", "line 4: the vector of 'x' holds inf"),
    "no number": (ROWS.encode() + b"x 1 two 3\n", "line 4: 'two' is no number"),
    "no word": (ROWS.encode() + b" 1 2 3\n", "line 4 has numbers, and no word"),
    "Latin-1": (ROWS.encode() + "é 1 2 3\n".encode("latin-1"), "line 4: byte 1 of the word, 0xe9, is not UTF-8"),
    "UTF-16": (ROWS.encode("utf-16"), "is UTF-16, not UTF-8"),
    "prose": (b"Call me Ishmael.\n", "line 1 is neither a header"),
    "another binary": (bytes(range(256)), "is binary, and no file of word vectors"),
    "binary, cut in a vector": (binary(WORDS, MATRIX)[:-8], "word 3 of 3: the file ends here, cut short"),
    "binary, cut in a word": (binary(WORDS, MATRIX)[:-15], "word 3 of 3: the file ends here, cut short"),
    "binary, cut after the header": (binary(WORDS, MATRIX)[:12], "word 1 of 3: the file ends here, cut short"),
    "binary, N too small": (binary(WORDS, MATRIX, header="2 3"), "word 3: more follows after the last"),
    "binary, N too large": (binary(WORDS, MATRIX, header="9 3"), "word 4 of 9: the file ends here"),
    "binary, E too small": (binary(WORDS, MATRIX, header="3 2"), "the header says 3 words of 2 numbers"),
    "binary, E too large": (binary(WORDS, MATRIX, header="3 4"), "word 3 of 3: the file ends here, cut short"),
    "binary, nan": (binary(WORDS[:2], NAN), "word 2 of 2: the vector of 'Katze' holds nan"),
    "binary, Latin-1": (binary(["a", "b"], MATRIX[:2]).replace(b"b ", b"\xe9 "), "word 2 of 2: byte 1 of the word"),
    "cut gzip": (gzip.compress(ROWS.encode())[:-9], "a gzip file that is cut short"),
    "a pickle of something": (pickle.dumps({"a": 1}), "is a pickle, and no vectors"),
    "a pickle that is cut": (pickle.dumps(list(range(999)))[:50], "is a pickle, and no vectors"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_place(name: str, tmp_path: Path) -> None:
    data, sentence = WRONG[name]
    path = tmp_path / "wrong"
    path.write_bytes(data)
    with pytest.raises(TextError) as caught:
        read_vectors(path)
    assert sentence in caught.value.message and str(path) in caught.value.message and caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="is a folder"):
        read_vectors(tmp_path)
    (tmp_path / "glove.txt").write_text(ROWS)
    with pytest.raises(TextError, match=r"does not exist .did you mean .*glove\.txt"):
        read_vectors(tmp_path / "glove.tx")


@pytest.mark.parametrize("name", ["word2vec text", "word2vec binary"])
@given(cut=st.integers(1, 40))
def test_no_cut_passes_unnoticed(name: str, cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cut") / "v"
    data = FILES[name].rstrip(b"\n") if name == "word2vec text" else FILES[name][:-1]
    path.write_bytes(data[:-cut])
    # A cut inside the last number of a text leaves another number: that is the one that no reader can see.
    if name == "word2vec text" and data[-cut:].count(b" ") == 0 and data[-cut - 1 : -cut] != b" ":
        return
    with pytest.raises(TextError):
        read_vectors(path)


class KeyedVectors:
    """Stands for gensim's class of that name, to make a pickle that names it."""

    def __init__(self, **attributes: object) -> None:
        self.__dict__.update(attributes)


def pickled(monkeypatch: pytest.MonkeyPatch, value: object) -> bytes:
    """Pickle a value whose class says that it is gensim's."""
    module = ModuleType("gensim.models.keyedvectors")
    vars(module)["KeyedVectors"] = KeyedVectors
    with monkeypatch.context() as patch:
        for name in ("gensim", "gensim.models", "gensim.models.keyedvectors"):
            patch.setitem(sys.modules, name, module)
        patch.setattr(KeyedVectors, "__module__", "gensim.models.keyedvectors")
        return pickle.dumps(value, protocol=4)


def test_gensims_own_files_need_no_gensim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kv"
    path.write_bytes(pickled(monkeypatch, KeyedVectors(index_to_key=WORDS, vectors=MATRIX)))
    found = read_vectors(path, wanted=["ç", "the"])
    assert found.words == ["the", "ç"] and found.kind == "gensim" and vector_size(path) == 3
    np.testing.assert_array_equal(found.matrix, MATRIX[[0, 2]])
    path.write_bytes(pickled(monkeypatch, KeyedVectors(index2word=WORDS, vectors=None)))
    with pytest.raises(TextError, match=r"belongs with .*kv\.vectors\.npy, which is missing"):
        read_vectors(path)
    np.save(tmp_path / "kv.vectors.npy", MATRIX)
    np.testing.assert_array_equal(read_vectors(path).matrix, MATRIX)
    np.save(tmp_path / "kv.vectors.npy", np.where(MATRIX == 5, np.nan, MATRIX))
    with pytest.raises(TextError, match="'ç' holds what is no finite number"):
        read_vectors(path)


class Evil:
    """A pickle of this runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("import pathlib; pathlib.Path('harm').touch()",)


def test_a_pickle_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickled(monkeypatch, KeyedVectors(index_to_key=WORDS, vectors=MATRIX, more=Evil()))
    pickle.loads(pickle.dumps(Evil()))
    assert Path("harm").exists(), "the pickle does harm where nobody takes care"
    Path("harm").unlink()
    Path("kv").write_bytes(data)
    assert read_vectors("kv").words == WORDS
    assert not Path("harm").exists()


def test_gensim_finds_what_is_read(tmp_path: Path) -> None:
    models = pytest.importorskip("gensim.models", reason="the extra elman[vectors] is not installed")
    write_vectors(tmp_path / "text", WORDS, MATRIX)
    write_vectors(tmp_path / "binary", WORDS, MATRIX, binary=True)
    for name in ("text", "binary"):
        loaded = models.KeyedVectors.load_word2vec_format(str(tmp_path / name), binary=name == "binary")
        assert loaded.index_to_key == WORDS
        np.testing.assert_array_equal(loaded.vectors, MATRIX)
        loaded.save_word2vec_format(str(tmp_path / "again"), binary=name == "binary")
        np.testing.assert_array_equal(read_vectors(tmp_path / "again").matrix, MATRIX)
        loaded.save(str(tmp_path / "own"), sep_limit=1 if name == "text" else 10**9)
        np.testing.assert_array_equal(read_vectors(tmp_path / "own").matrix, MATRIX)
    model = models.Word2Vec([["a", "b", "c"], ["a", "c"]], vector_size=4, min_count=1)
    model.save(str(tmp_path / "whole"))
    np.testing.assert_array_equal(read_vectors(tmp_path / "whole").matrix, model.wv.vectors)


def test_a_binary_model_of_fasttext_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models.fasttext", None)
    (tmp_path / "model.bin").write_bytes(b"\xba\x16\x4f\x2f" + bytes(99))
    with pytest.raises(MissingExtra, match=r"pip install 'elman\[vectors\]'"):
        read_vectors(tmp_path / "model.bin")


def test_a_damaged_model_of_fasttext_is_named(tmp_path: Path) -> None:
    pytest.importorskip("gensim.models.fasttext", reason="the extra elman[vectors] is not installed")
    (tmp_path / "model.bin").write_bytes(b"\xba\x16\x4f\x2f\x0c\x00\x00\x00" + bytes(9))
    with pytest.raises(TextError, match="damaged or cut short"):
        read_vectors(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("name", "count", "size", "kind"),
    [
        ("glove.6B.50d.subset.txt", 17152, 50, "word2vec text"),
        ("euclidean_vectors.bin", 2747, 10, "word2vec binary"),
        ("lee_fasttext.vec", 1762, 10, "word2vec text"),
        ("crime-and-punishment.bin", 291, 5, "fastText binary"),
    ],
)
def test_files_of_the_world_are_read(name: str, count: int, size: int, kind: str) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the shared vectors are not here")
    if "fastText" in kind:
        pytest.importorskip("gensim", reason="the extra elman[vectors] is not installed")
    found = read_vectors(SHARED / name)
    assert (len(found.words), found.matrix.shape, found.kind) == (count, (count, size), kind)
    assert found.words[0] == ("и" if "crime" in name else "the")
