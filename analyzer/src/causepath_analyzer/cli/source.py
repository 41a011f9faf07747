"""The options of commands that read traces: where from, how, and which runs are wanted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from cyclopts import Parameter

from causepath_analyzer.cli.selection import EVERY_RUN, Selection, picked, picked_rows
from causepath_analyzer.cli.servers import NO_SERVER, Server, as_typed, wanted
from causepath_analyzer.cli.where import attributes_of
from causepath_analyzer.errors import ExitStatus, UnreadableInputError, UsageError
from causepath_analyzer.jobs.share import Row
from causepath_analyzer.model import Input, Trace
from causepath_analyzer.read import FORMATS, Options

PathArgument = Annotated[
    str,
    Parameter(
        help="Trace files, folders of them, `-` for standard input, or addresses of Jaeger or "
        "Tempo: the server's, a trace's or a search's as the browser shows it.",
        metavar="PATH",
        allow_leading_hyphen=True,  # for `-`; `named_paths` refuses everything else
    ),
]
_SIZE: Final = re.compile(r"(\d{1,15})\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)


@Parameter(name="*")
@dataclass(frozen=True)
class Source:
    """The way to read what the paths of a command name, and the choice of runs in it."""

    selection: Selection = EVERY_RUN
    strict: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Exit with 4 if any part of the input was not understood.",
        ),
    ] = False
    format: Annotated[
        str | None,
        Parameter(
            metavar="NAME",
            help=f"Read as this format instead of recognising it: {', '.join(FORMATS)}.",
        ),
    ] = None
    max_bytes: Annotated[
        str,
        Parameter(
            metavar="SIZE",
            env_var="CAUSEPATH_MAX_BYTES",
            help="Most bytes that compressed data or a pipe may give; one document, a 32nd part.",
        ),
    ] = "8G"
    server: Server = NO_SERVER

    def options(self, paths: Sequence[str]) -> Options:
        """Gives the options for reading `paths`. Raises `UsageError` if one of them cannot be."""
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"no format {self.format}; there are {', '.join(FORMATS)}")
        size = _SIZE.fullmatch(self.max_bytes.strip())
        if size is None or int(size[1]) == 0:
            raise UsageError(f"--max-bytes {self.max_bytes} is no size; write it like 8G or 500M")
        most_bytes = int(size[1]) << 10 * " KMGT".index(size[2].upper() or " ")
        asked = attributes_of(self.selection.where)
        return Options(self.format, most_bytes, wanted(self.server, paths), attributes=asked)

    def picked(
        self, traces: Sequence[Trace], holds: Callable[[Trace], bool | None]
    ) -> Sequence[Trace]:
        """Picks the runs that are wanted, of which `holds` tells whether the condition on them is
        true. Raises `UsageError` or `NoTracesError` if none is left."""
        return picked(traces, self.selection, self.server, holds)

    def before_where(self, traces: Sequence[Trace]) -> Sequence[Trace]:
        """Picks what can be picked before anything is analysed: `picked_rows` has to follow where
        there is a condition."""
        selection = self.selection
        if selection.where is not None:
            selection = replace(selection, where=None, sample=None, slowest=None, last=False)
        return picked(traces, selection, self.server)

    def picked_rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Picks the rows of the runs that are wanted, as `picked` does."""
        return picked_rows(rows, lambda row: row.brief, self.selection, self.server)

    def picks_by_id_alone(self) -> bool:
        """Tells whether at most an id and a condition say which runs are wanted."""
        by_id = Selection(trace=self.selection.trace, where=self.selection.where)
        return self.selection == by_id and self.server.since is None

    def only(self, trace_id: str) -> "Source":
        """Gives the same source with the choice of one run, whose id is known."""
        return replace(self, selection=Selection(trace=trace_id), server=NO_SERVER)

    def as_typed(self) -> tuple[str, ...]:
        """Gives the options that say which runs, as they are typed, to be shown in a command."""
        return (*as_typed(self.server), *self.selection.as_typed())

    def status(self, inputs: Sequence[Input], paths: Sequence[str]) -> ExitStatus:
        """Gives unreadable if a file the user named is, or, if reading is to be strict, if anything
        was skipped."""
        for entry in inputs:
            if entry.path in paths and isinstance(entry.problem, UnreadableInputError):
                return ExitStatus.UNREADABLE
            if self.strict and (entry.skipped_total or entry.problem is not None):
                return ExitStatus.UNREADABLE
        return ExitStatus.FINE


EVERYTHING: Final = Source()
