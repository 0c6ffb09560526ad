"""A back-off model in packed arrays, which looks up all positions of a text at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ModelError, UsageError, nearest
from elman.ngram.sentences import START, Ids, bounded
from elman.ngram.sentences import batches as batches_of
from elman.text.symbols import END, UNK

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """All n-grams of one order n, sorted by `keys`.

    Attributes
    ----------
    keys
        (index of the first n-1 words in the level below) * (D + 1) + id of the last word; int64, rising. At order 1
        the key is the id itself, and every id has its place. D, one past the last word, is <s>.
    log_probs
        log Pr{ last word | the words before it }, natural.
    backoffs
        log b(n-gram), natural: what the next lower order is weighed with where this n-gram is the context; empty at
        the highest order.
    """

    keys: Ids
    log_probs: Floats
    backoffs: Floats

    def find(self, contexts: Ids, words: Ids, *, radix: int) -> Ids:
        """Return the places of the n-grams of a context's index and a last word; -1 where there is none, or for a -1.

        `radix` is D + 1.
        """
        found = np.full(len(words), -1, dtype=np.int64)
        if not len(self.keys):
            return found
        asked = np.flatnonzero((contexts >= 0) & (words >= 0))
        wanted = contexts[asked] * radix + words[asked]
        places = np.searchsorted(self.keys, wanted)
        np.minimum(places, len(self.keys) - 1, out=places)
        hit = self.keys[places] == wanted
        found[asked[hit]] = places[hit]
        return found


class NGramModel:
    """Pr{ w | c } = p(w | c) where the n-gram c w is listed, and b(c) Pr{ w | c without its first word } elsewhere.

    Parameters
    ----------
    vocabulary
        the D words by id, `</s>` among them, `<unk>` if the model has one, without `<s>`.
    levels
        orders 1 to N.
    unk_trained
        whether `<unk>` was a word of the training text, so that a literal `<unk>` is a word like any other.
    facts
        what is known of how the model was made, as plain JSON values.

    Raises
    ------
    ModelError
        for a vocabulary without `</s>`.
    """

    def __init__(
        self,
        vocabulary: list[str],
        levels: Sequence[Level],
        *,
        unk_trained: bool,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.levels = _without_empty_tops(levels)
        self.unk_trained = unk_trained
        self.facts = facts or {}
        self.ids = {word: id for id, word in enumerate(vocabulary)}
        if END not in self.ids:
            raise ModelError(f"the model has no {END}, so that no sentence can end", hint="estimate it with it")
        self._lookup = _Lookup(self.ids)
        del self._lookup[END]  # a text cannot end a sentence by writing it
        if not unk_trained:
            self._lookup.pop(UNK, None)

    @property
    def order(self) -> int:
        """N: a word is predicted from the N - 1 before it."""
        return len(self.levels)

    @property
    def start_id(self) -> int:
        """The id of <s>, one past the last word."""
        return len(self.vocabulary)

    @property
    def counts(self) -> list[int]:
        """How many n-grams each order lists, <s> among the words."""
        return [len(level.keys) for level in self.levels]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(level.keys.nbytes + level.log_probs.nbytes + level.backoffs.nbytes for level in self.levels)

    def __repr__(self) -> str:
        return f"NGramModel(order={self.order}, counts={self.counts}, unk_trained={self.unk_trained})"

    def log_probs(self, sentences: Iterable[Sequence[str]], *, oov: str = "skip") -> list[Floats]:
        """Return log Pr of each word of each sentence and of its end; every sentence begins at <s>.

        Parameters
        ----------
        oov
            "skip" gives NaN to words that the model does not know, and no context reaches across them; "unk" reads
            and scores them as <unk>.

        Returns
        -------
        one float64 array a sentence, [words + 1], natural logarithms; -inf where the model says never.

        Raises
        ------
        UsageError
            for oov "unk" where the model has no <unk>.
        """
        answers: list[Floats] = []
        for batch in batches_of(sentences):
            flat, lengths = self.encode(batch, oov=oov)
            scores = self.score(flat)[flat != self.start_id]
            answers += np.split(scores, np.cumsum(lengths + 1)[:-1])
        return answers

    def next_log_probs(self, context: Sequence[str], *, oov: str = "skip") -> Floats:
        """Return log Pr{ w | context } of every word of the vocabulary, [D], natural; their exponentials sum to 1.

        The context is the sentence so far, from its beginning; `<s>` before it is understood.
        """
        words = context[1:] if len(context) > 0 and context[0] == START else context
        flat = self.encode([words], oov=oov)[0][:-1]
        flat = flat[max(0, len(flat) - self.order + 1) :]
        values = self.levels[0].log_probs[: self.start_id].copy()
        if self.order == 1:
            return values
        for (lower, level), nodes in zip(itertools.pairwise(self.levels), self._nodes(flat), strict=False):
            node = int(nodes[-1])
            if node < 0:
                continue
            values += lower.backoffs[node]
            first = node * (self.start_id + 1)
            low, high = np.searchsorted(level.keys, [first, first + self.start_id])
            values[level.keys[low:high] - first] = level.log_probs[low:high]
        return values

    def encode(self, sentences: Sequence[Sequence[str]], *, oov: str = "skip") -> tuple[Ids, Ids]:
        """Return the flat ids of sentences with their bounds, -1 for unknown words, and the lengths in words."""
        lengths = np.fromiter(map(len, sentences), dtype=np.int64, count=len(sentences))
        words = itertools.chain.from_iterable(sentences)
        ids = np.fromiter(map(self._lookup.__getitem__, words), dtype=np.int64, count=int(lengths.sum()))
        if check_oov(self, oov) == "unk":
            ids[ids < 0] = self.ids[UNK]
        return bounded(ids, lengths, start=self.start_id, end=self.ids[END]), lengths

    def score(self, flat: Ids) -> Floats:
        """Return log Pr of each id of a flat array given those before it, as far back as its <s>; NaN for -1.

        All positions at once, order by order: P_n(t) is that of the n-gram that ends at t where it is listed, and
        b(the n-1 words before t) P_{n-1}(t) elsewhere.
        """
        values = self.levels[0].log_probs[flat]
        values[flat < 0] = np.nan
        for lower, level, nodes, longer in self._walk(flat):
            weights = lower.backoffs[nodes[:-1]]
            weights[nodes[:-1] < 0] = 0.0
            values[1:] += weights
            listed = longer >= 0
            values[listed] = level.log_probs[longer[listed]]
        return values

    def _walk(self, flat: Ids) -> Iterator[tuple[Level, Level, Ids, Ids]]:
        """Give each two neighbouring levels with the places of the n-grams that end at each position."""
        nodes = flat
        predicted = np.where(flat == self.start_id, -1, flat)[1:]  # <s> ends no n-gram: sentences know no others
        for lower, level in itertools.pairwise(self.levels):
            longer = np.full(len(flat), -1, dtype=np.int64)
            longer[1:] = level.find(nodes[:-1], predicted, radix=self.start_id + 1)
            yield lower, level, nodes, longer
            nodes = longer

    def _nodes(self, flat: Ids) -> Iterator[Ids]:
        """Give, order by order, the places of the n-grams that end at each position; -1 where there is none."""
        yield flat
        for _, _, _, longer in self._walk(flat):
            yield longer


def check_oov(model: NGramModel, oov: str) -> str:
    """Return `oov`, skip or unk; refuse to score unknown words as <unk> where the model has none."""
    if oov not in ("skip", "unk"):
        close = nearest(oov, ("skip", "unk"))
        raise UsageError(f"oov {oov!r} cannot be", hint=f"did you mean {close}?" if close else "choose skip or unk")
    if oov == "unk" and UNK not in model.ids:
        raise UsageError("this model cannot score unknown words as <unk>: it has none", hint="leave --oov at skip")
    return oov


def _without_empty_tops(levels: Sequence[Level]) -> list[Level]:
    """Drop orders at the top that list nothing; the one below has no use for back-off weights then."""
    kept = list(levels)
    while len(kept) > 1 and not len(kept[-1].keys):
        kept.pop()
    top = kept[-1]
    return [*kept[:-1], Level(top.keys, top.log_probs, np.empty(0))]


class _Lookup(dict[str, int]):
    """From words to ids; -1 for a word that is missing. A dictionary's own way to do it is the fastest."""

    def __missing__(self, word: str) -> int:
        return -1
