"""The adaptive softmax: frequent symbols at once, rare ones in clusters behind it, with fewer dimensions each.

Source: E. Grave, A. Joulin, M. Cisse, D. Grangier and H. Jegou, "Efficient softmax approximation for GPUs" (ICML 2017),
as PyTorch has it: `torch.nn.AdaptiveLogSoftmaxWithLoss`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from elman.errors import ModelError
from elman.network.softmax import FullSoftmax

SHARES = (3 / 4, 7 / 8)
"""The head holds the D^(3/4) most frequent symbols (1,000 of 10,000), the first cluster those up to D^(7/8)."""
REDUCTION, SMALLEST = 4.0, 32
"""What divides the dimensions from one cluster to the next at the most, and the least that the last one should have."""


def cut(dictionary_size: int) -> list[int]:
    """Return where the head ends and where each cluster but the last one does: ranks by frequency, growing."""
    ends = {max(1, min(dictionary_size - 1, round(dictionary_size**share))) for share in SHARES}
    return sorted(ends)


def reduction(hidden_size: int, clusters: int) -> float:
    """Return what divides the dimensions from one cluster to the next: the paper's 4, less where H is small."""
    return float(min(REDUCTION, max(1.0, (hidden_size / SMALLEST) ** (1 / clusters))))


class _Linear(nn.Linear):
    """A product without bias that is made in the type `product`, where that is set, with the result in the input's."""

    product: torch.dtype | None = None

    def forward(self, input: Tensor) -> Tensor:
        product = self.product or input.dtype
        return nn.functional.linear(input.to(product), self.weight.to(product)).to(input.dtype)


class AdaptiveSoftmax(FullSoftmax):
    """A softmax over the most frequent symbols and the clusters, and one within each cluster of rarer symbols.

    Symbols are ranked by `prepare`, before training; until then they rank by their ids. The rank of every symbol is
    stored with the weights.
    """

    refuses = ("bias", "tied", "direct")
    one_product = False
    rank: Tensor  # (D,), of each symbol: how many are more frequent

    def __init__(self, hidden_size: int, dictionary_size: int, *, bias: bool = False, tied: bool = False) -> None:
        if bias or tied or dictionary_size < 2:
            raise ValueError("an adaptive softmax needs two symbols, and knows no bias and no tied matrix")
        super().__init__(hidden_size, dictionary_size, tied=True)  # no V of its own
        cutoffs = cut(dictionary_size)
        self.softmax = nn.AdaptiveLogSoftmaxWithLoss(
            hidden_size, dictionary_size, cutoffs, div_value=reduction(hidden_size, len(cutoffs))
        )
        self.softmax.head = _of_zeros(self.softmax.head)
        for cluster in self.softmax.tail:
            assert isinstance(cluster, nn.Sequential)
            cluster[0], cluster[1] = _of_zeros(cluster[0]), _of_zeros(cluster[1])
        self.ranked = False
        self.register_buffer("rank", torch.arange(dictionary_size))
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    def prepare(self, counts: Tensor) -> None:
        """Rank the symbols by how often each comes in the training text, (D,), unless ranks were made or loaded."""
        if not self.ranked:
            order = torch.argsort(counts.cpu(), descending=True, stable=True)
            self.rank.copy_(torch.argsort(order))
            self.ranked = True

    def scale(self, factor: float) -> None:
        """Multiply what makes logits by a factor: the head, and the second matrix of every cluster."""
        for name, weight in self.softmax.named_parameters():
            if not name.endswith(".0.weight"):  # tail.i.0 takes states into cluster i, tail.i.1 makes its logits
                weight.mul_(factor)

    def _products(self) -> Iterator[_Linear]:
        return (module for module in self.softmax.modules() if isinstance(module, _Linear))

    def log_probs(self, states: Tensor, U: Tensor) -> Tensor:
        """Return log y, (..., D): the log-probability of every symbol."""
        flat = states.reshape(-1, states.shape[-1])
        return self.softmax.log_prob(flat)[:, self.rank].view(*states.shape[:-1], -1)

    def target_log_probs(self, states: Tensor, targets: Tensor, U: Tensor) -> Tensor:
        """Return log y[target], (N,), for states (N, H) and targets (N,), from the head and the targets' clusters."""
        log_probs: Tensor = self.softmax(states, self.rank[targets]).output
        return log_probs

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
        """Return - sum_n weights[n] log y(n)[targets[n]], products in the type `product`; gradients are whole."""
        for linear in self._products():
            linear.product = product
        try:
            return -torch.dot(weights, self.target_log_probs(states, targets, U))
        finally:
            for linear in self._products():
                linear.product = None


def _of_zeros(linear: nn.Module) -> _Linear:
    """Return a product of the same shape with weights of zero, as all weights are until they are drawn."""
    assert isinstance(linear, nn.Linear)
    mine = _Linear(linear.in_features, linear.out_features, bias=False)
    nn.init.zeros_(mine.weight)
    return mine


def _after_loading(layer: nn.Module, _: object) -> None:
    """Take the ranks that were loaded, after a look at them: they come from a file."""
    assert isinstance(layer, AdaptiveSoftmax)
    ranks = torch.arange(len(layer.rank), device=layer.rank.device)
    if not torch.equal(layer.rank.sort().values, ranks):
        raise ModelError(
            "the ranks of the output layer's symbols are not 0 .. D - 1, each once",
            hint="the file of the weights is damaged; copy or train it again",
        )
    layer.ranked = True
