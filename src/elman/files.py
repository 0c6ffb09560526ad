"""Files are written beside, synced and renamed: whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elman.errors import OutputError


def output_error(path: Path, error: OSError) -> OutputError:
    """Return the `OutputError` that says in words why `path` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(f"no space left to write {path}", hint="free some disk space, or choose another folder")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(f"{path} cannot be written: permission denied", hint="choose a folder that you may write to")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        hint = "choose another path"
        return OutputError(f"{path} cannot be written: a file stands where a folder is needed", hint=hint)
    return OutputError(f"{path} cannot be written: {error.strerror or error}")


def make_folder(path: Path) -> None:
    """Make the folder `path` and its parents, or raise `OutputError`."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success sync it and rename it to `path`, else remove it.

    Raises
    ------
    OutputError
        when the disk is full or the folder may not be written to.
    """
    make_folder(path.parent)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise output_error(path, error) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        _share(temporary)
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _share(path: Path) -> None:
    """Give a temporary file, made private, the permissions that the user's umask would have given it."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
