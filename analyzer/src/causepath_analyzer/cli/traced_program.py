"""A program that is run with the plugin on, and what it leaves: its traces, and its account."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import IO, Final
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.cli.account import (
    ACCOUNT_VARIABLE,
    PROGRAM_VARIABLE,
    Account,
    account_in,
)
from causepath_analyzer.cli.inputs import DEFAULT_FILE, FILE_VARIABLE
from causepath_analyzer.cli.meant import program_meant
from causepath_analyzer.cli.output import complain_about
from causepath_analyzer.errors import UsageError
from causepath_analyzer.read import Reading, SpansByTrace, read_stream, traces
from causepath_analyzer.read.input.source import open_source
from causepath_analyzer.report.unread import complaints

ENABLE_VARIABLE: Final = "CAUSEPATH"
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126


class NotStartedError(UsageError):
    """A program that there is not, or that cannot be run; a shell has a status for each."""

    def __init__(self, message: str, shell_status: int) -> None:
        super().__init__(message)
        self.shell_status = shell_status


class TracedProgram(Struct, frozen=True):
    """A program that has been run with the plugin on; no ``reading``: it added no traces to
    ``file``."""

    status: int
    """Its exit status; 128 + n if signal n ended it."""
    start_ns: int
    end_ns: int
    file: Path
    account: Account
    reading: Reading | None


def traced_program(command: Sequence[str], stdout: IO[str] | None = None) -> TracedProgram:
    """Runs `command` to its end. What it prints goes to `stdout`, or where ours goes.

    Raises `NotStartedError` if it cannot be started.
    """
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
        start_ns = time.time_ns()
        try:
            status = _child(command, environment, stdout)
        except FileNotFoundError:
            told = f"{command[0]}: no such program{program_meant(command)}"
            raise NotStartedError(told, _NOT_FOUND) from None
        except OSError as error:
            told = f"{command[0]}: cannot be run: {error.strerror}{program_meant(command)}"
            raise NotStartedError(told, _NOT_EXECUTABLE) from None
        end_ns = time.time_ns()
        account = account_in(account_file)
    return TracedProgram(status, start_ns, end_ns, file, account, _appended(file, before, program))


def _child(command: Sequence[str], environment: dict[str, str], stdout: IO[str] | None) -> int:
    """Runs `command` to its end and gives its exit status; 128 + n if signal n ended it.

    Raises `OSError` if it cannot be started.
    """
    sys.stdout.flush()
    child = subprocess.Popen(command, env=environment, stdout=stdout)

    def pass_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    # Ctrl-C reaches the program as well, and SIGTERM is for it: it decides when to end, and we
    # report afterwards.
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, pass_on)
    try:
        status = child.wait()
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
