"""TensorBoard and trackio: other programs that get what log.jsonl gets (`learn.log`)."""

from __future__ import annotations

import contextlib
import importlib
import math
import sys
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from elman.config import Settings, to_flat
from elman.errors import ElmanError, MissingExtra
from elman.learn.log import Entry, Log, Writer, numbers

PROJECT = "elman"
"""What trackio calls the runs together."""


class TensorBoard:
    """Scalars of TensorBoard, in the folder `tensorboard` of the run; a tag is named as the number is in log.jsonl.

    What a crash or a setback made invalid is taken back by TensorBoard itself (`purge_step`).
    """

    library = "torch.utils.tensorboard"

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder / "tensorboard"
        self._events: Any = None

    def cut(self, update: int, sent: int) -> None:
        """Begin a file of events, before which those after `update` count no more."""
        if self._events is not None:
            self._events.close()
        module = imported("tensorboard")
        with _refusal(f"{self.folder} cannot be written"):
            self._events = module.SummaryWriter(log_dir=str(self.folder), purge_step=update + 1)
        weakref.finalize(self, self._events.close)

    def add(self, entry: Entry) -> None:
        """Write the numbers of a line."""
        with _refusal(f"{self.folder} cannot be written"):
            for name, value in finite(entry).items():
                self._events.add_scalar(name, value, entry["update"])
            self._events.flush()  # so that a run that is killed keeps what log.jsonl keeps


class Trackio:
    """A run of trackio, in its project `elman`, named as the folder is.

    Trackio takes nothing back: of a run that is resumed, what it was told before is not told again; after a setback
    the same updates are there twice.
    """

    library = "trackio"

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.name, self.config = str(folder), to_flat(settings)
        self._module: Any = None
        self._told = 0

    def cut(self, update: int, sent: int) -> None:
        """Begin the run, or go on with it."""
        if self._module is not None:  # a setback: what comes now is new
            self._told = update
            return
        self._module, self._told = imported("trackio"), sent
        resume = "allow" if update else "never"
        with _refusal("trackio did not begin"), contextlib.redirect_stdout(sys.stderr):
            plain = {"auto_log_gpu": False, "auto_log_cpu": False}  # it gets what log.jsonl gets, no more
            self._module.init(project=PROJECT, name=self.name, config=self.config, resume=resume, **plain)
        weakref.finalize(self, _quietly, self._module.finish)

    def add(self, entry: Entry) -> None:
        """Tell the numbers of a line."""
        if entry["update"] > self._told:
            with _refusal("trackio refused a line"), contextlib.redirect_stdout(sys.stderr):
                self._module.log(finite(entry), step=entry["update"])


WRITERS: dict[str, type[TensorBoard] | type[Trackio]] = {"tensorboard": TensorBoard, "trackio": Trackio}
"""Who can be told, by the name in `learn.log`, which is that of the extra as well."""


def imported(name: str) -> Any:  # noqa: ANN401 - a module that may not be installed
    """Return the library of a writer.

    Raises
    ------
    MissingExtra
        where it is not installed.
    """
    try:
        return importlib.import_module(WRITERS[name].library)
    except ImportError as error:
        raise MissingExtra(f"{name}, which --log names,", name) from error


def check_writers(names: Iterable[str]) -> None:
    """Raise `MissingExtra` for a library that is not installed: asked before training, not after."""
    for name in names:
        imported(name)


def log_of(folder: Path, settings: Settings) -> Log:
    """Return the log of a run, with the writers that its settings name; none of them has begun."""
    writers: list[Writer] = [WRITERS[name](folder, settings) for name in dict.fromkeys(settings.learn.log)]
    return Log(folder, writers)


def finite(entry: Entry) -> dict[str, float]:
    """Return the numbers of a line that are to be shown over its updates."""
    return {name: value for name, value in numbers(entry).items() if name != "update" and math.isfinite(value)}


def _quietly(close: Callable[[], object]) -> None:
    """Close what may be closed already: as a program ends, trackio may have done it first."""
    with contextlib.suppress(Exception), contextlib.redirect_stdout(sys.stderr):
        close()


@contextlib.contextmanager
def _refusal(what: str) -> Any:  # noqa: ANN401 - a context manager
    """Say what a library of somebody else's complains about as an `ElmanError`."""
    try:
        yield
    except ElmanError:
        raise
    except Exception as error:
        hint = "the same command goes on without it with --resume, and --set 'log=[]' in place of --log"
        raise ElmanError(f"{what}: {type(error).__name__}: {error}", hint=hint) from error
