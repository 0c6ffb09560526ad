"""Bases as symbols: either case, U as T, other letters in a row of their own, and what is no letter of DNA refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.config import TextSettings
from elman.errors import TextError, UsageError
from elman.text import dna
from elman.text.bases import DnaTokenizer, ambiguous, reverse_complement
from elman.text.labelled import Example, Labelled
from elman.text.tokenizers import load_tokenizer

SETTINGS = TextSettings(unit="dna")
letters = st.text("acgtACGTuUnNryRY \n-x猫\udcff")


def tokenizer(*lines: str) -> DnaTokenizer:
    return DnaTokenizer.train(lines, SETTINGS)


def data(*sequences: str) -> Labelled:
    return Labelled("some.tsv", [Example(line, "a", sequence) for line, sequence in enumerate(sequences, start=1)])


def test_the_bases_come_first_in_either_case_and_u_is_t() -> None:
    assert tokenizer().encode("acgtuACGTU\n") == [0, 1, 2, 3, 3, 0, 1, 2, 3, 3, 5]
    assert tokenizer().decode([0, 1, 2, 3, 5, 4, 6]) == "ACGT\n<unk><unk>"
    assert [tokenizer().token(id) for id in range(6)] == ["A", "C", "G", "T", "<unk>", "\n"]
    assert [tokenizer().id(token) for token in ("a", "G", "\n", "AC", "", "N")] == [0, 2, 5, None, None, None]


@given(letters)
def test_a_letter_that_is_no_base_is_outside_the_dictionary_and_never_one_of_them(text: str) -> None:
    expected = [{"U": 3, "\n": 5}.get(letter.upper(), "ACGT".find(letter.upper())) for letter in text]
    assert tokenizer().encode(text) == [6 if id < 0 else id for id in expected]
    assert tokenizer().encode(text) == [id for each in text for id in tokenizer().encode(each)]


@given(letters.filter(lambda text: "\udcff" not in text))
def test_the_library_reads_as_it_does(text: str) -> None:
    ids = [4 if id == 6 else id for id in tokenizer().encode(text)]
    assert tokenizer().library.encode(text).ids == ids


@given(st.lists(letters, max_size=4))
def test_a_block_of_bases_is_its_lines_one_by_one(lines: list[str]) -> None:
    block = tokenizer().encode_block(lines)
    assert block.ids.tolist() == [id for line in lines for id in tokenizer().encode_line(line)]
    assert (block.lines, block.oovs) == (len(lines), block.ids.tolist().count(6))


def test_whether_training_saw_another_letter_is_known_and_kept(tmp_path: Path) -> None:
    for lines, seen in ((["acgt", "ACG"], False), (["acgt", "anc"], True)):
        first = tokenizer(*lines)
        first.save(tmp_path)
        second = load_tokenizer(tmp_path, json.loads(json.dumps(first.meta())))
        assert first.unk_trained is second.unk_trained is seen
        assert first.fingerprint == second.fingerprint


def test_settings_of_other_units_are_refused() -> None:
    with pytest.raises(UsageError, match="min_count = 2 means nothing for unit=dna"):
        DnaTokenizer.train([], TextSettings(unit="dna", min_count=2))


@given(st.text("ACGTN"))
def test_the_other_strand_is_that_of_the_codes(text: str) -> None:
    ids = np.array([4 if id == 6 else id for id in tokenizer().encode(text)], dtype=np.int64)
    expected = dna.decode(dna.reverse_complement(dna.encode(text)))
    assert ["ACGTN"[id] for id in reverse_complement(ids)] == list(expected)
    assert np.array_equal(reverse_complement(reverse_complement(ids)), ids)


def test_letters_of_several_bases_are_counted() -> None:
    assert ambiguous(data("acgtu", "ACNnR", "nnny")) == {"N": 5, "R": 1, "Y": 1}


@pytest.mark.parametrize("letter", ["E", "l", "-", " ", "1", "猫", "é"])
def test_what_is_no_letter_of_dna_is_named_with_its_place(letter: str) -> None:
    with pytest.raises(TextError, match=rf"some.tsv, line 2: letter 4 of the sequence is '{letter}', which is no base"):
        ambiguous(data("acgn", f"acn{letter}gg"))
