"""The ``causepath`` command: one file per verb; exit statuses are applied here and nowhere else."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError
from cyclopts import UnknownOptionError as UnknownOptionOfParser

from causepath_analyzer import __version__
from causepath_analyzer.cli import report
from causepath_analyzer.cli.deferred import defer_all
from causepath_analyzer.cli.inputs import UnknownOptionError
from causepath_analyzer.cli.meant import refuse_option, understood
from causepath_analyzer.cli.output import complain
from causepath_analyzer.errors import CausepathError, ExitStatus

__all__ = ["app", "invoke", "main"]

_INTERRUPTED: Final = 130
_BROKEN_PIPE: Final = 141

app = App(
    name="causepath",
    usage="Usage: causepath [PATH...] [OPTIONS]  or  causepath COMMAND ...",
    help=(
        "Find out why an LLM agent is slow and expensive, from its traces.\n\n"
        "`causepath FILE` reports on the traces in FILE: OTLP, Jaeger, Zipkin, Tempo, Langfuse, "
        "Phoenix, MLflow, LangSmith, OpenAI Agents, Claude Code, console output; a folder of them, "
        "or `-` for standard input. Without FILE it reads `causepath-traces.jsonl` here.\n\n"
        "`causepath http://localhost:16686 --service demo --since 1h` asks Jaeger or Tempo; "
        "`causepath http://localhost:16686/trace/ID` is an address as the browser shows it."
    ),
    help_epilogue=(
        "Exit status: 0 fine, 1 budget broken, slower or prediction missed, 2 usage or "
        "configuration, 3 inconclusive, 4 input unreadable (in part with --strict), 5 no traces."
    ),
    version=__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
app.default(report.report)
app.command(report.report, name="report")
for _name, _place in (
    # Each is imported when it is called, or when help lists it.
    ("check", "check:check"),
    ("completion", "completion:completion"),
    ("diff", "diff:diff"),
    ("doctor", "doctor:doctor"),
    ("explain", "explain:explain"),
    ("export", "export:export"),
    ("list", "list_runs:list_runs"),
    ("run", "run:run"),
    ("verify", "verify:verify"),
    ("whatif", "whatif:whatif"),
):
    app.command(f"{__name__}.{_place}", name=_name)


def main() -> None:
    """The entry point of the command."""
    defer_all()
    sys.exit(invoke(sys.argv[1:]))


def _called(arguments: Sequence[str]) -> object:
    if arguments and arguments[0] in app.help_flags:
        for name in app:
            app[name]  # imports it, so that its line is there
    try:
        return app(
            list(arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except UnknownOptionError as error:
        refuse_option(str(error), _options())
        raise
    except UnknownOptionOfParser as error:
        if error.token is not None and error.token.keyword is not None:
            refuse_option(error.token.keyword, _options())
        raise


def _options() -> list[str]:
    """Lists the options that commands have."""
    commands = [app[name] for name in app if not name.startswith("-")]
    return sorted(
        {
            name
            for command in commands
            for argument in command.assemble_argument_collection()
            for name in argument.names
            if name.startswith("-")
        }
    )


def invoke(arguments: Sequence[str]) -> int:
    """Runs the command with `arguments` and gives its exit status."""
    try:
        status = _called(understood(arguments, (name for name in app if not name.startswith("-"))))
        sys.stdout.flush()
    except CycloptsError as error:
        complain(f"{error}".strip())
        return ExitStatus.USAGE
    except CausepathError as error:
        complain(str(error))
        return error.status
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        complain("interrupted")
        return _INTERRUPTED
    return status if isinstance(status, int) else ExitStatus.FINE
