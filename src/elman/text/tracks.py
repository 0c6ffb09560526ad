"""Tracks: a number for each base of a genome, as genome browsers show them.

bedGraph is text: `chrom start end value`, tabs between, 0-based and half-open, one line for each run of bases whose
values are printed alike. UCSC's browser wants the line `track type=bedGraph` first, which bedtools passes over. bigWig
is its indexed binary form, written by pyBigWig (extra `elman[bigwig]`).
Source: genome.ucsc.edu/goldenPath/help/bedgraph.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ElmanError, MissingExtra, OutputError, UsageError
from elman.files import replacing
from elman.text.writing import Sink, writing

DIGITS = 4
"""Decimals of a value."""

BIGWIG = (".bw", ".bigwig")
"""How the names of bigWig files end."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """Values of neighbouring bases: those of `chrom` from `start` (0-based) on; NaN where a base has none."""

    chrom: str
    start: int
    values: Values


def is_bigwig(path: str | Path) -> bool:
    """Whether a track of this name is a bigWig."""
    return str(path).lower().endswith(BIGWIG)


def write_track(
    path: str | Path,
    pieces: Iterable[Piece],
    *,
    lengths: Mapping[str, int],
    name: str | None = "elman",
    description: str = "",
) -> int:
    """Write a track as its file's name says, and return how many bases have a value.

    Parameters
    ----------
    path
        `-` for standard output or any name: bedGraph, packed by bgzip if it ends in .gz; .bw or .bigWig: bigWig.
    pieces
        of the track, in the order of the genome, none overlapping another; a bedGraph is written as they come.
    lengths
        of all sequences, in the order of the genome; a bigWig holds them.
    name, description
        of the line `track`, which a bedGraph begins with unless the name is None; they are not in a bigWig. Without the
        line `tabix -p bed` indexes the file, with it `tabix -p bed -S 1`.

    Raises
    ------
    MissingExtra
        for a bigWig where pyBigWig is not installed.
    OutputError
        for a file that cannot be written.
    ElmanError
        for an infinite value.
    """
    if is_bigwig(path):
        return _write_bigwig(Path(path), pieces, lengths)
    with writing(path) as sink:
        return write_bedgraph(sink, pieces, name=name, description=description)


def write_bedgraph(sink: Sink, pieces: Iterable[Piece], *, name: str | None = "elman", description: str = "") -> int:
    """Write a bedGraph, as `write_track` says; return how many bases have a value."""
    if name is not None:
        sink.write(f"track type=bedGraph name={_quoted(name)} description={_quoted(description)}\n".encode())
    total = 0
    for chrom, starts, ends, units in _joined(_runs_of(piece) for piece in pieces):
        total += sum(ends) - sum(starts)
        rows = zip(starts, ends, units, strict=True)
        sink.write(
            "".join(f"{chrom}\t{start}\t{end}\t{unit / _SCALE:.{DIGITS}f}\n" for start, end, unit in rows).encode()
        )
    return total


_SCALE = 10**DIGITS
_NONE = np.iinfo(np.int64).min

_Runs = tuple[str, list[int], list[int], list[int]]
"""A sequence, and of each run of equal values the start, the end, and the value in units of the last decimal."""


def _runs_of(piece: Piece) -> _Runs:
    units = _units(piece)
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(units)), dtype=bool), units[1:] != units[:-1]]))
    ends = np.append(starts[1:], len(units))
    known = units[starts] != _NONE
    offset = piece.start
    return (
        piece.chrom,
        (starts[known] + offset).tolist(),
        (ends[known] + offset).tolist() if len(starts) else [],
        units[starts[known]].tolist(),
    )


def _units(piece: Piece) -> NDArray[np.int64]:
    """Return values in units of the last decimal: what is printed alike is equal, and there is no minus zero."""
    values = np.asarray(piece.values, dtype=np.float64)
    infinite = np.isinf(values)
    if infinite.any():
        place = piece.start + int(np.argmax(infinite))
        raise ElmanError(f"the value of base {place + 1} of {piece.chrom} is infinite, which no track can hold")
    unknown = np.isnan(values)
    units: NDArray[np.int64] = np.rint(np.where(unknown, 0.0, values) * _SCALE).astype(np.int64)
    units[unknown] = _NONE
    return units


def _joined(parts: Iterable[_Runs]) -> Iterator[_Runs]:
    """Join runs that go on from one piece to the next: the last run of each is held back."""
    held: _Runs | None = None
    for chrom, starts, ends, units in parts:
        if not starts:
            continue
        if held is not None:
            before, (start,), (end,), (unit,) = held
            if before == chrom and end == starts[0] and unit == units[0]:
                starts[0] = start
            else:
                yield held
        yield chrom, starts[:-1], ends[:-1], units[:-1]
        held = chrom, starts[-1:], ends[-1:], units[-1:]
    if held is not None:
        yield held


def _quoted(text: str) -> str:
    """Return a text in quotes; one that holds some, or a line end, would end the value or the line."""
    return '"' + " ".join(text.replace('"', "'").split()) + '"'


def _write_bigwig(path: Path, pieces: Iterable[Piece], lengths: Mapping[str, int]) -> int:
    library = _pybigwig()
    if not lengths:
        raise UsageError("a bigWig needs at least one sequence")
    total = 0
    with replacing(path) as temporary:
        file = library.open(str(temporary), "w")
        try:
            file.addHeader(list(lengths.items()))
            total = sum(_add(file, piece) for piece in pieces)
        except RuntimeError as error:
            hint = "give regions in the order of the genome, or write a bedGraph"
            raise OutputError(f"{path} cannot be written as bigWig: {error}", hint=hint) from error
        finally:
            file.close()
    return total


def _add(file: Any, piece: Piece) -> int:  # noqa: ANN401 - pyBigWig has no types
    """Add the runs of a piece, and return how many bases they have."""
    chrom, starts, ends, units = _runs_of(piece)
    if not starts:
        return 0
    file.addEntries([chrom] * len(starts), starts, ends=ends, values=[unit / _SCALE for unit in units])
    return sum(ends) - sum(starts)


def check_library() -> None:
    """Raise `MissingExtra` where pyBigWig is not installed."""
    _pybigwig()


def _pybigwig() -> Any:  # noqa: ANN401 - it has no types
    try:
        import pyBigWig
    except ImportError as error:
        raise MissingExtra("pyBigWig, which writes bigWig files,", "bigwig") from error
    return pyBigWig
