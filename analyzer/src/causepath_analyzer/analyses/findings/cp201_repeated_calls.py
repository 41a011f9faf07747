"""CP201: calls that were made again although nothing had changed: same call, same result.

    tool search("a")  |---|                  the same arguments, the same result,
    tool read                  |--|          and nothing between that may have changed it
    tool search("a")                |---|

Each repeat gets a verdict, and only waste is said. *Legitimate* are calls that change something or
come after one that does, after a failure, or after a person or a queue was waited for; so is asking
again until the answer changes. *Unknown* is what nothing tells: the effects of a call between, a
result that is but a yes or a no, a tool called after something that changes by itself.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, Literal

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import spent
from causepath_analyzer.analyses.findings.results_over_runs import had_before
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.proof.independence import (
    failed,
    is_inside,
    may_change,
    only_looks,
    where_of,
)
from causepath_analyzer.analyses.proof.recorded_words import (
    changes_by_itself,
    changes_slowly,
    outcome_of,
)
from causepath_analyzer.analyses.replay.change import Cached
from causepath_analyzer.model import NO_SPAN, Span, Trace

Verdict = Literal["waste", "legitimate", "unknown"]

_STALE_NS: Final = 300_000_000_000
"""After five minutes it is sensible to look again ..."""
_SLOWLY_NS: Final = 60_000_000_000
"""... and after one at what changes by itself, however slowly."""
_POLLS: Final = 3
"""So many equal calls, one directly after the other, may be somebody who waits for a change ..."""
_SLOW_POLLS: Final = 2
"""... and so many, where it is known that there will be one."""
_LONG_ANSWER: Final = 64
"""Bytes of an answer that a model does not give twice by chance."""


def repeated_calls(facts: Facts) -> Iterator[Candidate]:
    """Finds calls of tools and models whose result was known already."""
    trace = facts.trace
    between = None
    inside: set[int] = set()
    for group in _equal_calls(facts):
        if between is None:
            between = _Between(facts)
        calls = _in_sequence(trace, group)
        if len(calls) < 2 or len({_result(facts, i) for i in calls}) > 1:
            continue  # where a result differs, it changes by itself
        repeats = [
            later
            for earlier, later in pairwise(calls)
            if _verdict(facts, earlier, later, between) == "waste"
        ]
        if _is_polled(facts, calls):
            continue
        repeats = [i for i in repeats if not is_inside(trace, i, inside)]
        if repeats:
            inside.update(repeats)
            yield _candidate(facts, calls, repeats, between)
    yield from had_before(facts)


Key = tuple[object, ...]


def _equal_calls(facts: Facts) -> list[list[int]]:
    """Groups calls that asked for the same, in order of their first."""
    groups: dict[Key, list[int]] = {}
    for i in facts.numbers.get("tool", ()):
        span = facts.trace.spans[i]
        tool = span.tool_call
        if tool is not None and tool.arguments is not None and tool.result is not None:
            if tool.inferred or tool.ambiguous > 1:
                continue
            key: Key = (tool.name or span.name, tool.arguments.digest, tool.arguments.size)
            groups.setdefault(key, []).append(i)
    repeated = [group for group in groups.values() if len(group) > 1]
    return sorted([*repeated, *_equal_model_calls(facts)])


def _equal_model_calls(facts: Facts) -> Iterator[list[int]]:
    groups: dict[Key, list[int]] = {}
    for i in facts.numbers.get("llm", ()):
        call = facts.trace.spans[i].model_call
        if call is not None and call.blocks is not None and facts.kinds.calls[i] == i:
            # Nothing is listed of a prompt that an earlier call was given, all of it.
            blocks = call.blocks.given or (facts.flow.prompt(i) or ())
            last = blocks[-1].digest if blocks else None
            groups.setdefault((call.model, last), []).append(i)
    for alike in groups.values():
        if len(alike) < 2:
            continue
        same: dict[tuple[int, ...], list[int]] = {}
        for i in alike:
            given = facts.flow.given(i)
            if given:
                same.setdefault(given, []).append(i)
        yield from (group for group in same.values() if len(group) > 1)


def _result(facts: Facts, i: int) -> Key:
    span = facts.trace.spans[i]
    if span.tool_call is not None and span.tool_call.result is not None:
        return span.tool_call.result.digest, span.tool_call.result.size
    call = span.model_call
    blocks = call.blocks.answered if call is not None and call.blocks is not None else ()
    return tuple(block.digest for block in blocks)


def _in_sequence(trace: Trace, group: Sequence[int]) -> list[int]:
    """Leaves those of `group` that began when the one before had ended: one that began earlier is
    a second record of it, or was made beside it."""
    found = [group[0]]
    for i in group[1:]:
        if trace.spans[i].start_ns >= trace.spans[found[-1]].ended_ns:
            found.append(i)
    return found


def _verdict(facts: Facts, earlier: int, later: int, between: "_Between") -> Verdict:
    """Judges the call `later`, which asked for what `earlier` had returned."""
    first, second = facts.trace.spans[earlier], facts.trace.spans[later]
    if failed(first) or failed(second):
        return "legitimate"
    if (
        second.start_ns - first.ended_ns > _STALE_NS
        or between.roots[earlier] != between.roots[later]
    ):
        return "unknown"
    if second.model_call is not None:
        answered = second.model_call.blocks.answered if second.model_call.blocks else ()
        asks = "tool_call" in second.model_call.finish_reasons or second.model_call.issued
        long = sum(block.size for block in answered) >= _LONG_ANSWER
        return "waste" if long and not asks else "unknown"
    tool = second.tool_call
    if may_change(second):
        return "legitimate"
    if tool is None or not only_looks(second) or outcome_of(tool) is not None:
        return "unknown"
    name = tool.name or second.name
    if changes_by_itself(name) and not (
        changes_slowly(name) and second.start_ns - first.ended_ns <= _SLOWLY_NS
    ):
        return "unknown"
    return between.verdict(first, later)


def _is_polled(facts: Facts, calls: Sequence[int]) -> bool:
    """Tells whether tools in `calls` directly follow each other: somebody may wait for a change."""
    span = facts.trace.spans[calls[0]]
    if span.tool_call is None:
        return False
    most = _SLOW_POLLS if changes_slowly(span.tool_call.name or span.name) else _POLLS
    tools = facts.numbers["tool"]
    places = [bisect_left(tools, i) for i in calls]
    row = longest = 1
    for place, after in pairwise(places):
        row = row + 1 if after == place + 1 else 1
        longest = max(longest, row)
    return longest >= most


_READING: Final = frozenset(("llm", "retrieval", "embedding", "cache", "guardrail", "retry"))
_STEPS: Final = frozenset(("agent", "chain", "other"))


_LOOKED_AT: Final = 64


class _Between:
    """The calls that may have changed something, and the waits, in order of start."""

    def __init__(self, facts: Facts) -> None:
        spans, kinds = facts.trace.spans, facts.kinds
        holders = {kinds.agents[i] for i, unit in enumerate(kinds.units) if unit == i}
        self._spans = spans
        self.roots = list(range(len(spans)))
        """By span the root that it lies below."""
        for i in kinds.top_down:
            parent = facts.trace.parents[i]
            if parent != NO_SPAN:
                self.roots[i] = self.roots[parent]
        self._at: list[int] = []
        self._unmarked: list[int] = []
        for i, span in enumerate(spans):
            if span.category in _STEPS or span.category in _READING or i in holders:
                continue  # what a tool that holds calls does, these tell
            unit = kinds.units[i]
            if unit not in (NO_SPAN, i) and (kinds.calls[unit] == unit or only_looks(spans[unit])):
                continue
            if span.category != "tool" or not only_looks(span):
                self._at.append(i)
            elif span.tool_call is None or not span.tool_call.read_only:
                self._unmarked.append(i)
        self._until = list(accumulate((spans[i].ended_ns for i in self._at), max))

    def verdict(self, first: Span, later: int) -> Verdict:
        """Tells whether something can have changed since `first` began to look."""
        before = bisect_left(self._at, later)
        if not before or self._until[before - 1] <= first.start_ns:
            return "waste"
        # The nearest tell; there may be thousands.
        spans = [self._spans[i] for i in self._at[max(0, before - _LOOKED_AT) : before]]
        known = any(may_change(s) or s.category in ("human", "wait") for s in spans)
        return "legitimate" if known else "unknown"

    def is_marked(self, first: int, later: int) -> bool:
        """Tells whether every tool from `first` to `later` is marked read-only."""
        return bisect_left(self._unmarked, first) == bisect_left(self._unmarked, later + 1)


def _candidate(
    facts: Facts, calls: Sequence[int], repeats: Sequence[int], between: _Between
) -> Candidate:
    trace = facts.trace
    span = trace.spans[repeats[0]]
    tool = span.tool_call
    name = (tool and tool.name) or span.name
    times = len(repeats) + 1
    number = "twice" if times == 2 else f"{times} times"
    marked = tool is not None and between.is_marked(calls[0], repeats[-1])
    if tool is not None:
        why = (
            f"{name} was called {number} with equal arguments and each time returned the same; "
            "no call between them may have changed anything"
            f"{', as all are marked read-only' if marked else ', as far as their names tell'}."
        )
        fix = (
            f"Keep the results of {name} by its arguments for the run (functools.cache, or "
            "cachetools.TTLCache), and drop them when something is written."
        )
    else:
        why = f"The model was given the same {number}, block by block, and answered the same."
        fix = "Ask once and hand the answer on, or keep answers by a hash of the whole request."
    return Candidate(
        title=f"call {name} once, not {number}" if tool is not None else f"ask once, not {number}",
        plural="make equal calls once",
        place=where_of(trace, (repeats[0],)) or name,
        spans=(calls[0], *repeats),
        change=Cached(tuple(repeats)),
        saving=spent(facts, repeats),
        evidence="proved" if marked else "likely",
        why=why,
        fix=fix,
        where=where_of(trace, (repeats[0],)),
        refuted_by=(
            f"something outside of this trace that changes what {name} returns"
            if tool is not None
            else "a caller that asks several times on purpose, to compare the answers"
        ),
    )


RULE: Final = Rule(
    code="CP201",
    title="The same call again, with the same result",
    what=(
        "A tool that only looks was called again with equal arguments and returned the same, or a "
        "model was given the same and answered the same, and nothing that was done between can "
        "have changed it. The first result could have been kept."
    ),
    evidence=(
        "Arguments and results are equal by their digests or their recorded texts. proved: the "
        "tool and all others between are marked read_only. likely: they are called after looking "
        "at something (get_, search_), or it is a model whose answer is too long to be equal by "
        "chance. Nothing is said of calls that may change something or come after one that may, "
        "after a failure, a person or a queue; of tools whose names tell no effect, or name what "
        "changes by itself (status, time, next, price; a forecast, the weather or the news only "
        "after a minute, or one directly after the other); of results that are but a yes or a no; "
        "where any result differs, three equal calls directly follow each other (polling), or "
        "five minutes have passed. Over runs: likely, where in runs of three different tasks "
        "(known by their first prompts) or more such a tool was called with equal arguments and "
        "always returned the same, and a cache of an hour, tried on all its calls, would have "
        "given an old result in less than 1 % of its hits; said of the first such call of a run."
    ),
    saving=(
        "The wall time now, minus that of a replay in which each repeat takes a look-up of 1 ms, "
        "and what the model calls in it cost. What it took the model to ask again is not counted: "
        "it may have asked all the same."
    ),
    refuted_by=(
        "Something outside of the trace that changes what the call returns, or a caller that wants "
        "it fresh."
    ),
    fix=(
        "Keep the result by the arguments for as long as it holds: functools.cache or cachetools "
        "in one process, Redis between several. Clear it when something is written. Do not cache "
        "by similarity of questions without having measured how often that is wrong."
    ),
    find=repeated_calls,
    change=Cached,
)
