"""Pictures made of characters keep the order of the numbers, leave gaps, and fit where they are put."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.draw.sparklines import (
    ASCII_LEVELS,
    BLOCKS,
    EIGHTHS,
    GAP,
    Screen,
    bar,
    resample,
    sparkline,
    words_at,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.floats(allow_nan=True, allow_infinity=True)
LEVELS = pytest.mark.parametrize("levels", [BLOCKS, ASCII_LEVELS])


@LEVELS
@given(values=st.lists(ANY))
def test_a_sparkline_has_one_character_a_value_and_gaps_for_what_is_no_number(levels: str, values: list[float]) -> None:
    line = sparkline(values, levels=levels)
    assert len(line) == len(values)
    for character, value in zip(line, values, strict=True):
        assert (character == GAP) == (not math.isfinite(value))
        assert character in levels + GAP


@LEVELS
@given(values=st.lists(NUMBERS, min_size=2))
def test_a_larger_value_is_never_lower(levels: str, values: list[float]) -> None:
    heights = [levels.index(character) for character in sparkline(sorted(values), levels=levels)]
    assert heights == sorted(heights)
    if min(values) / 2 < max(values) / 2:
        assert (heights[0], heights[-1]) == (0, len(levels) - 1)


@given(value=NUMBERS, count=st.integers(1, 20))
def test_a_constant_is_level(value: float, count: int) -> None:
    assert sparkline([value] * count) == BLOCKS[4] * count


def test_values_beyond_the_given_range_are_at_its_ends() -> None:
    assert sparkline([-5, 0, 5, 10, 99], low=0, high=10) == "▁▁▅██"


@given(st.floats(0, 1e300), st.floats(1e-300, 1e300), st.integers(1, 60), st.booleans())
def test_a_bar_fits_and_is_full_only_at_the_most(value: float, most: float, width: int, unicode: bool) -> None:
    shown = bar(value, most, width, unicode=unicode)
    assert len(shown) <= width
    assert set(shown) <= (set(EIGHTHS[1:]) if unicode else {"#"})
    if value >= most:
        assert len(shown) == width


@given(st.lists(st.floats(0, 100), min_size=2, max_size=2), st.integers(1, 60))
def test_a_longer_bar_is_a_larger_value(values: list[float], width: int) -> None:
    def eighths(value: float) -> int:
        return sum(EIGHTHS.index(character) for character in bar(value, 100, width))

    small, large = sorted(values)
    assert eighths(small) <= eighths(large)
    assert abs(eighths(large) - 8 * width * large / 100) <= 0.5 + 1e-9


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_there_is_no_bar_of_nothing(value: float) -> None:
    assert bar(value, 1.0, 10) == ""


def test_columns_hold_the_means_of_their_points_and_gaps_where_there_are_none() -> None:
    found = resample([0, 1, 2, 9, 10, 5], [1, 3, math.nan, 4, 6, math.inf], low=0, high=10, columns=5)
    assert found[0] == 2.0 and found[4] == 5.0
    assert all(math.isnan(value) for value in found[1:4])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=30), st.integers(1, 30))
def test_no_point_falls_beside_the_columns(points: list[tuple[float, float]], columns: int) -> None:
    xs = [x / 4 for x, _ in points]
    found = resample(xs, [1.0] * len(points), low=min(xs), high=max(xs), columns=columns)
    assert len(found) == columns
    assert set(found) - {1.0} == {v for v in found if math.isnan(v)} and 1.0 in found


def test_words_stand_where_they_belong() -> None:
    lines, left_out = words_at([(0, 0), (1, 1), (0.5, 0.5)], ["low", "high", "middle"], width=31, height=5)
    assert lines[0].endswith("high") and lines[4].startswith("low") and lines[2].strip() == "middle"
    assert left_out == []


def test_a_word_without_room_is_a_dot_and_is_named() -> None:
    lines, left_out = words_at([(0.5, 0), (0.52, 0), (0, 0), (1, 0)], ["first", "second", "a", "b"], width=41, height=1)
    assert left_out == ["second"]
    assert lines[0].split() == ["a", "first", "b"] or lines[0].count("·") == 1


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.text("abc", min_size=1, max_size=6)), max_size=25),
    st.integers(6, 40),
    st.integers(1, 12),
)
def test_every_word_is_on_the_grid_or_named_and_none_runs_over(
    items: list[tuple[float, float, str]], width: int, height: int
) -> None:
    words = [word for _, _, word in items]
    lines, left_out = words_at([(x, y) for x, y, _ in items], words, width=width, height=height)
    assert len(lines) == height and all(len(line) <= width for line in lines)
    written = [word for line in lines for word in line.replace("·", " ").split()]
    assert sorted(written + left_out) == sorted(words)


def test_a_screen_without_unicode_has_ascii_only() -> None:
    screen = Screen(unicode=False)
    assert (screen.levels + screen.dot).isascii()
    assert sparkline([1, 2, 3], levels=screen.levels).isascii()
