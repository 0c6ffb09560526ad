"""The softmax over the whole dictionary, and its errors: fused, chunked, exact."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from elman.network.direct import Direct
from elman.network.kernels import softmax_error
from elman.network.parts import Factors, joined

# Rows are worked through in chunks of about this many logits (32 MB in fp32), or half as many as V has numbers: large
# enough that the product that adds up dV is worth reading and writing dV once more, small enough to stay out of the way
# of everything else.
CHUNK_LOGITS = 8_000_000
CHUNK_LOGITS_GPU = 64_000_000  # a GPU has no cache to spare, and fills its cores with large products only


def chunk_rows(V: Tensor) -> int:
    """Return how many rows of logits, products with V, (H, D), are computed at once."""
    logits = max(CHUNK_LOGITS, V.numel() // 2) if V.device.type == "cpu" else CHUNK_LOGITS_GPU
    return max(1, logits // V.shape[1])


class _SoftmaxLoss(torch.autograd.Function):
    """Softmax, cross-entropy and their gradient, fused and chunked: the T x B x D logits never exist at once.

    With a(t) = s(t) V + c, y(t) = g(a(t)) and weights m(t):

        loss = - sum_t m(t) log y(t)[target]
        d loss / d a(t) = - m(t) e_o(t),   e_o(t) = d(t) - y(t)
        d loss / d s(t) = - m(t) e_o(t) V^T,   d loss / d V = - sum_t s(t)^T m(t) e_o(t)

    The gradient is made in the forward pass, chunk by chunk, while the logits are at hand. With `factored`, where one
    chunk holds all rows, d loss / d V is left as its two factors in `V.factors`: an optimiser that only adds it to V
    can do so in one pass over V, and H x D numbers are neither written nor read again.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        states: Tensor,
        V: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        product: torch.dtype,
        factored: bool,
        direct: Direct | None,
        found: Tensor | None,
    ) -> Tensor:
        needs = ctx.needs_input_grad
        d_states = torch.empty_like(states) if needs[0] else None
        d_V: Tensor | None = None
        ctx.factors = ctx.weight = None
        ctx.direct, ctx.features = direct, []
        d_bias = torch.zeros_like(bias) if bias is not None and needs[2] else None
        matrix, by_column = V.to(product), V.is_contiguous()
        loss = states.new_zeros(())
        rows = chunk_rows(V)
        for start in range(0, states.shape[0], rows):
            here = slice(start, start + rows)
            s = states[here].to(product)
            errors = torch.mm(s, matrix)  # the logits, to become m (y - d) = - m e_o
            if direct is not None and found is not None:
                direct.add_to(errors, found[here])
            log_probs = softmax_error(errors, targets[here], offset=bias, weights=weights[here])
            loss -= torch.dot(weights[here], log_probs)
            if direct is not None and found is not None and any(needs):
                ctx.features.append(direct.gradient(errors, found[here]))
            if d_states is not None:
                d_states[here] = torch.mm(errors, matrix.t())
            if needs[1]:
                left = s.t().contiguous()
                if factored and len(s) == len(states):
                    ctx.factors, ctx.weight = (left, errors), V
                else:
                    d_V = _add_product(d_V, left, errors) if by_column else _add_product(d_V, errors.t(), s)
            if d_bias is not None:
                d_bias += errors.sum(0, dtype=d_bias.dtype)
        if d_V is not None:
            d_V = d_V.to(V.dtype) if by_column else d_V.t().to(V.dtype)
        ctx.gradients = (d_states, d_V, d_bias)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        # Given away, not lent: a gradient that nobody else holds becomes weight.grad without a copy.
        gradients, ctx.gradients = ctx.gradients, ()
        if not gradients:
            raise RuntimeError("this loss has handed out its gradient already: compute the loss again")
        unscaled = scale.device.type == "cpu" and float(scale) == 1.0
        if not unscaled:
            gradients = tuple(None if g is None else g * scale for g in gradients)
        if ctx.factors is not None:
            left, right = ctx.factors
            ctx.weight.parts = Factors(left if unscaled else left * scale, right)
        if ctx.features:
            ctx.direct.weight.parts = joined(ctx.features, scale=None if unscaled else scale)
        return (*gradients, None, None, None, None, None, None)


def _add_product(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """Return total + left right, in place where there is a total; a sum of several bf16 products is kept in fp32."""
    if total is None:
        return torch.mm(left, right)
    if total.dtype is left.dtype and total.dtype is not torch.bfloat16:
        return total.addmm_(left, right)
    return total.float().add_(torch.mm(left, right))


class FullSoftmax(nn.Module):
    """The softmax over the whole dictionary: y(t) = g( s(t) V + c ).

    Parameters
    ----------
    hidden_size
        H.
    dictionary_size
        D.
    bias
        whether the bias c is there.
    tied
        whether V is the transpose of the encoder's U, given with each call, and no matrix of its own.
    """

    refuses: tuple[str, ...] = ()
    """Settings of the network that this layer knows nothing of."""
    one_product = True
    """Whether the logits are one product, s V: what the regime `online` and `learn.following` move V by."""

    def __init__(self, hidden_size: int, dictionary_size: int, *, bias: bool = False, tied: bool = False) -> None:
        super().__init__()
        self.V = None if tied else nn.Parameter(torch.zeros(hidden_size, dictionary_size))
        self.bias = nn.Parameter(torch.zeros(dictionary_size)) if bias else None
        self.direct: Direct | None = None

    def connect(self, dictionary_size: int, order: int) -> None:
        """Let n-grams add to the logits. The states come with the symbols that those look at, n - 1 numbers more."""
        self.direct, self.one_product = Direct(dictionary_size, order), False

    def parted(self, states: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return states, (..., H), and for direct connections the contexts after which they are, (N, n - 1)."""
        if self.direct is None:
            return states, None
        width = states.shape[-1] - self.direct.order + 1
        symbols = states[..., width:].long()
        return states[..., :width], self.direct.find(symbols.reshape(-1, self.direct.order - 1))

    def prepare(self, counts: Tensor) -> None:
        """Hear, before training, how often each symbol comes in the training text, (D,); not used here."""

    def scale(self, factor: float) -> None:
        """Multiply what makes logits by a factor: V, where it is not U^T, and what n-grams add."""
        if self.V is not None:
            self.V.mul_(factor)
        if self.direct is not None:
            self.direct.weight.mul_(factor)

    def matrix(self, U: Tensor) -> Tensor:
        """Return V, (H, D): its own, or U^T where the two are tied."""
        return U.t() if self.V is None else self.V

    def logits(self, states: Tensor, U: Tensor) -> Tensor:
        """Return a = s V + c, (..., D), for states (..., H)."""
        states, found = self.parted(states)
        logits = states @ self.matrix(U)
        if self.direct is not None and found is not None and torch.is_grad_enabled():
            logits = logits + self.direct(found).view(logits.shape)
        elif self.direct is not None and found is not None:
            self.direct.add_to(logits.view(-1, logits.shape[-1]), found)
        return logits if self.bias is None else logits + self.bias

    def log_probs(self, states: Tensor, U: Tensor) -> Tensor:
        """Return log y, (..., D): the log-probability of every symbol."""
        return torch.log_softmax(self.logits(states, U), dim=-1)

    def target_log_probs(self, states: Tensor, targets: Tensor, U: Tensor) -> Tensor:
        """Return log y[target], (N,), for states (N, H) and targets (N,), in chunks."""
        rows = chunk_rows(self.matrix(U))
        parts = []
        for start in range(0, states.shape[0], rows):
            logits = self.logits(states[start : start + rows], U)
            at_target = logits.gather(1, targets[start : start + rows].unsqueeze(1)).squeeze(1)
            parts.append(at_target - torch.logsumexp(logits, dim=1))
        return torch.cat(parts)

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
        """Return - sum_n weights[n] log y(n)[targets[n]] for states (N, H): the fast path, chunked and fused.

        `factored` leaves the gradient of V as two factors where it can: see `_SoftmaxLoss`. `generator` is for outputs
        that draw; this one does not.
        """
        matrix = self.matrix(U)
        states, found = self.parted(states)
        if self.direct is not None and found is not None:
            self.direct.announce(found)
        given = (states, matrix, self.bias, targets, weights, product or states.dtype)
        loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
            *given, factored and self.V is not None, self.direct, found
        )
        return loss

    def slow_loss(self, states: Tensor, targets: Tensor, weights: Tensor, U: Tensor) -> Tensor:
        """Return what `loss` returns, from all logits at once, for autograd to differentiate."""
        at_target = self.log_probs(states, U).gather(1, targets.unsqueeze(1)).squeeze(1)
        return -(weights * at_target).sum()
