"""The tables under the unrolled net: the error sent back from each step, and which word mattered."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from elman.draw.page import table
from elman.draw.unrolled_words import (
    DASH,
    MINUS,
    TIMES,
    Scale,
    aim,
    arrival,
    bits,
    layered,
    plain,
    rows_of,
    shape,
    short,
    signed,
    visible,
)

if TYPE_CHECKING:
    from elman.apply.attributions import Contribution, Why
    from elman.apply.explain import Explanation, Step

SHADES = 5
"""Steps of colour in the table of which word mattered; the number in each cell says the rest."""


def step_section(found: Explanation, step: Step, why: Why, scale: Scale, most: float) -> str:
    """Return what there is to say of the error of one step: a table with a row for each step back."""
    head = f"Step {step.t}: after “{escape(visible(step.symbol))}”"
    arrived = arrival(step)
    said = f"{arrived[0].upper()}{arrived[1:]}. The error sent back is measured on {aim(why)}: "
    said += f"E = log y({step.t})[{visible(why.target)}] = {signed(why.log_prob)}."
    titles = ["k", "step", "word"]
    for errors in why.errors:
        name = "e_h" if errors.hidden_norms is not None else f"dE/d{errors.part}"
        where = f", layer {errors.layer}" if found.summary.layers > 1 else ""
        titles += [f"‖{name}(t{MINUS}k)‖{where}", f"{TIMES} to the next"]
    titles += [f"gradient {TIMES} input", "leave-one-out"]
    top = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    rows = "".join(_row(found, why, k, scale, most) for k in range(len(why.words)))
    label = f"The error of step {step.t} sent back through time, and what each word did to “{visible(why.target)}”"
    return (
        f'<section class="step" id="step-{step.t}" aria-labelledby="head-{step.t}">\n'
        f'<h3 id="head-{step.t}" tabindex="-1">{head}</h3>\n<p>{escape(said)}</p>\n{_most_of_factor(why)}'
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table class="back">'
        f"<thead><tr>{top}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n</section>\n"
    )


def _most_of_factor(why: Why) -> str:
    """Say how large a factor can be, where that is known."""
    bounds = [errors.bound for errors in why.errors if errors.bound is not None]
    if not bounds:
        return ""
    said = "the error can only shrink" if bounds[-1] < 1 else "it may shrink or grow"
    most = f"max f&prime; · ‖W‖₂ = {plain(bounds[-1])}"
    return f'<p class="faint">A step back multiplies the norm by at most {most}: {said}.</p>\n'


def _row(found: Explanation, why: Why, k: int, scale: Scale, most: float) -> str:
    word = why.words[len(why.words) - 1 - k]
    cells = [f'<th scope="row">{k}</th><td>{word.t}</td><td class="word">{escape(short(word.symbol, 24))}</td>']
    for errors in why.errors:
        width = 100 * scale.share(errors.norms[k])
        cells.append(f'<td class="norm">{plain(errors.norms[k])}<i style="--w:{width:.0f}%"></i></td>')
        factor = errors.factors[k] if k < len(errors.factors) else None
        cells.append(f"<td>{'' if factor is None else TIMES + plain(factor)}</td>")
    cells += [_both_ways(word.gradient_x_input, most), _both_ways(word.leave_one_out, most)]
    return f"<tr>{''.join(cells)}</tr>\n"


def _both_ways(value: float | None, most: float) -> str:
    """Return a cell with a bar to the right for what made a prediction likelier, to the left for what did not."""
    if value is None:
        return f"<td>{DASH}</td>"
    width = 50 * min(1.0, abs(value) / most)
    return f'<td class="{"up" if value >= 0 else "down"}">{signed(value)}<i style="--w:{width:.0f}%"></i></td>'


def heat_map(found: Explanation, kind: str, caption: str) -> str:
    """Return the triangle of which word mattered to which prediction; `kind` names a field of a contribution."""
    values = [_value(word, kind) for why in found.why for word in why.words]
    most = max((abs(value) for value in values if value is not None), default=0.0) or 1.0
    top = "".join(f'<th scope="col">{escape(short(step.symbol, 12))}<br>w({step.t})</th>' for step in found.steps)
    lines = []
    for why in found.why:
        head = f'<th scope="row">y({why.t}): {escape(short(why.target, 14))}{_origin(why)}</th>'
        blank = "<td></td>" * (why.words[0].t - found.first)
        cells = "".join(_shaded(_value(word, kind), most) for word in why.words)
        lines.append(f"<tr>{head}{blank}{cells}{'<td></td>' * (found.last - why.t)}</tr>\n")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">\n<table class="heat">\n'
        f'<caption>{escape(caption)}</caption>\n<thead><tr><th scope="col">predicted</th>{top}</tr></thead>\n'
        f"<tbody>\n{''.join(lines)}</tbody>\n</table>\n</div>\n"
    )


def _origin(why: Why) -> str:
    return {"text": "", "likeliest": " (likeliest)", "asked": " (asked)"}[why.origin]


def _value(word: Contribution, kind: str) -> float | None:
    return word.leave_one_out if kind == "leave_one_out" else word.gradient_x_input


def _shaded(value: float | None, most: float) -> str:
    if value is None:
        return f"<td>{DASH}</td>"
    shade = round(SHADES * abs(value) / most)
    return (
        f'<td class="{"p" if value >= 0 else "n"}{shade}">{signed(value)}</td>'
        if shade
        else f"<td>{signed(value)}</td>"
    )


def steps_table(found: Explanation) -> str:
    """Return the picture's numbers as a table."""
    rows = []
    for step in found.steps:
        units = [
            f"{layered(part.name, part.layer, found.summary.layers)}: "
            + ", ".join(f"#{unit.index} {unit.value:.3f}" for unit in part.units[:3])
            for part in step.state
        ]
        likeliest = ", ".join(f"{visible(token)} {probability:.4f}" for token, probability in step.next)
        came = "" if step.came is None else visible(step.came)
        probability = "" if step.probability is None else plain(step.probability)
        read = visible(step.symbol) + (f" ({visible(step.written)})" if step.unknown else "")
        rows.append([str(step.t), read, came, probability, bits(step), likeliest, "; ".join(units)])
    head = ["t", "w(t)", "came next", "probability", "surprisal", "likeliest next, y(t)", "most active units, s(t)"]
    caption = "Every step: what was read, what came next, what the model expected"
    return f'<div class="steps">{table(head, rows, caption=caption)}</div>\n'


def model_table(found: Explanation) -> str:
    """Return what the model is, and every weight with the letter that it belongs to."""
    weights = [[weight.name, weight.letter, shape(weight)] for weight in found.summary.weights]
    facts = table(["", ""], [list(row) for row in rows_of(found.summary)], caption="The model")
    return f'<div class="facts">{facts}</div>\n' + table(
        ["weight", "letter", "shape"], weights, caption="Its weights; all steps share them"
    )
