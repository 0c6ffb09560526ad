"""The folder of a training run: what it may replace, the settings that it began with, the card that it leaves."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from elman import __version__
from elman.config import Settings, build, full_key, to_flat
from elman.errors import OutputError, TrainingError
from elman.files import output_error
from elman.learn.checkpoint import CHECKPOINT, GOOD, load_checkpoint
from elman.learn.log import LOG
from elman.learn.measure import Measure
from elman.learn.progress import Progress
from elman.network.folder import CARD, CONFIG, TOKENIZER, WEIGHTS
from elman.network.model import RecurrentNetwork

FREE_TO_CHANGE = ("learn.checkpoint_every", "learn.log_every", "learn.log")
"""What may differ when a run is resumed: it changes no weight."""

LEFT_TO_CHOOSE = (
    ("learn.alpha", None),
    ("learn.threads", None),
    ("learn.precision", "auto"),
    ("network.output", "auto"),
    ("network.embedding", None),
    ("network.bert_size", None),
)
"""What `resolve` replaces by a choice of its own: no contradiction to what was chosen."""


def holds_finished_run(folder: Path, *, resume: bool, overwrite: bool) -> bool:
    """Look at what the output folder holds, and refuse what may not be; return whether a finished run is resumed."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file, and a model is a folder", hint="choose another --out")
    # Asked now, before an hour of training; made when there is something to write.
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        what = "permission denied" if place.is_dir() else f"{place} is a file"
        raise OutputError(f"{folder} cannot be written: {what}", hint="choose a folder that you may write to")
    unfinished = (folder / CHECKPOINT).exists()
    if resume and (unfinished or (folder / CARD).exists()):
        return not unfinished
    ours = _ours(folder)
    if overwrite or not ours or (resume and folder / WEIGHTS not in ours):  # a run that was killed at its beginning
        return False
    if resume:
        raise OutputError(
            f"{folder} holds a model, and no checkpoint to go on from",
            hint="choose another --out, or add --overwrite to replace it",
        )
    raise OutputError(
        f"{folder} already holds a model or a training run",
        hint="choose another --out, or add --resume to go on or --overwrite to replace it",
    )


def _ours(folder: Path) -> list[Path]:
    """Return the files of a model and of its training that are in a folder."""
    names = (CONFIG, WEIGHTS, TOKENIZER, CARD, CHECKPOINT, GOOD, LOG)
    return [folder / name for name in names if (folder / name).exists()]


def clear_folder(folder: Path) -> None:
    """Remove the model that is to be replaced, so that no file of it is left beside those of the new one."""
    for path in _ours(folder):
        try:
            path.unlink()
        except OSError as error:
            raise output_error(path, error) from error


def stored_settings(folder: Path, given: Mapping[str, Any]) -> Settings:
    """Return the settings that a run began with, refusing given ones that differ."""
    stored = load_checkpoint(folder).facts["settings"]
    return build(stored, refuse_changes(folder, stored, given))


def refuse_changes(folder: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given settings that differ from the stored ones and may, or raise `TrainingError`."""
    changed = {}
    wanted = to_flat(build(given))
    for key in map(full_key, given):
        value = wanted[key]
        if key in FREE_TO_CHANGE:
            changed[key] = value
        elif stored.get(key) != value and (key, value) not in LEFT_TO_CHOOSE:
            raise TrainingError(
                f"the run in {folder} began with {key} = {stored.get(key)!r}, and cannot go on with {value!r}",
                hint=f"leave {key} out, or choose another --out",
            )
    return changed


def card_of(
    settings: Settings,
    network: RecurrentNetwork,
    progress: Progress,
    texts: Mapping[str, Any],
    command: str,
    held_out: bool,
) -> dict[str, Any]:
    """Return what card.json says of a run; `texts` is what is known of its data."""
    entropy, learn = progress.best_entropy, settings.learn
    return {
        "elman": __version__,
        "torch": torch.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "settings": to_flat(settings),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "dictionary_size": network.dictionary_size,
        **texts,
        "valid_held_out_from_train": held_out,
        "result": {
            "epochs": progress.epoch,
            "updates": progress.update,
            "best_epoch": progress.best_epoch,
            "valid_loss": entropy,
            "valid_perplexity": None if entropy is None else Measure(-entropy, 1).perplexity,
            "seconds": round(progress.seconds, 1),
            "symbols_per_second": round(progress.symbols_per_second, 1),
        },
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "processors": os.cpu_count(),
            **({} if learn.device == "cpu" else {"gpu": torch.cuda.get_device_name(learn.device)}),
            "python": platform.python_version(),
        },
    }
