"""The compiled loops against their twins in PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.network import kernels, step_kernels
from elman.network.activations import ACTIVATIONS

compiled = pytest.mark.skipif(not kernels.available(), reason="elman was installed without a C compiler")


@compiled
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 5),
    columns=st.integers(1, 70),
    spread=st.sampled_from([0.1, 5.0, 60.0]),
    bf16=st.booleans(),
    with_offset=st.booleans(),
    with_target=st.booleans(),
    with_weights=st.booleans(),
)
def test_softmax_error_is_its_twin(
    seed: int,
    rows: int,
    columns: int,
    spread: float,
    bf16: bool,
    with_offset: bool,
    with_target: bool,
    with_weights: bool,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randn(rows, columns + 3, generator=generator).mul(spread)
    logits = whole.to(torch.bfloat16 if bf16 else torch.float32)[:, :columns]  # rows that do not touch
    targets = torch.randint(0, columns, (rows,), generator=generator)
    offset = torch.rand(columns, generator=generator) if with_offset else None
    weights = torch.rand(rows, generator=generator) if with_weights else None
    expected = logits.clone()
    options = {"offset": offset, "with_target": with_target, "weights": weights}
    expected_probs = kernels.softmax_error_slowly(expected, targets, **options)
    before = logits.clone()
    assert torch.equal(
        kernels.softmax_error(logits, targets, want_error=False, **options),
        kernels.softmax_error(logits.clone(), targets, **options),
    )
    assert torch.equal(logits, before)
    log_probs = kernels.softmax_error(logits, targets, **options)
    torch.testing.assert_close(log_probs, expected_probs, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(logits.float(), expected.float(), rtol=8e-3 if bf16 else 1e-4, atol=2e-5)


@compiled
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), columns=st.integers(1, 700), with_offset=st.booleans())
def test_integer_log_probs_is_its_twin(seed: int, n: int, columns: int, with_offset: bool) -> None:
    torch.manual_seed(seed)
    products = torch.randint(-100_000, 100_000, (n, columns), dtype=torch.int32)
    targets, offset = torch.randint(0, columns, (n,)), torch.randn(columns) if with_offset else None
    given_to = (products, targets, torch.rand(n) * 1e-2, torch.rand(columns) * 1e-2, offset)
    found, expected = kernels.integer_log_probs(*given_to), kernels.integer_log_probs_slowly(*given_to)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


@compiled
def test_logits_that_are_no_numbers_give_a_log_probability_that_is_none() -> None:
    logits = torch.zeros(2, 40)
    logits[1, 7] = float("nan")
    log_probs = kernels.softmax_error(logits, torch.tensor([3, 3]))
    assert log_probs[0] == pytest.approx(-torch.log(torch.tensor(40.0)).item())
    assert torch.isnan(log_probs[1])


@compiled
@given(seed=st.integers(0, 10_000), n=st.integers(1, 40_000), bf16=st.booleans(), copy=st.booleans())
def test_shift_is_its_twin(seed: int, n: int, bf16: bool, copy: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, change = torch.randn(2, n, generator=generator)
    change = change.to(torch.bfloat16 if bf16 else torch.float32)
    expected, copies = weight.clone(), [torch.zeros(n, dtype=torch.bfloat16) if copy else None for _ in range(2)]
    kernels.shift(weight, change, keep=0.99, rate=-0.3, copy=copies[0])
    kernels.shift_slowly(expected, change, keep=0.99, rate=-0.3, copy=copies[1])
    torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)
    if copies[0] is not None:
        assert torch.equal(copies[0], weight.to(torch.bfloat16))


@compiled
@given(seed=st.integers(0, 10_000), width=st.integers(1, 40), shrinks=st.booleans())
def test_move_rows_is_its_twin(seed: int, width: int, shrinks: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, change = torch.randn(7, width, generator=generator), torch.randn(4, width, generator=generator)
    rows, keep = torch.randperm(7, generator=generator)[:4], torch.rand(4, generator=generator) if shrinks else None
    expected = weight.clone()
    kernels.move_rows(weight, change, rows, keep=keep, rate=-0.3)
    kernels.move_rows_slowly(expected, change, rows, keep=keep, rate=-0.3)
    torch.testing.assert_close(weight, expected, rtol=1e-5, atol=1e-6)


@compiled
@given(seed=st.integers(0, 10_000), width=st.integers(1, 40), whole=st.booleans())
def test_adam_rows_are_their_twin(seed: int, width: int, whole: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = [torch.randn(7, width, generator=generator), *torch.rand(2, 7, width, generator=generator)]
    runs = []
    for step in (kernels.adam_rows, kernels.adam_rows_slowly):
        weight, first, second = (tensor.clone() for tensor in start)
        noise = torch.Generator().manual_seed(seed)
        for n in range(1, 4):
            rows = None if whole else torch.randperm(7, generator=noise)[:4]
            gradient = torch.randn(7 if whole else 4, width, generator=noise)
            options = {"alpha": 0.1, "betas": (0.9, 0.999), "epsilon": 1e-8, "keep": 0.9}
            step(weight, first, second, gradient, rows, step=n, **options)
        runs.append((weight, first, second))
    for mine, twin in zip(*runs, strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-4, atol=1e-5)


@compiled
def test_the_number_of_threads_changes_no_bit() -> None:
    logits = torch.randn(9, 1000, generator=torch.Generator().manual_seed(1))
    targets, results = torch.arange(9), []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            errors = logits.clone()
            results.append((kernels.softmax_error(errors, targets), errors))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(results[0], result, strict=True))


def test_elman_runs_without_the_compiled_loops() -> None:
    program = (
        "import torch; from elman.network import kernels; assert not kernels.available();"
        "print(kernels.softmax_error(torch.zeros(1, 4), torch.tensor([2])).exp().item())"
    )
    environment = os.environ | {"ELMAN_KERNELS": "off"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(0.25)


@compiled
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 70_000),
    spread=st.sampled_from([0.01, 1.0, 30.0]),
    name=st.sampled_from(sorted(step_kernels.KINDS)),
    bf16=st.booleans(),
    last=st.booleans(),
)
def test_steps_of_the_recurrence_are_their_twins(
    seed: int, n: int, spread: float, name: str, bf16: bool, last: bool
) -> None:
    drive, product, error = torch.randn(3, 1, n, generator=torch.Generator().manual_seed(seed)) * spread
    product = product.to(torch.bfloat16 if bf16 else torch.float32)
    activation, results = ACTIVATIONS[name], []
    for forward, backward in (
        (step_kernels.activate, step_kernels.send_back),
        (step_kernels.activate_slowly, step_kernels.send_back_slowly),
    ):
        state, delta = torch.empty(2, 1, n)
        copies = [torch.zeros(1, n, dtype=torch.bfloat16) if bf16 else None for _ in range(2)]
        forward(drive, product, state, activation, copy=copies[0])
        backward(error, None if last else product, state, delta, activation, copy=copies[1])
        if bf16:
            assert torch.equal(copies[0], state.to(torch.bfloat16))
            assert torch.equal(copies[1], delta.to(torch.bfloat16))
        results.append((state, delta))
    for mine, twin in zip(*results, strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-5, atol=2e-6 * max(1.0, spread))


@compiled
@given(
    seed=st.integers(0, 10_000),
    batch=st.integers(1, 5),
    hidden=st.integers(1, 300),
    spread=st.sampled_from([0.01, 1.0, 10.0]),
    bf16=st.booleans(),
    last=st.booleans(),
)
def test_steps_of_the_lstm_are_their_twins(
    seed: int, batch: int, hidden: int, spread: float, bf16: bool, last: bool
) -> None:
    draw = torch.Generator().manual_seed(seed)
    drive, product = torch.randn(2, batch, 4 * hidden, generator=draw) * spread
    before, error, arriving, later = torch.randn(4, batch, hidden, generator=draw) * spread
    kind = torch.bfloat16 if bf16 else torch.float32
    results = []
    for forward, backward in (
        (step_kernels.lstm_step, step_kernels.lstm_back),
        (step_kernels.lstm_step_slowly, step_kernels.lstm_back_slowly),
    ):
        gates, delta = torch.empty(2, batch, 4 * hidden)
        memory, curve, state, after = torch.empty(4, batch, hidden)
        after.copy_(later)
        copies = [torch.zeros(x.shape, dtype=kind) if bf16 else None for x in (state, delta)]
        forward(drive, product.to(kind), before, gates, memory, curve, state, copy=copies[0])
        back = None if last else arriving.to(kind)
        backward(error, back, gates, before, curve, after, delta, copy=copies[1])
        if bf16:
            assert torch.equal(copies[0], state.to(kind))
            assert torch.equal(copies[1], delta.to(kind))
        results.append((gates, memory, curve, state, delta, after))
    for mine, twin in zip(*results, strict=True):
        torch.testing.assert_close(mine, twin, rtol=1e-5, atol=5e-6 * max(1.0, spread**2))


def test_every_activation_has_a_compiled_step() -> None:
    assert set(step_kernels.KINDS) == set(ACTIVATIONS)


@compiled
@pytest.mark.parametrize("name", sorted(step_kernels.KINDS))
def test_a_state_that_is_no_number_stays_one(name: str) -> None:
    drive, product, state = torch.zeros(1, 40), torch.zeros(1, 40), torch.empty(1, 40)
    drive[0, 3], product[0, 20] = float("nan"), float("nan")
    step_kernels.activate(drive, product, state, ACTIVATIONS[name])
    assert torch.isnan(state).nonzero()[:, 1].tolist() == [3, 20]
