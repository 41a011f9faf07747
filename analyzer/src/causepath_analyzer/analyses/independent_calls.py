"""CP102: independent calls that the agent's own code made one after the other.

Model calls in a loop over items, retrievals, look-ups before the first model call: no reply asked
for them, so unlike for CP101 their independence has to be shown (see `independence`). A round of a
loop may have several steps, which need each other; then it is the rounds that are independent:

    retrieve |--| ask |-----| retrieve |--| ask |-----|    =>   retrieve |--| ask |-----|
                                                                retrieve |--| ask |-----|
"""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from causepath_analyzer.analyses.causes import Causes
from causepath_analyzer.analyses.data_flow import DataFlow
from causepath_analyzer.analyses.findings import Branches, Candidate
from causepath_analyzer.analyses.independence import (
    CALLS,
    Elsewhere,
    Level,
    and_here,
    effects,
    key_of,
    level,
    listed,
    where_of,
    worst,
)
from causepath_analyzer.analyses.kinds import SpanKinds
from causepath_analyzer.analyses.operations import name_of
from causepath_analyzer.model import NO_SPAN, Trace

T = TypeVar("T")

CODE: Final = "CP102"
_FAMILY: Final = frozenset(("agent", "chain", "tool", "other"))
_MOST_STEPS: Final = 4
_MOST_TOGETHER: Final = 256
"""Each of a group is compared with all before it; a longer loop makes several groups."""


class _Group(Struct, frozen=True):
    """Calls, or rounds of calls, that directly follow each other and are independent."""

    branches: Branches
    known: Level

    @property
    def calls(self) -> tuple[int, ...]:
        return tuple(i for branch in self.branches for i in branch)


_SILENT: Final = frozenset(("unknown", "dependent"))


def independent_calls(
    trace: Trace, kinds: SpanKinds, causes: Causes, others: Elsewhere
) -> list[Candidate]:
    """The candidates CP102 of `trace`, with `others` as further evidence."""
    families: dict[int, list[int]] = {}
    for i, parent in enumerate(causes.parents):
        families.setdefault(parent, []).append(i)
    found: list[Candidate] = []
    flow = DataFlow(trace)
    others = and_here(others, flow)
    for parent, family in families.items():
        if len(family) < 2 or (parent != NO_SPAN and trace.spans[parent].category not in _FAMILY):
            continue
        for calls in _in_sequence(trace, kinds, causes, family):
            groups = _groups(flow, calls, others)
            found += [_candidate(trace, kinds, parent, group) for group in groups]
    return found


def _in_sequence(
    trace: Trace, kinds: SpanKinds, causes: Causes, family: Sequence[int]
) -> Iterator[Sequence[int]]:
    """Calls of the agent's own code, each directly behind the one before."""
    calls: list[int] = []
    for i in family:
        follows = not calls or trace.spans[i].start_ns >= trace.spans[calls[-1]].ended_ns
        is_call = _is_call(trace, kinds, causes, i)
        if is_call and follows:
            calls.append(i)
            continue
        if len(calls) > 1:
            yield calls
        calls = [i] if is_call else []
    if len(calls) > 1:
        yield calls


def _is_call(trace: Trace, kinds: SpanKinds, causes: Causes, i: int) -> bool:
    span = trace.spans[i]
    if span.category not in CALLS or (span.category == "llm" and kinds.calls[i] != i):
        return False
    if span.tool_call is not None and span.tool_call.inferred:
        return False
    return causes.issuers[i] == NO_SPAN


def _groups(flow: DataFlow, calls: Sequence[int], others: Elsewhere) -> Iterator[_Group]:
    """The groups in `calls`: from each call on the longest of single calls or of rounds."""
    keys = [key_of(flow.trace, i) for i in calls]
    repeats = {steps: _repeats(keys, steps) for steps in range(2, _MOST_STEPS + 1)}
    at = 0
    while at < len(calls) - 1:
        best = _independent(flow, ((i,) for i in calls[at : at + _MOST_TOGETHER]), others)
        for steps, repeated in repeats.items():
            if len(set(_nth(keys, at, 0, steps))) == 1:
                continue
            rounds = min(_MOST_TOGETHER, 1 + repeated[at] // steps)
            if rounds * steps > len(best.calls):
                of_rounds = (tuple(_nth(calls, at, n, steps)) for n in range(rounds))
                found = _independent(flow, of_rounds, others)
                if len(found.branches) > 1 and len(found.calls) > len(best.calls):
                    best = found
        if len(best.branches) > 1:
            yield best
        at += len(best.calls) if len(best.branches) > 1 else 1


def _repeats(keys: Sequence[object], steps: int) -> list[int]:
    """For each place how many keys from there on come again `steps` later, without a gap."""
    found = [0] * len(keys)
    for at in range(len(keys) - steps - 1, -1, -1):
        found[at] = found[at + 1] + 1 if keys[at] == keys[at + steps] else 0
    return found


def _nth(values: Sequence[T], at: int, n: int, steps: int) -> Sequence[T]:
    """Round `n` of those that begin `at` a place."""
    return values[at + n * steps : at + (n + 1) * steps]


def _independent(flow: DataFlow, branches: Iterator[tuple[int, ...]], others: Elsewhere) -> _Group:
    """As many of `branches`, from the first on, as need nothing of each other."""
    group = [next(branches)]
    known: Level = "proved"
    for branch in branches:
        if len(branch) == 1 and _of_another_sort(flow.trace, group[-1][0], branch[0]):
            break
        joined = known
        for earlier in reversed(group):
            joined = worst((joined, _apart(flow, earlier, branch, others)))
            if joined in _SILENT:
                return _Group(tuple(group), known)
        group.append(branch)
        known = joined
    return _Group(tuple(group), known)


def _apart(
    flow: DataFlow, earlier: tuple[int, ...], later: tuple[int, ...], others: Elsewhere
) -> Level:
    """How well it is known that no step of `later` needed one of `earlier`."""
    same = key_of(flow.trace, earlier[0]) == key_of(flow.trace, later[0])
    return worst(level(flow, before, i, others, in_loop=same) for before in earlier for i in later)


def _of_another_sort(trace: Trace, one: int, other: int) -> bool:
    categories = trace.spans[one].category, trace.spans[other].category
    return categories[0] != categories[1] and "llm" in categories


def _candidate(trace: Trace, kinds: SpanKinds, parent: int, group: _Group) -> Candidate:
    calls, count = group.calls, len(group.branches)
    steps = group.branches[0]
    names = list(dict.fromkeys(name_of(trace, kinds, i) for i in calls))
    if len(steps) > 1:
        what = f"{count} rounds of {' and '.join(name_of(trace, kinds, i) for i in steps)}"
        title, one = f"run {count} independent rounds of a loop together", "round"
    else:
        what = f"{count} calls of {names[0]}" if len(names) == 1 else listed(names)
        title, one = f"run {count} independent calls together", "one"
    models = {trace.spans[i].category for i in calls} == {"llm"}
    if group.known != "proved":
        why = (
            f"in other runs a later {one} started before an earlier {one} had ended, or without it"
        )
    elif models:
        why = (
            "no text that an earlier one wrote, nor a line of 32 characters of it, is in what a "
            "later one was given"
        )
    else:
        why = f"nothing that an earlier {one} returned is among what a later {one} was given"
    unseen = ""
    if models and group.known == "proved":
        unseen = (
            " Whether a shorter piece of an answer was handed on, or decided if the next call "
            "was made, is not in the trace."
        )
    elif told := effects(trace, calls):
        unseen = f" {told}"
    above = trace.spans[parent].name if parent != NO_SPAN else ""
    return Candidate(
        code=CODE,
        title=title,
        plural="run independent calls together",
        place=where_of(trace, calls) or f"{above}: {', '.join(sorted(names))}",
        spans=calls,
        change=group.branches,
        evidence="proved" if group.known == "proved" else "likely",
        why=f"{what} ran one after the other, but {why}.{unseen}",
        fix=(
            "Start all of them before waiting for the first one "
            "(asyncio.gather, or a thread pool); mind the rate limit of what is called."
        ),
        where=where_of(trace, (*calls, parent)),
    )
