"""Every cell of the table: its fast form does what its step does, and its gradients are those of its equations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.network.cell import Cell
from elman.network.cells import CELLS, find_cell
from elman.network.gated import GRU, LSTM
from elman.network.minimal import scan, scan_slowly
from elman.network.model import RecurrentNetwork

names = pytest.mark.parametrize("name", CELLS)


def cell_of(name: str, below: int = 5, hidden: int = 4, **more: object) -> Cell:
    settings = NetworkSettings.model_validate({"hidden": hidden, "activation": "tanh", "bias": True, **more})
    cell = CELLS[name](below, hidden, settings).double()
    draw = torch.Generator().manual_seed(3)
    for weight in cell.parameters():
        weight.data.uniform_(-0.7, 0.7, generator=draw)
    return cell


def window_of(cell: Cell, length: int = 6, batch: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(4)
    state = torch.randn(batch, cell.state_size, generator=draw, dtype=torch.float64)
    drive = torch.randn(length, batch, cell.drive_size, generator=draw, dtype=torch.float64)
    return state.requires_grad_(), drive.requires_grad_()


def gradients(cell: Cell, unroll: object, state: Tensor, drive: Tensor) -> list[Tensor]:
    after, above = unroll(state, drive)  # type: ignore[operator]
    weights = torch.linspace(-1, 1, above.numel(), dtype=above.dtype).view_as(above)
    loss = (above * weights).sum() + (after**2).sum()
    return list(torch.autograd.grad(loss, [state, drive, *cell.parameters()]))


@names
def test_unroll_is_one_step_after_the_other(name: str) -> None:
    cell = cell_of(name)
    state, drive = window_of(cell)
    after, above = cell.unroll(state, drive)
    slow_after, slow_above = Cell.unroll(cell, state, drive)
    assert after.shape == (3, cell.state_size) and above.shape == (6, 3, cell.output_size)
    torch.testing.assert_close(after, slow_after)
    torch.testing.assert_close(above, slow_above)
    slow = gradients(cell, lambda s, d: Cell.unroll(cell, s, d), state, drive)
    for fast, expected in zip(gradients(cell, cell.unroll, state, drive), slow, strict=True):
        torch.testing.assert_close(fast, expected)
        assert expected.abs().max() > 0


@names
def test_gradients_of_the_steps_are_those_of_the_equations(name: str) -> None:
    cell = cell_of(name)
    state, drive = window_of(cell, length=3, batch=2)
    assert torch.autograd.gradcheck(lambda s, d: Cell.unroll(cell, s, d), (state, drive))


@names
def test_two_windows_equal_one(name: str) -> None:
    cell = cell_of(name)
    state, drive = window_of(cell)
    after, above = cell.unroll(state, drive)
    middle, first = cell.unroll(state, drive[:2])
    last, second = cell.unroll(middle, drive[2:])
    torch.testing.assert_close(last, after)
    torch.testing.assert_close(torch.cat([first, second]), above)


@names
def test_a_network_of_the_cell_steps_as_it_unrolls_in_any_shape(name: str) -> None:
    shapes = [{}, {"layers": 3, "last_hidden": 7}, {"embedding": 9}, {"tied": True, "embedding": 9, "layers": 2}]
    for shape in [*shapes, {"zoneout": 0.3, "layers": 2}]:
        settings = NetworkSettings.model_validate(
            {"cell": name, "hidden": 6, "context": 3, "activation": "tanh", **shape}
        )
        network = RecurrentNetwork(11, settings).double()
        network.initialize(torch.Generator().manual_seed(1))
        symbols = torch.randint(11, (5, 2), generator=torch.Generator().manual_seed(2))
        state = network.initial_state(2)
        after, above = network.unroll(state, symbols)
        assert above.shape == (5, 2, network.top_size)
        for t, row in enumerate(symbols):
            state, log_y = network.step(state, row)
            torch.testing.assert_close(log_y, network.output.log_probs(above[t], network.encoder.U))
            torch.testing.assert_close(log_y.exp().sum(1), torch.ones(2, dtype=torch.float64))
        for mine, theirs in zip(state, after, strict=True):
            torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_pytorch_own_modules_with_the_same_weights_give_the_same(kind: type[GRU] | type[LSTM]) -> None:
    name = kind.__name__.lower()
    cell = cell_of(name)
    theirs = (nn.GRU if kind is GRU else nn.LSTM)(5, 4).double()
    theirs.load_state_dict({f"{key}_l0": weight for key, weight in cell.state_dict().items()})
    state, drive = window_of(cell)
    before = tuple(part.unsqueeze(0) for part in state.chunk(state.shape[1] // 4, dim=1))
    expected, _ = theirs(drive, before[0] if kind is GRU else before)
    torch.testing.assert_close(cell.unroll(state, drive)[1], expected)
    torch.testing.assert_close(Cell.unroll(cell, state, drive)[1], expected)


@pytest.mark.parametrize("name", ["elman", "gru", "lstm", "scrn", "min-gru", "min-lstm"])
def test_products_in_bf16_come_near(name: str) -> None:
    cell = cell_of(name, below=24, hidden=24).float()
    for weight in cell.parameters():
        weight.data.mul_(0.3)  # no chaos, where small differences grow
    state, drive = (part.detach().float().requires_grad_() for part in window_of(cell, length=12))
    exact = gradients(cell, cell.unroll, state, drive)
    rough = gradients(cell, lambda s, d: cell.unroll(s, d, torch.bfloat16), state, drive)
    for one, other in zip(rough, exact, strict=True):
        assert 0 < (one - other).norm() < 0.05 * other.norm()


def test_the_window_of_the_lstm_is_exact_where_products_are() -> None:
    from elman.network.gated import _LSTMWindow

    cell = cell_of("lstm")
    assert isinstance(cell, LSTM)
    above = torch.randn(5, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    hidden, memory = (torch.randn(3, 4, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(
        lambda a, h, c, w: _LSTMWindow.apply(a, h, c, w, torch.float64), (above, hidden, memory, cell.weight_hh)
    )


@given(length=st.integers(1, 20), seed=st.integers(0, 1000))
def test_the_scan_is_the_sum_step_by_step(length: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    a = torch.rand(length, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    b = torch.randn(length, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    initial = torch.randn(2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    weights = torch.randn(length, 2, 3, generator=draw, dtype=torch.float64)
    found = []
    for way in (scan, scan_slowly):
        states = way(a, b, initial)
        found.append([states.detach(), *torch.autograd.grad((states * weights).sum(), [a, b, initial])])
    for fast, slow in zip(*found, strict=True):
        torch.testing.assert_close(fast, slow)


def test_a_minimal_lstm_keeps_or_takes() -> None:
    """With the input gate far open it forgets all, with the forget gate far open it keeps all."""
    cell = cell_of("min-lstm")
    cell.get_parameter("weight").data.zero_()
    state, drive = torch.full((1, 4), 3.0, dtype=torch.float64), torch.zeros(1, 1, 5, dtype=torch.float64)
    bias = cell.get_parameter("bias").data
    for forget, take, expected in [(9.0, -30.0, 3.0), (-30.0, 9.0, 0.5)]:
        bias[:4], bias[4:8], bias[8:] = forget, take, 0.0
        torch.testing.assert_close(cell.unroll(state, drive)[0], torch.full((1, 4), expected, dtype=torch.float64))


def test_a_deep_transition_whose_second_layer_is_silent_is_half_of_the_plain_network() -> None:
    deep, plain = cell_of("deep-elman", hidden=5), cell_of("elman", hidden=5)
    deep.load_state_dict({**plain.state_dict(), "transition": torch.zeros(5, 5), "offsets": torch.zeros(5)})
    state, drive = window_of(plain)
    torch.testing.assert_close(deep.step(state, drive[0]), plain.step(state, drive[0]) / 2)


def test_context_units_of_an_scrn_change_slowly_and_are_sent_up() -> None:
    cell = cell_of("scrn", context=2)
    state, drive = window_of(cell)
    after = cell.step(state, drive[0])
    expected = 0.95 * state[:, 4:] + 0.05 * drive[0] @ cell.get_parameter("B")
    torch.testing.assert_close(after[:, 4:], expected)
    assert cell.output(after).shape == (3, 6)


def test_a_cell_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no cell 'lstn'") as caught:
        find_cell("lstn")
    assert caught.value.hint == "did you mean lstm?"


def test_a_module_is_imported_only_if_somebody_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="code of somebody's own") as caught:
        find_cell("no_such_module_of_mine:Cell")
    assert "ELMAN_CELLS=no_such_module_of_mine:Cell" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="cannot be had"):
        find_cell("no_such_module_of_mine:Cell", allowed=["no_such_module_of_mine:Cell"])
    monkeypatch.setenv("ELMAN_CELLS", "torch.nn:Linear, elman.network.gated:GRU")
    assert find_cell("elman.network.gated:GRU") is GRU
    with pytest.raises(UsageError, match="is no cell"):
        find_cell("torch.nn:Linear")


def test_a_feedforward_net_sees_its_window_and_nothing_before() -> None:
    cell = cell_of("feedforward", window=3)
    _, drive = window_of(cell)
    _, above = cell.unroll(cell.initial_state(3), drive)
    x = nn.functional.pad(drive.detach(), (0, 0, 0, 0, 2, 0))  # before a text: zeros
    parts = torch.split(cell.A, 5)
    sums = x[2:] @ parts[0] + x[1:-1] @ parts[1] + x[:-2] @ parts[2]
    torch.testing.assert_close(above, torch.tanh(sums + cell.bias))
    changed = drive.detach().clone()
    changed[0] += 1
    _, other = cell.unroll(cell.initial_state(3), changed)
    assert not torch.equal(other[:3], above[:3])
    assert torch.equal(other[3:], above[3:])
