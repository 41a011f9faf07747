"""``causepath run -- CMD``: run a program with the plugin on, and report on what it did."""

import os
import sys
from typing import Annotated

from cyclopts import Parameter

from causepath_analyzer.analyses.program import program_time
from causepath_analyzer.cli.finding_options import (
    EVERY_FINDING,
    FindingOptions,
    wanted_limits,
    wanted_rules,
)
from causepath_analyzer.cli.inputs import Json, UnknownOptionError
from causepath_analyzer.cli.output import complain, marks, save, show, write
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
from causepath_analyzer.cli.traced_program import NotStartedError, traced_program
from causepath_analyzer.errors import ExitStatus, UsageError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.formatting import short_id
from causepath_analyzer.report.program_text import program_text


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
    limits = wanted_limits()
    own = own_prices(prices)  # before the program: a mistake in it costs no run
    # JSON on standard output is for a program to read: what ours prints there goes beside it.
    apart = json and output is None
    try:
        ran = traced_program(command, sys.stderr if apart else None)
    except NotStartedError as error:
        complain(str(error))
        return error.shell_status
    status, reading = ran.status, ran.reading
    if reading is None:
        complain(ran.account.why_nothing(ran.file))
        return status or ExitStatus.NO_TRACES
    account = ran.account
    spent = program_time(
        ran.start_ns, ran.end_ns, reading.traces, account.loaded_ns, account.imported_ns, status
    )
    codes = tuple(rule.code for rule in rules)
    found = found_in(reading.traces, Task(with_json=json, codes=codes, prices=own, limits=limits))
    shown = [os.path.relpath(ran.file)]
    if len(reading.traces) == 1:
        shown += ["--trace", short_id(reading.traces[0].trace_id)]
    if json:
        write(as_json(reading.inputs, found, spent), output)
        return status
    out = None if output is not None else sys.stderr
    kind = marks(ascii_only=ascii_only, stream=out, saved=output is not None)
    told = as_text(reading.inputs, found, shown, kind, rules, own, limits, every_row=all_)
    lines = [*program_text(spent), *told]
    if output is not None:
        save(lines, output)
    else:
        show(lines, color, stream=out)
    return status
