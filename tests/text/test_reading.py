import gzip
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import TextError
from elman.text import reading
from elman.text.reading import TextSource, split_lines


def write(folder: Path, data: bytes, name: str = "text.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def lines_of(path: Path, **options) -> list[str]:
    return list(TextSource(path, **options).lines())


LINES = st.lists(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])), min_size=1)


@given(lines=LINES, chunk=st.integers(1, 20), crlf=st.booleans(), final=st.booleans())
def test_lines_come_back_whatever_the_chunk(tmp_path_factory, lines, chunk, crlf, final):
    lines = [*lines, "x"]  # not blank, and so with or without a final line end the same
    end = "\r\n" if crlf else "\n"
    path = write(tmp_path_factory.mktemp("t"), (end.join(lines) + end * final).encode())
    expected = [lines[0].removeprefix("\ufeff"), *lines[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        assert lines_of(path) == expected
        assert [b.removesuffix(b"\r").decode() for b in TextSource(path).raw_lines()] == lines


@given(start=st.integers(0, 8), stop=st.none() | st.integers(0, 8), chunk=st.integers(1, 9))
def test_a_range_of_lines_is_a_slice(tmp_path_factory, start, stop, chunk):
    lines = ["a", "bb", "", "c c", "d"]
    path = write(tmp_path_factory.mktemp("t"), "\n".join(lines).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "CHUNK", chunk)
        if "".join(lines[start:stop]):
            assert lines_of(path, start_line=start, stop_line=stop) == lines[start:stop]
        else:
            with pytest.raises(TextError, match="there is no text from line"):
                lines_of(path, start_line=start, stop_line=stop)


def test_only_newlines_cut_lines(tmp_path):
    text = "a\x0bb\x0cc\x85d\u2028e\rf"
    assert lines_of(write(tmp_path, f"{text}\r\r\nz".encode())) == [text + "\r", "z"]


def test_a_byte_order_mark_is_dropped_only_at_the_start(tmp_path):
    assert lines_of(write(tmp_path, "\ufeffa\n\ufeffb".encode())) == ["a", "\ufeffb"]


def test_raw_lines_are_the_bytes_that_they_are(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbfa\r\n\0\xff\n")
    assert list(TextSource(path).raw_lines()) == [b"\xef\xbb\xbfa\r", b"\0\xff"]


def test_gzip_is_known_by_its_first_bytes(tmp_path):
    text = "one\ntwo\n" * 1000
    zipped = write(tmp_path, gzip.compress(text.encode()), "zipped.txt")
    plain = write(tmp_path, text.encode(), "plain.gz")
    assert lines_of(zipped) == lines_of(plain) == text.split("\n")[:-1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n \n\t\r\n", "only blank lines"),
        (b"ab\nc\0d\n", "line 2 holds a NUL byte"),
        ("ab\n".encode("utf-16"), "is UTF-16"),
        (b"ab\n\nca\xe9 d\n", "line 3: byte 3 of the line, 0xe9"),
        (b"\xe9", "line 1: byte 1 of the line, 0xe9"),
        (gzip.compress(b"one two\n" * 999)[:-12], "cut short"),
        (b"\x1f\x8b", "cut short"),
        (b"\x1f\x8b\x08\x00 nothing of the sort", "damaged gzip"),
        (gzip.compress(b"one\n") + b"tail", "damaged gzip"),
        (gzip.compress(b""), "is empty"),
    ],
)
def test_what_is_no_text_is_refused_in_words(tmp_path, data, message):
    path = write(tmp_path, data)
    with pytest.raises(TextError, match=message) as caught:
        lines_of(path)
    assert caught.value.message.startswith(str(path))
    assert caught.value.hint


def test_the_line_of_a_bad_byte_is_right_far_into_a_text(tmp_path):
    path = write(tmp_path, b"some words\n" * 200_000 + b"\xff\n")
    with pytest.raises(TextError, match="line 200001: byte 1 "):
        lines_of(path)


def test_a_missing_file_has_its_neighbour_named(tmp_path):
    write(tmp_path, b"a\n", "train.txt")
    with pytest.raises(TextError, match="does not exist") as caught:
        lines_of(tmp_path / "trian.txt")
    assert "train.txt" in caught.value.hint


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(TextError, match="is a folder"):
        lines_of(tmp_path)


def test_a_path_that_no_file_can_have_is_refused():
    for path in ("a\0b", "a" * 5000):
        with pytest.raises(TextError):
            lines_of(Path(path))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_text_that_may_not_be_read_is_refused(tmp_path):
    path = write(tmp_path, b"a\n")
    path.chmod(0)
    with pytest.raises(TextError, match="permission denied"):
        lines_of(path)


def test_a_read_error_is_a_text_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, b"a\n")
    monkeypatch.setattr(reading._Origin, "open", refuse)
    with pytest.raises(TextError, match="permission denied"):
        lines_of(path)


def test_standard_input_is_read_twice_and_its_copy_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(reading.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a b\nc\nd\n")))
    source = TextSource("-")
    assert list(source.lines()) == list(source.lines()) == ["a b", "c", "d"]
    part = source.part(1)
    assert len(list(tmp_path.iterdir())) == 1
    del source
    assert list(part.lines()) == ["c", "d"]
    del part
    assert not list(tmp_path.iterdir())


def test_the_copy_of_standard_input_goes_with_the_process(tmp_path):
    code = "from elman.text.reading import *; s = TextSource('-'); print(list(s.lines())); raise SystemExit(3)"
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"a\nb", env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True
    )
    assert (done.returncode, done.stdout.strip()) == (3, b"['a', 'b']")
    assert not list(tmp_path.iterdir())


def test_empty_standard_input_is_said_to_be_empty(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(TextError, match="standard input is empty"):
        list(TextSource("-").lines())


def test_a_named_pipe_can_be_read_twice(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"a\nb\n",))
    writer.start()
    source = TextSource(pipe)
    assert not source.is_file
    assert list(source.lines()) == list(source.lines()) == ["a", "b"]
    writer.join()


@given(lines=st.lists(st.sampled_from(["", " ", "a", "b c"]), max_size=60), share=st.floats(0.01, 0.99))
def test_held_out_lines_are_the_last_and_none_is_lost(tmp_path_factory, lines, share):
    path = write(tmp_path_factory.mktemp("t"), "".join(f"{line}\n" for line in lines).encode())
    full = sum(bool(line.strip()) for line in lines)
    if full < 2:
        with pytest.raises(TextError):
            split_lines(TextSource(path), share)
        return
    train, valid = split_lines(TextSource(path), share)
    assert list(train.lines()) + list(valid.lines()) == lines
    held = sum(bool(line.strip()) for line in valid.lines())
    assert held == min(full - 1, max(1, round(share * full)))
    assert train.stop_line == valid.start_line


def test_a_part_can_be_split_again(tmp_path):
    path = write(tmp_path, b"a\nb\nc\nd\ne\nf\n")
    train, valid = split_lines(TextSource(path, start_line=1, stop_line=5), 0.25)
    assert (list(train.lines()), list(valid.lines())) == (["b", "c", "d"], ["e"])
