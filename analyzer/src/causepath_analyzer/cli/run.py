"""``causepath run -- CMD``: run a program with the plugin on, and report on what it did."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Annotated, Final
from uuid import uuid4

from cyclopts import Parameter
from msgspec.structs import replace

from causepath_analyzer.analyses.program import program_time
from causepath_analyzer.cli.account import ACCOUNT_VARIABLE, PROGRAM_VARIABLE, account_in
from causepath_analyzer.cli.finding_options import EVERY_FINDING, FindingOptions, wanted_rules
from causepath_analyzer.cli.inputs import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    Json,
    UnknownOptionError,
)
from causepath_analyzer.cli.output import complain, complain_about, marks, save, show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import (
    AllOption,
    AsciiOption,
    ColorOption,
    OutputOption,
    as_json,
    as_text,
    found_in,
)
from causepath_analyzer.errors import ExitStatus, UsageError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.read import Reading, SpansByTrace, read_stream, traces
from causepath_analyzer.read.input.source import open_source
from causepath_analyzer.report.formatting import short_id
from causepath_analyzer.report.program_text import program_text
from causepath_analyzer.report.unread import complaints

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
    prices: PricesOption = None,
    color: ColorOption = "auto",
    ascii_only: AsciiOption = False,
    all_: AllOption = False,
    output: OutputOption = None,
) -> int:
    """Run a program with the causepath plugin on, then report on what it did.

    Write `--` before the program. Its exit status is passed on. The report goes to standard
    error; JSON goes to standard output, and what the program prints there beside it, to standard
    error. The traces are appended to causepath-traces.jsonl.
    """
    if not command:
        raise UsageError("run what? Write: causepath run -- python agent.py")
    if command[0].startswith("-"):
        raise UnknownOptionError(command[0])
    rules = wanted_rules(findings)
    own = own_prices(prices)  # before the program: a mistake in it costs no run
    file = Path(os.environ.get(FILE_VARIABLE) or DEFAULT_FILE).absolute()
    before = file.stat().st_size if file.exists() else 0
    program = uuid4().hex
    with TemporaryDirectory(prefix="causepath-", ignore_cleanup_errors=True) as folder:
        account_file = Path(folder, "account.jsonl")
        account_file.touch()
        environment = {
            **os.environ,
            ENABLE_VARIABLE: "1",
            FILE_VARIABLE: str(file),
            PROGRAM_VARIABLE: program,
            ACCOUNT_VARIABLE: str(account_file),
        }
        # JSON on standard output is for a program to read: what ours prints there goes beside it.
        apart = json and output is None
        start_ns = time.time_ns()
        try:
            status = _child(command, environment, sys.stderr if apart else None)
        except FileNotFoundError:
            complain(f"{command[0]}: no such program")
            return _NOT_FOUND
        except OSError as error:
            complain(f"{command[0]}: cannot be run: {error.strerror}")
            return _NOT_EXECUTABLE
        end_ns = time.time_ns()
        account = account_in(account_file)
    reading = _appended(file, before, program)
    if reading is None:
        complain(account.why_nothing(file))
        return status or ExitStatus.NO_TRACES
    spent = program_time(
        start_ns, end_ns, reading.traces, account.loaded_ns, account.imported_ns, status
    )
    codes = tuple(rule.code for rule in rules)
    found = found_in(reading.traces, Task(with_json=json, codes=codes, prices=own))
    shown = [os.path.relpath(file)]
    if len(reading.traces) == 1:
        shown += ["--trace", short_id(reading.traces[0].trace_id)]
    if json:
        write(as_json(reading.inputs, found, spent), output)
        return status
    out = None if output is not None else sys.stderr
    kind = marks(ascii_only=ascii_only, stream=out, saved=output is not None)
    told = as_text(reading.inputs, found, shown, kind, rules, own, every_row=all_)
    lines = [*program_text(spent), *told]
    if output is not None:
        save(lines, output)
    else:
        show(lines, color, stream=out)
    return status


def _child(
    command: Sequence[str], environment: dict[str, str], stdout: IO[str] | None = None
) -> int:
    """Runs `command` to its end and gives its exit status; 128 + n if signal n ended it.

    What it prints goes to `stdout`, or where ours goes. Raises `OSError` if it cannot be started.
    """
    sys.stdout.flush()
    child = subprocess.Popen(command, env=environment, stdout=stdout)
    # Ctrl-C reaches the program as well: it decides when to end, and we report afterwards.
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = child.wait()
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)
    return status if status >= 0 else 128 - status


def _appended(file: Path, before: int, program: str) -> Reading | None:
    """Reads the traces that `program` added to `file` since it had `before` bytes, if there are
    any. Others may write to it at the same time; a writer that names no program is taken for ours.
    """
    if not file.exists():
        return None
    spans: SpansByTrace = {}
    with open_source(str(file)) as stream:
        if file.stat().st_size > before:
            stream.seek(before)
        else:
            stream.seek(0, os.SEEK_END)
        entry = read_stream(os.path.relpath(file), stream, spans)
    programs = {one: {span.program for span in found} for one, found in spans.items()}
    ours = {one: spans[one] for one, named in programs.items() if program in named}
    ours = ours or {one: spans[one] for one, named in programs.items() if named == {None}}
    if not ours:
        return None
    complain_about(complaints([entry]))
    return traces([replace(entry, spans=sum(map(len, ours.values())))], ours)
