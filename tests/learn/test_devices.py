"""Devices: which there are, and what the encoder does for one that must not be waited for."""

import pytest
import torch

from elman.config import NetworkSettings
from elman.errors import UsageError
from elman.learn.optimizers import OPTIMIZERS, clip_gradients
from elman.network.devices import check_device
from elman.network.encoders import OneHot, look_up
from elman.network.model import RecurrentNetwork
from elman.network.outputs import OUTPUTS
from elman.network.parts import rows_of, take_parts
from elman.network.sampled import SampledSoftmax


@pytest.mark.parametrize("count", [0, 2])
def test_a_device_that_is_not_there_is_refused(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    check_device("cpu")
    for name in ("cuda", "cuda:0", "cuda:1"):
        if count:
            check_device(name)
        else:
            with pytest.raises(UsageError, match=f"no device {name}"):
                check_device(name)
    for name in ("cuda:2", "cudax", "cuda:-1", "cuda:x", "tpu", ""):
        with pytest.raises(UsageError, match="there is no device"):
            check_device(name)


def test_rows_found_on_the_host_have_the_gradient_of_the_sparse_lookup() -> None:
    draw = torch.Generator().manual_seed(1)
    encoder = OneHot(9, 4, NetworkSettings())
    torch.nn.init.normal_(encoder.U, generator=draw)
    symbols = torch.tensor([[3, 7, 3], [0, 3, 7]])
    error = torch.randn(2, 3, 4, generator=draw)
    drive = encoder(symbols, sparse=True)
    drive.backward(error)
    expected, encoder.U.grad = rows_of(encoder.U.grad), None
    found = look_up(encoder.U, symbols)
    assert torch.equal(found, drive)
    found.backward(error)
    rows = take_parts(encoder.U)
    assert encoder.U.grad is None
    assert torch.equal(rows.ids, expected.ids)
    torch.testing.assert_close(rows.values, expected.values)


def test_a_sampled_softmax_keeps_its_chances_where_its_weights_are() -> None:
    """The device `meta`, which holds no numbers, stands for one that is not the CPU."""
    layer = SampledSoftmax(4, 9).to("meta")
    layer.prepare(torch.arange(9))
    assert {t.device.type for t in (layer.frequencies, layer.chances, layer.cumulative)} == {"meta"}


@pytest.mark.parametrize("product", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_an_update_asks_for_no_number_of_a_device(
    product: torch.dtype, optimizer: str, clip: float | None, activation: str
) -> None:
    """The device `meta` has no numbers: whoever asked for one, and so would wait for a GPU, gets an error."""
    network = RecurrentNetwork(9, NetworkSettings(hidden=4, layers=2, activation=activation)).to("meta")
    follow = OPTIMIZERS[optimizer](network.named_parameters(), beta=1e-5)
    symbols = torch.tensor([[3, 7], [0, 3]])
    for _ in range(2):
        follow.before_reading("encoder.U", symbols)
        _, loss = network.loss(
            network.initial_state(2),
            symbols,
            symbols.to("meta"),
            product=product,
            sparse=True,
            factored=clip is None and follow.takes_factors,
        )
        loss.backward()
        if clip is not None:
            clip_gradients(network.parameters(), clip)
        assert all(weight.grad is not None or "parts" in vars(weight) for weight in network.parameters())
        follow.step(0.1)
    follow.settle()
    with pytest.raises(RuntimeError, match=r"[Mm]eta"):
        float(loss)


@pytest.mark.parametrize("name", OUTPUTS)
def test_v_lies_in_memory_on_another_device_as_it_did(name: str) -> None:
    layer = OUTPUTS[name](4, 9)
    before = [weight.stride() for weight in layer.parameters()]
    assert [weight.stride() for weight in layer.to("meta").parameters()] == before
