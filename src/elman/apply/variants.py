"""Variants: how much likelier a model finds a sequence with ALT in it than with REF.

    LLR = log Pr{ ALT, after | before } - log Pr{ REF, after | before }

`before` and `after` are up to `flank` bases of the reference on each side. The bases after the variant count, as each
is predicted from a history that the variant changed. On the other strand the same is asked of the reverse complements:
there `after` comes first, and what follows the variant is `before`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError, UsageError, nearest
from elman.text.dna import MASKS, Codes, decode, encode, reverse_complement
from elman.text.vcf import Record, Vcf, with_info_lines
from elman.text.writing import Sink

FLANK = 256
"""Bases on each side, where nobody says."""

BATCH = 1 << 16
"""Bases that are scored side by side, about."""

HELD = 1 << 24
"""Bytes of lines that wait for their scores, at the most; a line of thousands of samples is long."""

STRANDS = ("forward", "both")

FORWARD, REVERSE, MEAN = "ELMAN_FWD", "ELMAN_RC", "ELMAN_LLR"
"""The fields of INFO."""

LogProbs = NDArray[np.float64]


class BaseScorer(Protocol):
    """What gives each base of a sequence its probability."""

    def log_probs(self, codes: Codes) -> LogProbs:
        """Return the natural log-probability of each base given those before it, (N,); NaN for an ambiguous one."""


@runtime_checkable
class BatchScorer(BaseScorer, Protocol):
    """A scorer that takes many sequences at once, as many nets do faster than one after the other."""

    def log_probs_batch(self, sequences: Sequence[Codes]) -> Sequence[LogProbs]:
        """Return what `log_probs` returns for each."""


class Reference(Protocol):
    """The sequences that variants are given against, such as a `Genome`."""

    @property
    def source(self) -> str:
        """The file, for messages."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the sequences."""

    def length(self, name: str) -> int:
        """Return how many bases a sequence has."""

    def fetch(self, name: str, start: int, end: int) -> Codes:
        """Return the codes of bases `start` to `end`, 0-based and half-open."""


@dataclass(frozen=True)
class Window:
    """A sequence (N,) with an allele in it, from `start` to `end`: the bases from `start` on count."""

    codes: Codes
    start: int
    end: int

    def other_strand(self) -> Window:
        """Return the reverse complement: what followed the allele now comes before it, and the other way round."""
        size = len(self.codes)
        return Window(reverse_complement(self.codes), size - self.end, size - self.start)


@dataclass
class Summary:
    """What happened to the ALTs of a VCF, counted.

    Attributes
    ----------
    records, alternatives
        lines, and ALTs in them.
    scored
        ALTs that have a number.
    symbolic
        those that are no bases: `*`, `.`, `<DEL>` and the like, breakends.
    ambiguous
        those with an IUPAC code such as N in them or in their REF.
    unlikely
        those where a sequence has probability zero, so that no ratio is a number.
    """

    records: int = 0
    alternatives: int = 0
    scored: int = 0
    symbolic: int = 0
    ambiguous: int = 0
    unlikely: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts as plain JSON values."""
        return asdict(self)


def annotate(
    vcf: Vcf, reference: Reference, scorer: BaseScorer, sink: Sink, *, flank: int = FLANK, strands: str = "both"
) -> Summary:
    """Write a VCF with the log-likelihood ratios of its ALTs in INFO, in bits; all else stays as it is, byte for byte.

    Lines are scored some at a time and written in order. Fields of an earlier run are replaced.

    Parameters
    ----------
    vcf
        from `read_vcf`.
    reference
        what its positions count in.
    scorer
        a model.
    sink
        takes the bytes of the new VCF.
    flank
        bases before and after the variant.
    strands
        `forward` writes ELMAN_FWD; `both` writes ELMAN_RC and the mean of both, ELMAN_LLR, as well.

    Raises
    ------
    TextError
        for what `read_vcf` refuses, and for a sequence or a position that the reference lacks, a REF that it
        contradicts, a REF or an ALT that is neither bases nor what VCF knows; with the line.
    UsageError
        for a flank under 0, or strands of another name.
    """
    if flank < 0 or strands not in STRANDS:
        raise UsageError(f"flank {flank} and strands {strands!r} cannot be", hint="give 0 or more; forward or both")
    names = (FORWARD, REVERSE, MEAN)
    for line in with_info_lines(vcf.header, info_lines(flank, strands), replaced=names):
        sink.write(line)
    summary = Summary()
    for lines in _batches(vcf, _Alleles(vcf.name, reference, flank, summary)):
        for record, values in _scored(lines, scorer, strands, summary):
            if isinstance(record, bytes):
                sink.write(record)
                continue
            fields = {name: ",".join(map(_printed, column)) for name, column in values.items()}
            sink.write(record.with_info(fields, replaced=names))
    return summary


def log_ratios(
    scorer: BaseScorer, pairs: Sequence[tuple[Window, Window]], *, strands: str = "both"
) -> list[tuple[float, ...]]:
    """Return for each pair of windows, REF's and ALT's, log Pr(ALT's) - log Pr(REF's) in nats.

    One number a pair with strands `forward`; with `both` three: forward, reverse complement, and their mean.

    The two sums are made as one that is rounded once, so that what both windows share cancels exactly.
    """
    windows = [window for pair in pairs for window in pair]
    if strands == "both":
        windows += [window.other_strand() for window in windows]
    logs = _log_probs(scorer, windows)
    ratios = [_difference(*logs[at : at + 2]) for at in range(0, len(logs), 2)]
    if strands != "both":
        return [(ratio,) for ratio in ratios]
    half = len(pairs)
    return [(f, r, (f + r) / 2) for f, r in zip(ratios[:half], ratios[half:], strict=True)]


def info_lines(flank: int, strands: str) -> dict[str, str]:
    """Return what the header says of each field: its unit, and what was compared."""
    ratio = f"log2 of Pr(sequence with ALT) / Pr(sequence with REF), in bits, {flank} bases on each side"
    texts = {FORWARD: f"elman: {ratio}; forward strand"}
    if strands == "both":
        texts[REVERSE] = f"elman: {ratio}; reverse complement"
        texts[MEAN] = f"elman: mean of {FORWARD} and {REVERSE}, in bits"
    return {name: f'Number=A,Type=Float,Description="{text}"' for name, text in texts.items()}


_Line = tuple[Record | bytes, list[tuple[Window, Window] | None]]
"""A line, and for each ALT the windows of REF and ALT, or None where it is not scored."""


class _Alleles:
    """Turns records into windows, checks them against the reference, and counts."""

    def __init__(self, name: str, reference: Reference, flank: int, summary: Summary) -> None:
        self._name = name
        self._reference = reference
        self._names = frozenset(reference.names)
        self._flank = flank
        self._summary = summary

    def windows(self, record: Record) -> list[tuple[Window, Window] | None]:
        """Return for each ALT the windows of REF and ALT, or None where it cannot be scored."""
        self._summary.records += 1
        self._summary.alternatives += len(record.alternatives)
        kinds = [self._kind(record, alt) for alt in record.alternatives]
        self._check_place(record, scored=any(kinds))
        if not any(kinds):
            return [None] * len(kinds)
        start, end = record.position, record.position + len(record.reference)
        length = self._reference.length(record.chrom)
        before = self._reference.fetch(record.chrom, max(0, start - self._flank), start)
        after = self._reference.fetch(record.chrom, end, min(length, end + self._flank))

        def window(allele: str) -> Window:
            codes = np.concatenate([before, encode(allele), after])
            return Window(codes, len(before), len(before) + len(allele))

        ref = window(record.reference)
        alts = zip(kinds, record.alternatives, strict=True)
        return [(ref, window(alt)) if scored else None for scored, alt in alts]

    def _kind(self, record: Record, alt: str) -> bool:
        """Whether an ALT can be scored; count it if not."""
        if _SYMBOLIC.fullmatch(alt):
            self._summary.symbolic += 1
            return False
        for name, allele in (("REF", record.reference), ("ALT", alt)):
            if not _LETTERS.fullmatch(allele):
                raise self._error(
                    record,
                    f"{name} {_short(allele)!r} at {record.place} is neither bases nor a symbol of VCF",
                    "alleles are bases, IUPAC codes, *, ., <NAME> or breakends",
                )
        if _BASES.fullmatch(record.reference) and _BASES.fullmatch(alt):
            return True
        self._summary.ambiguous += 1
        return False

    def _check_place(self, record: Record, *, scored: bool) -> None:
        """Refuse a record that does not fit the reference; a symbolic one may lie at a telomere, 0 or N + 1."""
        if record.chrom not in self._names:
            close = _nearest_name(record.chrom, self._reference.names)
            raise self._error(
                record,
                f"{self._reference.source} has no sequence {record.chrom!r}",
                f"did you mean {close}? {_OTHER_FASTA}" if close else _OTHER_FASTA,
            )
        length = self._reference.length(record.chrom)
        start, end = record.position, record.position + len(record.reference)
        if not scored and (start == -1 or start == length):
            return
        if start < 0 or end > length:
            raise self._error(
                record,
                f"{record.place}, {len(record.reference)} bases of REF, is not within the {length} of {record.chrom}",
                f"{_OTHER_FASTA}; POS counts from 1",
            )
        if not _LETTERS.fullmatch(record.reference):
            raise self._error(record, f"REF {_short(record.reference)!r} at {record.place} is no bases", "write bases")
        here, source = self._reference.fetch(record.chrom, start, end), self._reference.source
        if not (MASKS[here] & MASKS[encode(record.reference)]).all():
            raise self._error(
                record,
                f"REF at {record.place} is {_short(record.reference)}, and {source} has {_short(decode(here))}",
                _OTHER_FASTA,
            )

    def _error(self, record: Record, what: str, hint: str) -> TextError:
        return TextError(f"{self._name}, line {record.line}: {what}", hint=hint)


_OTHER_FASTA = "give the FASTA that the variants were called against"
_LETTERS = re.compile("[ACGTRYSWKMBDHVNacgtryswkmbdhvn]+")
_BASES = re.compile("[ACGTacgt]+")
_SYMBOLIC = re.compile(r"\*|\.|<[^<>]+>|[A-Za-z]*[\[\]][^\[\]]+[\[\]][A-Za-z]*|\.[A-Za-z]+|[A-Za-z]+\.")
"""What ALT may be besides bases: spanned by a deletion, missing, <NAME>, a breakend, a single breakend."""


def _batches(vcf: Vcf, alleles: _Alleles) -> Iterator[list[_Line]]:
    """Give lines in lists of about `BATCH` bases, or of `HELD` bytes."""
    held: list[_Line] = []
    bases = size = 0
    for line in vcf.body:
        pairs = [] if isinstance(line, bytes) else alleles.windows(line)
        held.append((line, pairs))
        bases += sum(len(pair[0].codes) + len(pair[1].codes) for pair in pairs if pair)
        size += len(line if isinstance(line, bytes) else line.raw)
        if bases >= BATCH or size >= HELD:
            yield held
            held, bases, size = [], 0, 0
    yield held


def _scored(
    lines: Sequence[_Line], scorer: BaseScorer, strands: str, summary: Summary
) -> Iterator[tuple[Record | bytes, dict[str, list[float]]]]:
    """Give each line with the values of each field in bits, one an ALT, NaN where there is none."""
    ratios = iter(log_ratios(scorer, [pair for _, pairs in lines for pair in pairs if pair], strands=strands))
    names = list(info_lines(0, strands))
    for line, pairs in lines:
        rows = [next(ratios) if pair else (math.nan,) * len(names) for pair in pairs]
        for pair, row in zip(pairs, rows, strict=True):
            if pair:
                summary.scored += math.isfinite(row[-1])
                summary.unlikely += not math.isfinite(row[-1])
        yield line, {name: [row[at] / math.log(2) for row in rows] for at, name in enumerate(names)}


def _log_probs(scorer: BaseScorer, windows: Sequence[Window]) -> list[LogProbs]:
    """Return the log-probabilities that count of each window; a window that comes again is scored once."""
    unique: dict[tuple[bytes, int], Window] = {(window.codes.tobytes(), window.start): window for window in windows}
    sequences = [window.codes for window in unique.values()]
    if isinstance(scorer, BatchScorer) and sequences:
        found = list(scorer.log_probs_batch(sequences))
    else:
        found = [scorer.log_probs(codes) for codes in sequences]
    logs = dict(zip(unique, found, strict=True))
    return [logs[window.codes.tobytes(), window.start][window.start :] for window in windows]


def _difference(ref: LogProbs, alt: LogProbs) -> float:
    """Return sum(alt) - sum(ref), ambiguous bases left out; NaN where a probability is zero."""
    terms = chain(alt[~np.isnan(alt)].tolist(), (-ref[~np.isnan(ref)]).tolist())
    try:
        total = math.fsum(terms)
    except (ValueError, OverflowError):  # infinities of both signs
        return math.nan
    return total if math.isfinite(total) else math.nan


def _printed(bits: float) -> str:
    """Return a value as it stands in INFO.

    >>> _printed(-1.25), _printed(-0.00001), _printed(math.nan)
    ('-1.2500', '0.0000', '.')
    """
    text = f"{bits:.4f}" if math.isfinite(bits) else "."
    return "0.0000" if text == "-0.0000" else text


def _short(allele: str) -> str:
    return allele if len(allele) <= 30 else f"{allele[:20]}... ({len(allele)} bases)"


def _nearest_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name that is likest, where chr1 and 1, chrM and MT are the same."""
    bare = name.removeprefix("chr")
    alike = [bare, f"chr{bare}", {"M": "MT", "chrM": "MT", "MT": "chrM", "chrMT": "chrM"}.get(name, name)]
    return next((other for other in alike if other in names), None) or nearest(name, names)
