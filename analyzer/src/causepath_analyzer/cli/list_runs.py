"""``causepath list [PATHS]``: a line for each run, to find the one that is looked for."""

from causepath_analyzer.analyses.summary.sums import summed
from causepath_analyzer.cli.inputs import Json, named_paths
from causepath_analyzer.cli.output import marks, show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import AsciiOption, ColorOption, JobsOption, rows_in
from causepath_analyzer.cli.source import EVERYTHING, PathArgument, Source
from causepath_analyzer.cli.where import conditioned, finding_codes, refuse_none
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.list_text import list_json, list_text

__all__ = ["list_runs"]


def list_runs(
    *paths: PathArgument,
    json: Json = False,
    source: Source = EVERYTHING,
    prices: PricesOption = None,
    color: ColorOption = "auto",
    ascii_only: AsciiOption = False,
    jobs: JobsOption = None,
) -> int:
    """List runs: when they began, name, wall time, cost, status and trace; the last one below."""
    named = named_paths(paths)
    where = source.selection.where
    options, codes = source.options(named), finding_codes(where)
    task = conditioned(Task(options, codes=tuple(codes), prices=own_prices(prices)), where)
    inputs, rows = rows_in(named, task, jobs, source)
    refuse_none(summed(row.brief for row in rows), task.where)
    briefs = [row.brief for row in rows if row.brief.is_picked]
    if json:
        write(list_json(inputs, briefs), None)
    else:
        show(list_text(briefs, marks(ascii_only=ascii_only)), color)
    return source.status(inputs, named)
