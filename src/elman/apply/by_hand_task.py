"""What stands on the whiteboard at first: a sentence, a dictionary, and how to learn, small enough to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from elman.errors import UsageError, nearest

MOST_WORDS, MOST_HIDDEN, MOST_LENGTH, MOST_STEPS, MOST_ALPHA = 8, 6, 12, 1000, 1e10
"""What can be read on a whiteboard: D, H, words of the sentence; updates; and a bound that alpha has everywhere."""

ACTIVATIONS = ("sigmoid", "tanh", "relu")
LEARN = ("last", "all")
"""What an update learns from: the last word alone, or every word of a window."""

SENTENCE = "row row row your"
DICTIONARY = "row your boat"
"""After a row the next word may be a row or not: to know it, the network has to remember."""


@dataclass(frozen=True)
class Task:
    """What is to be computed.

    Raises
    ------
    UsageError
        for what cannot be learnt from, and for what would not fit on a whiteboard.
    """

    sentence: tuple[str, ...] = tuple(SENTENCE.split())
    dictionary: tuple[str, ...] = tuple(DICTIONARY.split())
    hidden: int = 2
    activation: str = "sigmoid"
    alpha: float = 0.5
    beta: float = 0.01
    bptt: int = 2
    steps: int = 3
    learn: str = "last"

    def __post_init__(self) -> None:
        _check_words(self.sentence, self.dictionary)
        for name, value, choices in (("activation", self.activation, ACTIVATIONS), ("learn", self.learn, LEARN)):
            if value not in choices:
                close = nearest(value, choices)
                hint = f"did you mean {close}?" if close else f"choose {', '.join(choices)}"
                raise UsageError(f"{name} {value!r} cannot be", hint=hint)
        if not 1 <= self.hidden <= MOST_HIDDEN:
            hint = f"give 1 to {MOST_HIDDEN}; elman train takes larger networks"
            raise UsageError(f"hidden = {self.hidden} does not fit on a whiteboard", hint=hint)
        if not 0.0 < self.alpha <= MOST_ALPHA:
            raise UsageError(f"alpha = {self.alpha:g} cannot be", hint=f"give more than 0, and at most {MOST_ALPHA:g}")
        if not 0.0 <= self.beta < 1.0:
            raise UsageError(f"beta = {self.beta:g} cannot be", hint="give a share, from 0 to less than 1")
        if self.bptt < 1:
            raise UsageError(f"bptt = {self.bptt} cannot be", hint="give 1 or more")
        if not 1 <= self.steps <= MOST_STEPS:
            raise UsageError(f"steps = {self.steps} cannot be", hint=f"give 1 to {MOST_STEPS} updates")

    @property
    def ids(self) -> list[int]:
        """The words of the sentence as places in the dictionary, counted from 0."""
        return [self.dictionary.index(word) for word in self.sentence]


def _check_words(sentence: Sequence[str], dictionary: Sequence[str]) -> None:
    twice = next((word for place, word in enumerate(dictionary) if word in dictionary[:place]), None)
    if twice is not None:
        raise UsageError(f"the dictionary holds {twice!r} twice", hint="name each word once")
    if len(dictionary) > MOST_WORDS:
        raise UsageError(
            f"a dictionary of {len(dictionary)} words is too large for a whiteboard", hint=f"give at most {MOST_WORDS}"
        )
    if len(sentence) < 2:
        count = "no word" if not sentence else f"one word, {sentence[0]!r}"
        raise UsageError(
            f"the sentence has {count}", hint="give two words or more: each is predicted from those before"
        )
    if len(dictionary) < 2:
        raise UsageError("a dictionary of one word leaves nothing to guess", hint="give two different words or more")
    if len(sentence) > MOST_LENGTH:
        raise UsageError(
            f"a sentence of {len(sentence)} words is too long for a whiteboard", hint=f"give at most {MOST_LENGTH}"
        )
    unknown = next((word for word in sentence if word not in dictionary), None)
    if unknown is not None:
        close = nearest(unknown, dictionary)
        hint = f"did you mean {close}?" if close else f"the dictionary has {', '.join(dictionary)}"
        raise UsageError(f"the dictionary does not hold {unknown!r}", hint=hint)
