"""Direct connections: every fast path against the slow obvious one."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.config import NetworkSettings
from elman.errors import ModelError, UsageError
from elman.network import feature_kernels, kernels
from elman.network.direct import Direct
from elman.network.folder import load_weights, save_weights
from elman.network.history import NOTHING
from elman.network.model import RecurrentNetwork
from elman.network.sampled import SampledSoftmax

D, H, T, B, ORDER = 400, 6, 7, 3, 3
SMALL = 4


def words(seed: int, count: int, size: int = D) -> np.ndarray:
    """Words of which few are frequent, so that n-grams come again."""
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(0.05, count) - 1, size - 1).astype(np.int64)


def away_from_zero(network: RecurrentNetwork) -> RecurrentNetwork:
    """The network, with every weight drawn anew."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
    return network


def make(output: str = "full", *, size: int = D, dtype: torch.dtype = torch.float64, order: int = ORDER, **shape):
    """A network whose direct connections know a text of 3,000 words, every weight away from zero."""
    settings = NetworkSettings(hidden=H, output=output, direct=order, **shape)
    network = RecurrentNetwork(size, settings)
    network.output.direct.learn(words(1, 3000, size))
    return away_from_zero(network.to(dtype))


def window(seed: int = 3, size: int = D) -> tuple[torch.Tensor, torch.Tensor]:
    text = torch.from_numpy(words(seed, (T + 1) * B, size).reshape(T + 1, B))
    return text[:-1], text[1:]


def by_hand(network: RecurrentNetwork, ids: np.ndarray, symbols: torch.Tensor) -> torch.Tensor:
    """What n-grams add, from dictionaries of the features of a text."""
    direct, total = network.output.direct, torch.zeros(T, B, D, dtype=torch.float64)
    seen = defaultdict(set)
    for m in range(1, direct.order):
        for i in range(len(ids) - m):
            seen[tuple(ids[i : i + m])].add(int(ids[i + m]))
    number, weight = {}, iter(direct.weight.detach()[:, 0])
    for m in range(1, direct.order):
        ordered = sorted(
            (c for c in seen if len(c) == m), key=lambda c: sum(s * (D + 1) ** k for k, s in enumerate(c[::-1]))
        )
        for context in ordered:
            for word in sorted(seen[context]):
                number[context, word] = next(weight)
    assert next(weight, None) is None
    for t in range(T):
        for b in range(B):
            for m in range(1, min(direct.order, t + 2)):
                context = tuple(symbols[t - m + 1 : t + 1, b].tolist())
                for word in seen.get(context, ()):
                    total[t, b, word] += number[context, word]
    return total


def test_the_n_grams_of_the_training_text_own_a_weight_and_add_it_to_the_logits() -> None:
    network, (symbols, _) = make(), window()
    _, above = network.unroll(network.initial_state(B), symbols)
    states, found = network.output.parted(above)
    assert states.shape[-1] == H
    added = network.output.direct(found).view(T, B, D)
    torch.testing.assert_close(added, by_hand(network, words(1, 3000), symbols))
    plain = states @ network.output.V
    torch.testing.assert_close(network.output.logits(above, network.encoder.U), plain + added)


@pytest.mark.parametrize("shape", [{}, {"bias": True}, {"tied": True}, {"encoder": "n-gram", "layers": 2}])
@pytest.mark.parametrize("size", [D, SMALL])
def test_the_fused_loss_and_its_gradients_are_those_of_autograd(shape: dict, size: int) -> None:
    fast, slow = make(size=size, **shape), make(size=size, **shape)
    symbols, targets = window(size=size)
    assert fast.output.direct.dense == (size == SMALL)
    _, loss = fast.loss(fast.initial_state(B), symbols, targets)
    loss.backward()
    parts = vars(fast.output.direct.weight).pop("parts")
    _, above = slow.unroll(slow.initial_state(B), symbols)
    weights = torch.full((T * B,), 1 / B, dtype=torch.float64)
    expected = slow.output.slow_loss(above.reshape(T * B, -1), targets.reshape(-1), weights, slow.encoder.U)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    gradient = torch.zeros_like(fast.output.direct.weight)
    gradient[parts.ids] = parts.values
    assert len(torch.unique(parts.ids)) == len(parts.ids)
    torch.testing.assert_close(gradient, slow.output.direct.weight.grad)
    for (name, one), other in zip(fast.named_parameters(), slow.parameters(), strict=True):
        if name != "output.direct.weight":
            torch.testing.assert_close(one.grad, other.grad)


def test_the_loss_in_chunks_joins_the_gradient_of_all_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = make(), make()
    symbols, targets = window()
    whole.loss(whole.initial_state(B), symbols, targets)[1].backward()
    monkeypatch.setattr("elman.network.softmax.chunk_rows", lambda V: 4)
    cut.loss(cut.initial_state(B), symbols, targets)[1].backward()
    one, other = (vars(net.output.direct.weight)["parts"] for net in (whole, cut))
    assert torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.values, other.values)


def test_a_sample_that_holds_every_symbol_is_the_full_softmax() -> None:
    full, sampled = make("full"), make("sampled")
    layer = sampled.output
    assert isinstance(layer, SampledSoftmax)
    layer.prepare(torch.ones(D))
    with torch.no_grad():
        layer.V.copy_(full.output.V)
    everything = (torch.arange(D), None, torch.zeros(D, dtype=torch.float64))
    symbols, targets = window()
    layer.draw = lambda targets, generator: (everything[0], targets, everything[2])
    losses = []
    for network in (full, sampled):
        _, loss = network.loss(network.initial_state(B), symbols, targets)
        loss.backward()
        losses.append(loss)
    torch.testing.assert_close(*losses)
    one, other = (vars(net.output.direct.weight)["parts"] for net in (full, sampled))
    assert torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.values, other.values)
    torch.testing.assert_close(full.cells[0].W.grad, sampled.cells[0].W.grad)


def test_a_sample_moves_only_the_features_of_its_symbols() -> None:
    network, (symbols, targets) = make("sampled"), window()
    layer = network.output
    layer.prepare(torch.ones(D))
    layer.negatives = 20
    network.loss(network.initial_state(B), symbols, targets, generator=torch.Generator().manual_seed(1))[1].backward()
    parts = vars(layer.direct.weight)["parts"]
    sample = layer.draw(targets.reshape(-1), torch.Generator().manual_seed(1))[0]
    moved = layer.direct.successors[parts.ids[parts.values[:, 0] != 0]].long()
    assert len(moved)
    assert torch.isin(moved, sample).all()


@pytest.mark.skipif(not kernels.available(), reason="no compiled loops here")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_the_compiled_loops_do_what_their_twins_do(dtype: torch.dtype, some: bool, grouped: bool) -> None:
    direct = make(dtype=torch.float32).output.direct
    rng = torch.Generator().manual_seed(4)
    contexts = torch.from_numpy(words(5, 200).reshape(100, 2))
    contexts[3, 0] = NOTHING
    found = direct.find(contexts)
    assert (found[3] == NOTHING).tolist() == [False, True]
    columns = torch.randperm(D, generator=rng)[:90] if some else None
    groups = torch.arange(D) % 7 if grouped else None
    own = torch.arange(100) % 7 if grouped else None
    features = direct.features(columns)._replace(groups=groups, own=own)
    logits = torch.randn(100, 90 if some else D, generator=rng).to(dtype)
    fast, slow = logits.clone(), logits.clone()
    feature_kernels.add_features(fast, direct.weight.detach()[:, 0], found, features)
    feature_kernels.add_features_slowly(slow, direct.weight.detach()[:, 0], found, features)
    assert not torch.equal(fast, logits)
    torch.testing.assert_close(fast, slow, rtol=2e-2, atol=2e-2 if dtype is torch.bfloat16 else 1e-6)
    there = found != NOTHING
    used, inverse = torch.unique(found[there], return_inverse=True)
    which = torch.full_like(found, NOTHING)
    which[there] = inverse
    values = feature_kernels.feature_errors(fast, found, used, which, features, dtype=torch.float32)
    counts = direct.starts[used + 1] - direct.starts[used]
    begins = counts.cumsum(0) - counts
    again = feature_kernels.feature_errors_slowly(fast, torch.zeros_like(values), found, which, begins, features)
    assert values.any()
    torch.testing.assert_close(values, again)


def test_chunks_steps_and_batches_agree_and_probabilities_sum_to_one() -> None:
    network, (symbols, targets) = make(order=4), window()
    state, whole = network.target_log_probs(network.initial_state(B), symbols, targets)
    middle, first = network.target_log_probs(network.initial_state(B), symbols[:3], targets[:3])
    end, second = network.target_log_probs(middle, symbols[3:], targets[3:])
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, state)
    state = network.initial_state(B)
    for t in range(T):
        state, log_probs = network.step(state, symbols[t])
        torch.testing.assert_close(log_probs.gather(1, targets[t].unsqueeze(1)).squeeze(1), whole[t])
        torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(B, dtype=torch.float64))


@pytest.mark.parametrize(("size", "dtype"), [(D, torch.float32), (D, torch.float64), (SMALL, torch.float32)])
def test_without_gradients_the_logits_are_those_that_autograd_follows(size: int, dtype: torch.dtype) -> None:
    network = make(size=size, dtype=dtype, bias=True)
    symbols, _ = window(size=size)
    _, above = network.unroll(network.initial_state(B), symbols)
    followed = network.output.logits(above, network.encoder.U)
    with torch.no_grad():
        fast = network.output.logits(above, network.encoder.U)
    assert followed.requires_grad and not fast.requires_grad
    torch.testing.assert_close(fast, followed.detach(), rtol=1e-5, atol=1e-5)
    without = above[..., : -network.context] @ network.output.matrix(network.encoder.U) + network.output.bias
    assert not torch.allclose(fast, without.detach(), atol=1e-2)


def test_independent_sentences_have_no_n_gram_across_their_boundary() -> None:
    ids = np.array([0, 5, 6, 0, 7, 0])
    running, apart = Direct(D, 3), Direct(D, 3)
    running.learn(ids)
    apart.learn(ids, boundary=0)
    # running: 0-5 0-7 5-6 6-0 7-0, 05-6 56-0 60-7 07-0; apart: the same without 60-7
    assert len(running.weight) == 9
    assert len(apart.weight) == 8


def test_a_saved_model_has_the_n_grams_that_it_learnt(tmp_path: Path) -> None:
    network = make(dtype=torch.float32)
    save_weights(tmp_path, network)
    again = RecurrentNetwork(D, network.settings)
    load_weights(again, tmp_path / "model.safetensors")
    symbols, targets = window()
    one, other = (net.target_log_probs(net.initial_state(B), symbols, targets)[1] for net in (network, again))
    assert torch.equal(one, other)


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    network = make(dtype=torch.float32)
    network.output.direct.successors[7] = D
    save_weights(tmp_path, network)
    with pytest.raises(ModelError, match="do not fit"):
        load_weights(RecurrentNetwork(D, network.settings), tmp_path / "model.safetensors")


def test_an_output_that_knows_no_direct_connections_says_so() -> None:
    with pytest.raises(UsageError, match="'adaptive' cannot be had"):
        RecurrentNetwork(D, NetworkSettings(output="adaptive", direct=3))


def with_classes(dtype: torch.dtype = torch.float64, hidden: int = H) -> RecurrentNetwork:
    network = RecurrentNetwork(D, NetworkSettings(hidden=hidden, output="class", direct=ORDER, classes=12))
    ids = words(1, 3000)
    network.output.direct.learn(ids)
    network.output.prepare(torch.from_numpy(np.bincount(ids, minlength=D)))
    return away_from_zero(network.to(dtype))


def test_by_classes_each_context_has_a_weight_for_every_class_that_came_after_it() -> None:
    direct, class_of = with_classes().output.direct, with_classes().output.class_of
    seen = {}
    for c in range(len(direct.keys)):
        after = direct.successors[direct.starts[c] : direct.starts[c + 1]].long()
        seen[c] = sorted(set(class_of[after].tolist()))
    found = [
        direct.class_successors[direct.class_starts[c] : direct.class_starts[c + 1]].tolist() for c in range(len(seen))
    ]
    assert found == list(seen.values())
    assert len(direct.class_weight) == sum(map(len, found))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_by_classes_the_loss_and_its_gradients_are_those_of_autograd(dtype: torch.dtype) -> None:
    fast, slow = with_classes(dtype, hidden=20), with_classes(dtype, hidden=20)
    symbols, targets = window()
    _, loss = fast.loss(fast.initial_state(B), symbols, targets)
    loss.backward()
    _, above = slow.unroll(slow.initial_state(B), symbols)
    above = above.reshape(T * B, -1)
    expected = slow.output.slow_loss(
        above, targets.reshape(-1), torch.full((T * B,), 1 / B, dtype=dtype), slow.encoder.U
    )
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for name in ("weight", "class_weight"):
        mine, plain = getattr(fast.output.direct, name), getattr(slow.output.direct, name)
        parts = vars(mine)["parts"]
        gradient = torch.zeros_like(mine)
        gradient[parts.ids] = parts.values
        assert gradient.any()
        torch.testing.assert_close(gradient, plain.grad)
    torch.testing.assert_close(fast.output.C.grad, slow.output.C.grad)
    torch.testing.assert_close(fast.cells[0].W.grad, slow.cells[0].W.grad)
    scores = slow.output.target_log_probs(above.detach(), targets.reshape(-1), slow.encoder.U)
    torch.testing.assert_close(-scores.sum() / B, expected.detach())
    everything = slow.output.log_probs(above.detach(), slow.encoder.U)
    torch.testing.assert_close(everything.exp().sum(1), torch.ones(T * B, dtype=dtype))


def test_by_classes_a_saved_model_has_what_it_learnt(tmp_path: Path) -> None:
    network = with_classes(torch.float32)
    save_weights(tmp_path, network)
    again = RecurrentNetwork(D, network.settings)
    load_weights(again, tmp_path / "model.safetensors")
    symbols, targets = window()
    one, other = (net.target_log_probs(net.initial_state(B), symbols, targets)[1] for net in (network, again))
    assert torch.equal(one, other)
