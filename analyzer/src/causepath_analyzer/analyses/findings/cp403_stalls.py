"""CP403: streams that stood still in the middle of an answer.

    chat   |--first token--|.|.|.|.|.|            |.|.|.|.|
                                      no event for 6 s, where the others came every 40 ms

Much looks like it and is none: the time to the first token; a model that thinks, searches or
writes the arguments of a tool, of which nothing is sent until it is complete; a stream of few
large pieces; a reader that does something else. Only where the emitter says how long its reader
waited for an event (the plugin does), and the whole answer is text, can these be told apart.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.proof.independence import is_inside, where_of
from causepath_analyzer.analyses.replay.change import Steady
from causepath_analyzer.model import Category, ModelCall

_FEWEST_EVENTS: Final = 10
"""Of fewer nobody knows their pace."""
_SLOWER: Final = 10
"""So many times as long as the other events took."""
_TO_THE_END: Final = frozenset(("stop", "length"))
_OWN_WORK: Final[tuple[Category, ...]] = ("tool", "database", "retrieval", "embedding", "guardrail")
"""What runs in the process of the reader may hold its event loop up."""


def stalls(facts: Facts) -> Iterator[Candidate]:
    """Finds streamed answers in which one wait for an event was long, and the others were not."""
    trace = facts.trace
    if trace.untrusted:
        return
    for i in facts.numbers.get("llm", ()):
        if trace.spans[i].error is not None or facts.kinds.calls[i] != i:
            continue
        found = stall(facts, i)
        if found is not None and not _may_be_held_up(facts, i, found.gap_ns):
            yield _candidate(facts, i, found.gap_ns, found.usual_ns)


class Stall(Struct, frozen=True):
    """The longest wait for an event of a stream, and the mean of the others."""

    gap_ns: int
    usual_ns: int


def stall(facts: Facts, call: int) -> Stall | None:
    """Finds the wait for which the stream of `call` stood still in the middle of a text."""
    told = facts.trace.spans[call].model_call
    if told is None or told.transport is None:
        return None
    gap_ns = told.transport.longest_gap_ns
    if gap_ns is None or gap_ns < facts.limits.tool_ns:
        return None
    usual_ns = _usual_ns(told)
    if usual_ns is None or gap_ns < _SLOWER * usual_ns or not _is_plain_text(told):
        return None
    return Stall(gap_ns, usual_ns)


def _usual_ns(told: ModelCall) -> int | None:
    """Works out the mean wait for the other events; ``None`` if it is not known, or if the longest
    wait may be the one for the first token."""
    pace = told.transport
    if pace is None or pace.events is None or pace.events < _FEWEST_EVENTS:
        return None
    first_ns, gap_ns, until_ns = pace.first_event_ns, pace.longest_gap_ns, told.generated_ns
    if first_ns is None or gap_ns is None or until_ns is None or told.ttft_ns is None:
        return None
    if gap_ns <= told.ttft_ns - first_ns or first_ns + gap_ns > until_ns:
        return None
    return (until_ns - first_ns - gap_ns) // (pace.events - 2)


def _is_plain_text(told: ModelCall) -> bool:
    """Tells whether the answer is known to be text alone, which nobody thought or searched for."""
    if not told.finish_reasons or not _TO_THE_END.issuperset(told.finish_reasons):
        return False
    if told.searches or told.tokens is None or told.tokens.reasoning or told.blocks is None:
        return False
    answered = told.blocks.answered
    return bool(answered) and all(block.kind == "text" for block in answered)


def _may_be_held_up(facts: Facts, call: int, gap_ns: int) -> bool:
    """Tells whether something else ran beside `call` for as long, and may have kept its reader."""
    spans = facts.trace.spans
    start_ns, end_ns = spans[call].start_ns, spans[call].ended_ns
    for category in _OWN_WORK:
        for i in facts.numbers.get(category, ()):
            if spans[i].start_ns >= end_ns:
                break
            shared_ns = min(end_ns, spans[i].ended_ns) - max(start_ns, spans[i].start_ns)
            if shared_ns >= gap_ns and not is_inside(facts.trace, call, {i}):
                return True
    return False


def _candidate(facts: Facts, call: int, gap_ns: int, usual_ns: int) -> Candidate:
    span = facts.trace.spans[call]
    model = (span.model_call and span.model_call.model) or span.name
    where = where_of(facts.trace, (call,))
    return Candidate(
        title=f"get past a stall of {seconds(gap_ns)} in an answer",
        plural="get past stalls in answers",
        place=where or span.name,
        spans=(call,),
        change=Steady(((call, gap_ns - usual_ns),)),
        evidence="likely",
        why=(
            f"The stream of {model} stood still for {seconds(gap_ns)} in the middle of an answer; "
            f"its other events came every {usual_ns / 1e6:,.0f} ms. Whether the provider stalled, "
            "or code that blocked the event loop of the reader, is not in the trace. No more is "
            "saved than the stall took: how soon another attempt would have been answered nobody "
            "knows."
        ),
        fix=(
            "Bound the wait for each event after the first (asyncio.timeout around anext; the "
            "read time-out of the HTTP client bounds the first token as well), and ask again when "
            "it has passed. See that nothing blocks the event loop that reads."
        ),
        where=where,
        refuted_by="code in the process of the reader that blocked it (a busy event loop, a lock)",
        at_most=True,
    )


RULE: Final = Rule(
    code="CP403",
    title="A stream that stood still",
    what=(
        "A streamed answer stopped in its middle for a second or more, and then went on at its "
        "pace: the provider had stalled, or what is on the way to it, or code that blocked the "
        "event loop of its reader."
    ),
    evidence=(
        "likely: the longest wait for one event of the stream, which the plugin measures without "
        "the time that the reader took, is 1 s (tool) or more and ten times as long as the mean of "
        "the others. Nothing is said of waits that may be for the first token, of answers with "
        "thinking, searches or tool calls (nothing of these is sent until it is complete), of "
        "fewer than ten events, or where something ran beside it for as long."
    ),
    saving=(
        "The wall time now, minus that of a replay in which the stream went on: an upper bound, as "
        "getting past a stall takes time as well."
    ),
    refuted_by="Code in the process of the reader that blocked it (a busy event loop, a lock).",
    fix=(
        "Bound the wait for each event after the first (asyncio.timeout around anext; the read "
        "time-out of the HTTP client bounds the first token as well) and ask again when it has "
        "passed; if one model or region stalls often, go on to another."
    ),
    find=stalls,
    change=Steady,
)
