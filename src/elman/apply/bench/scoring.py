"""Scoring words a second, and how long one step takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from elman.apply.bench.plan import Plan, Tell
from elman.apply.bench.texts import Text, synthetic
from elman.apply.bench.timing import Work, quantile, take_turns, threads
from elman.apply.bench.training import new_network
from elman.apply.evaluate import PRODUCTS, SENTENCES
from elman.apply.score import score
from elman.learn.measure import measure
from elman.learn.steps import symbol_counts
from elman.network.devices import bf16_is_fast, int8_is_fast
from elman.network.folder import Model
from elman.network.model import State
from elman.network.outputs import OUTPUTS
from elman.network.step import Stepper
from elman.network.storage import WEIGHTS

STREAMS = 32
LIKE_FULL = ("sampled",)
"""Outputs that are the full softmax in all but training: to score with them is to score with `full`."""

STEPS_A_TURN = 100
WARM_UP = 50


class Stepping(Protocol):
    """What goes on one symbol at a time: a network, or what was made of one for the purpose."""

    def initial_state(self, batch: int) -> State:
        """Return s(0)."""

    def step(self, state: State, symbols: Tensor) -> tuple[State, Tensor]:
        """Return the next state and log y."""


def models(plan: Plan, text: Text) -> dict[str, Model]:
    """Return an untrained model for each output layer that scores in its own way, at the smallest H."""
    counts = symbol_counts(text.corpus.ids, text.tokenizer)
    found = {}
    for name in OUTPUTS:
        if name not in LIKE_FULL:
            network = new_network(plan, min(plan.hidden), name, text.tokenizer.size)
            network.output.prepare(counts)
            found[name] = Model(network.eval(), text.tokenizer, "running", {})
    return found


def ways(model: Model, text: Text) -> dict[str, Work]:
    """Return the ways to score a text; a call scores all of it, and says how many symbols that were."""

    def corpus_loss(regime: str, batch: int, precision: str = "fp32") -> Callable[[], float]:
        def work() -> float:
            product = PRODUCTS[precision]
            network, corpus, tokenizer = model.network, text.corpus, text.tokenizer
            return measure(network, corpus, tokenizer, regime=regime, batch=batch, product=product).symbols

        return work

    sentences = list(text.source.lines())

    def lines() -> float:
        return sum(len(result.tokens) for result in score(model, sentences))

    fast = {"bf16": bf16_is_fast(), "int8": int8_is_fast()}
    rough = [name for name, is_fast in fast.items() if is_fast and model.network.output.one_product]
    return {
        "evaluate, running": corpus_loss("running", 1),
        **{f"evaluate, running, {name}": corpus_loss("running", 1, name) for name in rough},
        f"evaluate, running, {STREAMS} streams": corpus_loss("running", STREAMS),
        "evaluate, sentences": corpus_loss("sentences", SENTENCES),
        "score": lines,
    }


def steppers(built: Mapping[str, Model]) -> dict[str, Stepping]:
    """Return what takes single steps, by name."""
    found: dict[str, Stepping] = {}
    for name, model in built.items():
        for weights in WEIGHTS if model.network.output.one_product else WEIGHTS[:1]:
            found[name if weights == WEIGHTS[0] else f"{name}, V in {weights}"] = Stepper(
                model.network, weights=weights
            )
    return found


def scoring(plan: Plan, tell: Tell) -> dict[str, Any]:
    """Measure scoring words a second (sentence ends are words here), and the latency of a step in milliseconds."""
    hidden = min(plan.hidden)
    with synthetic(plan.dictionary, max(1, plan.words // 5), plan.seed) as text:
        built = models(plan, text)
        works = {f"{name}: {way}": work for name, model in built.items() for way, work in ways(model, text).items()}
        tell(f"scoring: H = {hidden}")
        for work in works.values():
            work()
        speeds = take_turns(works, rounds=plan.rounds, least=plan.least)
        tell(f"scoring: latency of a step, H = {hidden}")
        with threads(1):
            latencies = step_latencies(steppers(built), plan.dictionary, plan.steps, plan.seed)
    return {
        "hidden": hidden,
        "dictionary": plan.dictionary,
        "words_per_second": {name: {"median": s.median, "turns": list(s.turns)} for name, s in speeds.items()},
        "step_ms": {
            name: {"threads": 1, "steps": len(times), "p50": quantile(times, 0.5), "p99": quantile(times, 0.99)}
            for name, times in latencies.items()
        },
    }


def step_latencies(steppers: Mapping[str, Stepping], size: int, steps: int, seed: int) -> dict[str, list[float]]:
    """Return the milliseconds of `steps` steps of one sequence for each stepper; they take turns of a hundred steps."""
    times: dict[str, list[float]] = {name: [] for name in steppers}
    states = {name: stepper.initial_state(1) for name, stepper in steppers.items()}
    draw = torch.Generator().manual_seed(seed)
    lengths = [WARM_UP, *(min(STEPS_A_TURN, steps - start) for start in range(0, steps, STEPS_A_TURN))]
    for length in lengths:
        symbols = torch.randint(size, (length, 1), generator=draw).unbind(0)
        for name, stepper in steppers.items():
            for symbol in symbols:
                begin = time.perf_counter()
                states[name], _ = stepper.step(states[name], symbol)
                times[name].append(1000 * (time.perf_counter() - begin))
    return {name: values[WARM_UP:] for name, values in times.items()}
