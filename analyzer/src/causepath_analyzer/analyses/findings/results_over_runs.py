"""Calls whose results an earlier run of another task had: a part of CP201.

A cache would have to have been right: over all runs, the same arguments always had the same result,
such a cache of all results would hardly ever have given an old one, and no run writes what is read.
How often it would have been hit is tried on the calls as they came (see `over_runs`).
"""

from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import spent
from causepath_analyzer.analyses.findings.rule import Candidate, seconds
from causepath_analyzer.analyses.proof.independence import failed, only_looks, where_of
from causepath_analyzer.analyses.proof.over_runs import Again, CacheTrial, Call, digest_of, task_of
from causepath_analyzer.analyses.proof.recorded_words import changes_by_itself, outcome_of
from causepath_analyzer.analyses.replay.change import Cached

LIFETIME_S: Final = 3_600
"""For so long results are kept over runs."""
_STALE: Final = 100
"""One old result in so many hits is too much."""


def had_before(facts: Facts) -> Iterator[Candidate]:
    """Finds the first calls of a run whose result a run of another task had within the hour."""
    again = facts.others.alike.again
    if not again:
        return
    trace = facts.trace
    task = task_of(trace)
    if task is None:
        return
    seen: set[tuple[str, int]] = set()
    for i in facts.numbers.get("tool", ()):
        span = trace.spans[i]
        tool = span.tool_call
        if tool is None or tool.arguments is None or tool.result is None:
            continue
        name, digest = tool.name or span.name, digest_of(tool.arguments)
        known = again.get(name)
        if known is None or (name, digest) in seen or tool.inferred or tool.ambiguous > 1:
            continue
        seen.add((name, digest))
        if not only_looks(span) or failed(span) or outcome_of(tool) is not None:
            continue
        if changes_by_itself(name) or facts.others.alike.is_written(tool, name):
            continue
        rate = known.trial.hit_rate(LIFETIME_S)
        if rate.stale * _STALE > rate.hits:
            continue
        before = _before(known.same.get(digest, ()), facts, i, task)
        if before is not None:
            yield _candidate(facts, i, name, known, before)


def _before(calls: tuple[Call, ...], facts: Facts, i: int, task: int) -> Call | None:
    """Finds the latest of `calls` that had its result before the run began."""
    earliest_ns = facts.trace.spans[i].start_ns - LIFETIME_S * 1_000_000_000
    for call in reversed(calls):
        if call.had_ns < earliest_ns:
            break
        if call.had_ns <= facts.trace.start_ns and call.task != task:
            return call
    return None


def _candidate(facts: Facts, i: int, name: str, known: Again, before: Call) -> Candidate:
    span = facts.trace.spans[i]
    tool = span.tool_call
    times = len(known.same[digest_of(tool.arguments)]) if tool is not None and tool.arguments else 0
    where = where_of(facts.trace, (i,))
    return Candidate(
        title=f"keep the results of {name} over runs",
        plural=f"keep the results of {name} over runs",
        place=f"over runs {name} {where}",
        spans=(i,),
        change=Cached((i,)),
        saving=spent(facts, (i,)),
        evidence="likely",
        why=(
            f"Another run had called {name} with equal arguments {seconds(_age_ns(facts, before))} "
            f"before; all {times} calls with these had the same result. {said(known.trial)}"
        ),
        fix=(
            f"Keep the results of {name} by its arguments for an hour where runs share them "
            "(Redis; cachetools.TTLCache in a process that serves several), apart for each user if "
            "they may see different things, and drop them when something is written."
        ),
        where=where,
        cache=known.trial,
        over_runs=_in_short(known.trial),
        refuted_by=f"something outside of these traces that changes what {name} returns",
    )


def _age_ns(facts: Facts, before: Call) -> int:
    return facts.trace.start_ns - before.had_ns


def _in_short(trial: CacheTrial) -> str:
    rate = trial.hit_rate(LIFETIME_S)
    return (
        f"kept for 1 h, {rate.hits / trial.calls:.0%} of {trial.calls:,} calls would hit, "
        f"{rate.stale:,} stale"
    )


def said(trial: CacheTrial) -> str:
    """Says in a sentence how often a cache of all results would have been hit."""
    rate = trial.hit_rate(LIFETIME_S)
    old = f"{rate.stale:,} with an old result" if rate.stale else "none with an old result"
    part = "" if trial.share == 1 else f" (of {trial.share:.1%} of the arguments)"
    results = "one result" if trial.different == 1 else f"{trial.different:,} results"
    return (
        f"A cache of {results} for an hour would have answered {rate.hits / trial.calls:.0%} of "
        f"{trial.calls:,} calls of {trial.tool}{part}, {old}."
    )
