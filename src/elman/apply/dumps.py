"""Log-probabilities of tokens in a file, so that models of different tools can be compared and mixed.

The format is plain: one token a line, `token<TAB>log-probability`, the whole text in order, UTF-8, gzip or not.

    # elman log-probabilities<TAB>base=e<TAB>source=runs/net<TAB>text=test.txt
    the<TAB>-3.1415926536
    zyzzyva<TAB>NaN
    </s><TAB>-0.5

The first line is a comment that states the base of the logarithms: e, 2 or 10. After each sentence stands `</s>` (other
tools' `<eos>` is read as the same). A token that the model leaves out, an unseen word, has NaN, or nothing after the
tab. The last tab of a line counts, so a token may hold one.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elman.apply.score import BASES
from elman.apply.traces import Trace
from elman.errors import TextError, UsageError
from elman.files import replacing
from elman.text.reading import TextSource
from elman.text.symbols import END

TITLE = "# elman log-probabilities"
LEFT_OUT = frozenset({"", "nan", "oov"})
ROUNDING = 1e-5
"""How far above 0 the logarithm of a probability may be rounded."""


def write_dump(path: str | Path, trace: Trace, *, base: str = "e", text: str = "") -> None:
    """Write a trace; a name that ends in `.gz` is packed.

    Raises
    ------
    OutputError
        for a file that cannot be written.
    """
    target, scale = Path(path), BASES[check_base(base)]
    head = [TITLE, f"base={base}", f"source={trace.name}", *([f"text={text}"] if text else [])]
    rows = (f"{written(t)}\t{_number(v / scale)}\n" for t, v in zip(trace.tokens, trace.log_probs, strict=True))
    data = ("\t".join(head) + "\n" + "".join(rows)).encode("utf-8", errors="surrogateescape")
    with replacing(target) as temporary:
        temporary.write_bytes(gzip.compress(data, 6, mtime=0) if target.name.endswith(".gz") else data)


def read_dump(path: str | Path, *, base: str | None = None) -> Trace:
    """Read a trace.

    Parameters
    ----------
    base
        of the logarithms, "e", "2" or "10", for a file whose first line does not state it.

    Raises
    ------
    TextError
        for a file that cannot be read, that is no dump, or that does not say its base; with the number of the line.
    """
    source = TextSource(path)
    lines = enumerate(source.lines(), 1)
    number, first = next(lines)
    header = first.startswith("#") and ("base=" in first or "\t" not in first)
    stated = next((part[5:] for part in first.lstrip("# ").split() if part.startswith("base=")), None)
    base = (stated if header else None) or base
    if base is None:
        hint = "say --base e, 2 or 10, or let the first line be: # base=10"
        raise TextError(f"{source.name} does not state the base of its logarithms", hint=hint)
    scale = BASES[check_base(base, source.name)]
    tokens: list[str] = []
    values: list[float] = []
    start = 2 if header else 1
    for token, value in _rows(source.name, lines if header else _again(number, first, lines)):
        tokens.append(token)
        values.append(value)
    if not tokens:
        raise TextError(f"{source.name} holds no tokens", hint="it should have lines of token<TAB>log-probability")
    log_probs = np.minimum(np.array(values) * scale, 0.0)
    return Trace(source.name, tokens, log_probs, first_line=start)


def written(token: str) -> str:
    """Return a token as it stands in a dump: control characters, which would end its line, as `<0x0A>`.

    >>> written("milk"), written(chr(10))
    ('milk', '<0x0A>')
    """
    return token if token.isprintable() else "".join(c if c >= " " else f"<0x{ord(c):02X}>" for c in token)


def check_base(base: str, where: str = "") -> str:
    """Return the base of a logarithm, or raise `UsageError`."""
    if base not in BASES:
        raise UsageError(f"{where}: base {base!r} cannot be".removeprefix(": "), hint="choose e, 2 or 10")
    return base


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.10g}"


def _again(number: int, line: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield number, line
    yield from lines


def _rows(name: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[str, float]]:
    blank = 0
    for number, line in lines:
        if not line:  # at the end only: a line that is lost in between would shift what follows
            blank = blank or number
            continue
        if blank:
            raise TextError(f"{name}, line {blank} is empty", hint="each line is token<TAB>log-probability")
        token, tab, number_text = line.rpartition("\t")
        if not tab or not token:
            raise TextError(f"{name}, line {number} is not token<TAB>log-probability: {line[:60]!r}")
        yield END if token == "<eos>" else token, _value(name, number, number_text.strip())


def _value(name: str, number: int, text: str) -> float:
    if text.lower() in LEFT_OUT:
        return math.nan
    try:
        value = float(text)
    except ValueError as error:
        raise TextError(f"{name}, line {number}: {text!r} is no number") from error
    if value > ROUNDING:
        raise TextError(
            f"{name}, line {number}: {text} is above 0, so it is no log-probability",
            hint="write logarithms, not probabilities or costs",
        )
    return value
