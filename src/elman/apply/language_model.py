"""The Python API: `elman.train`, `elman.load`, and the language model that both return."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elman.apply import predict as prediction
from elman.apply.evaluate import Evaluation, evaluate
from elman.apply.info import info
from elman.apply.score import score_line
from elman.config import SECTIONS, build, full_key, known_keys, read_recipe
from elman.errors import OutputError, UsageError, nearest
from elman.learn.run import train_model
from elman.network.folder import CONFIG, Model, load_model, save_card, save_config, save_weights
from elman.network.model import State
from elman.network.step import Stepper


class LanguageModel:
    """A trained model: Pr{ w(t+1) | w(t), h(t-1) } and what follows from it. Log-probabilities are natural logs."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def __repr__(self) -> str:
        facts = info(self.model)
        shape = facts["network"]
        return (
            f"LanguageModel(unit={facts['unit']!r}, D={facts['dictionary_size']}, H={shape['hidden']}, "
            f"layers={shape['layers']}, activation={shape['activation']!r})"
        )

    @property
    def card(self) -> dict[str, Any]:
        """How the model was trained, on what, and what it scored."""
        return self.model.card

    def evaluate(self, path: str | Path, **options: Any) -> Evaluation:  # noqa: ANN401 - those of apply.evaluate
        """Score a text file; options are those of `elman.apply.evaluate.evaluate`."""
        return evaluate(self.model, path, **options)

    def perplexity(self, path: str | Path) -> float:
        """Return the perplexity per word of a text file, sentence ends counted, unseen words left out."""
        return self.evaluate(path).perplexity

    def score(self, text: str, *, base: str = "e", oov: str = "skip") -> float:
        """Return the log-probability of a sentence and of its end, from s(0)."""
        return score_line(self.model, text, base=base, oov=oov)

    def predict(self, text: str, k: int = 10) -> list[tuple[str, float]]:
        """Return the k likeliest next symbols with their probabilities; never <unk>."""
        return prediction.predict(self.model, text, k).next

    def generate(
        self,
        prompt: str = "",
        *,
        tokens: int | None = None,
        sentences: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> str:
        """Return the prompt and text drawn after it (see `apply.predict.generate`): one sentence if nothing is said."""
        drawn = prediction.generate(
            self.model,
            prompt,
            tokens=tokens,
            sentences=sentences,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            generator=self._generator(seed),
        )
        return prediction.join(self.model, prompt, list(drawn)).removesuffix("\n")

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator

    def start(self) -> tuple[State, Tensor]:
        """Return the state at the start of a sentence, and log y, (D,): the log-probability of every first symbol."""
        return self.step(self.model.network.initial_state(1), self.model.tokenizer.end_id)

    def initial_state(self) -> State:
        """Return the state at the start of a sentence: s(0), after which the sentence end has been read."""
        return self.start()[0]

    def step(self, state: State, token: str | int) -> tuple[State, Tensor]:
        """Read one symbol; return the next state and log y, (D,): the log-probability of every symbol after it.

        >>> state = lm.initial_state()                       # doctest: +SKIP
        >>> for word in "can you pick up milk at the".split():
        ...     state, log_probs = lm.step(state, word)      # doctest: +SKIP
        """
        state, log_probs = self.model.network.step(state, self.symbol(token))
        return state, log_probs[0]

    def stepper(self, *, weights: str = "fp32") -> Stepper:
        """Return the network ready to step, with its own V stored in full, in bf16 or in int8: see `Stepper`.

        >>> stepper = lm.stepper(weights="int8")                         # doctest: +SKIP
        >>> state = stepper.initial_state()                              # doctest: +SKIP
        >>> state, log_probs = stepper.step(state, lm.symbol("milk"))    # doctest: +SKIP
        """
        return Stepper(self.model.network, weights=weights)

    def symbol(self, token: str | int) -> Tensor:
        """Return a symbol as `step` and a `stepper` read it, (1,); a word that is not known is <unk>.

        Raises
        ------
        UsageError
            for a symbol that is not in the dictionary, where there is no <unk>.
        """
        tokenizer = self.model.tokenizer
        symbol = tokenizer.id(token) if isinstance(token, str) else token
        if symbol is None:
            symbol = tokenizer.unk_id
        if symbol is None or not 0 <= symbol < tokenizer.size:
            raise UsageError(f"there is no symbol {token!r} in the dictionary of {tokenizer.size} symbols")
        return torch.tensor([symbol], device=next(self.model.network.parameters()).device)

    def tokens(self) -> Iterator[str]:
        """Give the symbols of the dictionary in the order of `step`'s log-probabilities."""
        return map(self.model.tokenizer.token, range(self.model.tokenizer.size))

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write the model folder: config.json, model.safetensors, tokenizer.json, card.json.

        Raises
        ------
        OutputError
            for a folder that cannot be written, or that holds a model already, unless `overwrite` is set.
        """
        path = Path(folder)
        if (path / CONFIG).exists() and not overwrite:
            raise OutputError(f"{path} already holds a model", hint="choose another folder, or set overwrite=True")
        save_config(path, self.model.network, self.model.tokenizer, self.model.regime)
        save_weights(path, self.model.network)
        save_card(path, self.model.card)


def load(folder: str | Path, *, device: str = "cpu") -> LanguageModel:
    """Read a model folder."""
    return LanguageModel(load_model(folder, device=device))


def train(
    train: str | Path,
    valid: str | Path | None = None,
    *,
    out: str | Path | None = None,
    recipe: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,  # noqa: ANN401 - as config says
) -> LanguageModel:
    """Train a model on a text file.

    Parameters
    ----------
    valid
        a text to validate on; without it the last twentieth of the lines of `train`.
    out
        the folder to leave the model in; without it the model lives in memory only (see `LanguageModel.save`).
    recipe
        the name of a recipe, or a TOML file.
    settings
        any setting by its name, with or without its section: `hidden=200`, `unit="char"`, `learn_alpha=0.1`, ...
    """
    given = {setting_key(name): value for name, value in settings.items()}
    chosen = build(read_recipe(recipe) if recipe else {}, given)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="elman-") as folder:
            return LanguageModel(train_model(train, Path(folder), chosen, valid=valid))
    model = train_model(
        train, Path(out), chosen, valid=valid, given=given, resume=resume, overwrite=overwrite, command="elman.train"
    )
    return LanguageModel(model)


def setting_key(name: str) -> str:
    """Return the full key of a setting that is named as a keyword: `hidden`, or with its section, `network_hidden`."""
    section, _, rest = name.partition("_")
    if section in SECTIONS and rest:
        return full_key(f"{section}.{rest}")
    options = ("valid", "out", "recipe", "resume", "overwrite")
    settings = [key.split(".")[1] for key in known_keys()]
    if name not in settings and nearest(name, [*options, *settings]) in options:
        raise UsageError(f"there is no setting {name!r}", hint=f"did you mean {nearest(name, options)}?")
    return full_key(name)
