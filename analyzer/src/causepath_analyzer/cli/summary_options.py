"""The options of commands that look at many runs: which of them, in which groups, how many rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Group, Parameter
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.conditions import ALL_FINDINGS, condition
from causepath_analyzer.analyses.budgets.wording import WordingError
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.summary.sums import FEWEST_SLOW, GroupBy, Shape, Sums
from causepath_analyzer.errors import NoTracesError, UsageError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.report.formatting import count

_GROUP: Final = Group("Many runs")
_MOST_ROWS: Final = 10_000

WhereOption = Annotated[
    str | None,
    Parameter(
        metavar="EXPR",
        group=_GROUP,
        help='Only runs of which it is true: "wall > 5s and not agent = res*", "CP101 or cost > '
        '$0.10". Measures and units are those of budgets; names agent, service, session, user, '
        "model, tool, status.",
    ),
]


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class SummaryOptions:
    """The form of a summary, and a condition on the runs in it."""

    where: WhereOption = None
    group_by: Annotated[
        GroupBy | None, Parameter(help="Compare the runs of each agent, model or the like.")
    ] = None
    top: Annotated[int | None, Parameter(metavar="N", help="Rows of each table.")] = None

    def task(self, task: Task) -> Task:
        """Gives `task` with these options. Raises `UsageError` for what is not understood."""
        if self.top is not None and not 1 <= self.top <= _MOST_ROWS:
            raise UsageError(f"--top {self.top}: tables can have 1 to {_MOST_ROWS:,} rows")
        shape = Shape(max(FEWEST_SLOW, self.top or 0), self.group_by)
        return conditioned(replace(task, shape=shape), self.where)

    def as_typed(self) -> tuple[str, ...]:
        """Gives the options that say which runs, as they are typed, to be shown in a command."""
        return () if self.where is None else ("--where", self.where)


AS_IT_IS: Final = SummaryOptions()


def conditioned(task: Task, where: str | None) -> Task:
    """Gives `task` with a condition on its runs. Raises `UsageError` if it is none."""
    if where is None:
        return task
    try:
        codes = condition(where).codes
    except WordingError as error:
        raise UsageError(f"--where {where!r}, column {error.column}: {error}") from None
    missing = sorted(codes - {ALL_FINDINGS} - set(task.codes))
    for code in missing:
        if code not in RULES:
            raise UsageError(f"--where {where!r}: there is no finding {code}")
        raise UsageError(f"--where {where!r}: --select or --ignore leaves {code} out")
    return replace(task, where=where)


def refuse_none(sums: Sums, where: str) -> None:
    """Raises `NoTracesError` if no run is left."""
    if not sums.totals.runs and sums.left_out:
        every = sums.left_out
        raise NoTracesError(
            f"none of {count(every, 'run')} is picked by --where {where!r}{_unknown(sums.unknown)}"
        )


def _unknown(number: int) -> str:
    return f"; of {number:,} nobody can tell" if number else ""


def finding_codes(where: str | None) -> Sequence[str]:
    """Lists the findings that have to be looked for to tell whether a condition is true; all of
    them or none, as one may be silent because of another."""
    try:
        return tuple(RULES) if where is not None and condition(where).codes else ()
    except WordingError:
        return ()  # `conditioned` says it
