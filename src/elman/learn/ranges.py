"""What a recipe lets `elman tune` choose: its table [tune], from which settings are drawn.

[tune]
alpha = { from = 0.001, to = 0.01, log = true }
dropout = { from = 0.1, to = 0.6 }
hidden = { among = [256, 512, 1024] }
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elman.config import build, first_problem, full_key
from elman.errors import UsageError


class Range(BaseModel):
    """What one setting may be: a number between two, drawn evenly (of its logarithm, with `log`), or one of a few.

    Whole numbers at both ends draw whole numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    low: int | float | None = Field(None, alias="from")
    high: int | float | None = Field(None, alias="to")
    log: bool = False
    among: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        if self.among is not None:
            if self.low is not None or self.high is not None or self.log or not self.among:
                raise ValueError("among needs at least one value, and knows no from, to or log")
        elif self.low is None or self.high is None or not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("it needs from < to, and from > 0 with log; or among = [ ... ]")
        return self

    def draw(self, generator: np.random.Generator) -> Any:  # noqa: ANN401 - a setting may be anything
        """Draw a value."""
        if self.among is not None:
            return self.among[int(generator.integers(len(self.among)))]
        assert self.low is not None and self.high is not None
        share = float(generator.random())
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        return round(value) if whole else float(f"{value:.4g}")

    def ends(self) -> list[Any]:
        """Return values to check the range by."""
        return list(self.among) if self.among is not None else [self.low, self.high]


def read_ranges(table: Mapping[str, Any], source: str, given: Mapping[str, Any]) -> dict[str, Range]:
    """Read a table [tune], flat or in sections; every end of a range has to be a value that the setting may have.

    Raises
    ------
    UsageError
        for a setting that there is not, a range that is none, or no range at all.
    """
    flat = {}
    for name, value in table.items():
        inner = isinstance(value, Mapping) and value and all(isinstance(part, Mapping) for part in value.values())
        flat.update({f"{name}.{key}": part for key, part in value.items()} if inner else {name: value})
    ranges = {}
    for name, value in flat.items():
        key = full_key(name)
        try:
            ranges[key] = Range.model_validate(value)
        except ValidationError as error:
            raise UsageError(f"{source}: the range of {name} cannot be: {first_problem(error)}") from error
        for end in ranges[key].ends():
            build(given, {key: end})
    if not ranges:
        raise UsageError(
            f"{source} says nothing that could be tuned",
            hint="give it a table: [tune], and below it alpha = { from = 0.001, to = 0.01, log = true }",
        )
    return ranges


def draw(ranges: Mapping[str, Range], generator: np.random.Generator) -> dict[str, Any]:
    """Draw a value for each setting, in the order of their names."""
    return {key: ranges[key].draw(generator) for key in sorted(ranges)}
