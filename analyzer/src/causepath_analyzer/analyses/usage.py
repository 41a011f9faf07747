"""Calls, turns and tokens of a run."""

from collections.abc import Sequence

from msgspec import Struct

from causepath_analyzer.analyses.conversations import Conversation, conversations
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, ModelCall, Tokens, Trace


class Calls(Struct, frozen=True):
    """How often a model and a tool were called."""

    llm: int
    tool: int


class Usage(Struct, frozen=True):
    """``turns`` are the model calls of the outermost loop. ``models`` has one entry per model call
    that may have cost something: one that failed without using a token is left out. Of ``partial``
    of them the output was not counted to its end: sums and costs are lower bounds."""

    calls: Calls
    turns: int
    tokens: Tokens
    models: Sequence[ModelCall]
    conversations: Sequence[Conversation]
    partial: int = 0


_NOTHING_KNOWN = ModelCall()


def usage(trace: Trace) -> Usage:
    """What `trace` used."""
    calls: dict[int, ModelCall] = {}
    tools = 0
    for i, span in enumerate(trace.spans):
        if span.category == "llm":
            calls[i] = span.model_call or _NOTHING_KNOWN
        elif span.category == "tool" or (span.category == "human" and span.tool_call is not None):
            tools += 1
    return Usage(
        Calls(len(calls), tools),
        _turns(trace, calls),
        _added([call.tokens for call in calls.values() if call.tokens is not None]),
        tuple(
            call
            for i, call in calls.items()
            if call.tokens is not None or trace.spans[i].error is None
        ),
        conversations(trace),
        sum(call.partial for call in calls.values()),
    )


def _added(counts: Sequence[Tokens]) -> Tokens:
    if not counts:
        return NO_TOKENS
    return Tokens(
        sum([count.input for count in counts]),
        sum([count.output for count in counts]),
        sum([count.cache_read for count in counts]),
        sum([count.cache_write for count in counts]),
        sum([count.reasoning for count in counts]),
        sum([count.cache_write_1h for count in counts]),
    )


def _turns(trace: Trace, calls: dict[int, ModelCall]) -> int:
    """Counted by our own plugin, else the calls with the fewest tools and agents around them."""
    counted = {call.turn for call in calls.values() if call.turn is not None}
    if counted:
        return max(counted)
    if not calls:
        return 0
    depth: dict[int, int] = {NO_SPAN: 0}
    for i in calls:
        path = []
        while i not in depth:  # every span is passed once
            path.append(i)
            i = trace.parents[i]
        for passed in reversed(path):
            depth[passed] = depth[i] + (trace.spans[passed].category == "tool")
            i = passed
    depths = [depth[i] for i in calls]
    return depths.count(min(depths))
