"""Recurrent language models: Pr{ w(t+1) | w(t), h(t-1) }, trained on any sequence of symbols, and put to work.

import elman
lm = elman.train("corpus.txt", valid="valid.txt", hidden=200)
lm.predict("Can you pick up milk at the", 10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Classifier",
    "ElmanError",
    "LanguageModel",
    "__version__",
    "load",
    "load_classifier",
    "train",
    "train_classifier",
]

if TYPE_CHECKING:
    from elman.apply.classifier import Classifier, load_classifier, train_classifier
    from elman.apply.language_model import LanguageModel, load, train
    from elman.errors import ElmanError


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are anything
    """Import what is asked for only then: torch takes seconds, and `elman --help` needs none of it."""
    if name == "ElmanError":
        from elman.errors import ElmanError

        return ElmanError
    if name in ("LanguageModel", "load", "train"):
        from elman.apply import language_model

        return getattr(language_model, name)
    if name in ("Classifier", "load_classifier", "train_classifier"):
        from elman.apply import classifier

        return getattr(classifier, name)
    raise AttributeError(f"module 'elman' has no attribute {name!r}")
