"""What went wrong, said so that a person can mend it.

Every error that a user can cause is an `ElmanError`. Its message says where and what, its hint what to do about it.
The command line prints both without a traceback and leaves with `exit_code`: 1 for a failure, 2 for wrong usage, 130
for an interrupt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ElmanError(Exception):
    """Something that the user can mend: a message, and a hint that says how.

    >>> error = ElmanError("corpus.txt is empty", hint="give a text with at least one line")
    >>> print(error)
    corpus.txt is empty (give a text with at least one line)
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(ElmanError):
    """A flag, a setting or a value that cannot be used."""

    exit_code = 2


class TextError(ElmanError):
    """A text that cannot be read: missing, empty, binary, cut short, not UTF-8."""


class ModelError(ElmanError):
    """A folder that does not hold a model that this version can read."""


class OutputError(ElmanError):
    """A file or folder that cannot be written."""


class TrainingError(ElmanError):
    """Training that cannot go on: a loss that is no number, a checkpoint of another run."""


class MissingExtra(ElmanError):  # noqa: N818 - reads as what it is
    """A library that is not installed; the hint names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed", hint=f"pip install 'elman[{extra}]'")


class Interrupted(ElmanError):  # noqa: N818 - reads as what it is
    """The user stopped the work; what was saved is good."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelt most like `name`, or None if none is close.

    >>> nearest("alhpa", ["alpha", "beta"])
    'alpha'
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else None
