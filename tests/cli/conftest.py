"""The program in this process, a tiny text, and a tiny model trained through the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from elman.cli.main import run

from .commandline import TINY, Elman, Result, Texts, write_text


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Texts]:
    """Texts, and a cache of corpora of this session's own."""
    folder = tmp_path_factory.mktemp("cli")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELMAN_CACHE", str(folder / "cache"))
        yield Texts(write_text(folder / "train.txt", 80, 1), write_text(folder / "valid.txt", 20, 2))


@pytest.fixture
def elman(capfd: pytest.CaptureFixture[str]) -> Elman:
    """Run a command in this process."""

    def command(*arguments: object) -> Result:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return command


@pytest.fixture(scope="session")
def model(texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model; tests do not change it."""
    folder = tmp_path_factory.mktemp("model")
    assert run(["train", texts.train, "--valid", texts.valid, "--out", str(folder), *TINY]) == 0
    return folder
