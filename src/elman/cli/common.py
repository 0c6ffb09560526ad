"""What the commands share: settings from flags, output on stdout, notes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.config import SECTIONS, Settings, build, full_key, parse_pairs, read_recipe, read_toml
from elman.settings import MOST_THREADS

if TYPE_CHECKING:
    from rich.console import Console

    from elman.network.folder import Model

ModelFolder = Annotated[str, typer.Argument(metavar="MODEL", help="the folder of a model")]
Text = Annotated[str, typer.Argument(metavar="TEXT", help="a text, plain or gzip; - is standard input")]
Json = Annotated[bool, typer.Option("--json", help="answer in JSON")]
Threads = Annotated[int | None, typer.Option(min=1, max=MOST_THREADS, help="processor threads; unset, all, up to 16")]
Device = Annotated[str, typer.Option(help="where the network computes: cpu or cuda")]
Oov = Annotated[str, typer.Option(metavar="skip|unk", help="leave unseen words out, or score them as <unk>")]
Regime = Annotated[
    str | None,
    typer.Option(metavar="running|sentences", help="carry the state across sentences, or start each afresh"),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="auto|fp32|bf16|int8",
        help="of the products with V: bf16 is faster, and auto takes it where it is; int8 is the fastest",
    ),
]
PRECISIONS = ("auto", "fp32", "bf16", "int8")


def setting(key: str, *flags: str, metavar: str | None = None) -> Any:  # noqa: ANN401 - typer's own type is private
    """Return the flag of a setting: unset by default, with the setting's own description as its help."""
    section, name = full_key(key).split(".")
    description = SECTIONS[section].model_fields[name].description
    return typer.Option(*flags, metavar=metavar, help=description, show_default=False)


def layered(
    recipe: str | None,
    config: str | None,
    pairs: list[str] | None,
    flags: Mapping[str, Any],
    *,
    more: Mapping[str, Any] | None = None,
) -> tuple[Settings, dict[str, Any]]:
    """Lay recipe, file, `--set` pairs and flags over the defaults; return all settings, and those that were given.

    A flag that is None was not given; `more` are settings by full keys, of which None is a value like any other.
    """
    given: dict[str, Any] = {}
    if recipe:
        given |= read_recipe(recipe)
    if config:
        given |= read_toml(Path(config))
    given |= parse_pairs(pairs or [])
    given |= {full_key(key): value for key, value in flags.items() if value is not None}
    given |= more or {}
    return build(given), given


def load(folder: str, device: str = "cpu", threads: int | None = None) -> Model:
    """Read a model folder and set the number of threads."""
    import torch

    from elman.network.devices import check_device, default_threads
    from elman.network.folder import load_model

    check_device(device)
    torch.set_num_threads(threads or default_threads())
    return load_model(folder, device=device)


def choose(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among the choices."""
    from elman.errors import UsageError, nearest

    if value is not None and value not in choices:
        close = nearest(value, choices)
        hint = f"did you mean {close}?" if close else f"choose {' or '.join(choices)}"
        raise UsageError(f"--{name} {value!r} cannot be", hint=hint)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a value as JSON on stdout; numbers that JSON does not know become null."""
    print(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a value as one line of JSON on stdout."""
    print(json.dumps(_finite(value), ensure_ascii=False))


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def note(message: str) -> None:
    """Print a remark on stderr."""
    print(message, file=sys.stderr)


def console() -> Console:
    """Return the console on stderr; rich itself honours NO_COLOR and what is no terminal."""
    from rich.console import Console

    return Console(stderr=True)


def number(value: Any, digits: int = 4) -> str:  # noqa: ANN401 - a card may hold anything
    """Format a number for people; what is none becomes a dash.

    >>> number(1234.5678), number(0.0001234), number(None)
    ('1235', '0.0001234', '-')
    """
    return f"{value:.{digits}g}" if isinstance(value, int | float) else "-"


def can_print(text: str) -> bool:
    """Return whether standard output can say these letters."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
