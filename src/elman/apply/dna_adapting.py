"""Models of DNA that go on learning while they score: one that was trained, or one that begins with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from elman.apply.dna import AdaptingStrand
from elman.config import Settings, build, read_recipe
from elman.errors import ElmanError, ModelError, UsageError
from elman.learn.bases import BaseLearner
from elman.learn.run import resolve
from elman.network.bases_folder import BaseModel, new_contexts, new_network


@dataclass(frozen=True)
class Adapting:
    """What learns, and the rates it does so at: of the net, and of the weights that mix."""

    learner: BaseLearner
    alpha: float
    rate: float

    def strand(self, *, ambiguous: str = "skip") -> AdaptingStrand:
        """Return what scores by it."""
        return AdaptingStrand(self.learner, alpha=self.alpha, rate=self.rate, ambiguous=ambiguous)


def from_model(model: BaseModel, *, alpha: float | None = None, rate: float | None = None) -> Adapting:
    """Let a model go on learning, as its card says that it was trained, at constant rates; the model is changed.

    Raises
    ------
    ModelError
        for a card that does not say how the model was trained.
    """
    settings = _settings_of(model.card)
    return _adapting(BaseLearner(model.network.train(), model.contexts, settings.learn), settings, alpha, rate)


def from_nothing(settings: Settings, bases: int, *, alpha: float | None = None, rate: float | None = None) -> Adapting:
    """Begin with weights drawn at random from `learn.seed` and no counts, with room for those of so many bases."""
    settings = resolve(settings)
    network = new_network(settings.network, torch.Generator().manual_seed(settings.learn.seed))
    learner = BaseLearner(network, new_contexts(settings.network, bases), settings.learn)
    return _adapting(learner, settings, alpha, rate)


def recipe_of_dna(name: str) -> Settings:
    """Return the settings of a recipe, which has to be one for DNA.

    Raises
    ------
    UsageError
        for a name or file that is no recipe, and a recipe for text.
    """
    settings = build(read_recipe(name))
    if settings.text.unit != "dna":
        raise UsageError(f"the recipe {name} is for unit {settings.text.unit}, not for dna", hint="give recipe:dna")
    return settings


def _settings_of(card: Mapping[str, Any]) -> Settings:
    try:
        return resolve(build(card["settings"]))
    except (KeyError, TypeError, AttributeError, ElmanError) as error:
        raise ModelError(
            "the model's card.json does not say how it was trained", hint="train it again, or score without --adapt"
        ) from error


def _adapting(learner: BaseLearner, settings: Settings, alpha: float | None, rate: float | None) -> Adapting:
    assert settings.learn.alpha is not None, "settings are resolved"
    return Adapting(
        learner,
        settings.learn.alpha if alpha is None else alpha,
        settings.learn.counts_rate if rate is None else rate,
    )
