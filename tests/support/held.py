"""Runs held against budgets, as `causepath check` does."""

from collections.abc import Sequence

from causepath_analyzer.analyses.budgets.measures import sampled
from causepath_analyzer.analyses.budgets.verdicts import Check, checked
from causepath_analyzer.analyses.budgets.wording import Budget
from causepath_analyzer.analyses.run import Run


def held(
    budgets: Sequence[Budget],
    runs: Sequence[Run],
    baseline: Sequence[Run] | None = None,
    unread: int = 0,
) -> Check:
    """Holds `runs` against `budgets`, relative ones by a `baseline`."""
    measures = {name for budget in budgets for name in budget.measures}
    before = None if baseline is None else [sampled(run, measures) for run in baseline]
    return checked(budgets, [sampled(run, measures) for run in runs], before, unread)
