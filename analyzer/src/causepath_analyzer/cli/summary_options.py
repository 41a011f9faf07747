"""The options of commands that add many runs up: in which groups, how many rows."""

from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Group, Parameter
from msgspec.structs import replace

from causepath_analyzer.analyses.summary.sums import FEWEST_SLOW, GROUPED, Shape
from causepath_analyzer.errors import UsageError
from causepath_analyzer.jobs.share import Task

_GROUP: Final = Group("Many runs")
_MOST_ROWS: Final = 10_000


@Parameter(name="*", group=_GROUP)
@dataclass(frozen=True)
class SummaryOptions:
    """The form of a summary."""

    group_by: Annotated[
        str | None,
        Parameter(
            metavar="WHAT",
            help=f"Compare the runs of each {', '.join(GROUPED[:-1])} or {GROUPED[-1]}, or by "
            "the value of any attribute in the trace: tenant.id.",
        ),
    ] = None
    top: Annotated[int | None, Parameter(metavar="N", help="Rows of each table.")] = None

    def task(self, task: Task) -> Task:
        """Gives `task` with these options. Raises `UsageError` for what is not understood."""
        if self.top is not None and not 1 <= self.top <= _MOST_ROWS:
            raise UsageError(f"--top {self.top}: tables can have 1 to {_MOST_ROWS:,} rows")
        by = None if self.group_by is None else self.group_by.strip()
        if by in ("", '""', "''"):
            raise UsageError(f"--group-by what? {', '.join(GROUPED)}, or an attribute")
        shape = Shape(max(FEWEST_SLOW, self.top or 0), by)
        options = task.options
        if shape.attribute is not None:
            options = replace(options, attributes=options.attributes | {shape.attribute})
        return replace(task, shape=shape, options=options)


AS_IT_IS: Final = SummaryOptions()
