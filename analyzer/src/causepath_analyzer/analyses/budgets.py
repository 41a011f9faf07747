"""Whether runs keep within budgets: the worst run decides."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.kinds import KINDS, Kind
from causepath_analyzer.analyses.run import Run

Unit = Literal["ns", "tokens", "calls", "usd"]
Amount = int | Decimal
"""Nanoseconds and counts are whole; money is exact."""


class Budget(Struct, frozen=True):
    """The most a run may use. ``where`` says who set it: "--max", or "file:line"."""

    name: str
    most: Amount
    where: str


class Measure(Struct, frozen=True):
    """What can be budgeted: its unit, and how much of it a run used (``None``: not known)."""

    unit: Unit
    of: Callable[[Run], Amount | None]


def _on_path(kind: Kind, run: Run) -> int:
    return run.wall.path.get(kind, 0)


MEASURES: Final[Mapping[str, Measure]] = {
    "wall": Measure("ns", lambda run: run.trace.wall_ns),
    **{f"path.{kind}": Measure("ns", partial(_on_path, kind)) for kind in KINDS},
    "tokens.input": Measure("tokens", lambda run: run.usage.tokens.input),
    "tokens.output": Measure("tokens", lambda run: run.usage.tokens.output),
    "tokens.cache_read": Measure("tokens", lambda run: run.usage.tokens.cache_read),
    "tokens.cache_write": Measure("tokens", lambda run: run.usage.tokens.cache_write),
    "tokens.reasoning": Measure("tokens", lambda run: run.usage.tokens.reasoning),
    "calls.llm": Measure("calls", lambda run: run.usage.calls.llm),
    "calls.tool": Measure("calls", lambda run: run.usage.calls.tool),
    "turns": Measure("calls", lambda run: run.usage.turns),
    "cost": Measure("usd", lambda run: run.spent_usd),
}
"""By the name that a budget has in settings and on the command line."""

Verdict = Literal["pass", "fail", "inconclusive"]


class Checked(Struct, frozen=True):
    """One budget held against all runs.

    ``worst`` and ``trace_id`` are of the run that used most, ``over`` counts runs over budget,
    ``unknown`` those in which the measure is not known. With any of these, and none over budget,
    the verdict is inconclusive.
    """

    budget: Budget
    unit: Unit
    worst: Amount | None
    trace_id: str | None
    over: int
    unknown: int
    runs: int

    @property
    def verdict(self) -> Verdict:
        if self.over:
            return "fail"
        return "inconclusive" if self.unknown else "pass"


def checked(budgets: Sequence[Budget], runs: Sequence[Run]) -> tuple[Checked, ...]:
    """Every budget in `budgets`, held against `runs`."""
    return tuple(_checked(budget, runs) for budget in budgets)


def _checked(budget: Budget, runs: Sequence[Run]) -> Checked:
    measure = MEASURES[budget.name]
    used = [(amount, run) for run in runs if (amount := measure.of(run)) is not None]
    worst = max(used, key=lambda item: item[0], default=None)
    return Checked(
        budget=budget,
        unit=measure.unit,
        worst=worst[0] if worst else None,
        trace_id=worst[1].trace.trace_id if worst else None,
        over=sum(amount > budget.most for amount, _ in used),
        unknown=len(runs) - len(used),
        runs=len(runs),
    )


def overall(results: Sequence[Checked]) -> Verdict:
    """Failed if anything failed, else inconclusive if anything was."""
    verdicts = {result.verdict for result in results}
    if "fail" in verdicts:
        return "fail"
    return "inconclusive" if "inconclusive" in verdicts else "pass"
