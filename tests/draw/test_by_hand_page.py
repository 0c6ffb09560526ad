"""The whiteboard, set: its numbers are those of the data, on a terminal and on a page that needs nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apply.by_hand import ByHand, by_hand, draw_weights
from elman.apply.by_hand_check import Check
from elman.apply.by_hand_task import Task
from elman.draw.by_hand import disagreement, sections, text, web_page
from elman.draw.formulas import ASCII, MINUS, UNICODE, Line, Token, block, cells, line, mathml, number, spoken, tokens
from elman.draw.whiteboard import Equation, Grid, Row

GOOD = Check(1, "float64", U=1e-17, W=0.0, V=2e-17, loss=0.0, tolerance=1e-10)
BAD = Check(2, "float32", U=1e-7, W=0.25, V=0.0, loss=0.0, tolerance=1e-4)
LONG = Task(sentence=("row",) * 11 + ("your",), hidden=6, dictionary=(*"abcdef", "row", "your"), bptt=12)


def compute(task: Task | None = None, seed: int = 2) -> ByHand:
    task = task or Task()
    return by_hand(task, draw_weights(task, np.random.default_rng(seed)))


def numbers_of(shown: str) -> list[float]:
    pattern = r"-?\d+\.\d+(?:e[-+]\d+)?|(?<![\w(.-])-?\d+(?![\w).])"
    return [float(one) for one in re.findall(pattern, shown.replace(MINUS, "-"))]


class Reader(HTMLParser):
    """Complain where a tag closes that was not open; keep what the tags say."""

    ALONE = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.math: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.ALONE:
            self.open.append(tag)
        if tag == "math":
            self.math.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "math" in self.open:
            self.math[-1] += f" {data}"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


# ---- the numbers


def shown_in(found: ByHand, digits: int) -> list[tuple[str, np.ndarray]]:
    """Each matrix that some formula shows, with the formula's text."""
    shown = []
    for section in sections(found, [GOOD], digits=digits):
        for part in section.parts:
            formulas = [part.lines] if isinstance(part, Equation) else part.formulas if isinstance(part, Row) else []
            shown += [(one.text, matrix) for formula in formulas for one in formula for matrix in one.matrices]
    return shown


@pytest.mark.parametrize("learn", ["last", "all"])
def test_every_number_of_the_first_update_is_shown(learn: str) -> None:
    found = compute(Task(learn=learn, bptt=3))
    shown = [matrix for _, matrix in shown_in(found, 3)]

    def there(array: np.ndarray) -> bool:
        wanted = np.atleast_2d(array)
        return any(one.shape == wanted.shape and np.array_equal(one, wanted) for one in shown)

    update = found.updates[0]
    for name in ("U", "W", "V"):
        for matrices in (update.before, update.gradient, update.after, found.end):
            assert there(getattr(matrices, name)), name
    for reading in update.readings:
        for name in ("from_word", "from_before", "drive", "s", "logits", "powers", "y"):
            assert there(getattr(reading, name)), name
        if reading.learnt:
            assert there(reading.e_o) and there(reading.d)
    for error in update.back:
        assert there(error.arriving) and there(error.e_h)


def test_a_terminal_shows_matrices_rounded_and_in_their_order() -> None:
    found = compute()
    shown = text(found, [GOOD], digits=3, width=100)
    start = next(part for part in shown.split("\n\n") if "U = " in part and "V = " in part)
    rows = [numbers_of(one) for one in start.splitlines()]
    both = [[*found.start.U[0]], [*found.start.U[1], *found.start.W[0], *found.start.V[0]]]
    both.append([*found.start.U[2], *found.start.W[1], *found.start.V[1]])
    assert rows == [pytest.approx(row, abs=5e-4) for row in both]
    y = next(part for part in shown.split("\n\n") if "y(3) = g(" in part).splitlines()[-1]
    assert numbers_of(y) == pytest.approx(found.updates[0].readings[2].y, abs=5e-4)


def test_the_last_line_of_an_update_is_the_weights_after_it() -> None:
    found = compute()
    for digits in (1, 5):
        shown = text(found, [GOOD], digits=digits, width=100)
        for name, after in (("V", "U ←"), ("U", "W ←"), ("W", "The next updates")):
            part = shown[shown.index(f"{name} ← {name}") : shown.index(after)].strip()
            got = numbers_of("\n".join(part.splitlines()[-len(getattr(found.end, name)) :]))
            wanted = getattr(found.updates[0].after, name).ravel()
            assert got == pytest.approx(wanted, abs=0.51 * 10.0**-digits)


def test_perplexities_are_told_as_they_are() -> None:
    found = compute()
    shown = text(found, [GOOD], digits=3, width=100)
    assert f"was {found.perplexity:.3f} before and is {found.updates[-1].perplexity:.3f} after 3 updates" in shown
    for update in found.updates:
        assert f"{update.perplexity:.3f}" in shown and f"{update.sentence_perplexity:.3f}" in shown


def test_the_page_holds_the_numbers_of_the_terminal() -> None:
    found = compute()
    page = Reader(web_page(found, [GOOD], digits=3))
    formulas = [part for part in page.math if "=" in part]
    update = found.updates[0]
    for values in (update.readings[2].y, update.back[0].e_h, update.after.W[0], found.end.V[1]):
        texts = " ".join(number(float(value), 3) for value in values)
        assert any(texts in re.sub(r"\s+", " ", one) for one in formulas), texts


def test_the_picture_shows_every_weight_and_every_guess() -> None:
    found = compute()
    page = web_page(found, [GOOD], digits=3)
    picture = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    on_lines = re.findall(r'class="on-line (plus|minus)-number">([^<]*)<', picture)
    weights = sorted(float(value) for name in ("U", "W", "V") for value in getattr(found.start, name).ravel())
    assert sorted(float(shown.replace(MINUS, "-")) for _, shown in on_lines) == weights
    assert all((kind == "minus") == shown.startswith(MINUS) for kind, shown in on_lines)
    for reading in found.updates[0].readings:
        assert all(f">{value:.3f}<" in picture for value in [*reading.y, *reading.s])


# ---- the terminal


@settings(max_examples=30)
@given(st.integers(60, 100), st.sampled_from(["last", "all"]), st.integers(1, 3), st.integers(1, 12))
def test_a_small_whiteboard_fits_its_width(width: int, learn: str, hidden: int, length: int) -> None:
    words = tuple("abc"[place % 3] for place in range(max(2, length)))
    task = Task(sentence=words, dictionary=("a", "b", "c"), hidden=hidden, learn=learn, steps=5)
    shown = text(compute(task), [GOOD, BAD], digits=3, width=width)
    assert max(map(len, shown.splitlines())) <= width


def test_the_largest_whiteboard_fits_100_columns() -> None:
    assert max(map(len, text(compute(LONG), [GOOD], digits=3, width=100).splitlines())) <= 100


def test_no_line_ends_in_a_space_and_no_colour_is_there_unasked() -> None:
    shown = text(compute(), [GOOD], digits=3, width=80)
    assert "\x1b" not in shown
    assert not [one for one in shown.splitlines() if one != one.rstrip()]


def test_colour_changes_no_letter() -> None:
    found = compute()
    plain, tinted = (text(found, [GOOD], digits=3, width=80, colour=colour) for colour in (False, True))
    assert "\x1b[1m" in tinted
    assert re.sub(r"\x1b\[\d+m", "", tinted) == plain


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_a_terminal_without_unicode_gets_ascii(activation: str) -> None:
    found = compute(Task(activation=activation, steps=9, learn="all"))
    shown = text(found, [GOOD], digits=3, width=80, signs=ASCII)
    assert shown.isascii()
    assert "V <- V + alpha sum_t s(t)^T e_o(t) - beta V" in shown


def test_words_cannot_move_the_cursor_or_open_a_tag() -> None:
    words = ("\x1b[2J", "<script>", "a`b", "&amp;")
    found = compute(Task(sentence=words, dictionary=words))
    assert "\x1b" not in text(found, [GOOD], digits=3, width=80)
    page = web_page(found, [GOOD], digits=3)
    assert "<script>" not in page and "&lt;script&gt;" in page and "&amp;amp;" in page
    assert Reader(page).open == []


def test_updates_that_are_left_out_are_counted() -> None:
    shown = text(compute(Task(steps=30)), [GOOD], digits=3, width=80)
    assert "(25 updates between are left out here" in shown
    assert [one for one in shown.splitlines() if one.startswith("Update ")] == [f"Update {n}" for n in (2, 3, 4, 30)]


def test_where_nothing_is_cut_off_it_says_so() -> None:
    assert "With bptt = 9 nothing of this sentence is cut off." in text(compute(Task(bptt=9)), [], digits=3, width=100)
    assert "no past to go back to" in text(compute(Task(sentence=("row", "your"))), [], digits=3, width=100)


def test_errors_that_grow_are_not_said_to_vanish() -> None:
    task = Task(activation="relu", steps=1)
    large = by_hand(task, draw_weights(task, np.random.default_rng(1)))
    steep = type(large.start)(np.ones((3, 2)), 2.0 * np.ones((2, 2)), large.start.V)
    shown = text(by_hand(task, steep), [], digits=3, width=100)
    assert "It explodes." in shown and "It vanishes." not in shown


def test_a_disagreement_is_said_and_agreement_is_not() -> None:
    shown = text(compute(), [GOOD, BAD], digits=3, width=200)
    assert "in float32 the engine's W after update 2 differs by 0.2, and 0.0001 is allowed" in shown
    assert disagreement(BAD) in shown and "They agree" not in shown
    assert "They agree" in text(compute(), [GOOD], digits=3, width=200)
    assert "engine" not in text(compute(), [], digits=3, width=200)


# ---- the page


@pytest.mark.parametrize(
    "task", [Task(), Task(learn="all", activation="tanh"), Task(activation="relu", beta=0.0), LONG]
)
def test_the_page_balances_and_asks_the_network_for_nothing(task: Task) -> None:
    page = web_page(compute(task), [GOOD, BAD], digits=3)
    assert Reader(page).open == []
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|url\((?!#)", page)


def test_every_formula_and_picture_says_itself_in_words() -> None:
    page = Reader(web_page(compute(), [GOOD], digits=3))
    formulas = [attributes for attributes in page.of("math") if attributes.get("display") == "block"]
    assert len(formulas) > 15
    for attributes in formulas:
        assert attributes["alttext"] and attributes["alttext"] == attributes["aria-label"]
    assert all(attributes["alttext"] for attributes in page.of("math"))
    assert len(page.of("svg")) == 2
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in page.of("svg"))


def test_words_for_a_formula_are_the_formula() -> None:
    found = compute()
    reading = found.updates[0].readings[0]
    page = Reader(web_page(found, [GOOD], digits=3))
    y = ", ".join(number(float(value), 3) for value in reading.y)
    texts = [attributes["alttext"] for attributes in page.of("math")]
    assert any(text.startswith("y(1) = g( s(1) V ) = g( [") and text.endswith(f"= [{y}]") for text in texts)


def test_every_section_can_be_reached() -> None:
    page = Reader(web_page(compute(), [GOOD], digits=3))
    links = [a["href"][1:] for a in page.of("a") if (a.get("href") or "").startswith("#part-")]
    names = [a["id"] for a in page.of("h2")]
    assert links == names and len(names) == 9
    assert [a["aria-labelledby"] for a in page.of("section")] == names
    assert all(a.get("tabindex") == "0" for a in page.of("div") if a.get("class") == "scroll")
    wide = [a for a in page.of("div") if a.get("class") == "formula" and a.get("tabindex") == "0"]
    assert len(wide) == 7 and all(a["role"] == "group" and a["aria-label"] for a in wide)


# ---- formulas


DESIGN = [
    "s(t) = f( w(t) U + s(t-1) W )",
    "e_h(t-k-1) = ( e_h(t-k) W^T ) * s(t-k-1) (1 - s(t-k-1))",
    "U <- U + alpha sum_k w(t-k)^T e_h(t-k) - beta U",
]


@pytest.mark.parametrize("written", DESIGN)
def test_the_designs_equations_are_set_as_they_are_written(written: str) -> None:
    shown = written
    for sign, set_as in UNICODE.replaced.items():
        shown = shown.replace(sign, set_as)
    assert block([Line(written)], 3, 100) == [shown]
    assert block([Line(written)], 3, 100, ASCII) == [written]
    assert spoken([Line(written)], 3) == shown


def test_an_index_an_argument_and_a_transpose_are_set_as_such() -> None:
    assert [token for token in tokens("e_h(t-1)^T") if token.kind != "space"] == [Token("name", "e_h", "t-1", True)]
    found = mathml([Line("e_h(t-1)^T = f'(a)")], 3)
    assert "<msub><mi>e</mi><mi>h</mi></msub>" in found
    assert f"<mi>t</mi><mo>{MINUS}</mo><mn>1</mn>" in found
    assert '<mi mathvariant="normal">T</mi></msup>' in found
    Reader(found)


def test_text_stands_level_with_the_middle_of_its_matrix() -> None:
    found = block([line("s = {} {}", np.ones(3), np.full((3, 1), 0.25))], 2, 80)
    assert [one.strip() for one in found] == ["⎡ 0.25 ⎤", "s = [ 1  1  1 ] ⎢ 0.25 ⎥", "⎣ 0.25 ⎦"]
    assert found[0].index("⎡") == found[1].index("⎢") == found[2].index("⎣")


def test_a_wide_formula_is_broken_before_a_sign() -> None:
    wide = [line("s = {} + {} + {}", *([np.full(4, 0.125)] * 3))]
    found = block(wide, 3, 50)
    assert len(found) == 3 and all(one.lstrip().startswith("+") for one in found[1:])
    assert max(map(len, found)) <= 50
    assert numbers_of(" ".join(found)) == [0.125] * 12


def test_an_exact_zero_is_told_from_a_small_number() -> None:
    assert cells(np.array([[0.0, 1e-9, 1.0, -1e-9]]), 2) == [["0", "0.00", "1.00", "0.00"]]
    assert cells(np.array([[0.0, 1.0]]), 2) == [["0", "1"]]


@given(st.floats(-1e4, 1e4), st.integers(1, 8))
def test_a_number_is_rounded_and_no_more(value: float, digits: int) -> None:
    assert float(number(value, digits).replace(MINUS, "-")) == pytest.approx(value, abs=0.51 * 10.0**-digits)


def test_a_grid_keeps_a_column_a_row() -> None:
    parts = [part for section in sections(compute(), [GOOD], digits=3) for part in section.parts]
    grids = [part for part in parts if isinstance(part, Grid)]
    assert len(grids) == 3
    assert all(len(row) == len(grid.head) for grid in grids for row in grid.rows)
