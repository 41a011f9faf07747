"""The options that pick runs: by id, by how they ended, by name, by time, the slowest, the last."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from heapq import nsmallest
from typing import Annotated, Final, Generic, TypeVar

from cyclopts import Parameter
from msgspec import Struct

from causepath_analyzer.analyses.path.status import ending
from causepath_analyzer.analyses.summary.brief import Brief
from causepath_analyzer.cli.servers import Server, instant_ns
from causepath_analyzer.cli.where import GROUP, WhereOption, none_left
from causepath_analyzer.errors import NoTracesError, UsageError
from causepath_analyzer.ids import begins_with, shown_id
from causepath_analyzer.model import Trace
from causepath_analyzer.report.formatting import count

_ANY: Final = frozenset("*?[")


@Parameter(name="*", group=GROUP)
@dataclass(frozen=True)
class Selection:
    """A choice among the runs that were read; all of its conditions have to be true of a run."""

    trace: Annotated[
        str | None, Parameter(metavar="ID", help="Only the trace whose id starts so.")
    ] = None
    last: Annotated[
        bool, Parameter(negative="", show_default=False, help="Only the one that began last.")
    ] = False
    failed: Annotated[
        bool, Parameter(negative="", show_default=False, help="Only runs that did not end well.")
    ] = False
    name: Annotated[
        str | None,
        Parameter(metavar="TEXT", help="Only runs whose name has TEXT in it; or a pattern with *."),
    ] = None
    slowest: Annotated[int | None, Parameter(metavar="N", help="Only the N slowest.")] = None
    until: Annotated[
        str | None, Parameter(metavar="AGO", help="Only runs that began before; see --since.")
    ] = None
    sample: Annotated[
        int | None,
        Parameter(metavar="N", help="Only N of them, the same whenever the same runs are read."),
    ] = None
    where: WhereOption = None

    def as_typed(self) -> tuple[str, ...]:
        """Gives the options as they are typed, to be shown in a command."""
        told = (
            ("--trace", self.trace),
            ("--name", self.name),
            ("--slowest", self.slowest),
            ("--until", self.until),
            ("--sample", self.sample),
            ("--where", self.where),
        )
        flags = (("--last", self.last), ("--failed", self.failed))
        return (
            *(flag for flag, is_set in flags if is_set),
            *(word for flag, value in told if value is not None for word in (flag, str(value))),
        )


EVERY_RUN: Final = Selection()


class Glance(Struct, frozen=True):
    """The facts that runs are picked by."""

    trace_ids: tuple[str, ...]
    name: str
    start_ns: int
    wall_ns: int
    failed: Callable[[], bool]


T = TypeVar("T")


Truth = bool | None


def picked(
    traces: Sequence[Trace],
    selection: Selection,
    server: Server,
    holds: Callable[[Trace], Truth] = lambda _: True,
) -> Sequence[Trace]:
    """Picks of `traces`; `holds` tells whether a condition is true of one, and is asked of those
    that everything else picks. Raises `UsageError` or `NoTracesError` if none is left."""
    found = _picked(traces, _of_trace, selection, server, holds)
    if not found.left and selection.where is not None:
        raise none_left(selection.where, len(found.out), found.unknown)
    return found.left


def picked_rows(
    briefs: Sequence[T], of: Callable[[T], Brief], selection: Selection, server: Server
) -> Sequence[T]:
    """Picks of what `of` tells the briefs of. Those that a condition leaves out stay among them, to
    be counted, but are not among the slowest, a sample or the last."""
    found = _picked(
        briefs, lambda one: _of_brief(of(one)), selection, server, lambda one: of(one).is_picked
    )
    return [*found.left, *found.out]


def _of_trace(trace: Trace) -> Glance:
    return Glance(
        (trace.trace_id, *trace.joined),
        trace.spans[trace.main_root].name,
        trace.start_ns,
        trace.wall_ns,
        lambda: ending(trace).status != "ok",
    )


def _of_brief(brief: Brief) -> Glance:
    return Glance(
        (brief.trace_id, *brief.joined),
        brief.name,
        brief.start_ns,
        brief.wall_ns,
        lambda: brief.ending.status != "ok",
    )


@dataclass(frozen=True)
class _Found(Generic[T]):
    """The runs that are ``left``, and those that a condition leaves ``out``, of some of which
    nobody can tell."""

    left: Sequence[T]
    out: Sequence[T] = ()
    unknown: int = 0


def _picked(
    every: Sequence[T],
    glance: Callable[[T], Glance],
    selection: Selection,
    server: Server,
    holds: Callable[[T], Truth],
) -> _Found[T]:
    for flag, number in (("--slowest", selection.slowest), ("--sample", selection.sample)):
        if number is not None and number < 1:
            raise UsageError(f"{flag} {number}: ask for one run or more")
    since_ns = None if server.since is None else instant_ns("--since", server.since)
    until_ns = None if selection.until is None else instant_ns("--until", selection.until)
    if selection == EVERY_RUN and since_ns is None:
        return _Found(every)
    seen = [(one, glance(one)) for one in every]
    if selection.trace is not None:
        seen = _by_id(seen, selection.trace)
    left = [
        (one, told)
        for one, told in seen
        if (selection.name is None or _is_named(told.name, selection.name))
        and (since_ns is None or told.start_ns >= since_ns)
        and (until_ns is None or told.start_ns < until_ns)
        and (not selection.failed or told.failed())
    ]
    if not left:
        raise NoTracesError(
            f"none of {count(len(seen), 'run')} is picked by {_told(selection, server)}"
        )
    out: list[T] = []
    unknown = 0
    if selection.where is not None:
        truths = [holds(one) for one, _ in left]
        out = [one for (one, _), truth in zip(left, truths, strict=True) if not truth]
        left = [both for both, truth in zip(left, truths, strict=True) if truth]
        unknown = truths.count(None)
    if selection.sample is not None:
        ids = (told.trace_ids[0] for _, told in left)
        drawn = set(nsmallest(selection.sample, ids, key=_lot))
        left = [(one, told) for one, told in left if told.trace_ids[0] in drawn]
    if selection.slowest is not None:
        by_wall = sorted((told for _, told in left), key=lambda told: -told.wall_ns)
        slowest = {told.trace_ids[0] for told in by_wall[: selection.slowest]}
        left = [(one, told) for one, told in left if told.trace_ids[0] in slowest]
    if selection.last:
        left = left[-1:]
    return _Found([one for one, _ in left], out, unknown)


def _lot(trace_id: str) -> bytes:
    """Draws a lot for a run: ids need not be random, as those of sessions are not."""
    return blake2b(trace_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _told(selection: Selection, server: Server) -> str:
    since = () if server.since is None else ("--since", server.since)
    return " ".join((*selection.as_typed(), *since))


def _is_named(name: str, wanted: str) -> bool:
    short = name.removeprefix("invoke_agent ")
    if _ANY.isdisjoint(wanted):
        # Each agent's span begins with the word: it is no part of its name, unless it is typed.
        whole = wanted.lower().startswith("invoke_agent")
        return wanted.lower() in (name if whole else short).lower()
    return any(fnmatchcase(one.lower(), wanted.lower()) for one in (name, short))


def _by_id(seen: list[tuple[T, Glance]], trace_id: str) -> list[tuple[T, Glance]]:
    """Picks the run that a trace with an id that starts so is a part of."""
    run_of = {part: told.trace_ids[0] for _, told in seen for part in told.trace_ids}
    found = sorted({run_of[part] for part in begins_with(run_of, trace_id)})
    if len(found) == 1:
        return [(one, told) for one, told in seen if told.trace_ids[0] == found[0]]
    if found:
        raise UsageError(
            f"{count(len(found), 'trace')} start with {trace_id}: "
            f"{', '.join(map(shown_id, found[:3]))}, ..."
        )
    ids = [told.trace_ids[0] for _, told in seen]
    more = ", ..." if len(ids) > 3 else ""
    raise UsageError(
        f"no trace starts with {trace_id}; there are {len(ids):,}: "
        f"{', '.join(map(shown_id, ids[:3]))}{more}"
    )
