"""Runs of before, kept to compare with: what budgets look at, not the traces."""

from collections.abc import Sequence
from random import Random
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.budgets.measures import Sample

BASELINE_SCHEMA: Final = "causepath.baseline/1"
MOST_RUNS: Final = 10_000
"""A baseline of more would tell no more."""


class Baseline(Struct, frozen=True):
    """``runs`` are those that are kept of ``total``; ``made_at`` is in ISO 8601."""

    schema: str
    made_at: str
    total: int
    runs: tuple[Sample, ...]


def baseline(samples: Sequence[Sample], made_at: str) -> Baseline:
    """Makes a baseline of `samples`, of very many of some drawn at random."""
    kept = list(samples)
    if len(kept) > MOST_RUNS:
        kept = Random(len(kept)).sample(kept, MOST_RUNS)
    return Baseline(BASELINE_SCHEMA, made_at, len(samples), tuple(kept))


class Changed(Struct, frozen=True):
    """Something around the runs that is not as in the baseline: a model, an instrumentation."""

    what: str
    before: tuple[str, ...]
    now: tuple[str, ...]


def changes(before: Sequence[Sample], now: Sequence[Sample]) -> tuple[Changed, ...]:
    """Finds in which surroundings runs were made that the baseline was not, and the reverse."""
    found = []
    for what, of in (("agents", _agents), ("models", _models), ("instrumentation", _versions)):
        then, here = of(before), of(now)
        if then != here:
            found.append(Changed(what, tuple(sorted(then - here)), tuple(sorted(here - then))))
    return tuple(found)


def has_agent_in_common(before: Sequence[Sample], now: Sequence[Sample]) -> bool:
    """Tells whether the baseline has a run of the name of one of `now`."""
    return not _agents(before).isdisjoint(_agents(now))


def _agents(samples: Sequence[Sample]) -> set[str]:
    return {sample.name for sample in samples}


def _models(samples: Sequence[Sample]) -> set[str]:
    return {call.name for sample in samples for call in sample.calls if call.category == "llm"}


def _versions(samples: Sequence[Sample]) -> set[str]:
    return {version for sample in samples for version in sample.versions}
