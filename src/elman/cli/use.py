"""The commands that put a model to work: predict, generate, score, info."""

from __future__ import annotations

import secrets
import sys
import time
from typing import TYPE_CHECKING, Annotated

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
    can_print,
    choose,
    load,
    note,
    number,
    print_json,
    print_json_line,
)
from elman.errors import UsageError

if TYPE_CHECKING:
    from elman.network.folder import Model


def predict(
    model: ModelFolder,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="the words so far; - reads them from standard input")],
    top: Annotated[int, typer.Option(min=1, help="how many answers")] = 10,
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Say what comes next, with probabilities."""
    loaded = load(model, device, threads)
    from elman.apply.predict import predict as run

    result = run(loaded, prompt_text(prompt), top)
    if as_json:
        print_json(result.as_dict())
        return
    warn_of_unknown(result.unknown)
    print_bars(result.next)
    if result.unk_probability is not None:
        note(f"<unk>, which is no answer, has probability {result.unk_probability:.4f}")


def prompt_text(prompt: str) -> str:
    """Return the prompt, from standard input if it is `-`."""
    if prompt != "-":
        return prompt
    data = sys.stdin.buffer.read() if sys.stdin is not None else b""
    return data.decode("utf-8", errors="surrogateescape").rstrip("\n")  # as arguments are decoded


def warn_of_unknown(unknown: list[str]) -> None:
    """Say which words of a prompt training never saw."""
    if unknown:
        note(f"not in the dictionary, and read as unknown: {', '.join(unknown)}")


def print_bars(answers: list[tuple[str, float]]) -> None:
    """Print tokens with their probabilities, one a line, with bars to compare them by."""
    names = [token if token.isprintable() and token == token.strip() else repr(token) for token, _ in answers]
    width = max(map(len, names))
    most = max(probability for _, probability in answers)
    block = "█" if can_print("█") else "#"
    for name, (_, probability) in zip(names, answers, strict=True):
        print(f"{name:<{width}}  {probability:.4f}  {block * max(1, round(30 * probability / most))}")


def generate(
    model: ModelFolder,
    prompt: Annotated[str, typer.Option(help="the text to go on from")] = "",
    tokens: Annotated[
        int | None, typer.Option(min=1, help="symbols to write at the most; unset, 100 a sentence")
    ] = None,
    sentences: Annotated[
        int | None, typer.Option(min=1, help="sentences to write; unset, one, or what --tokens allows")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest, 1 draws as the model says")] = 1.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="draw among the K likeliest")] = None,
    top_p: Annotated[float | None, typer.Option(help="draw among the likeliest that hold this probability")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="the same seed writes the same text")] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="draw --tokens symbols in so many running texts side by side: much text")
    ] = None,
    unk: Annotated[
        bool, typer.Option("--unk", help="with --streams: <unk> may be drawn, as a text to learn from needs")
    ] = False,
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Write text, one symbol after the other."""
    if streams is not None:
        alone = {"--prompt": prompt, "--sentences": sentences, "--top-k": top_k, "--top-p": top_p}
        wrong = [name for name, value in alone.items() if value]
        if wrong or tokens is None:
            what = f"goes without {' and '.join(wrong)}" if wrong else "needs --tokens, how many symbols to draw in all"
            raise UsageError(f"--streams {what}", hint="elman generate MODEL --streams 100 --tokens 1000000")
    elif unk:
        raise UsageError("--unk goes with --streams only", hint="one text after a prompt never has <unk>")
    loaded = load(model, device, threads)
    if streams is not None and tokens is not None:
        _write_much(loaded, tokens, streams, temperature, unk, seed, as_json)
        return
    import torch

    from elman.apply.predict import generate as run
    from elman.apply.predict import join, read_prompt, stream

    chosen = secrets.randbits(31) if seed is None else seed
    warn_of_unknown(read_prompt(loaded, prompt)[2])
    symbols = run(
        loaded,
        prompt,
        tokens=tokens,
        sentences=sentences,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=torch.Generator().manual_seed(chosen),
    )
    if as_json:
        drawn = list(symbols)
        names = [loaded.tokenizer.token(symbol) for symbol in drawn]
        print_json({"prompt": prompt, "text": join(loaded, prompt, drawn), "tokens": names, "seed": chosen})
        return
    last = ""
    for piece in stream(loaded, prompt, symbols):
        sys.stdout.write(piece)
        sys.stdout.flush()
        last = piece or last
    if not last.endswith("\n"):
        print()


def _write_much(
    model: Model, tokens: int, streams: int, temperature: float, unk: bool, seed: int | None, as_json: bool
) -> None:
    """Write text that is drawn side by side, a sentence a line."""
    import torch

    from elman.apply.sampling import sample
    from elman.cli.progress import SECONDS_BETWEEN_LINES

    chosen = secrets.randbits(31) if seed is None else seed
    spoken = time.monotonic()

    def tell(drawn: int) -> None:
        nonlocal spoken
        if time.monotonic() - spoken >= SECONDS_BETWEEN_LINES:
            spoken = time.monotonic()
            note(f"{min(drawn, tokens)} of {tokens} symbols drawn")

    lines = sample(
        model,
        tokens,
        streams,
        generator=torch.Generator().manual_seed(chosen),
        temperature=temperature,
        unk=unk,
        listener=tell,
    )
    texts = (model.tokenizer.decode(line) for line in lines)
    if as_json:
        print_json({"text": "".join(f"{line}\n" for line in texts), "seed": chosen})
        return
    for line in texts:
        print(line)


def score(
    model: ModelFolder,
    text: Text,
    tokens: Annotated[bool, typer.Option("--tokens", help="of each token too")] = False,
    base: Annotated[str, typer.Option(metavar="e|2|10", help="of the logarithm")] = "e",
    regime: Regime = "sentences",
    oov: Oov = "skip",
    precision: Precision = "fp32",
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Give the log-probability of each line, its end included; `log-probability<TAB>line`."""
    choose("base", base, ("e", "2", "10"))
    choose("regime", regime, ("running", "sentences"))
    choose("oov", oov, ("skip", "unk"))
    choose("precision", precision, PRECISIONS)
    loaded = load(model, device, threads)
    from elman.apply.score import lines_of
    from elman.apply.score import score as run
    from elman.text.reading import TextSource

    left_out = 0
    lines = lines_of(loaded, TextSource(text))
    for result in run(loaded, lines, regime=regime or "sentences", oov=oov, base=base, precision=precision):
        left_out += result.oovs
        if as_json:
            print_json_line(result.as_dict(tokens=tokens) | {"base": base})
            continue
        print(f"{result.log_prob:.6f}\t{result.line}")
        if tokens:
            for token in result.tokens:
                print(f"\t{'OOV' if token.log_prob is None else format(token.log_prob, '.6f')}\t{token.token!r}")
    if left_out and oov == "skip":
        note(f"{left_out} symbols that training never saw were left out")


def info(model: ModelFolder, as_json: Json = False) -> None:
    """Say what a model is: sizes, units, how it was trained, what it scored."""
    loaded = load(model)
    from elman.apply.info import info as run

    facts = run(loaded)
    if as_json:
        print_json(facts)
        return
    shape, result, trained = facts["network"], facts["result"], facts["trained"]
    print(f"{model}: {facts['parameters']:,} parameters, regime {facts['regime']}")
    print(f"  unit {facts['unit']}, D = {facts['dictionary_size']}, <unk> trained: {facts['unk_trained']}")
    print(
        f"  {shape['layers']} {shape['cell']} layer(s), H = {shape['hidden']}, {shape['activation']}, "
        f"input {shape['encoder']}, output {shape['output']}"
    )
    for name, sizes in facts["weights"].items():
        print(f"    {name:<16} {' x '.join(map(str, sizes))}")
    for name, data in facts["data"].items():
        file, sentences, symbols, oovs = map(data.get, ("file", "sentences", "symbols", "oovs"))
        print(f"  {name}: {file}, {sentences} sentences, {symbols} symbols, {oovs} OOVs")
    if result:
        perplexity, seconds, speed = map(result.get, ("valid_perplexity", "seconds", "symbols_per_second"))
        print(
            f"  validation perplexity {number(perplexity)} after epoch {result.get('best_epoch')} of "
            f"{result.get('epochs')}; {number(seconds, 3)} s, {number(speed, 3)} symbols/s"
        )
    if trained:
        print(f"  trained {trained.get('created')} with elman {trained.get('elman')}: {trained.get('command')}")
