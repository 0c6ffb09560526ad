"""Training: it learns, it resumes bit for bit, it stops at nonsense, it leaves nothing half-written."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from elman.config import build, parse_pairs
from elman.errors import Interrupted, OutputError, TextError, TrainingError, UsageError
from elman.learn import trainer
from elman.learn.checkpoint import CHECKPOINT, load_checkpoint
from elman.learn.measure import Measure, measure
from elman.learn.optimizers import SGD
from elman.learn.run import choose_output, resolve, train_model
from elman.learn.steps import WindowSteps
from elman.network.folder import load_model, load_tensors
from elman.network.model import RecurrentNetwork
from elman.text.corpus import build_corpus
from elman.text.reading import TextSource
from elman.text.tokenizers import train_tokenizer

SMALL = ["hidden=8", "epochs=3", "threads=1", "batch=4", "bptt=5", "checkpoint_every=7", "log_every=5"]
REGIMES = {
    "running": ["optimizer=adam", "alpha=0.01", "dropout=0.2", "clip=1", "schedule=cosine"],
    "sentences": [
        *["regime=sentences", "optimizer=adam", "alpha=0.01", "dropout=0.2", "activation=tanh", "layers=2"],
        "noise=0.3",
    ],
    "sgd": ["alpha=0.5", "beta=1e-5", "tied=true", "bias=true"],
    "online": ["regime=online", "bptt=3", "bptt_block=4"],
    "falling beta": ["alpha=0.3", "beta=1e-2", "beta_follows=true", "schedule=linear", "output=sampled", "negatives=5"],
    "class": ["output=class", "hidden=20", "alpha=0.5", "beta=1e-5"],
    "sampled": ["output=sampled", "optimizer=adam", "alpha=0.02", "negatives=5", "full_from=0.7", "dropout=0.2"],
    "tied sample": [
        "output=sampled",
        "tied=true",
        "bias=true",
        "init_range=0.5",  # with biases that learn the frequencies at once, smaller weights stay where they are
        "alpha=0.3",
        "beta=1e-4",
        "negatives=5",
        "full_from=0.7",
        "embedding=5",
    ],
    "lstm": ["cell=lstm", "optimizer=adam", "alpha=0.02", "weight_dropout=0.2", "locked=true", "reset=0.3", "tar=1"],
    "following": ["alpha=0.5", "beta=1e-5", "output_block=2", "precision=bf16"],
    "adaptive": ["output=adaptive", "optimizer=adam", "alpha=0.02", "clip=1"],
}


def write_text(path: Path, sentences: int, seed: int) -> Path:
    """Sentences of a tiny grammar: who does what with which thing."""
    draw = random.Random(seed)
    nouns, verbs = ["cat", "dog", "bird", "child"], ["sees", "finds", "wants"]
    path.write_text(
        "".join(
            f"the {draw.choice(nouns)} {draw.choice(verbs)} {draw.choice(['a', 'the'])} {draw.choice(nouns)}"
            f"{draw.choice([' today', '', ' now'])}\n"
            for _ in range(sentences)
        )
    )
    return path


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    return write_text(tmp_path / "train.txt", 150, 1), write_text(tmp_path / "valid.txt", 30, 2)


def settings(regime: str, *more: str):
    return build(parse_pairs([*SMALL, *REGIMES[regime], *more]))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / "model.safetensors")


def same(first: Path, second: Path) -> bool:
    a, b = weights(first), weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("losses", "best"), [([2.0, 3.0, 4.0], 1), ([4.0, 3.0, 2.0], 3)])
def test_the_network_ends_with_the_weights_of_the_best_epoch(
    losses: list[float], best: int, texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = iter(losses)
    monkeypatch.setattr(trainer, "measure", lambda *_, **__: Measure(-next(told), 1))
    after: list[dict[str, torch.Tensor]] = []
    running = settings("running")  # Adam, three epochs

    class Watch(trainer.Listener):
        def on_epoch(self, entry: dict[str, object]) -> None:
            after.append(weights(tmp_path / "model"))

    model = train_model(texts[0], tmp_path / "model", running, valid=texts[1], listener=Watch())
    found = model.network.state_dict()
    assert model.card["result"]["best_epoch"] == best
    for name, weight in weights(tmp_path / "model").items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=0)
        torch.testing.assert_close(found[name], after[best - 1][name], rtol=0, atol=0)


@pytest.mark.parametrize("regime", REGIMES)
def test_training_learns_and_leaves_a_whole_model(regime: str, texts: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    trained = train_model(texts[0], out, settings(regime, "epochs=6"), valid=texts[1])
    model = load_model(out)
    corpus = build_corpus(TextSource(texts[1]), model.tokenizer)
    perplexity = measure(model.network, corpus, model.tokenizer, regime=model.regime).perplexity
    assert perplexity < 0.5 * model.tokenizer.size  # a uniform guess has D
    assert perplexity == pytest.approx(trained.card["result"]["valid_perplexity"], rel=0.1)
    assert not (out / CHECKPOINT).exists()
    assert [path.name for path in out.iterdir() if path.name.endswith(".tmp")] == []
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [entry["valid_loss"] for entry in log if "valid_loss" in entry]
    assert len(losses) >= 3
    assert min(losses) == pytest.approx(trained.card["result"]["valid_loss"])


class Stopper:
    """Ask to stop at the given update, as Ctrl-C would."""

    def __init__(self, update: int) -> None:
        self.calls, self.update = 0, update

    def __call__(self) -> bool:
        self.calls += 1
        return self.calls >= self.update


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("stop", [1, 3, 4, 8, 20])
def test_a_stopped_run_goes_on_bit_for_bit(regime: str, stop: int, texts: tuple[Path, Path], tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train_model(texts[0], whole, settings(regime), valid=texts[1])
    try:
        train_model(texts[0], cut, settings(regime), valid=texts[1], should_stop=Stopper(stop))
    except Interrupted:
        train_model(texts[0], cut, settings(regime), valid=texts[1], resume=True)
    assert same(whole, cut)
    logs = [[json.loads(line) for line in (d / "log.jsonl").read_text().splitlines()] for d in (whole, cut)]
    for a, b in zip(*logs, strict=True):
        for key in ("seconds", "symbols_per_second"):
            a.pop(key), b.pop(key)
        assert a == b


def test_writing_checkpoints_changes_no_bit(texts: tuple[Path, Path], tmp_path: Path) -> None:
    for every in (0, 1):
        train_model(texts[0], tmp_path / str(every), settings("running", f"checkpoint_every={every}"), valid=texts[1])
    assert same(tmp_path / "0", tmp_path / "1")


KILLED = """
import sys, os, time
from pathlib import Path
from elman.config import build, parse_pairs
from elman.learn.run import choose_output, resolve, train_model
from elman.learn.progress import Listener

class Slow(Listener):
    def on_update(self, progress, per_epoch, loss, per_second):
        print(progress.update, flush=True)
        time.sleep(0.01)

train, valid, out, *pairs = sys.argv[1:]
train_model(train, Path(out), build(parse_pairs(pairs)), valid=valid, listener=Slow(), resume=True)
"""


@pytest.mark.parametrize("regime", ["running", "online"])
def test_a_run_killed_at_any_moment_goes_on_bit_for_bit(regime: str, texts: tuple[Path, Path], tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    pairs = [*SMALL, *REGIMES[regime], "checkpoint_every=2"]
    train_model(texts[0], whole, build(parse_pairs(pairs)), valid=texts[1])
    command = [sys.executable, "-c", KILLED, str(texts[0]), str(texts[1]), str(cut), *pairs]
    for updates in (1, 3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(updates):
            process.stdout.readline()
        time.sleep(random.random() * 0.02)
        process.kill()  # SIGKILL on POSIX
        process.communicate()
    train_model(texts[0], cut, build(parse_pairs(pairs)), valid=texts[1], resume=True)
    assert same(whole, cut)


def test_resuming_a_finished_run_gives_its_model(texts: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    train_model(texts[0], out, settings("running"), valid=texts[1])
    before = (out / "model.safetensors").stat().st_mtime_ns
    train_model(texts[0], out, settings("running"), valid=texts[1], resume=True)
    assert (out / "model.safetensors").stat().st_mtime_ns == before


def stopped(texts: tuple[Path, Path], out: Path) -> None:
    with pytest.raises(Interrupted, match="--resume"):
        train_model(texts[0], out, settings("running"), valid=texts[1], should_stop=Stopper(9))


def test_a_run_is_not_resumed_with_other_data_or_settings(texts: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    stopped(texts, out)
    other = write_text(tmp_path / "other.txt", 150, 7)
    with pytest.raises(TrainingError, match="other data"):
        train_model(other, out, settings("running"), valid=texts[1], resume=True)
    with pytest.raises(TrainingError, match=r"began with network\.hidden = 8"):
        train_model(texts[0], out, settings("running"), valid=texts[1], resume=True, given={"hidden": 9})
    changed = {"checkpoint_every": 100, "hidden": 8}
    train_model(texts[0], out, settings("running"), valid=texts[1], resume=True, given=changed)


def test_a_checkpoint_that_is_damaged_is_refused(texts: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    stopped(texts, out)
    data = (out / CHECKPOINT).read_bytes()
    (out / CHECKPOINT).write_bytes(data[: len(data) // 2])
    with pytest.raises(Exception, match="cut short"):
        train_model(texts[0], out, settings("running"), valid=texts[1], resume=True)
    shutil.copy(out / "tokenizer.json", out / CHECKPOINT)
    with pytest.raises(Exception, match="cannot be read"):
        train_model(texts[0], out, settings("running"), valid=texts[1], resume=True)


def test_a_folder_that_holds_a_model_is_not_overwritten_unasked(texts: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "model"
    train_model(texts[0], out, settings("running"), valid=texts[1])
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="already holds"):
        train_model(texts[0], out, settings("running"), valid=texts[1])
    train_model(texts[0], out, settings("running", "seed=5"), valid=texts[1], overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(OutputError, match="is a file"):
        train_model(texts[0], texts[1], settings("running"), valid=texts[1])


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_model(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    from elman.learn import steps

    plain, calls = steps.WindowSteps.update, []

    def poisoned(self, index: int, alpha: float) -> tuple[float, int]:
        calls.append(index)
        if len(calls) > self.per_epoch + 2:
            with torch.no_grad():
                self.network.encoder.U.fill_(torch.nan)
        return plain(self, index, alpha)

    monkeypatch.setattr(steps.WindowSteps, "update", poisoned)
    with pytest.raises(TrainingError, match=r"the model of epoch 1 is kept.*--alpha"):
        train_model(texts[0], out, settings("running"), valid=texts[1])
    load_model(out)  # refuses weights that are no numbers


def test_a_full_disk_is_one_sentence_and_the_checkpoint_before_it_is_good(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "model"
    train_model(texts[0], whole, settings("running"), valid=texts[1])
    plain, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="no space left"):
            train_model(texts[0], out, settings("running"), valid=texts[1])
    assert load_checkpoint(out).facts["progress"]["update"] > 0
    assert list(out.glob(".*tmp")) == []
    train_model(texts[0], out, settings("running"), valid=texts[1], resume=True)
    assert same(whole, out)


def test_without_a_validation_text_the_end_of_the_text_is_held_out(texts: tuple[Path, Path], tmp_path: Path) -> None:
    model = train_model(texts[0], tmp_path / "model", settings("running"))
    card = model.card
    assert card["valid_held_out_from_train"]
    assert card["train"]["sentences"] + card["valid"]["sentences"] == 150
    assert card["valid"]["sentences"] == 8


def test_a_validation_text_of_unknown_words_is_refused(texts: tuple[Path, Path], tmp_path: Path) -> None:
    texts[1].write_text("zzz qqq\nxxx\n")
    with pytest.raises(TextError, match="only words that training never saw"):
        train_model(texts[0], tmp_path / "model", settings("running"), valid=texts[1])


def test_unseen_words_are_left_out_and_unk_scores_them(texts: tuple[Path, Path], tmp_path: Path) -> None:
    model = train_model(texts[0], tmp_path / "model", settings("running", "min_count=70"), valid=texts[1])
    assert model.tokenizer.unk_trained
    corpus = build_corpus(TextSource(texts[1]), model.tokenizer)
    skipped = measure(model.network, corpus, model.tokenizer)
    scored = measure(model.network, corpus, model.tokenizer, oov="unk")
    assert corpus.oovs > 0
    assert skipped.symbols == len(corpus.ids) - corpus.oovs
    assert scored.symbols == len(corpus.ids)


@pytest.mark.parametrize(
    "wrong",
    ["activation=tanh", "layers=2", "bias=true", "tied=true", "dropout=0.1", "output=class", "output=adaptive"],
)
def test_the_online_regime_refuses_what_it_cannot_train(wrong: str, texts: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="regime online"):
        train_model(texts[0], tmp_path / "model", settings("online", wrong), valid=texts[1])


@pytest.mark.parametrize("output", ["class", "adaptive"])
def test_v_follows_time_only_where_logits_are_one_product(
    output: str, texts: tuple[Path, Path], tmp_path: Path
) -> None:
    wrong = settings("sgd", "tied=false", "bias=false", "output_block=2", f"output={output}")
    with pytest.raises(UsageError, match=f"output_block cannot train the output layer '{output}'.*full, sampled"):
        train_model(texts[0], tmp_path / "model", wrong, valid=texts[1])


def test_a_text_shorter_than_its_streams_is_refused(texts: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too few"):
        train_model(texts[0], tmp_path / "model", settings("running", "batch=5000"), valid=texts[1])


def test_validation_in_streams_is_close_to_validation_in_one(texts: tuple[Path, Path], tmp_path: Path) -> None:
    model = train_model(texts[0], tmp_path / "model", settings("running"), valid=texts[1])
    corpus = build_corpus(TextSource(texts[0]), model.tokenizer)
    one, many = (measure(model.network, corpus, model.tokenizer, batch=batch) for batch in (1, 8))
    assert one.symbols == len(corpus.ids)
    assert one.symbols - many.symbols < 8
    assert many.entropy == pytest.approx(one.entropy, rel=0.02)
    by_sentence = [measure(model.network, corpus, model.tokenizer, regime="sentences", batch=batch) for batch in (1, 7)]
    assert by_sentence[0].log_prob == pytest.approx(by_sentence[1].log_prob, rel=1e-6)


def test_a_run_can_end_in_the_middle_of_an_epoch(texts: tuple[Path, Path], tmp_path: Path) -> None:
    model = train_model(texts[0], tmp_path / "model", settings("running", "max_updates=10"), valid=texts[1])
    assert model.card["result"]["updates"] == 10
    assert model.card["result"]["valid_perplexity"] > 1


def test_a_run_stops_as_soon_as_validation_is_where_it_was_to_be(texts: tuple[Path, Path], tmp_path: Path) -> None:
    goal = ["stop_at_perplexity=7", "validate_every=3", "epochs=50"]
    train_model(texts[0], tmp_path / "a", settings("sampled", *goal), valid=texts[1])
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    reached = [entry["valid_perplexity"] <= 7 for entry in log if "valid_perplexity" in entry]
    assert reached[-1] and not any(reached[:-1])
    model = load_model(tmp_path / "a")
    corpus = build_corpus(TextSource(texts[1]), model.tokenizer)
    assert measure(model.network, corpus, model.tokenizer, batch=4).perplexity == pytest.approx(
        log[-1]["valid_perplexity"], rel=1e-3
    )
    updates = iter(range(7))
    with pytest.raises(Interrupted):
        train_model(
            texts[0],
            tmp_path / "b",
            settings("sampled", *goal),
            valid=texts[1],
            should_stop=lambda: next(updates, None) is None,
        )
    train_model(texts[0], tmp_path / "b", settings("sampled", *goal), valid=texts[1], resume=True)
    assert same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("given", "size", "chosen"),
    [
        ([], 3000, "full"),
        ([], 10_000, "sampled"),
        (["tied=true"], 10_000, "full"),
        (["negatives=100"], 3000, "sampled"),
        (["output_block=1"], 10_000, "full"),
    ],
)
def test_auto_chooses_an_output_layer(given: list[str], size: int, chosen: str) -> None:
    resolved = resolve(build(parse_pairs(["output=auto", *given])))
    assert choose_output(resolved, size).network.output == chosen


def test_a_run_says_which_output_layer_it_chose(texts: tuple[Path, Path], tmp_path: Path) -> None:
    trained = train_model(texts[0], tmp_path / "a", settings("sgd", "output=auto", "epochs=1"), valid=texts[1])
    assert trained.card["settings"]["network.output"] == "full"
    again = train_model(
        texts[0],
        tmp_path / "a",
        settings("sgd", "output=auto", "epochs=1"),
        valid=texts[1],
        resume=True,
        given={"network.output": "auto"},
    )
    assert again.network.settings.output == "full"


def test_all_rows_are_up_to_date_when_the_full_softmax_takes_over(texts: tuple[Path, Path]) -> None:
    """Rows of V that the sample left alone owe their shrinking; the full softmax reads all of them."""
    chosen = settings("sampled", "optimizer=sgd", "alpha=0.1", "beta=0.01", "full_from=0.5")
    source = TextSource(texts[0])
    tokenizer = train_tokenizer(source, chosen.text)
    network = RecurrentNetwork(tokenizer.size, chosen.network)
    network.initialize(torch.Generator().manual_seed(1))
    optimizer = SGD(network.named_parameters(), beta=0.01)
    steps = WindowSteps(network, optimizer, build_corpus(source, tokenizer), tokenizer, chosen.learn)
    found, loss = [], network.output.loss

    def spy(*arguments, **more):
        found.append(bool((optimizer.late["output.V"][1] == optimizer.shrunk).all()))
        return loss(*arguments, **more)

    network.output.loss = spy
    for epoch in (0, 2):
        steps.begin(epoch)
        for index in range(5):
            steps.update(index, 0.1)
    assert found == [True] + [False] * 4 + [True] * 5
