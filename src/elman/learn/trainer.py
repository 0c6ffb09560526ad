"""The trainer: epochs of updates, validation after each, the best model kept, a checkpoint at any time.

Training from a checkpoint makes bit for bit the weights that training in one go makes, on one machine with one number
of threads: all that an update depends on is in the checkpoint, and writing one changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman.config import Settings, to_flat
from elman.errors import ElmanError, Interrupted, TrainingError
from elman.learn.averaging import average_of
from elman.learn.checkpoint import CHECKPOINT, GOOD, Checkpoint, keep_as_good, load_checkpoint, save_checkpoint
from elman.learn.losses import Losses
from elman.learn.measure import Measure, measure
from elman.learn.nonsense import Nonsense
from elman.learn.optimizers import OPTIMIZERS
from elman.learn.progress import Listener, Progress
from elman.learn.schedules import SCHEDULES, warm_up
from elman.learn.steps import OnlineSteps, Steps, WindowSteps, rates_of
from elman.learn.writers import log_of
from elman.network.devices import int8_is_fast
from elman.network.folder import WEIGHTS, load_weights, save_weights
from elman.network.model import RecurrentNetwork
from elman.text.corpus import Corpus
from elman.text.symbols import Tokenizer

AFTER_SETBACK = 0.25
"""What alpha is multiplied by when training goes back. It does so once, so that has to be enough."""


GLANCE = 8192
"""Symbols of the validation text that are read to see whether reading all of it pays."""


def spread(corpus: Corpus, size: int, pieces: int = 16) -> Corpus:
    """Return about `size` ids in pieces from all over a text, or all of a shorter one."""
    ids: Any = corpus.ids
    if len(ids) <= size:
        return corpus
    starts = np.linspace(0, len(ids) - size // pieces, pieces, dtype=np.int64)
    some: Any = np.concatenate([ids[start : start + size // pieces] for start in starts])
    return replace(corpus, ids=some)


class Trainer:
    """Train a network on a corpus, validating on another.

    Parameters
    ----------
    network, tokenizer
        what is trained, and how its text became symbols; the network is changed in place.
    settings
        fully resolved: alpha, threads and precision are concrete.
    train, valid
        the corpora; without `valid` the last epoch's model is kept.
    folder
        where model.safetensors, log.jsonl and the checkpoint are written.
    digests
        what identifies the data, so that a run is resumed on the data that it began with.
    start
        what the weights began with, for the log; a checkpoint keeps it.
    lessons
        (K, N): for every id of the training text K draws of a teacher (`learn.teaching`).
    """

    def __init__(
        self,
        network: RecurrentNetwork,
        tokenizer: Tokenizer,
        settings: Settings,
        train: Corpus,
        valid: Corpus | None,
        folder: Path,
        *,
        digests: dict[str, str],
        start: dict[str, Any] | None = None,
        lessons: NDArray[Any] | None = None,
        listener: Listener | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        learn = settings.learn
        self.network, self.tokenizer, self.settings, self.folder = network, tokenizer, settings, folder
        self.train, self.valid, self.digests, self.start = train, valid, digests, start or {}
        self.listener, self.should_stop = listener or Listener(), should_stop
        self.progress = Progress()
        self.schedule = SCHEDULES[learn.schedule](
            min_improvement=learn.min_improvement, patience=learn.patience, decay=learn.decay
        )
        self.average = average_of(network.named_parameters(), learn)
        self.log = log_of(folder, settings)
        if learn.freeze_vectors:
            network.encoder.U.requires_grad_(False)
        self.steps: Steps
        if learn.regime == "online":
            self.steps = OnlineSteps(network, train, tokenizer, learn)
        else:
            optimizer = OPTIMIZERS[learn.optimizer](
                [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad],
                beta=learn.beta,
                rates=rates_of(network, learn),
                moments=(learn.adam_beta1, learn.adam_beta2),
                plain={"output.direct.weight"} if learn.direct_sgd else (),
            )
            self.steps = WindowSteps(network, optimizer, train, tokenizer, learn, lessons=lessons)
        self._losses = Losses()
        self._resumed = False
        self._best_at = -1  # the update after which the weights were those of model.safetensors
        self._clock = time.perf_counter()

    def run(self) -> Progress:
        """Train to the end, or raise `Interrupted` (with a checkpoint written) or `TrainingError`.

        Afterwards the network holds the best weights, which are also in model.safetensors.
        """
        self._clock = time.perf_counter()
        if not self._resumed:
            self.log.cut(0)
            if self.start:
                self.log.add({"update": 0, **self.start})
            self.steps.begin(0)
            self._save_good()
        while not self.progress.finished:
            try:
                self._epoch()
            except Nonsense as nonsense:
                self._go_back(nonsense)
        self._tick()
        self._load_best()
        return self.progress

    def _epoch(self) -> None:
        progress, planned = self.progress, self.planned_updates
        while progress.index < self.steps.per_epoch and progress.update < planned:
            alpha = self.alpha(progress.update)
            loss, symbols = self.steps.update(progress.index, alpha)
            progress.update += 1
            self._losses.append(loss, symbols, progress.update, alpha)
            if self._losses.due or not progress.epoch_symbols:  # without any there is nothing to show
                self._count_losses()
            if self.average.due(progress.update):
                self.steps.end()
                self.average.take()
            progress.index += 1
            progress.symbols += symbols
            self._after_update(alpha)
            if self._reached_goal(alpha):
                return
        self._count_losses()
        self.steps.end()
        self._after_epoch(self.alpha(progress.update))

    def _count_losses(self) -> None:
        """Add up the losses of the updates since the last time; raise `Nonsense` at one that is no number."""
        for loss, symbols, update, alpha in self._losses.take():
            if not math.isfinite(loss):
                raise Nonsense(loss, update, alpha)
            self.progress.epoch_loss += loss
            self.progress.epoch_symbols += symbols

    @property
    def planned_updates(self) -> int:
        """How many updates the run makes unless validation stops it."""
        learn = self.settings.learn
        planned = self.steps.planned(learn.epochs)
        return planned if learn.max_updates is None else min(planned, learn.max_updates)

    def alpha(self, done: int) -> float:
        """Return the learning rate when so many updates are done."""
        learn, planned = self.settings.learn, self.planned_updates
        assert learn.alpha is not None, "settings are resolved"
        warmup = learn.warmup if learn.warmup >= 1 else learn.warmup * planned
        factor = self.schedule.factor(done / planned) * warm_up(done + 1, warmup)
        return learn.alpha * self.progress.alpha_scale * factor

    def _after_update(self, alpha: float) -> None:
        progress, learn = self.progress, self.settings.learn
        if progress.update % learn.log_every == 0:
            self._count_losses()
        progress.training_seconds += self._tick()
        entropy = progress.epoch_loss / progress.epoch_symbols
        per_second = progress.symbols_per_second
        self.listener.on_update(progress, self.steps.per_epoch, entropy, per_second)
        if progress.update % learn.log_every == 0:
            self.log.add(
                {
                    "update": progress.update,
                    "epoch": progress.epoch + 1,
                    "alpha": alpha,
                    "loss": entropy,
                    "perplexity": Measure(-entropy, 1).perplexity,
                    **self.steps.told(),
                    "symbols": progress.symbols,
                    "symbols_per_second": round(per_second, 1),
                    "seconds": round(progress.seconds, 3),
                }
            )
        stop = self.should_stop()
        if stop or (learn.checkpoint_every and progress.update % learn.checkpoint_every == 0):
            self.save()
        if stop:
            raise self._interrupted()

    def _reached_goal(self, alpha: float) -> bool:
        """Look now and then, in the middle of an epoch, whether validation is where it was to be; if so, finish.

        To look costs a glance at pieces of the validation text; all of it is read where that says that the goal is
        reached, given how far it was from all of it the last time.
        """
        progress, learn = self.progress, self.settings.learn
        looks = learn.stop_at_perplexity is not None and progress.update % learn.validate_every == 0
        if not looks or self.valid is None or progress.index == self.steps.per_epoch:
            return False
        self.steps.end()
        glance = self._validate(spread(self.valid, GLANCE)).entropy
        expected = glance + progress.glance_gap
        entry = {"update": progress.update, "epoch": progress.epoch + 1, "alpha": alpha, "expected_loss": expected}
        entry["symbols"] = progress.symbols
        reached = False
        if self._is_goal(expected):
            entropy = self._validate(self.valid).entropy
            progress.glance_gap = entropy - glance
            entry |= {"valid_loss": entropy, "valid_perplexity": Measure(-entropy, 1).perplexity}
            reached = self._is_goal(entropy)
        self._tick()
        self.log.add(entry | {"seconds": round(progress.seconds, 3)})
        if reached:
            progress.best_entropy, progress.best_epoch = entry["valid_loss"], progress.epoch + 1
            progress.epoch, progress.index, progress.finished = progress.epoch + 1, 0, True
            self._save_best()
            self.save()
        return reached

    def _is_goal(self, entropy: float) -> bool:
        goal = self.settings.learn.stop_at_perplexity
        return goal is not None and entropy <= math.log(goal)

    def _after_epoch(self, alpha: float) -> None:
        progress = self.progress
        entry: dict[str, Any] = {
            "update": progress.update,
            "epoch": progress.epoch + 1,
            "alpha": alpha,
            "train_loss": progress.epoch_loss / max(1, progress.epoch_symbols),
            "train_perplexity": Measure(-progress.epoch_loss, progress.epoch_symbols).perplexity,
        }
        stop = False
        if self.valid is None:
            self._save_best()
        else:
            validation = self._validate(self.valid)
            entropy = validation.entropy
            if not math.isfinite(entropy):
                raise Nonsense(entropy, progress.update + 1, alpha)
            entry |= {"valid_loss": entropy, "valid_perplexity": validation.perplexity}
            entry["best"] = progress.best_entropy is None or entropy < progress.best_entropy
            if entry["best"]:
                progress.best_entropy, progress.best_epoch = entropy, progress.epoch + 1
                self._save_best()
            elif self.schedule.restores_best and not self.average.active:
                self._load_best()
            stop = self.schedule.after_epoch(entropy) or self._is_goal(entropy)
            if self.average.after_epoch(entropy):
                self.average.start()
                entry["averaging"] = True
        self._tick()
        entry |= {"symbols": progress.symbols, "symbols_per_second": round(progress.symbols_per_second, 1)}
        entry["seconds"] = round(progress.seconds, 3)
        self.log.add(entry)
        self.listener.on_epoch(entry)
        progress.epoch += 1
        progress.index, progress.epoch_loss, progress.epoch_symbols = 0, 0.0, 0
        progress.finished = stop or progress.update >= self.planned_updates
        self.steps.begin(progress.epoch)
        self._save_good()

    def _validate(self, corpus: Corpus) -> Measure:
        learn = self.settings.learn
        try:
            with self.average.in_place():
                return measure(
                    self.network,
                    corpus,
                    self.tokenizer,
                    regime=learn.regime,
                    batch=1 if learn.regime == "online" else min(learn.batch, 16),
                    product=self._validation_product(),
                    should_stop=self.should_stop,
                )
        except Interrupted as error:
            self.save()
            raise self._interrupted() from error

    def _validation_product(self) -> torch.dtype | None:
        """Return the type of validation's products with V: where bf16 will do, integers of 8 bits do as well."""
        if self.settings.learn.precision != "bf16":
            return None
        return torch.int8 if int8_is_fast(self.settings.learn.device) else torch.bfloat16

    def _tick(self) -> float:
        """Add the time since the last tick to the run's; return it."""
        now = time.perf_counter()
        passed = now - self._clock
        self.progress.seconds += passed
        self._clock = now
        return passed

    def _interrupted(self) -> Interrupted:
        return Interrupted(
            f"stopped after update {self.progress.update}; all of it is saved in {self.folder}",
            hint="the same command with --resume goes on from there",
        )

    def _go_back(self, nonsense: Nonsense) -> None:
        """Go back to the beginning of the epoch with a smaller alpha, once; or raise `TrainingError`.

        To the beginning of the epoch, as that is the same whether or not the run was interrupted in between.
        """
        finding = self.steps.explain(self.progress.index)
        update, alpha, epoch = nonsense.update, nonsense.alpha, self.progress.epoch + 1
        happened = f"{nonsense} at update {update} (epoch {epoch}, alpha {alpha:g}): {finding.what}"
        if self.progress.setbacks or not self._take_good():
            raise TrainingError(f"{happened}; {self._kept()}", hint=finding.hint)
        self.progress.setbacks += 1
        self.progress.alpha_scale *= AFTER_SETBACK
        message = f"{happened}; training goes back to update {self.progress.update}, with alpha times {AFTER_SETBACK:g}"
        self.log.cut(self.progress.update, setback=False)
        entry = {"update": self.progress.update, "epoch": epoch, "setback": message, "failed_update": update}
        self.log.add(entry | {"alpha_scale": self.progress.alpha_scale, "seconds": round(self.progress.seconds, 3)})
        self.listener.on_setback(f"{message} ({finding.hint})")
        self._save_good()

    def _take_good(self) -> bool:
        """Take up the state of the epoch's beginning, if it is there and its numbers are numbers."""
        self._tick()
        self._losses, seconds = Losses(), self.progress.seconds
        try:
            self._take(load_checkpoint(self.folder, GOOD))
        except ElmanError:
            return False
        self.progress.seconds = seconds
        self._best_at = -1
        return True

    def _kept(self) -> str:
        """Say which model is left in the folder."""
        if self.progress.best_epoch:
            return f"the model of epoch {self.progress.best_epoch} is kept in {self.folder}"
        return "no epoch was finished, so there is no model to keep"

    def _save_best(self) -> None:
        with self.average.in_place():
            save_weights(self.folder, self.network)
        self._best_at = -1 if self.average.active else self.progress.update

    def _load_best(self) -> None:
        if self._best_at != self.progress.update and (self.folder / WEIGHTS).exists():
            load_weights(self.network, self.folder / WEIGHTS)
        self._best_at = self.progress.update

    # What a checkpoint holds

    def save(self) -> None:
        """Write a checkpoint from which training goes on as if it had never stopped."""
        self._count_losses()
        self._tick()
        groups = {
            "weights": self.network.state_dict(),
            "steps": self.steps.state(),
            "average": self.average.weights,
        }
        facts = {
            "settings": to_flat(self.settings),
            "progress": asdict(self.progress),
            "schedule": self.schedule.state(),
            "average": self.average.facts(),
            "digests": self.digests,
            "start": self.start,
        }
        save_checkpoint(self.folder, groups, facts)

    def _save_good(self) -> None:
        """Write a checkpoint of an epoch's beginning, and keep it to go back to."""
        self.save()
        keep_as_good(self.folder)

    def resume(self) -> None:
        """Take up the checkpoint of the folder; the next `run` goes on from there."""
        checkpoint = load_checkpoint(self.folder)
        if checkpoint.facts["digests"] != self.digests:
            raise TrainingError(
                f"{self.folder} was trained on other data than is given now",
                hint="give the same training and validation text, or another --out",
            )
        self._take(checkpoint)
        if self.progress.index == 0:  # the run may have been killed before this was done
            keep_as_good(self.folder)
        self.log.cut(self.progress.update, setback=self.progress.setbacks > 0)
        self._resumed = True

    def _take(self, checkpoint: Checkpoint) -> None:
        load_weights(self.network, checkpoint.path, prefix="weights/")
        self.progress = Progress(**checkpoint.facts["progress"])
        self.start = checkpoint.facts.get("start", {})
        for name, value in checkpoint.facts["schedule"].items():
            setattr(self.schedule, name, value)
        self.steps.begin(self.progress.epoch)
        self.steps.load_state(checkpoint.group("steps"))
        self.average.load(checkpoint.group("average"), checkpoint.facts.get("average", {}))

    def forget_checkpoint(self) -> None:
        """Remove the checkpoints of a finished run."""
        for name in (CHECKPOINT, GOOD):
            (self.folder / name).unlink(missing_ok=True)
