"""Tools whose first call of a run took far longer than all others: a part of CP603.

    search("a")   |---------------------|     search("b")  |--|    search("c")  |-|   ...

It loads a model or an index, opens a pool, fills a cache of its own. Where a tool was merely called
for something larger at first, its results tell, and what it calls itself; where it remembers, later
calls are for the same.
"""

from collections.abc import Iterator, Sequence
from statistics import median_low
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, seconds
from causepath_analyzer.analyses.proof.independence import failed, where_of
from causepath_analyzer.analyses.replay.change import Warm
from causepath_analyzer.model import Content, Trace

_FEWEST: Final = 4
"""Later calls, of which each was quick."""
_SLOWER: Final = 5
"""So many times as long as the longest of them."""
_LARGER: Final = 2
"""A result that is so many times as large took more work."""


def cold_starts(facts: Facts) -> Iterator[Candidate]:
    """Finds tools whose first call took far longer than each of their later ones."""
    trace = facts.trace
    if trace.untrusted:
        return
    groups: dict[tuple[str, str | None, str], list[int]] = {}
    for i in facts.numbers.get("tool", ()):
        span = trace.spans[i]
        if span.tool_call is not None:
            key = span.tool_call.name or span.name, span.service, span.host
            groups.setdefault(key, []).append(i)
    for (name, _, _), group in groups.items():
        if len(group) <= _FEWEST:
            continue
        first, others = group[0], group[1:]
        longest_ns = max(trace.spans[i].duration_ns for i in others)
        took_ns = trace.spans[first].duration_ns
        if took_ns < _SLOWER * longest_ns:
            continue
        usual_ns = median_low(trace.spans[i].duration_ns for i in others)
        if took_ns - usual_ns >= facts.limits.tool_ns and _did_the_same(trace, first, others):
            yield _candidate(facts, name, first, others, usual_ns)


def _did_the_same(trace: Trace, first: int, others: Sequence[int]) -> bool:
    """Tells whether the first call is known to have had no more to do than others had, which came
    after it and were for something else."""
    spans = trace.spans
    asked, got = _known(trace, first)
    if asked is None or got is None:
        return False
    largest = 0
    for i in others:
        also, result = _known(trace, i)
        if also is None or result is None or also.digest == asked.digest:
            return False
        if spans[i].start_ns < spans[first].ended_ns:
            return False
        largest = max(largest, result.size)
    below = max(len(trace.children[i]) for i in others)
    return got.size <= _LARGER * largest and len(trace.children[first]) <= below


def _known(trace: Trace, i: int) -> tuple[Content | None, Content | None]:
    """Gives the arguments and the result of a tool that was measured and did not fail."""
    tool = trace.spans[i].tool_call
    if tool is None or tool.inferred or tool.ambiguous > 1 or failed(trace.spans[i]):
        return None, None
    return tool.arguments, tool.result


def _candidate(
    facts: Facts, name: str, first: int, others: Sequence[int], usual_ns: int
) -> Candidate:
    span = facts.trace.spans[first]
    where = where_of(facts.trace, (first,))
    return Candidate(
        title=f"warm {name} up before it is needed",
        plural=f"warm {name} up before it is needed",
        place=f"first {name} {where}",
        spans=(first,),
        change=Warm(((first, span.duration_ns - usual_ns),)),
        evidence="likely",
        why=(
            f"The first call of {name} took {seconds(span.duration_ns)}, its {len(others)} later "
            f"ones, for other arguments, {seconds(usual_ns)} (the median), and its result was not "
            "much larger than theirs: it loads or opens something once."
        ),
        fix=(
            f"Load what {name} needs (a model, an index, a pool of connections) when the process "
            "starts, not when the first run asks for it; keep the process for several runs."
        ),
        where=where,
        refuted_by=f"a first call of {name} that had more to do, which its result does not show",
    )
