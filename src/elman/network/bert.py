"""A BERT that stays as it is: contextual vectors of words, from windows of word pieces that end with the word.

It looks both ways, so what it is shown is all that decides what its vectors may know: never a later symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from elman.errors import MissingExtra, ModelError
from elman.network.vector_cache import VectorCache
from elman.text.bert import MOST_PIECES, BertFolder, open_bert
from elman.text.corpus import default_cache_folder

Vectors = NDArray[np.float32]
TOGETHER = 32
"""Windows of one length that BERT reads at once; more are no faster on a processor."""


class Window(NamedTuple):
    """What BERT is shown: the ids of pieces, [CLS] and [SEP] among them, the last word's right before that [SEP]."""

    pieces: tuple[int, ...]
    last: int
    """How many of the pieces are the last word's."""

    def key(self) -> bytes:
        """Return the bytes that name it in a cache."""
        return np.array([self.last, *self.pieces], dtype="<i4").tobytes()


class FrozenBert:
    """The vector of the last word of a window: BERT's last hidden layer, averaged over the word's pieces, in fp32.

    What it once computed it keeps, in memory and in the user's cache, under a name made of BERT's weights and of the
    pieces: a window has the same bits whenever it comes. New windows of one length are read together, so that none is
    padded. The weights are loaded when a window comes that is in no cache.

    Parameters
    ----------
    folder
        of the BERT.
    device
        where it computes.
    precision
        "fp32", or "bf16": products are made in bf16, and kept apart from the others; all else stays fp32.
    """

    def __init__(self, folder: BertFolder, device: torch.device, precision: str = "fp32") -> None:
        self.folder, self.device, self.precision = folder, device, precision
        name = f"bert-{folder.digest[:32]}{'' if precision == 'fp32' else f'-{precision}'}"
        self.cache = VectorCache(default_cache_folder() / name, folder.size)
        self.model: Any = None

    def __call__(self, windows: Sequence[Window]) -> Vectors:
        """Return the vectors of the last words, (N, E)."""
        keys = [window.key() for window in windows]
        new = {key: window for key, window in zip(keys, windows, strict=True) if key not in self.cache}
        self._learn(new)
        return self.cache.read(keys)

    def _learn(self, new: dict[bytes, Window]) -> None:
        by_length: dict[int, list[bytes]] = {}
        for key, window in new.items():
            by_length.setdefault(len(window.pieces), []).append(key)
        for keys in by_length.values():
            for start in range(0, len(keys), TOGETHER):
                some = keys[start : start + TOGETHER]
                self.cache.add(some, self.compute([new[key] for key in some]))

    @torch.inference_mode()
    def compute(self, windows: Sequence[Window]) -> Vectors:
        """Return the vectors of the last words of windows of one length, (N, E), without any cache."""
        if self.model is None:
            self.model = load_bert(self.folder).to(self.device)
        pieces = torch.tensor([window.pieces for window in windows], device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            hidden = self.model(input_ids=pieces, attention_mask=torch.ones_like(pieces)).last_hidden_state.float()
        last = [above[-window.last :].mean(0) for above, window in zip(hidden, windows, strict=True)]
        vectors: Vectors = torch.stack(last).cpu().numpy()
        return vectors


def load_bert(folder: BertFolder) -> Any:  # noqa: ANN401 - transformers' own class
    """Return the model of a folder, in fp32 and ready to be used; nothing is downloaded, no code of the folder is run.

    Raises
    ------
    MissingExtra
        where transformers is not installed.
    ModelError
        where the weights do not fit the config.json beside them.
    """
    try:
        from transformers import AutoModel, logging
    except ImportError as error:
        raise MissingExtra(f"{folder.path} is a BERT; to use it, transformers", "bert") from error
    loud, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        model, found = AutoModel.from_pretrained(
            str(folder.path), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # transformers raises what it likes
        problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"transformers cannot load {folder.path}: {problem}", hint="copy it again") from error
    finally:
        logging.set_verbosity(loud)
        if bars:
            logging.enable_progress_bar()
    lacking = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if lacking:  # transformers would draw them by lot
        raise ModelError(f"the weights of {folder.path} lack {lacking[0]}", hint="copy it again")
    return spare_last_layer(model.float().eval())


def spare_last_layer(model: Any) -> Any:  # noqa: ANN401 - transformers' own class
    """Let the last layer's rows, once they have looked at each other, go on only where a last word can be.

    Those are the MOST_PIECES before [SEP], or fewer: `last_hidden_state` has no other rows then. Nothing reads the
    pooler, which goes. What is left is as it was, to rounding.
    """

    def cut(_: object, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(rows[:, -1 - MOST_PIECES : -1] for rows in given)

    above = model.transformer.layer[-1] if model.config.model_type == "distilbert" else model.encoder.layer[-1]
    sums = above.sa_layer_norm if model.config.model_type == "distilbert" else above.attention.output
    sums.register_forward_pre_hook(cut)
    model.pooler = None
    return model


def bert_of(path: str, device: torch.device, precision: str = "fp32") -> FrozenBert:
    """Return the BERT of a folder; networks with the same one share it.

    Raises
    ------
    ModelError
        for a folder that holds none: see `open_bert`.
    """
    folder = open_bert(path)
    changed = tuple((folder.path / name).stat().st_mtime_ns for name in ("config.json", "model.safetensors"))
    return _shared(path, device, precision, changed, default_cache_folder())


@lru_cache(maxsize=2)
def _shared(path: str, device: torch.device, precision: str, changed: tuple[int, ...], cache: Path) -> FrozenBert:
    return FrozenBert(open_bert(path), device, precision)
