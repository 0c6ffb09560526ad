"""A network made ready to score texts: what is computed once is computed once, and what nobody asks for is not.

`Scorer` is the fast path; `RecurrentNetwork.target_log_probs` over one stream is its slow twin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from elman.errors import UsageError
from elman.network.kernels import integer_log_probs, softmax_error
from elman.network.model import RecurrentNetwork, State
from elman.network.storage import as_int8, stored

LOGITS = 1_250_000
"""Logits that are made at once: 5 MB in 32 bits, which stay in the cache until they are summed up."""

LEAST_ROWS = 128
"""Rows of logits that are made at once, at the least: all of V is read for each such block."""

STREAMS = 128
"""Pieces of a running text that are read side by side, at the most."""

SHORTEST = 128
"""Symbols of such a piece, at the least, as long as the network forgets a state sooner."""

STRIDE = 32
"""Steps after which two readings of a piece are compared."""

ROOM = 2**24
"""Numbers that the states of a block of text may be: 64 MB."""

LEAST_WORK = 2**24
"""Multiplications of a step of the recurrence from which a second thread helps: H = 362, with 128 pieces."""

OfStates = Callable[[Tensor, Tensor], Tensor]


class Scorer:
    """A network that scores texts: log y(t)[target] for many t at once.

    Parameters
    ----------
    network
        the network; it must not change while it scores.
    product
        the type that the products s V are made in (`torch.bfloat16` where the processor has it, `torch.int8`); by
        default that of the weights. The recurrence is computed in the type of the weights in any case.
    weights
        how V is stored (see `storage.WEIGHTS`).

    Raises
    ------
    UsageError
        for a storage that the network's output layer does not have.
    """

    def __init__(self, network: RecurrentNetwork, *, product: torch.dtype | None = None, weights: str = "fp32") -> None:
        self.network = network
        self.log_probs = _of_states(network, product, weights)
        """From states (N, H) and targets (N,) to log y[target], (N,)."""
        self._shortest = SHORTEST

    @property
    def block(self) -> int:
        """How many symbols of running text `read` should be given at once: as many as there is room for."""
        return max(STRIDE, ROOM // self.network.top_size)

    @torch.no_grad()
    def read(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Read a running text, (N,), from `state`, of batch 1; return the state after it and all states, (N, H).

        The text is cut into pieces that are read side by side, all but the first from a wrong state. What a recurrent
        net still knows of a state fades, so the pieces are then read again, now from the state that the piece before
        them ended in, until both readings agree to rounding; from there on the first one stands. Where a piece ends
        before that, the net remembers longer, and pieces are made longer, here and from then on; the last resort is
        the one stream that the text is.
        """
        count = len(symbols)
        while (streams := min(STREAMS, count // self._shortest)) > 1:
            length = count // streams
            states = self.network.encoder.U.new_empty(count, self.network.top_size)
            with _threads(streams * self.network.settings.hidden**2):
                end = self._read_pieces(state, symbols[: streams * length].view(streams, length).t(), states)
            if end is not None:
                if streams * length < count:
                    end, rest = self.network.unroll(end, symbols[streams * length :].unsqueeze(1))
                    states[streams * length :] = rest.squeeze(1)
                return end, states
            self._shortest = 4 * length
        state, hidden = self.network.unroll(state, symbols.unsqueeze(1))
        return state, hidden.squeeze(1)

    def _read_pieces(self, state: State, symbols: Tensor, states: Tensor) -> State | None:
        """Read pieces, (T, B), that follow one another, into `states`, (B T or more, H); return the state at the end.

        None where the second reading does not meet the first.
        """
        length, streams = symbols.shape
        strides = [slice(start, start + STRIDE) for start in range(0, length, STRIDE)]
        pieces = states[: streams * length].view(streams, length, -1).transpose(0, 1)
        after, met = tuple(s.expand(streams, -1).contiguous() for s in state), []
        for here in strides:
            after, pieces[here] = self.network.unroll(after, symbols[here])
            met.append(after)
        ends = after
        after = tuple(torch.cat([first, end[:-1]]) for first, end in zip(state, ends, strict=True))
        for here, before in zip(strides, met, strict=True):
            after, pieces[here] = self.network.unroll(after, symbols[here])
            if all(_agree(a, b) for a, b in zip(after, before, strict=True)):
                return tuple(end[-1:] for end in ends)
        return None


@contextmanager
def _threads(work: int) -> Iterator[None]:
    """Multiply with one thread where a product of so many multiplications is too little for two.

    Thousands of small products follow each other, and at the end of each the fastest thread waits for the slowest:
    where other programs want the processor too, that can take a hundred times as long as the product.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if work < LEAST_WORK else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _agree(one: Tensor, other: Tensor) -> bool:
    """Return whether two states are the same to rounding; NaN agrees with nothing. Symbols are the same or not."""
    if not one.is_floating_point():
        return torch.equal(one, other)
    limit = 8 * torch.finfo(one.dtype).eps
    return torch.allclose(one, other, rtol=limit, atol=limit)


def _of_states(network: RecurrentNetwork, product: torch.dtype | None, weights: str) -> OfStates:
    output, U = network.output, network.encoder.U
    if not output.one_product:  # classes, say, have a way of their own, in fp32
        if weights != "fp32":
            raise UsageError(f"output {network.settings.output} is not stored in {weights}", hint="leave it at fp32")
        return lambda states, targets: output.target_log_probs(states, targets, U)
    V = stored(output.matrix(U).detach(), weights)
    bias = None if output.bias is None else output.bias.detach()
    rows = max(LEAST_ROWS, LOGITS // V.shape[1])
    of_block = (
        _in_integers(V, bias, rows) if product is torch.int8 else _in_floats(V.to(product or V.dtype), bias, rows)
    )

    @torch.no_grad()
    def log_probs(states: Tensor, targets: Tensor) -> Tensor:
        blocks = zip(torch.split(states, rows), torch.split(targets, rows), strict=True)
        return torch.cat([states.new_empty(0), *(of_block(*block) for block in blocks)])

    return log_probs


def _in_floats(V: Tensor, bias: Tensor | None, rows: int) -> OfStates:
    """Return what scores blocks of up to so many states, by products in the type of V."""
    room = V.new_empty(rows, V.shape[1])  # kept from call to call, for memory that is new costs as much as the sums

    def log_probs(states: Tensor, targets: Tensor) -> Tensor:
        logits = room[: len(states)]
        torch.mm(states.to(V.dtype), V, out=logits)
        return softmax_error(logits, targets, offset=bias, want_error=False)

    return log_probs


def _in_integers(V: Tensor, bias: Tensor | None, rows: int) -> OfStates:
    """Return what scores blocks of up to so many states, by products of 8-bit integers.

    Each column of V and each state is rounded to 127 steps either way of its own largest number.
    """
    columns, scales = as_int8(V)
    room = torch.empty(rows, V.shape[1], dtype=torch.int32)

    def log_probs(states: Tensor, targets: Tensor) -> Tensor:
        steps = states.abs().amax(dim=1).div_(127).clamp_(min=torch.finfo(states.dtype).tiny)
        rounded = (states / steps.unsqueeze(1)).round_().to(torch.int8)
        products = room[: len(states)]
        torch._int_mm(rounded, columns.t(), out=products)
        return integer_log_probs(products, targets, steps, scales, bias)

    return log_probs
