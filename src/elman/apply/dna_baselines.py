"""What counting says of the bases that a model of DNA scores, to print beside what the model says.

For a model that does not change, the order-k context model of the bases that it was trained on; for one that learns
while it scores, counts that grow while they are read. Neither has seen a base that it predicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from elman.apply.dna import Values, log_probs_of
from elman.apply.dna_scores import ScoredPiece
from elman.network.bases import LEARN_COUNTS, BaseReader, Codes, Contexts, bits_for
from elman.network.bases_folder import count_all
from elman.ngram.baseline import orders_for
from elman.ngram.markov import MAX_ORDER, best_order, fit
from elman.text.dna import BASES, COMPATIBLE
from elman.text.segments import runs

HIGHEST = 10
"""The highest order that is counted: 4^11 numbers."""

BLOCK = 4096
"""Bases after which another order of growing counts may take the lead."""

_LOG_SHARES = np.log(COMPATIBLE.sum(axis=1) / BASES)


class Rival(Protocol):
    """What gives the bases of pieces, one after the other, log-probabilities of its own."""

    @property
    def about(self) -> str:
        """What it is, for people."""

    @property
    def order(self) -> int:
        """The number of bases that are looked back."""

    def log_probs(self, piece: ScoredPiece) -> Values:
        """Return the log-probability in nats of each base of a piece that the model scored, (N,); NaN for others."""


class Counted:
    """The order-k context model of some sequences, both strands counted, k and alpha by leaving one out of them."""

    def __init__(self, sequences: Sequence[Codes]) -> None:
        bases = sum(map(len, sequences))
        orders = [order for order in orders_for(bases) if order <= HIGHEST]
        model = fit(sequences, orders[-1])
        self._model = model.of_order(best_order(model))

    @property
    def order(self) -> int:
        """The number of bases that are looked back."""
        return self._model.order

    @property
    def about(self) -> str:
        """What it is, for people."""
        return f"order-{self.order} counts of the bases that the model was trained on, both strands"

    def log_probs(self, piece: ScoredPiece) -> Values:
        """Return the log-probability of each base that the model scored."""
        before = piece.before[max(0, len(piece.before) - self.order) :]
        return _with_ambiguous(self._model.log_probs(np.concatenate([before, piece.codes]), before=len(before)), piece)


class Growing:
    """Counts of several orders, of both strands, that grow while they read; the order that was best so far predicts.

    With n the counts so far after the last k bases, Pr{ x } = (n(x) + a) / (sum of n + 4 a), a as in
    `network.bases.smoothing`. Which order leads is settled after each BLOCK bases, by what all before cost each.

    Parameters
    ----------
    bases
        how many will be read, about: for the size of the tables.
    sequences
        what is counted before anything is read.
    """

    def __init__(self, bases: int, sequences: Sequence[Codes] = ()) -> None:
        self.orders = growing_orders(bases)
        self._readers: list[BaseReader] = []
        for order in self.orders:
            contexts = Contexts([order], bits=bits_for(bases))
            contexts.weights[:] = 1.0
            count_all(contexts, sequences)
            self._readers.append(BaseReader(contexts, None))
        self._sums = np.zeros(len(self.orders))

    @property
    def order(self) -> int:
        """The order that leads."""
        return self.orders[int(np.argmax(self._sums))]

    @property
    def about(self) -> str:
        """What it is, for people."""
        orders = ", ".join(map(str, self.orders))
        return f"counts of both strands that grow while they read, of the order that was best so far among {orders}"

    def log_probs(self, piece: ScoredPiece) -> Values:
        """Return the log-probability of each base that the model scored, and count the bases."""
        if piece.start == piece.score.region.start:
            self._begin()
        values = np.full(len(piece.codes), np.nan)
        reached = 0
        for start, end in runs(piece.codes):
            if start > reached:
                self._begin()
            for at in range(start, end, BLOCK):
                part = piece.codes[at : min(at + BLOCK, end)]
                values[at : at + len(part)] = self._follow(part)
            reached = end
        if reached < len(piece.codes):
            self._begin()
        return _with_ambiguous(values, piece)

    def _begin(self) -> None:
        for reader in self._readers:
            reader.begin()

    def _follow(self, codes: Codes) -> Values:
        each = [log_probs_of(reader.follow(codes, learn=LEARN_COUNTS), codes) for reader in self._readers]
        leader = int(np.argmax(self._sums))
        self._sums += [values.sum() for values in each]
        return each[leader]


def growing_orders(bases: int) -> list[int]:
    """Return the three highest even orders k, 2 to 12, for which there are 64 bases or more to each context.

    >>> growing_orders(4_600_000), growing_orders(50_000)
    ([4, 6, 8], [2, 4])
    """
    return [order for order in range(2, MAX_ORDER + 1, 2) if order == 2 or 64 * 4**order <= bases][-3:]


def _with_ambiguous(values: Values, piece: ScoredPiece) -> Values:
    """Give ambiguous bases that the model scored the share of the bases that they can stand for; leave out the rest."""
    ambiguous = piece.codes >= BASES
    values[ambiguous] = _LOG_SHARES[piece.codes[ambiguous]]
    values[np.isnan(piece.values)] = math.nan
    return values
