"""A range coder returns what went in, at the size that the probabilities promise."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import ElmanError, TextError
from elman.text.range_coder import MOST_BITS, TOTAL_BITS, Decoder, Encoder, ideal_bits, quantize

WHOLE = 1 << TOTAL_BITS
EXTREMES = [0, 1, 2, 3, 4, 60_000, WHOLE - 3, 10**6]


def encoded(symbols: np.ndarray, frequencies: np.ndarray) -> bytes:
    out = io.BytesIO()
    encoder = Encoder(out.write)
    encoder.encode_all(symbols, frequencies)
    encoder.finish()
    return out.getvalue()


def encoded_one_by_one(symbols: np.ndarray, frequencies: np.ndarray) -> bytes:
    """The slow twin: each symbol for itself."""
    out = io.BytesIO()
    encoder = Encoder(out.write)
    for symbol, row in zip(symbols.tolist(), frequencies.tolist(), strict=True):
        encoder.encode(sum(row[:symbol]), row[symbol])
    encoder.finish()
    return out.getvalue()


def decoded_one_by_one(data: bytes, frequencies: np.ndarray) -> list[int]:
    decoder = Decoder(io.BytesIO(data).read)
    symbols = []
    for row in frequencies.tolist():
        target = decoder.decode_target()
        symbol = max(i for i in range(4) if sum(row[:i]) <= target)
        decoder.consume(sum(row[:symbol]), row[symbol])
        symbols.append(symbol)
    decoder.finish()
    return symbols


def drawn(seed: int, count: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Symbols drawn from random distributions, and their frequencies."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([sharpness] * 4, count)
    frequencies = quantize(p)
    cuts = np.cumsum(frequencies, axis=1)
    symbols = (rng.integers(0, WHOLE, (count, 1)) >= cuts).sum(axis=1).astype(np.uint8)
    return symbols, frequencies


@st.composite
def messages(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Any symbols with any legal frequencies, extreme ones among them."""
    weight = st.sampled_from(EXTREMES) | st.integers(0, WHOLE)
    rows = draw(st.lists(st.tuples(st.integers(0, 3), *[weight] * 4), max_size=60))
    weights = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, 4)
    weights[weights.sum(axis=1) == 0] = 1
    return np.array([row[0] for row in rows], dtype=np.uint8), quantize(weights)


@given(message=messages(), repeats=st.integers(1, 30))
def test_any_symbols_come_back_whatever_their_frequencies(message, repeats):
    symbols, frequencies = np.tile(message[0], repeats), np.tile(message[1], (repeats, 1))
    data = encoded(symbols, frequencies)
    decoder = Decoder(io.BytesIO(data).read)
    assert decoder.decode_all(frequencies).tolist() == symbols.tolist()
    decoder.finish()
    assert len(data) <= ideal_bits(symbols, frequencies) / 8 * 1.001 + 9


@given(message=messages())
def test_all_at_once_is_one_after_the_other(message):
    symbols, frequencies = message
    data = encoded(symbols, frequencies)
    assert data == encoded_one_by_one(symbols, frequencies)
    assert decoded_one_by_one(data, frequencies) == symbols.tolist()


@given(message=messages(), cut=st.integers(0, 60), piece=st.integers(1, 7))
def test_calls_of_any_size_and_reads_of_any_size_give_the_same(message, cut, piece):
    symbols, frequencies = message
    out = io.BytesIO()
    encoder = Encoder(out.write)
    encoder.encode_all(symbols[:cut], frequencies[:cut])
    encoder.encode_all(symbols[cut:], frequencies[cut:])
    encoder.finish()
    data = out.getvalue()
    assert data == encoded(symbols, frequencies)
    stream = io.BytesIO(data)
    decoder = Decoder(lambda most: stream.read(min(most, piece)))
    parts = [decoder.decode_all(frequencies[:cut]), decoder.decode_all(frequencies[cut:])]
    assert np.concatenate(parts).tolist() == symbols.tolist()


@given(st.lists(st.tuples(st.integers(1, MOST_BITS), st.data()), max_size=100))
def test_symbols_of_other_alphabets_come_back(items):
    out = io.BytesIO()
    encoder = Encoder(out.write)
    intervals = []
    for bits, data in items:
        start = data.draw(st.integers(0, (1 << bits) - 1))
        width = data.draw(st.integers(1, (1 << bits) - start))
        intervals.append((start, width, bits))
        encoder.encode(start, width, bits)
    encoder.finish()
    decoder = Decoder(io.BytesIO(out.getvalue()).read)
    for start, width, bits in intervals:
        assert start <= decoder.decode_target(bits) < start + width
        decoder.consume(start, width)
    decoder.finish()


def around(border: int, count: int, above: bool) -> list[tuple[int, int, int]]:
    """Symbols that keep a border of words within the interval, and a last one that is all below it or all above."""
    low, size, steps = 0, (1 << 64) - 1, []
    for step in range(count):
        r = size >> 16
        start = (border - low) // r - 1  # the border is in the second of the two parts of 2^16
        if step == count - 1:
            start += 2 if above else -2
        steps.append((start, 2, 16))
        low, size = low + start * r, 2 * r
        if size < 1 << 32:
            low, size, border = low << 32, size << 32, border << 32
    return steps


@pytest.mark.parametrize("count", [5, 9, 40, 400])
@pytest.mark.parametrize("split", [False, True])
def test_a_carry_runs_through_full_words(count, split):
    border = 12345 << 40
    written = []
    for above in (False, True):
        steps = around(border, count, above)
        out = io.BytesIO()
        encoder = Encoder(out.write)
        if split:
            for step in steps:
                encoder.encode(*step)
        else:
            rows = [[start, 2, WHOLE - start - 3, 1] for start, _, _ in steps]
            encoder.encode_all(np.ones(count, dtype=np.uint8), np.array(rows, dtype=np.uint32))
        encoder.finish()
        written.append(out.getvalue())
        decoder = Decoder(io.BytesIO(out.getvalue()).read)
        for start, width, bits in steps:
            assert start <= decoder.decode_target(bits) < start + width
            decoder.consume(start, width)
        decoder.finish()
    below, over = written
    first = border >> 32
    full = count * 15 // 32 - 2  # words that the border runs through: a symbol takes 15 bits
    assert below[:4] == (first - 1).to_bytes(4, "big") and below[4:][: 4 * full] == b"\xff" * 4 * full
    assert over[:4] == first.to_bytes(4, "big") and over[4:][: 4 * full] == bytes(4 * full)


@pytest.mark.parametrize("sharpness", [0.02, 0.3, 1.0, 30.0])
def test_the_size_is_what_the_probabilities_promise(sharpness):
    symbols, frequencies = drawn(1, 100_000, sharpness)
    ideal = ideal_bits(symbols, frequencies) / 8
    size = len(encoded(symbols, frequencies))
    assert ideal - 1 <= size <= ideal * 1.0001 + 9


@pytest.mark.parametrize("sharpness", [0.1, 0.3, 1.0, 30.0])
def test_fixed_point_costs_less_than_a_ten_thousandth(sharpness):
    rng = np.random.default_rng(2)
    p = rng.dirichlet([sharpness] * 4, 50_000)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.nansum(p * np.log2(p))
    cost = -np.sum(p * np.log2(quantize(p) / WHOLE))
    assert entropy <= cost <= entropy * 1.0001


@given(st.lists(st.tuples(*[st.floats(0, 1e6)] * 4).filter(lambda row: sum(row) > 0), min_size=1, max_size=20))
def test_frequencies_sum_to_a_power_of_two_and_none_is_zero(rows):
    p = np.array(rows)
    found = quantize(p)
    assert (found.sum(axis=1) == WHOLE).all() and (found >= 1).all()
    for row, frequencies in zip(rows, found.tolist(), strict=True):  # the slow twin, in whole numbers
        total = row[0] + row[1] + row[2] + row[3]
        slow = [1 + math.floor(value / total * (WHOLE - 4)) for value in row]
        slow[row.index(max(row))] += WHOLE - sum(slow)
        assert frequencies == slow


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frequencies_do_not_depend_on_how_probabilities_lie_in_memory(order, dtype):
    p = np.random.default_rng(3).dirichlet([0.5] * 4, 1000).astype(dtype)
    expected = np.concatenate([quantize(row[None]) for row in p])
    assert (quantize(np.array(p, order=order)) == expected).all()
    assert (quantize(np.concatenate([p, p])[::2]) == np.concatenate([expected, expected])[::2]).all()


@pytest.mark.parametrize("row", [[math.nan, 1, 0, 0], [-0.1, 1.1, 0, 0], [0, 0, 0, 0], [math.inf, 0, 0, 0]])
def test_what_is_no_distribution_is_refused_with_its_place(row):
    with pytest.raises(ElmanError, match="base 2 of the block"):
        quantize(np.array([[0.25] * 4, row]))


def test_bytes_that_end_too_early_are_an_error_wherever_they_were_cut():
    symbols, frequencies = drawn(4, 300, 1.0)
    data = encoded(symbols, frequencies)
    for size in range(len(data)):
        with pytest.raises(TextError, match=f"cut short: they end after {size} bytes"):
            Decoder(io.BytesIO(data[:size]).read).decode_all(frequencies)


def test_bytes_that_go_on_are_an_error():
    symbols, frequencies = drawn(5, 300, 1.0)
    decoder = Decoder(io.BytesIO(encoded(symbols, frequencies) + b"more").read)
    decoder.decode_all(frequencies)
    with pytest.raises(TextError, match="go on after the last base"):
        decoder.finish()


def test_other_probabilities_do_not_pass_for_the_right_ones():
    symbols, frequencies = drawn(6, 5000, 0.3)
    data = encoded(symbols, frequencies)
    other = quantize(np.roll(frequencies, 1, axis=1).astype(np.float64))
    try:
        decoder = Decoder(io.BytesIO(data).read)
        assert decoder.decode_all(other).tolist() != symbols.tolist()
        decoder.finish()
    except TextError as error:
        assert "damaged" in error.message or "cut short" in error.message or "go on" in error.message


@pytest.mark.parametrize("rows", [[[0, 1, 1, WHOLE - 2]], [[1, 1, 1, 1]], [[WHOLE // 4] * 3 + [WHOLE]], [[1, 2, 3]]])
def test_frequencies_that_are_none_are_refused(rows):
    frequencies = np.array(rows, dtype=np.uint32)
    with pytest.raises(ValueError, match="frequencies"):
        Encoder(io.BytesIO().write).encode_all(np.zeros(1, dtype=np.uint8), frequencies)
    with pytest.raises(ValueError, match="frequencies"):
        Decoder(io.BytesIO(bytes(20)).read).decode_all(frequencies)


@pytest.mark.parametrize("interval", [(0, 0, 16), (-1, 2, 16), (WHOLE - 1, 2, 16), (0, 1, 0), (0, 1, 25)])
def test_an_interval_that_does_not_fit_is_refused(interval):
    with pytest.raises(ValueError, match="does not fit"):
        Encoder(io.BytesIO().write).encode(*interval)


def test_nothing_is_eight_bytes():
    nothing = np.empty(0, dtype=np.uint8), np.empty((0, 4), dtype=np.uint32)
    data = encoded(*nothing)
    assert len(data) == 8
    decoder = Decoder(io.BytesIO(data).read)
    assert decoder.decode_all(nothing[1]).size == 0
    decoder.finish()
