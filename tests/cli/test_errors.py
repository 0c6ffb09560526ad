"""Bad input: one clear sentence on stderr, a hint, the right exit code, and never a traceback."""

from __future__ import annotations

import errno
import gzip
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elman.cli.train import Interrupts
from elman.learn import run as learning

from .commandline import TINY, Elman, Texts

GZIP = gzip.compress(b"the cat sees a dog\n" * 500)
BAD_TEXTS = {
    "missing": (None, "does not exist"),
    "empty": (b"", "is empty"),
    "blank": (b"\n  \n\t\n", "only blank lines"),
    "binary": (b"the cat\n\0\1\2\n", "line 2 holds a NUL byte"),
    "cut gzip": (GZIP[: len(GZIP) // 2], "cut short"),
    "damaged gzip": (GZIP[:20] + b"xxxx" + GZIP[24:], "gzip"),
    "latin-1": ("das\ndie Käse\n".encode("latin-1"), "line 2: byte 6 of the line, 0xe4, is not UTF-8"),
    "utf-16": ("the cat\n".encode("utf-16"), "UTF-16"),
}


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(model, tmp_path / "copy"))


@pytest.mark.parametrize("name", BAD_TEXTS)
@pytest.mark.parametrize("command", ["train", "valid", "evaluate", "score"])
def test_a_text_that_cannot_be_read(
    name: str, command: str, elman: Elman, texts: Texts, model: Path, tmp_path: Path
) -> None:
    content, complaint = BAD_TEXTS[name]
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    arguments = {
        "train": ["train", path, "--out", tmp_path / "out", *TINY],
        "valid": ["train", texts.train, "--valid", path, "--out", tmp_path / "out", *TINY],
        "evaluate": ["evaluate", model, path],
        "score": ["score", model, path],
    }
    result = elman(*arguments[command])
    assert (result.code, result.out) == (1, "")
    assert complaint in result.sentence and str(path) in result.sentence
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--hidden", "0"], "hidden = 0"),
        (["--layers", "-1"], "layers = -1"),
        (["--batch", "0"], "batch = 0"),
        (["--bptt", "0"], "bptt = 0"),
        (["--epochs", "0"], "epochs = 0"),
        (["--alpha", "-0.1"], "alpha = -0.1"),
        (["--alpha", "nan"], "alpha = nan"),
        (["--beta", "1"], "beta = 1"),
        (["--dropout", "1"], "dropout = 1"),
        (["--clip", "0"], "clip = 0"),
        (["--seed", "-1"], "seed = -1"),
        (["--seed", str(2**63)], "seed = "),
        (["--threads", "0"], "threads = 0"),
        (["--min-count", "0"], "min_count = 0"),
        (["--vocab-size", "0"], "vocab_size = 0"),
        (["--vocab-size", "2"], "vocab_size = 2 is too small"),
        (["--unit", "char", "--vocab-size", "2"], "vocab_size = 2 is too small"),
        (["--unit", "byte", "--vocab-size", "100"], "vocab_size = 100"),
        (["--unit", "bpe", "--vocab-size", "200"], "vocab_size = 200 is too small"),
        (["--unit", "wrod"], "unit = 'wrod'"),
        (["--activation", "tahn"], "there is no activation 'tahn'"),
        (["--optimizer", "adm"], "there is no optimizer 'adm'"),
        (["--schedule", "cosin"], "there is no schedule 'cosin'"),
        (["--device", "tpu"], "device = 'tpu'"),
        (["--regime", "sentence"], "regime = 'sentence'"),
        (["--regime", "online", "--optimizer", "adam"], "must be sgd"),
        (["--recipe", "nots"], "there is no recipe 'nots'"),
        (["--recipe", "no.toml"], "no.toml does not exist"),
        (["--config", "no.toml"], "no.toml does not exist"),
        (["--set", "hiden=5"], "there is no setting 'hiden'"),
        (["--set", "network.hiden=5"], "there is no setting 'network.hiden'"),
        (["--set", "hidden"], "not of the form key=value"),
        (["--set", "hidden=many"], "hidden = 'many'"),
        (["--hidden", "many"], "'--hidden': it should be a valid integer"),
        (["--hiden", "5"], "there is no flag --hiden"),
        (["another"], "another"),
    ],
)
def test_a_flag_that_cannot_be_is_wrong_usage(
    flags: list[str], complaint: str, elman: Elman, texts: Texts, tmp_path: Path
) -> None:
    result = elman("train", texts.train, "--valid", texts.valid, "--out", tmp_path / "out", "--quiet", *flags)
    assert (result.code, result.out) == (2, "")
    assert complaint in result.sentence
    assert not (tmp_path / "out" / "config.json").exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "did you mean train"),
        (["train", "x", "--out", "y", "--hiden", "5"], "did you mean --hidden"),
        (["train", "x", "--out", "y", "--set", "hiden=5"], "did you mean network.hidden"),
        (["train", "x", "--out", "y", "--recipe", "nots"], "did you mean notes"),
        (["train", "x"], "elman train --help"),
        (["evaluate"], "elman evaluate --help"),
        (["evaluate", "m", "t", "--oov", "unkn"], "did you mean unk"),
        (["score", "m", "t", "--base", "7"], "e or 2 or 10"),
        (["predict", "m", "p", "--top", "0"], "elman predict --help"),
        (["generate", "m", "--seed", str(2**64)], "elman generate --help"),
    ],
)
def test_wrong_usage_comes_with_a_hint(arguments: list[str], hint: str, elman: Elman) -> None:
    result = elman(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.sentence and hint in result.err


@pytest.mark.parametrize("flag", ["--temperature=-1", "--temperature=nan", "--top-k=0", "--top-p=0", "--top-p=1.5"])
def test_sampling_out_of_range_is_wrong_usage(flag: str, elman: Elman, model: Path) -> None:
    for json_or_not in ([], ["--json"]):
        result = elman("generate", model, flag, *json_or_not)
        assert (result.code, result.out) == (2, "")
        assert flag.partition("=")[0].removeprefix("--") in result.sentence


# Model folders


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch exploited",)


def damage(folder: Path, how: str) -> str:
    """Damage a model; return what has to be complained of."""
    weights, config = folder / "model.safetensors", folder / "config.json"
    if how == "no folder":
        shutil.rmtree(folder)
        return "does not exist"
    if how.startswith("no "):
        (folder / how[3:]).unlink()
        return how[3:]
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
        return "cannot be read"
    if how == "pickle":
        weights.write_bytes(pickle.dumps(Exploit()))
        return "cannot be read"
    if how == "another tokenizer":
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"]["extra"] = len(tokenizer["model"]["vocab"])
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        return "tokenizer.json"
    values = json.loads(config.read_text())
    if how == "newer":
        config.write_text(json.dumps(values | {"format_version": 99}))
        return "format version 99"
    if how == "another shape":
        config.write_text(json.dumps(values | {"network": values["network"] | {"hidden": 9}}))
        return "config.json says"
    config.write_text("{")
    return "not JSON"


@pytest.mark.parametrize(
    "how",
    [
        "no folder",
        "no config.json",
        "no model.safetensors",
        "no tokenizer.json",
        "cut",
        "pickle",
        "another tokenizer",
        "another shape",
        "newer",
        "no JSON in config",
    ],
)
def test_a_damaged_model(
    how: str, elman: Elman, texts: Texts, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    complaint = damage(copy, "broken" if how == "no JSON in config" else how)
    for arguments in (["evaluate", copy, texts.valid], ["predict", copy, "the"], ["info", copy]):
        result = elman(*arguments)
        assert (result.code, result.out) == (1, "")
        assert complaint in result.sentence
    assert not (tmp_path / "exploited").exists()


def test_a_file_is_no_model(elman: Elman, texts: Texts) -> None:
    result = elman("predict", texts.train, "the")
    assert result.code == 1 and "is not a folder" in result.sentence


def test_words_that_training_never_saw(elman: Elman, texts: Texts, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "foreign.txt"
    path.write_text("zzz qqq\nxxx\n")
    training = ["train", texts.train, "--valid", path, "--out", tmp_path / "out", *TINY]
    for arguments in (["evaluate", model, path], training):
        result = elman(*arguments)
        assert result.code == 1 and "only words that training never saw" in result.sentence
    result = elman("evaluate", model, path, "--oov", "unk")
    assert result.code == 2 and "<unk>" in result.sentence


# Output


def test_an_output_folder_that_is_a_file(elman: Elman, texts: Texts) -> None:
    result = elman("train", texts.train, "--out", texts.valid, *TINY)
    assert result.code == 1 and "is a file" in result.sentence
    result = elman("train", texts.train, "--out", texts.valid + "/below", *TINY)
    assert result.code == 1 and "cannot be written" in result.sentence


def test_an_output_folder_that_holds_another_model(elman: Elman, texts: Texts, model: Path) -> None:
    before = (model / "model.safetensors").read_bytes()
    result = elman("train", texts.train, "--out", model, *TINY)
    assert result.code == 1 and "already holds a model" in result.sentence
    assert "--resume" in result.err and "--overwrite" in result.err
    result = elman("demo", "--out", model)
    assert result.code == 1 and "not a demo" in result.sentence and not (model / ".elman-demo").exists()
    assert (model / "model.safetensors").read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_that_may_not_be_written(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    for out in (tmp_path / "locked", tmp_path / "locked" / "new"):
        result = elman("train", texts.train, "--out", out, *TINY)
        assert result.code == 1 and "permission denied" in result.sentence


def test_a_full_disk(elman: Elman, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out"
    monkeypatch.setattr(os, "fsync", full)
    result = elman("train", texts.train, "--valid", texts.valid, "--out", out, *TINY)
    assert (result.code, result.out) == (1, "")
    assert "no space left" in result.sentence
    assert not list(out.glob("*")) and not list(out.glob(".*"))


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from elman.cli.main import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of file sizes")
def test_a_file_that_may_not_grow(texts: Texts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", LIMITED, "train", texts.train, "--valid", texts.valid, "--out", out, *TINY]
    done = subprocess.run([*command, "--hidden", "200"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("elman: ") and "Traceback" not in done.stderr
    assert "no space left" in done.stderr or "is the disk full?" in done.stderr
    assert not list(out.glob("*.tmp")) and not list(out.glob(".*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])  # where Python buffers, writing fails only at the end
def test_output_that_cannot_be_written(model: Path, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "elman", "info", str(model)]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "elman: the system refused: No space left on device\n"


# Ctrl-C


def training(texts: Texts, out: Path, *more: str) -> list[str]:
    settings = ["--hidden", "8", "--batch", "2", "--bptt", "3", "--threads", "1", "--optimizer", "adam"]
    text = ["--valid", texts.valid, "--out", str(out), *settings, "--checkpoint-every", "5", "--set", "log_every=5"]
    return ["train", texts.train, *text, *more]


def wait_for_updates(log: Path, process: subprocess.Popen[str], count: int) -> None:
    deadline = time.monotonic() + 60
    while not log.exists() or log.read_text().count("\n") < count:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_an_interrupted_run_goes_on(elman: Elman, texts: Texts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "elman", *training(texts, out, "--epochs", "5000")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_updates(out / "log.jsonl", process, 3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert "elman: stopped after update" in stderr and "Traceback" not in stderr
    assert f"hint: elman train {texts.train}" in stderr and "--resume" in stderr
    assert (out / "checkpoint.safetensors").exists() and not list(out.glob(".*.tmp"))
    result = elman(*training(texts, out), "--resume", "--epochs", "4000", "--quiet")
    assert result.code == 1 and "began with learn.epochs = 5000" in result.sentence
    updates = json.loads((out / "log.jsonl").read_text().splitlines()[-1])["update"]

    resumed = [*command, "--resume"]
    process = subprocess.Popen(resumed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_updates(out / "log.jsonl", process, updates // 5 + 3)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and stderr.count("--resume") == 1
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["update"] > updates


def test_ctrl_c_stops_at_once_before_training_and_the_second_time() -> None:
    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle(signal.SIGINT, None)
    assert not interrupts()  # the trainer asks: training has begun
    interrupts.handle(signal.SIGINT, None)
    assert interrupts()
    with pytest.raises(KeyboardInterrupt):
        interrupts.handle(signal.SIGINT, None)


def test_stopping_at_once_is_one_sentence(
    elman: Elman, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(learning, "train_model", interrupted)
    before = signal.getsignal(signal.SIGINT)
    result = elman("train", texts.train, "--out", tmp_path / "out", *TINY)
    assert (result.code, result.out) == (130, "")
    assert "interrupted" in result.sentence
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")])
def test_too_little_memory_is_one_sentence(
    error: Exception, elman: Elman, texts: Texts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(learning, "train_model", too_large)
    result = elman("train", texts.train, "--out", tmp_path / "out", *TINY)
    assert result.code == 1 and "not enough memory" in result.sentence


def test_ctrl_c_while_the_program_is_being_loaded_leaves_with_130() -> None:
    program = """
import sys
class Struck:
    def find_spec(self, name, path, target=None):
        if name == "elman.cli.main":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Struck())
from elman.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "elman: interrupted\n")
