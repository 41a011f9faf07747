"""CP101: which tools of one reply ran one after the other, and what running them together saves.

The model wrote the arguments of all tool calls of a reply before it saw any result, so that none
can need what another one returned: this is proof, not a guess, as long as it is known which call
asked. It is none of what they do: two that name one place, of which one may write, may need their
order, and so may a tool that changes something, as its name tells, and those of other names. So
that is proved of tools that are marked read-only or called after looking at something, and of
calls of one tool; of others it is likely.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.proof.independence import (
    asked_again,
    effects,
    listed,
    may_change,
    names_a_place,
    only_looks,
    same_place,
    where_of,
)
from causepath_analyzer.analyses.proof.stretch import serial_tools
from causepath_analyzer.analyses.replay.change import SideBySide
from causepath_analyzer.analyses.replay.schedule import tools_of_replies
from causepath_analyzer.model import NO_SPAN, Trace


def sequential_tools(facts: Facts) -> list[Candidate]:
    """Finds the tools of one reply that were not all run together.

    Tools of which only a window is known give none.
    """
    trace, causes = facts.trace, facts.causes
    found = []
    serial = None
    for group in tools_of_replies(trace, causes):
        for known in _of_one_reply(trace, causes, [i for i in group if not _inferred(trace, i)]):
            for tools in _apart(trace, known):
                earliest = min((trace.spans[i].ended_ns for i in tools), default=0)
                if len(tools) > 1 and any(trace.spans[i].start_ns >= earliest for i in tools):
                    if serial is None:
                        serial = facts.others.serial | serial_tools(trace)
                    found.append(_candidate(trace, causes, tools, serial))
    return found


def _apart(trace: Trace, group: Sequence[int]) -> Iterator[Sequence[int]]:
    """Splits `group` where the place of a call in the order may matter, and leaves that call out.

    Calls of one tool that changes something keep theirs unless each names a place of its own; so
    do calls that are equal, whose results must differ for something else, and two that name one
    place unless both only look.
    """
    spans = [trace.spans[i] for i in group]
    if len({_name(trace, i) for i in group}) == 1 and not _meets(trace, group):
        if all(names_a_place(span) or not may_change(span) for span in spans):
            yield group
        return
    part: list[int] = []
    for i in group:
        changes = may_change(trace.spans[i]) or any(_parts(trace, j, i) for j in part)
        if changes:
            yield part
        part = [] if may_change(trace.spans[i]) else [i] if changes else [*part, i]
    yield part


def _parts(trace: Trace, earlier: int, later: int) -> bool:
    one, other = trace.spans[earlier], trace.spans[later]
    if asked_again(one, other):
        return True
    looks = only_looks(one) and only_looks(other)
    return not looks and same_place(trace, (earlier, later)) is not None


def _meets(trace: Trace, group: Sequence[int]) -> bool:
    pairs = combinations(group, 2)
    return same_place(trace, group) is not None or any(
        asked_again(trace.spans[one], trace.spans[other]) for one, other in pairs
    )


def _name(trace: Trace, span: int) -> str:
    tool = trace.spans[span].tool_call
    return (tool and tool.name) or trace.spans[span].name


_PAUSE_NS: Final = 20_000_000


def _of_one_reply(trace: Trace, causes: Causes, group: Sequence[int]) -> Iterator[Sequence[int]]:
    """Splits `group` by the reply that asked for its tools, as far as the trace can tell.

    A span that is said to be a model call may be what several calls wrote their attributes onto.
    So where nothing but its place says who asked for a tool, what comes after a pause, in which the
    model may have been asked again, was perhaps asked for by another reply.
    """
    told: list[int] = []
    ended_ns = 0
    for i in group:
        span = trace.spans[i]
        if causes.how[i] == "parent" and told and span.start_ns - ended_ns > _PAUSE_NS:
            yield told
            told = []
        told.append(i)
        ended_ns = max(ended_ns, span.ended_ns)
    if told:
        yield told


def _inferred(trace: Trace, span: int) -> bool:
    tool = trace.spans[span].tool_call
    return tool is None or tool.inferred


def _candidate(
    trace: Trace, causes: Causes, group: Sequence[int], serial: frozenset[str]
) -> Candidate:
    issuer = causes.issuers[group[0]]
    spans = trace.spans
    names = [_name(trace, i) for i in group]
    slow = sorted(serial.intersection(names))
    looks = all(only_looks(spans[i]) for i in group)
    one_tool = len(set(names)) == 1 and not may_change(spans[group[0]])
    certain = not slow and not _meets(trace, group) and (looks or one_tool)
    call = spans[issuer].model_call
    turn = f" of turn {call.turn}" if call is not None and call.turn is not None else ""
    parent = causes.parents[group[0]]
    agent = spans[parent].name if parent != NO_SPAN else ""
    return Candidate(
        title=f"run {len(group)} tools{turn} together",
        plural="run tools of one reply together",
        place=where_of(trace, (issuer, parent)) or agent,
        spans=tuple(group),
        change=SideBySide(tuple((i,) for i in group)),
        evidence="proved" if certain else "likely",
        why=(
            f"{listed(names)} were asked for in one reply, so none can need what another "
            f"returned. {effects(trace, group)}{_upper_bound(slow)}"
        ),
        fix=(
            "Start all tool calls of a reply before waiting for the first result "
            "(asyncio.gather, or a thread pool)."
        ),
        # The loop that runs the tools is where the model is called, not where they are written.
        where=where_of(trace, (issuer, parent, *group)),
        refuted_by=(
            "one of these tools changing what another one sees, or all of them waiting for one "
            "connection, lock or rate"
        ),
        at_most=bool(slow),
    )


def _upper_bound(slow: Sequence[str]) -> str:
    if not slow:
        return ""
    return (
        f" Calls of {listed(slow)} that overlapped elsewhere took longer, as if they waited for "
        "each other (one connection, a lock): the saving is an upper bound."
    )


RULE: Final = Rule(
    code="CP101",
    title="Tools of one reply ran one after the other",
    what=(
        "The model asked for several tools in one reply, and the agent ran them in sequence. "
        "The model wrote all their arguments before it saw any result, so none of them can "
        "need what another one returned. Run together, they take as long as the longest."
    ),
    evidence=(
        "proved: the same model call issued all of them, and they are calls of one tool, or "
        "all are marked read_only or called after looking at something (get_, search_). Who "
        "issued them is known from a span link, from the tool call ids in the recorded reply, "
        "from a tool span inside the call, or from call ids between this call and the next "
        "one of the same agent. likely: nobody knows what else they do; they say by their "
        "names that they change something, each at a path, address or id of its own; or their "
        "calls took longer where they overlapped elsewhere, as if they waited for each other "
        "(a connection, a lock): then the saving is an upper bound. A tool that changes "
        "something is not proposed to run beside other tools, nor are two calls that name one "
        "place, unless both only look, or that are equal."
    ),
    saving=(
        "The wall time now, minus the wall time of a schedule in which the tools start "
        "together and everything that waited for them follows with the gaps it had. Pauses "
        "between the tools are kept. If some of the tools already overlapped, no more run at "
        "once than did. What happens again and again at one line of code is replayed in one "
        "and counts as one finding. Nothing is said below 1 % of the wall or 50 ms, or about "
        "tools whose duration is not known (causepath.tool.inferred)."
    ),
    refuted_by=(
        "One of the tools changing what another one sees, or all of them waiting for one "
        "connection, lock or rate."
    ),
    fix=(
        "Start every tool call of a reply before waiting for the first result: "
        "asyncio.gather in async code, a ThreadPoolExecutor otherwise. Send the results back "
        "in one message, in the order of the tool_use blocks."
    ),
    find=sequential_tools,
    change=SideBySide,
)
