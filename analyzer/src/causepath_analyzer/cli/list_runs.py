"""``causepath list [PATHS]``: a line for each run, to find the one that is looked for."""

from causepath_analyzer.cli.inputs import (
    MAX_BYTES,
    FormatOption,
    Json,
    MaxBytesOption,
    PathArgument,
    Strict,
    named_paths,
    read_options,
    status_of,
)
from causepath_analyzer.cli.output import marks, show, write
from causepath_analyzer.cli.prices import PricesOption
from causepath_analyzer.cli.report import AsciiOption, ColorOption, JobsOption, rows_in
from causepath_analyzer.cli.selection import EVERY_RUN, Selection
from causepath_analyzer.cli.servers import NO_SERVER, Server
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.prices_file import own_prices
from causepath_analyzer.report.list_text import list_json, list_text

__all__ = ["list_runs"]


def list_runs(
    *paths: PathArgument,
    json: Json = False,
    selection: Selection = EVERY_RUN,
    strict: Strict = False,
    format: FormatOption = None,  # noqa: A002 - the flag is called so
    max_bytes: MaxBytesOption = MAX_BYTES,
    server: Server = NO_SERVER,
    prices: PricesOption = None,
    color: ColorOption = "auto",
    ascii_only: AsciiOption = False,
    jobs: JobsOption = None,
) -> int:
    """List runs: when they began, name, wall time, cost, status and trace; the last one below."""
    named = named_paths(paths)
    options = read_options(named, format, max_bytes, server)
    task = Task(options, codes=(), prices=own_prices(prices))
    inputs, rows = rows_in(named, task, jobs, selection, server)
    briefs = [row.brief for row in rows]
    if json:
        write(list_json(inputs, briefs), None)
    else:
        show(list_text(briefs, marks(ascii_only=ascii_only)), color)
    return status_of(inputs, named, strict=strict)
