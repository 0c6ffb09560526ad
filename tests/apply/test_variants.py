"""Log-likelihood ratios of variants: equal to what the two sequences give by hand, and written where they belong."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.apply import variants
from elman.apply.variants import Summary, Window, annotate, log_ratios
from elman.errors import TextError, UsageError
from elman.ngram.markov import fit
from elman.text.dna import Codes, decode, encode, reverse_complement
from elman.text.genome import Genome
from elman.text.vcf import read_vcf

HEADER = (
    '##fileformat=VCFv4.2\n##INFO=<ID=DP,Number=1,Type=Integer,Description="depth">\n##contig=<ID=chr1>\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
)


class Order0:
    """Bases whose probabilities depend on nothing."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self.logs = np.full(15, np.nan)
        self.logs[:4] = np.log(probabilities)

    def log_probs(self, codes: Codes) -> np.ndarray:
        return self.logs[codes]


class Order2:
    """Bases whose probabilities depend on the two before, drawn at random; a table of its own at the beginning."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.logs = np.log(rng.dirichlet([1] * 4, size=(16, 16)))  # 15 codes and a beginning
        self.calls = 0

    def log_probs(self, codes: Codes) -> np.ndarray:
        self.calls += 1
        history = [15, 15, *codes.tolist()]
        found = np.full(len(codes), np.nan)
        for place, code in enumerate(codes.tolist()):
            if code < 4:
                found[place] = self.logs[history[place], history[place + 1], code]
        return found


class Batched(Order2):
    def log_probs_batch(self, sequences: Sequence[Codes]) -> list[np.ndarray]:
        return [super(Batched, self).log_probs(codes) for codes in sequences]


def log_prob(scorer, text: str) -> float:
    """log Pr of a whole sequence, its ambiguous bases left out."""
    return float(np.nansum(scorer.log_probs(encode(text))))


def run(
    tmp_path: Path, genome: dict[str, str], lines: Sequence[str], scorer=None, *, header: str = HEADER, **options
) -> tuple[list[str], Summary]:
    """Annotate records; return the lines, and the counts."""
    path = tmp_path / "x.vcf"
    path.write_text(header + "".join(lines), newline="")
    out = io.BytesIO()
    reference = Genome.of({name: encode(text) for name, text in genome.items()}, source="ref.fa")
    summary = annotate(read_vcf(path), reference, scorer or Order2(), out, **options)
    return out.getvalue().decode().splitlines(keepends=True), summary


def record(pos: int, ref: str, alt: str, chrom: str = "chr1", info: str = ".") -> str:
    return f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t{info}\n"


def info_of(line: str) -> dict[str, list[str]]:
    fields = line.rstrip("\r\n").split("\t")[7].split(";")
    return {name: value.split(",") for name, _, value in (field.partition("=") for field in fields)}


SEQUENCE = st.text("ACGT", max_size=12)
ALLELE = st.text("ACGTacgt", min_size=1, max_size=4)


@given(before=SEQUENCE, after=SEQUENCE, ref=ALLELE, alt=ALLELE, flank=st.integers(0, 14), seed=st.integers(0, 3))
def test_the_ratio_is_the_difference_of_two_sequences(before, after, ref, alt, flank, seed, tmp_path_factory):
    genome = {"chr1": before + ref.upper() + after}
    lines = [record(len(before) + 1, ref, alt)]
    scorer = Order2(seed)
    found, _ = run(tmp_path_factory.mktemp("v"), genome, lines, scorer, flank=flank)
    left, right = before[max(0, len(before) - flank) :], after[:flank]
    strand = {"ELMAN_FWD": lambda text: text, "ELMAN_RC": lambda text: decode(reverse_complement(encode(text)))}
    by_hand = {
        name: (log_prob(scorer, turn(left + alt + right)) - log_prob(scorer, turn(left + ref + right))) / math.log(2)
        for name, turn in strand.items()
    }
    by_hand["ELMAN_LLR"] = (by_hand["ELMAN_FWD"] + by_hand["ELMAN_RC"]) / 2
    values = info_of(found[-1])
    assert list(values) == ["ELMAN_FWD", "ELMAN_RC", "ELMAN_LLR"]
    for name, value in by_hand.items():
        assert float(values[name][0]) == pytest.approx(value, abs=6e-5)


@given(text=st.text("ACGT", min_size=1, max_size=40), place=st.integers(0, 39), alt=st.sampled_from("ACGT"))
def test_without_context_a_substitution_is_the_ratio_of_two_bases_exactly(text, place, alt):
    place %= len(text)
    codes = encode(text)
    changed = codes.copy()
    changed[place] = encode(alt)[0]
    scorer = Order0([0.31, 0.19, 0.21, 0.29])
    pair = Window(codes, place, place + 1), Window(changed, place, place + 1)
    forward, reverse, mean = log_ratios(scorer, [pair])[0]
    assert forward == scorer.logs[changed[place]] - scorer.logs[codes[place]]
    assert reverse == scorer.logs[3 - changed[place]] - scorer.logs[3 - codes[place]]
    assert mean == (forward + reverse) / 2
    assert log_ratios(scorer, [pair], strands="forward") == [(forward,)]


@given(ref=ALLELE, alt=ALLELE, before=SEQUENCE, after=SEQUENCE)
def test_where_both_strands_are_alike_the_reverse_complement_is_no_news(ref, alt, before, after):
    """Of a scorer that gives a sequence and its reverse complement one probability, both columns are the same."""
    scorer = Order0([0.3, 0.2, 0.2, 0.3])
    codes = [encode(before + allele + after) for allele in (ref, alt)]
    pair = tuple(Window(c, len(before), len(before) + len(a)) for c, a in zip(codes, (ref, alt), strict=True))
    forward, reverse, _ = log_ratios(scorer, [pair])[0]
    assert forward == pytest.approx(reverse, abs=1e-12)


def test_a_context_model_of_both_strands_finds_the_same_on_both():
    """Its probability of a sequence is a ratio of counts of words, the same on the other strand but for both ends."""
    codes = np.random.default_rng(0).integers(0, 4, 5000).astype(np.uint8)
    pairs = []
    for place, alt in [(100, "A"), (200, "C"), (300, "GTT"), (400, "T")]:
        before, after = codes[place - 9 : place], codes[place + 2 : place + 11]
        windows = [np.concatenate([before, allele, after]) for allele in (codes[place : place + 2], encode(alt))]
        pairs.append(tuple(Window(w, 9, len(w) - 9) for w in windows))
    both = log_ratios(fit(codes, 2, alpha=1e-9), pairs)
    assert all(forward == pytest.approx(reverse, abs=0.005) and abs(forward) > 1 for forward, reverse, _ in both)
    one = log_ratios(fit(codes, 2, alpha=1e-9, reverse_complement=False), pairs)
    assert all(abs(forward - reverse) > 0.05 for forward, reverse, _ in one)


@given(before=SEQUENCE, allele=ALLELE, after=SEQUENCE, seed=st.integers(0, 3))
def test_an_alternative_that_is_the_reference_is_zero(before, allele, after, seed):
    window = Window(encode(before + allele + after), len(before), len(before) + len(allele))
    assert log_ratios(Order2(seed), [(window, window)]) == [(0.0, 0.0, 0.0)]


@given(before=SEQUENCE, ref=ALLELE, alt=ALLELE, after=SEQUENCE, seed=st.integers(0, 3))
def test_reading_the_other_strand_swaps_the_columns(before, ref, alt, after, seed):
    pair = tuple(Window(encode(before + x + after), len(before), len(before) + len(x)) for x in (ref, alt))
    other = tuple(window.other_strand() for window in pair)
    assert [decode(w.codes[w.start : w.end]) for w in other] == [
        decode(reverse_complement(encode(x))) for x in (ref, alt)
    ]
    forward, reverse, mean = log_ratios(Order2(seed), [pair])[0]
    assert log_ratios(Order2(seed), [other]) == [(reverse, forward, mean)]


def test_many_at_once_are_one_after_the_other(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    text = decode(rng.integers(0, 4, 300).astype(np.uint8))
    lines = [record(p + 1, text[p : p + 2], "A,GTT,C") for p in rng.permutation(298)[:60].tolist()]
    expected = run(tmp_path, {"chr1": text}, lines, Order2(), flank=20)
    assert run(tmp_path, {"chr1": text}, lines, Batched(), flank=20) == expected
    monkeypatch.setattr(variants, "BATCH", 1)
    assert run(tmp_path, {"chr1": text}, lines, Batched(), flank=20) == expected
    monkeypatch.setattr(variants, "BATCH", 1 << 30)
    monkeypatch.setattr(variants, "HELD", 100)
    assert run(tmp_path, {"chr1": text}, lines, Order2(), flank=20) == expected


def test_the_reference_is_scored_once_for_all_alternatives(tmp_path):
    scorer = Order2()
    run(tmp_path, {"chr1": "ACGTACGT"}, [record(4, "T", "A,C,G")], scorer, strands="forward")
    assert scorer.calls == 4


def test_all_other_bytes_stay_as_they_are(tmp_path):
    header = HEADER.replace("INFO\n", "INFO\tFORMAT\ts1\n").replace("\n", "\r\n")
    lines = [
        "chr1\t3\trs;1\tg\tA\t1e-3\tq10;s50\tDP=0007;END=3\tGT:DP\t0|1:007\r\n",
        "\r\n",
        "chr1\t2\t.\tC\t<DEL>,T\t.\tPASS\t.\tGT\t./.\r\n",
    ]
    found, _ = run(tmp_path, {"chr1": "acgt"}, lines, header=header)
    old = (header + "".join(lines)).splitlines(keepends=True)
    ours = [line for line in found if line.startswith("##INFO=<ID=ELMAN_")]
    assert [line for line in found if line not in ours][:4] == old[:4] and all(line.endswith("\r\n") for line in found)
    assert found.index(ours[0]) == 2  # after the other line of INFO
    first, blank, second = found[-3:]
    values = first.split("\t")[7].removeprefix("DP=0007;END=3;")
    assert first == lines[0].replace("END=3", f"END=3;{values}") and values.startswith("ELMAN_FWD=")
    assert blank == "\r\n"
    values = second.split("\t")[7]
    assert second == lines[2].replace("PASS\t.", f"PASS\t{values}")
    assert all(column[0] == "." and float(column[1]) for column in info_of("\t" * 7 + values).values())


def test_running_twice_replaces_the_values(tmp_path):
    genome, lines = {"chr1": "ACGTTGCA"}, [record(3, "G", "A,GTT", info="DP=3"), record(1, "A", "*")]
    once, _ = run(tmp_path, genome, lines)
    header, body = once[: -len(lines)], once[-len(lines) :]
    assert run(tmp_path, genome, body, header="".join(header))[0] == once
    forward, _ = run(tmp_path, genome, body, header="".join(header), strands="forward")
    assert forward == run(tmp_path, genome, lines, strands="forward")[0]
    assert not any("ELMAN_RC" in line or "ELMAN_LLR" in line for line in forward)


def test_the_header_names_the_unit(tmp_path):
    found, _ = run(tmp_path, {"chr1": "ACGT"}, [], flank=99)
    ours = [line for line in found if "ID=ELMAN_" in line]
    assert len(ours) == 3 and all("bits" in line and "Number=A,Type=Float" in line for line in ours)
    assert "99 bases on each side" in ours[0] and "reverse complement" in ours[1]


SYMBOLIC = [
    "*",
    ".",
    "<DEL>",
    "<*>",
    "<NON_REF>",
    "<INS:ME:ALU>",
    "G]17:198982]",
    "]13:123456]T",
    "[chr1:5[A",
    ".A",
    "A.",
]


@pytest.mark.parametrize("alt", SYMBOLIC)
def test_what_is_no_sequence_passes_with_a_dot(alt, tmp_path):
    found, summary = run(tmp_path, {"chr1": "ACGT"}, [record(2, "C", f"{alt},T")])
    values = info_of(found[-1])
    assert all(column[0] == "." and column[1] != "." for column in values.values()) and len(values) == 3
    assert summary == Summary(records=1, alternatives=2, scored=1, symbolic=1)
    found, summary = run(tmp_path, {"chr1": "ACGT"}, [record(2, "C", alt)])
    assert found[-1] == record(2, "C", alt, info="ELMAN_FWD=.;ELMAN_RC=.;ELMAN_LLR=.") and summary.scored == 0


@pytest.mark.parametrize(("ref", "alt"), [("C", "N"), ("N", "T"), ("C", "TR"), ("M", "G")])
def test_ambiguous_alleles_are_counted_and_not_scored(ref, alt, tmp_path):
    found, summary = run(tmp_path, {"chr1": "ACGT"}, [record(2, ref, alt)])
    assert info_of(found[-1])["ELMAN_LLR"] == ["."]
    assert summary == Summary(records=1, alternatives=1, ambiguous=1)


@pytest.mark.parametrize("reference", ["NNNN", "nRGT", "AMKT"])
def test_an_ambiguous_reference_contradicts_no_compatible_ref(reference, tmp_path):
    lines = [record(2, "G" if reference[1] == "R" else "C", "T")]
    found, summary = run(tmp_path, {"chr1": reference}, lines)
    assert summary.scored == 1 and math.isfinite(float(info_of(found[-1])["ELMAN_LLR"][0]))


def test_ambiguous_bases_beside_a_variant_are_left_out_of_both_sums(tmp_path):
    scorer = Order0([0.4, 0.1, 0.2, 0.3])
    found, _ = run(tmp_path, {"chr1": "ANCNRG"}, [record(3, "C", "A")], scorer)
    assert info_of(found[-1])["ELMAN_FWD"] == ["2.0000"]  # log2(0.4 / 0.1)


def test_a_sequence_of_probability_zero_has_no_ratio(tmp_path):
    class Never(Order0):
        def __init__(self) -> None:
            super().__init__([0.5, 0.25, 0.25, 1.0])
            self.logs[3] = -np.inf

    found, summary = run(tmp_path, {"chr1": "ACGG"}, [record(2, "C", "T,G")], Never(), strands="forward")
    assert info_of(found[-1])["ELMAN_FWD"] == [".", "0.0000"]
    assert (summary.scored, summary.unlikely) == (1, 1)


def test_an_unsorted_vcf_keeps_its_order(tmp_path):
    lines = [record(3, "G", "A"), record(1, "A", "T"), record(1, "T", "G", chrom="b"), record(2, "C", "T")]
    found, summary = run(tmp_path, {"chr1": "ACGT", "b": "T"}, lines)
    assert [line.split("\t")[:2] for line in found[-4:]] == [line.split("\t")[:2] for line in lines]
    assert summary.scored == 4


@pytest.mark.parametrize("pos", [0, 5])
def test_a_breakend_at_a_telomere_passes(pos, tmp_path):
    found, _ = run(tmp_path, {"chr1": "ACGT"}, [record(pos, "N", "]chr1:2]N")])
    assert found[-1].startswith(f"chr1\t{pos}\t.\tN\t]chr1:2]N\t.\t.\tELMAN_FWD=.")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (record(2, "G", "T"), "x.vcf, line 5: REF at chr1:2 is G, and ref.fa has C"),
        (record(2, "cgA", "T"), "x.vcf, line 5: REF at chr1:2 is cgA, and ref.fa has CGT"),
        (record(2, "G", "<DEL>"), "x.vcf, line 5: REF at chr1:2 is G, and ref.fa has C"),
        (record(9, "R", "T"), "x.vcf, line 5: REF at chr1:9 is R, and ref.fa has Y"),
        (record(99, "A", "T"), "x.vcf, line 5: chr1:99, 1 bases of REF, is not within the 9 of chr1"),
        (record(8, "RYA", "T"), "x.vcf, line 5: chr1:8, 3 bases of REF, is not within the 9 of chr1"),
        (record(0, "A", "T"), "x.vcf, line 5: chr1:0, 1 bases of REF, is not within"),
        (record(10, "A", "T"), "x.vcf, line 5: chr1:10, 1 bases of REF, is not within"),
        (record(2, "C", "T", chrom="1"), "x.vcf, line 5: ref.fa has no sequence '1'"),
        (record(2, "C", "TX"), "x.vcf, line 5: ALT 'TX' at chr1:2 is neither bases nor a symbol of VCF"),
        (record(2, "C", ""), "x.vcf, line 5: ALT is empty"),
        (record(2, "C", "A,,T"), "x.vcf, line 5: ALT '' at chr1:2 is neither"),
        (record(2, "C", "<DEL"), "x.vcf, line 5: ALT '<DEL' at chr1:2 is neither"),
        (record(2, "C1", "T"), "x.vcf, line 5: REF 'C1' at chr1:2 is neither"),
        (record(2, "C.", "<DEL>"), "x.vcf, line 5: REF 'C.' at chr1:2 is no bases"),
    ],
)
def test_what_does_not_fit_the_reference_is_one_sentence(line, sentence, tmp_path):
    with pytest.raises(TextError) as found:
        run(tmp_path, {"chr1": "ACGTACGRY"}, [line])
    assert f"/{sentence}" in found.value.message and found.value.hint


def test_long_alleles_are_not_spelt_out_in_messages(tmp_path):
    with pytest.raises(TextError) as found:
        run(tmp_path, {"chr1": "A" * 5000}, [record(1, "C" * 4000, "A")])
    assert len(found.value.message) < 200 and "(4000 bases)" in found.value.message


@pytest.mark.parametrize(
    ("name", "names", "close"),
    [("1", ["chr2", "chr1"], "chr1"), ("chr1", ["2", "1"], "1"), ("chrM", ["1", "MT"], "MT"), ("MT", ["chrM"], "chrM")],
)
def test_an_unknown_sequence_is_answered_with_the_nearest_name(name, names, close, tmp_path):
    with pytest.raises(TextError) as found:
        run(tmp_path, dict.fromkeys(names, "ACGT"), [record(2, "C", "T", chrom=name)])
    assert f"did you mean {close}?" in found.value.hint


@pytest.mark.parametrize("options", [{"flank": -1}, {"strands": "reverse"}])
def test_settings_that_cannot_be_are_refused(options, tmp_path):
    with pytest.raises(UsageError):
        run(tmp_path, {"chr1": "ACGT"}, [], **options)
