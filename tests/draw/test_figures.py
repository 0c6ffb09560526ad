"""Figures are files that other programs can read, the same every time; without matplotlib the extra is named."""

from __future__ import annotations

import math
import re
import struct
import sys
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from elman.apply.curves import Curve, RunComparison, RunCurves
from elman.apply.horizon import Horizon
from elman.apply.projection import Projection
from elman.apply.units import Firing, Unit, Units, WordMean
from elman.draw import curves, horizons, projections, unit_maps
from elman.draw.charts import Series, line_chart, log_ticks, scatter, ticks
from elman.draw.figures import COLOURS, figure_format, look, pyplot, save, style
from elman.draw.labels import Box, asides, box_of, overlap
from elman.draw.sparklines import Screen
from elman.errors import MissingExtra, OutputError, UsageError

TEXTS = re.compile(r'<text x="([^"]*)" y="([^"]*)"[^>]*>([^<]*)<')
AWKWARD = ["the", "$", "$x$", "<b>", "&", "milk", "日本", "a" * 30, " ", "\n"]


def comparison() -> RunComparison:
    def run(name: str, shift: float) -> RunCurves:
        x = [float(number) for number in range(0, 1000, 50)]
        train = Curve(x, [100 + shift + 900 / (1 + number) for number in x])
        train.y[3] = math.inf
        found = {"train": train, "valid": Curve([450.0, 950.0], [150 + shift, 130 + shift])}
        found |= {"alpha": Curve(x, [0.1] * len(x)), "speed": Curve(x, [2e4] * len(x))}
        return RunCurves(name, f"runs/{name}", "word", 100, None, found, [300.0])

    return RunComparison("symbols", "perplexity", "word", [run("one", 0), run("<two>", 30)], ["a note"])


def horizon() -> list[tuple[str, Horizon]]:
    found = Horizon(
        "t.txt", "word", "running", "skip", [0, 1, 5, 100], [400.0, 200.0, 120.0, 101.0], 101.0, 100, 9, 8, 9
    )
    return [("net", found)]


def units() -> Units:
    unit = Unit(
        3, 0.1, 0.2, 4.0, 0.5, [WordMean(word, 0.9, 4) for word in AWKWARD], [Firing(0.99, ["a", "<i>"], "$", ["end"])]
    )
    run = [number / len(AWKWARD) for number in range(len(AWKWARD))]
    return Units("t.txt", "word", 1, 2, 8, 90, 100, 0.0, 1.0, [unit, unit], AWKWARD, [run, run[::-1]])


def projection() -> Projection:
    places = [(math.cos(number), math.sin(2 * number)) for number in range(len(AWKWARD))]
    return Projection("net", "rows of U", 8, AWKWARD, places, (0.5, 0.25))


PICTURES: dict[str, tuple[Callable[[bool], Any], Callable[[], str]]] = {
    "curves": (lambda dark: curves.figure(comparison(), dark=dark), lambda: curves.html(comparison())),
    "horizon": (lambda dark: horizons.figure(horizon(), dark=dark), lambda: horizons.html(horizon())),
    "units": (lambda dark: unit_maps.figure(units(), dark=dark), lambda: unit_maps.html(units())),
    "vectors": (lambda dark: projections.figure(projection(), dark=dark), lambda: projections.html(projection())),
}


def assert_png(data: bytes) -> None:
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, kinds = 8, []
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunk = data[at + 4 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length]) == (zlib.crc32(chunk),)
        kinds.append(chunk[:4])
        at += 12 + length
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND"


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("dark", [False, True])
def test_a_figure_is_a_file_of_its_kind(name: str, dark: bool, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    for kind in ("png", "svg", "pdf"):
        save(PICTURES[name][0](dark), tmp_path / f"figure.{kind}")
    assert_png((tmp_path / "figure.png").read_bytes())
    assert ElementTree.parse(tmp_path / "figure.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.pdf", "figure.png", "figure.svg"]


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    for kind in ("svg", "png", "pdf"):
        for copy in ("a", "b"):
            save(horizons.figure(horizon()), tmp_path / f"{copy}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_drawing_leaves_matplotlibs_settings_as_they_were() -> None:
    plt = pytest.importorskip("matplotlib.pyplot", reason="the extra elman[plot] is not installed")
    before = dict(plt.rcParams)
    with style(dark=True):
        assert plt.rcParams["figure.facecolor"] != before["figure.facecolor"]
    assert dict(plt.rcParams) == before


def test_labels_do_not_cover_each_other_where_there_is_room() -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    words = [f"word{number}" for number in range(20)]
    places = [(number % 5 + 0.03 * number, number // 5) for number in range(20)]
    made = projections.figure(Projection("net", "", 8, words, places, (0.5, 0.3)))
    renderer = made.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in made.axes[0].texts]
    assert len(boxes) == 20
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    pyplot().close(made)


def test_a_full_disk_leaves_no_half_of_a_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra elman[plot] is not installed")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save(horizons.figure(horizon()), tmp_path / "file" / "figure.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'elman\[plot\]'"):
        pyplot()


@pytest.mark.parametrize("path", ["figure", "figure.jpg", "png", ".png", "figure.png.gz"])
def test_a_name_that_says_no_format_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg or \.pdf"):
        figure_format(path)


def test_curves_differ_in_more_than_colour() -> None:
    looks = [look(number) for number in range(5)]
    for key in ("color", "linestyle", "marker"):
        assert len({str(each[key]) for each in looks}) == 5
    assert len(set(COLOURS)) == len(COLOURS)


class Reader(HTMLParser):
    """Complain where a tag closes that was not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "hr", "img", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PICTURES)
def test_a_page_is_whole_and_its_texts_are_no_tags(name: str) -> None:
    text = PICTURES[name][1]()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert "<two>" not in text and "<i>" not in text.replace("<i>t", "")
    assert "<svg" in text or "<table" in text


def test_ticks_are_round_and_inside() -> None:
    for low, high in ((0, 1), (0.003, 0.0071), (-5, 12345), (66.1, 1203.0)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 11 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert ticks(3, 3) == [3]
    assert log_ticks(66.1, 1203.0) == [100, 200, 500, 1000]
    assert log_ticks(61.0, 93.0) == [70, 80, 90]


def test_a_chart_of_no_number_says_so() -> None:
    assert "no number" in line_chart([Series("a", [1, 2], [math.nan, math.inf])], x="x", y="y")


def test_a_chart_and_a_scatter_are_xml() -> None:
    for text in (
        line_chart([Series("a", [0, 1], [1, 2]), Series("b", [0, 3], [5, 4], index=1)], x="<x>", y="&", log_y=True),
        scatter([(0, 0), (1, 2)], ["<", "&"], x="x", y="y"),
    ):
        ElementTree.fromstring(text)


def test_a_terminal_without_unicode_and_colour_gets_plain_ascii() -> None:
    plain = Screen(unicode=False)
    small = units()
    small = Units(**{**vars(small), "sentence": ["a", "b"], "activations": [[0.0, 1.0]] * 2})
    for lines in (
        curves.terminal_lines(comparison(), plain),
        horizons.terminal_lines(horizon(), plain),
    ):
        assert "\n".join(lines).isascii()
    text = "\n".join(unit_maps.terminal_lines(small, plain))
    assert "\x1b" not in text and "a [b]" in text


def test_colours_are_there_where_they_can_be_shown() -> None:
    text = "\n".join(unit_maps.terminal_lines(units(), Screen(colour=True)))
    assert "\x1b[48;5;18m" in text and "[milk]" not in text
    assert text.count("\x1b[0m") >= text.count("\x1b[48")


def test_bars_of_the_horizon_say_how_much_more_than_with_the_whole_history() -> None:
    lines = list(horizons.terminal_lines(horizon(), Screen(width=80)))
    rows = [line.split() for line in lines[1:5]]
    assert [row[2] for row in rows] == ["+296.0%", "+98.0%", "+18.8%", "+0.0%"]
    assert len(rows[0][3]) > len(rows[1][3]) > len(rows[2][3]) and len(rows[3]) == 3
    assert "k = 100" in lines[-1]


def test_levels_stand_below_their_words_however_narrow_the_terminal_is() -> None:
    words = [f"word{number}" for number in range(30)]
    runs = [[number / 29 for number in range(30)]] * 2
    found = Units(**{**vars(units()), "sentence": words, "activations": runs})
    lines = list(unit_maps.terminal_lines(found, Screen(width=50)))
    along = next(number for number, line in enumerate(lines) if "along:" in line)
    pairs = lines[along : lines.index("", along)]
    assert len(pairs) % 2 == 0 and all(len(line) <= 50 for line in pairs)
    said, levels = [], []
    for top, below in zip(pairs[::2], pairs[1::2], strict=True):
        said += [word.strip("[]") for word in top[12:].split()]
        levels += below.split()
        assert [len(part) for part in top[12:].split()] == [len(part) for part in below.split()]
    assert said == words and levels[0][0] == "▁" and levels[-1][0] == "█"


def test_labels_take_the_place_where_they_cover_the_least() -> None:
    room = Box(0, 0, 100, 100)
    points = [(50.0, 50.0), (50.0, 60.0), (3.0, 98.0), (50.0, 40.0)]
    sizes = [(20.0, 8.0)] * 4
    chosen = asides(points, sizes, room)
    boxes = [box_of(point, size, aside) for point, size, aside in zip(points, sizes, chosen, strict=True)]
    assert not any(overlap(one, other) for number, one in enumerate(boxes) for other in boxes[:number])
    assert all(overlap(box, room) == 160.0 for box in boxes), "a label leaves the room that there is"


def test_on_a_page_labels_do_not_cover_each_other_where_there_is_room() -> None:
    text = scatter([(0, 0), (0, 0.01), (1, 1), (0.02, 0.02)], ["one", "two", "far", "near"], x="x", y="y")
    places = {tag.group(3): (tag.group(1), tag.group(2)) for tag in TEXTS.finditer(text)}
    assert len({places[name] for name in ("one", "two", "near")}) == 3
    assert 'text-anchor="middle"' in text
