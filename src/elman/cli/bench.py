"""`elman bench`: how fast this machine is, and what elman makes of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.apply.bench.plan import ON_GPU, PART_NAMES, QUICK, Plan
from elman.cli.common import Device, Json, Threads, choose, note, number, print_json
from elman.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 110  # of tables where stdout is no terminal


def bench(
    parts: Annotated[
        list[str] | None, typer.Argument(metavar="machine|training|scoring|growth", help="which parts; unset, all")
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(metavar="H,H,...", help="hidden sizes that train; unset, 200,1000,5000")
    ] = None,
    dictionary: Annotated[
        int | None, typer.Option(min=10, max=10_000_000, help="dictionary size D; unset, 10000")
    ] = None,
    batches: Annotated[
        str | None,
        typer.Option("--batch", metavar="B,B,...", help="batch sizes that each may choose from; unset, 20,64,128,256"),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=1000, help="turns that each takes; unset, 5")] = None,
    precision: Annotated[str, typer.Option(metavar="auto|fp32|bf16", help="of elman's products")] = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="of the text and of the weights")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="a minute instead of several: smaller sizes, fewer turns")] = (
        False
    ),
    threads: Threads = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure speed: the machine, training against plain PyTorch, scoring, growth; all by turns."""
    for part in parts or ():
        choose_part(part)
    choose("precision", precision, ("auto", "fp32", "bf16"))
    plan = replace(QUICK if quick else Plan(), precision=precision, seed=seed, threads=threads)
    if hidden is not None:
        plan = replace(plan, hidden=sizes("hidden", hidden))
    if batches is not None:
        plan = replace(plan, batches=sizes("batch", batches))
    plan = replace(plan, dictionary=dictionary or plan.dictionary, rounds=rounds or plan.rounds, device=device)
    from elman.apply.bench.suite import bench as run
    from elman.network.devices import check_device

    able = PART_NAMES if device == "cpu" else ON_GPU
    for part in parts or ():
        if part not in able:
            raise UsageError(f"{part} is measured on the processor only", hint="leave --device out for it")
    check_device(device)
    result = run([name for name in able if name in (parts or able)], plan, note)
    if as_json:
        print_json(result)
    else:
        show(result)


def choose_part(name: str) -> None:
    """Refuse a part that there is not."""
    from elman.errors import nearest

    if name not in PART_NAMES:
        close = nearest(name, PART_NAMES)
        hint = f"did you mean {close}?" if close else f"choose among {', '.join(PART_NAMES)}"
        raise UsageError(f"there is no part {name!r} of the benchmark", hint=hint)


def sizes(flag: str, text: str) -> tuple[int, ...]:
    """Read sizes with commas between them.

    >>> sizes("hidden", "200, 1000")
    (200, 1000)
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) <= 6 and int(part) >= 1 for part in parts):
        raise UsageError(f"--{flag} {text!r} is no list of sizes", hint=f"for example --{flag} 200,1000")
    return tuple(dict.fromkeys(int(part) for part in parts))


def show(result: Mapping[str, Any]) -> None:
    """Print what was measured as tables on stdout."""
    from rich.console import Console

    screen = Console(file=sys.stdout, highlight=False)
    if not screen.is_terminal:
        screen = Console(file=sys.stdout, highlight=False, width=WIDTH)
    here = result["where"]
    line = f"{here['when']}: elman {here['elman']}, torch {here['torch']}, {here['system']} {here['processor']}, "
    line += f"{here['threads']} of {here['processors']} processors"
    line += "" if here["device"] == "cpu" else f", {here['device']}"
    screen.print(line + ("" if here["load"] is None else f", load {here['load']:.2f} at the start"), soft_wrap=True)
    tables = {"machine": show_machine, "training": show_training, "scoring": show_scoring, "growth": show_growth}
    for name, table in tables.items():
        if name in result:
            table(screen, result[name])


def show_table(screen: Console, title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print one table: the first column is text, the others are numbers."""
    from rich.box import SIMPLE
    from rich.table import Table

    screen.print(f"\n{title}", soft_wrap=True)
    table = Table(box=SIMPLE)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=place > 0)
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def median_of(entry: Mapping[str, Any] | None) -> str:
    """Format the median of an entry, or a dash where there is none."""
    return number(None if entry is None else entry["median"])


def show_machine(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print rates of products and of memory."""
    rows = [
        (row["name"], " x ".join(map(str, row["sizes"])), median_of(row["fp32"]), median_of(row["bf16"]))
        for row in facts["gemm_gflops"]
    ]
    show_table(screen, "Products, GFLOP/s", ("", "N x K x M", "fp32", "bf16"), rows)
    memory = [(name, median_of(entry)) for name, entry in facts["memory_gb_per_second"].items()]
    show_table(screen, "Memory, GB/s (a copy reads and writes)", ("", "GB/s"), memory)


def show_training(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print training speeds, a table for each H."""
    for size in facts["sizes"]:
        rivals = list(next(iter(size["ratios"].values())))
        rows = []
        for name, row in size["contestants"].items():
            against = size["ratios"].get(name, {})
            share = row["share_of_gemm"]
            rows.append(
                (
                    name,
                    row["precision"],
                    str(row["batch"]),
                    f"{row['words_per_second']:,.0f}",
                    *(f"{against[rival]:.2f}" if rival in against else "-" for rival in rivals),
                    number(row["gflops"], 3),
                    "-" if share is None else f"{share:.0%}",
                    "-" if row["waiting_share"] is None else f"{row['waiting_share']:.2%}",
                )
            )
        gemm = ", ".join(f"{kind} {rate:.0f}" for kind, rate in size["gemm_gflops"].items())
        title = f"Training, H = {size['hidden']}, D = {facts['dictionary']}, T = {facts['bptt']} (GEMM now: {gemm})"
        against_names = (f"x {rival}" for rival in rivals)
        show_table(screen, title, ("", "", "B", "words/s", *against_names, "GFLOP/s", "of GEMM", "waits"), rows)
    screen.print(f"Preparing the text: {facts['prepared_per_second']:,.0f} words/s")


def show_scoring(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print scoring speeds and latencies."""
    where = f"H = {facts['hidden']}, D = {facts['dictionary']}"
    rows = [(name, f"{entry['median']:,.0f}") for name, entry in facts["words_per_second"].items()]
    show_table(screen, f"Scoring, {where}", ("", "words/s"), rows)
    steps = [(name, f"{entry['p50']:.3f}", f"{entry['p99']:.3f}") for name, entry in facts["step_ms"].items()]
    show_table(screen, f"One step, {where}, one thread, ms", ("", "p50", "p99"), steps)


def show_growth(screen: Console, facts: Mapping[str, Any]) -> None:
    """Print how time and memory grow."""
    rows: list[tuple[str, ...]] = []
    for quantity, table in facts.items():
        for size, seconds, megabytes in zip(table["sizes"], table["seconds"], table["peak_mb"], strict=True):
            name = f"{quantity} ({table['seconds_of']})" if size == table["sizes"][0] else ""
            rows.append((name, f"{size:,}", number(1000 * seconds), number(megabytes)))
        exponents = (table["seconds_exponent"], table["peak_mb_exponent"])
        rows.append(("", "fitted exponent", *(number(value, 2) for value in exponents)))
    show_table(screen, "Growth", ("", "size", "ms", "peak MB"), rows)
