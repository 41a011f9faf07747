"""Which calls were made again because they had failed: by the user's own code, not by an SDK.

    agent   |---------------------------------|
    chat     |-x|            |-------|            failed; the pause before the next; answered

A failed model call that is followed by one of the same parent and model, with nothing begun
between, is an attempt, and the time until the next one starts is its pause. So is a tool that
failed and was called again with equal arguments. Content and digests know more than the order: two
calls that are known to ask for different things are no retry of each other (a loop that goes on
with the next item), and where both are known to ask for the same, what other branches do meanwhile
does not matter.

A call of another model is a fallback, and counts as one where it is known to ask for the same, or
where the one that failed had itself been tried again in vain and nobody knows what either asks for.
It is none where models are asked side by side, or one after the other whatever they answer.

A function or a step of a framework that is recorded around each attempt, and holds nothing else, is
part of it: then these follow each other below one parent.

Attempts that an SDK made itself have spans of category ``retry`` and are not looked for here.

Invariant: every span is the failed one of at most one retry and the next one of at most one, and
the next one starts at or after the end of the failed one.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.status import is_stopped
from causepath_analyzer.model import NO_SPAN, Trace


class Retry(Struct, frozen=True, gc=False):
    """The call ``failed`` was made again as the call ``again``, perhaps with another model
    ``instead``.

    ``whole_failed`` and ``whole_again`` are these calls, or the outermost step around each; the
    pause between them, from ``failed_ns`` to ``again_ns``, is time of the span ``parent``, which is
    `NO_SPAN` if they are roots.
    """

    failed: int
    again: int
    failed_ns: int
    again_ns: int
    whole_failed: int
    whole_again: int
    parent: int
    instead: bool = False


_RELEASE: Final = re.compile(r"[-@](?:latest|v?\d{3,}(?:-?\d{2}){0,2})$")
"""What a provider adds to the name that was asked for: the date or number of the release."""


def retries(flow: DataFlow, calls: Sequence[int]) -> tuple[Retry, ...]:
    """Finds the retries in the trace of `flow`, in order of their failed calls.

    ``calls[i]`` is the model call that span *i* is or is part of, as in `SpanKinds`.
    """
    trace = flow.trace
    spans = trace.spans
    failed = [
        i
        for i, span in enumerate(spans)
        if span.error is not None and (calls[i] == i or span.category == "tool")
    ]
    if not failed:
        return ()
    found: list[Retry] = []
    taken: set[int] = set()
    all_asked = _all_asked(trace, calls, flow)
    for i in failed:
        whole = _whole(trace, i)
        again, later = _again(trace, calls, flow, i, whole, taken)
        instead = again == NO_SPAN
        if instead:
            again, later = _instead(trace, calls, flow, i, whole, taken, all_asked)
        if again != NO_SPAN:
            taken.add(again)
            found.append(
                Retry(
                    i,
                    again,
                    spans[whole].ended_ns,
                    spans[later].start_ns,
                    whole,
                    later,
                    trace.parents[whole],
                    instead,
                )
            )
    return tuple(found)


def _whole(trace: Trace, failed: int) -> int:
    """Finds the outermost step that failed with `failed` and holds nothing else, else that call."""
    above = trace.parents[failed]
    while (
        above != NO_SPAN
        and trace.spans[above].category in _STEPS
        and trace.spans[above].error is not None
        and len(trace.children[above]) == 1
    ):
        failed, above = above, trace.parents[above]
    return failed


_STEPS: Final = ("chain", "other")


def _first_call(trace: Trace, calls: Sequence[int], step: int) -> int:
    """Finds the call that `step` begins with, or is."""
    while trace.spans[step].category in _STEPS and calls[step] != step and trace.children[step]:
        step = trace.children[step][0]
    return step


def _again(
    trace: Trace, calls: Sequence[int], flow: DataFlow, failed: int, whole: int, taken: set[int]
) -> tuple[int, int]:
    """Finds the call that tries `failed` again and what is around it, else `NO_SPAN`."""
    spans = trace.spans
    parent, ended_ns = trace.parents[whole], spans[whole].ended_ns
    family = trace.children[parent] if parent != NO_SPAN else trace.roots
    between: list[int] = []
    after = bisect_right(family, whole)  # spans are numbered in order of start, as families are
    for later in family[after : after + _MOST_LOOKED_AT]:
        if spans[later].start_ns < ended_ns or spans[later].category == "retry":
            continue
        i = later
        if whole != failed and spans[later].name == spans[whole].name:
            i = _first_call(trace, calls, later)
        same = _same(trace, calls, flow, failed, i) if i not in taken else False
        if same is True and all(_beside(trace, calls, flow, i, other) for other in between):
            return i, later
        if same is None and not between and _may_be(trace, calls, failed, i):
            return i, later
        between.append(later)
    return NO_SPAN, NO_SPAN


_MOST_LOOKED_AT: Final = 128
"""Siblings that began after a failed one; bounds the work on a hostile trace."""


def _instead(
    trace: Trace,
    calls: Sequence[int],
    flow: DataFlow,
    failed: int,
    whole: int,
    taken: set[int],
    all_asked: frozenset[tuple[str, str]],
) -> tuple[int, int]:
    """Finds the call of another model that was made in place of `failed`, as `_again` does."""
    spans = trace.spans
    if (
        calls[failed] != failed
        or not _model(trace, failed)
        or is_stopped(spans[failed].error or "")
    ):
        return NO_SPAN, NO_SPAN
    parent = trace.parents[whole]
    family = trace.children[parent] if parent != NO_SPAN else trace.roots
    after = bisect_right(family, whole)
    later = next(iter(family[after : after + 1]), NO_SPAN)
    if later == NO_SPAN or spans[later].start_ns < spans[whole].ended_ns:
        return NO_SPAN, NO_SPAN
    i = later if whole == failed else _first_call(trace, calls, later)
    if i in taken or calls[i] != i or not _model(trace, i) or _one_model(trace, failed, i):
        return NO_SPAN, NO_SPAN
    same = _asks_the_same(flow, failed, i)
    tried = failed in taken or any(spans[n].category == "retry" for n in trace.children[failed])
    if same is False or (same is None and not tried) or _is_each(trace, failed, i):
        return NO_SPAN, NO_SPAN
    # Where an answer keeps nobody from asking the next model, all are asked whatever they answer.
    for one in (_first_call(trace, calls, n) for n in family[after + 1 : after + 2]):
        others = calls[one] == one and not any(_one_model(trace, one, n) for n in (failed, i))
        if others and spans[i].error is None and _asks_the_same(flow, i, one) is not False:
            return NO_SPAN, NO_SPAN
    for one in (_first_call(trace, calls, n) for n in family[max(0, after - 2) : after - 1]):
        others = calls[one] == one and not _one_model(trace, one, failed)
        if others and spans[one].error is None and _asks_the_same(flow, one, i):
            return NO_SPAN, NO_SPAN
    return (NO_SPAN, NO_SPAN) if _models(trace, failed, i) in all_asked else (i, later)


def _all_asked(trace: Trace, calls: Sequence[int], flow: DataFlow) -> frozenset[tuple[str, str]]:
    """Finds pairs of models of which the second one was asked although the first had answered the
    same, or while it did."""
    found = set()
    for family in (trace.roots, *trace.children):
        for one, other in pairwise(family):
            first, second = _first_call(trace, calls, one), _first_call(trace, calls, other)
            if (
                calls[first] == first
                and calls[second] == second
                and trace.spans[first].error is None
                and not _one_model(trace, first, second)
                and _asks_the_same(flow, first, second) is not False
            ):
                found.add(_models(trace, first, second))
    return frozenset(found)


def _asks_the_same(flow: DataFlow, one: int, other: int) -> bool | None:
    """Tells whether calls of two models are given the same by the user and by tools; ``None`` where
    that is not known. Each provider has its own form for instructions and tools."""
    asked, also = flow.prompt(one), flow.prompt(other)
    if asked is not None and also is not None:
        told, likewise = (
            [block.digest for block in blocks if block.role == "user"] for blocks in (asked, also)
        )
        return told == likewise if told and likewise else None
    begins, alike = flow.opening(one), flow.opening(other)
    return None if begins is None or alike is None else begins == alike


def _is_each(trace: Trace, failed: int, later: int) -> bool:
    """Tells whether both are rounds of one loop that goes on whatever is answered."""
    one, other = trace.spans[failed].site, trace.spans[later].site
    return (
        one is not None
        and other is not None
        and one.loop_kind == "each"
        and (one.loop, one.loop_kind) == (other.loop, other.loop_kind)
    )


def _may_be(trace: Trace, calls: Sequence[int], failed: int, later: int) -> bool:
    """Tells whether `later` can be `failed` tried again, if it is not known what `later` asks
    for."""
    return calls[failed] == failed and calls[later] == later and _one_model(trace, failed, later)


def _same(
    trace: Trace, calls: Sequence[int], flow: DataFlow, failed: int, later: int
) -> bool | None:
    """Tells whether both ask one model or tool for the same; ``None`` where that is not known."""
    if calls[failed] == failed:
        if calls[later] != later or not _one_model(trace, failed, later):
            return False
        asked, also = flow.given(failed), flow.given(later)
        if asked is not None and asked == also:
            return True
        begins, likewise = flow.opening(failed), flow.opening(later)
        if begins is not None and likewise is not None and begins != likewise:
            return False
        return None
    tool, other = trace.spans[failed].tool_call, trace.spans[later].tool_call
    return (
        tool is not None
        and other is not None
        and tool.name == other.name
        and tool.arguments is not None
        and tool.arguments == other.arguments
        and (tool.call_id is None or other.call_id is None or tool.call_id == other.call_id)
    )


def _beside(trace: Trace, calls: Sequence[int], flow: DataFlow, again: int, other: int) -> bool:
    """Tells whether `other`, which began before `again`, belongs to another branch: it goes on
    while `again` runs, or asks a model for something else."""
    spans = trace.spans
    if spans[other].ended_ns > spans[again].start_ns:
        return True
    asked, also = flow.given(again), flow.given(other)
    return calls[other] == other and asked is not None and also is not None and asked != also


def _one_model(trace: Trace, failed: int, later: int) -> bool:
    """Tells whether both calls are of one model: a failed one has the name that was asked for
    only."""
    one, other = (_model(trace, i) for i in (failed, later))
    return one == other or _unreleased(one) == _unreleased(other)


def _model(trace: Trace, call: int) -> str:
    told = trace.spans[call].model_call
    return (told.model if told is not None else None) or ""


def _models(trace: Trace, one: int, other: int) -> tuple[str, str]:
    return _unreleased(_model(trace, one)), _unreleased(_model(trace, other))


def _unreleased(model: str) -> str:
    return _RELEASE.sub("", model.rpartition("/")[2])
