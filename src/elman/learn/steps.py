"""One update after another: how each regime turns a corpus into updates of the weights.

A regime knows how many updates an epoch has, begins an epoch, and makes update number `index` of it. What it carries
from one update to the next (the states, the generator of dropout) comes out as tensors, for a checkpoint to hold.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elman.config import LearnSettings
from elman.errors import TrainingError, UsageError
from elman.learn.following import OutputFollower
from elman.learn.noising import Noise
from elman.learn.nonsense import SLOWER, Finding, bad_gradients, bad_part, bad_weights
from elman.learn.online import OnlineLearner
from elman.learn.optimizers import Optimizer, clip_gradients
from elman.network.cells import Elman
from elman.network.classes import ClassSoftmax
from elman.network.devices import on_device
from elman.network.encoders import NGrams
from elman.network.model import RecurrentNetwork, State
from elman.network.outputs import OUTPUTS
from elman.network.sampled import SampledSoftmax
from elman.text.batches import Batch, RandomWindows, known, sentence_batches, windows
from elman.text.corpus import Corpus
from elman.text.symbols import Tokenizer

COUNT_BLOCK = 1 << 20
ONLINE_WORDS = 500
"""Words of the online regime that count as one update here, where training may pause; his are smaller."""


def symbol_counts(ids: np.ndarray, tokenizer: Tokenizer) -> Tensor:
    """Return how often each symbol comes in a corpus, (D,); one that the dictionary lacks counts as <unk>."""
    counts = np.zeros(tokenizer.size, dtype=np.int64)
    for start in range(0, len(ids), COUNT_BLOCK):
        block = known(ids[start : start + COUNT_BLOCK], tokenizer.size, tokenizer.unk_id)[0]
        counts += np.bincount(block, minlength=tokenizer.size)
    return torch.from_numpy(counts)


def rates_of(network: RecurrentNetwork, settings: LearnSettings) -> dict[str, float]:
    """Return what alpha is multiplied by for each weight, by name: U, what multiplies states, V, and all between."""
    recurrent = network.recurrent_names()
    rates = {}
    for name, _ in network.named_parameters():
        if name in recurrent:
            rates[name] = settings.recurrent_rate
        elif name.startswith("encoder."):
            rates[name] = settings.input_rate
        elif name.startswith("output.direct."):
            rates[name] = settings.direct_rate
        else:
            rates[name] = 1.0 if name.startswith("output.") else settings.between_rate
    return rates


class Steps(Protocol):
    """The updates of one regime."""

    @property
    def per_epoch(self) -> int:
        """How many updates this epoch has."""

    def planned(self, epochs: int) -> int:
        """Return how many updates the first `epochs` epochs have together."""

    def begin(self, epoch: int) -> None:
        """Start an epoch: the states go back to s(0); independent sentences get a new order."""

    def update(self, index: int, alpha: float) -> tuple[float | Tensor, int]:
        """Make one update; return the loss (nats, summed) and the number of symbols that it was summed over.

        The loss may be a tensor, (), on a GPU that is still at work on it: to read it is to wait. Where it is a number
        and not a finite one, the weights stay as they were.
        """

    def told(self) -> dict[str, float]:
        """Return what is known of the last update besides its loss, for the log."""

    def explain(self, index: int) -> Finding:
        """Say what became no number in update `index`, or before it, given that a loss did."""

    def end(self) -> None:
        """Finish an epoch, so that the weights are what has been learnt."""

    def state(self) -> dict[str, Tensor]:
        """Return what is carried from one update to the next."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""


def known_symbols(symbols: Batch, tokenizer: Tokenizer) -> Tensor:
    """Return symbols with those outside the dictionary, which a corpus stores as D, read as <unk>."""
    return torch.from_numpy(known(symbols, tokenizer.size, tokenizer.unk_id)[0])


def _check_one_product(network: RecurrentNetwork, who: str) -> None:
    """Refuse an output layer whose logits are more than s V, where V is moved by that product."""
    if not network.output.one_product:
        able = ", ".join(name for name, layer in OUTPUTS.items() if layer.one_product)
        raise UsageError(
            f"{who} cannot train the output layer {network.settings.output!r}",
            hint=f"choose network.output from {able}",
        )


def _follower(network: RecurrentNetwork, settings: LearnSettings, product: torch.dtype) -> OutputFollower | None:
    """Return what moves V inside a window, or None where V moves with the rest; refuse what it cannot do."""
    if settings.output_block is None:
        return None
    _check_one_product(network, "learn.output_block")
    V = network.output.V
    plain = settings.optimizer == "sgd" and settings.regime == "running" and settings.clip is None
    plain = plain and not (network.settings.ar or network.settings.tar or settings.beta_follows)
    if V is None or network.output.bias is not None or settings.device != "cpu" or not plain:
        raise UsageError(
            "output_block needs running text and plain sgd on the cpu: no clip, bias, ar, tar, beta_follows, tied V",
            hint="leave learn.output_block unset",
        )
    return OutputFollower(V, beta=settings.beta, block=settings.output_block, product=product)


class WindowSteps:
    """Truncated BPTT: windows of T symbols over B parallel streams, or batches of B independent sentences."""

    def __init__(
        self,
        network: RecurrentNetwork,
        optimizer: Optimizer,
        corpus: Corpus,
        tokenizer: Tokenizer,
        settings: LearnSettings,
        *,
        lessons: NDArray[Any] | None = None,
    ) -> None:
        self.network, self.optimizer, self.tokenizer, self.settings = network, optimizer, tokenizer, settings
        self.lessons = lessons  # (K, N): for every id of the text what a teacher drew in its place
        self.device = next(network.parameters()).device
        self.running = settings.regime == "running"
        self.random: RandomWindows | None = None
        if self.running and settings.bptt_jitter:
            cut = (corpus.ids, settings.batch, settings.bptt, tokenizer.end_id)
            self.random = RandomWindows(*cut, jitter=settings.bptt_jitter, seed=settings.seed)
            self.windows = self.random.epoch(0)
        elif self.running:
            self.windows = windows(corpus.ids, settings.batch, settings.bptt, tokenizer.end_id)
        else:
            self.sentences = sentence_batches(corpus.ids, settings.batch, tokenizer.end_id)
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.product = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        # Rows in use pay where nothing but an update wants them; where U is V too, a full softmax touches every row.
        tied, sampled = network.settings.tied, isinstance(network.output, SampledSoftmax)
        self.sparse = not tied or sampled
        self.factored = not tied and optimizer.takes_factors and settings.clip is None
        if isinstance(network.output, SampledSoftmax | ClassSoftmax):
            network.output.before_reading = partial(optimizer.before_reading, "encoder.U" if tied else "output.V")
        if isinstance(network.encoder, NGrams):
            network.encoder.before_reading = partial(optimizer.before_reading, "encoder.grams")
        if network.output.direct is not None:
            network.output.direct.before_reading = partial(optimizer.before_reading, "output.direct.weight")
        if isinstance(network.output, SampledSoftmax):
            network.output.negatives = settings.negatives
        network.output.prepare(symbol_counts(corpus.ids, tokenizer))
        self.follower = _follower(network, settings, self.product)
        self.noise = (
            Noise(corpus.ids, tokenizer.size, settings.noise, unknown=tokenizer.unk_id) if settings.noise else None
        )
        self.carried: State = ()
        self.order = np.zeros(0, dtype=np.int64)
        self.trouble: Finding | None = None
        self.norm: Tensor | None = None

    @property
    def per_epoch(self) -> int:
        """How many windows or batches this epoch has."""
        return len(self.windows) if self.running else len(self.sentences)

    def planned(self, epochs: int) -> int:
        """Return how many windows or batches the first `epochs` epochs have together."""
        if self.random is None:
            return epochs * self.per_epoch
        return sum(self.random.count(epoch) for epoch in range(epochs))

    def begin(self, epoch: int) -> None:
        """Start an epoch; the order of independent sentences follows from seed and epoch alone."""
        if self.follower is not None:
            self.follower.refresh()
        self.epoch = epoch
        self.trouble = None
        self._forget_gradients()
        if self.random is not None:
            self.windows = self.random.epoch(epoch)
        if self.running:
            self.carried = self.network.initial_state(self.settings.batch)
        else:
            self.order = self.sentences.order(self.settings.seed, epoch)

    def read(self, index: int) -> tuple[Tensor, Tensor, Tensor | None, int]:
        """Return what update `index` learns from, and how many targets that are.

        Symbols and targets are (T, B); with independent sentences a mask, (T, B), says which targets count.
        """
        if self.running:
            inputs, targets = self.windows[index]
            mask, count = None, targets.size
        else:
            batch = self.sentences[int(self.order[index])]
            inputs, targets = batch.inputs, batch.targets
            mask, count = torch.from_numpy(batch.mask).to(torch.float32), int(batch.mask.sum())
        return known_symbols(inputs, self.tokenizer), known_symbols(targets, self.tokenizer), mask, count

    def update(self, index: int, alpha: float) -> tuple[float | Tensor, int]:
        """Unroll one window, send the errors back through it, move the weights."""
        if isinstance(self.network.output, SampledSoftmax):
            done = (self.epoch + index / self.per_epoch) / self.settings.epochs
            self.network.output.sampling = done < self.settings.full_from
            if not self.network.output.sampling:
                self.optimizer.settle()  # all of V is read
        symbols, targets, mask, count = self.read(index)
        if self.lessons is not None:
            targets = self._taught(index, targets)
            symbols = self.noise(symbols, self.generator) if self.noise is not None else symbols
        elif self.noise is not None:
            noisy = self.noise(torch.cat([symbols[:1], targets]), self.generator)
            symbols, targets = noisy[:-1], noisy[1:]
        state = self._begun_anew() if self.running else self.network.initial_state(symbols.shape[1])
        weights = None if mask is None else on_device(mask, self.device)
        if not self.sparse or self.network.settings.tied:
            symbols = on_device(symbols, self.device)  # else the encoder does, once it knows which rows are in use
        self.optimizer.before_reading("encoder.U", symbols)
        answers = on_device(targets, self.device)
        if self.follower is None:
            state, loss = self.network.loss(
                state,
                symbols,
                answers,
                weights=weights,
                generator=self.generator,
                product=self.product,
                sparse=self.sparse,
                factored=self.factored,
            )
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            after, hidden = self.network.unroll(
                state, symbols, generator=self.generator, product=self.product, sparse=True
            )
            loss, errors = self.follower.learn(hidden.detach(), answers, alpha)
            hidden.backward(errors)  # type: ignore[no-untyped-call]
            state = tuple(s.detach() for s in after)
        loss = loss.detach()
        found = float(loss) if self.device.type == "cpu" else loss.double()
        if self.settings.clip is not None and not self._clip(self.settings.clip, symbols.shape[0]):
            found = math.nan
        if isinstance(found, float) and not math.isfinite(found):
            return found, count  # nothing is moved, so that `explain` sees what it came from
        if self.settings.beta_follows:
            assert self.settings.alpha is not None, "settings are resolved"
            self.optimizer.shrinking = self.settings.beta * alpha / self.settings.alpha
        self.optimizer.step(alpha)
        if self.running:
            self.carried = state
        return found * symbols.shape[1], count

    def _taught(self, index: int, targets: Tensor) -> Tensor:
        """Return targets, (T, B), of which a share is what the teacher drew, anew in every epoch while draws last."""
        assert self.lessons is not None
        lesson = self.windows.over(self.lessons[self.epoch % len(self.lessons)])[index][1]
        chances = torch.rand(targets.shape, generator=self.generator, device=self.device)
        return torch.where(chances.to(targets.device) < self.settings.teacher_share, torch.from_numpy(lesson), targets)

    def _begun_anew(self) -> State:
        """Return the states that were carried, of some streams s(0) instead.

        A net that only ever reads on from where it was may hold for good what its first words made it hold, and be
        lost where a text begins with others.
        """
        if self.settings.reset == 0.0:
            return self.carried
        chances = torch.rand(len(self.carried[0]), 1, generator=self.generator, device=self.device)
        fresh = self.network.initial_state(len(chances))
        pairs = zip(fresh, self.carried, strict=True)
        return tuple(torch.where(chances < self.settings.reset, new, old) for new, old in pairs)

    def _clip(self, limit: float, length: int) -> bool:
        """Clip the gradients; return whether they are numbers, as far as that is known without waiting for a GPU.

        Gradients are sums over the window, so that a window moves the weights in proportion to its length. Where
        lengths are random the limit is in proportion to them too, or clipping would undo that.
        """
        scale = length / self.settings.bptt if self.random is not None else 1.0
        self.norm = norm = clip_gradients(self.network.parameters(), limit * scale)
        if norm.device.type != "cpu" or math.isfinite(float(norm)):
            return True
        self.trouble = bad_gradients(self.network.named_parameters())
        return False

    def told(self) -> dict[str, float]:
        """Return the norm of the gradient before it was clipped, where it was to be."""
        return {} if self.norm is None else {"gradient_norm": float(self.norm)}

    def _forget_gradients(self) -> None:
        for weight in self.network.parameters():
            weight.grad = None
            vars(weight).pop("parts", None)

    def explain(self, index: int) -> Finding:
        """Look at the weights, then at the gradients, then at the window part by part."""
        found = bad_weights(self.network.named_parameters()) or self.trouble
        if found is None and index < self.per_epoch:
            symbols = self.read(index)[0]
            state = self.carried if self.running else self.network.initial_state(symbols.shape[1])
            found = bad_part(self.network, state, on_device(symbols, self.device))
        return found or Finding("no part of the network holds what is no number by now", SLOWER)

    def end(self) -> None:
        """Let the optimiser do what it put off."""
        self.optimizer.settle()

    def state(self) -> dict[str, Tensor]:
        """Return the carried states, the optimiser's memory and the generator's."""
        states = {f"state.{layer}": state for layer, state in enumerate(self.carried)}
        moments = {f"optimizer.{name}": value for name, value in self.optimizer.state().items()}
        return {**states, **moments, "generator": self.generator.get_state()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.carried = tuple(state[f"state.{layer}"].to(self.device) for layer in range(len(self.carried)))
        moments = {k.removeprefix("optimizer."): v for k, v in state.items() if k.startswith("optimizer.")}
        self.optimizer.load_state(moments)
        self.generator.set_state(state["generator"])
        if self.follower is not None:
            self.follower.refresh()


class OnlineSteps:
    """Mikolov's regime: one stream, V moved with every word, U and W with every block of them."""

    def __init__(
        self, network: RecurrentNetwork, corpus: Corpus, tokenizer: Tokenizer, settings: LearnSettings
    ) -> None:
        _check_one_product(network, "regime online")
        cell, V = network.cells[0], network.output.V
        plain = type(cell) is Elman and len(network.cells) == 1 and not network.between
        alone = plain and V is not None and network.output.bias is None and network.settings.zoneout == 0.0
        alone = alone and network.memory == 0
        if not (alone and isinstance(cell, Elman) and cell.activation.name == "sigmoid" and cell.bias is None):
            raise UsageError(
                "regime online trains one plain layer: sigmoid, no bias, one-hot, U, V not tied",
                hint="leave these settings as they are, or choose --regime running",
            )
        drops = ("dropout", "input_dropout", "word_dropout", "weight_dropout", "ar", "tar")
        if any(getattr(network.settings, name) for name in drops) or settings.device != "cpu":
            raise UsageError("regime online knows no dropout and runs on the cpu", hint="choose --regime running")
        assert V is not None
        self.corpus, self.tokenizer = corpus, tokenizer
        self.learner = OnlineLearner(
            network.encoder.U.data,
            cell.W.data,
            V.data,
            beta=settings.beta,
            bptt=settings.bptt,
            bptt_block=settings.bptt_block,
            cutoff=settings.clip,
            frozen=settings.freeze_vectors,
        )

    @property
    def per_epoch(self) -> int:
        """How many pieces of ONLINE_WORDS words an epoch has."""
        return -(-len(self.corpus.ids) // ONLINE_WORDS)

    def planned(self, epochs: int) -> int:
        """Return how many pieces `epochs` epochs have together."""
        return epochs * self.per_epoch

    def begin(self, epoch: int) -> None:
        """Start the stream again, with the first state all ones."""
        self.learner.reset(self.tokenizer.end_id)

    def update(self, index: int, alpha: float) -> tuple[float, int]:
        """Learn the next ONLINE_WORDS words."""
        piece = np.asarray(self.corpus.ids[index * ONLINE_WORDS : (index + 1) * ONLINE_WORDS], dtype=np.int64)
        self.learner.alpha = alpha
        try:
            return -self.learner.learn(known_symbols(piece, self.tokenizer)), len(piece)
        except TrainingError:
            return math.nan, len(piece)

    def told(self) -> dict[str, float]:
        """Return nothing: errors are clipped one by one, so that no norm is known."""
        return {}

    def explain(self, index: int) -> Finding:
        """Name the weights that hold what is no number."""
        learner = self.learner
        names = [name for name in "UWV" if not bool(getattr(learner, name).isfinite().all())]
        what = f"{' and '.join(names)} grew beyond all numbers" if names else "the logits overflowed"
        return Finding(what, SLOWER)

    def end(self) -> None:
        """Bring V up to date."""
        self.learner.settle()

    def state(self) -> dict[str, Tensor]:
        """Return the learner's memory."""
        return self.learner.state_tensors()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` returned."""
        self.learner.load_state_tensors(state)
