"""The members of a mixture, each named as on the command line, and what each says of a text.

FOLDER               a model that elman trained
FILE.arpa[.gz]       a counting model
FILE                 a dump of log-probabilities (see `dumps`), where there is one text only
TUNE:TEXT            two dumps: of the text to tune on, and of the text to be tested on
cache:plain:500      a cache of the last 500 tokens; also cache:bigram:500 and, with its rate, cache:decay:0.005
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elman.apply.caches import COUNTING, Cache
from elman.apply.dumps import read_dump
from elman.apply.mixtures import Tuned, log_mixture, tune_weights
from elman.apply.running import trace_text
from elman.apply.traces import Tally, Trace, Values, check_aligned, counted_by_all, tally
from elman.errors import UsageError
from elman.network.folder import load_model
from elman.ngram import arpa
from elman.text.reading import TextSource
from elman.text.symbols import END

ARPA = (".arpa", ".arpa.gz")
Reader = Callable[[str, bool], Trace]
"""From the path of a text, and whether it is the one to tune on, to a trace of it."""


@dataclass(frozen=True)
class Member:
    """A member by its name: what reads a text, or the cache that it is."""

    name: str
    read: Reader | None = None
    cache: Cache | None = None


@dataclass(frozen=True)
class Mixed:
    """A text under all members and under their mixture, over the tokens that no member leaves out.

    Attributes
    ----------
    tokens
        (N,), the whole text.
    log_probs
        (K, N), of the members; NaN for every token that any of them leaves out.
    left_out
        how many tokens that are.
    """

    tokens: list[str]
    log_probs: Values
    left_out: int

    def mix(self, weights: Values) -> Values:
        """Return the mixture's log-probabilities, (N,)."""
        return log_mixture(self.log_probs, weights)

    def tallies(self, weights: Values) -> tuple[list[Tally], Tally]:
        """Return each member's count of the text, and the mixture's."""
        return [tally(self.tokens, row) for row in self.log_probs], tally(self.tokens, self.mix(weights))

    def tune(self) -> Tuned:
        """Return the weights that make this text likeliest."""
        return tune_weights(self.log_probs)


def open_member(
    name: str,
    *,
    both: bool = False,
    device: str = "cpu",
    regime: str | None = None,
    precision: str = "fp32",
    base: str | None = None,
) -> Member:
    """Return the member of that name; models are loaded at once, texts and dumps are read later.

    Parameters
    ----------
    both
        whether there will be a text to tune on and another one to be tested on.
    regime, precision
        of models: see `running.trace_text`.
    base
        of dumps that do not state one.

    Raises
    ------
    UsageError, ModelError
        for a member that there is not, and for a cache that cannot be.
    """
    if name.startswith("cache:"):
        return Member(name, cache=_cache_of(name))
    if Path(name).is_dir():
        model = load_model(name, device=device)
        return Member(name, lambda text, _: trace_text(model, text, regime=regime, precision=precision)[0])
    if name.endswith(ARPA):
        return Member(name, _arpa_reader(name))
    tune_dump, text_dump = _dumps_of(name, both)
    return Member(name, lambda _, tuning: read_dump(tune_dump if tuning else text_dump, base=base))


def _dumps_of(name: str, both: bool) -> tuple[str, str]:
    """Return the dumps of the text to tune on and of the text to be tested on: one dump where there is one text."""
    if Path(name).exists():
        if both:
            raise UsageError(
                f"{name} is the dump of one text, and there are two: to tune on, and to be tested on",
                hint="give both dumps as one member: VALID.tsv:TEST.tsv",
            )
        return name, name
    for cut in (i for i, character in enumerate(name) if character == ":"):  # a path may hold colons of its own
        if Path(name[:cut]).exists() and Path(name[cut + 1 :]).exists():
            return name[:cut], name[cut + 1 :]
    raise UsageError(
        f"there is no member {name}",
        hint="a member is a model's folder, an .arpa file, a dump, two dumps VALID.tsv:TEST.tsv, or cache:plain:500",
    )


def _cache_of(name: str) -> Cache:
    kind, _, value = name.removeprefix("cache:").partition(":")
    if kind not in COUNTING:
        raise UsageError(
            f"there is no member {name}",
            hint=f"choose from {', '.join(COUNTING)}, as cache:plain:500; a neural cache belongs to its model: "
            "elman evaluate --cache neural --dump",
        )
    try:
        if kind == "decay":
            return Cache(kind=kind, rate=float(value)) if value else Cache(kind=kind)
        return Cache(kind=kind, size=int(value)) if value else Cache(kind=kind)
    except ValueError as error:
        raise UsageError(f"member {name}: {value!r} is no number", hint="for example cache:plain:500") from error


def _arpa_reader(name: str) -> Reader:
    model = arpa.load(name)

    def read(text: str, _: bool) -> Trace:
        source = TextSource(text)
        sentences = [words for line in source.lines() if (words := line.split())]
        tokens = [token for words in sentences for token in (*words, END)]
        return Trace(name, tokens, np.concatenate(model.log_probs(sentences)))

    return read


def read_members(members: Sequence[Member], text: str, *, tuning: bool) -> Mixed:
    """Let every member read a text, a file that can be read again; see that they read the same tokens.

    A token that any member leaves out is left out for all, and caches do not remember it: so every member gives
    probabilities to the same events.

    Raises
    ------
    UsageError
        where only caches are mixed, or no token is known to all.
    TextError
        where members do not have the same tokens.
    """
    traces = {i: member.read(text, tuning) for i, member in enumerate(members) if member.read is not None}
    if not traces:
        raise UsageError("a cache needs a model to be mixed with", hint="give a model, an .arpa file or a dump too")
    check_aligned(list(traces.values()))
    counted = counted_by_all(list(traces.values()))
    tokens = next(iter(traces.values())).tokens
    log_probs = np.full((len(members), len(tokens)), np.nan)
    known = [token for token, count in zip(tokens, counted, strict=True) if count]
    for i, member in enumerate(members):
        if member.cache is not None:
            log_probs[i, counted] = member.cache.counted(known, END)
        else:
            log_probs[i, counted] = traces[i].log_probs[counted]
    return Mixed(tokens, log_probs, left_out=int(np.size(counted) - np.count_nonzero(counted)))
