"""CP605: many turns for one answer, and many calls of one kind that could be one batch."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.proof.independence import failed, listed, only_looks, where_of
from causepath_analyzer.analyses.proof.recorded_words import depends
from causepath_analyzer.model import NO_SPAN, NO_TOKENS, Category, ModelCall, Span, Trace

_SHARE: Final = 20
"""A twentieth of the wall is worth a look."""


def many_calls(facts: Facts) -> Iterator[Candidate]:
    """Finds long loops of turns, and calls of one kind that follow each other."""
    yield from _many_turns(facts)
    if not facts.trace.untrusted:
        yield from _many_of_one(facts)


# -- turns


def _many_turns(facts: Facts) -> Iterator[Candidate]:
    trace = facts.trace
    spans = trace.spans
    if facts.usage.calls.llm <= facts.limits.iterations:
        return
    tools: dict[int, list[str]] = {}
    for i, issuer in enumerate(facts.causes.issuers):
        if issuer != NO_SPAN:
            tool = spans[i].tool_call
            tools.setdefault(issuer, []).append((tool and tool.name) or spans[i].name)
    for conversation in facts.usage.conversations:
        row: list[int] = []
        longest: list[int] = []
        for i in conversation.calls:
            row.append(i)
            if i not in tools or failed(spans[i]):
                longest, row = max(longest, row, key=len), []
        longest = max(longest, row, key=len)
        if len(longest) > facts.limits.iterations:
            names = Counter(name for i in longest for name in tools.get(i, ()))
            yield _of_turns(facts, longest, names)


def _of_turns(facts: Facts, calls: Sequence[int], names: Counter[str]) -> Candidate:
    spans = facts.trace.spans
    counts = [told.tokens for i in calls if (told := spans[i].model_call) is not None]
    inputs = [tokens.input for tokens in counts if tokens is not None and tokens.input]
    grown = (
        f" Their prompts went from {inputs[0]:,} to {inputs[-1]:,} tokens, {sum(inputs):,} in all."
        if len(inputs) == len(calls)
        else ""
    )
    asked = listed([f"{name} ({times})" for name, times in names.most_common(3)])
    return Candidate(
        title=f"fewer turns: {len(calls)} for one answer",
        plural="fewer turns for one answer",
        place=where_of(facts.trace, (calls[0],)) or "",
        spans=tuple(calls),
        evidence="proved",
        why=(
            f"{len(calls)} model calls followed each other, each for the results of the tools that "
            f"the one before had asked for: {asked}.{grown}"
        ),
        fix=(
            "Offer tools that do several of these steps at once, tell the model to ask for all it "
            "needs in one reply, and bound the loop (a limit of turns, after which it answers)."
        ),
        where=where_of(facts.trace, (calls[0],)),
        refuted_by="a task that takes so many steps, each of which needs the one before",
    )


# -- calls of one kind

_KINDS: Final[tuple[Category, ...]] = ("tool", "retrieval", "embedding")


_BATCH: Final = (
    "Offer a form of {name} that takes a list and answers for all of it at once; where there is "
    "none, run the calls side by side."
)
_BATCH_OF_QUESTIONS: Final = (
    "Ask side by side, as many at once as the limits of {name} allow; where nobody waits for the "
    "answers, by the batch API of the provider, which most sell at half the price."
)


def _many_of_one(facts: Facts) -> Iterator[Candidate]:
    trace = facts.trace
    large = {**_many_look_ups(facts), **_many_questions(facts)}
    if not large:
        return
    waited_ns: dict[int, int] = {}
    for section in facts.path.sections:
        unit = facts.kinds.units[section.span] if section.span != NO_SPAN else NO_SPAN
        for i in {section.span, unit} - {NO_SPAN}:
            length_ns = section.end_ns - section.start_ns
            waited_ns[i] = waited_ns.get(i, 0) + length_ns
    for (_, name, _), beside in large.items():
        group = _one_by_one(trace, beside)
        if len(group) < facts.limits.calls:
            continue
        total_ns = sum(waited_ns.get(i, 0) for i in group)
        if total_ns < facts.limits.tool_ns or _SHARE * total_ns < trace.wall_ns:
            continue
        fix = _BATCH_OF_QUESTIONS if trace.spans[group[0]].category == "llm" else _BATCH
        yield Candidate(
            title=f"one batch, not {len(group)} calls of {name}",
            plural="one batch, not many calls",
            place=where_of(trace, (group[0],)) or name,
            spans=tuple(group),
            evidence="likely",
            why=(
                f"{name} was called {len(group)} times below one span, and the run waited "
                f"{seconds(total_ns)} for these calls, {total_ns / trace.wall_ns:.0%} of the wall."
            ),
            fix=fix.format(name=name),
            where=where_of(trace, (group[0],)),
            refuted_by="calls each of which needs what the one before returned",
        )


_Groups = dict[tuple[int, str, int], list[int]]
"""Calls by the span around them, what they are called, and the reply that asked for them."""


def _many_look_ups(facts: Facts) -> _Groups:
    trace = facts.trace
    many = [
        numbers
        for kind in _KINDS
        if len(numbers := facts.numbers.get(kind, ())) >= facts.limits.calls
    ]
    groups: _Groups = {}
    for i in chain.from_iterable(many):
        span = trace.spans[i]
        tool = span.tool_call
        if failed(span) or (tool is not None and (tool.inferred or not only_looks(span))):
            continue
        # What a reply asks for may come from the results of the one before.
        key = trace.parents[i], (tool and tool.name) or span.name, facts.causes.issuers[i]
        groups.setdefault(key, []).append(i)
    return {key: group for key, group in groups.items() if len(group) >= facts.limits.calls}


def _many_questions(facts: Facts) -> _Groups:
    """Finds calls of a model that each begin anew and ask for no tool, with nothing else between
    the first and the last of them.

    A loop that writes what it has so far into its one message has prompts that grow.
    """
    trace = facts.trace
    spans = trace.spans
    calls = facts.numbers.get("llm", ())
    if len(calls) < facts.limits.calls:
        return {}
    groups: _Groups = {}
    for i in calls:
        told = spans[i].model_call
        if told is None or told.model is None or told.tokens is None or failed(spans[i]):
            continue
        groups.setdefault((trace.parents[i], told.model, NO_SPAN), []).append(i)
    found: _Groups = {}
    for key, group in groups.items():
        if len(group) >= facts.limits.calls and _are_questions(facts, group):
            found[key] = group
    return found


def _are_questions(facts: Facts, group: Sequence[int]) -> bool:
    spans = facts.trace.spans
    openings = {facts.flow.opening(i) for i in group}
    if None in openings or len(openings) < len(group):
        return False
    if any(not _ANSWERED.issuperset(_call(spans[i]).finish_reasons) for i in group):
        return False
    inputs = [(_call(spans[i]).tokens or NO_TOKENS).input for i in group]
    if sum(before < after for before, after in pairwise(inputs)) * _GROWS > len(inputs):
        return False
    start_ns, end_ns = spans[group[0]].start_ns, spans[group[-1]].ended_ns
    between = any(
        start_ns < spans[i].start_ns < end_ns
        for kind in _STEPS
        for i in facts.numbers.get(kind, ())
    )
    # Who asks one thing after the other takes longer to ask than a program does.
    worked_ns = sum(spans[i].duration_ns for i in group)
    return not between and 2 * worked_ns > end_ns - start_ns


_ANSWERED: Final = frozenset(("stop", "length"))
_GROWS: Final = 1.25
"""Four of five prompts that are longer than the one before are no accident."""
_STEPS: Final[tuple[Category, ...]] = ("tool", "retrieval", "human", "wait", "agent")


def _call(span: Span) -> ModelCall:
    return span.model_call or ModelCall()


def _one_by_one(trace: Trace, calls: Sequence[int]) -> list[int]:
    """Leaves those of `calls`, in order of start, that began when all before had ended, and are
    not known to need the last of these."""
    found: list[int] = []
    until_ns = 0
    before = NO_SPAN
    for i in calls:
        if before == NO_SPAN or trace.spans[i].start_ns >= until_ns:
            if before == NO_SPAN or not _needs(trace.spans[before], trace.spans[i]):
                found.append(i)
            before = i
        until_ns = max(until_ns, trace.spans[i].ended_ns)
    return found


def _needs(before: Span, after: Span) -> bool:
    """Tells whether a call is given something that the one `before` returned."""
    if after.site is not None and after.site.loop_kind == "chain":
        return True
    if any(link.why == "content" and link.span_id == before.span_id for link in after.links):
        return True
    one, other = before.tool_call, after.tool_call
    if one is None or other is None:
        return False
    return depends(one.arguments, one.result, other.arguments) is True


RULE: Final = Rule(
    code="CP605",
    title="Many turns, or many calls of one kind",
    what=(
        "A conversation took many turns before it came to an answer, each of which carries all "
        "that was said before; or one thing was looked up many times, one by one, where one call "
        "could have done for all."
    ),
    evidence=(
        "proved: more than 10 (iterations) model calls in a row, each but the last of which asked "
        "for tools. likely: 20 (calls) or more of one look-up, retrieval or embedding below one "
        "span, one by one (calls that overlapped count as one), for which the run waited 1 s "
        "(tool) and a twentieth of the wall; or as many questions to a model that each begin anew, "
        "with nothing else between the first and the last. Nothing is said of tools that may "
        "change something: each may have to be made by itself; nor of calls that replies asked for "
        "one after the other, or that are given what the one before returned (a cursor, the next "
        "page)."
    ),
    saving=(
        "Not known: what a batch takes, and how many turns the task needs, is in no trace. Calls "
        "that could run side by side are said by CP101 and CP102, with their saving."
    ),
    refuted_by="A task of so many steps, each of which needs the one before.",
    fix=(
        "Offer tools that take a list, or do several steps at once; let the model ask for all it "
        "needs in one reply; bound the turns of a loop."
    ),
    find=many_calls,
)
