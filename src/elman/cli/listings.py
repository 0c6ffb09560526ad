"""The commands that list what there is: recipes and settings."""

from __future__ import annotations

from elman.cli.common import Json, print_json
from elman.config import SECTIONS, read_recipe, recipe_about, recipe_names


def recipes(as_json: Json = False) -> None:
    """List the recipes, and what each sets."""
    if as_json:
        print_json({name: {"about": recipe_about(name), "settings": read_recipe(name)} for name in recipe_names()})
        return
    for name in recipe_names():
        print(f"{name}: {recipe_about(name)}")
        print("  " + ", ".join(f"{key.split('.')[1]} = {value}" for key, value in read_recipe(name).items()))


def settings(as_json: Json = False) -> None:
    """List every setting with its default."""
    rows = [
        (f"{section}.{name}", field.default, field.description or "")
        for section, model in SECTIONS.items()
        for name, field in model.model_fields.items()
    ]
    if as_json:
        print_json({key: {"default": default, "description": text} for key, default, text in rows})
        return
    for key, default, text in rows:
        print(f"{key} = {default}\n    {text}")
