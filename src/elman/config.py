"""The one tree of settings, and its way to and from TOML, `key=value` pairs and plain dictionaries.

Settings are layered: the defaults below, then a recipe, then a `--config` file, then `--set` pairs and flags. A key is
written with its section (`learn.alpha`) or, as no two sections share a name, without it (`alpha`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from elman.errors import UsageError, nearest
from elman.settings import LearnSettings as LearnSettings
from elman.settings import NetworkSettings as NetworkSettings
from elman.settings import Section as Section
from elman.settings import Settings as Settings
from elman.settings import TextSettings as TextSettings

REGIME_DEFAULTS: dict[str, dict[str, Any]] = {
    # Mikolov's toolkit: first state all ones, weights the sum of three draws, errors cut off at 15.
    "online": {
        "network.first_state": 1.0,
        "network.init": "irwin-hall",
        "learn.alpha": 0.1,
        "learn.beta": 1e-7,
        "learn.clip": 15.0,
        "learn.bptt": 4,
    },
}
"""What a regime changes in the defaults; a recipe, a file or a flag still overrules it."""

OPTIMIZER_DEFAULTS: dict[str, dict[str, Any]] = {
    # Averaging begins where validation stops improving, which is where other schedules would stop.
    "nt-asgd": {"learn.schedule": "constant", "learn.patience": 10},
}
"""What an optimiser changes in the defaults; as above."""

SECTIONS: dict[str, type[Section]] = {"text": TextSettings, "network": NetworkSettings, "learn": LearnSettings}


def known_keys() -> list[str]:
    """Return every key, with its section: `text.unit`, `network.hidden`, `learn.alpha`, ..."""
    return [f"{section}.{name}" for section, model in SECTIONS.items() for name in model.model_fields]


def full_key(key: str) -> str:
    """Return `key` with its section, or raise `UsageError` with the nearest known name.

    >>> full_key("alpha")
    'learn.alpha'
    """
    normal = key.strip().replace("-", "_")
    keys = known_keys()
    if normal in keys:
        return normal
    short = {name.split(".", 1)[1]: name for name in keys}
    if normal in short:
        return short[normal]
    close = nearest(normal, keys) or short.get(nearest(normal, short) or "")
    raise UsageError(
        f"there is no setting {key!r}", hint=f"did you mean {close}?" if close else f"known: {', '.join(keys)}"
    )


def parse_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` pairs, the value as TOML or else as a plain string, into a flat dictionary of full keys.

    >>> parse_pairs(["alpha=0.5", "unit=char", "network.tied=true"])
    {'learn.alpha': 0.5, 'text.unit': 'char', 'network.tied': True}
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} is not of the form key=value", hint="for example --set learn.alpha=0.1")
        values[full_key(key)] = _toml_value(value.strip())
    return values


def _toml_value(value: str) -> Any:  # noqa: ANN401 - TOML decides
    if value.lower() in ("none", "null", ""):
        return None
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def flatten(tree: Mapping[str, Any], source: str = "settings") -> dict[str, Any]:
    """Turn sections of settings into a flat dictionary of full keys, refusing unknown ones."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            if name not in SECTIONS:
                close = nearest(name, SECTIONS)
                raise UsageError(
                    f"{source}: there is no section [{name}]",
                    hint=f"did you mean [{close}]?" if close else f"known: {', '.join(SECTIONS)}",
                )
            for key, inner in value.items():
                if key not in SECTIONS[name].model_fields:
                    close = nearest(key, SECTIONS[name].model_fields) or key
                    found = full_key(close) if close != key else full_key(f"{name}.{key}")
                    raise UsageError(f"{source}: there is no setting {name}.{key}", hint=f"did you mean {found}?")
                flat[f"{name}.{key}"] = inner
        else:
            flat[full_key(name)] = value
    return flat


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file of settings into a flat dictionary of full keys."""
    return parse_toml(_file_text(path), str(path))


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist", hint="give the path of a TOML file of settings") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from error


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Read TOML text into a flat dictionary of full keys; `source` names it in errors."""
    tree = _parse(text, source)
    for key in NO_SETTINGS:
        tree.pop(key, None)
    return flatten(tree, source)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{source} is not TOML: {error}") from error


NO_SETTINGS = ("about", "tune")
"""What a recipe holds besides settings: what it is, in words, and what `elman tune` may choose."""


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package."""
    names = (entry.name for entry in resources.files("elman.recipes").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_recipe(name: str) -> dict[str, Any]:
    """Read a packaged recipe by name, or a TOML file by path, into a flat dictionary of full keys."""
    return parse_toml(*_recipe_text(name))


def read_tuning(name: str) -> dict[str, Any]:
    """Read what a recipe lets `elman tune` choose: its table [tune] as it stands, empty if there is none."""
    table = _parse(*_recipe_text(name)).get("tune", {})
    if not isinstance(table, dict):
        raise UsageError(f"{name}: tune has to be a table", hint="[tune], and below it the ranges of settings")
    return table


def _recipe_text(name: str) -> tuple[str, str]:
    """Return the text of a recipe, and what errors call it."""
    names = recipe_names()
    if name in names:
        return resources.files("elman.recipes").joinpath(f"{name}.toml").read_text("utf-8"), f"recipe {name}"
    if name.endswith(".toml"):
        return _file_text(Path(name)), name
    close = nearest(name, names)
    raise UsageError(
        f"there is no recipe {name!r}",
        hint=f"did you mean {close}?" if close else f"known: {', '.join(names)}, or a FILE.toml",
    )


def recipe_about(name: str) -> str:
    """Return the sentence that says what a packaged recipe is."""
    text = resources.files("elman.recipes").joinpath(f"{name}.toml").read_text("utf-8")
    return str(tomllib.loads(text).get("about", ""))


def build(*layers: Mapping[str, Any]) -> Settings:
    """Lay flat dictionaries of full keys over the defaults, the last one strongest, and check every value.

    Raises
    ------
    UsageError
        for an unknown key, a value of the wrong type, or one out of range.
    """
    given = {full_key(key): value for layer in layers for key, value in layer.items()}
    given = REGIME_DEFAULTS.get(str(given.get("learn.regime")), {}) | given
    given = OPTIMIZER_DEFAULTS.get(str(given.get("learn.optimizer")), {}) | given
    tree: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key, value in given.items():
        section, name = key.split(".", 1)
        tree[section][name] = value
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise UsageError(first_problem(error)) from error


def first_problem(error: ValidationError) -> str:
    """Say in words what is wrong with the first of the values that were refused."""
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    what = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if problem["type"] == "value_error":
        return what
    if problem["type"] == "string_pattern_mismatch":
        what = "should be cpu, cuda or cuda:0"  # the one setting with a pattern is the device
    return f"{key} = {problem['input']!r} cannot be: it {what[0].lower()}{what[1:]}"


def to_flat(settings: Settings) -> dict[str, Any]:
    """Return settings as a flat dictionary of full keys."""
    return {f"{section}.{k}": v for section, values in settings.model_dump().items() for k, v in values.items()}
