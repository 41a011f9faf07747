"""Calls that were cut off by whoever waited for them, and for no other reason than the time.

    tool get_orders    |-------------x        CancelledError
    llm chat                          |----|  the run goes on without it

A span that was cancelled does not say why. The faster one of two that race has just ended, and so
has what failed and took the others of its group along; whoever stops a run ends it. Where none of
this is seen, the time was over.
"""

import re
from bisect import bisect_left
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.proof.independence import is_inside
from causepath_analyzer.model import NO_SPAN, Span

_CANCELLED: Final = re.compile(
    r"(?:\S*\W)?(?:(?:task|operation|future|job)?_?cancell?ed(?:error|exception)?|aborterror"
    r"|context cancell?ed)\Z",
    re.IGNORECASE,
)
_NEAR_NS: Final = 100_000_000
"""What ended so shortly before a call was cut off may be why."""
_AT_ONCE_NS: Final = 1_000_000_000
"""What a program does next, it does by then; a person has hardly begun to write."""
_LOOKED_AT: Final = 64
_DEEP: Final = 256
"""Levels that are looked at; bounds the work on a hostile trace."""


def is_given_up(facts: Facts, call: int) -> bool:
    """Tells whether `call` was cut off, and nothing is seen that it was cut off for."""
    trace = facts.trace
    whole = _whole(facts, call)
    if whole == NO_SPAN or trace.parents[whole] == NO_SPAN or trace.untrusted:
        return False
    if _is_cancelled(trace.spans[trace.main_root]):
        return False
    ended_ns = trace.spans[whole].ended_ns
    first = bisect_left(facts.ends, (ended_ns - _NEAR_NS, 0))
    after = bisect_left(facts.ends, (ended_ns + 1, 0))
    if after - first > _LOOKED_AT:
        return False
    return all(
        _is_cancelled(trace.spans[other])
        or is_inside(trace, other, (whole,))
        or is_inside(trace, whole, (other,))
        for _, other in facts.ends[first:after]
    )


def goes_on_at_once(facts: Facts, call: int) -> bool:
    """Tells whether something else begins just as `call` was cut off: whoever only asks for that
    does not wait until it is done."""
    trace = facts.trace
    spans, whole = trace.spans, _whole(facts, call)
    ended_ns = spans[whole].ended_ns
    first = bisect_left(spans, ended_ns - _NEAR_NS, key=lambda span: span.start_ns)
    for i in range(first, min(first + _LOOKED_AT, len(spans))):
        if spans[i].start_ns > ended_ns + _AT_ONCE_NS:
            break
        if i != whole and not is_inside(trace, i, (whole,)):
            return True
    return False


def _whole(facts: Facts, call: int) -> int:
    """Finds the outermost span that was cut off with `call`; `NO_SPAN` if it was not."""
    spans, parents = facts.trace.spans, facts.trace.parents
    whole = NO_SPAN
    for _ in range(_DEEP):
        if call == NO_SPAN or not _is_cancelled(spans[call]):
            return whole
        whole, call = call, parents[call]
    return NO_SPAN


def _is_cancelled(span: Span) -> bool:
    return span.error is not None and _CANCELLED.match(span.error) is not None
