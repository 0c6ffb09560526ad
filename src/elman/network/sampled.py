"""A softmax that learns from a sample of the dictionary, shared by all rows of a window; in use it is the full one.

Sources: Y. Bengio and J.-S. Senecal, "Quick training of probabilistic neural nets by importance sampling" (2003), for
the sample and its correction; D. G. Horvitz and D. J. Thompson (1952) for the weights of symbols drawn without return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from elman.network.direct import Direct
from elman.network.kernels import softmax_error
from elman.network.parts import Rows, joined
from elman.network.softmax import FullSoftmax

ROUND = 64
NEVER = -1e30  # the offset of a column that stands for no symbol


class _SampledLoss(torch.autograd.Function):
    """Softmax, cross-entropy and their gradient over the columns of V that are in the sample.

    With a(t) = s(t) V + c, C the sample, p(j) the probability that symbol j is in it, and d the target, itself in C:

        z(t) = exp a(t)[d] + sum over j in C but d of exp( a(t)[j] ) / p(j)
        loss = - sum_t m(t) ( a(t)[d] - log z(t) )

    The columns in the sample are read from V, whose gradient is left with it as rows, or, where V is U^T, given as a
    matrix of their own, `columns`, (M, H).

    z is an unbiased estimate of the sum over the dictionary; with p = 1 throughout, the loss is the full softmax's.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        states: Tensor,
        V: Tensor | None,
        columns: Tensor,
        bias: Tensor | None,
        sample: Tensor,
        places: Tensor,
        offset: Tensor,
        weights: Tensor,
        product: torch.dtype,
        direct: Direct | None,
        found: Tensor | None,
    ) -> Tensor:
        # Products are fastest, and their plans are made only once, where their sizes come in few and round numbers.
        room = -(-len(sample) // ROUND) * ROUND
        rows = states.new_zeros(room, states.shape[1], dtype=product)
        rows[: len(sample)] = columns if V is None else V.t()[sample]
        offset = nn.functional.pad(offset, (0, room - len(sample)), value=NEVER)
        s = states.to(product)
        errors = torch.mm(s, rows.t())
        if bias is not None:
            errors[:, : len(sample)] += bias[sample].to(product)
        if direct is not None and found is not None:
            direct.add_to(errors[:, : len(sample)], found, sample)
        log_probs = softmax_error(errors, places, offset=offset, with_target=False, weights=weights)
        needs, ctx.direct, ctx.features = ctx.needs_input_grad, direct, None
        if direct is not None and found is not None and any(needs):
            ctx.features = direct.gradient(errors[:, : len(sample)], found, sample)
        d_states = torch.mm(errors, rows).to(states.dtype) if needs[0] else None
        wanted, ctx.d_bias = needs[1] or V is None, None
        if bias is not None and needs[3]:
            sums = errors.sum(0, dtype=bias.dtype)[: len(sample)]
            ctx.d_bias = torch.zeros_like(bias).index_copy_(0, sample, sums)
        ctx.rows = Rows(sample, torch.mm(errors.t(), s)[: len(sample)].to(states.dtype)) if wanted else None
        ctx.weight, ctx.d_states = V, d_states
        return -torch.dot(weights, log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        d_states, rows, d_bias = ctx.d_states, ctx.rows, ctx.d_bias
        ctx.d_states = ctx.rows = ctx.d_bias = None
        if d_states is None and rows is None:
            raise RuntimeError("this loss has handed out its gradient already: compute the loss again")
        if scale.device.type != "cpu" or float(scale) != 1.0:
            d_states = None if d_states is None else d_states * scale
            rows = None if rows is None else Rows(rows.ids, rows.values * scale)
            d_bias = None if d_bias is None else d_bias * scale
        d_columns = None
        if ctx.weight is None:
            d_columns = rows.values
        elif rows is not None:
            ctx.weight.parts = rows
        if ctx.features is not None:
            ctx.direct.weight.parts = joined([ctx.features], scale=scale)
        return d_states, None, d_columns, d_bias, *(None,) * 7


class SampledSoftmax(FullSoftmax):
    """The full softmax, trained on `negatives` symbols drawn for each window and on the window's own targets.

    Symbols are drawn from the training text's frequencies to the power `power`. V lies in memory symbol by symbol, so
    that the columns in use are read and moved as rows. Evaluation, prediction and everything else use all of V.
    """

    negatives = 1000
    power = 0.75

    def __init__(self, hidden_size: int, dictionary_size: int, *, bias: bool = False, tied: bool = False) -> None:
        super().__init__(hidden_size, dictionary_size, bias=bias, tied=tied)
        if self.V is not None:
            self.V = nn.Parameter(torch.zeros(dictionary_size, hidden_size).t())
        self.sampling = False
        self.before_reading: Callable[[Tensor], None] | None = None  # hears which rows of V a window is about to read
        self.frequencies = self.chances = self.cumulative = torch.zeros(0)

    def prepare(self, counts: Tensor) -> None:
        """Hear how often each symbol comes in the training text, (D,), and begin to sample.

        Sums are made on the CPU, in the order of the symbols, so that every device draws from the same chances.
        """
        counts = counts.to("cpu", torch.float64)
        weights = counts.pow(self.power)
        self.frequencies, self.chances = counts / counts.sum(), weights / weights.sum()
        self.cumulative = self.chances.cumsum(0)
        if self.V is not None:
            self._move(self.V.device)
        self.sampling = True

    def _move(self, device: torch.device) -> None:
        self.frequencies, self.chances = self.frequencies.to(device), self.chances.to(device)
        self.cumulative = self.cumulative.to(device)

    def draw(self, targets: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return a sample: its symbols (M,), where each target is in it (N,), and log 1/p of each symbol (M,).

        All of it is made where the targets are, and `generator` has to be there too; a GPU is waited for, as only it
        knows M.
        """
        self._move(targets.device)
        uniform = torch.rand(self.negatives, generator=generator, dtype=torch.float64, device=targets.device)
        drawn = torch.searchsorted(self.cumulative, uniform).clamp_(max=len(self.cumulative) - 1)
        sample, inverse = torch.unique(torch.cat((targets, drawn)), return_inverse=True)
        missed = self.negatives * torch.log1p(-self.chances[sample])
        missed += len(targets) * torch.log1p(-self.frequencies[sample])
        return sample, inverse[: len(targets)], -torch.log(-torch.expm1(missed))

    def loss(
        self,
        states: Tensor,
        targets: Tensor,
        weights: Tensor,
        U: Tensor,
        *,
        product: torch.dtype | None = None,
        factored: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss over a sample while `sampling`, else over the dictionary; V's gradient comes as rows."""
        if not self.sampling:
            return super().loss(states, targets, weights, U, product=product, factored=factored)
        sample, places, offset = self.draw(targets, generator)
        if self.before_reading is not None:
            self.before_reading(sample)
        # Where V is U^T its rows are looked up as symbols are, so that both gradients of U come as one.
        columns = U if self.V is not None else nn.functional.embedding(sample, U, sparse=True)
        offset, product = offset.to(states.dtype), product or states.dtype
        states, found = self.parted(states)
        if self.direct is not None and found is not None:
            self.direct.announce(found)
        given = (states, self.V, columns, self.bias, sample, places, offset, weights, product)
        loss: Tensor = _SampledLoss.apply(*given, self.direct, found)  # type: ignore[no-untyped-call]
        return loss
