"""The softmax by classes of symbols: Pr{w} = Pr{ class of w | s } Pr{ w | its class, s }, exact and normalised.

Sources: J. Goodman, "Classes for fast maximum entropy training" (ICASSP 2001); T. Mikolov et al., "Extensions of
recurrent neural network language model" (ICASSP 2011), for classes by frequency; his toolkit rnnlm (0.3 and later), for
the share of each symbol, the square root of its frequency.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from elman.errors import ModelError
from elman.network.class_kernels import Classes, class_softmax
from elman.network.direct import ClassDirect, dense_sum, gradient_of
from elman.network.feature_kernels import Features, add_features
from elman.network.kernels import softmax_error
from elman.network.parts import Rows, joined
from elman.network.softmax import FullSoftmax


def number_of_classes(dictionary_size: int) -> int:
    """Return K = sqrt(D), rounded: what makes K + D / K, the logits of one symbol, smallest. rnnlm's own is 100."""
    return max(1, round(math.sqrt(dictionary_size)))


def bin_by_frequency(counts: Tensor, classes: int) -> Tensor:
    """Return the class of each symbol, (D,), int64: falling frequency cut into classes of like weight, none empty.

    A symbol weighs the square root of its count, plus one for those that training never saw. Each class takes its share
    of what those before it left, and at least one symbol.
    """
    order = torch.argsort(counts, descending=True, stable=True)
    weights = (counts[order].to(torch.float64) + 1).sqrt().tolist()
    class_of = torch.empty(len(weights), dtype=torch.long)
    left, start = sum(weights), 0
    for k in range(classes):
        share, stop, taken = left / (classes - k), start + 1, weights[start]
        last = len(weights) - (classes - k - 1)  # the classes to come need one symbol each
        while stop < last and (k == classes - 1 or taken + weights[stop] / 2 <= share):
            taken += weights[stop]
            stop += 1
        class_of[order[start:stop]] = k
        left, start = left - taken, stop
    return class_of


class _ClassLoss(torch.autograd.Function):
    """Both softmaxes, their cross-entropy and gradient.

    With k the class of the target d, and weights m(t):

        p(t) = g( s(t) C ),   y(t) = g( s(t) V_k ),   loss = - sum_t m(t) ( log p(t)[k] + log y(t)[d] )

    V_k are the columns of V that belong to class k; those of a class without a target get no gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        states: Tensor,
        V: Tensor,
        C: Tensor,
        window: Window,
        weights: Tensor,
        product: torch.dtype,
        direct: ClassDirect | None,
        found: Tensor | None,
        within: Features | None,
    ) -> Tensor:
        states, weights = states.contiguous(), weights.contiguous()
        s, matrix = states.to(product), C.to(product)
        errors, extra, ctx.direct, ctx.features = torch.mm(s, matrix), None, direct, []
        if direct is not None and found is not None and within is not None:
            add_features(errors, direct.class_weight.squeeze(1), found, direct.of_classes())
            extra = states.new_zeros(len(states), window.widest)
            add_features(extra, direct.weight.squeeze(1), found, within)
        log_probs = softmax_error(errors, window.class_of, weights=weights)
        d_states = torch.mm(errors, matrix.t()).to(states.dtype)
        d_C = torch.mm(s.t(), errors).to(C.dtype)
        values = states.new_empty(len(window.columns), states.shape[1])
        log_probs = log_probs + class_softmax(
            states,
            V.t(),
            window.targets,
            window.classes,
            weights=weights,
            d_states=d_states,
            d_columns=values,
            places=window.places,
            extra=extra,
        )
        if direct is not None and found is not None and within is not None and extra is not None:
            tables = ((errors, direct.of_classes()), (extra, within))
            ctx.features = [gradient_of(e, found, table, dtype=states.dtype) for e, table in tables]
        ctx.weight, ctx.gradients = V, (d_states, d_C, values)
        ctx.columns = window.columns
        return -torch.dot(weights, log_probs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("this loss has handed out its gradient already: compute the loss again")
        if scale.device.type != "cpu" or float(scale) != 1.0:
            gradients = tuple(g.mul_(scale) for g in gradients)
        d_states, d_C, values = gradients
        ctx.weight.parts = Rows(ctx.columns, values)
        if ctx.features:
            of_classes, of_symbols = (joined([rows], scale=scale) for rows in ctx.features)
            ctx.direct.class_weight.parts, ctx.direct.weight.parts = of_classes, of_symbols
        return d_states, None, d_C, *(None,) * 6


class Window:
    """Where the targets of a window are: the class of each, its column of V, and the columns of those classes.

    Parameters
    ----------
    class_of
        (N,), the class of each row's target.
    targets
        (N,), its column of V.
    starts
        (K + 1,), the first column of each class.
    """

    def __init__(self, class_of: Tensor, targets: Tensor, starts: Tensor) -> None:
        self.class_of, self.targets = class_of, targets
        counts = torch.bincount(class_of, minlength=len(starts) - 1)
        ends = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        self.classes = Classes(starts, torch.argsort(class_of, stable=True), ends)
        self.present = counts > 0
        self.widest = int(torch.diff(starts).max())

    def find_columns(self, class_at: Tensor) -> None:
        """Find the columns of the classes that have a target, and where each class begins among them.

        `class_at` is the class of each column, (D,).
        """
        self.columns = self.present[class_at].nonzero().squeeze(1)
        sizes = torch.diff(self.classes.starts) * self.present
        self.places = sizes.cumsum(0) - sizes


class ClassSoftmax(FullSoftmax):
    """The softmax over K classes, C, (H, K), and within the class of a symbol, by its columns of V, (H, D).

    Classes are made of symbols of like frequency, by `prepare`, before training; until then they follow the ids. The
    class of every symbol is stored with the weights. V lies in memory column by column, the columns of one class side
    by side: column `place[i]` belongs to symbol i.
    """

    refuses = ("bias", "tied")
    one_product = False
    direct: ClassDirect | None
    class_of: Tensor  # (D,), of each symbol: all that is stored, the rest follows from it
    place: Tensor  # (D,), of each symbol: its column
    class_at: Tensor  # (D,), of each column: its class
    starts: Tensor  # (K + 1,), of each class: its first column

    def __init__(
        self,
        hidden_size: int,
        dictionary_size: int,
        *,
        bias: bool = False,
        tied: bool = False,
        classes: int | None = None,
    ) -> None:
        super().__init__(hidden_size, dictionary_size)
        if bias or tied:
            raise ValueError("classes know no bias and no tied matrix")
        classes = min(classes or number_of_classes(dictionary_size), dictionary_size)
        self.V = nn.Parameter(torch.zeros(dictionary_size, hidden_size).t())
        self.C = nn.Parameter(torch.zeros(hidden_size, classes))
        self.before_reading: Callable[[Tensor], None] | None = None  # hears which columns of V a window will read
        self.binned = False
        self.register_buffer("class_of", torch.arange(dictionary_size) * classes // dictionary_size)
        self.register_buffer("place", torch.arange(dictionary_size), persistent=False)
        self.register_buffer("class_at", torch.zeros(dictionary_size, dtype=torch.long), persistent=False)
        self.register_buffer("starts", torch.zeros(classes + 1, dtype=torch.long), persistent=False)
        self._arrange()
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    def prepare(self, counts: Tensor) -> None:
        """Make the classes from how often each symbol comes in the training text, (D,), if none were made or loaded."""
        if not self.binned:
            self.class_of.copy_(bin_by_frequency(counts.cpu(), self.C.shape[1]))
            self._arrange()
            self.binned = True
            if self.direct is not None:
                self.direct.split(self.class_of)

    def connect(self, dictionary_size: int, order: int) -> None:
        """Let n-grams add to the logits of classes, and to those within a class."""
        self.direct = ClassDirect(dictionary_size, order)

    def _within(self, own: Tensor) -> Features | None:
        """Return where the features of symbols are in the logits of each row's class, (N,)."""
        if self.direct is None:
            return None
        return self.direct.within(self.class_of, self.place - self.starts[self.class_of], own)

    def _arrange(self) -> None:
        """Give every symbol its column, class after class, as `class_of` says."""
        order = torch.argsort(self.class_of, stable=True)
        self.place[order] = torch.arange(len(order), device=order.device)
        self.class_at.copy_(self.class_of[order])
        self.starts[1:] = torch.bincount(self.class_of, minlength=len(self.starts) - 1).cumsum(0)

    def scale(self, factor: float) -> None:
        """Multiply what makes logits by a factor: V, C, and what n-grams add."""
        super().scale(factor)
        self.C.mul_(factor)
        if self.direct is not None:
            self.direct.class_weight.mul_(factor)

    def log_probs(self, states: Tensor, U: Tensor) -> Tensor:
        """Return log y, (..., D): the log-probability of every symbol."""
        flat, found = self.parted(states.reshape(-1, states.shape[-1]))
        logits, of_class = flat @ self.matrix(U), flat @ self.C
        if self.direct is not None and found is not None:
            logits = logits + self.direct(found)[:, torch.argsort(self.place)]
            tables = (self.direct.class_weight, found, self.direct.of_classes())
            of_class = of_class + dense_sum(*tables, self.C.shape[1])
        here = self.class_at.expand_as(logits)
        top = logits.detach().new_full((len(flat), self.C.shape[1]), -torch.inf)
        top.scatter_reduce_(1, here, logits.detach(), "amax")
        logits = logits - top.gather(1, here)
        sums = torch.zeros_like(top).scatter_add(1, here, logits.exp())
        of_class = torch.log_softmax(of_class, dim=1) - sums.log()
        log_y = (logits + of_class.gather(1, here))[:, self.place]
        return log_y.view(*states.shape[:-1], -1)

    @torch.no_grad()
    def target_log_probs(self, states: Tensor, targets: Tensor, U: Tensor) -> Tensor:
        """Return log y[target], (N,), for states (N, H) and targets (N,), from two small softmaxes; no gradient."""
        window = Window(self.class_of[targets], self.place[targets], self.starts)
        states, found = self.parted(states)
        states, extra = states.contiguous(), None
        logits, within = states @ self.C, self._within(window.class_of)
        if self.direct is not None and found is not None and within is not None:
            add_features(logits, self.direct.class_weight.squeeze(1), found, self.direct.of_classes())
            extra = states.new_zeros(len(states), window.widest)
            add_features(extra, self.direct.weight.squeeze(1), found, within)
        log_probs = softmax_error(logits, window.class_of, want_error=False)
        return log_probs + class_softmax(states, self.matrix(U).t(), window.targets, window.classes, extra=extra)

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
        """Return - sum_n weights[n] log y(n)[targets[n]]; V's gradient comes as rows.

        The softmax over classes is made in the type `product`; those within a class, small as they are, in the states'.
        """
        window = Window(self.class_of[targets], self.place[targets], self.starts)
        window.find_columns(self.class_at)
        if self.before_reading is not None:
            self.before_reading(window.columns)
        states, found = self.parted(states)
        given = (states, self.V, self.C, window, weights, product or states.dtype)
        loss: Tensor = _ClassLoss.apply(  # type: ignore[no-untyped-call]
            *given, self.direct, found, self._within(window.class_of)
        )
        return loss


def _after_loading(layer: nn.Module, _: object) -> None:
    """Take the classes that were loaded, after a look at them: they come from a file."""
    assert isinstance(layer, ClassSoftmax)
    class_of, classes = layer.class_of, layer.C.shape[1]
    inside = bool(((class_of >= 0) & (class_of < classes)).all())
    if not inside or len(torch.unique(class_of)) != classes:
        raise ModelError(
            f"the classes of the output layer are not 0 .. {classes - 1}, each with a symbol in it",
            hint="the file of the weights is damaged; copy or train it again",
        )
    layer._arrange()
    layer.binned = True
