"""The pages say what is so."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from elman import config, errors

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.stem for path in DOCS.glob("make_*.py")))
def test_generated_page_is_up_to_date(name: str) -> None:
    maker = script(name)
    assert maker.PAGE.read_text("utf-8") == maker.page(), f"run: python docs/{name}.py"


def test_every_recipe_is_on_its_page() -> None:
    page = (DOCS / "recipes.md").read_text("utf-8")
    missing = [name for name in config.recipe_names() if f"recipes/{name}.toml" not in page]
    assert not missing, f"not in docs/recipes.md: {', '.join(missing)}"


def test_every_error_is_on_its_page_with_its_exit_code() -> None:
    page = (DOCS / "errors.md").read_text("utf-8")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ElmanError)]
    missing = [kind.__name__ for kind in kinds if f"| `{kind.__name__}` | {kind.exit_code} |" not in page]
    assert not missing, f"not in docs/errors.md: {', '.join(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing, f"{page.relative_to(ROOT)} points to {', '.join(missing)}"


@pytest.mark.slow
def test_docs_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the docs extra is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
