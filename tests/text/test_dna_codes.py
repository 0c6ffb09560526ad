"""Bases as numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import TextError
from elman.text import dna
from elman.text.dna import COMPATIBLE, COMPLEMENT, LETTERS, MASKS, count_ambiguous, decode, encode, reverse_complement

LETTER_LISTS = st.text(alphabet=LETTERS)
# The pairs of NC-IUB, written out.
PAIRS = dict(zip("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN", strict=True))


@given(LETTER_LISTS)
def test_letters_come_back(text):
    assert decode(encode(text)) == text
    assert decode(encode(text.lower())) == text


@given(LETTER_LISTS)
def test_the_other_strand_is_the_letters_paired_and_turned_round(text):
    assert decode(reverse_complement(encode(text))) == "".join(PAIRS[letter] for letter in reversed(text))
    assert decode(reverse_complement(reverse_complement(encode(text)))) == text


def test_bases_are_0_to_3_and_complement_to_3_minus_themselves():
    assert encode("ACGTacgtUu").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 3, 3]
    assert COMPLEMENT[:4].tolist() == [3, 2, 1, 0]


def test_a_mask_has_the_bits_of_the_compatible_bases():
    meant = {letter: "".join("ACGT"[x] for x in range(4) if COMPATIBLE[c, x]) for c, letter in enumerate(LETTERS)}
    assert meant["N"] == "ACGT" and meant["R"] == "AG" and meant["B"] == "CGT" and meant["T"] == "T"
    assert [[bool(mask >> x & 1) for x in range(4)] for mask in MASKS] == COMPATIBLE.tolist()
    assert len({tuple(row) for row in COMPATIBLE.tolist()}) == 15


def test_a_complement_is_compatible_with_the_complements():
    assert (COMPATIBLE[COMPLEMENT] == COMPATIBLE[:, ::-1]).all()


@given(LETTER_LISTS)
def test_ambiguous_codes_are_counted(text):
    assert count_ambiguous(encode(text)) == sum(letter not in "ACGT" for letter in text)


@pytest.mark.parametrize(
    "letter", sorted({chr(byte) for byte in range(33, 127)} - set("ACGTURYSWKMBDHVNacgturyswkmbdhvn"))
)
def test_every_other_letter_is_refused_with_its_place(letter):
    with pytest.raises(TextError, match="letter 4 is") as caught:
        encode(f"AC\n{letter}GT")
    assert repr(letter) in caught.value.message and caught.value.hint


@pytest.mark.parametrize(("letter", "hint"), [("L", "protein"), ("*", "protein"), ("-", "alignment"), ("7", "numbers")])
def test_the_hint_says_what_the_letter_looks_like(letter, hint):
    assert hint in dna.foreign_hint(ord(letter))


def test_codes_of_a_file_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        encode("ACGT")[0] = 1


def test_an_empty_text_has_no_codes():
    assert encode("").dtype == np.uint8 and len(encode("")) == 0
