"""What words did to predictions, for every cell, encoder and output: beside finite differences and a net run again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from elman.apply.explain import Explanation, explain
from elman.apply.unrolled import in_float64
from elman.network.cells import CELLS
from elman.network.folder import Model
from elman.network.model import RecurrentNetwork

Drawn = Callable[..., Model]
TEXT = "the cat sees a dog"
SHAPES: dict[str, dict[str, object]] = {
    **{name: {"cell": name, "layers": 2, "bias": True, "embedding": 5, "context": 3} for name in CELLS},
    **{f"elman {f}": {"activation": f} for f in ("sigmoid", "tanh", "relu")},
    "tied": {"tied": True, "layers": 2, "last_hidden": 5, "embedding": 4},
    "zoneout": {"zoneout": 0.2, "cell": "lstm"},
    "first state": {"first_state": 1.0},
    "sampled": {"output": "sampled", "activation": "tanh"},
    "class": {"output": "class", "activation": "tanh", "classes": 3},
    "adaptive": {"output": "adaptive", "activation": "tanh"},
    "n-grams": {"encoder": "n-gram", "ngrams": [2, 3]},
    "direct": {"direct": 3},
    "class direct": {"output": "class", "classes": 3, "direct": 3},
    "n-grams and direct": {"encoder": "n-gram", "direct": 4, "cell": "gru"},
}
shapes = pytest.mark.parametrize("name", SHAPES)


def log_prob(
    network: RecurrentNetwork, symbols: Sequence[int], target: int, *, scaled: int | None = None, by: float = 0.0
) -> float:
    """log y[target] after symbols, with the vector of one of them made longer by a share."""
    place = 0

    def longer(_: object, __: object, x: Tensor) -> Tensor:
        nonlocal place
        place += 1
        return x * (1 + by) if place - 1 == scaled else x

    hook = network.encoder.register_forward_hook(longer)
    state = network.initial_state(1)
    for symbol in symbols:
        state, log_y = network.step(state, torch.tensor([symbol]))
    hook.remove()
    return float(log_y[0, target])


def read(model: Model) -> tuple[RecurrentNetwork, list[int], Explanation]:
    tokenizer = model.tokenizer
    return in_float64(model.network), [tokenizer.end_id, *tokenizer.encode(TEXT)], explain(model, TEXT)


@shapes
def test_gradient_times_input_is_what_finite_differences_say(drawn: Drawn, name: str) -> None:
    model = drawn(**SHAPES[name])
    network, ids, found = read(model)
    small, some = 1e-5, 0.0
    for why in found.why:
        target = model.tokenizer.id(why.target)
        assert why.log_prob == pytest.approx(log_prob(network, ids[: why.t], target), abs=1e-9)
        for word in why.words:
            ends = [log_prob(network, ids[: why.t], target, scaled=word.t - 1, by=by) for by in (small, -small)]
            assert word.gradient_x_input == pytest.approx((ends[0] - ends[1]) / (2 * small), abs=1e-7)
            some = max(some, abs(word.gradient_x_input))
    assert some > 1e-3


@shapes
def test_leave_one_out_is_the_net_run_again_without_the_word(drawn: Drawn, name: str) -> None:
    model = drawn(**SHAPES[name])
    network, ids, found = read(model)
    for why in found.why:
        target = model.tokenizer.id(why.target)
        for word in why.words:
            rest = ids[: word.t - 1] + ids[word.t : why.t]
            if not rest:
                assert word.leave_one_out is None
                continue
            expected = log_prob(network, ids[: why.t], target) - log_prob(network, rest, target)
            assert word.leave_one_out == pytest.approx(expected, abs=1e-9)


@shapes
def test_the_error_of_a_state_is_what_finite_differences_say(drawn: Drawn, name: str) -> None:
    """A state pushed along its gradient changes E by the norm of that gradient: of all parts of the last layer."""
    model = drawn(**SHAPES[name])
    network, ids, found = read(model)
    why = found.why_at
    target = model.tokenizer.id(why.target)
    before = network.initial_state(1)
    for symbol in ids[: why.t - 2]:
        before, _ = network.step(before, torch.tensor([symbol]))
    last = len(network.cells) - 1

    def after(pushed: Tensor) -> Tensor:
        state = (*before[:last], pushed, *before[last + 1 :])
        for symbol in ids[why.t - 2 : why.t]:
            state, above = network.advance(state, torch.tensor([symbol]))
        return network.output.log_probs(above, network.encoder.U)[0, target]

    numeric = torch.zeros_like(before[last])
    for i in range(numeric.shape[1]):
        push = torch.zeros_like(numeric)
        push[0, i] = 1e-6
        numeric[0, i] = (after(before[last] + push) - after(before[last] - push)) / 2e-6
    mine = [errors.state_norms[2] ** 2 for errors in why.errors if errors.layer == last + 1]
    assert sum(mine) ** 0.5 == pytest.approx(float(numeric.norm()), abs=1e-6)


def test_a_net_that_reads_by_bert_is_explained_too(drawn: Drawn, tiny_bert: Callable[..., Path]) -> None:
    model = drawn(encoder="bert", bert=str(tiny_bert()), bert_size=8, bert_window=3)
    network, ids, found = read(model)
    assert any("BERT" in note for note in found.notes)
    why = found.why_at
    target = model.tokenizer.id(why.target)
    assert why.log_prob == pytest.approx(log_prob(network, ids[: why.t], target), abs=1e-6)
