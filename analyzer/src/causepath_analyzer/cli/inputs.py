"""What commands that read traces have in common: finding, reading and picking them."""

import gc
import os
import select
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

from cyclopts import Parameter
from msgspec import Struct

from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices
from causepath_analyzer.cli.meant import refuse_program
from causepath_analyzer.cli.output import Progress, complain, complain_about
from causepath_analyzer.cli.source import Source
from causepath_analyzer.cli.where import holding, left_out, missing_attributes
from causepath_analyzer.errors import ExitStatus, UnreadableInputError, UsageError
from causepath_analyzer.jobs.file_parts import LEAST_BYTES, MOST_JOBS, cores, shares
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.model import Input, Trace
from causepath_analyzer.read import Keep, Options, Reading, read
from causepath_analyzer.read.formats.recognise import NotApartError
from causepath_analyzer.read.input.source import STDIN
from causepath_analyzer.report.unread import complaints

if TYPE_CHECKING:
    import io

    from causepath_analyzer.jobs.team import Team

FILE_VARIABLE: Final = "CAUSEPATH_FILE"
"""Where the plugin writes its traces, and so where they are looked for."""
DEFAULT_FILE: Final = "causepath-traces.jsonl"

Json = Annotated[
    bool, Parameter(negative="", show_default=False, help="Print JSON of a versioned schema.")
]


class UnknownOptionError(UsageError):
    """An option that there is not; the command line says which ones there are."""


def named_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """`paths`, or the file the plugin writes. Raises `UnreadableInputError` if it is not there."""
    for path in paths:
        if path.startswith("-") and path != STDIN:
            raise UnknownOptionError(path)
        refuse_program(path)
    if paths:
        return paths
    path = os.environ.get(FILE_VARIABLE) or DEFAULT_FILE
    given = _standard_input()
    if given == "data":
        complain("reading standard input")
        return (STDIN,)
    if not Path(path).exists():
        pipe = f"; standard input is {_PIPES[given]}" if given else ""
        raise UnreadableInputError(
            f"no {path} here: name a trace file or a folder, "
            f"or record one with `causepath run -- python agent.py`{pipe}"
        )
    if given:
        complain(f"reading {path}: standard input is {_PIPES[given]}")
    return (path,)


_Given = Literal["data", "empty", "silent"]
_PIPES: Final[Mapping[_Given, str]] = {
    "empty": "an empty pipe",
    "silent": "a pipe with nothing in it so far (`-` waits for it)",
}
_PATIENCE_MS: Final = 200
"""A program at the other end of a pipe that was started with this one has written by then, or
takes its time. CI and cron hand down open pipes that nobody writes to: no reason to wait."""


def _standard_input() -> _Given | None:
    """Tells what a pipe or a redirected file gives; ``None`` if standard input is neither."""
    try:
        stream = cast("io.BufferedReader", sys.stdin.buffer)
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return "data" if stream.peek(1) else None
        if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
            return None
        if hasattr(select, "poll"):
            waiting = select.poll()
            waiting.register(descriptor, select.POLLIN)
            if not waiting.poll(_PATIENCE_MS):
                return "silent"
        return "data" if stream.peek(1) else "empty"
    except (AttributeError, OSError, ValueError):
        return None  # closed, or something that a program has put in its place


class Picked(Struct, frozen=True):
    """The runs that are wanted, among ``every`` one that was read, and what became of the input:
    its files, and the exit status."""

    inputs: Sequence[Input]
    traces: Sequence[Trace]
    status: ExitStatus
    every: Sequence[Trace]


def read_picked(
    paths: tuple[str, ...],
    source: Source,
    keep: Keep | None = None,
    talked_to: Sequence[str] = (),
    prices: OwnPrices = TABLE_ONLY,
) -> Picked:
    """Reads `paths` as `source` says, and picks the runs that it wants.

    `keep` is given what was read; `talked_to` are other addresses that the options of the source
    may be for, `prices` those that a condition on the cost goes by.
    """
    named = named_paths(paths)
    reading = read_inputs(named, source.options((*named, *talked_to)), keep)
    where = source.selection.where
    if where is None:
        chosen = source.picked(reading.traces, lambda _: True)
    else:
        truths = {True: 0, False: 0, None: 0}
        asked = holding(where, reading.traces, prices)

        def holds(trace: Trace) -> bool | None:
            truth = asked(trace)
            truths[truth] += 1
            return truth

        chosen = source.picked(reading.traces, holds)
        complain(left_out(where, sum(truths.values()), truths[True], truths[None]))
    status = source.status(reading.inputs, named)
    return Picked(reading.inputs, chosen, status, reading.traces)


def read_inputs(
    paths: Sequence[str], options: Options, keep: Keep | None = None, *, quiet: bool = False
) -> Reading:
    """Reads `paths` and, unless it is to be `quiet`, says on standard error what in them was not
    understood."""
    progress = Progress()
    try:
        reading = read(paths, progress, options, keep)
    finally:
        progress.done()
    # What was read lives to the end: the collector need not go through it again and again.
    gc.freeze()
    if not quiet:
        complain_about(complaints(reading.inputs))
        complain_about(missing_attributes(options.attributes, reading.inputs))
    return reading


def read_together(
    paths: Sequence[str], task: Task, jobs: int | None, *, quiet: bool = False
) -> "Team | None":
    """Reads `paths` with up to `jobs` processes (``None``: as many as are worth it) and, unless it
    is to be `quiet`, says on standard error what in them was not understood.

    ``None`` if one process is enough, or if only one can do it.
    """
    parts = shares(paths, task.options, jobs or min(cores(), MOST_JOBS), 1 if jobs else LEAST_BYTES)
    if len(parts) < 2:
        return None
    from causepath_analyzer.jobs.team import Team  # one process needs none of it

    progress = Progress()
    try:
        team = Team(task, parts, progress)
    except NotApartError:
        return None
    finally:
        progress.done()
    if not quiet:
        complain_about(complaints(team.inputs))
        complain_about(missing_attributes(task.options.attributes, team.inputs))
    return team
