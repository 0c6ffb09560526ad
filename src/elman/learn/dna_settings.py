"""Which settings the training of a model of DNA follows. All others are refused: none is passed over in silence."""

from __future__ import annotations

from typing import Any

from elman.config import Settings, build, to_flat
from elman.errors import UsageError
from elman.learn.run import resolve
from elman.network.bases import check_plain

FOLLOWED = {
    "text": {"unit"},
    "network": {"encoder", "ngrams", "buckets", "counts", "counts_bits", "hidden", "activation", "bias"}
    | {"init", "init_range", "recurrent_init", "recurrent_scale", "output_scale"},
    "learn": {"optimizer", "alpha", "beta", "adam_beta1", "adam_beta2", "counts_rate", "batch", "bptt", "clip"}
    | {"input_rate", "recurrent_rate", "between_rate", "epochs", "schedule", "warmup", "decay", "min_improvement"}
    | {"patience", "seed", "threads", "log_every", "log"},
}
"""What has an effect with unit dna; a setting that is not here has to be as it is by default."""

CHOSEN: dict[str, tuple[Any, Any]] = {
    "network.output": ("auto", "full"),
    "learn.precision": ("auto", "fp32"),
    "learn.checkpoint_every": (1000, 0),
}
"""What a default becomes here: the net has four outputs and float32 numbers; there is a checkpoint after each pass."""


def resolve_dna(settings: Settings) -> Settings:
    """Make every automatic choice, as `run.resolve` does for a text.

    Raises
    ------
    UsageError
        for a setting that unit dna does not follow.
    """
    flat = to_flat(settings)
    settings = build(flat, {key: there for key, (here, there) in CHOSEN.items() if flat[key] == here})
    check_dna(settings)
    return resolve(settings)


def check_dna(settings: Settings) -> None:
    """Raise `UsageError` where a setting is not the default's and has no effect on the training of a model of DNA."""
    if settings.text.unit != "dna":
        raise UsageError(f"unit {settings.text.unit} is not trained on DNA", hint="add --unit dna")
    if settings.learn.device != "cpu":
        raise UsageError("unit dna trains on the cpu, one base after the other", hint="leave the device alone")
    if settings.learn.regime != "running":
        raise UsageError(f"unit dna has no regime {settings.learn.regime}", hint="leave the regime alone")
    check_plain(settings.network)
    if settings.learn.optimizer == "nt-asgd":
        raise UsageError(
            "unit dna averages no weights: optimizer cannot be nt-asgd", hint="choose sgd, adam or rmsprop"
        )
    usual = to_flat(Settings()) | {key: there for key, (_, there) in CHOSEN.items()}
    for key, value in to_flat(settings).items():
        section, name = key.split(".")
        if value != usual[key] and name not in FOLLOWED[section]:
            said = "unset" if usual[key] is None else f"at {str(usual[key]).lower()}"
            raise UsageError(f"unit dna does not follow {key} = {value!r}", hint=f"leave it {said}")
