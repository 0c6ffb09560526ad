"""What a model is: its sizes, its units, how it was trained, what it scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elman.network.folder import Model


def info(model: Model) -> dict[str, Any]:
    """Return what there is to know of a model, as plain JSON values."""
    network, tokenizer, card = model.network, model.tokenizer, model.card
    shapes = {name: list(weight.shape) for name, weight in network.named_parameters()}
    return {
        "unit": tokenizer.unit,
        "dictionary_size": tokenizer.size,
        "unk_trained": tokenizer.unk_trained,
        "regime": model.regime,
        "network": network.settings.model_dump(),
        "text": tokenizer.settings.model_dump(),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "weights": shapes,
        "trained": {key: card[key] for key in ("created", "command", "elman", "torch", "machine") if key in card},
        "data": {key: _part(card, key) for key in ("train", "valid") if _part(card, key)},
        "settings": _part(card, "settings"),
        "result": _part(card, "result"),
    }


def _part(card: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a part of a card; empty where there is none, or one that was damaged: a card changes no answer."""
    part = card.get(key)
    return part if isinstance(part, dict) else {}
