"""``--where``: a condition on the runs that are wanted, and the attributes that it asks for."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Annotated, Final

from cyclopts import Group, Parameter
from msgspec.structs import replace

from causepath_analyzer.analyses.budgets.conditions import ALL_FINDINGS, Condition, condition
from causepath_analyzer.analyses.budgets.wording import WordingError
from causepath_analyzer.analyses.findings.rules import RULES
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, OwnPrices
from causepath_analyzer.analyses.proof.independence import elsewhere
from causepath_analyzer.analyses.run import explained
from causepath_analyzer.analyses.summary.sums import Sums
from causepath_analyzer.errors import NoTracesError, UsageError
from causepath_analyzer.jobs.share import Task
from causepath_analyzer.model import Input, Trace
from causepath_analyzer.report.formatting import count

GROUP: Final = Group("Picking runs")

WhereOption = Annotated[
    str | None,
    Parameter(
        metavar="EXPR",
        group=GROUP,
        help='Only runs of which it is true: "wall > 5s and not agent = res*", "CP101 or cost > '
        '$0.10", "tenant.id = acme". Measures and units are those of budgets; names agent, '
        "service, session, user, model, tool, status; anything else is an attribute of the trace.",
    ),
]


def understood(where: str) -> Condition:
    """Reads what was typed. Raises `UsageError` if it is no condition."""
    try:
        return condition(where)
    except WordingError as error:
        raise UsageError(f"--where {where!r}, column {error.column}: {error}") from None


def attributes_of(where: str | None) -> frozenset[str]:
    """Names the attributes that have to be read to tell whether a condition is true."""
    return frozenset() if where is None else understood(where).attributes


def conditioned(task: Task, where: str | None) -> Task:
    """Gives `task` with a condition on its runs. Raises `UsageError` if it is none."""
    if where is None:
        return task
    missing = sorted(understood(where).codes - {ALL_FINDINGS} - set(task.codes))
    for code in missing:
        if code not in RULES:
            raise UsageError(f"--where {where!r}: there is no finding {code}")
        raise UsageError(f"--where {where!r}: --select or --ignore leaves {code} out")
    return replace(task, where=where)


def finding_codes(where: str | None) -> Sequence[str]:
    """Lists the findings that have to be looked for to tell whether a condition is true; all of
    them or none, as one may be silent because of another."""
    return tuple(RULES) if where is not None and understood(where).codes else ()


def holding(
    where: str, traces: Sequence[Trace], prices: OwnPrices = TABLE_ONLY
) -> Callable[[Trace], bool | None]:
    """Gives what tells of one of `traces` whether a condition is true of it."""
    asked = understood(where)
    for code in sorted(asked.codes - {ALL_FINDINGS, *RULES}):
        raise UsageError(f"--where {where!r}: there is no finding {code}")
    rules = [RULES[code] for code in finding_codes(where)]
    others = elsewhere(traces if rules else ())

    def holds(trace: Trace) -> bool | None:
        return asked.holds(
            explained(trace, with_cost=True, others=others, rules=rules, prices=prices)
        )

    return holds


def refuse_none(sums: Sums, where: str) -> None:
    """Raises `NoTracesError` if no run is left."""
    if not sums.totals.runs and sums.left_out:
        raise none_left(where, sums.left_out, sums.unknown)


def none_left(where: str, every: int, unknown: int) -> NoTracesError:
    """Makes the error that says that none of `every` run is left."""
    return NoTracesError(
        f"none of {count(every, 'run')} is picked by --where {where!r}{_of_unknown(unknown)}"
    )


def left_out(where: str, every: int, left: int, unknown: int) -> str:
    """Says how many of `every` run are left."""
    are = count(left, "run is", "runs are")
    return f"{are} picked of {every:,} by --where {where!r}{_of_unknown(unknown)}"


def _of_unknown(number: int) -> str:
    return f"; of {number:,} nobody can tell" if number else ""


def missing_attributes(asked: Iterable[str], inputs: Sequence[Input]) -> Sequence[str]:
    """Says which attributes that were asked for no span has, and what there is."""
    there = sorted({name for entry in inputs for name in entry.attributes})
    if not there:
        return [f"no span has an attribute {name}: there are none" for name in sorted(asked)]
    every = sorted(there, key=lambda name: (name.partition(".")[0] in _USUAL, name))
    more = f" and {len(every) - _NAMED:,} more" if len(every) > _NAMED else ""
    told = f"there are {', '.join(every[:_NAMED])}{more}"
    lines = []
    for name in sorted(set(asked) - set(there)):
        near = get_close_matches(name, every, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        lines.append(f"no span has an attribute {name}; {hint}{told}")
    return lines


_NAMED: Final = 12
_USUAL: Final = frozenset(
    (
        "causepath",
        "code",
        "gen_ai",
        "http",
        "llm",
        "net",
        "network",
        "openinference",
        "process",
        "server",
        "telemetry",
        "thread",
        "url",
    )
)
"""Names that begin so are whose traces these are, not what they are about."""
