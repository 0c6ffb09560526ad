"""`elman mix`: several models as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Device, Json, Threads, choose, note, print_json
from elman.errors import UsageError

if TYPE_CHECKING:
    from elman.apply.members import Mixed
    from elman.apply.traces import Values


def mix(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MEMBER...",
            help="a model's folder, an .arpa file, dumps VALID.tsv:TEST.tsv, or cache:plain:500, cache:bigram:500, "
            "cache:decay:0.005",
        ),
    ],
    tune: Annotated[str | None, typer.Option(metavar="VALID", help="the text to find the weights on, by EM")] = None,
    text: Annotated[str | None, typer.Option(help="the text to test on")] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="M1,M2,...|FILE.json", help="the weights, in place of --tune; or what --out wrote"),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE.json", help="write members and weights there")] = None,
    dump: Annotated[
        str | None, typer.Option(metavar="FILE", help="write the mixture's log-probability of each token of --text")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="e|2|10", help="of dumps that do not state theirs")] = None,
    regime: Annotated[
        str | None, typer.Option(metavar="running|sentences", help="of models; unset, as each was trained")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="auto|fp32|bf16|int8", help="of models' products with V")] = "fp32",
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Mix models linearly, with weights found on a validation text: their perplexities, and that of the mixture."""
    choose("base", base, ("e", "2", "10"))
    choose("regime", regime, ("running", "sentences"))
    choose("precision", precision, ("auto", "fp32", "bf16", "int8"))
    _check(tune, text, weights, dump)
    import torch

    from elman.apply.members import open_member, read_members
    from elman.network.devices import check_device, default_threads

    check_device(device)
    torch.set_num_threads(threads or default_threads())
    given = None if weights is None else _given(weights, len(names))
    members = [
        open_member(
            name,
            both=tune is not None and text is not None,
            device=device,
            regime=regime,
            precision=precision,
            base=base,
        )
        for name in names
    ]
    valid = None if tune is None else read_members(members, tune, tuning=True)
    if given is None:
        assert valid is not None
        given = valid.tune().weights
    test = None if text is None else read_members(members, text, tuning=False)
    result: dict[str, Any] = {
        "members": names,
        "weights": given.tolist(),
        "tuned_on": tune if weights is None else None,
    }
    for key, path, mixed in (("tune", tune, valid), ("text", text, test)):
        if mixed is not None:
            result[key] = {"file": path} | _numbers(mixed, given)
    if out is not None:
        from elman.files import write_text

        write_text(Path(out), json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    if dump is not None and test is not None:
        from elman.apply.dumps import write_dump
        from elman.apply.traces import Trace

        write_dump(dump, Trace("mixture", test.tokens, test.mix(given)), text=text or "")
    if as_json:
        print_json(result)
        return
    _show(result)


def _check(tune: str | None, text: str | None, weights: str | None, dump: str | None) -> None:
    if tune is None and weights is None:
        raise UsageError("weights come from a text", hint="say --tune VALID, or give --weights")
    if tune is None and text is None:
        raise UsageError("there is no text", hint="say --text TEST, or --tune VALID")
    if "-" in (tune, text):
        raise UsageError("several members read the text, so it cannot be standard input", hint="give a file")
    if dump is not None and text is None:
        raise UsageError("--dump writes what the mixture says of a text", hint="say --text TEST too")


def _given(weights: str, members: int) -> Values:
    """Return weights from the command line, or from a file that `elman mix --out` wrote."""
    from elman.apply.mixtures import check_weights

    try:
        if weights.endswith(".json"):
            numbers = [float(w) for w in json.loads(Path(weights).read_text(encoding="utf-8"))["weights"]]
        else:
            numbers = [float(w) for w in weights.split(",")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--weights {weights!r} cannot be read as weights",
            hint="give numbers, as 0.6,0.4, or a file that elman mix --out wrote",
        ) from error
    return check_weights(numbers, members)


def _numbers(mixed: Mixed, weights: Values) -> dict[str, Any]:
    """Return what a text's counts are, as plain JSON values."""
    alone, together = mixed.tallies(weights)
    return {
        "left_out": mixed.left_out,
        "members": [count.as_dict() for count in alone],
        "mix": together.as_dict(),
    }


def _show(result: dict[str, Any]) -> None:
    texts = [result[key] for key in ("tune", "text") if key in result]
    for text in texts:
        mix = text["mix"]
        print(f"file {text['file']}: {mix['sentences']} sentences, {mix['words']} words, {mix['oovs']} OOVs")
    print("weight  " + "".join(f"{'ppl of ' + Path(text['file']).name:>30}" for text in texts))
    for i, (name, weight) in enumerate(zip(result["members"], result["weights"], strict=True)):
        columns = "".join(f"{_cell(text['members'][i]):>30}" for text in texts)
        print(f"{weight:.4f}  {columns}  {name}")
    print("mix     " + "".join(f"{_cell(text['mix']):>30}" for text in texts))
    for text in texts:
        mix = text["mix"]
        print(
            f"{text['file']}: {mix['zeroprobs']} zeroprobs, logprob= {mix['logprob10']:.6g} "
            f"ppl= {mix['perplexity']:.6g} ppl1= {mix['perplexity1']:.6g}"
        )
        if text["left_out"]:
            note(f"{text['left_out']} tokens of {text['file']} that a member leaves out were left out for all")


def _cell(count: dict[str, Any]) -> str:
    """Return a perplexity, with the tokens that it does not count, as impossible, beside it."""
    zeros = f" ({count['zeroprobs']} zeroprobs)" if count["zeroprobs"] else ""
    return f"{count['perplexity']:.6g}{zeros}"
