"""What an interrupted training is told to type next."""

from pathlib import Path

import pytest

from elman.cli import train
from elman.errors import Interrupted


@pytest.mark.parametrize(("hint", "next_step"), [(None, "begins again"), ("--resume", "--resume goes on from there")])
def test_only_what_was_kept_is_gone_on_with(
    hint: str | None, next_step: str, elman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("stopped", hint=hint)

    monkeypatch.setattr(train, "_train", stopped)
    text = tmp_path / "text.txt"
    text.write_text("a b\n" * 50)
    result = elman("train", text, "--out", tmp_path / "out")
    assert result.code == 130
    assert next_step in result.err and (("--resume" in result.err) == (hint is not None))
