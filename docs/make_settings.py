"""Write docs/settings.md from the settings themselves: python docs/make_settings.py."""

from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from elman.config import OPTIMIZER_DEFAULTS, REGIME_DEFAULTS, SECTIONS
from elman.learn.optimizers import OPTIMIZERS
from elman.learn.schedules import SCHEDULES
from elman.network.activations import ACTIVATIONS
from elman.network.cells import CELLS
from elman.network.encoders import ENCODERS
from elman.network.outputs import OUTPUTS

PAGE = Path(__file__).with_name("settings.md")
TABLES = {
    "network.encoder": ENCODERS,
    "network.cell": CELLS,
    "network.output": OUTPUTS,
    "network.activation": ACTIVATIONS,
    "learn.optimizer": OPTIMIZERS,
    "learn.schedule": SCHEDULES,
}
HEAD = """\
<!-- made by docs/make_settings.py; do not edit -->

# Settings

Every setting has a section and a name: `learn.alpha`, `network.hidden`. As no two sections share a name, the name alone
does too. From the weakest to the strongest, a setting comes from the defaults below, a recipe (`--recipe`), a TOML file
(`--config FILE.toml`), pairs (`--set learn.alpha=0.5`), and flags (`--alpha 0.5`). An unknown key is refused, with
the nearest name that exists.

In a TOML file the sections are tables:

```toml
[network]
hidden = 400
activation = "tanh"

[learn]
optimizer = "adam"
alpha = 1e-3
```

What is left to choose automatically (alpha, threads, precision) is chosen when training begins, and stored with the
model and in every checkpoint. See also the [recipes](recipes.md).
"""


def choices(key: str, field: FieldInfo) -> str:
    """Return the values that a setting can have, where they can be listed."""
    if key in TABLES:
        return ", ".join(f"`{name}`" for name in TABLES[key])
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{name}`" for name in get_args(field.annotation))
    if get_origin(field.annotation) is list:
        return "list of whole numbers"
    kinds = get_args(field.annotation) or (field.annotation,)
    names = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}
    return next((names[kind] for kind in kinds if kind in names), "path")


def shown(value: object) -> str:
    """Return a value as TOML writes it; unset is said in words."""
    if value is None:
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def cell(text: str) -> str:
    """Return text for the cell of a Markdown table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def page() -> str:
    """Return the whole page."""
    lines = [HEAD]
    for section, model in SECTIONS.items():
        lines += [f"## [{section}]", "", (model.__doc__ or "").strip().splitlines()[0], ""]
        lines += ["| setting | values | default | |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            values, default = choices(f"{section}.{name}", field), shown(field.default)
            lines.append(f"| `{name}` | {values} | {default} | {cell(field.description or '')} |")
        lines.append("")
    lines += ["## What a regime or an optimiser changes in the defaults", ""]
    lines += ["Some bring defaults of their own; a recipe, a file or a flag still overrules them.", ""]
    for name, values in (REGIME_DEFAULTS | OPTIMIZER_DEFAULTS).items():
        lines += [f"`{name}`: " + ", ".join(f"`{key} = {value}`" for key, value in values.items()) + ".", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
