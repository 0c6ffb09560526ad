"""Where training stands, in one file: a safetensors file whose header holds the rest as JSON. Nothing is pickled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from elman.errors import TrainingError
from elman.files import replacing
from elman.network.folder import load_metadata, load_tensors, save_tensors

CHECKPOINT = "checkpoint.safetensors"
GOOD = "good.safetensors"
"""The checkpoint of the beginning of this epoch, which training goes back to where a loss is no number."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: plain facts (settings, counters, digests), and where its tensors are.

    Weights are read by `folder.load_weights`, with the prefix "weights/".
    """

    path: Path
    facts: dict[str, Any]

    def group(self, name: str) -> dict[str, Tensor]:
        """Read the tensors of a group (moments, states, generator)."""
        return load_tensors(self.path, prefix=f"{name}/")


def save_checkpoint(folder: Path, groups: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
    """Write the checkpoint of `folder`, whole or not at all; numbers survive exactly."""
    tensors = {f"{prefix}/{name}": value for prefix, group in groups.items() for name, value in group.items()}
    facts = {"format_version": FORMAT_VERSION, **facts}
    save_tensors(folder / CHECKPOINT, tensors, {"elman": json.dumps(facts)})


def keep_as_good(folder: Path) -> None:
    """Keep the checkpoint as it is under a second name: a link where the disk has them, which costs nothing."""
    (folder / GOOD).unlink(missing_ok=True)
    try:
        os.link(folder / CHECKPOINT, folder / GOOD)
    except OSError:
        with replacing(folder / GOOD) as temporary:
            shutil.copyfile(folder / CHECKPOINT, temporary)


def load_checkpoint(folder: Path, name: str = CHECKPOINT) -> Checkpoint:
    """Read a checkpoint of `folder`; raises `ModelError` if it is not whole, `TrainingError` if it is newer."""
    metadata = load_metadata(folder / name, "training run")
    try:
        facts = json.loads(metadata["elman"])
        version = int(facts["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        path = folder / name
        raise TrainingError(f"{path} is no checkpoint of elman", hint="train again with --overwrite") from error
    if version > FORMAT_VERSION:
        raise TrainingError(f"{folder / name} was written by a newer elman", hint="install it: pip install -U elman")
    return Checkpoint(folder / name, facts)
