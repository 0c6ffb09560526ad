"""Training on FASTA: what is told is what the saved model says, and a run that was cut goes on to the same bits."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.config import build, parse_pairs, read_recipe
from elman.errors import ElmanError, Interrupted, ModelError, OutputError, TextError, TrainingError, UsageError
from elman.learn.bases import blocks
from elman.learn.dna import digest_of, nats, strand_of, train_dna
from elman.learn.progress import Listener, Progress
from elman.network.bases import BaseReader, Codes
from elman.network.bases_folder import BaseModel, load_base_model
from elman.network.folder import load_tensors
from elman.text.dna import decode, encode, reverse_complement

TINY = ["unit=dna", "encoder=n-gram", "ngrams=[2, 3]", "counts=[1, 3, 8, 16]", "hidden=6", "activation=tanh"]
TINY += ["optimizer=adam", "alpha=0.01", "batch=4", "bptt=8", "epochs=3", "schedule=linear", "threads=1"]


def sequence(length: int, seed: int) -> str:
    """Bases of which most are the one three before: no model finds them all equally likely."""
    draw = np.random.default_rng(seed)
    bases = draw.integers(0, 4, length)
    for place in np.flatnonzero(draw.random(length) < 0.6):
        bases[place] = bases[place - 3] if place > 2 else bases[place]
    return decode(bases.astype(np.uint8))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "two.fa"
    ambiguous = f"NNNN{sequence(300, 3)}RN{sequence(294, 4)}"
    path.write_text(f">one x\n{sequence(1500, 1)}\n>two\n{sequence(300, 2).lower()}{ambiguous}\n")
    return path


def train(fasta: Path, folder: Path, *pairs: str, **options: Any) -> BaseModel:
    given = parse_pairs([*TINY, *pairs])
    return train_dna(fasta, folder, build(given), given=given, **options)


def scored_anew(folder: Path, sequences: list[Codes]) -> float:
    """Bits a base of a loaded model, one base after the other."""
    model, loss, count = load_base_model(folder), 0.0, 0
    for codes in sequences:
        reader = BaseReader(model.contexts, model.network)
        for code in codes.tolist():
            loss -= math.log2(float(reader.predict()[code]))
            reader.take(code)
            reader.states[0] = reader.states[1]
        count += len(codes)
    return loss / count


def parts_of(fasta: Path, record: int, *cuts: int) -> list[Codes]:
    """Pieces of a record, with what is ambiguous in each left out."""
    codes = encode(fasta.read_text().splitlines()[2 * record + 1])
    return [piece[piece < 4] for piece in np.split(codes, cuts)]


class Stopper:
    """Ask to stop at the given call, as Ctrl-C would."""

    def __init__(self, call: int) -> None:
        self.calls, self.call = 0, call

    def __call__(self) -> bool:
        self.calls += 1
        return self.calls >= self.call


def told(folder: Path) -> list[dict[str, object]]:
    """The log without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "second" not in key} for line in lines]


def test_what_training_reports_is_what_the_loaded_model_says(fasta: Path, tmp_path: Path) -> None:
    """The last tenth, 240 bases of two: they hold no ambiguous base, so they are one sequence."""
    model = train(fasta, tmp_path / "model")
    bits = model.card["result"]["valid_bits_per_base"]
    held_out = parts_of(fasta, 1, 660)[1]
    assert len(held_out) == 240
    assert scored_anew(tmp_path / "model", [held_out]) == pytest.approx(bits, abs=1e-9)
    reader = BaseReader(model.contexts, model.network)
    assert nats(reader.follow(held_out), held_out) / 240 / math.log(2) == pytest.approx(bits, abs=1e-12)
    assert bits < 1.9, "nothing was learnt"


def test_the_card_says_what_was_read_and_what_came_of_it(fasta: Path, tmp_path: Path) -> None:
    card = train(fasta, tmp_path / "model", command="elman train").card
    training = [*parts_of(fasta, 0), encode(sequence(300, 2)), encode(sequence(300, 3)), encode(sequence(294, 4))[:54]]
    assert card["train"] == {
        "file": str(fasta),
        "digest": digest_of(training),
        "regions": ["one:1-1500", "two:1-660"],
        "bases": 1500 + 660 - 6,
        "skipped": 6,
    }
    assert (card["valid"]["regions"], card["valid"]["bases"], card["valid"]["skipped"]) == (["two:661-900"], 240, 0)
    result = card["result"]
    updates = 3 * sum(-(-len(codes) // 32) for codes in training)
    assert (result["epochs"], result["updates"]) == (3, updates)
    assert result["valid_loss"] == pytest.approx(result["valid_bits_per_base"] * math.log(2))
    assert card["valid_held_out_from_train"] is True and card["command"] == "elman train"
    assert card["settings"]["learn.checkpoint_every"] == 0, "there is one after each pass"
    assert card == json.loads((tmp_path / "model" / "card.json").read_text())
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "card.json",
        "log.jsonl",
    }


def test_the_log_has_updates_and_passes(fasta: Path, tmp_path: Path) -> None:
    card = train(fasta, tmp_path / "model", "log_every=20").card
    log = told(tmp_path / "model")
    passes = [line for line in log if "valid_bits_per_base" in line]
    assert [line["epoch"] for line in passes] == [1, 2, 3]
    assert min(line["valid_bits_per_base"] for line in passes) == card["result"]["valid_bits_per_base"]
    assert [line["update"] for line in log if "valid_bits_per_base" not in line] == list(range(20, 207, 20))
    assert passes[0]["train_bits_per_base"] > passes[-1]["train_bits_per_base"]
    alphas = [line["alpha"] for line in log]
    assert alphas == sorted(alphas, reverse=True) and alphas[0] == pytest.approx(0.01 * (1 - 19 / 207))


def test_alpha_warms_up_and_falls(fasta: Path, tmp_path: Path) -> None:
    train(fasta, tmp_path / "model", "log_every=1", "warmup=10", "epochs=1")
    alphas = [line["alpha"] for line in told(tmp_path / "model")]
    assert alphas[:3] == pytest.approx([0.01 * (n + 1) / 10 * (1 - n / 69) for n in range(3)])
    assert alphas[12] == pytest.approx(0.01 * (1 - 12 / 69))


def test_the_training_text_is_predicted_before_it_is_counted(tmp_path: Path) -> None:
    """Bases by chance tell nothing, so a pass that knew its own counts would be below two bits; two passes as well."""
    path = tmp_path / "chance.fa"
    path.write_text(f">x\n{decode(np.random.default_rng(1).integers(0, 4, 6000).astype(np.uint8))}\n")
    train(path, tmp_path / "model", "counts=[2, 6, 12]", "counts_rate=0.002", "alpha=0.001", "epochs=2")
    passes = [line["train_bits_per_base"] for line in told(tmp_path / "model") if "train_bits_per_base" in line]
    assert len(passes) == 2 and min(passes) > 1.99


def test_odd_passes_read_the_other_strand() -> None:
    codes = [encode("AACG"), encode("T")]
    assert [decode(each) for each in strand_of(codes, 0)] == ["AACG", "T"]
    assert [decode(each) for each in strand_of(codes, 1)] == ["CGTT", "A"]
    assert [decode(each) for each in strand_of(codes, 2)] == ["AACG", "T"]


def test_two_runs_with_one_seed_are_equal_and_with_another_not(fasta: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(fasta, tmp_path / name, f"seed={seed}", "epochs=1")
    first, second, other = (load_tensors(tmp_path / name / "model.safetensors") for name in "abc")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["network.cells.0.W"], other["network.cells.0.W"])
    assert told(tmp_path / "a") == told(tmp_path / "b") != told(tmp_path / "c")


WAYS = {
    "recipe": [],
    "restoring": ["schedule=halve", "optimizer=sgd", "alpha=3", "epochs=6"],
    "beta": ["beta=0.001", "clip=0.5", "warmup=0.2", "schedule=cosine"],
    "no contexts": ["counts=[]", "encoder=one-hot"],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_was_cut_goes_on_bit_for_bit(way: str, fasta: Path, tmp_path: Path) -> None:
    train(fasta, tmp_path / "whole", *WAYS[way], "log_every=25")
    cut, interrupts = tmp_path / "cut", 0
    for stop in (10, 75, 130, 10**9):  # in pass 1, in pass 2; having resumed, in a later one
        try:
            train(fasta, cut, *WAYS[way], "log_every=25", resume=True, should_stop=Stopper(stop))
        except Interrupted:
            interrupts += 1
    assert interrupts >= 2
    whole, found = (load_tensors(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], found[name]) for name in whole)
    assert told(tmp_path / "whole") == told(cut)
    first, second = (json.loads((tmp_path / name / "card.json").read_text())["result"] for name in ("whole", "cut"))
    assert all(first[key] == second[key] for key in first if "second" not in key)
    assert not (cut / "checkpoint.safetensors").exists()


def test_a_worse_pass_is_undone_where_the_schedule_says_so(fasta: Path, tmp_path: Path) -> None:
    """`halve` begins each pass with the best weights, as for texts: after a bad pass alpha is half, from there."""
    train(fasta, tmp_path / "model", *WAYS["restoring"])
    passes = [line for line in told(tmp_path / "model") if "best" in line]
    assert not all(line["best"] for line in passes), "no pass was worse: the test shows nothing"
    assert passes[-1]["alpha"] < passes[0]["alpha"]


def test_interrupted_in_the_first_pass_nothing_is_kept_and_resume_begins(fasta: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    with pytest.raises(Interrupted, match="stopped in pass 1, before anything was kept"):
        train(fasta, cut, should_stop=Stopper(5))
    assert {path.name for path in cut.iterdir()} == {"config.json", "log.jsonl"}
    with pytest.raises(OutputError, match="already holds a model or a training run"):
        train(fasta, cut)
    train(fasta, cut, "epochs=1", resume=True)
    train(fasta, tmp_path / "whole", "epochs=1")
    assert told(cut) == told(tmp_path / "whole")


def test_interrupted_in_a_later_pass_the_finished_ones_are_a_model(fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="stopped in pass 2; 1 finished pass is kept"):
        train(fasta, tmp_path / "cut", should_stop=Stopper(80))
    bits = told(tmp_path / "cut")[-1]["valid_bits_per_base"]
    assert scored_anew(tmp_path / "cut", [parts_of(fasta, 1, 660)[1]]) == pytest.approx(bits, abs=1e-9)


def test_resume_refuses_other_sequences_and_other_settings(fasta: Path, tmp_path: Path) -> None:
    cut, other = tmp_path / "cut", tmp_path / "other.fa"
    with pytest.raises(Interrupted):
        train(fasta, cut, should_stop=Stopper(80))
    before = {path.name: path.read_bytes() for path in cut.iterdir()}
    other.write_text(fasta.read_text().replace("one x\nA", "one x\nC").replace("one x\nG", "one x\nT"))
    for path, options in ((other, {}), (fasta, {"holdout": "0.2"}), (fasta, {"valid": fasta})):
        if path is other and other.read_text() == fasta.read_text():
            other.write_text(fasta.read_text().replace("one x\nT", "one x\nA").replace("one x\nC", "one x\nG"))
        with pytest.raises(TrainingError, match="was begun on other sequences"):
            train(path, cut, resume=True, **options)
    with pytest.raises(TrainingError, match=r"began with network\.hidden = 6, and cannot go on with 7"):
        train(fasta, cut, "hidden=7", resume=True)
    assert before == {path.name: path.read_bytes() for path in cut.iterdir()}
    train(fasta, cut, "log_every=3", resume=True)


def test_a_finished_run_is_not_trained_again_but_other_settings_are_refused(fasta: Path, tmp_path: Path) -> None:
    train(fasta, tmp_path / "model", "epochs=1")
    before = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    model = train(fasta, tmp_path / "model", "epochs=1", resume=True)
    assert model.card["result"]["epochs"] == 1
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match=r"learn\.epochs = 1"):
        train(fasta, tmp_path / "model", resume=True)
    (tmp_path / "model" / "card.json").write_text("{}")
    with pytest.raises(ModelError, match="does not say how training went"):
        train(fasta, tmp_path / "model", "epochs=1", resume=True)


def test_overwrite_leaves_nothing_of_the_old_model(fasta: Path, tmp_path: Path) -> None:
    train(fasta, tmp_path / "model", "epochs=1")
    with pytest.raises(OutputError, match="already holds a model"):
        train(fasta, tmp_path / "model")
    with pytest.raises(Interrupted):
        train(fasta, tmp_path / "model", "hidden=3", overwrite=True, should_stop=Stopper(1))
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"config.json", "log.jsonl"}
    model = train(fasta, tmp_path / "model", "hidden=3", "epochs=1", overwrite=True)
    assert model.network.settings.hidden == 3


def test_what_cannot_be_read_leaves_the_model_that_was_there(fasta: Path, tmp_path: Path) -> None:
    train(fasta, tmp_path / "model", "epochs=1")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    (tmp_path / "protein.fa").write_text(">p\nMKVLAT\n")
    for path, pairs in (
        (tmp_path / "protein.fa", ()),
        (fasta, ("layers=2",)),
        (fasta, ("counts=[16]", "counts_bits=30")),
    ):
        with pytest.raises(ElmanError):
            train(path, tmp_path / "model", *pairs, overwrite=True)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}


@pytest.mark.parametrize(
    ("holdout", "trained", "held_out"),
    [
        ("0.5", ["one:1-1200"], ["one:1201-1500", "two:1-900"]),
        ("one", ["two:1-900"], ["one:1-1500"]),
        ("one:501-600", ["one:1-500", "one:601-1500", "two:1-900"], ["one:501-600"]),
    ],
)
def test_a_share_a_record_or_a_region_is_held_out(
    holdout: str, trained: list[str], held_out: list[str], fasta: Path, tmp_path: Path
) -> None:
    card = train(fasta, tmp_path / "model", "epochs=1", holdout=holdout).card
    assert (card["train"]["regions"], card["valid"]["regions"]) == (trained, held_out)


def test_no_history_reaches_over_what_was_held_out(fasta: Path, tmp_path: Path) -> None:
    model = train(fasta, tmp_path / "model", "epochs=1", holdout="one:501-600")
    assert [len(codes) for codes in model.counted] == [500, 900, 300, 300, 294]


def test_another_file_is_validated_on(fasta: Path, tmp_path: Path) -> None:
    valid = tmp_path / "valid.fa.gz"
    valid.write_bytes(gzip.compress(f">v\n{sequence(200, 9)}\n>w\nNNN{sequence(100, 10)}\n".encode()))
    card = train(fasta, tmp_path / "model", "epochs=1", valid=valid).card
    assert (card["train"]["bases"], card["valid"]["bases"], card["valid"]["skipped"]) == (2394, 300, 3)
    assert card["valid_held_out_from_train"] is False
    expected = scored_anew(tmp_path / "model", [encode(sequence(200, 9)), encode(sequence(100, 10))])
    assert card["result"]["valid_bits_per_base"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "options", "kind", "message"),
    [
        (">a\nNNNNNNNNNNNNNNNNNNNN\n", {}, TextError, "has no base that is known"),
        (">a\nACGTACGTACGTACGTACNN\n", {}, TextError, "what is held out has no base that is known"),
        (">a\nNNNNNNNNNNNNNNNNNNAC\n", {}, TextError, "has no base that is known"),
        (">a\nMKVLATEEQ\n", {}, TextError, "'L' is no base"),
        (">a\nA\n", {}, UsageError, "leaves nothing to train on|leaves nothing to hold out"),
        (">a\nACGTACGT\n", {"holdout": "b"}, UsageError, "no record 'b'"),
        (">a\nACGTACGT\n", {"holdout": "a"}, UsageError, "leaves nothing to train on"),
        (">a\nACGTACGT\n", {"holdout": ""}, UsageError, "holdout|region"),
        (">a\nACGTACGT\n", {"holdout": "0.1", "valid": "x.fa"}, UsageError, "cannot be given together"),
        (">a\nACGTACGT\n", {"valid": "no.fa"}, TextError, "no.fa does not exist"),
        ("the cat sat on the mat\n", {}, TextError, "FASTA|base"),
        ("", {}, TextError, "is empty"),
    ],
)
def test_what_cannot_be_trained_on_is_one_sentence(
    text: str, options: dict, kind: type[ElmanError], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.fa"
    path.write_text(text)
    with pytest.raises(kind, match=message):
        train(path, tmp_path / "model", **options)
    assert not (tmp_path / "model").exists()


def test_standard_input_cannot_be_both_sequences(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot both come from standard input"):
        train(Path("-"), tmp_path / "model", valid="-")


@pytest.mark.parametrize("length", [3, 4, 33, 34])
def test_a_few_bases_are_enough(length: int, tmp_path: Path) -> None:
    path = tmp_path / "few.fa"
    path.write_text(f">a\n{sequence(length, 1)}\n")
    model = train(path, tmp_path / "model", holdout="a:1-2")
    assert 0 < model.card["result"]["valid_bits_per_base"] < 4


def test_threads_are_taken(fasta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    model = train(fasta, tmp_path / "model", "threads=3", "epochs=1")
    assert asked == [3] and model.card["settings"]["learn.threads"] == 3


def test_without_contexts_a_plain_net_learns_and_it_is_said(fasta: Path, tmp_path: Path) -> None:
    heard: list[str] = []
    listener = Listener()
    listener.on_start = heard.append  # type: ignore[method-assign]
    model = train(fasta, tmp_path / "model", "counts=[]", "epochs=1", listener=listener)
    assert "no contexts are counted" in heard[0] and "--recipe dna" in heard[0]
    assert model.counted == [] and len(model.contexts.tables) == 0
    bits = model.card["result"]["valid_bits_per_base"]
    held_out = parts_of(fasta, 1, 660)[1]
    assert scored_anew(tmp_path / "model", [held_out]) == pytest.approx(bits, abs=1e-9)


def test_a_loss_that_is_no_number_ends_training_in_words(fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no number.*\(pass \d\)") as caught:
        train(fasta, tmp_path / "model", "activation=relu", "optimizer=sgd", "alpha=1e9")
    assert "smaller --alpha" in str(caught.value)
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_a_listener_hears_what_is_held_out_every_update_and_every_pass(fasta: Path, tmp_path: Path) -> None:
    heard: list[Any] = []

    class Ears(Listener):
        def on_start(self, message: str) -> None:
            heard.append(message)

        def on_update(self, progress: Progress, per_epoch: int, loss: float, symbols_per_second: float) -> None:
            heard.append((progress.index, per_epoch, progress.epoch_symbols))

        def on_epoch(self, entry: dict[str, Any]) -> None:
            heard.append(entry["epoch"])

    train(fasta, tmp_path / "model", "epochs=2", listener=Ears())
    assert heard[0] == "held out to validate on: two:661-900"
    assert heard[1] == (1, 69, 32) and heard[69] == (69, 69, 2154) and heard[70] == 1 and heard[-1] == 2


def test_the_recipe_trains_in_small(fasta: Path, tmp_path: Path) -> None:
    small = {"network.hidden": 8, "learn.batch": 4, "learn.bptt": 8, "learn.threads": 1}
    model = train_dna(fasta, tmp_path / "model", build(read_recipe("dna"), small))
    assert model.card["result"]["epochs"] == 2 and model.card["result"]["valid_bits_per_base"] < 1.9
    assert model.contexts.orders.tolist() == read_recipe("dna")["network.counts"]


def test_the_reverse_complement_scores_like_the_sequence(tmp_path: Path) -> None:
    """Both strands were counted and read, so neither is foreign."""
    text = sequence(4000, 5)
    path = tmp_path / "x.fa"
    path.write_text(f">x\n{text}\n")
    train(path, tmp_path / "model", holdout="x:3001-4000")
    held_out = encode(text[3000:])
    forward, back = (scored_anew(tmp_path / "model", [codes]) for codes in (held_out, reverse_complement(held_out)))
    assert forward == pytest.approx(back, abs=0.05) and forward < 1.9


REFUSED = [
    "cell=lstm",
    "cell=gru",
    "layers=2",
    "tied=true",
    "direct=3",
    "output=class",
    "output=adaptive",
    "embedding=4",
]
REFUSED += [
    "last_hidden=4",
    "first_state=0.5",
    "zoneout=0.1",
    "dropout=0.1",
    "between_dropout=0.1",
    "input_dropout=0.1",
]
REFUSED += ["word_dropout=0.1", "weight_dropout=0.1", "locked=true", "ar=1", "tar=1", "between_scale=2", "ngrams=[12]"]
REFUSED += [
    "activation=sine",
    "encoder=bert",
    "regime=online&optimizer=sgd",
    "regime=sentences",
    "optimizer=nt-asgd",
    "average=0.9",
]
REFUSED += ["noise=0.1", "reset=0.1", "bptt_jitter=2", "max_updates=5", "stop_at_perplexity=3", "validate_every=7"]
REFUSED += ["tune_temperature=true", "precision=bf16", "device=cuda", "checkpoint_every=50", "output_block=4"]
REFUSED += ["vectors=/x.vec", "beta_follows=true", "negatives=5", "full_from=0.5", "direct_rate=2", "nonmono=3"]
REFUSED += ["lowercase=true", "min_count=2", "vocab_size=9", "split_punctuation=true", "vocabulary=/x.txt"]
REFUSED += ["optimizer=sgdd", "schedule=never", "counts=[16]&counts_bits=29", "average_every=3", "bptt_block=3"]


@pytest.mark.parametrize("pairs", REFUSED)
def test_a_setting_that_has_no_effect_is_refused(pairs: str, fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        train(fasta, tmp_path / "model", *pairs.split("&"))
    assert caught.value.hint and "\n" not in caught.value.message
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("pair", ["precision=auto", "output=auto", "checkpoint_every=0", "log_every=7", "threads=1"])
def test_a_choice_that_is_left_open_is_made(pair: str, fasta: Path, tmp_path: Path) -> None:
    card = train(fasta, tmp_path / "model", pair, "epochs=1").card
    assert card["settings"]["learn.precision"] == "fp32" and card["settings"]["network.output"] == "full"


FOLLOWED = ["init=irwin-hall", "init_range=0.3", "recurrent_init=orthogonal", "recurrent_scale=2", "output_scale=2"]
FOLLOWED += ["hidden=7", "activation=relu", "bias=true", "encoder=one-hot", "ngrams=[4]", "counts=[2]", "counts_bits=4"]
FOLLOWED += ["optimizer=rmsprop", "alpha=0.02", "beta=0.001", "adam_beta1=0.5", "adam_beta2=0.9", "counts_rate=0.01"]
FOLLOWED += ["batch=2", "bptt=4", "clip=0.01", "input_rate=2", "recurrent_rate=2", "schedule=constant", "warmup=9"]
FOLLOWED += ["seed=2", "epochs=2", "bias=true&between_rate=3"]


@pytest.mark.parametrize("pairs", FOLLOWED)
def test_a_setting_that_is_taken_changes_what_comes_out(pairs: str, fasta: Path, tmp_path: Path) -> None:
    """Against the same training without the last of these pairs."""
    *before, last = pairs.split("&")
    bits = [
        train(fasta, tmp_path / f"model{n}", "epochs=1", *more).card["result"]["valid_bits_per_base"]
        for n, more in enumerate(([*before], [*before, last]))
    ]
    assert bits[0] != bits[1]


def test_every_block_of_a_pass_is_predicted_once(fasta: Path, tmp_path: Path) -> None:
    codes = encode(sequence(100, 1))
    assert [len(block) for block in blocks(codes, 32)] == [32, 32, 32, 4]
    model = train(fasta, tmp_path / "model", "epochs=1")
    assert sum(map(len, model.counted)) == model.card["train"]["bases"]
