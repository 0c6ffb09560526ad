"""The log, and the programs that get what it gets: TensorBoard and trackio, or stand-ins where they are not there."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch

from elman.config import build, parse_pairs, to_flat
from elman.errors import ElmanError, Interrupted, MissingExtra, UsageError
from elman.learn import writers
from elman.learn.checkpoint import CHECKPOINT
from elman.learn.dna import train_dna
from elman.learn.log import Entry, Log, read_log
from elman.learn.run import train_model
from elman.learn.steps import WindowSteps

SMALL = ["hidden=6", "epochs=3", "threads=1", "batch=4", "bptt=6", "checkpoint_every=4", "log_every=3"]


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    draw, words = random.Random(1), ["the", "cat", "dog", "sees", "finds", "a", "bird"]
    for name, count in (("train", 60), ("valid", 10)):
        lines = (" ".join(draw.choices(words, k=draw.randint(1, 6))) for _ in range(count))
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "train.txt", tmp_path / "valid.txt"


class Events:
    """What a SummaryWriter was told."""

    made: ClassVar[list[Events]] = []

    def __init__(self, log_dir: str, purge_step: int) -> None:
        self.log_dir, self.purge_step, self.closed = log_dir, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []
        Events.made.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        assert not self.closed
        self.scalars.append((name, value, step))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> list[Events]:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Events  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Events, "made", [])
    return Events.made


class FakeTrackio(ModuleType):
    """What trackio was told; it prints, as the real one does."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.began: list[dict[str, Any]] = []
        self.lines: list[tuple[dict[str, float], int]] = []
        self.finished = 0

    def init(self, **facts: Any) -> None:
        print("trackio begins")
        self.began.append(facts)

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((metrics, step))

    def finish(self) -> None:
        print("trackio ends")
        self.finished += 1


@pytest.fixture
def trackio(monkeypatch: pytest.MonkeyPatch) -> FakeTrackio:
    module = FakeTrackio()
    monkeypatch.setitem(sys.modules, "trackio", module)
    return module


def settings(*pairs: str) -> Any:
    return build(parse_pairs([*SMALL, *pairs]))


def numbers_of(folder: Path) -> list[tuple[dict[str, float], int]]:
    """What the log holds, as a writer should be told it."""
    entries, _ = read_log(folder)
    return [
        ({k: v for k, v in e.items() if k != "update" and not isinstance(v, bool | str | dict)}, e["update"])
        for e in entries
    ]


def scalars_of(folder: Path) -> list[tuple[str, float, int]]:
    return [(name, value, step) for values, step in numbers_of(folder) for name, value in values.items()]


class StopAfter:
    """Ask to stop after so many updates."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def __call__(self) -> bool:
        self.updates -= 1
        return self.updates < 0


def test_both_get_what_the_log_gets(
    texts: tuple[Path, Path],
    tmp_path: Path,
    tensorboard: list[Events],
    trackio: FakeTrackio,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    chosen = settings("log=['tensorboard', 'trackio']")
    train_model(texts[0], out, chosen, valid=texts[1])
    (events,) = tensorboard
    assert (events.log_dir, events.purge_step) == (str(out / "tensorboard"), 1)
    assert events.scalars == scalars_of(out) and len(events.scalars) > 20
    assert trackio.lines == numbers_of(out)
    (began,) = trackio.began
    assert (began["project"], began["name"], began["resume"]) == ("elman", str(out), "never")
    assert began["config"]["network.hidden"] == 6
    gc.collect()
    assert trackio.finished == 1 and events.closed, "the run ended, and they were not told"
    assert capsys.readouterr().out == "", "stdout is for results"


def steady(lines: list[tuple[dict[str, float], int]]) -> list[tuple[dict[str, float], int]]:
    """Lines without what depends on the clock."""
    return [({k: v for k, v in values.items() if "second" not in k}, step) for values, step in lines]


def test_a_run_that_was_killed_goes_on_where_its_checkpoint_stands(
    texts: tuple[Path, Path], tmp_path: Path, tensorboard: list[Events], trackio: FakeTrackio
) -> None:
    out, chosen = tmp_path / "run", settings("log=['tensorboard', 'trackio']")
    with pytest.raises(Interrupted):
        train_model(texts[0], out, chosen, valid=texts[1], should_stop=StopAfter(7))
    checkpoint = (out / CHECKPOINT).read_bytes()
    with pytest.raises(Interrupted):
        train_model(texts[0], out, chosen, valid=texts[1], resume=True, should_stop=StopAfter(9))
    (out / CHECKPOINT).write_bytes(checkpoint)  # as if the second run had been killed before it wrote one
    train_model(texts[0], out, chosen, valid=texts[1], resume=True)
    seen: list[tuple[str, float, int]] = []
    for events in tensorboard:
        seen = [scalar for scalar in seen if scalar[2] < events.purge_step] + events.scalars
    assert seen == scalars_of(out)
    assert len(tensorboard) == 3 and sum(len(events.scalars) for events in tensorboard) > len(seen)
    assert [began["resume"] for began in trackio.began] == ["never", "allow", "allow"]
    assert steady(trackio.lines) == steady(numbers_of(out)), "a line is missing, or was told twice"


def test_a_run_that_went_back_takes_back_what_tensorboard_was_told(
    texts: tuple[Path, Path],
    tmp_path: Path,
    tensorboard: list[Events],
    trackio: FakeTrackio,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = WindowSteps.update

    def blows_up(self: WindowSteps, index: int, alpha: float) -> Any:
        result = plain(self, index, alpha)
        if (self.epoch, index, alpha) == (1, 7, 0.2):
            self.network.encoder.U.data[3] = torch.nan
        return result

    monkeypatch.setattr(WindowSteps, "update", blows_up)
    out = tmp_path / "run"
    pairs = ["log=['tensorboard', 'trackio']", "alpha=0.2", "schedule=constant"]
    train_model(texts[0], out, settings(*pairs), valid=texts[1])
    first, second = tensorboard
    kept = [scalar for scalar in first.scalars if scalar[2] < second.purge_step]
    assert len(kept) < len(first.scalars), "nothing had been told that was wrong"
    assert kept + second.scalars == scalars_of(out)
    assert len(trackio.began) == 1


def test_a_library_that_is_missing_is_named_before_training(
    texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, library in (("tensorboard", "torch.utils.tensorboard"), ("trackio", "trackio")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingExtra, match=rf"{name}.*pip install 'elman\[{name}\]'"):
            train_model(texts[0], tmp_path / "run", settings(f"log=['{name}']"), valid=texts[1])
        assert not (tmp_path / "run").exists()


def test_a_name_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(UsageError, match=r"learn.log.0 = 'wandb' cannot be: it should be 'tensorboard' or 'trackio'"):
        settings("log=['wandb']")


def test_every_name_that_can_be_set_has_a_writer() -> None:
    import typing

    from elman.config import LearnSettings

    (kind,) = typing.get_args(LearnSettings.model_fields["log"].annotation)
    assert set(typing.get_args(kind)) == set(writers.WRITERS)


def test_dna_is_told_as_well(tmp_path: Path, trackio: FakeTrackio) -> None:
    draw = random.Random(2)
    (tmp_path / "genome.fa").write_text(">a\n" + "".join(draw.choices("ACGT", k=3000)) + "\n")
    pairs = ["unit=dna", "log=['trackio']", "hidden=4", "epochs=2", "batch=4", "bptt=16", "log_every=5", "threads=1"]
    train_dna(tmp_path / "genome.fa", tmp_path / "run", build(parse_pairs([*pairs, "clip=1"])))
    assert trackio.lines == numbers_of(tmp_path / "run")
    entries, _ = read_log(tmp_path / "run")
    assert all("symbols" in entry for entry in entries)
    assert all(entry["gradient_norm"] > 0 for entry in entries if "loss" in entry)


def test_what_a_library_complains_about_is_one_sentence(
    texts: tuple[Path, Path], tmp_path: Path, trackio: FakeTrackio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise ValueError("the disk of trackio is full")

    monkeypatch.setattr(trackio, "log", refuses)
    with pytest.raises(ElmanError, match="trackio refused a line: ValueError: the disk of trackio is full"):
        train_model(texts[0], tmp_path / "run", settings("log=['trackio']"), valid=texts[1])


def test_the_real_tensorboard_can_read_it(texts: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra elman[tensorboard] is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out, chosen = tmp_path / "run", settings("log=['tensorboard']", "checkpoint_every=0")
    with pytest.raises(Interrupted):
        train_model(texts[0], out, chosen, valid=texts[1], should_stop=StopAfter(10))
    train_model(texts[0], out, chosen, valid=texts[1], resume=True)
    found = EventAccumulator(str(out / "tensorboard"))
    found.Reload()
    expected = [(value, step) for name, value, step in scalars_of(out) if name == "loss"]
    events = [(event.value, event.step) for event in found.Scalars("loss")]
    assert events == [(pytest.approx(value), step) for value, step in expected]


def test_gradient_norms_are_in_the_log_where_gradients_are_clipped(texts: tuple[Path, Path], tmp_path: Path) -> None:
    train_model(texts[0], tmp_path / "plain", settings(), valid=texts[1])
    train_model(texts[0], tmp_path / "clipped", settings("clip=0.01"), valid=texts[1])
    plain, clipped = (read_log(tmp_path / name)[0] for name in ("plain", "clipped"))
    assert not any("gradient_norm" in entry for entry in plain)
    norms = [entry["gradient_norm"] for entry in clipped if "loss" in entry]
    assert len(norms) == sum("loss" in entry for entry in clipped) > 0
    assert min(norms) > 0.01, "the norm is that before clipping"


def test_symbols_in_the_log_are_those_that_were_trained_on(texts: tuple[Path, Path], tmp_path: Path) -> None:
    train_model(texts[0], tmp_path / "run", settings(), valid=texts[1])
    entries, _ = read_log(tmp_path / "run")
    symbols = [entry["symbols"] for entry in entries]
    assert symbols == sorted(symbols)
    ends = [entry["symbols"] for entry in entries if "train_loss" in entry]
    assert ends == [ends[0], 2 * ends[0], 3 * ends[0]]
    assert entries[0]["symbols"] == entries[0]["update"] * 4 * 6


def test_the_log_and_its_writers_hear_the_same_in_the_same_order(tmp_path: Path) -> None:
    heard: list[tuple[Any, ...]] = []

    class Ear:
        def cut(self, update: int, sent: int) -> None:
            heard.append(("cut", update, sent))

        def add(self, entry: Entry) -> None:
            heard.append(("add", entry["update"]))

    log = Log(tmp_path, [Ear()])
    log.cut(0)
    for update in (1, 2, 3):
        log.add({"update": update})
    log.cut(2)
    log.add({"update": 3})
    assert heard == [("cut", 0, 0), ("add", 1), ("add", 2), ("add", 3), ("cut", 2, 3), ("add", 3)]
    assert [entry["update"] for entry in read_log(tmp_path)[0]] == [1, 2, 3]


def test_a_run_may_be_resumed_with_other_writers(
    texts: tuple[Path, Path], tmp_path: Path, trackio: FakeTrackio
) -> None:
    out, chosen = tmp_path / "run", settings("log=['trackio']")
    with pytest.raises(Interrupted):
        train_model(texts[0], out, chosen, valid=texts[1], should_stop=StopAfter(10))
    told = len(trackio.lines)
    model = train_model(texts[0], out, settings(), valid=texts[1], resume=True, given={"learn.log": []})
    assert len(trackio.lines) == told and to_flat(chosen)["learn.log"] == ["trackio"]
    assert model.card["settings"]["learn.log"] == []


def test_the_real_trackio_holds_a_resumed_run_once(texts: tuple[Path, Path], tmp_path: Path) -> None:
    """In processes of their own: trackio chooses its folder when it is imported, and keeps threads."""
    pytest.importorskip("trackio", reason="the extra elman[trackio] is not installed")
    out, program = tmp_path / "run", tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom elman.cli.main import run\nfrom elman.learn import trainer\n"
        "kind, stop = trainer.Trainer._after_update, int(sys.argv[1])\n"
        "def after(self, alpha):\n"
        "    kind(self, alpha)\n"
        "    if self.progress.update == stop:\n        raise KeyboardInterrupt\n"
        "trainer.Trainer._after_update = after\nsys.exit(run(sys.argv[2:]))\n"
    )
    flags = ["--hidden", "6", "--epochs", "2", "--threads", "1", "--batch", "4", "--bptt", "6", "--log", "trackio"]
    flags += ["--set", "log_every=3", "--checkpoint-every", "4", "--quiet", "--json", "--resume"]
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"}
    train = ["train", str(texts[0]), "--valid", str(texts[1]), "--out", str(out), *flags]
    for stop, code in (("7", 130), ("0", 0)):  # the last checkpoint is of update 4, the last line of update 6
        done = subprocess.run(
            [sys.executable, str(program), stop, *train], capture_output=True, text=True, env=environment
        )
        assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["model"] == str(out), "stdout is for results"
    (database,) = (tmp_path / "trackio").glob("elman*.db")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id").fetchall()
    assert {name for name, _, _ in rows} == {str(out)}
    assert [step for _, step, _ in rows] == [step for _, step in numbers_of(out)]
    assert [json.loads(metrics)["alpha"] for _, _, metrics in rows] == [v["alpha"] for v, _ in numbers_of(out)]
