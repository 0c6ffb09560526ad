"""Training a model of DNA: passes over the sequence as it will be scored, one strand and then the other.

In each pass the counts begin empty, every base is predicted before anything learns from it, and the net and the weights
that mix learn from how that went. So nothing is trained on counts that hold the answer. After a pass the counts are
those of the whole training sequence, and what is held out is scored by them, with nothing learning.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman.config import Settings, to_flat
from elman.errors import Interrupted, ModelError, TextError, TrainingError, UsageError
from elman.files import make_folder
from elman.learn.bases import BaseLearner, blocks
from elman.learn.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from elman.learn.dna_settings import check_dna, resolve_dna
from elman.learn.nonsense import bad_weights
from elman.learn.progress import Listener, Progress
from elman.learn.run_folder import card_of, clear_folder, holds_finished_run, refuse_changes, stored_settings
from elman.learn.schedules import SCHEDULES, warm_up
from elman.learn.writers import check_writers, log_of
from elman.network.bases import BaseReader, Codes, Contexts
from elman.network.bases_folder import (
    BaseModel,
    count_all,
    load_base_model,
    load_base_weights,
    new_contexts,
    new_network,
    save_base_config,
    save_base_weights,
)
from elman.network.folder import CARD, load_weights, save_card
from elman.network.model import RecurrentNetwork
from elman.text.dna import reverse_complement
from elman.text.genome import Genome, open_genome
from elman.text.holdout import all_regions, hold_out
from elman.text.regions import Region
from elman.text.segments import segments

CHUNK = 1 << 18
"""Bases that are read in one call where nothing learns."""

HELD_OUT = "0.1"
"""The share of the bases that is held out where no other sequence is given to validate on."""


def train_dna(
    train: str | Path,
    folder: Path,
    settings: Settings,
    *,
    valid: str | Path | None = None,
    holdout: str | None = None,
    given: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    listener: Listener | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> BaseModel:
    """Train a model of DNA on FASTA or FASTQ and leave it in `folder`.

    Parameters
    ----------
    valid, holdout
        another file to validate on; or what of `train` is held out: a share (the last bases), a record or a region.
    settings
        unit dna. `learn.epochs` are passes, `learn.batch` times `learn.bptt` bases a block.

    Raises
    ------
    ElmanError
        for files that cannot be read, settings that cannot be, a folder that cannot be written.
    """
    if valid is not None and holdout is not None:
        raise UsageError("--valid and --holdout cannot be given together", hint="give one of them")
    if str(train) == "-" and str(valid) == "-":
        raise UsageError("the sequences to train and to validate on cannot both come from standard input")
    if holds_finished_run(folder, resume=resume, overwrite=overwrite):
        return _finished(folder, given or {})
    going_on = resume and (folder / CHECKPOINT).exists()
    settings = stored_settings(folder, given or {}) if going_on else resolve_dna(settings)
    check_dna(settings)
    check_writers(settings.learn.log)
    assert settings.learn.threads is not None, "settings are resolved"
    torch.set_num_threads(settings.learn.threads)
    data = _Data(train, valid, holdout)
    listener = listener or Listener()
    trainer = BaseTrainer(settings, data.training, data.held_out, folder, listener=listener, should_stop=should_stop)
    if not settings.network.counts:
        listener.on_start("no contexts are counted, so this is a plain net alone; --recipe dna mixes both")
    if data.said:
        listener.on_start(data.said)
    if going_on:
        trainer.resume(data.facts)
    else:
        clear_folder(folder)
        make_folder(folder)
        save_base_config(folder, trainer.network, trainer.contexts)
    progress = trainer.run(data.facts)
    card = card_of(settings, trainer.network, progress, data.facts, command, valid is None)
    assert progress.best_entropy is not None, "every pass is validated"
    card["result"]["valid_bits_per_base"] = progress.best_entropy / math.log(2)
    save_card(folder, card)
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return load_base_model(folder)


def _finished(folder: Path, given: Mapping[str, Any]) -> BaseModel:
    """Return the model of a finished run, refusing settings that it was not trained with."""
    model = load_base_model(folder)
    if not all(isinstance(model.card.get(part), dict) for part in ("settings", "result")):
        raise ModelError(f"{folder / CARD} does not say how training went", hint="choose another --out, or train again")
    refuse_changes(folder, model.card["settings"], given)
    return model


class _Data:
    """The sequences that are trained on and held out, and what is said of them."""

    def __init__(self, train: str | Path, valid: str | Path | None, holdout: str | None) -> None:
        genome = open_genome(train)
        regions = all_regions(genome)
        self.said = ""
        if valid is None:
            regions, held = hold_out(genome, holdout if holdout is not None else HELD_OUT)
            other = genome
            shown = ", ".join(map(str, held[:5])) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
            self.said = f"held out to validate on: {shown}"
        else:
            other = open_genome(valid)
            held = all_regions(other)
        self.training, self.held_out = segments(genome, regions), segments(other, held)
        self.facts = {"train": _facts(genome, regions, self.training), "valid": _facts(other, held, self.held_out)}
        for name, codes in ((str(train), self.training), (str(valid or "what is held out"), self.held_out)):
            if not sum(map(len, codes)):
                raise TextError(f"{name} has no base that is known", hint="give a sequence of A, C, G and T")


def _facts(genome: Genome, regions: Sequence[Region], known: Sequence[Codes]) -> dict[str, Any]:
    bases = sum(region.length for region in regions)
    scored = sum(map(len, known))
    names = [str(region) for region in regions[:100]]
    return {
        "file": genome.source,
        "digest": digest_of(known),
        "regions": names,
        "bases": scored,
        "skipped": bases - scored,
    }


def digest_of(sequences: Sequence[Codes]) -> str:
    """Return a hash of the bases of some sequences."""
    digest = hashlib.sha256()
    for codes in sequences:
        digest.update(len(codes).to_bytes(8, "little"))
        digest.update(codes.tobytes())
    return digest.hexdigest()


class BaseTrainer:
    """Passes over a sequence, what is held out scored after each, the best model kept."""

    def __init__(
        self,
        settings: Settings,
        training: Sequence[Codes],
        held_out: Sequence[Codes],
        folder: Path,
        *,
        listener: Listener,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        learn = settings.learn
        self.settings, self.training, self.held_out, self.folder = settings, training, held_out, folder
        self.listener, self.should_stop = listener, should_stop
        bases = sum(map(len, training))
        self.network = new_network(settings.network, torch.Generator().manual_seed(learn.seed))
        self.contexts = new_contexts(settings.network, bases)
        self.learner = BaseLearner(self.network, self.contexts, learn)
        self.schedule = SCHEDULES[learn.schedule](
            min_improvement=learn.min_improvement, patience=learn.patience, decay=learn.decay
        )
        self.per_pass = sum(-(-len(codes) // self.learner.block) for codes in training)
        self.progress, self.log = Progress(), log_of(folder, settings)
        self._clock = time.perf_counter()

    def run(self, facts: Mapping[str, Any]) -> Progress:
        """Make all passes; raise `Interrupted` where that is asked for: the passes that are finished are kept."""
        self._clock = time.perf_counter()
        self.log.cut(self.progress.update)
        while not self.progress.finished:
            self._pass()
            self.progress.finished = self.progress.finished or self.progress.epoch >= self.settings.learn.epochs
            self._save_checkpoint(facts)
        return self.progress

    def _rates(self) -> tuple[float, float]:
        """Return the rates of the next update: of the net, and of the weights that mix, which need no warming up."""
        learn, done, planned = self.settings.learn, self.progress.update, self.per_pass * self.settings.learn.epochs
        assert learn.alpha is not None, "settings are resolved"
        factor = self.schedule.factor(done / planned)
        warmup = learn.warmup if learn.warmup >= 1 else learn.warmup * planned
        return learn.alpha * factor * warm_up(done + 1, warmup), learn.counts_rate * factor

    def _pass(self) -> None:
        progress, alpha = self.progress, 0.0
        self.contexts.forget()
        progress.index, progress.epoch_loss, progress.epoch_symbols = 0, 0.0, 0
        for codes in strand_of(self.training, progress.epoch):
            self.learner.begin()
            for block in blocks(codes, self.learner.block):
                alpha, rate = self._rates()
                y = self.learner.follow(block, alpha=alpha, rate=rate)
                self._after_update(nats(y, block), len(block), alpha)
        self._after_pass(alpha)

    def _after_update(self, loss: float, bases: int, alpha: float) -> None:
        progress = self.progress
        progress.update, progress.index = progress.update + 1, progress.index + 1
        if not (math.isfinite(loss) and self.learner.sound):
            raise self._nonsense(f"the loss of update {progress.update} is no number")
        progress.epoch_loss += loss
        progress.epoch_symbols += bases
        progress.symbols += bases
        progress.training_seconds += self._tick()
        entropy, speed = progress.epoch_loss / progress.epoch_symbols, progress.symbols_per_second
        self.listener.on_update(progress, self.per_pass, entropy, speed)
        if progress.update % self.settings.learn.log_every == 0:
            entry = {"update": progress.update, "epoch": progress.epoch + 1, "alpha": alpha, "loss": entropy}
            entry |= {"bits_per_base": entropy / math.log(2), **self.learner.told(), "symbols": progress.symbols}
            entry["symbols_per_second"] = round(speed, 1)
            self.log.add(entry | {"seconds": round(progress.seconds, 3)})
        if self.should_stop():
            if not progress.epoch:
                raise Interrupted("stopped in pass 1, before anything was kept")
            count = f"{progress.epoch} finished pass" + ("es are" if progress.epoch > 1 else " is")
            raise Interrupted(
                f"stopped in pass {progress.epoch + 1}; {count} kept in {self.folder}",
                hint="the same command with --resume goes on from there",
            )

    def _nonsense(self, what: str) -> TrainingError:
        kept = f"; the model of pass {self.progress.best_epoch} is kept in {self.folder}"
        return TrainingError(
            f"{what} (pass {self.progress.epoch + 1}){kept if self.progress.best_epoch else ''}",
            hint="try a smaller --alpha or learn.counts_rate, or --clip 1",
        )

    def _after_pass(self, alpha: float) -> None:
        progress = self.progress
        count_all(self.contexts, self.training)
        if bad_weights(self.network.named_parameters()) or not np.isfinite(self.contexts.weights).all():
            raise self._nonsense("some weights are no numbers any more")
        entropy = entropy_of(self.network, self.contexts, self.held_out)
        if not math.isfinite(entropy):
            raise self._nonsense("the loss of validation is no number")
        best = progress.best_entropy is None or entropy < progress.best_entropy
        progress.epoch += 1
        if best:
            progress.best_entropy, progress.best_epoch = entropy, progress.epoch
            save_base_weights(self.folder, self.network, self.contexts, self.training)
        elif self.schedule.restores_best:
            load_base_weights(self.folder, self.network, self.contexts)
        train_loss = progress.epoch_loss / max(1, progress.epoch_symbols)
        self._tick()
        entry = {
            "update": progress.update,
            "epoch": progress.epoch,
            "alpha": alpha,
            "train_loss": train_loss,
            "train_perplexity": math.exp(train_loss),
            "train_bits_per_base": train_loss / math.log(2),
            "valid_loss": entropy,
            "valid_perplexity": math.exp(entropy),
            "valid_bits_per_base": entropy / math.log(2),
            "best": best,
            "symbols": progress.symbols,
            "symbols_per_second": round(progress.symbols_per_second, 1),
            "seconds": round(progress.seconds, 3),
        }
        self.log.add(entry)
        self.listener.on_epoch(entry)
        progress.finished = self.schedule.after_epoch(entropy)

    def _tick(self) -> float:
        now = time.perf_counter()
        passed = now - self._clock
        self.progress.seconds += passed
        self._clock = now
        return passed

    def _save_checkpoint(self, facts: Mapping[str, Any]) -> None:
        optimizer = self.learner.optimizer
        assert optimizer is not None
        groups = {
            "weights": self.network.state_dict(),
            "optimizer": optimizer.state(),
            "counts": {"weights": torch.from_numpy(self.contexts.weights)},
        }
        kept = {
            "settings": to_flat(self.settings),
            "progress": asdict(self.progress),
            "schedule": self.schedule.state(),
            "data": {name: part["digest"] for name, part in facts.items()},
            "regions": {name: part["regions"] for name, part in facts.items()},
        }
        save_checkpoint(self.folder, groups, kept)

    def resume(self, facts: Mapping[str, Any]) -> None:
        """Go on after the last pass that was finished, on the same sequences."""
        checkpoint = load_checkpoint(self.folder)
        now = {name: part["digest"] for name, part in facts.items()}
        regions = {name: part["regions"] for name, part in facts.items()}
        if checkpoint.facts.get("data") != now or checkpoint.facts.get("regions") != regions:
            hint = "give the same files and the same --holdout, or train again with --overwrite"
            raise TrainingError(f"{self.folder} was begun on other sequences", hint=hint)
        load_weights(self.network, checkpoint.path, prefix="weights/")
        optimizer = self.learner.optimizer
        assert optimizer is not None
        optimizer.load_state(checkpoint.group("optimizer"))
        self.contexts.weights[:] = checkpoint.group("counts")["weights"].numpy()
        self.progress = Progress(**checkpoint.facts["progress"])
        self.schedule = type(self.schedule)(**checkpoint.facts["schedule"])


def strand_of(sequences: Sequence[Codes], number: int) -> list[Codes]:
    """Return what pass `number` reads: the sequences, or with odd numbers their reverse complements."""
    return list(sequences) if number % 2 == 0 else [reverse_complement(codes) for codes in sequences]


def nats(y: np.ndarray, codes: Codes) -> float:
    """Return - sum of log y(t)[code], for (N, 4) and (N,)."""
    return -float(np.log(y[np.arange(len(codes)), codes], dtype=np.float64).sum())


def entropy_of(network: RecurrentNetwork, contexts: Contexts, sequences: Sequence[Codes]) -> float:
    """Return the nats a base of sequences, read forward, with nothing learning."""
    reader, total = BaseReader(contexts, network), 0.0
    for codes in sequences:
        reader.begin()
        for part in blocks(codes, CHUNK):
            total += nats(reader.follow(part), part)
    return total / max(1, sum(map(len, sequences)))
