"""Genomes: mapped from the cache or in memory, fetched, cut."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import OutputError, TextError, UsageError
from elman.text import genome as module
from elman.text.dna import decode, encode
from elman.text.genome import Genome, Record, open_genome
from elman.text.holdout import hold_out, total_length
from elman.text.regions import Region, merge, parse_region, read_bed, without

FASTA = b">chr1 first\nACGTN\nACRT\n>empty\n>chr2\nggg\nTTT\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "genome.fa").write_bytes(FASTA)
    return tmp_path / "genome.fa"


@pytest.fixture
def genome(path: Path, tmp_path: Path) -> Genome:
    return open_genome(path, cache_folder=tmp_path / "cache")


def test_records_are_in_order_with_what_was_counted(genome):
    assert list(genome) == [Record("chr1", 9, 2, 1), Record("empty", 0, 0, 4), Record("chr2", 6, 0, 5)]
    assert (genome.names, genome.bases, genome.ambiguous, len(genome)) == (["chr1", "empty", "chr2"], 15, 2, 3)
    assert genome.lengths == {"chr1": 9, "empty": 0, "chr2": 6} and genome.length("chr2") == 6
    assert genome.offsets.tolist() == [0, 9, 9, 15]


def test_fetch_is_a_slice(genome):
    assert decode(genome.fetch("chr1")) == "ACGTNACRT"
    assert decode(genome.fetch("chr1", 2, 5)) == "GTN" == decode(genome.view("chr1", 2, 5))
    assert decode(genome.fetch("chr2", 4)) == "TT"
    assert decode(genome.fetch("empty")) == decode(genome.fetch("chr1", 9, 9)) == ""


def test_what_was_fetched_is_ones_own(genome):
    mine = genome.fetch("chr2", 0, 2)
    mine[:] = 0
    assert decode(genome.fetch("chr2", 0, 2)) == "GG"
    with pytest.raises(ValueError, match="read-only"):
        genome.view("chr2")[0] = 0


@pytest.mark.parametrize(("start", "end"), [(0, 10), (-1, 3), (4, 3), (10, None), (10, 11)])
def test_a_range_past_the_end_is_refused_with_the_length(genome, start, end):
    with pytest.raises(UsageError, match="chr1 has 9 bases"):
        genome.fetch("chr1", start, end)


def test_an_unknown_name_comes_with_the_nearest(genome):
    with pytest.raises(UsageError, match=r"no record 'chr11'.*did you mean chr1"):
        genome.fetch("chr11")
    with pytest.raises(UsageError, match="the first is chr1"):
        genome.length("scaffold_1234567")


def test_reads_of_one_name_can_be_gone_through_but_not_asked_for(tmp_path):
    (tmp_path / "reads.fq").write_bytes(b"@r 1\nAC\n+\nII\n@r 2\nGT\n+\nII\n")
    genome = open_genome(tmp_path / "reads.fq", cache_folder=tmp_path)
    assert [record.length for record in genome] == [2, 2]
    with pytest.raises(UsageError, match="more than one record 'r'"):
        genome.fetch("r")


def test_a_genome_in_memory_is_the_same(genome):
    other = Genome.of({name: encode(s) for name, s in [("chr1", "ACGTNACRT"), ("empty", ""), ("chr2", "GGGTTT")]})
    assert (other.lengths, other.ambiguous, other.codes.tolist()) == (genome.lengths, 2, genome.codes.tolist())
    assert decode(other.fetch("chr1", 2, 5)) == "GTN"
    assert len(Genome.of({})) == 0


def test_windows_cover_a_region_each_after_its_context(genome):
    found = [(decode(codes), before) for codes, before in genome.windows("chr1", 1, 8, size=3, before=2)]
    assert found == [("CGT", 0), ("GTNAC", 2), ("ACR", 2)]


def test_the_file_is_read_once(path, tmp_path, monkeypatch):
    open_genome(path, cache_folder=tmp_path / "cache")
    monkeypatch.setattr(module, "parts", None)
    assert decode(open_genome(path, cache_folder=tmp_path / "cache").fetch("chr2")) == "GGGTTT"


def test_another_file_of_the_same_name_is_read(path, tmp_path):
    open_genome(path, cache_folder=tmp_path / "cache")
    path.write_bytes(FASTA.replace(b"ggg", b"ccc"))
    assert decode(open_genome(path, cache_folder=tmp_path / "cache").fetch("chr2")) == "CCCTTT"


@pytest.mark.parametrize("place", [5, 4096, 4096 + 14, -3])
def test_a_damaged_entry_of_the_cache_is_made_anew(place, path, tmp_path):
    open_genome(path, cache_folder=tmp_path / "cache")
    (entry,) = (tmp_path / "cache").iterdir()
    data = bytearray(entry.read_bytes())
    data[place] ^= 1
    entry.write_bytes(data)
    assert decode(open_genome(path, cache_folder=tmp_path / "cache").fetch("chr1")) == "ACGTNACRT"
    entry.write_bytes(entry.read_bytes()[:-1])
    assert decode(open_genome(path, cache_folder=tmp_path / "cache").fetch("chr1")) == "ACGTNACRT"


def test_a_wrong_file_leaves_nothing_in_the_cache(tmp_path):
    (tmp_path / "wrong.fa").write_bytes(b">a\nACGT\nPEP\n")
    with pytest.raises(TextError, match="line 3, column 1"):
        open_genome(tmp_path / "wrong.fa", cache_folder=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_cannot_be_written_is_named_where_it_was_asked_for(path, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        open_genome(path, cache_folder=tmp_path / "file")
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "file"))
    assert open_genome(path).bases == 15


def test_standard_input_is_a_genome_too():
    program = "from elman.text.genome import open_genome; print(open_genome('-').lengths)"
    done = subprocess.run([sys.executable, "-c", program], input=gzip.compress(FASTA), capture_output=True, check=True)
    assert done.stdout.decode().strip() == "{'chr1': 9, 'empty': 0, 'chr2': 6}"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc says how much memory is held")
def test_what_was_fetched_does_not_stay_in_memory(tmp_path):
    (tmp_path / "long.fa").write_bytes(b">a\n" + b"ACGT" * (16 << 18))
    program = (
        "import sys, re; from pathlib import Path; from elman.text.genome import open_genome\n"
        "held = lambda: int(re.search(r'VmRSS:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "genome = open_genome(sys.argv[1], cache_folder=Path(sys.argv[2]))\n"
        "before = held()\n"
        "assert sum(len(codes) for codes, _ in genome.windows('a')) == 16 << 20\n"
        "print(held() - before)"
    )
    command = [sys.executable, "-c", program, tmp_path / "long.fa", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert int(done.stdout) < 6 << 10  # KB, for 16 MB


# Regions

LENGTHS = {"chr1": 5000, "chr1:1-10": 50, "HLA:A*01:01": 300, "1": 9}


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("chr1", Region("chr1", 0, 5000)),
        ("chr1:1,001-2,000", Region("chr1", 1000, 2000)),
        ("chr1:1-1", Region("chr1", 0, 1)),
        ("chr1:4000", Region("chr1", 3999, 5000)),
        ("chr1:4000-", Region("chr1", 3999, 5000)),
        ("chr1:-4000", Region("chr1", 0, 4000)),
        ("chr1:1-10", Region("chr1:1-10", 0, 50)),
        ("chr1:1-10:3-4", Region("chr1:1-10", 2, 4)),
        ("HLA:A*01:01", Region("HLA:A*01:01", 0, 300)),
        ("HLA:A*01:01:5-6", Region("HLA:A*01:01", 4, 6)),
    ],
)
def test_a_region_is_1_based_and_inclusive_and_the_longest_name_wins(text, region):
    assert parse_region(text, LENGTHS) == region


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chr1:0-10", "begins at 0"),
        ("chr1:10-5001", "past the end: chr1 has 5000 bases"),
        ("chr1:5001", "past the end: chr1 has 5000 bases"),
        ("chr1:20-10", "ends before it begins"),
        ("chr1:", "'' is no range"),
        ("chr1:-", "'-' is no range"),
        ("chr1:a-b", "'a-b' is no range"),
        ("chr1:5-6-7", "is no range"),
        ("chrl:5-6", "no record 'chrl'.*did you mean chr1"),
        ("", "no record ''"),
    ],
)
def test_a_wrong_region_is_one_sentence(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_region(text, LENGTHS)
    assert caught.value.hint


@given(start=st.integers(0, 4999), length=st.integers(1, 5000))
def test_a_region_is_written_as_it_is_read(start, length):
    region = Region("chr1", start, min(5000, start + length))
    assert parse_region(str(region), {"chr1": 5000}) == region


def bed(folder: Path, text: str) -> list[Region]:
    (folder / "regions.bed").write_bytes(text.encode())
    return list(read_bed(folder / "regions.bed", LENGTHS))


def test_bed_is_0_based_and_its_names_strands_and_overlaps_are_kept(tmp_path):
    text = (
        "browser position chr1\ntrack name=x\n# comment\r\n\n"
        "chr1\t10\t20\tname with space\t0\t-\t10\t20\t0\t1\t10,\t0,\r\n"
        "chr1 15 30\n1\t0\t9\t\t\t+\nchr1\t7\t7\tnothing\n"
    )
    assert bed(tmp_path, text) == [
        Region("chr1", 10, 20, "name with space", "-"),
        Region("chr1", 15, 30),
        Region("1", 0, 9, "", "+"),
        Region("chr1", 7, 7, "nothing"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t10", "has 2 columns"),
        ("chr1", "has 1 column,"),
        ("chr1\t10\tx", "'x' is no position"),
        ("chr1\t-1\t10", "'-1' is no position"),
        ("chr1\t1.5\t10", "'1.5' is no position"),
        ("chr1\t20\t10", "ends .10. before it begins .20."),
        ("chr1\t20\t5001", "past the end: chr1 has 5000 bases"),
        ("chr2\t20\t50", "no record 'chr2'.*did you mean chr1"),
        ("chr1\t1\t2\tname\t0\tplus", "the strand is 'plus'"),
    ],
)
def test_a_wrong_line_of_bed_is_named(line, message, tmp_path):
    with pytest.raises(TextError, match=f"regions.bed, line 2.*{message}") as caught:
        bed(tmp_path, f"chr1\t0\t1\n{line}\n")
    assert caught.value.hint


def test_a_bed_file_without_regions_is_refused(tmp_path):
    with pytest.raises(TextError, match="holds no regions"):
        bed(tmp_path, "track name=x\n\n")
    with pytest.raises(TextError, match="is empty"):
        bed(tmp_path, "")


REGIONS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 20)).map(
        lambda drawn: Region(drawn[0], min(drawn[1:]), max(drawn[1:]))
    )
)


def covered(regions) -> list[tuple[str, int]]:
    return [(region.name, place) for region in regions for place in range(region.start, region.end)]


@given(regions=REGIONS, others=REGIONS)
def test_merging_and_taking_away_are_those_of_sets_of_bases(regions, others):
    lengths = {"b": 20, "a": 20}
    order = list(lengths).index
    expected = sorted(set(covered(regions)), key=lambda base: (order(base[0]), base[1]))
    assert covered(merge(regions, lengths)) == expected
    assert covered(without(regions, others, lengths)) == [base for base in expected if base not in covered(others)]


# Holding out

TWO = Genome.of({"a": np.zeros(60, dtype=np.uint8), "b": np.zeros(40, dtype=np.uint8)})


@pytest.mark.parametrize(
    ("what", "training", "held_out"),
    [
        (0.1, [("a", 0, 60), ("b", 0, 30)], [("b", 30, 40)]),
        ("0.5", [("a", 0, 50)], [("a", 50, 60), ("b", 0, 40)]),
        ("a", [("b", 0, 40)], [("a", 0, 60)]),
        ("a:11-20", [("a", 0, 10), ("a", 20, 60), ("b", 0, 40)], [("a", 10, 20)]),
        (0.001, [("a", 0, 60), ("b", 0, 39)], [("b", 39, 40)]),
        (0.999, [("a", 0, 1)], [("a", 1, 60), ("b", 0, 40)]),
    ],
)
def test_a_share_a_record_or_a_region_is_held_out(what, training, held_out):
    split = hold_out(TWO, what)
    assert split.training == [Region(*each) for each in training]
    assert split.held_out == [Region(*each) for each in held_out]
    assert total_length(split.training) + total_length(split.held_out) == TWO.bases


def test_a_share_is_of_what_is_looked_at_and_overlaps_count_once():
    split = hold_out(TWO, 0.25, within=[Region("b", 0, 20), Region("a", 0, 10), Region("b", 10, 30)])
    assert split.training == [Region("a", 0, 10), Region("b", 0, 20)]
    assert split.held_out == [Region("b", 20, 30)]


def test_a_record_whose_name_is_a_number_is_a_record():
    genome = Genome.of({"1": np.zeros(8, dtype=np.uint8), "2": np.zeros(8, dtype=np.uint8)})
    assert hold_out(genome, "2").held_out == [Region("2", 0, 8)]


@pytest.mark.parametrize(
    ("what", "within", "message"),
    [
        ("1.5", None, "no share between 0 and 1"),
        ("0", None, "no share between 0 and 1"),
        ("nan", None, "no share between 0 and 1"),
        ("c", None, "no record 'c'"),
        ("a:50-70", None, "past the end"),
        ("a", [Region("a", 0, 10)], "leaves nothing to train on"),
        ("a", [Region("b", 0, 10)], "leaves nothing to hold out"),
        (0.5, [Region("b", 0, 1)], "leaves nothing to hold out"),
        (0.5, [], "leaves nothing"),
    ],
)
def test_what_cannot_be_held_out_is_refused(what, within, message):
    with pytest.raises(UsageError, match=message):
        hold_out(TWO, what, within=within)
