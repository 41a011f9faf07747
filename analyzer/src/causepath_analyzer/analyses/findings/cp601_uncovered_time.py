"""CP601: time on the path in which nothing was recorded: neither faster nor cheaper is known there.

agent    |-----------------------------------------------|
llm        |----|                              |----|
                 what happened here: own code?
"""

from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.path.critical_path import Section
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.model import NO_SPAN, TASKS, Trace

_SHARE: Final = 5
"""A fifth of the wall is worth a look."""
_SHOWN_BY_NONE: Final = frozenset(("agent", "other", "uncovered"))


def uncovered_time(facts: Facts) -> Iterator[Candidate]:
    """Finds the span of an agent or a step that shows the least of what it did, or the time that
    no span covers."""
    trace = facts.trace
    if trace.untrusted or trace.health.orphans or len(trace.spans) < 2:
        return  # what was lost covered it
    if TASKS.isdisjoint(facts.numbers):
        return
    alone_ns = {i: ns for i, ns in facts.path.alone_ns.items() if _is_around_calls(facts.trace, i)}
    apart = _after_answers(facts) | _in_queues(facts)
    for at in apart:
        section = facts.path.sections[at]
        if section.span in alone_ns:
            alone_ns[section.span] -= section.end_ns - section.start_ns
    most = max(alone_ns, key=alone_ns.__getitem__, default=NO_SPAN)
    spent_ns = alone_ns.get(most, 0)
    if spent_ns < facts.limits.tool_ns or _SHARE * spent_ns < trace.wall_ns:
        return
    before, gap, after = _longest(facts, most, apart)
    gap_ns = gap.end_ns - gap.start_ns
    name = None if most == NO_SPAN else trace.spans[most].name
    place = _place(facts, before, after)
    share = f"{spent_ns / trace.wall_ns:.0%} of the wall"
    doubt = _doubt(facts)
    yield Candidate(
        title=f"trace {seconds(spent_ns)} that no span shows",
        plural="trace what no span shows",
        place=name or "",
        spans=() if most == NO_SPAN else (most,),
        evidence="likely" if doubt else "proved",
        why=(
            f"{seconds(spent_ns)}, {share}, are covered by no span"
            if name is None
            else f"{name} itself took {seconds(spent_ns)}, {share}, in which nothing below it ran"
        )
        + f": {seconds(gap_ns)} at the most in one piece, {place}.{doubt}",
        fix=(
            "Open a span around what the code does there (causepath.tool, or "
            "tracer.start_as_current_span), or turn on the instrumentation of the library it "
            "waits for. If it waits for a person, call that span after it (human, input)."
        ),
        where=where_of(trace, (most,)),
        refuted_by="a person or another program that was waited for, which no trace would show",
    )


def _doubt(facts: Facts) -> str:
    """Says what of the recorded times cannot be: the time may be that of such a span."""
    told = []
    if facts.trace.health.negative:
        told.append("spans ended before they started")
    if facts.usage.hasty:
        told.append("calls took less time than any model needs")
    return f" But {' and '.join(told)}: the time may be theirs." if told else ""


def _is_around_calls(trace: Trace, span: int) -> bool:
    """Tells whether `span` holds others: one that does not shows what it did."""
    return span == NO_SPAN or trace.spans[span].category == "agent" or bool(trace.children[span])


def _after_answers(facts: Facts) -> frozenset[int]:
    """Finds the sections between an answer of a model and what it was asked next in the same
    conversation: whoever was answered may have been waited for."""
    sections, calls = facts.path.sections, facts.kinds.calls
    found: set[int] = set()
    conversations: dict[int, int] | None = None
    for at in range(1, len(sections) - 1):
        if sections[at].kind not in _SHOWN_BY_NONE:
            continue
        before, after = (
            calls[sections[one].span] if sections[one].span != NO_SPAN else NO_SPAN
            for one in (at - 1, at + 1)
        )
        if NO_SPAN in (before, after) or before == after or not _is_answer(facts, before):
            continue
        if conversations is None:
            conversations = {
                i: number for number, one in enumerate(facts.usage.conversations) for i in one.calls
            }
        is_one = before in conversations and conversations[before] == conversations.get(after)
        if is_one and not _begins_anew(facts, before, after):
            found.add(at)
    return frozenset(found)


def _in_queues(facts: Facts) -> frozenset[int]:
    """Finds the sections between a message that was sent and the begin of what it caused: it lay
    in a queue, and no code ran."""
    sections, trace = facts.path.sections, facts.trace
    if all(span.kind != "producer" for span in trace.spans):
        return frozenset()
    found: set[int] = set()
    for at in range(1, len(sections) - 1):
        before, after = sections[at - 1].span, sections[at + 1].span
        if sections[at].kind not in _SHOWN_BY_NONE or NO_SPAN in (before, after):
            continue
        sender = trace.spans[before]
        if sender.kind == "producer" and _is_caused_by(trace, after, sender.span_id):
            found.add(at)
    return frozenset(found)


def _is_caused_by(trace: Trace, i: int, sender_id: str) -> bool:
    """Tells whether span `i`, or one around it, names the sender as its parent or cause."""
    while i != NO_SPAN:
        span = trace.spans[i]
        if span.parent_id == sender_id or any(link.span_id == sender_id for link in span.links):
            return True
        i = trace.parents[i]
    return False


def _begins_anew(facts: Facts, before: int, after: int) -> bool:
    """Tells whether the call `after` is known to be asked by own code, and not by whoever was
    answered.

    It was given no answer as one, also not by the provider, and another line of code makes it: a
    prompt at which a user types one question after the other is one line.
    """
    prompt = facts.flow.prompt(after)
    earlier, later = facts.trace.spans[before], facts.trace.spans[after]
    if prompt is None or any(block.role == "assistant" for block in prompt):
        return False
    if (later.model_call is not None and later.model_call.goes_on) or later.session is not None:
        return False
    one, other = earlier.site, later.site
    return one is not None and other is not None and one.stack != other.stack


def _is_answer(facts: Facts, call: int) -> bool:
    """Tells whether the reply of `call` is known to have ended, and asked for no tool."""
    told = facts.trace.spans[call].model_call
    return (
        told is not None
        and "stop" in told.finish_reasons
        and not told.issued
        and call not in facts.causes.issuers
    )


def _longest(
    facts: Facts, span: int, apart: frozenset[int]
) -> tuple[Section | None, Section, Section | None]:
    """Finds the longest section in which `span` shows nothing, but for those `apart`, and those
    around it."""
    sections = facts.path.sections
    own = [
        at
        for at, section in enumerate(sections)
        if section.span == span and section.kind in _SHOWN_BY_NONE and at not in apart
    ]
    at = max(own, key=lambda at: sections[at].end_ns - sections[at].start_ns)
    before = sections[at - 1] if at else None
    return before, sections[at], sections[at + 1] if at + 1 < len(sections) else None


def _place(facts: Facts, before: Section | None, after: Section | None) -> str:
    spans = facts.trace.spans
    first = spans[before.span].name if before is not None and before.span != NO_SPAN else None
    then = spans[after.span].name if after is not None and after.span != NO_SPAN else None
    if first is not None and then is not None:
        return f"between {first} and {then}"
    if first is not None:
        return f"after {first}"
    return "from beginning to end" if then is None else f"before {then}"


RULE: Final = Rule(
    code="CP601",
    title="Time that no span shows",
    what=(
        "The run waited while no span ran that says what for: the agent's own code, a library "
        "that nothing instruments, or a person. What is not recorded can be made neither faster "
        "nor cheaper."
    ),
    evidence=(
        "proved: on the critical path, no span below the agent or step ran. Said of the largest "
        "such time of a run, from 1 s (tool) and a fifth of the wall on; not between an "
        "answer of a model (it stopped and asked for no tool) and the next call of its "
        "conversation, as a user may have been waited for, unless that call, made by another line "
        "of code, was given no answer but in its own words; not between a message "
        "that was sent and what it caused (it lay in a queue); not where spans were lost, as they "
        "may have covered it, nor of traces without calls of models or tools. likely: times were "
        "recorded that cannot be, and it may be the time of what they are of."
    ),
    saving="Not known: what happened there is in no trace.",
    refuted_by="A person or another program that was waited for, which no trace would show.",
    fix=(
        "Open a span around it (causepath.tool, tracer.start_as_current_span), or turn on the "
        "instrumentation of the library that it waits for (HTTP client, database)."
    ),
    find=uncovered_time,
)
