"""``causepath run -- CMD``: run a program with the plugin on, and report on what it did."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from causepath_analyzer.cli.finding_options import EVERY_FINDING, FindingOptions, wanted_rules
from causepath_analyzer.cli.inputs import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    Json,
    complaints,
)
from causepath_analyzer.cli.output import complain, complain_about, marks, save, show, write
from causepath_analyzer.cli.report import (
    AsciiOption,
    ColorOption,
    OutputOption,
    as_json,
    as_text,
    found_in,
)
from causepath_analyzer.errors import ExitStatus, NoTracesError, UsageError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.read import Reading, SpansByTrace, read_stream, traces
from causepath_analyzer.read.input.source import open_source

ENABLE_VARIABLE: Final = "CAUSEPATH"
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


def run(
    *command: Annotated[
        str,
        Parameter(help="The program and its arguments.", metavar="CMD", allow_leading_hyphen=True),
    ],
    json: Json = False,
    findings: FindingOptions = EVERY_FINDING,
    color: ColorOption = "auto",
    ascii_only: AsciiOption = False,
    output: OutputOption = None,
) -> int:
    """Run a program with the causepath plugin on, then report on what it did.

    Write `--` before the program. Its exit status is passed on. The report goes to standard
    error, JSON to standard output. The traces are appended to causepath-traces.jsonl.
    """
    if not command:
        raise UsageError("run what? Write: causepath run -- python agent.py")
    rules = wanted_rules(findings)
    file = Path(os.environ.get(FILE_VARIABLE) or DEFAULT_FILE).absolute()
    before = file.stat().st_size if file.exists() else 0
    environment = {**os.environ, ENABLE_VARIABLE: "1", FILE_VARIABLE: str(file)}
    try:
        status = _child(command, environment)
    except FileNotFoundError:
        complain(f"{command[0]}: no such program")
        return _NOT_FOUND
    except OSError as error:
        complain(f"{command[0]}: cannot be run: {error.strerror}")
        return _NOT_EXECUTABLE
    try:
        reading = _appended(file, before)
    except NoTracesError as error:
        complain(str(error))
        return status or ExitStatus.NO_TRACES
    shown = os.path.relpath(file)
    found = found_in(reading.traces, Task(with_json=json, codes=tuple(rule.code for rule in rules)))
    if json:
        write(as_json(reading.inputs, found), output)
    elif output is not None:
        save(as_text(reading.inputs, found, [shown], marks(ascii_only=ascii_only), rules), output)
    else:
        kind = marks(ascii_only=ascii_only, stream=sys.stderr)
        show(as_text(reading.inputs, found, [shown], kind, rules), color, stream=sys.stderr)
    return status


def _child(command: Sequence[str], environment: dict[str, str]) -> int:
    """Runs `command` to its end and gives its exit status; 128 + n if signal n ended it.

    Raises `OSError` if it cannot be started.
    """
    sys.stdout.flush()
    child = subprocess.Popen(command, env=environment)
    # Ctrl-C reaches the program as well: it decides when to end, and we report afterwards.
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = child.wait()
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)
    return status if status >= 0 else 128 - status


def _appended(file: Path, before: int) -> Reading:
    """The traces that were added to `file` since it had `before` bytes."""
    nothing = (
        f"no traces in {file}: is the causepath plugin installed for that program? "
        "Traces it exports elsewhere (OTEL_* variables) are not read here"
    )
    if not file.exists():
        raise NoTracesError(nothing)
    spans: SpansByTrace = {}
    with open_source(str(file)) as stream:
        if file.stat().st_size > before:
            stream.seek(before)
        else:
            stream.seek(0, os.SEEK_END)
        entry = read_stream(os.path.relpath(file), stream, spans)
    if not spans:
        raise NoTracesError(nothing)
    complain_about(complaints([entry]))
    return traces([entry], spans)
