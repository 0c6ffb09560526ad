"""What stands on a whiteboard: sections of sentences, formulas and tables, set for a terminal or for a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape

from rich.cells import cell_len

from elman.draw.formulas import UNICODE, Formula, Signs, block, inline, mathml, plain, row
from elman.draw.page import table


@dataclass(frozen=True)
class Words:
    """A sentence or some; what stands between backticks is an expression, such as `e_o(2)`.

    `tone` is "plain", "faint", or "good" or "bad" for a judgement, which its words say too.
    """

    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Step:
    """A small heading within a section."""

    title: str


@dataclass(frozen=True)
class Equation:
    """A formula."""

    lines: Formula


@dataclass(frozen=True)
class Row:
    """Short formulas beside each other."""

    formulas: Sequence[Formula]


@dataclass(frozen=True)
class Grid:
    """A table of texts, its first column the heads of its rows."""

    caption: str
    head: list[str]
    rows: list[list[str]]


Part = Words | Step | Equation | Row | Grid


@dataclass(frozen=True)
class Section:
    """A heading, and what stands under it."""

    title: str
    parts: list[Part] = field(default_factory=list)


# ---- for a terminal

INDENT = "  "
CODES = {"title": "1", "step": "1", "faint": "2", "good": "32", "bad": "31"}


def terminal(
    title: str,
    sections: Sequence[Section],
    *,
    digits: int,
    width: int,
    signs: Signs = UNICODE,
    colour: bool = False,
) -> str:
    """Return a whiteboard as text, at most `width` wide as far as its matrices are."""
    board = _Board(digits, width, signs, colour)
    top = board.heading(title, "═" if signs is UNICODE else "=")
    return "\n".join([top, *(board.section(section) for section in sections)])


@dataclass(frozen=True)
class _Board:
    digits: int
    width: int
    signs: Signs
    colour: bool

    def tinted(self, text: str, tone: str) -> str:
        return f"\x1b[{CODES[tone]}m{text}\x1b[0m" if self.colour and tone in CODES else text

    def heading(self, title: str, rule: str) -> str:
        lines = textwrap.wrap(plain_words(title, self.signs), self.width)
        under = rule * max(map(len, lines))
        return "".join(f"{self.tinted(text, 'title')}\n" for text in [*lines, under])

    def section(self, section: Section) -> str:
        rule = "─" if self.signs is UNICODE else "-"
        parts = ("".join(f"{text}\n" for text in self.part(part)) for part in section.parts)
        return "\n".join([self.heading(section.title, rule), *parts])

    def part(self, part: Part) -> Iterator[str]:
        if isinstance(part, Words):
            for text in textwrap.wrap(plain_words(part.text, self.signs), self.width, break_on_hyphens=False):
                yield self.tinted(text, part.tone)
        elif isinstance(part, Step):
            for text in textwrap.wrap(plain_words(part.title, self.signs), self.width):
                yield self.tinted(text, "step")
        elif isinstance(part, Equation):
            room = self.width - len(INDENT)
            yield from ((INDENT + text).rstrip() for text in block(part.lines, self.digits, room, self.signs))
        elif isinstance(part, Row):
            room = self.width - len(INDENT)
            yield from ((INDENT + text).rstrip() for text in row(part.formulas, self.digits, room, self.signs))
        else:
            yield from (self.tinted(text, "faint") for text in textwrap.wrap(part.caption, self.width))
            yield from self.grid(part)

    def grid(self, grid: Grid) -> Iterator[str]:
        rows = [[plain_words(text, self.signs) for text in row] for row in [grid.head, *grid.rows]]
        widths = [max(cell_len(row[place]) for row in rows) for place in range(len(grid.head))]
        apart = "   " if len(INDENT) + sum(widths) + 3 * (len(widths) - 1) <= self.width else "  "
        for texts in rows:
            spaces = [" " * (width - cell_len(text)) for text, width in zip(texts, widths, strict=True)]
            others = (space + text for text, space in zip(texts[1:], spaces[1:], strict=True))
            yield (INDENT + apart.join([texts[0] + spaces[0], *others])).rstrip()


def plain_words(text: str, signs: Signs) -> str:
    """Return a sentence with its expressions as a terminal shows them."""
    parts = text.split("`")
    shown = (plain(part, signs) if place % 2 else part for place, part in enumerate(parts))
    return "".join(shown)


# ---- for a page

WIDE = 8
"""Columns of the matrices of a line that may be too wide for a window: a keyboard has to get there, to scroll."""

STYLE = """
math { font-size: 1.1rem; }
.formula { overflow-x: auto; margin: .5rem 0 1rem; padding: .4rem .75rem; border-left: 3px solid var(--line);
  display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; align-items: center; }
.formula math { width: max-content; margin: 0; text-align: left; }
mtable.lines > mtr > mtd { padding: .3rem .1rem; text-align: left; text-align: -webkit-left; }
mtable.lines > mtr > mtd.left { text-align: right; text-align: -webkit-right; }
mtable.numbers { margin: 0 .3em; padding: .1em .15em; --end: linear-gradient(currentColor, currentColor);
  border-left: 1.5px solid; border-right: 1.5px solid; background: var(--end) left top, var(--end) right top,
  var(--end) left bottom, var(--end) right bottom; background-size: .35em 1.5px;
  background-repeat: no-repeat; background-origin: border-box; }
mtable.numbers mtd { padding: .22em .4em; text-align: right; text-align: -webkit-right; }
h2 { border-bottom: 1px solid var(--line); padding-bottom: .2rem; } h3 { font-size: 1rem; margin: 1.75rem 0 .25rem; }
.good { color: var(--green); } .bad { color: var(--red); font-weight: bold; }
nav ol { columns: 16rem; }
@media (max-width: 32rem) { math { font-size: .95rem; } .formula { padding: .4rem .5rem; } }
"""


def html(sections: Sequence[Section], *, digits: int) -> str:
    """Return sections as HTML, with a list of them first."""
    names = [f"part-{place}" for place in range(1, len(sections) + 1)]
    links = "".join(
        f'<li><a href="#{name}">{escape(item.title)}</a></li>' for name, item in zip(names, sections, strict=True)
    )
    parts = [f'<nav aria-label="The sections of this page"><ol>{links}</ol></nav>\n']
    for name, item in zip(names, sections, strict=True):
        inside = "".join(html_part(part, digits) for part in item.parts)
        parts.append(
            f'<section aria-labelledby="{name}">\n<h2 id="{name}">{html_words(item.title)}</h2>\n{inside}</section>\n'
        )
    return "".join(parts)


def html_part(part: Part, digits: int) -> str:
    """Return one part of a section as HTML."""
    if isinstance(part, Words):
        kind = "" if part.tone == "plain" else f' class="{part.tone}"'
        return f"<p{kind}>{html_words(part.text)}</p>\n"
    if isinstance(part, Step):
        return f"<h3>{html_words(part.title)}</h3>\n"
    if isinstance(part, Equation):
        return html_formulas([part.lines], digits)
    if isinstance(part, Row):
        return html_formulas(part.formulas, digits)
    rows = [[plain_words(text, UNICODE) for text in row] for row in part.rows]
    head = [plain_words(text, UNICODE) for text in part.head]
    return table(head, rows, caption=part.caption)


def html_formulas(formulas: Sequence[Formula], digits: int) -> str:
    """Return formulas as HTML, beside each other where there is room."""
    inside = "\n".join(mathml(formula, digits) for formula in formulas)
    columns = (sum(matrix.shape[1] for matrix in item.matrices) for formula in formulas for item in formula)
    scrolls = max(columns) >= WIDE or len(formulas) > 1
    reached = ' tabindex="0" role="group" aria-label="a wide formula"' if scrolls else ""
    return f'<div class="formula"{reached}>{inside}</div>\n'


def html_words(text: str) -> str:
    """Return a sentence as HTML, its expressions as MathML."""
    parts = enumerate(text.split("`"))
    return "".join(inline(part) if place % 2 else escape(part, quote=False) for place, part in parts)


SHORT = 8
"""Letters of a word that fit into a table or a picture; wide ones count twice."""


def short(word: str, most: int = SHORT) -> str:
    """Return a word as `shown`, cut if it is long.

    >>> short("milk"), short("counterrevolution")
    ('milk', 'counter…')
    """
    word = shown(word)
    if cell_len(word) <= most:
        return word
    while cell_len(word) >= most:
        word = word[:-1]
    return word + "…"


def shown(word: str) -> str:
    r"""Return a word of a user's as it can stand in a sentence: printable, and without a backtick of its own.

    >>> shown("milk"), shown(chr(27))
    ('milk', "'\\x1b'")
    """
    return (word if word.isprintable() else repr(word)).replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")
