"""CP101: which tools of one reply ran one after the other, and what running them together saves.

The model wrote the arguments of all tool calls of a reply before it saw any result, so that none
can depend on another: this is proof, not a guess, as long as it is known which call asked.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from causepath_analyzer.analyses.causes import Causes
from causepath_analyzer.analyses.findings import Candidate
from causepath_analyzer.analyses.independence import effects, listed, where_of
from causepath_analyzer.analyses.replay import tools_of_replies
from causepath_analyzer.model import NO_SPAN, Trace

CODE: Final = "CP101"


def sequential_tools(trace: Trace, causes: Causes) -> list[Candidate]:
    """The candidates CP101 of `trace`: tools of one reply that were not all run together.

    Tools of which only a window is known give none.
    """
    found = []
    for group in tools_of_replies(trace, causes):
        for known in _of_one_reply(trace, causes, [i for i in group if not _inferred(trace, i)]):
            earliest = min((trace.spans[i].ended_ns for i in known), default=0)
            if len(known) > 1 and any(trace.spans[i].start_ns >= earliest for i in known):
                found.append(_candidate(trace, causes, known))
    return found


_PAUSE_NS: Final = 20_000_000


def _of_one_reply(trace: Trace, causes: Causes, group: Sequence[int]) -> Iterator[Sequence[int]]:
    """Those of `group` that one reply asked for, as far as the trace can tell.

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


def _candidate(trace: Trace, causes: Causes, group: Sequence[int]) -> Candidate:
    issuer = causes.issuers[group[0]]
    spans = trace.spans
    tools = [spans[i].tool_call for i in group]
    names = [(tool and tool.name) or spans[i].name for i, tool in zip(group, tools, strict=True)]
    call = spans[issuer].model_call
    turn = f" of turn {call.turn}" if call is not None and call.turn is not None else ""
    parent = causes.parents[group[0]]
    agent = spans[parent].name if parent != NO_SPAN else ""
    return Candidate(
        code=CODE,
        title=f"run {len(group)} tools{turn} together",
        plural="run tools of one reply together",
        place=where_of(trace, (issuer, parent)) or agent,
        spans=tuple(group),
        change=tuple((i,) for i in group),
        evidence="proved",
        why=(
            f"{listed(names)} were asked for in one reply, so none can need what another "
            f"returned. {effects(trace, group)}"
        ),
        fix=(
            "Start all tool calls of a reply before waiting for the first result "
            "(asyncio.gather, or a thread pool)."
        ),
        # The loop that runs the tools is where the model is called, not where they are written.
        where=where_of(trace, (issuer, parent, *group)),
    )
