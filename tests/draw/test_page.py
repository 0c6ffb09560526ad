from __future__ import annotations

import re
from html.parser import HTMLParser

from elman.draw.page import page, table


class Balance(HTMLParser):
    """Complain where a tag closes that was not open."""

    ALONE = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_closes_what_it_opens() -> None:
    reader = Balance()
    reader.feed(page("A title", table(["a", "b"], [["x", "1"]], caption="numbers"), script="let a = 1;"))
    assert reader.open == []


def test_a_page_asks_the_network_for_nothing() -> None:
    text = page("A title", "<p>words</p>")
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|url\(", text)


def test_texts_of_a_title_and_a_table_cannot_become_tags() -> None:
    text = page("<b>", table(["<i>"], [["<script>"]], caption='"><u>'))
    for tag in ("<b>", "<i>", "<script>", "<u>"):
        assert tag not in text
