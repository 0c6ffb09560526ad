"""The program `elman`: its commands, and what it says when something goes wrong."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from elman import __version__
from elman.cli import (
    bench,
    classify,
    demo,
    dna,
    evaluate,
    explain,
    listings,
    mix,
    ngram,
    plot,
    train,
    tune,
    use,
    validation,
    vectors,
)
from elman.errors import ElmanError, UsageError, nearest

# typer brings a click of its own since 0.29, and before that the one that is installed: either way its complaints
# about arguments have this class.
Complaint: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

INTERRUPTED = 130

app = typer.Typer(
    name="elman",
    help="Recurrent language models: train them on any sequence of symbols, and put them to work.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for command in (
    train.train,
    tune.tune,
    evaluate.evaluate,
    mix.mix,
    use.predict,
    use.generate,
    use.score,
    explain.explain,
    use.info,
    demo.demo,
    plot.plot,
    bench.bench,
    listings.recipes,
    listings.settings,
):
    app.command()(command)
app.add_typer(ngram.app)
classify.app.command()(validation.validate)
app.add_typer(classify.app)
app.add_typer(vectors.app)
app.add_typer(dna.app)


def _version(asked: bool) -> None:
    if asked:
        print(f"elman {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def elman(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Recurrent language models: train them on any sequence of symbols, and put them to work."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave with its exit code: 0, 1 for a failure, 2 for wrong usage, 130 for an interrupt."""
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - where a stream was closed: elman info >&-
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal cannot show is escaped, and stops nothing
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # impatience on the way out would only leave temporary files
    except KeyboardInterrupt:  # a second one, while the first was answered
        code = INTERRUPTED
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the program; return its exit code. A user's mistake is one sentence on stderr and a hint, no traceback."""
    # Threads that wait for each other spin for a short while, then sleep (torch's OpenMP on Linux, read when it loads).
    # Left to spin, two threads that share a core with anything else waste half of it: see docs/log.md.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Memory that is new comes in pages of 2 MB (torch on Linux), which are ready four times sooner than ones of 4 KB.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        result = typer.main.get_command(app).main(
            list(arguments), prog_name="elman", standalone_mode=False, obj=list(arguments)
        )
        sys.stdout.flush()
        if result == INTERRUPTED:  # how typer says that there was a KeyboardInterrupt
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except ElmanError as error:
        return _say(error)
    except Complaint as error:
        return _say(_usage(error))
    except (KeyboardInterrupt, typer.Abort):
        print("elman: interrupted; what was saved before is good", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of stdout went away, as `head` does
        _drop_output()
        return 1
    except MemoryError:
        return _say(ElmanError("there is not enough memory", hint="make --hidden, --batch or --vocab-size smaller"))
    except RuntimeError as error:
        if "can't allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
        return _say(ElmanError("there is not enough memory", hint="make --hidden, --batch or --vocab-size smaller"))
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:  # it was stdout that could not be written: Python would try again, and complain, as it ends
            _drop_output()
        where = f" {error.filename}" if error.filename else ""
        return _say(ElmanError(f"the system refused{where}: {error.strerror or error}"))


def _drop_output() -> None:
    """Send what is still to be written to stdout nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(error: ElmanError) -> int:
    print(f"elman: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)
    return error.exit_code


def _usage(error: Any) -> UsageError:  # noqa: ANN401 - see Complaint
    """Turn a complaint of the command-line library into one of ours, with the nearest flag or command as a hint."""
    message = " ".join(error.format_message().rstrip(".").split()).replace(": Input should", ": it should")
    context = error.ctx
    path = context.command_path if context is not None else "elman"
    hint = f"{path} --help says what it takes"
    if context is not None and type(error).__name__ == "NoSuchOption":
        flags = [flag for parameter in context.command.params for flag in parameter.opts]
        close = nearest(error.option_name, flags)
        message = f"there is no flag {error.option_name}"
        hint = f"did you mean {close}? {hint}" if close else hint
    elif context is not None and message.startswith("No such command"):
        name = message.split("'")[1]
        close = nearest(name, context.command.commands)
        message = f"there is no command {name!r}"
        hint = f"did you mean {close}? {hint}" if close else hint
    return UsageError(message[0].lower() + message[1:], hint=hint)


if __name__ == "__main__":
    main()
