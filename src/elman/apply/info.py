"""What a model is: its sizes, its units, how it was trained, what it scored."""

from __future__ import annotations

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
        "data": {key: card[key] for key in ("train", "valid") if key in card},
        "settings": card.get("settings", {}),
        "result": card.get("result", {}),
    }
