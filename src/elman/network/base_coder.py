"""Bases of DNA out of the bytes of a range coder: each is predicted, decoded and read before the next is predicted."""

from __future__ import annotations

import io

import numpy as np

from elman.errors import TextError
from elman.network import kernels
from elman.network.bases import BaseReader, Codes, Floats
from elman.text.range_coder import Decoder, Frequencies, quantize

_CUT_SHORT = 1
_FULL = (1 << 64) - 1


class BaseDecoder:
    """Decodes the bases that a reader predicts, and lets it read them.

    What it decodes was encoded with `range_coder.quantize` of the y that `BaseReader.follow` returned, from a reader
    that was in the same state.

    Parameters
    ----------
    reader
        predicts, and reads with `keep`: s(t) of a block is left in `states[t + 2]`.
    data
        the coded bases, all of them.
    compiled
        whether to take the compiled loop, where it is there and the reader takes its own.
    """

    def __init__(self, reader: BaseReader, data: bytes, *, compiled: bool = True) -> None:
        self.reader = reader
        self._data = data
        self._slow: Decoder | None = None
        if not (compiled and reader.compiled and hasattr(kernels.compiled, "bases_decode")):
            self._slow = Decoder(io.BytesIO(data).read)
            return
        self._words = np.frombuffer(data, dtype=">u4", count=len(data) // 4).astype(np.uint32)
        if len(self._words) < 2:
            raise _cut_short(len(data))
        code = int(self._words[0]) << 32 | int(self._words[1])
        self._coder = np.array([_FULL, code, 2], dtype=np.uint64)  # range, code, words that were read

    def decode(self, count: int, *, rate: float, learn: int, mixed: Floats) -> Codes:
        """Return the next bases, (N,), read by the reader as `BaseReader.follow` with `keep` would read them.

        Parameters
        ----------
        rate, learn, mixed
            as in `BaseReader.follow`.

        Raises
        ------
        TextError
            for bytes that end too early, or were not coded with these probabilities. Whether wrong ones came back
            without that only a checksum tells.
        """
        if self._slow is not None:
            return self._decode_slowly(self._slow, count, rate, learn, mixed)
        assert mixed.dtype == np.float32 and mixed.flags.c_contiguous and mixed.shape == (count, 4)
        codes = np.empty(count, dtype=np.uint8)
        found = kernels.compiled.bases_decode(
            self.reader.refresh(),
            self._coder.ctypes.data,
            self._words.ctypes.data,
            len(self._words),
            codes.ctypes.data,
            count,
            1,
            mixed.ctypes.data,
            rate,
            learn,
        )
        if found:
            raise _cut_short(len(self._data)) if found == _CUT_SHORT else _damaged()
        return codes

    def finish(self) -> None:
        """Check that all bytes were used, once the last base is decoded."""
        if self._slow is not None:
            self._slow.finish()
        elif int(self._coder[2]) != len(self._words):
            raise TextError("the coded bases go on after the last base", hint="copy or compress the file again")

    def _decode_slowly(self, decoder: Decoder, count: int, rate: float, learn: int, mixed: Floats) -> Codes:
        codes = np.empty(count, dtype=np.uint8)
        for t in range(count):
            frequencies = quantize(self.reader.predict(t + 1)[None])[0].tolist()
            mixed[t] = self.reader.mixed
            target, start, base = decoder.decode_target(), 0, 0
            while target >= start + frequencies[base]:
                start += frequencies[base]
                base += 1
            decoder.consume(start, frequencies[base])
            self.reader.take(base, t + 1, rate=rate, learn=learn)
            codes[t] = base
        return codes


def frequencies_of(y: Floats) -> Frequencies:
    """Return what `range_coder.quantize` returns for y (N, 4), as the compiled loop finds it."""
    y = np.ascontiguousarray(y, dtype=np.float32)
    found = np.empty(y.shape, dtype=np.uint32)
    kernels.compiled.bases_frequencies(y.ctypes.data, found.ctypes.data, len(y))
    return found


def _cut_short(size: int) -> TextError:
    return TextError(f"the coded bases are cut short: they end after {size} bytes", hint="copy the file again")


def _damaged() -> TextError:
    return TextError(
        "the coded bases are damaged, or were coded with other probabilities",
        hint="decompress with the model, the settings and the version that compressed",
    )
