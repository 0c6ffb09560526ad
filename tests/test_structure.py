"""The house rules that a machine can check: who imports whom, who prints, how long a file is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from elman import config

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "elman"
LINES = 450

# A room may import from itself and from every room of a lower storey, never from one beside or above it.
STOREY = {
    "errors": 0,
    "files": 1,
    "config": 1,
    "settings": 0,
    "data": 1,
    "recipes": 1,
    "text": 2,
    "network": 3,
    "ngram": 3,
    "learn": 4,
    "apply": 5,
    "connect": 6,
    "draw": 6,
    "serve": 6,
    "cli": 7,
}
# Thin public names, and what `elman/__init__` hands on from a room.
SAME_ROOM = {"hf": "connect", "kenlm": "connect", "__main__": "cli"}
HANDED_ON = {"load": "apply", "train": "apply", "LanguageModel": "apply", "ElmanError": "errors"}
HANDED_ON |= {"Classifier": "apply", "load_classifier": "apply", "train_classifier": "apply"}
TORCHLESS = ("text", "config", "errors", "files", "draw")

MODULES = sorted(path for path in SRC.rglob("*.py") if path != SRC / "__init__.py")


def module_of(path: Path) -> str:
    """`elman.text.words` for `src/elman/text/words.py`, `elman.text` for its `__init__.py`."""
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, module: str, *, package: bool = False) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) of all that a module imports, also inside functions and relatively."""
    here = module.split(".") if package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            base = [*base, *(node.module or "").split(".")] if node.module else base
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def room_of(name: str) -> str | None:
    """The room of a full name; None for what is not of this package, and for `elman.__version__`."""
    parts = name.split(".")
    if parts[0] != "elman" or len(parts) < 2 or parts[1] == "__version__":
        return None
    return SAME_ROOM.get(parts[1]) or HANDED_ON.get(parts[1]) or parts[1]


def wrong_imports(source: str, module: str, *, package: bool = False) -> list[str]:
    """Say of each import that goes up or sideways where it stands and what it does."""
    here = room_of(module)
    assert here in STOREY, f"{module}: the room {here!r} has no storey in {Path(__file__).name}"
    wrong = []
    for line, name in imported(source, module, package=package):
        there = room_of(name)
        if there is not None and there != here and STOREY.get(there, 99) >= STOREY[here]:
            wrong.append(f"{module}, line {line}: {here}/ imports {name}, which is not below it")
    return wrong


def room_of_file(path: Path) -> str:
    return room_of(module_of(path)) or ""


def test_imports_go_one_way() -> None:
    wrong = [
        sentence
        for path in MODULES
        for sentence in wrong_imports(path.read_text("utf-8"), module_of(path), package=path.name == "__init__.py")
    ]
    assert not wrong, "\n".join(["imports that go back:", *wrong])


@pytest.mark.parametrize(
    "source",
    [
        "from elman.learn.trainer import Trainer",
        "import elman.cli.main",
        "def later():\n    from elman import learn",
        "from ..learn import trainer",
        "from .. import apply",
        "from elman import load",
        "from elman.ngram import arpa",
        "from elman.unheard_of import thing",
    ],
)
def test_an_import_that_goes_back_is_found(source: str) -> None:
    assert wrong_imports(source, "elman.network.model")


@pytest.mark.parametrize(
    "source",
    [
        "from elman.text.words import WordTokenizer",
        "from elman.network.cells import CELLS",
        "from . import cells",
        "from .cells import CELLS",
        "from ..errors import ElmanError",
        "from elman import __version__",
        "import numpy as np",
    ],
)
def test_an_import_that_goes_down_is_let_through(source: str) -> None:
    assert not wrong_imports(source, "elman.network.model")


def test_text_and_settings_name_no_torch() -> None:
    wrong = [
        f"{module_of(path)}, line {line}: imports {name}"
        for path in MODULES
        if room_of_file(path) in TORCHLESS
        for line, name in imported(path.read_text("utf-8"), module_of(path))
        if "torch" in name.split(".")
    ]
    assert not wrong, "\n".join(wrong)


def test_text_settings_and_command_line_start_without_torch() -> None:
    modules = [module_of(path) for path in MODULES if room_of_file(path) in TORCHLESS]
    modules += ["elman.cli.main"] if (SRC / "cli" / "main.py").exists() else []
    program = f"import sys, elman, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"one of {', '.join(modules)} imports torch\n{done.stderr}"


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{module_of(path)}, line {node.lineno}: print"
        for path in MODULES
        if room_of_file(path) != "cli"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_is_too_long() -> None:
    lengths = {module_of(path): len(path.read_text("utf-8").splitlines()) for path in MODULES}
    assert not {name: length for name, length in lengths.items() if length > LINES}, f"at most {LINES} lines a file"


def test_every_recipe_is_a_whole_set_of_settings() -> None:
    assert {"notes", "notes-full", "notes-best", "mikolov2010-online", "chars"} <= set(config.recipe_names())
    for name in config.recipe_names():
        config.build(config.read_recipe(name))


def pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_extras_dev_docs_and_all_exist() -> None:
    assert {"dev", "docs", "all"} <= set(pyproject()["optional-dependencies"])


def test_constraints_pin_every_direct_dependency() -> None:
    project = pyproject()
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(item for extra in extras for item in extra)]
    names = {re.split(r"[^A-Za-z0-9_.-]", item)[0].lower() for item in wanted} - {"elman"}
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if "==" in line}
    assert names <= pinned, f"not pinned in constraints.txt: {', '.join(sorted(names - pinned))}"
