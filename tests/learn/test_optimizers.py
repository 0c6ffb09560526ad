"""Optimisers, clipping and schedules."""

import math

import pytest
import torch
from torch import nn

from elman.learn.optimizers import OPTIMIZERS, SGD, Adam, RMSProp, clip_gradients, square_rows
from elman.learn.schedules import SCHEDULES, warm_up
from elman.network.kernels import adam_rows_slowly
from elman.network.parts import Rows


def parameters(seed: int = 0) -> list[tuple[str, nn.Parameter]]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"encoder.U": (6, 3), "cells.0.W": (3, 3), "cells.0.bias": (3,)}
    return [(name, nn.Parameter(torch.randn(shape, generator=generator))) for name, shape in shapes.items()]


def set_gradients(weights: list[tuple[str, nn.Parameter]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _, weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)


def test_sgd_is_the_update_of_the_equations() -> None:
    weights = parameters()
    before = {name: weight.detach().clone() for name, weight in weights}
    set_gradients(weights, 1)
    gradients = {name: weight.grad.clone() for name, weight in weights}
    SGD(weights, beta=0.01, rates={"W": 0.1}).step(0.5)
    for name, weight in weights:
        alpha = 0.05 if name == "cells.0.W" else 0.5
        beta = 0.0 if name == "cells.0.bias" else 0.01
        torch.testing.assert_close(weight.detach(), (1 - beta) * before[name] - alpha * gradients[name])
        assert weight.grad is None


def sparse_gradient(rows: list[int], seed: int) -> torch.Tensor:
    values = torch.randn(len(rows), 3, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor(torch.tensor([rows]), values, (6, 3), check_invariants=False)


def test_a_sparse_gradient_moves_sgd_as_its_dense_twin() -> None:
    results = []
    for sparse in (True, False):
        (key, weight), *_ = parameters()
        gradient = sparse_gradient([1, 4, 1], 3)
        weight.grad = gradient if sparse else gradient.to_dense()
        optimizer = SGD([(key, weight)], beta=0.1)
        optimizer.step(0.5)
        optimizer.settle()
        results.append(weight.detach())
    torch.testing.assert_close(*results)


def test_adam_moves_only_the_rows_that_a_window_touched_and_shrinks_all() -> None:
    """Against the equations row by row; n counts all updates, the moments only those of the row."""
    (key, weight), *_ = parameters()
    expected = weight.detach().double().clone()
    first, second = torch.zeros(6, 3, dtype=torch.float64), torch.zeros(6, 3, dtype=torch.float64)
    optimizer = Adam([(key, weight)], beta=0.1)
    for n, rows in enumerate([[1, 4, 1], [2], [4, 1], [1]], start=1):
        weight.grad = sparse_gradient(rows, n)
        gradient = weight.grad.to_dense().double()
        optimizer.shrinking = 0.1 / n  # a beta that falls
        optimizer.step(0.05)
        expected *= 1 - 0.1 / n
        for row in set(rows):
            first[row] = 0.9 * first[row] + 0.1 * gradient[row]
            second[row] = 0.999 * second[row] + 0.001 * gradient[row] ** 2
            change = first[row] / (1 - 0.9**n) / ((second[row] / (1 - 0.999**n)).sqrt() + 1e-8)
            expected[row] -= 0.05 * change
    optimizer.settle()
    torch.testing.assert_close(weight.detach(), expected.float())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rows_of_v_move_where_v_lies_row_by_row(name: str) -> None:
    """V, (H, D), in memory symbol by symbol, with gradients of some symbols; against U with the same ones."""
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(6, 3, generator=generator)
    V, U = nn.Parameter(start.clone().t()), nn.Parameter(start.clone())
    for_v, for_u = OPTIMIZERS[name]([("output.V", V)], beta=0.1), OPTIMIZERS[name]([("encoder.U", U)], beta=0.1)
    for step in range(5):
        ids = torch.tensor([[1, 4], [0, 4], [5, 1], [2, 3], [4, 1]][step])
        for optimizer, weight in ((for_v, "output.V"), (for_u, "encoder.U")):
            optimizer.before_reading(weight, ids)
        values = torch.randn(2, 3, generator=generator)
        V.parts = Rows(ids, values)
        U.grad = torch.sparse_coo_tensor(ids.unsqueeze(0), values, (6, 3), check_invariants=False)
        for_v.step(0.1)
        for_u.step(0.1)
    dense = torch.randn(6, 3, generator=generator)
    V.grad, U.grad = dense.t(), dense
    for optimizer in (for_v, for_u):
        optimizer.step(0.1)
        optimizer.settle()
    torch.testing.assert_close(V.detach().t(), U.detach())
    assert (U.detach() - start).abs().min() > 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_state_bit_for_bit(name: str) -> None:
    runs = []
    for stop in (None, 3):
        weights = parameters()
        optimizer = OPTIMIZERS[name](weights, beta=1e-3)
        for step in range(6):
            if step == stop:
                saved = {key: value.clone() for key, value in optimizer.state().items()}
                optimizer = OPTIMIZERS[name](weights, beta=1e-3)
                optimizer.load_state(saved)
            set_gradients(weights, step)
            optimizer.step(0.01)
        runs.append([weight.detach().clone() for _, weight in weights])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_rows_that_are_not_touched_shrink_late_and_by_as_much() -> None:
    """Ten updates of three rows each, against the dense rule; a row is read before it is moved, as in training."""
    late, dense = parameters()[:1], parameters()[:1]
    optimizer, plain = SGD(late, beta=0.1), SGD(dense, beta=0.1)
    generator = torch.Generator().manual_seed(6)
    for _ in range(10):
        rows = torch.randint(0, 6, (1, 3), generator=generator)
        gradient = torch.sparse_coo_tensor(rows, torch.randn(3, 3, generator=generator), (6, 3), check_invariants=False)
        optimizer.before_reading("encoder.U", rows[0])
        torch.testing.assert_close(late[0][1][rows[0]], dense[0][1][rows[0]])
        late[0][1].grad, dense[0][1].grad = gradient, gradient.to_dense()
        optimizer.step(0.5)
        plain.step(0.5)
    assert not torch.allclose(late[0][1], dense[0][1])
    optimizer.settle()
    torch.testing.assert_close(late[0][1].detach(), dense[0][1].detach())


def test_adam_is_that_of_torch() -> None:
    mine, theirs = parameters(), parameters()
    optimizer = Adam(mine)
    plain = torch.optim.Adam([weight for _, weight in theirs], lr=0.01, foreach=False, fused=False)
    for step in range(5):
        set_gradients(mine, step)
        set_gradients(theirs, step)
        optimizer.step(0.01)
        plain.step()
    for (_, a), (_, b) in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("rule", ["rmsprop", "adam"])
def test_rmsprop_and_adam_without_a_mean_are_adam_of_torch_with_beta1_zero(rule: str) -> None:
    mine, theirs = parameters(), parameters()
    optimizer = OPTIMIZERS[rule](mine, moments=(0.0, 0.99))
    plain = torch.optim.Adam([w for _, w in theirs], lr=0.01, betas=(0.0, 0.99), foreach=False, fused=False)
    for step in range(5):
        set_gradients(mine, step)
        set_gradients(theirs, step)
        optimizer.step(0.01)
        plain.step()
    for (_, a), (_, b) in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert {name.split(".")[-1] for name in optimizer.state()} == {"steps", "shrunk", "second"}


@pytest.mark.parametrize("picked", [None, [4, 0, 2999]])
def test_a_first_moment_that_is_thrown_away_changes_nothing(picked: list[int] | None) -> None:
    """Against the slow step of Adam with a stored first moment, over more numbers than one piece holds."""
    generator = torch.Generator().manual_seed(1)
    weight, second = torch.randn(3000, 40, generator=generator), torch.rand(3000, 40, generator=generator)
    rows = None if picked is None else torch.tensor(picked)
    gradient = torch.randn(3000 if rows is None else 3, 40, generator=generator)
    twin, squares = weight.clone(), second.clone()
    given = {"step": 3, "alpha": 0.1, "betas": (0.0, 0.9), "epsilon": 1e-8, "keep": 0.99}
    square_rows(weight, second, gradient, rows, **given)
    adam_rows_slowly(twin, torch.zeros_like(twin), squares, gradient, rows, **given)
    torch.testing.assert_close(weight, twin)
    torch.testing.assert_close(second, squares)


def test_rmsprop_moves_only_the_rows_that_a_window_touched() -> None:
    (key, weight), *_ = parameters()
    before = weight.detach().clone()
    weight.grad = sparse_gradient([1, 4, 1], 3)
    RMSProp([(key, weight)], beta=0.1).step(0.05)
    still = torch.tensor([0, 2, 3, 5])
    assert torch.equal(weight.detach()[still], before[still])
    # the first step of Adam moves by alpha, whatever the gradient
    moved = (weight.detach() - 0.9 * before)[[1, 4]].abs()
    torch.testing.assert_close(moved, torch.full((2, 3), 0.05), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rule", ["adam", "rmsprop"])
def test_weights_that_follow_sgd_do_so_beside_another_rule(rule: str) -> None:
    both, alone = parameters(), parameters()
    optimizer = OPTIMIZERS[rule](both, beta=0.1, plain={"encoder.U"})
    sgd = SGD(alone[:1], beta=0.1)
    others = OPTIMIZERS[rule](alone[1:], beta=0.1)
    for seed in range(3):
        set_gradients(both, seed)
        set_gradients(alone, seed)
        if seed == 1:
            both[0][1].grad = sparse_gradient([1, 4, 1], 3)
            alone[0][1].grad = sparse_gradient([1, 4, 1], 3)
        for one in (optimizer, sgd, others):
            one.step(0.5)
    optimizer.settle()
    sgd.settle()
    for (name, one), (_, other) in zip(both, alone, strict=True):
        torch.testing.assert_close(one, other, msg=name)
    assert "encoder.U" not in optimizer.moments


def test_clipping_scales_all_gradients_to_the_limit_together() -> None:
    weights = parameters()
    set_gradients(weights, 4)
    rows = torch.tensor([[0, 2, 0]])
    weights[0][1].grad = torch.sparse_coo_tensor(rows, torch.ones(3, 3), (6, 3), check_invariants=False)
    dense = [weight.grad.to_dense().clone() for _, weight in weights]
    norm = math.sqrt(sum(float((g**2).sum()) for g in dense))
    assert clip_gradients([weight for _, weight in weights], 0.5) == pytest.approx(norm)
    for (_, weight), before in zip(weights, dense, strict=True):
        parts = vars(weight).get("parts")
        after = weight.grad if parts is None else torch.zeros(6, 3).index_copy(0, *parts)
        torch.testing.assert_close(after, before * 0.5 / norm)
    assert clip_gradients([weight for _, weight in weights], 1.0) == pytest.approx(0.5)


def test_halve_starts_at_the_first_small_step_and_stops_at_the_second() -> None:
    schedule = SCHEDULES["halve"]()
    factors, stops = [], []
    for entropy in (6.0, 5.5, 5.49, 5.3, 5.2, 5.195):
        factors.append(schedule.factor(0.5))
        stops.append(schedule.after_epoch(entropy))
    assert factors == [1, 1, 1, 0.5, 0.25, 0.125]
    assert stops == [False, False, False, False, False, True]


def test_linear_and_cosine_fall_from_one_to_zero() -> None:
    for name in ("linear", "cosine"):
        schedule = SCHEDULES[name]()
        values = [schedule.factor(share / 10) for share in range(11)]
        assert values == sorted(values, reverse=True)
        assert (values[0], values[5], values[10]) == pytest.approx((1.0, 0.5, 0.0))


def test_plateau_divides_alpha_when_patience_runs_out_and_stops_at_the_second_time() -> None:
    schedule = SCHEDULES["plateau"](patience=2, decay=4)
    factors, stops = [], []
    for entropy in (6.0, 6.1, 6.2, 5.0, 5.5, 5.6, 5.7, 5.8):
        stops.append(schedule.after_epoch(entropy))
        factors.append(schedule.factor(0.5))
    assert factors == [1, 1, 0.25, 0.25, 0.25, 0.0625, 0.0625, 0.0625]
    assert stops == [False] * 7 + [True]


def test_warm_up_rises_in_a_line_and_then_leaves_alpha_alone() -> None:
    assert [warm_up(update, 4) for update in range(1, 7)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert [warm_up(update, 0) for update in (1, 2)] == [1, 1]


@pytest.mark.parametrize("name", ["constant", "linear", "cosine"])
def test_patience_runs_out_after_epochs_without_a_better_one(name: str) -> None:
    schedule = SCHEDULES[name](patience=2)
    stops = [schedule.after_epoch(entropy) for entropy in (5.0, 5.1, 4.9, 4.95, 4.9)]
    assert stops == [False, False, False, False, True]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_from_its_state(name: str) -> None:
    first, second = SCHEDULES[name](), SCHEDULES[name]()
    for entropy in (6.0, 5.99, 5.5):
        first.after_epoch(entropy)
    for key, value in first.state().items():
        setattr(second, key, value)
    assert first == second
    assert first.after_epoch(5.49) == second.after_epoch(5.49)
