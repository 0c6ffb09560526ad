"""Bases of DNA, one after the other: counted contexts of several orders, mixed with what a recurrent net says.

With n_k(x) how often base x came after the last k bases so far, on either strand, and a the logits of the net:

    y(t) = softmax( s(t) V + c + sum over k of w_k (l_k - mean l_k) ),    l_k(x) = log( n_k(x) + smoothing_k )

w_k is one number for each order, size of the sum of counts, and whether only one base was ever seen there. After each
base the w follow the error of y, d - y, at a rate of their own, and the counts grow: both learn from what has been
predicted, never before. So the counts are those direct connections of high order that a text of one pass can teach.

Sources: M. Mahoney, "Adaptive weighing of context models for lossless data compression" (2005), for the mixing by
gradient; D. Pratas, M. Hosseini and A. Pinho, "GeCo2" (2020), for orders and the counts of both strands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network import kernels
from elman.network.activations import ACTIVATIONS
from elman.network.cells import Elman
from elman.network.encoders import NGrams
from elman.network.model import RecurrentNetwork
from elman.text.dna import BASES

Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]

DENSE_ORDER = 12
"""Contexts of so many bases or fewer have a row of counts each; longer ones share a table by hash, with a check."""

MOST_ORDER, MOST_ORDERS, MOST_BITS = 24, 24, 30
SIZES = 12
LARGEST, LARGEST_HASHED = 255, 15
LEARN_WEIGHTS, LEARN_COUNTS = 1, 2
START = 1.5
"""What all w of a position sum to before anything is learnt."""

KINDS = {"sigmoid": 0, "tanh": 1, "relu": 2}
_BITS = (1 << 64) - 1


def smoothing(order: int) -> float:
    """Return what is added to the counts of an order: less where a context is seen once or never."""
    return 1.0 if order <= 8 else 1 / 16 if order <= DENSE_ORDER else 1 / 64


def bits_for(bases: int) -> int:
    """Return log2 of the places of a hashed table for so many bases: about one for each, within bounds.

    Each base is counted on two strands, so that half of all contexts find a place: those that come again keep theirs.

    >>> bits_for(4_600_000), bits_for(4_100_000)
    (22, 22)
    """
    return int(np.clip(round(np.log2(max(bases, 2))), 12, 24))


def check_plain(settings: NetworkSettings) -> None:
    """Raise `UsageError` where settings are not those of the plain net that reads bases: one layer, U, W and V."""
    plain = {"cell": "elman", "layers": 1, "output": "full", "tied": False, "direct": 0, "embedding": None}
    plain |= {"zoneout": 0.0, "first_state": 0.0}
    for name, value in plain.items():
        if getattr(settings, name) != value:
            said = "unset" if value is None else str(value).lower()
            raise UsageError(f"unit dna trains a plain net, without network.{name}", hint=f"leave it {said}")
    if settings.activation not in KINDS:
        raise UsageError(f"unit dna has no activation {settings.activation!r}", hint=f"known: {', '.join(KINDS)}")
    if settings.encoder not in ("one-hot", "n-gram") or any(4**n > settings.buckets for n in settings.ngrams):
        hint = "choose encoder one-hot, or n-gram with n of at most 9"
        raise UsageError("unit dna has a row of U for every n-gram of bases, and no other input", hint=hint)


class Contexts:
    """Counts of what came after the last k bases, for several k, on both strands; and the weights that mix them.

    Parameters
    ----------
    orders
        the k, 0 to 24.
    bits
        log2 of the places of each hashed table, 1 to 30.

    Raises
    ------
    UsageError
        for others: the compiled loop would read past the tables.
    """

    def __init__(self, orders: Sequence[int], *, bits: int) -> None:
        if not all(0 <= k <= MOST_ORDER for k in orders) or len(orders) > MOST_ORDERS:
            hint = f"give up to {MOST_ORDERS} orders, of 0 to {MOST_ORDER} bases"
            raise UsageError(f"the orders of counts cannot be {list(orders)}", hint=hint)
        if not 1 <= bits <= MOST_BITS:
            raise UsageError(f"a table of counts cannot have 2^{bits} places", hint=f"give 1 to {MOST_BITS} bits")
        self.orders = np.array(orders, dtype=np.int64)
        self.bits = bits
        sizes = [4 * 4**k if k <= DENSE_ORDER else 4 * 2**bits for k in orders]
        self.starts = np.cumsum([0, *sizes], dtype=np.int64)
        self.tables: NDArray[np.uint8] = np.zeros(int(self.starts[-1]), dtype=np.uint8)
        self.weights: Floats = np.full((len(orders), 2 * SIZES), START / max(1, len(orders)), dtype=np.float32)
        counts = np.arange(256, dtype=np.float64)
        self.logs: Floats = np.array([np.log(counts + smoothing(k)) for k in orders], dtype=np.float32).reshape(-1, 256)

    def forget(self) -> None:
        """Set all counts to zero."""
        self.tables[:] = 0


class BaseReader:
    """Contexts and a net reading one strand: what came before, and what comes of it for the next base.

    Parameters
    ----------
    contexts
        what counts; changed by what is read, where that is asked for.
    network
        a plain recurrent network over the four bases, or none. Its weights are read as they are at each call.
    keep
        how many states are kept, besides the two before: see `follow`.
    compiled
        whether to take the compiled loop where it is there.
    """

    def __init__(
        self, contexts: Contexts, network: RecurrentNetwork | None, *, keep: int = 1, compiled: bool = True
    ) -> None:
        self.contexts, self.network = contexts, network
        self._net = None if network is None else _Plain(network)
        width = 0 if self._net is None else self._net.recurrent.shape[0]
        self.registers = np.zeros(3, dtype=np.uint64)
        self.states: Floats = np.zeros((keep + 2, width), dtype=np.float32)
        self.compiled = compiled and kernels.compiled is not None and hasattr(kernels.compiled, "bases_follow")
        count = len(contexts.orders)
        self.stretched, self.buckets = np.zeros((count, 4), np.float32), np.full(count, -1, np.int64)
        self.y: Floats = np.full(4, 0.25, dtype=np.float32)
        self.mixed: Floats = np.zeros(4, dtype=np.float32)
        self._drive = np.zeros(max(width, 1), np.float32)
        self._plan = self._make_plan()

    @property
    def known(self) -> int:
        """How many bases were read since the beginning."""
        return int(self.registers[2])

    def begin(self) -> None:
        """Start a sequence: no base is known, and the state is s(0) = 0."""
        self.registers[:] = 0
        self.states[:] = 0

    def follow(
        self, codes: Codes, *, rate: float = 0.0, learn: int = 0, keep: bool = False, mixed: Floats | None = None
    ) -> Floats:
        """Predict bases and read them; return y, (N, 4), each row before its base was seen.

        Parameters
        ----------
        codes
            (N,), 0 .. 3.
        rate, learn
            LEARN_WEIGHTS moves the w at this rate after each base, LEARN_COUNTS counts it.
        keep
            leave s(t) after base t of these in `states[t + 2]`; `states[:2]` are then the two before them, which the
            caller moves up between calls. Otherwise `states[0]` is the last state.
        mixed
            (N, 4), filled with what the contexts added to the logits.

        Raises
        ------
        UsageError
            for codes that are no known base.
        """
        codes = _known(codes)
        if keep and len(codes) + 2 > len(self.states):
            raise IndexError(f"{len(codes)} states are more than the {len(self.states) - 2} that are kept")
        if mixed is not None and (mixed.shape != (len(codes), 4) or mixed.dtype != np.float32):
            raise ValueError(f"mixed is {mixed.dtype} {mixed.shape}, not float32 {(len(codes), 4)}")
        y = np.empty((len(codes), 4), dtype=np.float32)
        if not self.compiled:
            for t, base in enumerate(codes.tolist()):
                row = t + 1 if keep else 0
                y[t] = self._predict_slowly(row)
                if mixed is not None:
                    mixed[t] = self.mixed
                self._take_slowly(base, row, rate, learn)
                if not keep:
                    self.states[0] = self.states[1]
            return y
        assert mixed is None or mixed.flags.c_contiguous
        kernels.compiled.bases_follow(
            self.refresh(),
            codes.ctypes.data,
            len(codes),
            1,
            y.ctypes.data,
            0 if mixed is None else mixed.ctypes.data,
            rate,
            learn,
            keep,
        )
        return y

    def count(self, codes: Codes) -> None:
        """Count bases without predicting them; the state of the net stays where it is. Errors as in `follow`."""
        codes = _known(codes)
        if self.compiled:
            kernels.compiled.bases_count(self.refresh(), codes.ctypes.data, len(codes))
            return
        for base in codes.tolist():
            self._read_slowly(base, LEARN_COUNTS)

    def predict(self, row: int = 0) -> Floats:
        """Return y, (4,), of the next base, by the state in this row; the array is used again by the next call."""
        self._check_row(row, 1)
        if not self.compiled:
            return self._predict_slowly(row)
        kernels.compiled.bases_predict(self.refresh(), row)
        return self.y

    def take(self, base: int, row: int = 0, *, rate: float = 0.0, learn: int = 0) -> None:
        """Learn from the base that `predict` was about, and read it: the next state goes into the next row."""
        self._check_row(row, 2)
        if not 0 <= base < BASES:
            raise UsageError(f"{base} is no known base", hint="bases are 0 to 3")
        if self.compiled:
            kernels.compiled.bases_take(self._plan.ctypes.data, row, base, rate, learn)
        else:
            self._take_slowly(base, row, rate, learn)

    def _check_row(self, row: int, rows: int) -> None:
        """Raise `IndexError` where the compiled loop, which checks nothing, would go past the states."""
        if not 0 <= row <= len(self.states) - rows:
            raise IndexError(f"there is no row {row} of {len(self.states)} states to go on from")

    def _make_plan(self) -> NDArray[np.int64]:
        contexts, net = self.contexts, self._net
        at = [a.ctypes.data for a in (self.registers, contexts.orders, contexts.starts, contexts.tables)]
        plan = [at[0], len(contexts.orders), at[1], at[2], at[3], contexts.bits]
        plan += [contexts.weights.ctypes.data, contexts.logs.ctypes.data, self.states.shape[1]]
        plan += [0] * 10 if net is None else net.plan()
        room = (self.states, self.stretched, self.buckets, self.y, self.mixed, self._drive)
        return np.array([*plan, *(a.ctypes.data for a in room)], dtype=np.int64)

    def refresh(self) -> int:
        """Return where the plan is, with the addresses of weights that may have been replaced."""
        if self._net is not None:
            self._plan[9:19] = self._net.plan()
        return int(self._plan.ctypes.data)

    # What the compiled loop does, one step after the other.

    def _counts_slowly(self, i: int, context: int) -> list[int]:
        contexts = self.contexts
        order, start = int(contexts.orders[i]), int(contexts.starts[i])
        if order <= DENSE_ORDER:
            return [int(n) for n in contexts.tables[start + 4 * context : start + 4 * context + 4]]
        places, (at, check) = self._places(i), _place(context, order, contexts.bits)
        for place in (at, at ^ 1):
            if int(places[place]) >> 16 == check:
                return [int(places[place]) >> (4 * j) & 15 for j in range(4)]
        return [0, 0, 0, 0]

    def _places(self, i: int) -> NDArray[np.uint32]:
        start, end = self.contexts.starts[i : i + 2]
        return self.contexts.tables[start:end].view(np.uint32)

    def _count_slowly(self, i: int, context: int, base: int) -> None:
        contexts = self.contexts
        order, start = int(contexts.orders[i]), int(contexts.starts[i])
        if order <= DENSE_ORDER:
            row = contexts.tables[start + 4 * context : start + 4 * context + 4]
            if row[base] == LARGEST:
                row >>= 1
            row[base] += 1
            return
        places, (at, check) = self._places(i), _place(context, order, contexts.bits)
        found = [place for place in (at, at ^ 1) if int(places[place]) >> 16 == check]
        if found:
            place, value = found[0], int(places[found[0]])
        else:
            totals = [sum(int(places[p]) >> (4 * j) & 15 for j in range(4)) for p in (at, at ^ 1)]
            place, value = (at if totals[0] <= totals[1] else at ^ 1), check << 16
        if value >> (4 * base) & 15 == LARGEST_HASHED:
            value = value & 0xFFFF0000 | value >> 1 & 0x7777
        places[place] = value + (1 << 4 * base)

    def _predict_slowly(self, row: int) -> Floats:
        contexts, history = self.contexts, int(self.registers[0])
        self.mixed[:] = 0
        for i, order in enumerate(contexts.orders.tolist()):
            if self.known < order:
                self.buckets[i] = -1
                continue
            n = self._counts_slowly(i, history & 4**order - 1)
            stretched = contexts.logs[i, n]
            self.stretched[i] = stretched - stretched.mean()
            size = min(sum(n).bit_length(), SIZES - 1)
            self.buckets[i] = size + (SIZES if sum(n) and max(n) == sum(n) else 0)
            self.mixed += contexts.weights[i, self.buckets[i]] * self.stretched[i]
        logits = self.mixed.copy()
        if self._net is not None:
            logits += self._net.logits(self.states[row])
        y = np.exp(logits - logits.max())
        self.y[:] = y / y.sum()
        return self.y

    def _take_slowly(self, base: int, row: int, rate: float, learn: int) -> None:
        if learn & LEARN_WEIGHTS:
            error = -self.y
            error[base] += 1
            for i in np.flatnonzero(self.buckets >= 0):
                self.contexts.weights[i, self.buckets[i]] += rate * (error @ self.stretched[i])
        self._read_slowly(base, learn)
        if self._net is not None:
            self.states[row + 1] = self._net.step(self.states[row], self.history(self._net.longest))

    def _read_slowly(self, base: int, learn: int) -> None:
        history, reverse = int(self.registers[0]), int(self.registers[1])
        longer, reverse = (history << 2 | base) & _BITS, reverse >> 2 | (3 - base) << 62
        for i, order in enumerate(self.contexts.orders.tolist()):
            if learn & LEARN_COUNTS and self.known >= order:
                self._count_slowly(i, history & 4**order - 1, base)
                other = reverse >> 64 - 2 * order if order else 0
                self._count_slowly(i, other, 3 - (longer >> 2 * order & 3))
        self.registers[:] = longer, reverse, self.known + 1

    def history(self, length: int) -> list[int]:
        """Return the last bases, oldest first: `length` of them at the most, and 32."""
        known = min(self.known, length, 32)
        return [int(self.registers[0]) >> 2 * k & 3 for k in range(known - 1, -1, -1)]


def _known(codes: Codes) -> Codes:
    """Return codes as the compiled loop reads them, by address: it takes each for a row of U and of the counts."""
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < BASES:
        place = int(np.argmax((codes < 0) | (codes >= BASES)))
        hint = "cut the sequence there: the runs of known bases are sequences of their own"
        raise UsageError(f"base {place + 1} has code {int(codes[place])}, which is no known base", hint=hint)
    return np.ascontiguousarray(codes, dtype=np.uint8)


def _place(context: int, order: int, bits: int) -> tuple[int, int]:
    """Return the first of a context's two places in a hashed table, and the check that marks it as the context's."""
    z = (context + order) * 0x9E3779B97F4A7C15 & _BITS
    z = (z ^ z >> 29) * 0xBF58476D1CE4E5B9 & _BITS
    z ^= z >> 32
    return z >> 16 & (1 << bits) - 1, z & 0xFFFF or 1


class _Plain:
    """The weights of a plain recurrent network, as the loop reads them: no copies, so that it sees what is learnt."""

    def __init__(self, network: RecurrentNetwork) -> None:
        self.network = network
        self.ngrams = np.array(network.encoder.orders if isinstance(network.encoder, NGrams) else [], dtype=np.int64)
        self.gram_starts = np.cumsum([0, *(4**n for n in self.ngrams.tolist())], dtype=np.int64)
        self.longest = max([1, *self.ngrams.tolist()])

    @property
    def cell(self) -> Elman:
        cell = self.network.cells[0]
        assert isinstance(cell, Elman)
        return cell

    @property
    def recurrent(self) -> Floats:
        return _array(self.cell.W)

    def plan(self) -> list[int]:
        network, cell = self.network, self.cell
        encoder, output = network.encoder, network.output
        grams = encoder.grams.data_ptr() if isinstance(encoder, NGrams) else 0
        assert output.V is not None
        if not all(w.dtype is torch.float32 and w.is_contiguous() for w in network.parameters()):
            raise TypeError("the weights of a network that reads bases have to be float32, each in one piece")
        bias, offset = (0 if w is None else w.data_ptr() for w in (cell.bias, output.bias))
        at = self.ngrams.ctypes.data, self.gram_starts.ctypes.data
        weights = [bias, cell.W.data_ptr(), output.V.data_ptr(), offset]
        return [encoder.U.data_ptr(), grams, len(self.ngrams), *at, *weights, KINDS[cell.activation.name]]

    def logits(self, state: Floats) -> Floats:
        output = self.network.output
        assert output.V is not None
        logits: Floats = state @ _array(output.V)
        return logits if output.bias is None else logits + _array(output.bias)

    def step(self, state: Floats, history: list[int]) -> Floats:
        encoder, cell = self.network.encoder, self.cell
        drive = _array(encoder.U)[history[-1]] + state @ self.recurrent
        if cell.bias is not None:
            drive = drive + _array(cell.bias)
        for n, start in zip(self.ngrams.tolist(), self.gram_starts.tolist(), strict=False):
            if len(history) >= n:
                row = sum(base * 4**k for k, base in enumerate(history[-n:]))
                drive = drive + _array(encoder.grams)[start + row]
        return next_state(drive, cell.activation.name)


def next_state(drive: Floats, activation: str) -> Floats:
    """Return f(drive)."""
    given = torch.from_numpy(drive.copy())
    result: Floats = ACTIVATIONS[activation].in_place(given).numpy()
    return result


def _array(weight: object) -> Floats:
    assert isinstance(weight, torch.Tensor)
    result: Floats = weight.detach().numpy()
    return result
