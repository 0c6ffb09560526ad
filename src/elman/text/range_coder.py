"""A range coder: symbols become as many bits as their probabilities promise, and come back.

The coder keeps an interval [low, low + range) of 64 bits. A symbol whose frequencies, out of 2^K, begin at `start` and
are `width` wide makes it narrower:

    r = range >> K,   low += start * r,   range = width * r

Where no more than 32 bits of range are left, the upper 32 bits of low go out, and what is below is shifted up. A carry
out of low is added to the words before it, of which those that could still change are held back. A symbol costs
log2(2^K / width) bits and what is lost as `range >> K` is rounded: less than 2^-20 bits on average at K = 16.

Sources: G. N. N. Martin, "Range encoding" (Video & Data Recording Conference, Southampton 1979); M. Schindler, "A fast
renormalisation for arithmetic coding" (DCC 1998); A. Moffat, R. Neal, I. Witten, "Arithmetic coding revisited" (ACM
Transactions on Information Systems 16, 1998).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from elman.errors import ElmanError, TextError

TOTAL_BITS = 16
"""K: the frequencies of the four bases sum to 2^K."""

MOST_BITS = 24
"""The largest K that a single symbol may have: at the narrowest range, of 32 bits, 8 are left to tell symbols apart."""

SYMBOLS = 4
_WORD = 32
_LOW = (1 << _WORD) - 1
_FULL = (1 << 2 * _WORD) - 1
_BLOCK = 1 << 16  # symbols whose frequencies are Python's integers at a time
_READ = 1 << 16  # bytes

Frequencies = NDArray[np.uint32]


def quantize(probabilities: NDArray[np.floating]) -> Frequencies:
    """Return frequencies (N, 4) that sum to 2^16 in each row and are all at least 1, of probabilities (N, 4).

        f_i = 1 + floor((2^16 - 4) p_i),   what is left over goes to the largest (the first of equals)

    Each row is divided by its sum first. All is done in float64 in one order, so that the same probabilities, bit for
    bit, give the same frequencies on any machine.

    Raises
    ------
    ElmanError
        for a probability that is negative or no number, or a row of zeros.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != SYMBOLS:
        raise ValueError(f"probabilities have the shape (N, {SYMBOLS}), not {p.shape}")
    total = p[:, 0] + p[:, 1] + p[:, 2] + p[:, 3]  # not p.sum(1), whose order is numpy's own affair
    wrong = ~((p >= 0).all(axis=1) & (total > 0) & (total < np.inf))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ElmanError(f"the probabilities of base {row + 1} of the block are {p[row].tolist()}: no distribution")
    free = (1 << TOTAL_BITS) - SYMBOLS
    found = (p / total[:, None] * free).astype(np.uint32) + np.uint32(1)
    left = np.uint32(1 << TOTAL_BITS) - found.sum(axis=1, dtype=np.uint32)
    found[np.arange(len(p)), p.argmax(axis=1)] += left
    return found


def ideal_bits(symbols: NDArray[np.uint8], frequencies: Frequencies) -> float:
    """Return what the symbols should cost: the sum of log2(2^16 / frequency)."""
    chosen = frequencies[np.arange(len(symbols)), symbols]
    return float(np.sum(TOTAL_BITS - np.log2(chosen.astype(np.float64))))


class Encoder:
    """Turns symbols into bytes, given the frequencies that a decoder will know as well.

    Parameters
    ----------
    write
        is called with the next bytes, such as the `write` of a binary file.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._low = 0
        self._range = _FULL
        self._words: list[int] = []  # not yet written; the last ones may still get a carry

    def encode(self, start: int, width: int, total_bits: int = TOTAL_BITS) -> None:
        """Encode one symbol: `width` of 2^total_bits, after the `start` of the symbols before it."""
        _check_symbol(start, width, total_bits)
        r = self._range >> total_bits
        self._low += start * r
        self._range = width * r
        if self._range <= _LOW:
            self._words.append(self._low >> _WORD)
            self._low = (self._low & _LOW) << _WORD
            self._range <<= _WORD
            self._settle()

    def encode_all(self, symbols: NDArray[np.uint8], frequencies: Frequencies) -> None:
        """Encode symbols (N,) of 0..3, each with its row of frequencies (N, 4), as `quantize` makes them.

        The same bytes as `encode`, one symbol after the other.
        """
        _check_rows(frequencies)
        if len(symbols) != len(frequencies):
            raise ValueError(f"{len(symbols)} symbols and {len(frequencies)} rows of frequencies")
        for begin in range(0, len(symbols), _BLOCK):
            self._encode_block(symbols[begin : begin + _BLOCK], frequencies[begin : begin + _BLOCK])

    def _encode_block(self, symbols: NDArray[np.uint8], frequencies: Frequencies) -> None:
        rows = np.arange(len(symbols))
        ends = np.cumsum(frequencies, axis=1, dtype=np.int64)[rows, symbols]
        widths = frequencies[rows, symbols].astype(np.int64)
        low, size, words = self._low, self._range, self._words
        for start, width in zip((ends - widths).tolist(), widths.tolist(), strict=True):
            r = size >> 16  # TOTAL_BITS, as a constant
            low += start * r
            size = width * r
            if size <= 0xFFFFFFFF:
                words.append(low >> 32)
                low = (low & 0xFFFFFFFF) << 32
                size <<= 32
        self._low, self._range = low, size
        self._settle()

    def finish(self) -> None:
        """Write what is left. Nothing can be encoded after it."""
        self._words += [self._low >> _WORD, self._low & _LOW]
        self._settle()
        self._put(len(self._words))

    def _settle(self) -> None:
        """Add the carries; write the words that no later carry can reach, those before the last that is not full."""
        words = self._words
        for i in range(len(words) - 1, 0, -1):
            if words[i] > _LOW:
                words[i] &= _LOW
                words[i - 1] += 1
        held = len(words) - 1
        while held > 0 and words[held] == _LOW:
            held -= 1
        self._put(held)

    def _put(self, count: int) -> None:
        if count > 0:
            self._write(np.array(self._words[:count], dtype=">u4").tobytes())
            del self._words[:count]


class Decoder:
    """Turns the bytes of an `Encoder` into its symbols, given the same frequencies.

    Parameters
    ----------
    read
        returns at most so many of the next bytes, none at their end, such as the `read` of a binary file. It is called
        ahead of need: nothing else may follow the bytes.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._words = _read_words(read)
        self._range = 0  # nothing was read yet
        self._code = 0  # relative to low
        self._r = 0

    def decode_target(self, total_bits: int = TOTAL_BITS) -> int:
        """Return where in 0 .. 2^total_bits - 1 the next symbol is: start <= target < start + width. Then `consume`.

        Raises
        ------
        TextError
            for bytes that end too early, or that no encoder wrote with the same frequencies.
        """
        self._begin()
        self._r = self._range >> total_bits
        target = self._code // self._r
        if target >> total_bits:
            raise _damaged()
        return target

    def consume(self, start: int, width: int) -> None:
        """Go past the symbol that `decode_target` pointed to."""
        self._code -= start * self._r
        self._range = width * self._r
        if self._range <= _LOW:
            self._range <<= _WORD
            self._code = self._code << _WORD | next(self._words)

    def decode_all(self, frequencies: Frequencies) -> NDArray[np.uint8]:
        """Return the next N symbols, 0..3, given the row of frequencies of each, (N, 4).

        Raises
        ------
        TextError
            as `decode_target`; it may also return other symbols, as only a checksum tells them from the right ones.
        """
        _check_rows(frequencies)
        self._begin()
        parts = [self._decode_block(frequencies[i : i + _BLOCK]) for i in range(0, len(frequencies), _BLOCK)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)

    def _decode_block(self, frequencies: Frequencies) -> NDArray[np.uint8]:
        firsts, seconds, thirds = np.cumsum(frequencies[:, :3], axis=1, dtype=np.int64).T.tolist()
        size, code, words = self._range, self._code, self._words
        symbols = bytearray()
        append = symbols.append
        for first, second, third in zip(firsts, seconds, thirds, strict=True):
            r = size >> 16  # TOTAL_BITS, as a constant
            middle = second * r
            if code < middle:
                edge = first * r
                if code < edge:
                    append(0)
                    size = edge
                else:
                    append(1)
                    code -= edge
                    size = middle - edge
            else:
                edge = third * r
                if code < edge:
                    append(2)
                    code -= middle
                    size = edge - middle
                else:
                    append(3)
                    code -= edge
                    size = (r << 16) - edge
            if size <= 0xFFFFFFFF:
                size <<= 32
                code = code << 32 | next(words)
        self._range, self._code = size, code
        if code >= size:
            raise _damaged()
        return np.frombuffer(bytes(symbols), dtype=np.uint8)

    def finish(self) -> None:
        """Check that all bytes were used, once the last symbol is decoded."""
        self._begin()
        try:
            next(self._words)
        except TextError:
            return
        raise TextError("the coded bases go on after the last base", hint="copy or compress the file again")

    def _begin(self) -> None:
        if self._range == 0:
            self._range = _FULL
            self._code = next(self._words) << _WORD | next(self._words)


def _read_words(read: Callable[[int], bytes]) -> Iterator[int]:
    """Give the words of 32 bits, the highest byte first; say so where one more is wanted than there are."""
    total, rest = 0, b""
    while data := read(_READ):
        total += len(data)
        data = rest + data
        whole = len(data) // 4 * 4
        yield from np.frombuffer(data[:whole], dtype=">u4").tolist()
        rest = data[whole:]
    raise TextError(f"the coded bases are cut short: they end after {total} bytes", hint="copy the file again")


def _damaged() -> TextError:
    return TextError(
        "the coded bases are damaged, or were coded with other probabilities",
        hint="decompress with the model, the settings and the version that compressed",
    )


def _check_symbol(start: int, width: int, total_bits: int) -> None:
    if not (1 <= total_bits <= MOST_BITS and start >= 0 and width >= 1 and start + width <= 1 << total_bits):
        raise ValueError(f"a symbol of width {width} at {start} does not fit into 2^{total_bits}")


def _check_rows(frequencies: Frequencies) -> None:
    if frequencies.ndim != 2 or frequencies.shape[1] != SYMBOLS:
        raise ValueError(f"frequencies have the shape (N, {SYMBOLS}), not {frequencies.shape}")
    if (frequencies < 1).any() or (frequencies.sum(axis=1, dtype=np.int64) != 1 << TOTAL_BITS).any():
        raise ValueError(f"frequencies are at least 1 and sum to 2^{TOTAL_BITS} in each row")
