"""A network that learns from the text it is tested on: by the formulas, and never before a segment is scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elman.apply import tuning
from elman.apply.caches import Cache
from elman.apply.dynamic import RMS, Dynamic, copy_of, follow_text, gather_rms
from elman.apply.evaluate import evaluate
from elman.apply.running import Adaptation, read_running, trace_text, with_statistics
from elman.apply.tuning import tune_adaptation
from elman.config import NetworkSettings
from elman.errors import TrainingError, UsageError
from elman.network.folder import Model
from elman.network.model import RecurrentNetwork

Trained = Callable[[str], Model]
SGD = Dynamic("sgd", alpha=0.05, segment=7, recurrent_rate=0.5)
RMS_FORM = Dynamic("rms", alpha=0.001, segment=7, decay=0.02, epsilon=0.001)


def ids_of(model: Model, room: Path, lines: int = 12) -> np.ndarray:
    text = (room / "test.txt").read_text().splitlines()[:lines]
    ids = [i for line in text for i in (*model.tokenizer.encode(line), model.tokenizer.end_id)]
    return np.array(ids, dtype=np.int64)


def settings_of(model: Model, **changes: object) -> Model:
    """A model of another shape, with weights of its own, for the same text."""
    settings = NetworkSettings(**{"hidden": 6, "init_range": 0.5, **changes})
    network = RecurrentNetwork(model.tokenizer.size, settings)
    if network.output.direct is not None:
        network.output.direct.learn(np.random.default_rng(1).integers(0, model.tokenizer.size, 600))
    network.initialize(torch.Generator().manual_seed(1))
    return Model(network.eval(), model.tokenizer, "running", {})


def slow_follow(model: Model, ids: np.ndarray, dynamic: Dynamic, rms: RMS | None) -> list[float]:
    """Each segment by dense gradients of the slow loss, one segment after the other, all weights by the formulas."""
    network, D = copy_of(model.network), model.tokenizer.size
    trained = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    recurrent = network.recurrent_names()
    mean = 0.0 if rms is None else float(torch.cat([r.reshape(-1) for r in rms.values()]).mean())
    state, found = network.initial_state(1), []
    inputs = np.concatenate([[model.tokenizer.end_id], ids[:-1]])
    unk = model.tokenizer.unk_id or 0
    for start in range(0, len(ids), dynamic.segment):
        here = slice(start, start + dynamic.segment)
        symbols, targets = (torch.from_numpy(np.where(x[here] == D, unk, x[here])) for x in (inputs, ids))
        after, hidden = network.unroll(state, symbols.unsqueeze(1))
        log_probs = network.output.log_probs(hidden.squeeze(1), network.encoder.U)
        scores = log_probs.gather(1, targets.unsqueeze(1)).squeeze(1)
        found += scores.tolist()
        loss = -scores[torch.from_numpy(ids[here] < D)].sum()
        loss = loss / (1 if dynamic.kind == "sgd" else len(targets))
        weights = dict(network.named_parameters())
        gradients = torch.autograd.grad(loss, list(weights.values()))
        with torch.no_grad():
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
                if rms is None:
                    weight -= dynamic.alpha * (dynamic.recurrent_rate if name in recurrent else 1.0) * gradient
                    continue
                pull = (dynamic.decay * rms[name] / mean).clamp(max=1)
                weight += pull * (trained[name] - weight) - dynamic.alpha * gradient / (rms[name] + dynamic.epsilon)
        state = tuple(s.detach() for s in after)
    return found


SHAPES: list[dict[str, object]] = [
    {},
    {"activation": "tanh", "layers": 2},
    {"tied": True, "bias": True},
    {"output": "sampled"},
    {"cell": "gru", "layers": 2, "embedding": 4},
    {"cell": "lstm", "tied": True, "embedding": 4},
    {"encoder": "n-gram", "direct": 3},
    {"direct": 7, "tied": True},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dynamic", [SGD, RMS_FORM], ids=["sgd", "rms"])
def test_following_is_the_formula(dynamic: Dynamic, shape: dict[str, object], trained: Trained, room: Path) -> None:
    model = settings_of(trained("word"), **shape)
    ids = ids_of(model, room)
    ids[[4, 20]] = model.tokenizer.size  # unseen words: read as <unk>, and nothing is learnt from them
    rms = gather_rms(model, ids, segment=7) if dynamic.kind == "rms" else None
    found = torch.cat([s.log_probs for s in follow_text(model, ids, dynamic, rms=rms)])
    slow = slow_follow(model, ids, dynamic, rms)
    still = read_running(model, ids, Adaptation()).log_probs
    np.testing.assert_allclose(found.numpy(), slow, rtol=2e-4, atol=1e-5)
    known = ids < model.tokenizer.size
    assert np.abs(found.numpy() - still)[known].max() > 0.001  # it did learn something


@pytest.mark.parametrize("kind", ["class", "adaptive"])
@pytest.mark.parametrize("dynamic", [SGD, RMS_FORM], ids=["sgd", "rms"])
def test_other_output_layers_follow_too(kind: str, dynamic: Dynamic, trained: Trained, room: Path) -> None:
    model = settings_of(trained("bpe"), output=kind)
    model.network.output.prepare(torch.arange(model.tokenizer.size))
    ids = np.tile(ids_of(model, room, 4), 6)
    adaptation = Adaptation(dynamic=dynamic, rms=gather_rms(model, ids) if dynamic.kind == "rms" else None)
    still, found = (read_running(model, ids, a).log_probs for a in (Adaptation(), adaptation))
    assert found.mean() > still.mean()


@pytest.mark.parametrize("dynamic", [SGD, RMS_FORM], ids=["sgd", "rms"])
@pytest.mark.parametrize("kind", ["word", "char"])
def test_a_segment_is_scored_before_it_is_learnt_from(
    dynamic: Dynamic, kind: str, trained: Trained, room: Path
) -> None:
    model = trained(kind)
    ids = ids_of(model, room)
    other = ids.copy()
    other[28:] = ids[28:][::-1]  # from the fifth segment on, another text
    adaptation = Adaptation(dynamic, Cache("neural", size=20), gather_rms(model, ids))
    one, two = (read_running(model, text, adaptation) for text in (ids, other))
    np.testing.assert_array_equal(one.log_probs[:28], two.log_probs[:28])
    np.testing.assert_array_equal(one.cache[:, :28], two.cache[:, :28])
    assert not np.array_equal(one.log_probs[28:], two.log_probs[28:])


def test_the_model_in_the_callers_hands_stays_as_it_is(trained: Trained, room: Path) -> None:
    model = trained("word")
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    ids = ids_of(model, room)
    for dynamic in (SGD, RMS_FORM):
        read_running(model, ids, Adaptation(dynamic, None, gather_rms(model, ids)))
    assert all(torch.equal(before[name], weight) for name, weight in model.network.state_dict().items())
    assert all(weight.grad is None and "parts" not in vars(weight) for weight in model.network.parameters())


@pytest.mark.parametrize("kind", ["word", "char", "byte"])
def test_at_rate_zero_nothing_changes(kind: str, trained: Trained, room: Path) -> None:
    model = trained(kind)
    ids = ids_of(model, room)
    still = read_running(model, ids, Adaptation()).log_probs
    for dynamic in (Dynamic("sgd", alpha=0), Dynamic("rms", alpha=0)):
        found = read_running(model, ids, Adaptation(dynamic, None, gather_rms(model, ids))).log_probs
        np.testing.assert_allclose(found, still, rtol=1e-4, atol=1e-5)


def slow_squares(model: Model, ids: np.ndarray, segment: int) -> Iterator[tuple[str, Tensor]]:
    network = copy_of(model.network)
    inputs, state = np.concatenate([[0], ids[:-1]]), network.initial_state(1)
    sums = {name: torch.zeros_like(weight) for name, weight in network.named_parameters()}
    count = 0
    for start in range(0, len(ids), segment):
        x, d = (torch.from_numpy(a[start : start + segment]).unsqueeze(1) for a in (inputs, ids))
        state, loss = network.loss(state, x, d)
        weights = dict(network.named_parameters())
        gradients = torch.autograd.grad(loss / len(d), list(weights.values()))
        for name, gradient in zip(weights, gradients, strict=True):
            sums[name] += gradient**2
        count += 1
    return ((name, (total / count).sqrt()) for name, total in sums.items())


def test_gathered_squares_are_the_mean_squares_of_gradients(
    trained: Trained, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.apply.dynamic.STREAMS", 1)
    model = settings_of(trained("word"))
    ids = ids_of(model, room)
    found = gather_rms(model, ids, segment=5)
    for name, expected in slow_squares(model, ids, 5):
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-8)
    few = gather_rms(model, ids, segment=5, most_windows=2)
    assert not torch.equal(few["output.V"], found["output.V"])


def test_a_network_that_runs_away_is_found_out(trained: Trained, room: Path) -> None:
    model = trained("word")
    for dynamic in (Dynamic(alpha=1e38), Dynamic("rms", alpha=1e38)):
        with pytest.raises(TrainingError, match="no numbers"):
            read_running(model, ids_of(model, room), Adaptation(dynamic, rms=gather_rms(model, ids_of(model, room))))


def test_a_trace_is_what_evaluate_says(trained: Trained, room: Path) -> None:
    for kind in ("word", "sentences", "char", "byte", "bpe"):
        model = trained(kind)
        trace, found = trace_text(model, room / "test.txt")
        expected = evaluate(model, room / "test.txt")
        assert found.perplexity == pytest.approx(expected.perplexity, rel=1e-5)
        assert (found.tokens, found.oovs, found.regime) == (expected.tokens, expected.oovs, expected.regime)
        assert found.bits_per_character == pytest.approx(expected.bits_per_character, rel=1e-5)
        assert len(trace.tokens) == len(trace.log_probs)
        assert trace.tokens.count("</s>") == expected.sentences


def test_independent_sentences_are_not_followed(trained: Trained, room: Path) -> None:
    for adaptation in (Adaptation(dynamic=SGD), Adaptation(cache=Cache("plain"))):
        with pytest.raises(UsageError, match="running text"):
            trace_text(trained("sentences"), room / "test.txt", adaptation=adaptation)
        trace_text(trained("sentences"), room / "test.txt", regime="running", adaptation=adaptation)


def test_learning_is_in_full_precision(trained: Trained, room: Path) -> None:
    for precision in ("bf16", "int8"):
        with pytest.raises(UsageError, match="fp32"):
            trace_text(trained("word"), room / "test.txt", precision=precision, adaptation=Adaptation(SGD))


@pytest.mark.parametrize("wrong", [{"kind": "adam"}, {"alpha": -1.0}, {"segment": 0}, {"decay": 2.0}, {"epsilon": 0.0}])
def test_a_dynamic_evaluation_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        Dynamic(**wrong)


def test_rms_needs_statistics(trained: Trained, room: Path) -> None:
    with pytest.raises(UsageError, match="root mean squares"):
        read_running(trained("word"), ids_of(trained("word"), room), Adaptation(RMS_FORM))


# Tuning


@pytest.mark.parametrize("kind", ["sgd", "rms"])
def test_tuning_chooses_the_best_that_it_tried(
    kind: str, trained: Trained, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "FACTORS", (0.1, 1.0, 1e35))
    model = trained("word")
    adaptation = Adaptation(Dynamic(kind, alpha=0.001), Cache("neural", size=30))
    adaptation = with_statistics(model, adaptation, room / "test.txt")
    choice = tune_adaptation(model, adaptation, room / "test.txt")
    chosen = choice.adaptation
    alphas = {what["alpha"]: value for what, value in choice.tried if "alpha" in what}
    assert chosen.dynamic is not None and alphas[chosen.dynamic.alpha] == min(alphas.values())
    assert math.inf in alphas.values()  # what ran away was tried, and not chosen
    flatness = {what["flatness"]: value for what, value in choice.tried if "flatness" in what}
    assert chosen.cache is not None and flatness[chosen.cache.flatness] == min(flatness.values())
    _, found = trace_text(model, room / "test.txt", adaptation=chosen)
    assert found.token_perplexity == pytest.approx(min(flatness.values()), rel=1e-5)
