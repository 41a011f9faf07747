"""CP502: a tool that failed although its span says nothing of it, and was called again the same.

tool fetch(x)  |--|  "Error: no such page"      its status is ok
tool fetch(x)             |--|  "Error: no such page"
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import spent_in_vain
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.proof.independence import only_looks, where_of
from causepath_analyzer.analyses.proof.recorded_words import outcome_of
from causepath_analyzer.analyses.replay.change import NotRepeated
from causepath_analyzer.model import NO_SPAN, Span


def hidden_errors(facts: Facts) -> Iterator[Candidate]:
    """Finds equal calls of a tool of which every one failed, and none says so."""
    groups: dict[tuple[str, int], list[int]] = {}
    for i in facts.numbers.get("tool", ()):
        span = facts.trace.spans[i]
        tool = span.tool_call
        if tool is None or tool.arguments is None or tool.inferred or tool.ambiguous > 1:
            continue
        groups.setdefault((tool.name or span.name, tool.arguments.digest), []).append(i)
    spans = facts.trace.spans
    for (name, _), group in groups.items():
        apart = group[:1]
        for i in group[1:]:
            if spans[i].start_ns >= spans[apart[-1]].ended_ns:
                apart.append(i)
        if len(apart) < 2 or not all(_hides_an_error(spans[i]) for i in group):
            continue
        apart = _without_a_change(facts, apart)
        if len(apart) > 1:
            yield _candidate(facts, name, apart)


def _without_a_change(facts: Facts, calls: Sequence[int]) -> list[int]:
    """Leaves the first of `calls`, and those before which nothing may have mended what failed."""
    spans, alike = facts.trace.spans, frozenset(calls)
    changes = [
        i
        for i, span in enumerate(spans)
        if (
            span.category in ("human", "wait") or (span.category == "tool" and not only_looks(span))
        )
        and i not in alike
    ]
    found = list(calls[:1])
    for earlier, later in pairwise(calls):
        first, last = bisect_left(changes, earlier), bisect_left(changes, later)
        if first == last:
            found.append(later)
    return found


def _hides_an_error(span: Span) -> bool:
    return (
        span.error is None
        and span.tool_call is not None
        and outcome_of(span.tool_call) == "failure"
    )


def _turns(facts: Facts, repeats: Sequence[int]) -> Mapping[int, int]:
    """Finds the turns that asked for one of `repeats` and nothing else, and by each the next."""
    issuers = facts.causes.issuers
    asked: dict[int, int] = {}
    for issuer in issuers:
        asked[issuer] = asked.get(issuer, 0) + 1
    return {
        issuers[i]: facts.causes.answered_by[i]
        for i in repeats
        if issuers[i] != NO_SPAN and asked[issuers[i]] == 1
    }


def _candidate(facts: Facts, name: str, calls: Sequence[int]) -> Candidate:
    number = "twice" if len(calls) == 2 else f"{len(calls)} times"
    turns = _turns(facts, calls[1:])
    billed = spent_in_vain(facts, [*turns, *calls[1:]], turns)
    took = "the repeats took"
    if turns:
        took = "the repeats and the turns that asked for nothing else took"
    used = (
        f" What it took to ask for it again was {billed.tokens:,} tokens." if billed.tokens else ""
    )
    return Candidate(
        title=f"do not repeat {name}: it failed {number}",
        plural="do not repeat calls that fail",
        place=where_of(facts.trace, (calls[1],)) or name,
        spans=tuple(calls),
        change=NotRepeated(tuple(calls[1:]), tuple(turns)),
        evidence="likely",
        why=(
            f"{name} was called {number} with equal arguments, and each result says that it "
            f"failed, although the status of its spans is ok. No more is saved than {took}: "
            f"what would have been done instead is in no trace.{used}"
        ),
        saving=billed,
        fix=(
            f"Let {name} say what is wrong and what would work (and mark its result as an error), "
            "so that the model does not try the same again; refuse a call that has just failed."
        ),
        where=where_of(facts.trace, (calls[1],)),
        refuted_by="a result that only sounds like an error, or a fault that might have passed",
        at_most=True,
    )


RULE: Final = Rule(
    code="CP502",
    title="An error inside a result, and the same call again",
    what=(
        "A tool failed, its result says so, but its span and perhaps its caller do not: it was "
        "called again with equal arguments and failed again."
    ),
    evidence=(
        "likely: two or more calls with equal arguments, one after the other, whose results all "
        "say that they failed (an error, a denial, nothing found) while no span has an error. "
        "Nothing is said where one of them succeeded, where a tool that may change something ran, "
        "or a person was waited for, between them, where a span tells of its error, or where "
        "results were neither recorded nor judged by the emitter."
    ),
    saving=(
        "The wall time now, minus that of a replay in which each repeat takes a look-up and the "
        "turns that asked for nothing else take no time: an upper bound. And the price of the same "
        "turns, and of the calls in the repeats, minus what later calls would have paid for what "
        "these had cached: an upper bound as well."
    ),
    refuted_by="A result that only sounds like an error, or a fault that might have passed.",
    fix=(
        "Let the tool say what is wrong and what would work, mark its result as an error, and "
        "refuse a call that has just failed the same way."
    ),
    find=hidden_errors,
    change=NotRepeated,
)
