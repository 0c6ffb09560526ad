"""The page of an explanation: whole, safe, readable without seeing it, and never huge."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from elman.apply.explain import Explanation, explain
from elman.draw.unrolled import unrolled_page
from elman.draw.unrolled_words import TIMES, Scale, scale_of, signed

TEXT = "the cat sees a dog"


class Reader(HTMLParser):
    """The tags of a page, in order, and the texts in them; complains where a tag closes that was not open."""

    ALONE = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = attributes.items()
        return [found for name, found in self.tags if name == tag and wanted <= found.items()]


@pytest.fixture(scope="module")
def found(drawn: Callable[..., Any]) -> Explanation:
    return explain(drawn(activation="tanh"), "the zebra sees a dog")


@pytest.fixture(scope="module")
def page(found: Explanation) -> str:
    return unrolled_page(found)


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"cell": "lstm", "layers": 2},
        {"cell": "feedforward"},
        {"cell": "min-gru"},
        {"cell": "scrn", "context": 3},
        {"tied": True, "bias": True, "activation": "relu"},
    ],
)
def test_the_page_of_any_net_closes_what_it_opens_and_names_each_place_once(drawn: Any, shape: dict) -> None:
    reader = Reader(unrolled_page(explain(drawn(**shape), TEXT)))
    assert reader.open == []
    names = [found["id"] for _, found in reader.tags if "id" in found]
    assert len(names) == len(set(names))


def test_the_page_asks_the_network_for_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|url\((?!#)|fetch\(|XMLHttp", page)


def test_every_column_is_a_link_with_a_name_to_a_place_that_is_there(found: Explanation, page: str) -> None:
    reader = Reader(page)
    columns = reader.of("a", **{"class": "column"})
    assert [column["href"] for column in columns] == [f"#step-{step.t}" for step in found.steps]
    names = {attributes.get("id") for _, attributes in reader.tags}
    for column, step in zip(columns, found.steps, strict=True):
        assert column["href"][1:] in names
        assert column["aria-label"].startswith(f"Step {step.t} reads {step.symbol}; likeliest next: ")
        assert step.next[0][0] in column["aria-label"]
    chosen = [column["data-t"] for column in columns if "aria-current" in column]
    assert chosen == [str(found.at)]


def test_arrows_of_one_letter_are_one_kind_in_all_columns_and_the_legend_gives_its_shape(page: str) -> None:
    for letter, shape in (("u", "11 x 7"), ("w", "7 x 7"), ("v", "7 x 11")):
        arrows = re.findall(rf'<path class="arrow {letter}"', page)
        assert len(arrows) == 6 + 1 + (letter == "w"), "one a column and one in the legend; W also comes from s(0)"
        assert f"<b>{letter.upper()}</b> ({shape})".replace("x", TIMES) in page
    assert page.count("shared by all steps") >= 3


def test_symbols_of_a_text_cannot_become_tags(drawn: Any) -> None:
    page = unrolled_page(explain(drawn(regime="running"), '<b>x</b> "quoted" the\n<script>alert(1)</script> cat'))
    assert "<unk>" not in page and "</s>" not in page and "<b>x" not in page and "<script>alert" not in page
    assert "&lt;unk&gt;" in page and "&lt;/s&gt;" in page
    assert Reader(page).open == []


def test_every_number_of_the_error_and_of_the_words_is_in_a_table(found: Explanation, page: str) -> None:
    assert Reader(page).of("table")
    cells = {text for tag, text in Reader(page).texts if tag == "td"}
    for why in found.why:
        for norm in why.errors[0].norms:
            assert f"{norm:.3g}" in cells
        for word in why.words:
            assert signed(word.gradient_x_input) in cells
            assert word.leave_one_out is None or signed(word.leave_one_out) in cells


def test_every_scrolling_part_has_a_name_and_takes_the_focus(page: str) -> None:
    parts = [found for _, found in Reader(page).tags if "scroll" in found.get("class", "").split()]
    assert len(parts) >= 5
    for part in parts:
        assert part["tabindex"] == "0" and part["role"] == "region" and part["aria-label"]


def test_a_page_without_its_script_holds_the_error_of_every_step(found: Explanation, page: str) -> None:
    bare = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert [f"step-{step.t}" for step in found.steps] == re.findall(r'<section class="step" id="(step-\d+)"', bare)
    assert not [tag for tag, attributes in Reader(bare).tags if "hidden" in attributes]


def test_what_a_number_leaves_out_is_said(found: Explanation, drawn: Any) -> None:
    text = " ".join([TEXT] * 20)
    page = unrolled_page(explain(drawn(), text))
    assert "steps 62 to 101 of 101 are shown, 61 are left out" in page
    assert "not in the dictionary, and read as &lt;unk&gt;: zebra" in unrolled_page(found)


@pytest.mark.parametrize("shape", [{"hidden": 200}, {"hidden": 50, "cell": "lstm", "layers": 2}])
def test_the_page_of_a_thousand_words_stays_below_a_megabyte(drawn: Any, shape: dict) -> None:
    page = unrolled_page(explain(drawn(**shape, reach=0.1), " ".join([TEXT] * 200)))
    assert len(page.encode()) < 1_000_000
    assert page.count('class="column"') == 40


def test_a_scale_of_norms_holds_zero_and_what_is_no_number() -> None:
    assert scale_of([0.0, 0.02, 3.0, float("inf"), float("nan")]) == Scale(-2, 1)
    assert scale_of([]) == Scale(-1, 0)
    assert scale_of([1e-300, 1.5]) == Scale(-11, 1)
    scale = Scale(-2, 0)
    assert [scale.share(norm) for norm in (0.0, 1e-9, 0.1, 1.0, 5.0, float("inf"))] == [0, 0, 0.5, 1, 1, 1]
