"""`elman evaluate`: how good a model is on a text, as it is or while it follows the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import (
    PRECISIONS,
    Device,
    Json,
    ModelFolder,
    Oov,
    Precision,
    Regime,
    Text,
    Threads,
    choose,
    load,
    note,
    print_json,
)
from elman.errors import UsageError

if TYPE_CHECKING:
    from elman.apply.evaluate import Evaluation
    from elman.apply.running import Adaptation
    from elman.network.folder import Model

DYNAMIC = ("sgd", "rms")
CACHES = ("neural", "plain", "decay", "bigram")


def evaluate(
    model: ModelFolder,
    text: Text,
    regime: Regime = None,
    batch: Annotated[
        int, typer.Option(min=1, help="running text: parallel streams; more than one is faster and approximate")
    ] = 1,
    oov: Oov = "skip",
    precision: Precision = "fp32",
    weights: Annotated[
        str, typer.Option(metavar="fp32|bf16|int8", help="how V is stored; says what that costs in perplexity")
    ] = "fp32",
    dump: Annotated[
        str | None, typer.Option(metavar="FILE", help="write each token's log-probability there; .gz packs it")
    ] = None,
    dynamic: Annotated[
        str | None, typer.Option(metavar="sgd|rms", help="go on learning from the text, each segment after its score")
    ] = None,
    dynamic_alpha: Annotated[float | None, typer.Option(help="its learning rate")] = None,
    dynamic_segment: Annotated[
        int | None, typer.Option(min=1, help="symbols that are scored, then learnt from")
    ] = None,
    dynamic_recurrent_rate: Annotated[
        float | None, typer.Option(help="sgd: what its rate is multiplied by for W")
    ] = None,
    dynamic_decay: Annotated[float | None, typer.Option(help="rms: the pull back to the trained weights")] = None,
    dynamic_epsilon: Annotated[float | None, typer.Option(help="rms: what is added to root mean squares")] = None,
    dynamic_statistics: Annotated[
        str | None,
        typer.Option(metavar="TRAIN", help="rms: a text for root mean squares of gradients; unset, --tune-on"),
    ] = None,
    cache: Annotated[
        str | None,
        typer.Option(metavar="neural|plain|decay|bigram", help="mix the model with a cache of the text so far"),
    ] = None,
    cache_size: Annotated[int | None, typer.Option(min=1, help="how many symbols it remembers")] = None,
    cache_weight: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="its weight in the mixture")] = None,
    cache_flatness: Annotated[
        float | None, typer.Option(min=0.0, help="neural: how much nearer states count more")
    ] = None,
    cache_rate: Annotated[float | None, typer.Option(min=0.0, help="decay: how fast a symbol is forgotten")] = None,
    tune_on: Annotated[
        str | None,
        typer.Option(metavar="VALID", help="choose --dynamic-alpha, --cache-flatness and --cache-weight there"),
    ] = None,
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say how good a model is on a text: perplexity as SRILM counts it, bits per character, words a second."""
    choose("regime", regime, ("running", "sentences"))
    choose("oov", oov, ("skip", "unk"))
    choose("precision", precision, PRECISIONS)
    choose("weights", weights, ("fp32", "bf16", "int8"))
    choose("dynamic", dynamic, DYNAMIC)
    choose("cache", cache, CACHES)
    following = {
        "alpha": dynamic_alpha,
        "segment": dynamic_segment,
        "recurrent_rate": dynamic_recurrent_rate,
        "decay": dynamic_decay,
        "epsilon": dynamic_epsilon,
    }
    remembering = {"size": cache_size, "weight": cache_weight, "flatness": cache_flatness, "rate": cache_rate}
    _check_flags("dynamic", dynamic, following | {"statistics": dynamic_statistics})
    _check_flags("cache", cache, remembering)
    if dump is None and dynamic is None and cache is None:
        if tune_on is not None:
            raise UsageError("--tune-on chooses nothing here", hint="say --dynamic sgd, or --cache neural")
        loaded = load(model, device, threads)
        from elman.apply.evaluate import evaluate as run

        result = run(loaded, text, regime=regime, batch=batch, oov=oov, precision=precision, weights=weights)
        _show(result, {}, as_json=as_json)
        return
    if batch != 1 or weights != "fp32":
        raise UsageError(
            "--dump, --dynamic and --cache read one stream, with V in full", hint="leave --batch and --weights"
        )
    loaded = load(model, device, threads)
    from elman.apply.dumps import write_dump
    from elman.apply.running import checked_precision, checked_regime, trace_text
    from elman.apply.traces import Trace

    adaptation = _adaptation(dynamic, following, cache, remembering)
    checked_regime(loaded, regime, adaptation)
    checked_precision(loaded, precision, adaptation)
    adaptation, chosen = _prepared(loaded, adaptation, dynamic_statistics, tune_on, oov)
    trace, result = trace_text(loaded, text, regime=regime, oov=oov, precision=precision, adaptation=adaptation)
    if dump is not None:
        write_dump(dump, Trace(model, trace.tokens, trace.log_probs), text=trace.name)
    _show(result, _facts(adaptation) | chosen, as_json=as_json)


def _check_flags(name: str, kind: str | None, flags: Mapping[str, object]) -> None:
    """Refuse flags of what was not asked for."""
    given = [f"--{name}-{flag}".replace("_", "-") for flag, value in flags.items() if value is not None]
    if kind is None and given:
        raise UsageError(f"{given[0]} means nothing without --{name}", hint=f"say --{name} too")


def _adaptation(
    dynamic: str | None, following: Mapping[str, Any], cache: str | None, remembering: Mapping[str, Any]
) -> Adaptation:
    from elman.apply.caches import Cache
    from elman.apply.dynamic import DEFAULTS
    from elman.apply.running import Adaptation

    def given(flags: Mapping[str, Any]) -> dict[str, Any]:
        return {flag: value for flag, value in flags.items() if value is not None}

    return Adaptation(
        dynamic=None if dynamic is None else replace(DEFAULTS[dynamic], **given(following)),
        cache=None if cache is None else Cache(kind=cache, **given(remembering)),
    )


def _prepared(
    model: Model, adaptation: Adaptation, statistics: str | None, tune_on: str | None, oov: str
) -> tuple[Adaptation, dict[str, Any]]:
    """Gather what rms needs and choose what --tune-on asks for; return that, and what was tried."""
    if adaptation.dynamic is not None and adaptation.dynamic.kind == "rms":
        if statistics is None and tune_on is None:
            raise UsageError(
                "--dynamic rms needs a text to gather gradients from",
                hint="say --dynamic-statistics TRAIN, or --tune-on VALID",
            )
        from elman.apply.running import with_statistics

        adaptation = with_statistics(model, adaptation, statistics or tune_on or "")
    if tune_on is None:
        return adaptation, {}
    from elman.apply.tuning import tune_adaptation

    choice = tune_adaptation(model, adaptation, tune_on, oov=oov)
    for what, value in choice.tried:
        note(", ".join(f"{name} {number:.4g}" for name, number in what.items()) + f": perplexity {value:.6g} a symbol")
    return choice.adaptation, choice.as_dict()


def _facts(adaptation: Adaptation) -> dict[str, Any]:
    """Return what the model did beside reading, as plain JSON values."""
    parts = {"dynamic": adaptation.dynamic, "cache": adaptation.cache}
    return {name: None if part is None else part.as_dict() for name, part in parts.items()}


def _show(result: Evaluation, facts: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result.as_dict() | dict(facts))
        return
    print(f"file {result.file}: {result.sentences} sentences, {result.words} words, {result.oovs} OOVs")
    print(
        f"{result.zeroprobs} zeroprobs, logprob= {result.logprob10:.6g} ppl= {result.perplexity:.6g} "
        f"ppl1= {result.perplexity1:.6g}"
    )
    line = f"{result.bits_per_character:.4f} bits per character, {result.words_per_second:.0f} words/s"
    if result.unit != "word":
        line += f", perplexity per {result.unit} {result.token_perplexity:.4f}"
    print(line)
    if result.full_perplexity is not None:
        cost = 100 * (result.perplexity / result.full_perplexity - 1)
        print(
            f"V stored in {result.weights}: ppl= {result.perplexity:.6g}, in full: ppl= {result.full_perplexity:.6g} "
            f"({cost:+.3f} %)"
        )
    if result.oovs:
        done = "left out" if result.oov == "skip" else "scored as <unk>"
        what = "words" if result.unit == "word" else "symbols"
        print(f"{result.oovs} {what} that training never saw were {done}")
    for name in ("dynamic", "cache"):
        if facts.get(name):
            print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts[name].items()))
