"""The encoder that a BERT reads along for: no later symbol, the slow twin, the cache, the folder that it needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.config import LearnSettings, NetworkSettings, TextSettings
from elman.errors import MissingExtra, ModelError, UsageError
from elman.learn.steps import rates_of
from elman.network import bert
from elman.network.bert import FrozenBert, Window, load_bert
from elman.network.encoders import Bert
from elman.network.folder import load_model, save_config, save_weights
from elman.network.history import no_history, recent
from elman.network.model import RecurrentNetwork
from elman.text.bert import KINDS, MOST_PIECES, open_bert
from elman.text.words import WordTokenizer

WORDS = ["the", "cat", "Cats", "dog", "dogs", "seesn", "cow", "a", "bird"]
TOKENIZER = WordTokenizer.train([" ".join(WORDS)], TextSettings())
D, H, T, B = TOKENIZER.size, 7, 9, 3
CLS, SEP, UNK = 2, 3, 1


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a cache, on disk or in memory."""
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "cache"))
    bert._shared.cache_clear()


def make(folder: Path, *, window: int = 4, **shape) -> RecurrentNetwork:
    settings = NetworkSettings(encoder="bert", bert=str(folder), bert_size=8, bert_window=window, hidden=H, **shape)
    network = RecurrentNetwork(D, settings).double()
    assert isinstance(network.encoder, Bert)
    network.encoder.learn(TOKENIZER)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-0.5, 0.5, generator=generator)
    return network


def text(seed: int = 0, length: int = T, batch: int = B) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, D, (length, batch)))


def encoded(network: RecurrentNetwork, symbols: torch.Tensor) -> torch.Tensor:
    run = recent(no_history(symbols.shape[1], network.memory, symbols.device), symbols)
    return network.encoder(symbols, run).detach()


def pieces(id: int, folder: Path) -> list[int]:
    word = TOKENIZER.token(id)
    return [SEP] if word == "</s>" else open_bert(folder).pieces(word) or [UNK]


def by_hand(network: RecurrentNetwork, symbols: torch.Tensor, folder: Path, window: int) -> torch.Tensor:
    """U[w(t)] + B P with BERT asked for one prefix at a time, of a text cut off after w(t)."""
    from transformers import AutoModel

    model, encoder = AutoModel.from_pretrained(folder).eval(), network.encoder
    x = torch.zeros(*symbols.shape, H, dtype=torch.float64)
    for b in range(symbols.shape[1]):
        for t in range(len(symbols)):
            words = [pieces(int(id), folder) for id in symbols[max(0, t + 1 - window) : t + 1, b]]
            ids = torch.tensor([[CLS, *(piece for word in words for piece in word), SEP]])
            with torch.no_grad():
                hidden = model(input_ids=ids).last_hidden_state[0]
            mean = hidden[len(hidden) - 1 - len(words[-1]) : len(hidden) - 1].mean(0).double()
            x[t, b] = (encoder.U[symbols[t, b]] + mean @ encoder.P).detach()
    return x


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", [1, 4])
def test_the_drive_is_that_of_a_bert_that_reads_each_prefix_alone(
    kind: str, window: int, tiny_bert: Callable[..., Path]
) -> None:
    folder = tiny_bert(kind)
    network, symbols = make(folder, window=window), text()
    assert network.memory == window - 1
    expected = by_hand(network, symbols, folder, window)
    torch.testing.assert_close(encoded(network, symbols), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(expected[1:], network.encoder.U[symbols[1:]].detach(), atol=0.1), "BERT adds something"


@pytest.mark.parametrize("kind", KINDS)
def test_windows_read_together_have_the_vectors_of_a_whole_bert_that_reads_each_alone(
    kind: str, tiny_bert: Callable[..., Path]
) -> None:
    from transformers import AutoModel

    draw, whole = np.random.default_rng(2), AutoModel.from_pretrained(tiny_bert(kind)).eval()
    inner = draw.integers(4, 11, (3 * MOST_PIECES, MOST_PIECES + 3))
    windows = [Window((CLS, *row, SEP), 1 + place % MOST_PIECES) for place, row in enumerate(inner.tolist())]
    found = FrozenBert(open_bert(tiny_bert(kind)), torch.device("cpu")).compute(windows)
    for vector, window in zip(found, windows, strict=True):
        with torch.no_grad():
            hidden = whole(input_ids=torch.tensor([window.pieces])).last_hidden_state[0]
        np.testing.assert_allclose(vector, hidden[-1 - window.last : -1].mean(0), rtol=1e-5, atol=1e-5)


def test_products_in_bf16_are_near_those_in_fp32_and_never_taken_for_them(tiny_bert: Callable[..., Path]) -> None:
    network, symbols = make(tiny_bert()), text()
    exact, rough = (encoded(make(tiny_bert(), bert_precision=precision), symbols) for precision in ("fp32", "bf16"))
    off = (rough - exact).norm() / (exact - network.encoder.U[symbols]).norm()
    assert 1e-4 < off < 0.05
    assert torch.equal(encoded(make(tiny_bert()), symbols), exact)


def test_what_was_said_before_changes_what_bert_makes_of_a_word(tiny_bert: Callable[..., Path]) -> None:
    network = make(tiny_bert())
    dog, cat = TOKENIZER.id("dog"), TOKENIZER.id("cat")
    found = network.encoder.vectors(torch.tensor([[-1, -1, cat, dog], [-1, -1, dog, dog], [-1, -1, -1, dog]]))
    assert all((found[i] - found[j]).abs().max() > 0.01 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_bert_is_shown_the_last_symbols_and_the_oldest_pieces_go_first(tiny_bert: Callable[..., Path]) -> None:
    folder = tiny_bert()  # which reads 24 pieces
    network = make(folder, window=16)
    dogs = TOKENIZER.id("dogs")
    (shown,) = network.encoder.windows(torch.tensor([[-1] * 14 + [TOKENIZER.id("cow"), dogs]]))
    assert shown == Window((CLS, UNK, 7, 8, SEP), 2)
    (shown,) = network.encoder.windows(torch.full((1, 16), dogs))
    assert shown == Window((CLS, *[7, 8] * 11, SEP), 2)
    assert torch.isfinite(network.encoder.vectors(torch.full((1, 16), dogs))).all()


def test_the_company_in_which_a_window_is_read_changes_nothing(
    tiny_bert: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, symbols = make(tiny_bert()), text(3)
    together = encoded(network, symbols)
    for b in range(B):
        monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / f"cache {b}"))
        alone = make(tiny_bert())
        torch.testing.assert_close(encoded(alone, symbols[:, b : b + 1])[:, 0], together[:, b], rtol=1e-5, atol=1e-5)
        assert alone.encoder.bert is not network.encoder.bert


def test_later_programs_find_the_same_bits_on_disk_and_load_no_bert(
    tiny_bert: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, symbols = make(tiny_bert()), text()
    first = encoded(network, symbols)
    network.encoder.bert.cache.save()
    bert._shared.cache_clear()

    def never(folder: object) -> None:
        raise AssertionError("all that is asked for is in the cache")

    monkeypatch.setattr(bert, "load_bert", never)
    again = make(tiny_bert())
    assert again.encoder.bert is not network.encoder.bert
    assert torch.equal(encoded(again, symbols), first)


def test_a_window_is_read_once(tiny_bert: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Window] = []
    compute = FrozenBert.compute

    def counted(self: FrozenBert, windows: list[Window]) -> np.ndarray:
        read.extend(windows)
        return compute(self, windows)

    monkeypatch.setattr(FrozenBert, "compute", counted)
    network, symbols = make(tiny_bert()), text(length=30, batch=1)
    for _ in range(2):
        encoded(network, symbols.expand(-1, 2))
    assert 0 < len(read) == len(set(read)) <= 30


def test_bert_is_no_part_of_the_network(tiny_bert: Callable[..., Path]) -> None:
    network = make(tiny_bert(), tied=True)
    encoded(network, text())
    names = {name for name, _ in network.named_parameters()}
    assert names == {"encoder.U", "encoder.P", "cells.0.W"}
    assert set(network.state_dict()) - names == {"encoder.pieces", "encoder.digest"}
    _, loss = network.loss(network.initial_state(B), text(), text(1))
    loss.backward()
    assert network.encoder.P.grad is not None and network.encoder.P.grad.abs().sum() > 0
    rates = rates_of(network, LearnSettings(input_rate=0.3))
    assert (rates["encoder.P"], rates["encoder.U"]) == (0.3, 0.3)


@pytest.fixture
def saved(tiny_bert: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path, RecurrentNetwork]:
    """A model folder, the BERT that it learnt with, in a folder that may be harmed, and the network."""
    folder = tmp_path / "my bert"
    folder.mkdir()
    for path in tiny_bert().iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    network = make(folder).float()
    (tmp_path / "model").mkdir()
    save_config(tmp_path / "model", network, TOKENIZER, "running")
    save_weights(tmp_path / "model", network)
    return tmp_path / "model", folder, network


def answer(network: RecurrentNetwork) -> torch.Tensor:
    return network.target_log_probs(network.initial_state(B), text(), text(1))[1]


def test_a_model_folder_needs_the_folder_of_its_bert_and_nothing_else(
    saved: tuple[Path, Path, RecurrentNetwork],
) -> None:
    model, _, network = saved
    assert torch.equal(answer(load_model(model).network), answer(network))


def test_a_bert_that_is_gone_is_named_and_another_one_is_refused(
    saved: tuple[Path, Path, RecurrentNetwork], tiny_bert: Callable[..., Path]
) -> None:
    model, folder, _ = saved
    (folder / "model.safetensors").write_bytes((tiny_bert(seed=1) / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="my bert holds another BERT than the one this model learnt with"):
        answer(load_model(model).network)
    folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(ModelError, match="my bert should be the folder of a BERT, and does not exist"):
        answer(load_model(model).network)


def test_weights_that_lack_a_matrix_are_refused_and_not_drawn_by_lot(tiny_bert: Callable[..., Path]) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tiny_bert(seed=2)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "attention" in name)
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=rf"lack .*{name[-20:]}"):
        load_bert(open_bert(folder))


def test_without_transformers_the_extra_is_named(bert_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"transformers is not installed \(pip install 'elman\[bert\]'\)"):
        load_bert(open_bert(bert_folder))


def test_the_encoder_needs_a_folder() -> None:
    with pytest.raises(UsageError, match=r"needs network\.bert"):
        RecurrentNetwork(D, NetworkSettings(encoder="bert"))
