"""The same estimates and look-ups one n-gram at a time, for reading; the arrays are tested against it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from elman.text.symbols import END, UNK

START = "<s>"
FALLBACK = (0.5, 1.0, 1.5)
NGram = tuple[str, ...]
Entry = tuple[float, float]  # the probability of an n-gram's last word, and the n-gram's back-off weight
Model = dict[NGram, Entry]


def estimate(sentences: Iterable[Sequence[str]], *, order: int, prune: Sequence[int] = ()) -> Model:
    """Estimate interpolated modified Kneser-Ney: p(w | c) and b(c) for every n-gram that is listed."""
    raw = count(sentences, order)
    order = max(map(len, raw))
    adjusted = adjust(raw, order)
    words = sorted({ngram[0] for ngram in raw if len(ngram) == 1} | {UNK, END})
    thresholds = [*prune, *[prune[-1] if prune else 0] * order]
    probs: dict[NGram, float] = {(): 1 / len(words)}  # the order below the first says: any word alike
    backoffs: dict[NGram, float] = {}
    for n in range(1, order + 1):
        listed = {ngram: number for ngram, number in adjusted.items() if len(ngram) == n}
        discount = discounts([*listed.values()])
        after: dict[NGram, dict[str, int]] = defaultdict(dict)
        for ngram, number in listed.items():
            after[ngram[:-1]][ngram[-1]] = number
        for context, numbers in after.items():
            total, left = sum(numbers.values()), 0.0
            for word, number in numbers.items():
                pruned = raw[(*context, word)] <= thresholds[n - 1]
                cut = number if pruned else discount[min(number, 3)]
                left += cut
                if not pruned:
                    probs[(*context, word)] = (number - cut) / total
            backoffs[context] = left / total
            for word in words if not context else numbers:
                ngram = (*context, word)
                if ngram in probs or not context:
                    probs[ngram] = probs.get(ngram, 0.0) + backoffs[context] * probs[ngram[1:] if context else ()]
    probs[(START,)] = 0.0
    del probs[()]
    return {ngram: (prob, backoffs.get(ngram, 1.0)) for ngram, prob in probs.items()}


def count(sentences: Iterable[Sequence[str]], order: int) -> Counter[NGram]:
    """Count all n-grams of orders 1 to N in sentences between <s> and </s>; <s> alone is none."""
    raw: Counter[NGram] = Counter()
    for sentence in sentences:
        words = [START, *sentence, END]
        for end in range(1, len(words)):
            for start in range(max(0, end - order + 1), end + 1):
                raw[tuple(words[start : end + 1])] += 1
    return raw


def adjust(raw: Mapping[NGram, int], order: int) -> dict[NGram, int]:
    """Return how often an n-gram was seen, at the highest order and after <s>; else how many words were before it."""
    before: dict[NGram, set[str]] = defaultdict(set)
    for ngram in raw:
        before[ngram[1:]].add(ngram[0])
    return {
        ngram: number if len(ngram) == order or ngram[0] == START else len(before[ngram])
        for ngram, number in raw.items()
    }


def discounts(numbers: Sequence[int]) -> tuple[float, ...]:
    """Return 0, D1, D2, D3+ (Chen and Goodman, equation 26), or the fallback where they cannot be estimated."""
    n = [sum(number == k for number in numbers) for k in range(5)]
    if 0 in n[1:4]:
        return 0.0, *FALLBACK
    y = n[1] / (n[1] + 2 * n[2])
    values = [k - (k + 1) * y * n[k + 1] / n[k] for k in (1, 2, 3)]
    return 0.0, *(values if all(0 <= value <= k for k, value in enumerate(values, start=1)) else FALLBACK)


def probability(model: Model, context: NGram, word: str) -> float:
    """Return Pr{ word | context } by going back to shorter contexts until the n-gram is listed."""
    if (*context, word) in model:
        return model[(*context, word)][0]
    weight = model[context][1] if context in model else 1.0
    return weight * probability(model, context[1:], word)


def log_probs(model: Model, sentence: Sequence[str]) -> list[float]:
    """Return log Pr of each word of a sentence and of its end; NaN for words that are not in the model."""
    order = max(map(len, model))
    words, values = [START, *sentence, END], []
    for end in range(1, len(words)):
        if (words[end],) not in model:
            values.append(math.nan)
            continue
        known = end  # where the words before it begin that are all known
        while known > 0 and end - known < order - 1 and (words[known - 1],) in model:
            known -= 1
        prob = probability(model, tuple(words[known:end]), words[end])
        values.append(math.log(prob) if prob > 0 else -math.inf)
    return values
