"""``causepath [PATHS]``: one trace gives a report, many give a summary."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter
from msgspec import Struct
from msgspec.structs import replace
from rich.text import Text

from causepath_analyzer.analyses.findings.rule import Rule
from causepath_analyzer.analyses.limits import LIMITS, Limits
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices
from causepath_analyzer.analyses.program import ProgramTime
from causepath_analyzer.analyses.proof.independence import NOWHERE, Elsewhere, elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.run_view import RunView, run_view
from causepath_analyzer.analyses.span_rows import MOST_ROWS
from causepath_analyzer.analyses.summary.summary import Summary, told
from causepath_analyzer.cli.finding_options import (
    EVERY_FINDING,
    ConfigOption,
    FindingOptions,
    wanted_limits,
    wanted_rules,
)
from causepath_analyzer.cli.inputs import Json, named_paths, read_inputs, read_together
from causepath_analyzer.cli.output import Color, marks, save, show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.cli.summary_options import AS_IT_IS, SummaryOptions
from causepath_analyzer.cli.where import conditioned, refuse_none
from causepath_analyzer.errors import UsageError
from causepath_analyzer.ids import begins_with, shown_id
from causepath_analyzer.jobs.file_parts import MOST_JOBS
from causepath_analyzer.jobs.share import Many, Row, Task, many, rows_of
from causepath_analyzer.model import Input, Trace
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.read.formats.recognise import NotApartError
from causepath_analyzer.report.json import report_json
from causepath_analyzer.report.report_markdown import run_markdown, summary_markdown
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
AllOption = Annotated[
    bool,
    Parameter(name="--all", negative="", show_default=False, help="Show every row of a long run."),
]
MarkdownOption = Annotated[
    bool,
    Parameter(
        negative="",
        show_default=False,
        help="Print Markdown, for a pull request, an issue or a coding agent.",
    ),
]
OutputOption = Annotated[
    str | None, Parameter(name=["--output", "-o"], metavar="FILE", help="Write to FILE instead.")
]


JobsOption = Annotated[
    int | None,
    Parameter(
        metavar="N",
        env_var="CAUSEPATH_JOBS",
        help="Processes to read and analyse with; by default one for each core, or for each 20 MB "
        "if that is less.",
    ),
]


def report(
    *paths: PathArgument,
    json: Json = False,
    markdown: MarkdownOption = False,
    source: Source = EVERYTHING,
    runs: SummaryOptions = AS_IT_IS,
    findings: FindingOptions = EVERY_FINDING,
    config: ConfigOption = None,
    prices: PricesOption = None,
    color: ColorOption = "auto",
    ascii_only: AsciiOption = False,
    all_: AllOption = False,
    output: OutputOption = None,
    jobs: JobsOption = None,
) -> int:
    """Say what a run waited for and what would make it faster; of many runs, a summary."""
    if json and markdown:
        raise UsageError("--json and --markdown: only one of them can be printed")
    named = named_paths(paths)
    rules = wanted_rules(findings, config)
    codes = tuple(rule.code for rule in rules)
    own = own_prices(prices)
    limits = wanted_limits(config)
    options = source.options(named)
    task = runs.task(Task(options, with_json=json, codes=codes, prices=own, limits=limits))
    task = conditioned(task, source.selection.where)
    inputs, found = _found(named, task, jobs, source)
    shown = (*named, *source.as_typed())
    if isinstance(found, Whole) and source.selection.where is not None:  # once is enough
        shown = (*named, *source.only(shown_id(found.trace.trace_id)).as_typed())
    if json:
        write(as_json(inputs, found), output)
        return source.status(inputs, named)
    if markdown:
        view = _viewed(found, rules, own, limits, every_row=all_)
        write(_as_markdown(inputs, view, shown).encode(), output)
        return source.status(inputs, named)
    kind = marks(ascii_only=ascii_only, saved=output is not None)
    lines = as_text(
        inputs, found, shown, kind, rules, own, limits, every_row=all_, most_rows=runs.top
    )
    if output is not None:
        save(lines, output)
    else:
        show(lines, color)
    return source.status(inputs, named)


class Whole(Struct, frozen=True):
    """One trace to be shown as a whole, with the evidence of the ``others`` that were read."""

    trace: Trace
    others: Elsewhere = NOWHERE


Found = Whole | Many
"""One trace, or the sums of many."""


def _found(
    paths: Sequence[str],
    task: Task,
    jobs: int | None,
    source: Source,
    *,
    quiet: bool = False,
) -> tuple[Sequence[Input], Found]:
    """Reads `paths`, and tells what became of every file and what was found in the runs picked.

    What was not understood is said, unless it is to be `quiet`, as somebody has said so before.
    """
    team = read_together(paths, task, checked_jobs(jobs), quiet=quiet)
    if team is None:
        reading = read_inputs(paths, task.options, quiet=quiet)
        return reading.inputs, found_in(reading.traces, task, source)
    trace = source.selection.trace
    with team:
        together: Many | None = None
        if not source.picks_by_id_alone():
            together = many(source.picked_rows(team.rows()), task.shape)
        else:
            found = team.trace_ids if trace is None else begins_with(team.lead, trace)
            only = {team.lead[trace_id] for trace_id in found}
            if trace is None and len(only) != 1:
                is_listed = task.with_json
                together = many(team.rows(), task.shape) if is_listed else Many(team.sums())
            elif len(only) == 1:
                with suppress(NotApartError):
                    one_of_all, others = team.whole(*only)
                    return team.inputs, found_in([one_of_all], task, others=others)
        if together is not None:
            refuse_none(together.sums, task.where)
            one = _shown_whole(together, task)
            if one is None:
                return team.inputs, together
            # The whole of the one that is left was dropped with the others.
            task, jobs, source = replace(task, where=""), jobs, source.only(one)
        else:
            jobs = 1
    return _found(paths, task, jobs, source, quiet=True)


def _shown_whole(found: Many, task: Task) -> str | None:
    """Names the run that is shown as a whole, as it is the only one."""
    is_one = found.sums.totals.runs == 1 and not task.with_json and task.shape.group_by is None
    return found.sums.slowest[0][1] if is_one else None


def checked_jobs(jobs: int | None) -> int | None:
    """Raises `UsageError` if there cannot be so many processes."""
    if jobs is not None and not 1 <= jobs <= MOST_JOBS:
        raise UsageError(f"--jobs {jobs}: there can be 1 to {MOST_JOBS} processes")
    return jobs


def rows_in(
    paths: Sequence[str], task: Task, jobs: int | None, source: Source
) -> tuple[Sequence[Input], Sequence[Row]]:
    """Reads `paths`, and tells what became of every file, with a row for each run picked."""
    team = read_together(paths, task, checked_jobs(jobs))
    if team is not None:
        with team:
            rows = source.picked_rows(team.rows())
            return team.inputs, rows
    reading = read_inputs(paths, task.options)
    return reading.inputs, _rows_in(source.before_where(reading.traces), task, source)


def _rows_in(traces: Sequence[Trace], task: Task, source: Source) -> Sequence[Row]:
    rows = list(rows_of(traces, task))
    return source.picked_rows(rows) if task.where else rows


def found_in(
    traces: Sequence[Trace],
    task: Task,
    source: Source = EVERYTHING,
    *,
    others: Elsewhere | None = None,
) -> Found:
    """Collects what is to be told of those of `traces` that `source` picks; one process has read
    them. What is said of one run goes by the evidence of all, and by `others` where more were
    read."""
    every, traces = traces, source.before_where(traces)
    is_whole = not task.with_json and task.shape.group_by is None and not task.where
    if others is None and len(traces) == 1:
        others = _shown_by(every, task)
    if len(traces) == 1 and is_whole:
        return Whole(traces[0], others or NOWHERE)
    late = task.where and not source.picks_by_id_alone()
    rows = _rows_in(traces, task, source) if late else rows_of(traces, task, others)
    found = many(rows, task.shape)
    refuse_none(found.sums, task.where)
    one = _shown_whole(found, task)
    if one is None:
        return found
    whole = next(trace for trace in traces if trace.trace_id == one)
    return Whole(whole, _shown_by(every, task))


def _shown_by(traces: Sequence[Trace], task: Task) -> Elsewhere:
    """Collects what many traces show together, if findings are looked for at all."""
    return elsewhere(traces) if task.codes and len(traces) > 1 else NOWHERE


def as_text(
    inputs: Sequence[Input],
    found: Found,
    paths: Sequence[str],
    marks: Marks,
    rules: Sequence[Rule],
    own: OwnPrices = TABLE_ONLY,
    limits: Limits = LIMITS,
    *,
    every_row: bool = False,
    most_rows: int | None = None,
) -> list[Text]:
    """Writes the report on one trace, or the summary of many with so many rows in each table."""
    view = _viewed(found, rules, own, limits, every_row=every_row)
    if isinstance(view, RunView):
        return run_text(view, marks, paths, inputs)
    return summary_text(view, marks, paths, inputs, most_rows)


def _as_markdown(inputs: Sequence[Input], view: RunView | Summary, paths: Sequence[str]) -> str:
    if isinstance(view, RunView):
        return run_markdown(view, paths, inputs)
    return summary_markdown(view, paths, inputs)


def _viewed(
    found: Found, rules: Sequence[Rule], own: OwnPrices, limits: Limits, *, every_row: bool
) -> RunView | Summary:
    """Works out what reports say of one trace, or of many."""
    if isinstance(found, Whole):
        run = explained(
            found.trace,
            with_cost=True,
            with_money=True,
            others=found.others,
            rules=rules,
            prices=own,
            limits=limits,
        )
        return run_view(run, None if every_row else MOST_ROWS)
    return told(found.sums)


def as_json(inputs: Sequence[Input], found: Found, program: ProgramTime | None = None) -> bytes:
    """Writes the report on every trace, and their summary."""
    assert not isinstance(found, Whole)
    return report_json(inputs, found.json, told(found.sums), program)
