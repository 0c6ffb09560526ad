"""How an explanation says its symbols and numbers, alike in a page, a figure and a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elman.apply.attributions import Errors, Why
    from elman.apply.explain import Explanation, StatePart, Step
    from elman.apply.summary import Summary, Weight

DECADES = 12
"""Powers of ten that a scale of norms holds at the most; what is smaller is drawn as nothing."""

TIMES, MINUS, PRIME, DASH = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{PRIME}", "\N{EN DASH}"
"""What people write, by name, since they look so much like x, -, ' and -."""

_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def visible(symbol: str) -> str:
    r"""Return a symbol so that a person sees it: a space or a line end in quotes.

    >>> visible("milk"), visible(" "), visible("\n")
    ('milk', "' '", "'\\n'")
    """
    return symbol if symbol.isprintable() and symbol and symbol == symbol.strip() else repr(symbol)


def short(symbol: str, most: int) -> str:
    """Return a symbol in at most so many characters.

    >>> short("antidisestablishmentarianism", 12)
    'antidisesta…'
    """
    text = visible(symbol)
    return text if len(text) <= most else text[: most - 1] + "…"


def plain(value: float) -> str:
    """Return a number in three digits."""
    return f"{value:.3g}"


def signed(value: float) -> str:
    """Return a number with its sign, which is to be read and not only seen as a colour."""
    return f"{value:+.2f}".replace("-", MINUS) if abs(value) >= 0.005 else "0"


def layered(name: str, layer: int, layers: int) -> str:
    """Return the name of a layer's part: s, or s₂ where there are several layers."""
    return name if layers == 1 else name + str(layer).translate(_LOW)


def carried(summary: Summary, layer: int) -> str:
    """Return what takes a layer's state to the next step: W, or what a cell has in its place."""
    if not summary.of("W"):
        return "x" if summary.cell == "feedforward" else "gate"
    return layered("W", layer, summary.layers)


def bits(step: Step) -> str:
    """Return the surprisal of what came next."""
    return "" if step.surprisal is None else f"{step.surprisal:.2f} bits"


def arrival(step: Step) -> str:
    """Say what came next, and how surprising that was."""
    if step.came is None:
        return "what comes next is not given"
    came = f"then came “{short(step.came, 24)}”"
    return f"{came}, a surprise of {bits(step)}" if step.surprisal is not None else f"{came}, not in the dictionary"


def aim(why: Why) -> str:
    """Say what the error of a step is measured on."""
    said = {"text": "which came next", "asked": "as asked for", "likeliest": "the likeliest, as none is known to come"}
    return f"“{visible(why.target)}”, {said[why.origin]}"


def training(summary: Summary) -> str:
    """Say how far back training sent errors."""
    if summary.regime == "sentences":
        return "trained on whole sentences"
    return "bptt not known" if summary.bptt is None else f"trained with bptt {summary.bptt}"


def equation(summary: Summary) -> str:
    """Return what a step computes, in letters."""
    if summary.cell == "elman":
        bias = " + b" if summary.bias else ""
        state = f"s(t) = f( w(t) U + s(t{MINUS}1) W{bias} ), f = {summary.activation}"
    else:
        state = f"s(t) from w(t) through U and s(t{MINUS}1), by the cell {summary.cell}"
        state += f", f = {summary.activation}" if summary.activation else ""
    output = "y(t) = softmax( s(t) V )" if not summary.bias else "y(t) = softmax( s(t) V + c )"
    return f"{state};  {output}"


def shape(weight: Weight) -> str:
    """Return a shape as people write it."""
    return f" {TIMES} ".join(f"{size:,}" for size in weight.shape)


def letters(summary: Summary) -> dict[str, str]:
    """Say of U, W and V which matrices they are, with shapes."""
    said = {}
    for letter, missing in (("U", "none"), ("W", _without(summary)), ("V", "none of its own: it is U transposed")):
        mine = summary.of(letter)
        if len(mine) == 1:
            said[letter] = shape(mine[0])
        else:
            said[letter] = ", ".join(f"{weight.name} {shape(weight)}" for weight in mine) or missing
    return said


def _without(summary: Summary) -> str:
    if summary.cell == "feedforward":
        return "none: the last vectors go on from step to step as they are"
    return "none: each unit goes on by a gate that the input opens"


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale of norms from 10^low to 10^high."""

    low: int
    high: int

    def share(self, norm: float) -> float:
        """Return where on the scale a norm is, 0 .. 1.

        >>> Scale(-4, 0).share(0.01), Scale(-4, 0).share(0.0)
        (0.5, 0.0)
        """
        if not 0.0 < norm < math.inf:
            return float(norm == math.inf)
        return min(1.0, max(0.0, (math.log10(norm) - self.low) / (self.high - self.low)))


def scale_of(norms: Iterable[float]) -> Scale:
    """Return the powers of ten that hold these norms, the largest ones where they are too many."""
    positive = [math.log10(norm) for norm in norms if 0.0 < norm < math.inf]
    if not positive:
        return Scale(-1, 0)
    high = math.ceil(max(positive))
    return Scale(max(min(math.floor(min(positive)), high - 1), high - DECADES), high)


def main_errors(why: Why, layers: int) -> Errors:
    """Return the errors of the uppermost layer's s, which the picture shows."""
    return next(errors for errors in why.errors if errors.layer == layers and errors.part == "s")


def peaks(found: Explanation) -> dict[tuple[int, str], float]:
    """Return the largest |value| of each part of a state over all steps, which is where its bars end."""
    largest: dict[tuple[int, str], float] = {}
    for step in found.steps:
        for part in step.state:
            here = max((abs(unit.value) for unit in part.units), default=0.0)
            largest[part.layer, part.name] = max(largest.get((part.layer, part.name), 0.0), here)
    return {key: value or 1.0 for key, value in largest.items()}


def others(part: StatePart) -> list[str]:
    """Say what the units that are not named do."""
    said = []
    if part.others_mean is not None:
        said.append(f"{part.others:,} more: mean |{part.name}| {plain(part.others_mean)}")
    if part.saturated is not None:
        said.append(f"{part.saturated:,} of {part.size:,} saturated")
    return said


def strongest(why: Why, most: int) -> list[tuple[str, float]]:
    """Return the words that did most to a prediction, by leaving each out; none where nothing else was read."""
    words = [(word.symbol, word.leave_one_out) for word in why.words if word.leave_one_out is not None]
    return sorted(words, key=lambda word: -abs(word[1]))[:most]


def rows_of(summary: Summary) -> Sequence[tuple[str, str]]:
    """Return what a model is, in pairs of a name and a value."""
    rows = [
        (
            "cell",
            f"{summary.cell}, {summary.layers} layer{'s' if summary.layers > 1 else ''} of {summary.hidden:,} units",
        ),
        ("activation f", summary.activation or "the cell's own"),
        ("unit", f"{summary.unit}, D = {summary.dictionary_size:,}"),
        ("input, output", f"{summary.encoder}, {summary.output}"),
        ("training", f"regime {summary.regime}, {training(summary)}"),
        ("parameters", f"{summary.parameters:,}"),
    ]
    more = {"tied U and V": summary.tied, "bias": summary.bias}
    more_numbers = {"direct": summary.direct, "zoneout": summary.zoneout, "first state": summary.first_state}
    rows += [(name, "yes") for name, there in more.items() if there]
    rows += [(name, plain(value)) for name, value in more_numbers.items() if value]
    return rows
