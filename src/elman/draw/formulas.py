r"""Equations with numbers in them, written once and set three ways: for a terminal, as MathML, and in words.

A line is written as the design writes equations, with `{}` where a matrix stands:

    line("s(1) = f( w(1) U + {} )", numbers)

`s(1)` is a name with its argument, so no space comes before that parenthesis; `e_o` has an index, `f'` a prime, `U^T`
is transposed, `<-` is "becomes", and `sum_k` a sum over k. Nothing is computed here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
GREEK = {"alpha": "\N{GREEK SMALL LETTER ALPHA}", "beta": "β"}
MINUS, PRIME = "\N{MINUS SIGN}", "\N{PRIME}"
RELATIONS = ("=", "<-")
BREAKS = (*RELATIONS, "+", "-", "*")
TOKEN = re.compile(
    r"(?P<matrix>\{\})"
    r"|(?P<sum>sum_[a-z])"
    r"|(?P<name>[A-Za-z]+(?:_[a-z])?'?)(?:\((?P<at>[^()\s]+)\))?(?P<T>\^T)?"
    r"|(?P<number>\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
    r"|(?P<mark><-|[-+=*(),/|>\[\]])"
    r"|(?P<space>\s+)"
)


@dataclass(frozen=True)
class Line:
    """One line of a formula: its text, and the matrices (vectors are rows) that stand where it says {}."""

    text: str
    matrices: tuple[Array, ...] = ()


Formula = Sequence[Line]


def line(text: str, *matrices: Array) -> Line:
    """Return a line; a vector becomes a matrix of one row."""
    assert text.count("{}") == len(matrices), text
    return Line(text, tuple(np.atleast_2d(matrix) for matrix in matrices))


def column(vector: Array) -> Array:
    """Return a vector as a matrix of one column."""
    return vector[:, np.newaxis]


class Signs(NamedTuple):
    """What a terminal can show: brackets (of one line; top, middle and bottom of more), and signs for the rest."""

    one: tuple[str, str]
    top: tuple[str, str]
    middle: tuple[str, str]
    bottom: tuple[str, str]
    replaced: dict[str, str]


UNICODE = Signs(
    ("[", "]"),
    ("⎡", "⎤"),
    ("⎢", "⎥"),
    ("⎣", "⎦"),
    {**GREEK, "^T": "ᵀ", "<-": "←", "sum_": "Σ_", "-": MINUS, "'": PRIME},
)
ASCII = Signs(*(("[", "]"),) * 4, {})


class Token(NamedTuple):
    """A piece of a line: its kind (a group of TOKEN), its text, and the argument and ^T of a name."""

    kind: str
    text: str
    at: str = ""
    transposed: bool = False


def tokens(text: str) -> list[Token]:
    """Cut a line into its pieces.

    >>> [token.text for token in tokens("e_o(2) = d(2) - {}") if token.kind != "space"]
    ['e_o', '=', 'd', '-', '{}']
    """
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        assert match is not None, f"{text!r} at {place}"
        kind = next(name for name in ("matrix", "sum", "name", "number", "mark", "space") if match[name] is not None)
        found.append(Token(kind, match[kind], match["at"] or "", match["T"] is not None))
        place = match.end()
    return found


def number(value: float, digits: int, minus: str = MINUS) -> str:
    """Return a number rounded to so many digits after the point; very large ones as powers of ten.

    >>> number(-0.25, 1, "-"), number(-0.00001, 3), number(1234567.0, 2)
    ('-0.2', '0.000', '1.23e+06')
    """
    text = f"{value:.{digits}f}" if abs(value) < 1e5 else f"{value:.{digits}e}"
    if text.startswith("-") and not text.strip("-0."):
        text = text[1:]
    return text.replace("-", minus, 1) if text.startswith("-") else text


def cells(matrix: Array, digits: int, minus: str = MINUS) -> list[list[str]]:
    """Return the entries of a matrix as texts; an exact 0 is "0", and so are ones among nothing but zeros."""
    whole = bool(np.isin(matrix, (0.0, 1.0)).all())
    return [[f"{x:.0f}" if whole or x == 0 else number(float(x), digits, minus) for x in row] for row in matrix]


def plain(text: str, signs: Signs = UNICODE) -> str:
    """Return an expression without matrices as one line of text.

    >>> plain("W^T <- sum_k s(3)")
    'Wᵀ ← Σ_k s(3)'
    """
    for sign, shown in signs.replaced.items():
        text = text.replace(sign, shown)
    return text


def spoken(formula: Formula, digits: int) -> str:
    """Return a formula as one line of text, matrices as rows between brackets: for who cannot see it."""
    lines = []
    for item in formula:
        texts = iter(["; ".join(", ".join(row) for row in cells(matrix, digits)) for matrix in item.matrices])
        lines.append(
            "".join(f"[{next(texts)}]" if t.kind == "matrix" else plain(_written(t)) for t in tokens(item.text))
        )
    return " ".join(lines)


def _written(token: Token) -> str:
    return token.text + (f"({token.at})" if token.at else "") + ("^T" if token.transposed else "")


# ---- for a terminal: blocks of text, as tall as the tallest matrix of a row


class Block(NamedTuple):
    """Lines of text of one width, and the place of the one that stands level with the text beside it."""

    lines: list[str]
    level: int = 0

    @property
    def width(self) -> int:
        """The width without spaces at the end."""
        return max(len(text.rstrip()) for text in self.lines)


def _matrix_block(matrix: Array, digits: int, signs: Signs) -> Block:
    rows = cells(matrix, digits, signs.replaced.get("-", "-"))
    width = max(len(text) for row in rows for text in row)
    last = len(rows) - 1
    lines = []
    for place, row in enumerate(rows):
        left, right = signs.one if not last else signs.top if not place else signs.middle
        if last and place == last:
            left, right = signs.bottom
        lines.append(f"{left} {'  '.join(text.rjust(width) for text in row)} {right}")
    return Block(lines, last // 2)


def _beside(blocks: Sequence[Block]) -> Block:
    """Put blocks beside each other, with their levels in one line."""
    above = max(block.level for block in blocks)
    below = max(len(block.lines) - block.level for block in blocks)
    padded = []
    for lines, level in blocks:
        empty = " " * len(lines[0])
        padded.append([empty] * (above - level) + lines + [empty] * (below - len(lines) + level))
    return Block(["".join(parts) for parts in zip(*padded, strict=True)], above)


def _chunks(item: Line, digits: int, signs: Signs) -> list[list[Block]]:
    """Return what a line may be broken between: each begins with a sign such as =, and is blocks, one a matrix at most.

    Only where a line cannot be broken otherwise is it broken between the blocks.
    """
    matrices = iter(item.matrices)
    chunks: list[list[list[Block]]] = [[[Block([""])]]]
    full = False
    for token in tokens(item.text):
        if token.kind == "mark" and token.text in BREAKS:
            chunks.append([[]])
            full = False
        if token.kind == "matrix":
            if full:
                chunks[-1].append([])
            chunks[-1][-1].append(_matrix_block(next(matrices), digits, signs))
            full = True
        else:
            chunks[-1][-1].append(Block([" " if token.kind == "space" else plain(_written(token), signs)]))
    return [[_beside(part) for part in chunk] for chunk in chunks]


def _rows(item: Line, margin: int, digits: int, width: int, signs: Signs) -> list[Block]:
    """Return one line of a formula, broken where it would be too wide."""
    (left,), *rest = _chunks(item, digits, signs)
    rows = [[Block([left.lines[0].ljust(margin)])]]
    for chunk in rest:
        whole = _beside(chunk)
        for part in [whole] if margin + 2 + whole.width <= width else chunk:
            if len(rows[-1]) > 1 and sum(len(one.lines[0]) for one in rows[-1]) + part.width > width:
                rows.append([Block([" " * (margin + 2)])])
            rows[-1].append(part)
    return [_beside(blocks) for blocks in rows]


def block(formula: Formula, digits: int, width: int, signs: Signs = UNICODE) -> list[str]:
    """Return a formula as lines of text, at most `width` wide as far as its matrices are; relations are in line."""
    margin = max(len(_chunks(item, digits, signs)[0][0].lines[0]) for item in formula)
    text: list[str] = []
    tall = False
    for item in formula:
        rows = _rows(item, margin, digits, width, signs)
        if tall and len(rows[0].lines) > 1:
            text.append("")
        tall = len(rows[-1].lines) > 1
        for row in rows:
            text += [one.rstrip() for one in row.lines]
    return text


def row(formulas: Sequence[Formula], digits: int, width: int, signs: Signs = UNICODE) -> list[str]:
    """Return short formulas beside each other, as many as there is room for, then the next ones below."""
    blocks = []
    for formula in formulas:
        lines = block(formula, digits, width, signs)
        wide = max(map(len, lines))
        blocks.append(Block([text.ljust(wide + 3) for text in lines], (len(lines) - 1) // 2))
    rows: list[list[Block]] = [[]]
    for one in blocks:
        if rows[-1] and sum(len(part.lines[0]) for part in rows[-1]) + one.width > width:
            rows.append([])
        rows[-1].append(one)
    joined = [[text.rstrip() for text in _beside(blocks).lines] for blocks in rows]
    return [text for place, lines in enumerate(joined) for text in ([""] if place else []) + lines]


# ---- for a page: MathML


def _mi(name: str) -> str:
    base, _, index = name.rstrip("'").partition("_")
    shown = GREEK.get(base, base)
    upright = ' mathvariant="normal"' if len(shown) == 1 and base in GREEK else ""
    found = f"<mi{upright}>{shown}</mi>"
    if index:
        found = f"<msub>{found}<mi>{index}</mi></msub>"
    return f"<msup>{found}<mo>{PRIME}</mo></msup>" if name.endswith("'") else found


def _argument(text: str) -> str:
    parts = re.findall(r"[a-z]+|\d+(?:\.\d+)?|[-+,]", text)
    return "".join(
        f"<mi>{part}</mi>" if part.isalpha() else f"<mn>{part}</mn>" if part[0].isdigit() else f"<mo>{plain(part)}</mo>"
        for part in parts
    )


def _name(token: Token) -> str:
    found = _mi(token.text)
    if token.at:
        closed = '<mo stretchy="false">(</mo>', '<mo stretchy="false">)</mo>'
        found = f"<mrow>{found}{closed[0]}<mrow>{_argument(token.at)}</mrow>{closed[1]}</mrow>"
    return f'<msup>{found}<mi mathvariant="normal">T</mi></msup>' if token.transposed else found


def _matrix(matrix: Array, digits: int) -> str:
    rows = "".join(
        f"<mtr>{''.join(f'<mtd><mn>{text}</mn></mtd>' for text in row)}</mtr>" for row in cells(matrix, digits)
    )
    return f'<mtable class="numbers">{rows}</mtable>'  # its brackets are drawn: not every machine has a font for them


MARKS = {"<-": "←", "-": MINUS, "*": "\N{ASTERISK OPERATOR}", ">": "&gt;"}


def _mathml(parts: Sequence[Token], matrices: Sequence[Array], digits: int) -> str:
    left = iter(matrices)
    found = []
    for token in parts:
        if token.kind == "matrix":
            found.append(_matrix(next(left), digits))
        elif token.kind == "name":
            found.append(_name(token))
        elif token.kind == "number":
            found.append(f"<mn>{token.text}</mn>")
        elif token.kind == "sum":
            found.append(f"<munder><mo>∑</mo><mi>{token.text[-1]}</mi></munder>")
        elif token.kind == "mark":
            fence = ' stretchy="true" fence="true"' if token.text in "()[]" else ""
            found.append(f"<mo{fence}>{MARKS.get(token.text, token.text)}</mo>")
    return "".join(found)


def inline(text: str) -> str:
    """Return a short expression without matrices as MathML for the middle of a sentence."""
    return f'<math alttext="{escape(plain(text))}"><mrow>{_mathml(tokens(text), (), 0)}</mrow></math>'


def mathml(formula: Formula, digits: int) -> str:
    """Return a formula as MathML, relations under each other, with the same in one line of text beside it."""
    rows = []
    for item in formula:
        parts = tokens(item.text)
        at = next((n for n, token in enumerate(parts) if token.text in RELATIONS), 0)
        before = sum(token.kind == "matrix" for token in parts[:at])
        left = _mathml(parts[:at], item.matrices[:before], digits)
        right = _mathml(parts[at:], item.matrices[before:], digits)
        rows.append(
            f'<mtr><mtd class="left"><mrow>{left}</mrow></mtd><mtd class="right"><mrow>{right}</mrow></mtd></mtr>'
        )
    text = escape(spoken(formula, digits))
    table = f'<mtable displaystyle="true" class="lines">{"".join(rows)}</mtable>'
    return f'<math display="block" alttext="{text}" aria-label="{text}">{table}</math>'
