import dataclasses
import gzip
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from elman.config import TextSettings
from elman.errors import OutputError, TextError
from elman.text import corpus as corpus_module
from elman.text import reading
from elman.text.corpus import Corpus, build_corpus, default_cache_folder
from elman.text.reading import TextSource
from elman.text.tokenizers import TOKENIZERS, train_tokenizer

LINES = ["the cat sat", "", "on  the <unk> mat .", "a zebra"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def text(tmp_path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def tokenizer_of(unit="word", lines=LINES[:3], **options):
    return TOKENIZERS[unit].train(iter(lines), TextSettings(unit=unit, **options))


def counts(corpus: Corpus) -> dict:
    return {f.name: getattr(corpus, f.name) for f in dataclasses.fields(corpus) if f.name not in ("ids", "digest")}


def entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.parametrize("unit", TOKENIZERS)
def test_a_corpus_is_its_lines_one_by_one(text, unit):
    tokenizer = tokenizer_of(unit, **({"vocab_size": 300} if unit == "bpe" else {}))
    corpus = build_corpus(TextSource(text), tokenizer)
    letters = unit in ("char", "byte", "dna")
    kept = LINES if letters else [line for line in LINES if line]
    assert corpus.ids.tolist() == [id for line in kept for id in tokenizer.encode_line(line)]
    assert isinstance(corpus.ids, np.memmap)
    assert not corpus.ids.flags.writeable
    assert (corpus.line_count, corpus.sentences, corpus.words) == (4, len(kept), 10)
    assert corpus.characters == (len(text.read_text()) if letters else len("".join(kept)) + 3) - (
        unit == "word"  # of two spaces one counts
    )
    no_base = sum(letter not in "acgtu\n" for letter in text.read_text())
    unknown = {"word": (2, 8), "char": (3, 3), "dna": (no_base, no_base)}
    assert (corpus.oovs, corpus.oov_characters) == unknown.get(unit, (0, 0))


def test_a_second_look_reads_the_cache(text, tmp_path, monkeypatch):
    tokenizer = tokenizer_of()
    first = build_corpus(TextSource(text), tokenizer)
    monkeypatch.setattr(corpus_module, "_write", None)
    second = build_corpus(TextSource(text), tokenizer)
    assert (second.ids == first.ids).all()
    assert counts(second) == counts(first)
    assert second.digest == first.digest
    assert len(entries(tmp_path / "cache")) == 1


def test_what_decides_ids_decides_the_entry(text, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("the cat\nsat\n")
    word = tokenizer_of()
    digests = {
        build_corpus(source, tokenizer).digest
        for source, tokenizer in [
            (TextSource(text), word),
            (TextSource(other), word),
            (TextSource(text, start_line=1), word),
            (TextSource(text, stop_line=1), word),
            (TextSource(text), tokenizer_of("char")),
            (TextSource(text), tokenizer_of(lines=LINES)),
        ]
    }
    assert len(digests) == len(entries(tmp_path / "cache")) == 6
    copy = tmp_path / "copy.txt"
    copy.write_bytes(text.read_bytes())
    assert build_corpus(TextSource(copy), word).digest in digests


@pytest.mark.parametrize("harm", ["cut", "longer", "empty", "no header", "other header", "changed", "bad counts"])
def test_a_damaged_entry_is_built_again(text, tmp_path, harm):
    tokenizer = tokenizer_of()
    good = np.array(build_corpus(TextSource(text), tokenizer).ids)
    (entry,) = entries(tmp_path / "cache")
    data = entry.read_bytes()
    header = json.loads(data[:4096])
    entry.unlink()  # a new file, as the old one may be mapped
    entry.write_bytes(
        {
            "cut": data[:-2],
            "longer": data + b"xx",
            "empty": b"",
            "no header": b"\0" * 4096 + data[4096:],
            "other header": json.dumps({**header, "digest": "x"}).ljust(4096).encode() + data[4096:],
            "changed": data[:-1] + b"\1",
            "bad counts": json.dumps({**header, "counts": {}}).ljust(4096).encode() + data[4096:],
        }[harm]
    )
    assert build_corpus(TextSource(text), tokenizer).ids.tolist() == good.tolist()
    assert entry.read_bytes() == data


def test_ids_are_as_narrow_as_the_dictionary_allows(tmp_path):
    path = tmp_path / "text.txt"
    for size, dtype in ((65_534, np.uint16), (65_535, np.uint32)):
        path.write_text(" ".join(map(str, range(size - 2))) + "\n")
        tokenizer = train_tokenizer(TextSource(path), TextSettings())
        path.write_text("0 unheard-of\n")
        corpus = build_corpus(TextSource(path), tokenizer)
        assert (corpus.ids.dtype, corpus.ids.tolist()) == (dtype, [2, size, 0])


def test_a_range_of_lines_is_a_corpus(text):
    corpus = build_corpus(TextSource(text, start_line=2, stop_line=3), tokenizer_of())
    assert (corpus.line_count, corpus.sentences, corpus.words) == (1, 1, 5)


def test_gzip_makes_the_same_ids(text, tmp_path):
    zipped = tmp_path / "text.gz"
    zipped.write_bytes(gzip.compress(text.read_bytes()))
    assert (
        build_corpus(TextSource(zipped), tokenizer_of()).ids.tolist()
        == build_corpus(TextSource(text), tokenizer_of()).ids.tolist()
    )


def test_standard_input_is_not_kept(text, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.read_bytes())))
    corpus = build_corpus(TextSource("-"), tokenizer_of())
    assert corpus.words == 10
    assert not (tmp_path / "cache").exists()


def test_bytes_take_any_file(tmp_path):
    path = tmp_path / "any.bin"
    path.write_bytes(b"\0\xff\r\n\n\xfe")
    assert build_corpus(TextSource(path), tokenizer_of("byte")).ids.tolist() == [0, 255, 13, 10, 10, 254, 10]


@pytest.mark.parametrize("data", [b"", b"\n \n", b"a\0", b"\xff"])
def test_a_text_that_is_none_leaves_no_entry(tmp_path, data):
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    with pytest.raises(TextError):
        build_corpus(TextSource(path), tokenizer_of())
    assert not entries(tmp_path / "cache")


def test_a_missing_text_is_a_text_error(tmp_path):
    with pytest.raises(TextError, match="does not exist"):
        build_corpus(TextSource(tmp_path / "none.txt"), tokenizer_of())


def test_a_cache_that_cannot_be_written_is_done_without(text, tmp_path, monkeypatch):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    monkeypatch.setenv("ELMAN_CACHE", str(blocked / "cache"))
    assert build_corpus(TextSource(text), tokenizer_of()).words == 10
    with pytest.raises(OutputError):
        build_corpus(TextSource(text), tokenizer_of(), cache_folder=blocked / "cache")


def test_the_temporary_cache_goes_with_the_process(text, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = (
        "from elman.config import TextSettings; from elman.text.corpus import *; from elman.text.tokenizers import *; "
        f"s = TextSource({str(text)!r}); print(build_corpus(s, train_tokenizer(s, TextSettings())).words)"
    )
    environment = {**os.environ, "ELMAN_CACHE": str(text / "no folder"), "TMPDIR": str(temporary)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("10\n", "")
    assert not entries(temporary)


def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch):
    monkeypatch.delenv("ELMAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("LOCALAPPDATA", "/w")
    monkeypatch.setenv("HOME", "/h")
    for platform, folder in (
        ("linux", "/x/elman"),
        ("darwin", "/h/Library/Caches/elman"),
        ("win32", "/w/elman"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        assert default_cache_folder() == Path(folder)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_folder() == Path("/h/.cache/elman")


def _build(path: Path) -> int:
    return int(build_corpus(TextSource(path), tokenizer_of()).ids.sum())


def test_processes_may_race(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat\n" * 20_000)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        sums = pool.map(_build, [path] * 8, chunksize=1)
    assert len(set(sums)) == 1
    assert len(entries(tmp_path / "cache")) == 1


@pytest.mark.parametrize("unit", ["word", "char", "byte", "bpe"])
def test_a_text_is_built_in_much_less_memory_than_it_takes(tmp_path, monkeypatch, unit):
    for module in (reading, corpus_module):
        monkeypatch.setattr(module, "CHUNK", 1 << 14)
    path = tmp_path / "text.txt"
    line = b"the cat sat on the mat and looked at the other cat\n"
    path.write_bytes(line * 60_000)
    tokenizer = tokenizer_of(unit)
    tokenizer.encode("the")  # makes what is made once
    tracemalloc.start()
    try:
        build_corpus(TextSource(path), tokenizer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < path.stat().st_size / 2


@pytest.mark.parametrize(("part", "symbols"), [("train", 929_589), ("valid", 73_760), ("test", 82_430)])
def test_the_treebank_has_its_well_known_size(ptb, part, symbols):
    tokenizer = train_tokenizer(TextSource(ptb / "ptb.train.txt"), TextSettings())
    corpus = build_corpus(TextSource(ptb / f"ptb.{part}.txt"), tokenizer)
    assert (len(corpus.ids), corpus.words + corpus.sentences, corpus.oovs) == (symbols, symbols, 0)
