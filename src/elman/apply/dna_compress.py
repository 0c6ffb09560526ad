"""A FASTA file in a quarter of its size and back: a check of every number that a model of DNA says, not an archive.

The model learns as it goes. A block of bases is predicted by weights that saw none of it, a range coder turns each base
into as many bits as were promised, - log2 y, and then the model learns from the block. Who decodes has the same model
at each base, if every operation gives the same bits as it did: then the file comes back, and otherwise nonsense does,
which the SHA-256 of the file tells. So all is done on one thread, and the container says with what it was made.
"""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman import __version__
from elman.config import Settings, build, to_flat
from elman.errors import ElmanError, TextError, TrainingError, UsageError
from elman.learn.bases import BaseLearner, blocks
from elman.learn.dna import nats
from elman.learn.run import resolve
from elman.learn.schedules import SCHEDULES
from elman.network import kernels
from elman.network.base_coder import BaseDecoder
from elman.network.bases import LEARN_COUNTS, LEARN_WEIGHTS, Codes, check_plain
from elman.network.bases_folder import load_base_model, new_contexts, new_network
from elman.network.folder import CONFIG, WEIGHTS
from elman.text.dna_container import Container, checked, writing_container
from elman.text.dna_layout import Layout, unpack
from elman.text.dna_packing import pack
from elman.text.range_coder import Encoder, quantize
from elman.text.reading import TextSource
from elman.text.writing import Sink

OnBlock = Callable[[int, int], None]
"""Is told after each block how many bases are done, and how many there are."""

LEARN = (
    *("optimizer", "alpha", "beta", "adam_beta1", "adam_beta2", "clip", "batch", "bptt", "schedule", "seed"),
    *("input_rate", "recurrent_rate", "between_rate", "counts_rate"),
)
"""The settings of how it learns that matter here; all those of the network do."""

CAUSE = "which another processor, another version of torch or elman, or missing compiled loops can do"


@dataclass(frozen=True)
class Compressed:
    """A FASTA file, compressed.

    Parameters
    ----------
    layout, facts, coded
        what the container holds.
    bits
        what the probabilities promise: the sum of - log2 y over the bases.
    fasta_bytes
        the size of the file, unpacked if it was packed.
    """

    layout: Layout
    facts: dict[str, Any]
    coded: bytes
    bits: float
    fasta_bytes: int

    def write(self, sink: Sink) -> int:
        """Write the container; return its size in bytes."""
        counting = _Counting(sink)
        with writing_container(counting, self.layout, self.facts) as write:
            write(self.coded)
        return counting.size

    def as_dict(self) -> dict[str, Any]:
        """Return counts and sizes: bits and bytes of the bases alone, and the size of the FASTA file."""
        bases = self.layout.bases
        return {
            "bases": bases,
            "skipped": sum(self.layout.others[2::3]),
            "records": sum(text is not None and text.startswith(">") for text in self.layout.texts),
            "bits_per_base": self.bits / bases if bases else math.nan,
            "coded_bytes": len(self.coded),
            "fasta_bytes": self.fasta_bytes,
        }


def compress(
    path: str | Path,
    settings: Settings,
    *,
    model: str | Path | None = None,
    on_block: OnBlock = lambda done, total: None,
) -> Compressed:
    """Compress a FASTA file.

    Parameters
    ----------
    path
        plain or gzip; `-` is standard input.
    settings
        of the network, which learns from nothing, and of how it learns.
    model
        a folder of a model to begin with instead; its network and its counts are taken as they are.

    Raises
    ------
    ElmanError
        for a file that is no FASTA of DNA, a model that cannot be read, settings that cannot be.
    """
    settings = checked_settings(settings)
    sizes: list[int] = []
    source = TextSource(path)
    layout, codes = pack(_measured(source.chunks(), sizes), name=source.name)
    coded, bits = bytearray(), 0.0
    with one_thread():
        course = _Course(settings, layout.bases, model)
        encoder = Encoder(coded.extend)
        for block in blocks(codes, course.learner.block):
            bits += course.encode(block, encoder)
            on_block(course.done, layout.bases)
        encoder.finish()
    facts = surroundings() | {"settings": course.settings, "model": course.model}
    return Compressed(layout, facts, bytes(coded), bits, sum(sizes))


def decompress(
    container: Container, *, model: str | Path | None = None, on_block: OnBlock = lambda done, total: None
) -> Codes:
    """Return the bases of a container, (N,), which are those that were compressed: the FASTA file was checked.

    Parameters
    ----------
    model
        the folder of the model that it was compressed with, if it was with one.

    Raises
    ------
    UsageError
        where a model is needed and not given, or another, or none was used.
    TextError
        where other bases came back.
    """
    layout, facts = container.layout, container.facts
    settings = _settings_of(facts)
    _check_model(facts.get("model"), model)
    coded = b"".join(iter(lambda: container.read(1 << 20), b""))
    codes = np.empty(layout.bases, dtype=np.uint8)
    with one_thread():
        course = _Course(settings, layout.bases, model)
        try:
            decoder = BaseDecoder(course.learner.reader, coded)
            while course.done < layout.bases:
                block = course.decode(decoder)
                codes[course.done - len(block) : course.done] = block
                on_block(course.done, layout.bases)
            decoder.finish()
            for _ in checked(unpack(layout, codes), layout):
                pass
        except ElmanError as error:
            raise _other_bases(facts) from error
    return codes


class _Course:
    """What both directions do with each block: predict, code, learn. `done` is how many bases are behind."""

    def __init__(self, settings: Settings, bases: int, model: str | Path | None) -> None:
        learn = settings.learn
        self.model: str | None = None
        if model is None:
            network = new_network(settings.network, torch.Generator().manual_seed(learn.seed))
            contexts = new_contexts(settings.network, bases)
        else:
            self.model = digest_of_model(model)
            loaded = load_base_model(model)
            network, contexts = loaded.network, loaded.contexts
        self.learner = BaseLearner(network, contexts, learn)
        self.learner.begin()
        self.bases, self.done = bases, 0
        self._schedule = SCHEDULES[learn.schedule]()
        kept = to_flat(settings) | {"network.counts_bits": contexts.bits}
        names = {f"learn.{name}" for name in LEARN}
        self.settings = {key: value for key, value in kept.items() if key in names or key.startswith("network.")}
        if model is not None:
            self.settings = {key: value for key, value in self.settings.items() if key in names}
        assert learn.alpha is not None, "settings are resolved"
        self._alpha, self._rate = learn.alpha, learn.counts_rate

    def _rates(self) -> tuple[float, float]:
        factor = self._schedule.factor(self.done / self.bases)
        return self._alpha * factor, self._rate * factor

    def encode(self, block: Codes, encoder: Encoder) -> float:
        """Encode a block, and learn from it; return how many bits it should take."""
        alpha, rate = self._rates()
        y = self.learner.follow(block, alpha=alpha, rate=rate)
        if not np.isfinite(y).all():
            raise TrainingError(
                f"the model broke down after {self.done:,} bases: a probability is no number",
                hint="make learn.alpha smaller, or set learn.clip",
            )
        encoder.encode_all(block, quantize(y))
        self.done += len(block)
        return nats(y, block) / math.log(2)

    def decode(self, decoder: BaseDecoder) -> Codes:
        """Decode a block, and learn from it."""
        alpha, rate = self._rates()
        size = min(self.learner.block, self.bases - self.done)
        mixed = self.learner.mixed[:size]
        block = decoder.decode(size, rate=rate, learn=LEARN_WEIGHTS | LEARN_COUNTS, mixed=mixed)
        self.learner.learn(block, alpha=alpha)
        self.done += len(block)
        return block


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, so that it adds in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def checked_settings(settings: Settings) -> Settings:
    """Make every automatic choice; raise `UsageError` for settings that are not those of unit dna."""
    if settings.text.unit != "dna":
        raise UsageError(f"unit {settings.text.unit} cannot compress DNA", hint="give --recipe dna, or --set unit=dna")
    if settings.learn.device != "cpu":
        raise UsageError("DNA is compressed on the cpu, one base after the other", hint="leave the device alone")
    check_plain(settings.network)
    return resolve(settings)


def surroundings() -> dict[str, Any]:
    """Return what may change the last bit of a number: versions, the processor, whether the compiled loops are used."""
    return {
        "elman": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "compiled": kernels.available(),
    }


def differences(facts: Mapping[str, Any]) -> list[str]:
    """Say what is not as it was when something was compressed.

    >>> differences(surroundings() | {"torch": "1.0"})[0].startswith("torch 1.0 (here ")
    True
    """
    found = []
    for name, here in surroundings().items():
        then = facts.get(name)
        if then != here:
            label = "compiled loops" if name == "compiled" else name
            found.append(f"{label} {_shown(then)} (here {_shown(here)})")
    return found


def _shown(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def digest_of_model(folder: str | Path) -> str:
    """Return a hash of the files that say what a model is: its config and its weights."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        path = Path(folder) / name
        if path.is_file():
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _settings_of(facts: Mapping[str, Any]) -> Settings:
    """Return the settings that a container holds."""
    try:
        return checked_settings(build(facts["settings"], {"text.unit": "dna"}))
    except (KeyError, AttributeError, TypeError, ElmanError) as error:
        what = error.message if isinstance(error, ElmanError) else "they are no settings"
        raise TextError(
            f"the settings in the container cannot be used: {what}", hint="decompress with the elman that compressed"
        ) from error


def _check_model(needed: object, model: str | Path | None) -> None:
    if needed is None and model is not None:
        raise UsageError("it was compressed without a model", hint="leave --model out")
    if needed is None:
        return
    if model is None:
        hint = f"give that model with --model: its digest is {str(needed)[:16]}"
        raise UsageError("it was compressed with a model, and cannot be decompressed without it", hint=hint)
    load = digest_of_model(model)
    if load != needed:
        raise UsageError(
            f"it was compressed with another model than {model}",
            hint=f"the digest of that model is {str(needed)[:16]}, and that of {model} {load[:16]}",
        )


def _other_bases(facts: Mapping[str, Any]) -> TextError:
    """Say that what came back is not what was compressed, and what is different here."""
    found = differences(facts)
    hint = f"it was compressed with {', '.join(found)}" if found else "decompress on the machine that compressed"
    return TextError(
        f"the bases that came back are not those that were compressed, {CAUSE}; nothing is written", hint=hint
    )


def _measured(chunks: Iterator[bytes], sizes: list[int]) -> Iterator[bytes]:
    for chunk in chunks:
        sizes.append(len(chunk))
        yield chunk


class _Counting:
    """Hands bytes on, and counts them."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self.size = sink, 0

    def write(self, data: bytes, /) -> int:
        """Take bytes, and return how many."""
        self.size += len(data)
        return self._sink.write(data)
