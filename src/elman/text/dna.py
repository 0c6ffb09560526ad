"""Bases as numbers: one byte each, A, C, G, T = 0 .. 3, then the IUPAC codes of what is not known for sure.

Lower case is soft masking and has the codes of upper case; U, RNA's T, is T. Everything else is no base: gaps, numbers
and protein are errors, and nothing becomes N unless it is written so.

Source of the letters: NC-IUB, "Nomenclature for incompletely specified bases in nucleic acid sequences" (1984).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import TextError

Codes = NDArray[np.uint8]

LETTERS = "ACGTRYSWKMBDHVN"
"""The letter of every code."""

BASES = 4
"""Codes below this are bases; those from here on are ambiguous."""

N = LETTERS.index("N")

_MEANINGS = {
    **{"A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT", "M": "AC"},
    **{"B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT"},
}

COMPATIBLE: NDArray[np.bool_] = np.array([[base in _MEANINGS[letter] for base in "ACGT"] for letter in LETTERS])
"""(15, 4): whether a code can stand for a base."""

MASKS: Codes = (COMPATIBLE @ np.array([1, 2, 4, 8])).astype(np.uint8)
"""(15,): the same as bits; bit x is set where the code can stand for base x."""

COMPLEMENT: Codes = np.array(
    [next(c for c in range(len(LETTERS)) if (COMPATIBLE[c] == row[::-1]).all()) for row in COMPATIBLE], dtype=np.uint8
)
"""(15,): the code on the other strand; of a base x it is 3 - x, and what is compatible is complemented with it."""

NO_BASE = 0xFF
SPACE = b" \t\r\n"
"""What may stand between letters and means nothing."""


def _code_table() -> bytes:
    table = bytearray([NO_BASE]) * 256
    for code, letter in enumerate(LETTERS):
        table[ord(letter)] = table[ord(letter.lower())] = code
    table[ord("U")] = table[ord("u")] = LETTERS.index("T")
    return bytes(table)


CODE_OF_BYTE = _code_table()
"""The code of every byte of a file, for `bytes.translate`; `NO_BASE` where it stands for none."""

_LETTER_OF_CODE = LETTERS.encode().ljust(256, b"?")
_COMPLEMENT_BYTES = COMPLEMENT.tobytes().ljust(256, bytes([NO_BASE]))
_BASE_BYTES = bytes(range(BASES))

_FOREIGN = {
    **dict.fromkeys("EFILPQZJOX", "this looks like protein; give DNA or RNA"),
    "*": "a star ends a protein; give DNA or RNA",
    "-": "this looks like an alignment; take its gaps out first",
    ".": "this looks like an alignment; take its gaps out first, or write N for a base that is not known",
    **dict.fromkeys("0123456789", "FASTA and FASTQ hold no numbers between bases; is this another format?"),
    ">": "a name begins at the first column of a line",
    ";": "elman reads no comments in FASTA; take the line out",
    "@": "the record has no line + and no qualities, or this is not FASTQ",
}
"""What to do about letters that are no bases."""


def encode(text: str | bytes) -> Codes:
    r"""Return the codes of letters; white space between them is left out.

    >>> encode("acgTN\nU").tolist()
    [0, 1, 2, 3, 14, 3]

    Raises
    ------
    TextError
        for a letter that is no base, with its place.
    """
    data = text if isinstance(text, bytes) else text.encode()
    codes = data.translate(CODE_OF_BYTE, SPACE)
    if NO_BASE in codes:
        place, letter = first_foreign(data)
        raise TextError(f"letter {place + 1} is {_said(letter)}, which is no base", hint=foreign_hint(letter))
    return as_codes(codes)


def as_codes(data: bytes) -> Codes:
    """Return codes that lie in bytes as an array, without a copy; it cannot be written to."""
    return np.frombuffer(data, dtype=np.uint8)


def decode(codes: Codes) -> str:
    """Return codes as upper-case letters.

    >>> decode(encode("acgun"))
    'ACGTN'
    """
    return codes.tobytes().translate(_LETTER_OF_CODE).decode()


def reverse_complement(codes: Codes) -> Codes:
    """Return the other strand, read in its own direction.

    >>> decode(reverse_complement(encode("AACRN")))
    'NYGTT'
    """
    return as_codes(codes[::-1].tobytes().translate(_COMPLEMENT_BYTES))


def count_ambiguous(codes: Codes | bytes) -> int:
    """Return how many codes are no single base.

    >>> count_ambiguous(encode("ACNNR"))
    3
    """
    data = codes if isinstance(codes, bytes) else codes.tobytes()
    return len(data.translate(None, _BASE_BYTES))


def first_foreign(data: bytes) -> tuple[int, int]:
    """Return the place and the value of the first byte that is neither a code's letter nor white space."""
    allowed: NDArray[Any] = np.frombuffer(CODE_OF_BYTE, dtype=np.uint8) != NO_BASE
    allowed[list(SPACE)] = True
    place = int(np.argmin(allowed[np.frombuffer(data, dtype=np.uint8)]))
    return place, data[place]


def foreign_error(name: str, line: int, column: int, letter: int) -> TextError:
    """Return the error of a byte that is no base, at a line and a column counted from 1."""
    if letter == 0:
        return TextError(f"{name} is binary: line {line} holds a NUL byte", hint="give FASTA or FASTQ")
    return TextError(f"{name}, line {line}, column {column}: {_said(letter)} is no base", hint=foreign_hint(letter))


def foreign_hint(letter: int) -> str:
    """Return what to do about a byte that is no base."""
    return _FOREIGN.get(chr(letter).upper(), f"bases are {' '.join(LETTERS[:4])} and U, or an IUPAC code such as N")


def _said(letter: int) -> str:
    return repr(chr(letter)) if 32 < letter < 127 else f"byte 0x{letter:02x}"
