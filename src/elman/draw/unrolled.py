"""The page of `elman explain`: the net unrolled, the error sent back through time, and which word mattered."""

from __future__ import annotations

import json
import math
from html import escape
from typing import TYPE_CHECKING

from elman.draw.page import page
from elman.draw.unrolled_look import SCRIPT, STYLE
from elman.draw.unrolled_picture import COLUMN, GAP, LEFT, Picture, legend
from elman.draw.unrolled_tables import heat_map, model_table, step_section, steps_table
from elman.draw.unrolled_words import (
    TIMES,
    Scale,
    equation,
    letters,
    main_errors,
    plain,
    scale_of,
    short,
    signed,
    strongest,
    visible,
)

if TYPE_CHECKING:
    from elman.apply.explain import Explanation

LEFT_OUT = "Leave-one-out: the log-probability of the predicted word, less what it is without each word"
MULTIPLIED = f"Gradient {TIMES} input: the gradient of that log-probability by a word's vector, times the vector"


def unrolled_page(found: Explanation) -> str:
    """Return the page: it can be read without its script, which only shows one step's error at a time."""
    summary = found.summary
    scale = scale_of(norm for why in found.why for errors in why.errors for norm in errors.norms)
    contributions = [w.gradient_x_input for why in found.why for w in why.words]
    contributions += [w.leave_one_out for why in found.why for w in why.words if w.leave_one_out is not None]
    most = max(map(abs, contributions), default=0.0) or 1.0
    pairs = zip(found.steps, found.why, strict=True)
    sections = "".join(step_section(found, step, why, scale, most) for step, why in pairs)
    body = f"""{_head(found)}
<h2 id="net">The net, unrolled through time</h2>
<p>One column a step, from what is read at the bottom, w(t), over the state, s(t), to what is expected next, y(t). All
columns have the same matrices:</p>
<ul class="legend">{_legend(found)}</ul>
<p>The bottom row is the error of the step with the frame, E = log y(t)[target], on its way back through time. Bars are
on a logarithmic scale from 10<sup>{scale.low}</sup> to 10<sup>{scale.high}</sup>. Choose a step with a click, or with
the arrow keys once a column has the focus; its error follows under the picture.</p>
<div class="scroll picture" tabindex="0" role="region" aria-label="The unrolled net; scrolls sideways">
{Picture(found, scale).svg()}</div>
<h2 id="error">The error sent back through time, and what each word did</h2>
<p>k steps back, the error has gone through W k times. <b>&times; to the next</b> is what one step back does to its
norm: below 1 it vanishes, above 1 it explodes. <b>Gradient &times; input</b> and <b>leave-one-out</b> are in natural
logs, + for a word that made the prediction likelier.</p>
{sections}
<h2 id="words">Which word mattered</h2>
{heat_map(found, "leave_one_out", LEFT_OUT)}
{heat_map(found, "gradient_x_input", MULTIPLIED)}
<h2 id="steps">The same in numbers</h2>
{steps_table(found)}
<h2 id="model">The model</h2>
<p>{escape(equation(summary))}</p>
{model_table(found)}"""
    return page(f"What the net does with “{_title(found)}”", body, style=STYLE, script=_script(found, scale))


def _title(found: Explanation) -> str:
    return short(" ".join(found.text.split()), 80)


def _head(found: Explanation) -> str:
    """Say in a few lines what was found, and what has to be known about it."""
    why, at = found.why_at, found.steps[found.at - found.first]
    errors = main_errors(why, found.summary.layers)
    words = ", ".join(f"“{visible(word)}” ({signed(value)})" for word, value in strongest(why, 3))
    lines = [
        f"Step {at.t} reads “{visible(at.symbol)}” and gives “{visible(why.target)}” the probability "
        f"{plain(math.exp(why.log_prob))}."
    ]
    if words:
        lines.append(f"The words that did most to it, in natural logs: {words}.")
    if len(errors.norms) > 1 and errors.norms[0] > 0:
        share = errors.norms[-1] / errors.norms[0]
        lines.append(
            f"Of its error at step {at.t}, {share:.2g} of the norm arrives {len(errors.norms) - 1} steps earlier."
        )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    told = f'<ul class="faint">{notes}</ul>' if notes else ""
    return f'<p>{escape(" ".join(lines))}</p>\n<p class="faint">{escape(equation(found.summary))}</p>\n{told}'


def _legend(found: Explanation) -> str:
    """Say what the three arrows are; the heads that they point with are those of the picture."""
    said = {"U": "what a word becomes", "W": "what a state passes on", "V": "what a state expects"}
    shapes = letters(found.summary)
    return "".join(
        f"<li>{legend(letter)} <b>{letter}</b> ({escape(shapes[letter])}): {said[letter]}; shared by all steps</li>"
        for letter in "UWV"
    )


def _script(found: Explanation, scale: Scale) -> str:
    """Return the script, with the norms that the picture's bottom row shows."""
    layers = found.summary.layers
    norms = {why.t: [float(f"{norm:.6g}") for norm in main_errors(why, layers).norms] for why in found.why}
    numbers = {"NORMS": norms, "LOW": scale.low, "HIGH": scale.high, "LEFT": LEFT, "COLUMN": COLUMN}
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in numbers.items())
    return f"{constants}const STRIDE = {COLUMN + GAP};\n{SCRIPT}"
