"""CP102: independent calls that the agent's own code made one after the other.

Model calls in a loop over items, retrievals, look-ups before the first model call: no reply asked
for them, so unlike for CP101 their independence has to be shown (see `independence`).
"""

from collections.abc import Sequence
from typing import Final

from causepath_analyzer.analyses.causes import Causes
from causepath_analyzer.analyses.data_flow import DataFlow
from causepath_analyzer.analyses.findings import Candidate
from causepath_analyzer.analyses.independence import (
    CALLS,
    Elsewhere,
    Level,
    level,
    listed,
    read_only,
    where_of,
    worst,
)
from causepath_analyzer.analyses.kinds import SpanKinds
from causepath_analyzer.analyses.operations import name_of
from causepath_analyzer.model import NO_SPAN, Trace

CODE: Final = "CP102"
_FAMILY: Final = frozenset(("agent", "chain", "tool", "other"))


def independent_calls(
    trace: Trace, kinds: SpanKinds, causes: Causes, others: Elsewhere
) -> list[Candidate]:
    """The candidates CP102 of `trace`, with `others` as further evidence."""
    families: dict[int, list[int]] = {}
    for i, parent in enumerate(causes.parents):
        families.setdefault(parent, []).append(i)
    found = []
    flow = DataFlow(trace)
    for parent, family in families.items():
        if len(family) < 2 or (parent != NO_SPAN and trace.spans[parent].category not in _FAMILY):
            continue
        for group, known in _groups(flow, kinds, causes, family, others):
            found.append(_candidate(trace, kinds, parent, group, known))
    return found


def _groups(
    flow: DataFlow,
    kinds: SpanKinds,
    causes: Causes,
    family: Sequence[int],
    others: Elsewhere,
) -> list[tuple[list[int], Level]]:
    """Calls that directly follow each other and are independent, each of all before it."""
    trace = flow.trace
    spans = trace.spans
    groups: list[tuple[list[int], Level]] = []
    group: list[int] = []
    known: Level = "proved"
    for i in family:
        if not group or not _is_call(trace, kinds, causes, i):
            joined: Level = "dependent"
        elif spans[i].start_ns < spans[group[-1]].ended_ns or (
            spans[i].category != spans[group[-1]].category and "llm" in _categories(trace, group, i)
        ):
            joined = "dependent"  # already beside it, or of another sort
        else:
            joined = worst(level(flow, before, i, others) for before in group)
        if joined in ("proved", "likely"):
            group.append(i)
            known = worst((known, joined))
            continue
        if len(group) > 1:
            groups.append((group, known))
        group = [i] if _is_call(trace, kinds, causes, i) else []
        known = "proved"
    if len(group) > 1:
        groups.append((group, known))
    return groups


def _categories(trace: Trace, group: Sequence[int], i: int) -> set[str]:
    return {trace.spans[i].category, trace.spans[group[-1]].category}


def _is_call(trace: Trace, kinds: SpanKinds, causes: Causes, i: int) -> bool:
    span = trace.spans[i]
    if span.category not in CALLS or (span.category == "llm" and kinds.calls[i] != i):
        return False
    if span.tool_call is not None and span.tool_call.inferred:
        return False
    return causes.issuers[i] == NO_SPAN


def _candidate(
    trace: Trace, kinds: SpanKinds, parent: int, group: Sequence[int], known: Level
) -> Candidate:
    names = list(dict.fromkeys(name_of(trace, kinds, i) for i in group))
    what = f"{len(group)} calls of {names[0]}" if len(names) == 1 else listed(names)
    models = all(trace.spans[i].category == "llm" for i in group)
    if known != "proved":
        why = "in other runs later ones started before earlier ones had ended, or without them"
    elif models:
        why = (
            "no text that an earlier one wrote, nor a line of 32 characters of it, is in what a "
            "later one was given"
        )
    else:
        why = "nothing that an earlier one returned is among what a later one was given"
    unseen = ""
    if models and known == "proved":
        unseen = " Whether an answer decided if the next call was made is not in the trace."
    elif not models and not read_only(trace, group):
        unseen = " Whether two of them write to the same place is not in the trace."
    return Candidate(
        code=CODE,
        title=f"run {len(group)} independent calls together",
        spans=tuple(group),
        change=tuple(group),
        evidence="proved" if known == "proved" else "likely",
        why=f"{what} ran one after the other, but {why}.{unseen}",
        fix=(
            "Start all of them before waiting for the first one "
            "(asyncio.gather, or a thread pool); mind the rate limit of what is called."
        ),
        where=where_of(trace, (*group, parent)),
    )
