"""Training words a second: elman through its own path, against plain PyTorch, by turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from elman.apply.bench.machine import Product, best_square, precisions
from elman.apply.bench.plan import Plan, Tell
from elman.apply.bench.rivals import RIVALS, TorchLoop, TorchRNN
from elman.apply.bench.texts import Text, read, written
from elman.apply.bench.timing import Work, probe, ratios, take_turns
from elman.config import Settings, build
from elman.learn.optimizers import OPTIMIZERS
from elman.learn.run import resolve
from elman.learn.steps import WindowSteps, known_symbols
from elman.network.devices import on_device
from elman.network.model import RecurrentNetwork
from elman.network.outputs import OUTPUTS
from elman.text.batches import windows

ALPHA = 0.01  # small: a benchmark is not to blow up, and what is learnt does not matter
FULL = "full"
TIMES_A_WORD = 3
"""Every weight is multiplied with three times a word: forward, for the error below it, and for its own gradient."""


def gflop_a_word(hidden: int, dictionary: int) -> float:
    """Return what the products of a word cost in training with the full softmax: 2 (3 H D + 3 H H), in GFLOP."""
    return 2 * TIMES_A_WORD * hidden * (dictionary + hidden) / 1e9


def settings_for(plan: Plan, hidden: int, output: str, batch: int) -> Settings:
    """Return the settings of a contestant: tanh and SGD, as the rivals; weights that start narrow enough for H."""
    return resolve(
        build(
            {
                "network.hidden": hidden,
                "network.activation": "tanh",
                "network.output": output,
                "network.init_range": min(0.1, hidden**-0.5),
                "learn.alpha": ALPHA,
                "learn.batch": batch,
                "learn.bptt": plan.bptt,
                "learn.precision": plan.precision,
                "learn.device": plan.device,
                "learn.seed": plan.seed,
                "learn.threads": torch.get_num_threads(),
            }
        )
    )


def new_network(plan: Plan, hidden: int, output: str, dictionary: int) -> RecurrentNetwork:
    """Return an elman network with its starting weights."""
    network = RecurrentNetwork(dictionary, settings_for(plan, hidden, output, 1).network)
    network.initialize(torch.Generator().manual_seed(plan.seed))
    return network.to(plan.device)


class ElmanLearner:
    """elman's own updates (`learn.steps.WindowSteps`), one a call, round and round over a text."""

    def __init__(self, network: RecurrentNetwork, text: Text, settings: Settings) -> None:
        learn = settings.learn
        optimizer = OPTIMIZERS[learn.optimizer](network.named_parameters(), beta=learn.beta)
        self.steps = WindowSteps(network, optimizer, text.corpus, text.tokenizer, learn)
        self.index = 0
        self.steps.begin(0)

    def __call__(self) -> float:
        """Make one update; return how many words it learnt from."""
        if self.index == self.steps.per_epoch:
            self.index = 0
            self.steps.begin(0)
        _, words = self.steps.update(self.index, ALPHA)
        self.index += 1
        return words

    def reading(self) -> float:
        """Read the text of an update, and leave it; return how many words that are."""
        self.index %= self.steps.per_epoch
        _, _, _, words = self.steps.read(self.index)
        return words


class RivalLearner:
    """Updates of plain PyTorch, one a call, over the same windows of the same text."""

    def __init__(self, rival: TorchRNN | TorchLoop, text: Text, batch: int, bptt: int) -> None:
        self.rival, self.text, self.batch = rival, text, batch
        self.windows = windows(text.corpus.ids, batch, bptt, text.tokenizer.end_id)
        self.optimizer = torch.optim.SGD(rival.parameters(), lr=ALPHA)
        self.index = 0
        self.state = rival.initial_state(batch)

    def __call__(self) -> float:
        """Make one update; return how many words it learnt from."""
        if self.index == len(self.windows):
            self.index = 0
            self.state = self.rival.initial_state(self.batch)
        window, device = self.windows[self.index], self.state.device
        symbols, targets = (on_device(known_symbols(part, self.text.tokenizer), device) for part in window)
        self.optimizer.zero_grad()
        self.state, loss = self.rival.loss(self.state, symbols, targets)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.index += 1
        return targets.numel()


@dataclass(frozen=True)
class Contestant:
    """What trains: how it is made for a batch size, in which precision, and whether its products are those we count."""

    make: Callable[[int], Work]
    precision: str
    dense: bool


def contestants(plan: Plan, hidden: int, text: Text) -> dict[str, Contestant]:
    """Return elman with the full softmax and the rivals; at the smallest H, unless it is large, other outputs too."""
    others = hidden == min(plan.hidden) and hidden < plan.large
    outputs = [name for name in OUTPUTS if name == FULL or others]
    networks = {name: new_network(plan, hidden, name, text.tokenizer.size) for name in outputs}
    found = {f"elman {name}": _ours(plan, hidden, name, network, text) for name, network in networks.items()}
    for name, kind in RIVALS.items():
        rival = kind(text.tokenizer.size, hidden)
        rival.to(plan.device).take_weights(networks[FULL])
        found[name] = _theirs(plan, rival, text)
    return found


def _ours(plan: Plan, hidden: int, output: str, network: RecurrentNetwork, text: Text) -> Contestant:
    def make(batch: int) -> Work:
        return ElmanLearner(network, text, settings_for(plan, hidden, output, batch))

    precision = settings_for(plan, hidden, output, 1).learn.precision
    return Contestant(make, precision, dense=output == FULL)


def _theirs(plan: Plan, rival: TorchRNN | TorchLoop, text: Text) -> Contestant:
    return Contestant(lambda batch: RivalLearner(rival, text, batch, plan.bptt), "fp32", dense=True)


def training(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure training for every H: words a second, ratios, and the share of the best rate of products."""
    squares = {
        kind: best_square(plan.sides, dtype, plan.least / 4, plan.device)
        for kind, dtype in precisions(plan.device).items()
    }
    with written(plan.dictionary, plan.words, plan.seed) as folder:
        start = time.perf_counter()
        text = read(folder)
        prepared = len(text.corpus.ids) / (time.perf_counter() - start)
        sizes = [_training_at(plan, hidden, text, squares, tell) for hidden in plan.hidden]
    return {
        "dictionary": plan.dictionary,
        "bptt": plan.bptt,
        "words": plan.words,
        "prepared_per_second": prepared,
        "sizes": sizes,
    }


def _training_at(plan: Plan, hidden: int, text: Text, squares: dict[str, Product], tell: Tell) -> dict[str, Any]:
    entries = contestants(plan, hidden, text)
    probes: dict[str, dict[int, float]] = {}
    for name, entry in entries.items():
        tell(f"training: H = {hidden}, batch sizes of {name}")
        probes[name] = {batch: probe(entry.make(batch), plan.least) for batch in plan.batches_for(hidden)}
    best = {name: max(found, key=lambda batch: found[batch]) for name, found in probes.items()}
    tell(f"training: H = {hidden}, by turns")
    works: dict[str, Work] = {name: entry.make(best[name]) for name, entry in entries.items()}
    rounds = plan.rounds_for(hidden)
    speeds = take_turns({**works, **squares}, rounds=rounds, least=plan.least)
    gemm = {kind: speeds[kind].median for kind in squares}
    rows: dict[str, Any] = {}
    for name, entry in entries.items():
        rate = speeds[name].median
        gflops = rate * gflop_a_word(hidden, plan.dictionary) if entry.dense else None
        ceiling = gemm.get(entry.precision)
        work = works[name]
        reads = probe(work.reading, plan.least / 4) if isinstance(work, ElmanLearner) else None
        rows[name] = {
            "precision": entry.precision,
            "batch": best[name],
            "words_per_second": rate,
            "turns": list(speeds[name].turns),
            "gflops": gflops,
            "share_of_gemm": gflops / ceiling if gflops is not None and ceiling else None,
            "waiting_share": rate / reads if reads else None,
            "probes": {str(batch): found for batch, found in probes[name].items()},
        }
    return {
        "hidden": hidden,
        "gflop_per_word": gflop_a_word(hidden, plan.dictionary),
        "rounds": rounds,
        "gemm_gflops": gemm,
        "contestants": rows,
        "ratios": ratios({name: row["words_per_second"] for name, row in rows.items()}, list(RIVALS)),
    }
