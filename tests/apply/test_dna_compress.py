"""A FASTA file is compressed to what was promised, and comes back byte for byte, or it is said that it did not."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.apply import dna_compress
from elman.apply.dna_compress import Compressed, compress, decompress, differences, digest_of_model
from elman.config import Settings, build, read_recipe
from elman.errors import TextError, TrainingError, UsageError
from elman.learn.bases import BaseLearner, blocks
from elman.network.base_coder import BaseDecoder
from elman.network.bases import LEARN_COUNTS, LEARN_WEIGHTS, BaseReader
from elman.network.bases_folder import new_contexts, new_network, save_base_config, save_base_weights
from elman.text.dna import decode
from elman.text.dna_container import Container, open_container
from elman.text.dna_layout import unpack
from elman.text.range_coder import Encoder, quantize

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "dna"

TINY = {
    "text.unit": "dna",
    "network.encoder": "n-gram",
    "network.ngrams": [2, 3],
    "network.counts": [1, 2, 4, 13],
    "network.hidden": 6,
    "network.activation": "tanh",
    "network.bias": True,
    "learn.optimizer": "adam",
    "learn.alpha": 0.01,
    "learn.counts_rate": 0.005,
    "learn.clip": 1.0,
    "learn.batch": 4,
    "learn.bptt": 16,
    "learn.schedule": "linear",
}


def tiny(**more: object) -> Settings:
    return build(TINY | {key.replace("__", "."): value for key, value in more.items()})


def repeating(count: int, seed: int = 1, noise: float = 0.2) -> str:
    draw = np.random.default_rng(seed)
    word = draw.integers(0, 4, 61)
    codes = np.where(draw.random(count) < noise, draw.integers(0, 4, count), np.resize(word, count))
    return decode(codes.astype(np.uint8))


def container_of(found: Compressed, path: Path) -> Container:
    sink = io.BytesIO()
    assert found.write(sink) == len(sink.getvalue())
    path.write_bytes(sink.getvalue())
    return open_container(path)


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def back(container: Container, **more: object) -> bytes:
    return b"".join(unpack(container.layout, decompress(container, **more)))


NASTY = {
    "wrapped": f">one two\n{repeating(70)}\n{repeating(70, 2)}\n{repeating(3)}\n",
    "lower case and N": f">a\n{'N' * 90}{repeating(99).lower()}nnnn{repeating(50)}\n",
    "IUPAC, gaps and U": ">a\nACGTRYKM-SWBDHV*acguUACG\n",
    "CRLF": ">a\r\nACGT\r\nAC\r\n\r\n>b\r\nGG\r\n",
    "empty records": ">a\n>b\n\n>c\nACGT\n>d\n",
    "many records of one name": ">a\nACGT\n" * 40,
    "no final newline": f">a\n{repeating(200)}",
    "no title": "ACGTACGT\nAC\n",
    "one base": ">a\nG\n",
    "no base": ">a\nNNNN\n",
    "comments": ";old style\nACGT\n;more\nAC\n",
    "one block and no more": f">a\n{repeating(64)}\n",
    "a base more than a block": f">a\n{repeating(65)}\n",
}


@pytest.mark.parametrize("name", NASTY)
def test_every_kind_of_fasta_comes_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    data = NASTY[name].encode()
    found = compress(write(tmp_path / "x.fa", data), tiny())
    container = container_of(found, tmp_path / "x.elm")
    assert back(container) == data
    bases, skipped = found.layout.bases, found.as_dict()["skipped"]
    assert found.fasta_bytes == len(data) and found.as_dict()["records"] == data.count(b">")
    letters = b"".join(line for line in data.splitlines() if line[:1] not in (b">", b";"))
    assert bases + skipped == len(letters) and bases == sum(letters.upper().count(base) for base in b"ACGT")


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize("counts", [[], [1, 2, 13]])
def test_any_settings_come_back(optimizer: str, counts: list[int], tmp_path: Path) -> None:
    data = f">a\n{repeating(700)}\n"
    settings = tiny(learn__optimizer=optimizer, network__counts=counts, learn__seed=5, network__activation="relu")
    found = compress(write(tmp_path / "x.fa", data), settings)
    assert found.facts["settings"]["learn.optimizer"] == optimizer and found.facts["settings"]["learn.seed"] == 5
    assert back(container_of(found, tmp_path / "x.elm")) == data.encode()


def test_the_size_is_what_the_probabilities_promise(tmp_path: Path) -> None:
    found = compress(write(tmp_path / "x.fa", f">a\n{repeating(20_000, noise=0.3)}\n"), tiny())
    assert 1.2 < found.bits / 20_000 < 1.95
    assert found.bits / 8 * 0.9999 <= len(found.coded) <= found.bits / 8 * 1.001 + 8
    facts = found.as_dict()
    assert facts["bits_per_base"] == found.bits / 20_000 and facts["coded_bytes"] == len(found.coded)


def test_bits_are_those_of_predicting_each_block_before_learning_from_it(tmp_path: Path) -> None:
    text = repeating(900)
    settings = tiny(learn__schedule="constant")
    found = compress(write(tmp_path / "x.fa", f">a\n{text}\n"), settings)
    network = new_network(settings.network, torch.Generator().manual_seed(1))
    learner = BaseLearner(network, new_contexts(settings.network, 900), settings.learn)
    learner.begin()
    codes, bits = np.array(["ACGT".index(base) for base in text], np.uint8), 0.0
    for block in blocks(codes, 64):
        y = learner.follow(block, alpha=0.01, rate=0.005)
        bits -= sum(math.log2(y[t, base]) for t, base in enumerate(block.tolist()))
    assert found.bits == pytest.approx(bits, rel=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_who_decodes_has_learnt_the_same_weights_after_each_block(compiled: bool) -> None:
    settings, rates = tiny(), {"rate": 0.005, "learn": LEARN_WEIGHTS | LEARN_COUNTS}
    codes = np.array(["ACGT".index(base) for base in repeating(300)], np.uint8)

    def learner() -> BaseLearner:
        network = new_network(settings.network, torch.Generator().manual_seed(1))
        made = BaseLearner(network, new_contexts(settings.network, 300), settings.learn)
        made.reader = BaseReader(made.contexts, network, keep=made.block, compiled=compiled)
        made.begin()
        return made

    first, second, data, kept = learner(), learner(), bytearray(), []
    encoder = Encoder(data.extend)
    for block in blocks(codes, first.block):
        encoder.encode_all(block, quantize(first.follow(block, alpha=0.01, rate=0.005)))
        kept.append([weight.detach().clone() for weight in first.network.parameters()])
    encoder.finish()
    decoder = BaseDecoder(second.reader, bytes(data))
    for weights, block in zip(kept, blocks(codes, first.block), strict=True):
        found = decoder.decode(len(block), mixed=second.mixed[: len(block)], **rates)
        assert np.array_equal(found, block)
        second.learn(found, alpha=0.01)
        assert all(map(torch.equal, weights, second.network.parameters()))
    assert not torch.equal(kept[0][0], kept[-1][0])


def test_threads_change_nothing_and_stay_as_they_were(tmp_path: Path) -> None:
    path, before = write(tmp_path / "x.fa", f">a\n{repeating(500)}\n"), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = compress(path, tiny())
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        assert compress(path, tiny()).coded == found.coded
        torch.set_num_threads(2)
        assert back(container_of(found, tmp_path / "x.elm")) == path.read_bytes()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model that has counted, and mixes, what `repeating` repeats."""
    folder = tmp_path / "model"
    folder.mkdir()
    network = new_network(tiny().network, torch.Generator().manual_seed(7))
    contexts = new_contexts(tiny().network, 2000)
    codes = np.array(["ACGT".index(base) for base in repeating(2000, noise=0)], np.uint8)
    save_base_config(folder, network, contexts)
    save_base_weights(folder, network, contexts, [codes])
    return folder


def test_a_model_to_begin_with_is_worth_bits_and_is_needed_to_come_back(model: Path, tmp_path: Path) -> None:
    data = f">a\n{repeating(400)}\n"
    path = write(tmp_path / "x.fa", data)
    digest = digest_of_model(model)
    found = compress(path, tiny(), model=model)
    assert found.bits < 0.9 * compress(path, tiny()).bits
    assert found.facts["model"] == digest == digest_of_model(model)
    assert back(container_of(found, tmp_path / "x.elm"), model=model) == data.encode()
    container = open_container(tmp_path / "x.elm")
    with pytest.raises(UsageError, match="cannot be decompressed without it"):
        decompress(container)
    save_base_weights(
        model, new_network(tiny().network, torch.Generator().manual_seed(8)), new_contexts(tiny().network, 0), []
    )
    with pytest.raises(UsageError, match=r"compressed with another model than .*model \(.*" + digest[:16]):
        decompress(container, model=model)
    plain = container_of(compress(path, tiny()), tmp_path / "y.elm")
    with pytest.raises(UsageError, match="compressed without a model"):
        decompress(plain, model=model)


def test_one_weight_that_is_a_little_different_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compress(write(tmp_path / "x.fa", f">a\n{repeating(3000)}\n"), tiny())
    container = container_of(found, tmp_path / "x.elm")
    original = dna_compress.new_network

    def nearly(*given: object) -> object:
        network = original(*given)
        with torch.no_grad():
            network.cells[0].W.view(-1)[3] += 1e-4
        return network

    monkeypatch.setattr(dna_compress, "new_network", nearly)
    with pytest.raises(TextError, match="not those that were compressed, which another processor, another version"):
        decompress(container)


def test_what_was_different_is_said(tmp_path: Path) -> None:
    found = compress(write(tmp_path / "x.fa", f">a\n{repeating(300)}\n"), tiny())
    assert differences(found.facts) == []
    other = found.facts | {"torch": "1.0", "compiled": not found.facts["compiled"], "instructions": "ABACUS"}
    said = differences(other)
    assert [part.split(" (here ")[0] for part in said][:2] == ["torch 1.0", "instructions ABACUS"]
    assert said[2] in ("compiled loops off (here on)", "compiled loops on (here off)")
    wrong = Compressed(
        found.layout, other | {"settings": found.facts["settings"] | {"learn.seed": 2}}, found.coded, 0, 0
    )
    with pytest.raises(TextError, match=r"torch 1\.0 \(here .*ABACUS"):
        decompress(container_of(wrong, tmp_path / "x.elm"))


def test_settings_that_no_version_knows_are_named(tmp_path: Path) -> None:
    found = compress(write(tmp_path / "x.fa", ">a\nACGT\n"), tiny())
    for facts, what in (
        ({"settings": {"learn.speed": 3}}, "there is no setting"),
        ({"settings": [1]}, "they are no settings"),
        ({}, "they are no settings"),
        ({"settings": {"learn.batch": 0}}, "learn.batch = 0 cannot be"),
    ):
        wrong = Compressed(found.layout, facts, found.coded, 0, 0)
        with pytest.raises(TextError, match=f"the settings in the container cannot be used: {what}"):
            decompress(container_of(wrong, tmp_path / "x.elm"))


def test_settings_of_no_dna_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.fa", ">a\nACGT\n")
    with pytest.raises(UsageError, match="unit char cannot compress DNA"):
        compress(path, tiny(text__unit="char"))
    with pytest.raises(UsageError, match=r"without network\.cell"):
        compress(path, tiny(network__cell="lstm"))
    with pytest.raises(UsageError, match="on the cpu"):
        compress(path, tiny(learn__device="cuda"))


def test_a_probability_that_is_no_number_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, blocks_read = BaseLearner.follow, []

    def follow(self: BaseLearner, block: np.ndarray, **rates: float) -> np.ndarray:
        blocks_read.append(len(block))
        y = original(self, block, **rates)
        return y if len(blocks_read) < 3 else y * np.float32(np.nan)

    monkeypatch.setattr(BaseLearner, "follow", follow)
    with pytest.raises(TrainingError, match="the model broke down after 128 bases"):
        compress(write(tmp_path / "x.fa", f">a\n{repeating(300)}\n"), tiny())


def test_slow_loops_bring_back_what_slow_loops_compressed(tmp_path: Path) -> None:
    """In a process of its own each, as a user would."""
    write(tmp_path / "x.fa", f">a\n{repeating(150)}\nNN\n>b\nacg")
    sets = [
        f"--set={key}={str(value).lower()}"
        for key, value in TINY.items()
        if key not in ("network.ngrams", "network.counts")
    ]
    sets += ["--set=network.ngrams=[2,3]", "--set=network.counts=[1,2,4,13]"]

    def elman(*arguments: str, kernels: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "elman", "dna", *arguments]
        environment = os.environ | {"ELMAN_KERNELS": kernels}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = elman("compress", "x.fa", "--out", "x.elm", *sets, kernels="off")
    assert done.returncode == 0, done.stderr
    done = elman("decompress", "x.elm", "--out", "y.fa", kernels="off")
    assert done.returncode == 0 and "compressed with" not in done.stderr, done.stderr
    assert (tmp_path / "y.fa").read_bytes() == (tmp_path / "x.fa").read_bytes()
    if dna_compress.kernels.available():
        done = elman("decompress", "x.elm", "--out", "z.fa", kernels="on")
        first = done.stderr.splitlines()[0]
        assert first == "compressed with compiled loops off (here on): it may not come back"
        assert (done.returncode == 0) == (tmp_path / "z.fa").exists()
        assert done.returncode == 0 or "are not those that were compressed" in done.stderr


@pytest.mark.parametrize("name", ["phiX174_NC_001422.fa", "lambda_NC_001416.fa"])
def test_the_phages_come_back_at_the_promised_size(name: str, tmp_path: Path) -> None:
    if not (SHARED / name).exists():
        pytest.skip("the shared genomes are not in ../shared/data/dna")
    found = compress(SHARED / name, build(read_recipe("dna")))
    assert back(container_of(found, tmp_path / "x.elm")) == (SHARED / name).read_bytes()
    assert found.bits / found.layout.bases < 1.98
    assert found.bits / 8 * 0.9999 <= len(found.coded) <= found.bits / 8 * 1.001 + 8


@pytest.mark.slow
def test_e_coli_comes_back_from_192_hundredths_of_a_bit_a_base(tmp_path: Path) -> None:
    path = SHARED / "ecoli_k12_mg1655_U00096.2.fa"
    if not path.exists():
        pytest.skip("the shared genomes are not in ../shared/data/dna")
    found = compress(path, build(read_recipe("dna")))
    assert found.bits / found.layout.bases <= 1.92
    container = container_of(found, tmp_path / "x.elm")
    size = (tmp_path / "x.elm").stat().st_size
    assert size <= found.bits / 8 * 1.001
    assert back(container) == path.read_bytes()
