"""The whiteboard of `apply.by_hand`, told: each equation of an update with its numbers, and a sentence beside it.

`sections` tells it once; `text` sets it for a terminal, `web_page` as a page with the network drawn on top.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from elman.draw.by_hand_picture import STYLE as PICTURE_STYLE
from elman.draw.by_hand_picture import pictures
from elman.draw.formulas import UNICODE, Array, Line, Signs, column, line, number
from elman.draw.page import page
from elman.draw.whiteboard import STYLE, Equation, Grid, Part, Row, Section, Step, Words, html, short, shown, terminal

if TYPE_CHECKING:
    from elman.apply.by_hand import ByHand, Matrices, Reading, Update
    from elman.apply.by_hand_check import Check
    from elman.apply.by_hand_task import Task

SHORT = 3
"""How many of the later updates are written out in short: the next ones, and always the last."""
ROWS = 12
"""How many updates a table shows at about the most."""
WIDE = 4
"""How many words a table has a column for each of."""

FUNCTIONS = {
    "sigmoid": ("f(a) = 1 / (1 + exp(-a))", "squashes each number to between 0 and 1"),
    "tanh": ("f(a) = tanh(a)", "squashes each number to between `-1` and 1"),
    "relu": ("f(a) = max(a,0)", "keeps the numbers over 0, and makes 0 of the others"),
}
SLOPES = {"sigmoid": "{s} (1 - {s})", "tanh": "(1 - {s} {s})", "relu": "[{s} > 0]"}
LIMITS = {"sigmoid": "at most a quarter", "tanh": "at most 1", "relu": "1 or 0"}


def text(
    found: ByHand, checks: Sequence[Check], *, digits: int, width: int, signs: Signs = UNICODE, colour: bool = False
) -> str:
    """Return the whiteboard as text for a terminal."""
    parts = sections(found, checks, digits=digits)
    return terminal(headline(found.task), parts, digits=digits, width=width, signs=signs, colour=colour)


def web_page(found: ByHand, checks: Sequence[Check], *, digits: int) -> str:
    """Return the whiteboard as a page of HTML: the network, drawn, and then what `text` says."""
    body = pictures(found, digits=digits) + html(sections(found, checks, digits=digits), digits=digits)
    return page(headline(found.task), body, style=STYLE + PICTURE_STYLE)


def headline(task: Task) -> str:
    """Return the title of the whiteboard."""
    return (
        f"A recurrent network of {len(task.dictionary)} words and {counted(task.hidden, 'hidden unit')} learns, by hand"
    )


def counted(count: int, what: str) -> str:
    """Return a number of things in words.

    >>> counted(1, "word"), counted(2, "word")
    ('1 word', '2 words')
    """
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def sections(found: ByHand, checks: Sequence[Check], *, digits: int) -> list[Section]:
    """Return all that stands on the whiteboard, section by section."""
    task, first = found.task, found.updates[0]
    told = [
        Section("What there is", list(_given(found, digits))),
        Section("Forward: the network reads and guesses", list(_forward(task, first, digits))),
        Section("The error at the output", list(_output_errors(first))),
        Section("The error goes back through time", list(_back(task, first))),
        Section("How far back, and why no further", list(_fading(task, first, digits))),
        Section("The update", list(_moves(task, first))),
    ]
    if len(found.updates) > 1:
        told.append(Section("The next updates, in short", list(_later(found))))
    told.append(Section("Before and after", list(_scores(found, digits))))
    if checks:
        told.append(Section("Checked against the engine", list(_checks(checks))))
    return told


def _given(found: ByHand, digits: int) -> Iterator[Part]:
    task, start = found.task, found.start
    words = ", ".join(f"{place} {shown(word)}" for place, word in enumerate(task.dictionary, start=1))
    yield Words(f"The dictionary, D = {len(task.dictionary)}: {words}.")
    yield Words(f"The sentence: {' '.join(shown(word) for word in task.sentence)}.")
    if task.learn == "last":
        what = f"the last word, {shown(task.sentence[-1])!r}, from those before it"
    else:
        what = f"each word from those before it, {counted(task.bptt, 'word')} an update at the most"
    yield Words(
        f"The network learns to say {what}. A word enters as w, a row of zeros with a 1 in its place; s, H = "
        f"{task.hidden}, is the state, all that it remembers. U has a row and V a column for each word; W leads "
        "from one state to the next. They start from random numbers:"
    )
    yield _weights(start)
    yield Words(
        f"`alpha` = {task.alpha:g} is the learning rate, `beta` = {task.beta:g} the L2 regularisation. Numbers are "
        f"rounded to {counted(digits, 'digit')} where they are shown, and nowhere else.",
        "faint",
    )


def _weights(weights: Matrices) -> Row:
    return Row([[line("U = {}", weights.U)], [line("W = {}", weights.W)], [line("V = {}", weights.V)]])


def _forward(task: Task, update: Update, digits: int) -> Iterator[Part]:
    formula, does = FUNCTIONS[task.activation]
    yield Words(
        f"With each word the state is made anew, from the word and from the state before. f {does}: `{formula}`. The "
        "guess at what comes next is made of the state alone."
    )
    for place, reading in enumerate(update.readings):
        yield Step(f"t = {reading.t}: it reads {shown(reading.word)!r}; what comes is {shown(reading.target)!r}")
        yield from _states(task, reading, update, whole=place == 0, digits=digits)
        yield from _guesses(task, reading, update, whole=place == 0, digits=digits)


def _states(task: Task, reading: Reading, update: Update, *, whole: bool, digits: int) -> Iterator[Part]:
    t, start = reading.t, update.before
    lines = [line(f"s({t}) = f( w({t}) U + s({t - 1}) W )")]
    if whole:
        lines.append(line("= f( {} {} + {} {} )", reading.w, start.U, reading.before, start.W))
    lines += [line("= f( {} + {} )", reading.from_word, reading.from_before), line("= f( {} )", reading.drive)]
    yield Equation([*lines, line("= {}", reading.s)])
    if whole:
        a, s = (number(float(values[0]), digits, "-") for values in (reading.drive, reading.s))
        yield Words(
            f"The 1 picks row {reading.word_id + 1} of U, that of {shown(reading.word)!r}. f takes each number by "
            f"itself: `f({a}) = {s}`."
        )


def _guesses(task: Task, reading: Reading, update: Update, *, whole: bool, digits: int) -> Iterator[Part]:
    t, total = reading.t, number(float(reading.powers.sum()), digits, "-")
    lines = [line(f"y({t}) = g( s({t}) V )")]
    if whole:
        lines.append(line("= g( {} {} )", reading.s, update.before.V))
    lines.append(line("= g( {} )", reading.logits))
    yield Equation([*lines, line(f"= {{}} / {total}", reading.powers), line("= {}", reading.y)])
    if whole:
        yield Words(
            f"g is the softmax: e to the power of each number, by the sum of these powers, {total}. What comes out is "
            "over 0 and adds up to 1."
        )
    pairs = zip(task.dictionary, reading.y, strict=True)
    said = ", ".join(f"{shown(word)} {number(float(y), digits)}" for word, y in pairs)
    yield Words(f"It expects: {said}.")


def _learnt(update: Update) -> list[Reading]:
    return [reading for reading in update.readings if reading.learnt]


def _output_errors(update: Update) -> Iterator[Part]:
    yield Words("What came less what was expected: over 0 for the word that came, under 0 for all others, 0 in all.")
    for reading in _learnt(update):
        lines = [line(f"e_o({reading.t}) = d({reading.t}) - y({reading.t})")]
        yield Equation([*lines, line("= {} - {}", reading.d, reading.y), line("= {}", reading.e_o)])
    if len(update.readings) > len(_learnt(update)):
        yield Words("The guesses before it were only read past: an update learns one word.", "faint")


def _back(task: Task, update: Update) -> Iterator[Part]:
    yield Words(
        "What each hidden unit had to do with it: the error at the output, through V backwards, times how steep f was "
        "there. (* is number by number.)"
    )
    start, slopes = update.before, {reading.t: reading for reading in update.readings}
    for place, error in enumerate(update.back):
        t, reading = error.t, slopes[error.t]
        steep = SLOPES[task.activation].format(s=f"s({t})")
        names, parts, arrays = [], [], []
        if error.from_output is not None:
            names.append(f"e_o({t}) V^T")
            parts.append("{} {}")
            arrays += [reading.e_o, start.V.T]
        if error.from_later is not None:
            names.append(f"e_h({t + 1}) W^T")
            parts.append("{} {}")
            arrays += [update.back[place - 1].e_h, start.W.T]
        yield Equation(
            [
                line(f"e_h({t}) = ( {' + '.join(names)} ) * {steep}"),
                line(f"= ( {' + '.join(parts)} ) * {{}}", *arrays, reading.slope),
                line("= {} * {}", error.arriving, reading.slope),
                line("= {}", error.e_h),
            ]
        )
        if place == 0 and len(update.back) > 1:
            yield Words("Its state was made of the state before it, so the error goes on, one step back in time:")


def _fading(task: Task, update: Update, digits: int) -> Iterator[Part]:
    fading = update.fading
    if len(fading) == 1:
        yield Words("There is nothing before it: the error of the first word has no past to go back to.")
        return
    yield Words(
        f"Each step back multiplies the error by `W^T` and by `f'`, which is {LIMITS[task.activation]}. How long the "
        "last word's error is, k steps back, and by what the step multiplied it:"
    )
    rows = [
        [
            str(faded.k),
            f"{faded.t} {short(faded.word)}",
            number(faded.norm, digits + 2),
            "" if faded.factor is None else number(faded.factor, digits),
            "yes" if faded.used else "cut off",
        ]
        for faded in fading
    ]
    yield Grid("The error of the last word, on its way back", ["k", "at t", "length", "times", "in the sums"], rows)
    yield Words(_outlook(update.mean_factor))
    if task.learn == "all":
        yield Words(f"Errors do not leave their window, of {counted(task.bptt, 'word')} at the most (bptt).")
        return
    if update.left_out is None or all(faded.used for faded in fading):
        yield Words(f"With bptt = {task.bptt} nothing of this sentence is cut off.")
        return
    missing = [f"{number(100 * share, 1)} % of the sum for {name}" for name, share in update.left_out.items()]
    yield Words(
        f"bptt = {task.bptt} keeps {counted(task.bptt, 'term')} of {len(fading)}. What is cut off would have been "
        f"{' and '.join(missing)}, and to keep it would cost a walk through the whole past for every word of a text."
    )


def _outlook(mean: float | None) -> str:
    """Say what would become of the error over ten steps like those seen."""
    if mean is None:
        return "Here the error dies out on the way: a unit that does not move passes nothing on."
    if mean < 1:
        return (
            f"On average a step leaves {mean:.3g} of it: after ten of them, {mean**10:.1e} would be left. It vanishes."
        )
    return f"On average a step makes it {mean:.3g} times as long: ten of them, {mean**10:.3g} times. It explodes."


def _moves(task: Task, update: Update) -> Iterator[Part]:
    start, gradient, after = update.before, update.gradient, update.after
    last, learnt, readings = update.readings[-1].t, _learnt(update), {reading.t: reading for reading in update.readings}
    said = "Each matrix moves by alpha times a product: of what came into it and of the error where it leads to, "
    if task.learn == "last":
        said += f"for U and W summed over the steps that the error went back, k = 0 to {len(update.back) - 1}. "
    else:
        said += "summed over the words of the window. "
    yield Words(said + ("Then beta takes its share." if task.beta else "beta is 0, and takes nothing."))
    single = len(learnt) == 1 and task.learn == "last"
    outer = f"s({last})^T e_o({last})" if single else "sum_t s(t)^T e_o(t)"
    pairs = [(reading.s, reading.e_o) for reading in learnt]
    yield Equation(_move("V", outer, pairs, (start.V, gradient.V, after.V), task))
    inside = f"{last}-k" if task.learn == "last" else "t"
    before = f"{last - 1}-k" if task.learn == "last" else "t-1"
    index = "k" if task.learn == "last" else "t"
    outer = f"sum_{index} w({inside})^T e_h({inside})"
    pairs = [(readings[error.t].w, error.e_h) for error in update.back]
    yield Equation(_move("U", outer, pairs, (start.U, gradient.U, after.U), task))
    outer = f"sum_{index} s({before})^T e_h({inside})"
    pairs = [(readings[error.t].before, error.e_h) for error in update.back]
    yield Equation(_move("W", outer, pairs, (start.W, gradient.W, after.W), task))
    if update.back[-1].t == 1:
        yield Words("s(0) is zeros, so that W learns nothing where t = 1.", "faint")


def _move(
    name: str, outer: str, pairs: Sequence[tuple[Array, Array]], matrices: tuple[Array, Array, Array], task: Task
) -> list[Line]:
    """Return X <- X + alpha (a sum of outer products) - beta X, with its numbers."""
    X, total, after = matrices
    alpha, shrink, less = f"{task.alpha:g}", f" - {task.beta:g} {{}}" if task.beta else "", [X] if task.beta else []
    terms = " + ".join("{} {}" for _ in pairs)
    terms = f"( {terms} )" if len(pairs) > 1 else terms
    factors = [array for left, right in pairs for array in (column(left), right)]
    return [
        line(f"{name} <- {name} + alpha {outer}" + (f" - beta {name}" if task.beta else "")),
        line(f"= {{}} + {alpha} {terms}{shrink}", X, *factors, *less),
        line(f"= {{}} + {alpha} {{}}{shrink}", X, total, *less),
        line("= {}", after),
    ]


def _later(found: ByHand) -> Iterator[Part]:
    later = found.updates[1:]
    again = "The sentence is read again from s(0) = 0 with the weights as they are now, and the same lines follow."
    if found.task.learn == "all" and found.task.bptt < len(found.task.sentence) - 1:
        again = (
            "The same lines for the next window, from the last state on; after the last one the sentence begins anew."
        )
    yield Words(again)
    chosen = later if len(later) <= SHORT + 1 else [*later[:SHORT], later[-1]]
    for update in chosen:
        if update is chosen[-1] and len(later) > len(chosen):
            yield Words(
                f"({counted(len(later) - len(chosen), 'update')} between are left out here; --json has all.)", "faint"
            )
        yield Step(f"Update {update.number}")
        lines = [line(f"y({r.t}) = {{}}", r.y) for r in _learnt(update)]
        lines += [line(f"e_o({r.t}) = {{}}", r.e_o) for r in _learnt(update)]
        lines += [line(f"e_h({error.t}) = {{}}", error.e_h) for error in update.back]
        yield Equation(lines)
        yield _weights(update.after)


def _scores(found: ByHand, digits: int) -> Iterator[Part]:
    task = found.task
    yield Words(
        "Perplexity is one over the probability of what came (their geometric mean, where there are several): among "
        "how many equally likely words the network seems to choose. One that knows nothing has "
        f"{len(task.dictionary)}, one that is always right 1."
    )
    wide = len(task.sentence) - 1 <= WIDE
    words = [f"{place} {short(word, 6)}" for place, word in enumerate(task.sentence[1:], start=1)] if wide else []
    named = f"perplexity of {shown(task.sentence[-1])!r}" if task.learn == "last" else "perplexity"
    head = ["updates", *words, "perplexity", *(["all words"] if task.learn == "last" else [])]
    rows = [["none", *_row(found, task, wide, digits)]]
    rows += [[str(update.number), *_row(update, task, wide, digits)] for update in _some(found.updates)]
    said = [*(["the probability of each word that came"] if wide else []), f"the {named}"]
    said += ["and that of all words"] if task.learn == "last" else []
    yield Grid(f"After so many updates: {', '.join(said)}", head, rows)
    last = found.updates[-1]
    end = "after the update" if last.number == 1 else f"after {last.number} updates"
    yield Words(
        f"The {named} was {number(found.perplexity, digits)} before and is {number(last.perplexity, digits)} {end}."
    )
    if task.learn == "last" and len(task.sentence) > 2:
        yield Words("Only the last word was learnt; what the others gained or lost came with it.", "faint")


def _some(updates: Sequence[Update]) -> list[Update]:
    """Return all updates, or every so manieth of many, and the last."""
    every = -(-len(updates) // ROWS)
    return [update for update in updates if update.number % every == 0 or update is updates[-1]]


def _row(scored: ByHand | Update, task: Task, wide: bool, digits: int) -> list[str]:
    probabilities = [number(math.exp(value), digits) for value in scored.log_probabilities] if wide else []
    sentence = [number(scored.sentence_perplexity, digits)] if task.learn == "last" else []
    return [*probabilities, number(scored.perplexity, digits), *sentence]


def _checks(checks: Sequence[Check]) -> Iterator[Part]:
    yield Words(
        "The fast engine, which elman train runs, was given the same weights before each update, and made it too. How "
        "far its numbers are from those above, at the most:"
    )
    rows = []
    for kind in dict.fromkeys(check.type for check in checks):
        of_kind = [check for check in checks if check.type == kind]
        far = [max(getattr(check, name) for check in of_kind) for name in ("U", "W", "V", "loss")]
        rows.append([kind, *(f"{value:.1g}" for value in far), f"{min(check.tolerance for check in of_kind):.0g}"])
    yield Grid("Largest differences over all updates", ["computed in", "U", "W", "V", "loss", "allowed"], rows)
    wrong = next((check for check in checks if not check.agrees), None)
    if wrong is None:
        yield Words("They agree: what is left is rounding. It is the whiteboard, computed.", "good")
        return
    yield Words(disagreement(wrong), "bad")


def disagreement(check: Check) -> str:
    """Say where the engine and the whiteboard do not agree."""
    what, far = check.worst
    return (
        f"in {check.type} the engine's {what} after update {check.number} differs by {far:.1g}, "
        f"and {check.tolerance:.0g} is allowed"
    )
