"""CP504: calls that ended at their time-out, and what the run waited for them in vain.

A time-out of the caller's own (``asyncio.timeout``) cuts the call off, whose span then says that it
was cancelled, and not why.
"""

import re
from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.given_up import goes_on_at_once, is_given_up
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds, worth_saying
from causepath_analyzer.analyses.path.retries import retries
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.model import NO_SPAN

_LATE: Final = re.compile(r"time.?d?[ _-]?out|deadline[ _]?exceeded", re.IGNORECASE)
_CALLS: Final = frozenset(("llm", "tool", "retrieval", "embedding", "database", "network"))


def time_outs(facts: Facts) -> Iterator[Candidate]:
    """Finds calls on the path that timed out and were not answered by another attempt."""
    trace, kinds = facts.trace, facts.kinds
    spans = trace.spans
    if trace.untrusted:
        return
    calls = [i for i in facts.errors if spans[i].category in _CALLS]
    named = {i for i in calls if _LATE.search(spans[i].error or "")}
    late = named | {
        i for i in calls if i not in named and is_given_up(facts, i) and goes_on_at_once(facts, i)
    }
    if not late:
        return
    late -= {one.failed for one in retries(facts.flow, kinds.calls) if not one.instead}  # CP501
    waited_ns: dict[int, int] = {}
    for section in facts.path.sections:
        above, outermost = section.span, NO_SPAN
        while above != NO_SPAN:
            if above in late:
                outermost = above
            above = trace.parents[above]
        if outermost != NO_SPAN:
            length_ns = section.end_ns - section.start_ns
            waited_ns[outermost] = waited_ns.get(outermost, 0) + length_ns
    for i, ns in waited_ns.items():
        if ns < facts.limits.tool_ns or not worth_saying(ns, trace.wall_ns):
            continue
        tool = spans[i].tool_call
        name = (tool and tool.name) or spans[i].name
        long = seconds(spans[i].duration_ns)
        ended = (
            "which ended at its time-out; nothing tried again and was answered"
            if i in named
            else "and then cut it off while nothing else ended, as a time-out of the caller does"
        )
        yield Candidate(
            title=f"{name} timed out after {long}"
            if i in named
            else f"{name} given up after {long}",
            plural=f"{name} timed out" if i in named else f"{name} given up",
            place=where_of(trace, (i,)) or name,
            spans=(i,),
            evidence="proved" if i in named else "likely",
            why=(
                f"The run waited {seconds(ns)}, {ns / trace.wall_ns:.0%} of the wall, for {name}, "
                f"{ended}. What a shorter time-out would have changed is not in the trace."
            ),
            fix=(
                "See what it waited for. Set its time-out a little above what such calls take when "
                "they succeed (`causepath whatif --profile` lists that), and say what is done then."
            ),
            where=where_of(trace, (i,)),
            refuted_by="a call that would have been answered, had it been given more time",
        )


RULE: Final = Rule(
    code="CP504",
    title="A call that timed out",
    what=(
        "The run waited for a call until its time-out, and got nothing for it, or asked another "
        "model instead. Time-outs that were retried and answered in the end are CP501."
    ),
    evidence=(
        "proved: the error of its span says that it timed out or exceeded its deadline, and the "
        "run waited for it for 1 s (tool) and 1 % of the wall or more. likely: its span says that "
        "it was cancelled, nothing else ended in the tenth of a second before (of two that race "
        "the faster one does, and so does what fails and takes others along), and the run went on "
        "at once, where a person who stopped it would have had to say what now."
    ),
    saving="Not known: what would have been done instead, and when, is in no trace.",
    refuted_by="A call that would have been answered, had it been given more time.",
    fix=(
        "Set the time-out a little above what such calls take when they succeed, and say what is "
        "done when it passes: another way, or an answer without it."
    ),
    find=time_outs,
)
