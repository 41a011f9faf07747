"""``causepath [PATHS]``: one trace gives a report, many give a summary."""

from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from causepath_analyzer.analyses.critical_path import Overflow
from causepath_analyzer.analyses.independence import elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary import summary
from causepath_analyzer.cli.inputs import (
    MAX_BYTES,
    FormatOption,
    Json,
    MaxBytesOption,
    OverflowOption,
    PathArgument,
    Strict,
    TraceOption,
    named_paths,
    picked,
    read_inputs,
    read_options,
    status_of,
)
from causepath_analyzer.cli.output import Color, marks, save, show, write
from causepath_analyzer.cli.servers import NO_SERVER, Server, as_typed
from causepath_analyzer.model import Trace
from causepath_analyzer.read import Reading
from causepath_analyzer.report.json import report_json
from causepath_analyzer.report.run_text import run_text
from causepath_analyzer.report.summary_text import summary_text
from causepath_analyzer.report.waterfall import Marks

ColorOption = Annotated[
    Color,
    Parameter(help="Colours; auto is a terminal without NO_COLOR.", env_var="CAUSEPATH_COLOR"),
]
AsciiOption = Annotated[
    bool,
    Parameter(
        name="--ascii", negative="", show_default=False, help="Draw with ASCII characters only."
    ),
]
OutputOption = Annotated[
    str | None, Parameter(name=["--output", "-o"], metavar="FILE", help="Write to FILE instead.")
]


def report(
    *paths: PathArgument,
    json: Json = False,
    trace: TraceOption = None,
    overflow: OverflowOption = "async",
    strict: Strict = False,
    format: FormatOption = None,  # noqa: A002 - the flag is called so
    max_bytes: MaxBytesOption = MAX_BYTES,
    server: Server = NO_SERVER,
    color: ColorOption = "auto",
    ascii_only: AsciiOption = False,
    output: OutputOption = None,
) -> int:
    """Say what a run waited for and what would make it faster; of many runs, a summary."""
    named = named_paths(paths)
    reading = read_inputs(named, read_options(named, format, max_bytes, server))
    chosen = picked(reading.traces, trace)
    shown = (*named, *as_typed(server))
    if json:
        write(as_json(reading, chosen, overflow), output)
    elif output is not None:
        save(as_text(chosen, shown, overflow, marks(ascii_only=ascii_only)), output)
    else:
        show(as_text(chosen, shown, overflow, marks(ascii_only=ascii_only)), color)
    return status_of(reading, named, strict=strict)


def as_text(
    traces: Sequence[Trace], paths: Sequence[str], overflow: Overflow, marks: Marks
) -> list[Text]:
    """The report on one trace, or the summary of many."""
    if len(traces) == 1:
        return run_text(explained(traces[0], overflow, with_cost=True), marks, paths)
    others = elsewhere(traces)
    runs = (explained(trace, overflow, with_cost=True, others=others) for trace in traces)
    return summary_text(summary(runs), marks, paths)


def as_json(reading: Reading, traces: Sequence[Trace], overflow: Overflow) -> bytes:
    """The report on every one of `traces`, and their summary."""
    others = elsewhere(traces)
    runs = [explained(trace, overflow, with_cost=True, others=others) for trace in traces]
    return report_json(reading.inputs, runs, summary(runs), overflow)
