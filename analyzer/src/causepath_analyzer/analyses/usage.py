"""Calls, turns and tokens of a run."""

from collections.abc import Sequence

from msgspec import Struct

from causepath_analyzer.analyses.kinds import SpanKinds
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, ModelCall, Tokens, Trace


class Calls(Struct, frozen=True):
    """How often a model and a tool were called."""

    llm: int
    tool: int


class Usage(Struct, frozen=True):
    """``turns`` are the model calls of the outermost loop, ``merged`` counts spans that recorded a
    call once more. ``models`` has one entry per model call that may have cost something: one that
    failed without using a token is left out."""

    calls: Calls
    turns: int
    tokens: Tokens
    models: Sequence[ModelCall]
    merged: int


_NOTHING_KNOWN = ModelCall()


def usage(trace: Trace, kinds: SpanKinds) -> Usage:
    """What `trace` used. One model call recorded by several emitters counts once."""
    spans, calls = trace.spans, kinds.calls
    known: dict[int, ModelCall] = {}
    tools = merged = 0
    for i, span in enumerate(spans):
        if span.category == "tool":
            tools += 1
        elif span.category == "llm":
            call = calls[i]
            told = known.setdefault(call, spans[call].model_call or _NOTHING_KNOWN)
            if call != i:
                merged += 1
                # The outer record counts; an inner one speaks up where the outer is silent.
                if told.tokens is None and span.model_call is not None and span.model_call.tokens:
                    known[call] = span.model_call
    return Usage(
        Calls(len(known), tools),
        _turns(trace, known),
        sum((call.tokens for call in known.values() if call.tokens), NO_TOKENS),
        tuple(
            call for i, call in known.items() if call.tokens is not None or spans[i].error is None
        ),
        merged,
    )


def _turns(trace: Trace, calls: dict[int, ModelCall]) -> int:
    """Counted by our own plugin, else the calls with the fewest tools and agents around them."""
    counted = {call.turn for call in calls.values() if call.turn is not None}
    if counted:
        return max(counted)
    depth = [0] * len(trace.spans)
    for i in trace.top_down():
        parent = trace.parents[i]
        if parent != NO_SPAN:
            depth[i] = depth[parent] + (trace.spans[parent].category == "tool")
    depths = [depth[i] for i in calls]
    return depths.count(min(depths)) if depths else 0
