"""CP301: prompts that grow: from call to call of a conversation, and of an agent over weeks.

call 1   1,200 tokens        week 1    4,100 tokens
call 2   3,000               week 5    9,000
...                          ...
call 20  64,000              week 12   18,300
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prompt_caches import counted
from causepath_analyzer.analyses.findings.prompt_parts import Part, billed, saved_without
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.analyses.proof.prompt_growth import agent_of, largest_prompt, week_of

_ENDS: Final = 3
"""Calls at the beginning and at the end that say how large prompts were."""
_TIMES: Final = 3
_LEAST: Final = 10_000
"""Tokens by which prompts have grown."""
_STEADY: Final = 0.8
"""The part of the calls that are given as much as the one before, or more."""
_STEP: Final = 0.5
"""Where one call brings more than this part of the growth, it is what that brings (CP302)."""
_SHARE: Final = 2
"""Half of what the run pays is for what was added."""
_SLOWER: Final = 1.5
_OF_WALL: Final = 10
"""A tenth of the wall is waiting for first tokens that come later."""


def growing_context(facts: Facts) -> Iterator[Candidate]:
    """Finds conversations whose prompts grow, and runs of agents whose prompts did over weeks."""
    for conversation in facts.usage.conversations:
        if len(conversation.calls) < facts.limits.iterations:
            continue
        by_model: dict[str, list[int]] = {}
        for i in conversation.calls:
            call = facts.trace.spans[i].model_call
            known = facts.kinds.calls[i] == i and counted(facts, i) is not None
            if call is not None and call.model is not None and known:
                by_model.setdefault(call.model, []).append(i)
        for calls in by_model.values():
            if len(calls) >= facts.limits.iterations:
                yield from _in_conversation(facts, calls)
    yield from _over_weeks(facts)


# -- from call to call


def _in_conversation(facts: Facts, calls: Sequence[int]) -> Iterator[Candidate]:
    inputs = [tokens.input for i in calls if (tokens := counted(facts, i)) is not None]
    base, now = min(inputs[:_ENDS]), round(median(inputs[-_ENDS:]))
    grown = now - base
    if now < base * _TIMES or grown < _LEAST:
        return
    steps = [later - earlier for earlier, later in pairwise(inputs)]
    if sum(step >= 0 for step in steps) < _STEADY * len(steps) or max(steps) > _STEP * grown:
        return
    parts = [Part(i, base, held) for i, held in zip(calls, inputs, strict=True) if held > base]
    paid = _paid(facts, parts)
    slower = _slower(facts, calls)
    if paid is None and slower is None:
        return
    spans = facts.trace.spans
    what = "; ".join(one for one in (paid, slower) if one is not None)
    yield Candidate(
        title=f"a context that grew {now / base:.0f}-fold, to {now:,} tokens",
        plural="contexts that grow",
        place=where_of(facts.trace, (calls[0],)) or spans[calls[0]].name,
        spans=tuple(calls),
        evidence="proved",
        why=(
            f"Over {len(calls)} calls of one conversation the prompt grew from {base:,} to "
            f"{now:,} tokens, a little with nearly each: {what}. How much of it the later calls "
            "needed is not in the trace."
        ),
        fix=(
            "Begin anew where a new task begins, sum up what is done once the prompt has reached a "
            "size that you set (compaction, context editing), give side tasks to an agent with a "
            "context of its own, and cut results where they come in."
        ),
        where=where_of(facts.trace, (calls[0],)),
        refuted_by="a task of which the last call needs all that came before",
    )


def _paid(facts: Facts, parts: Sequence[Part]) -> str | None:
    """Says what was paid for what was added, if that is half of the cost of a run that costs
    something, or without a price half of its input that no cache held."""
    whole, used = facts.cost, facts.usage.tokens
    more = sum(part.end - part.start for part in parts)
    if whole.usd is not None:
        usd = saved_without(facts, parts).usd
        if usd is None or whole.usd < facts.limits.cost_usd or usd * _SHARE < whole.usd:
            return None
        share = f"{usd / whole.usd:.0%} of the ${whole.usd:.2f} that the run cost"
        return f"{share} was paid for the {more:,} tokens that were added and sent again"
    held = sum(billed(facts, part).cache_read for part in parts)
    if (more - held) * _SHARE < used.input:
        return None
    return f"{more:,} of {used.input:,} tokens of prompts were added and sent again"


def _slower(facts: Facts, calls: Sequence[int]) -> str | None:
    """Says how much later first tokens came than at the beginning, if that is much of the run."""
    spans = facts.trace.spans
    firsts = [
        first - spans[i].start_ns
        for i in calls
        if (first := first_token_ns(facts.trace, facts.kinds, i)) is not None
    ]
    if len(firsts) < len(calls) or facts.trace.untrusted:
        return None
    before, now = (round(median(some)) for some in (firsts[:_ENDS], firsts[-_ENDS:]))
    later_ns = sum(max(0, first - before) for first in firsts)
    if now < before * _SLOWER or later_ns < facts.limits.llm_ns:
        return None
    if later_ns * _OF_WALL < facts.trace.wall_ns:
        return None
    return (
        f"the first token came after {seconds(before)} in the first calls and after "
        f"{seconds(now)} in the last, {seconds(later_ns)} more in all"
    )


# -- over weeks


def _over_weeks(facts: Facts) -> Iterator[Candidate]:
    trace = facts.trace
    if not facts.others.grown:
        return
    largest = largest_prompt(trace)
    if largest is None:
        return
    grown = facts.others.grown.get(agent_of(trace, largest))
    call = trace.spans[largest].model_call
    if grown is None or week_of(trace) < grown.since or call is None or call.tokens is None:
        return
    first = in_short = ""
    if grown.first_before_ns is not None and grown.first_now_ns is not None:
        before, now = seconds(grown.first_before_ns), seconds(grown.first_now_ns)
        if before != now:
            first = f", and its first token from {before} to {now}"
            in_short = f"; first token {before} -> {now}"
    name = trace.spans[trace.main_root].name.removeprefix("invoke_agent ")
    yield Candidate(
        title=f"prompts of {name} grew over {grown.weeks} weeks",
        plural=f"prompts of {name} grew over weeks",
        place="over weeks",
        spans=(largest,),
        evidence="likely",
        why=(
            f"In {grown.runs:,} runs over {grown.weeks} weeks the largest prompt of a run went "
            f"from about {grown.before:,} tokens (the middle one of the first two weeks) to about "
            f"{grown.now:,} (of the last two){first}, in no single step. That of this run has "
            f"{call.tokens.input:,}."
        ),
        fix=(
            "Compare an old run with a new one (`causepath diff OLD NEW`) and see what is added "
            "from week to week: memory, notes, history, examples, results of a growing store. "
            "Bound it: look up what is needed, sum up what is old, and drop what is not used."
        ),
        where=where_of(trace, (largest,)),
        over_runs=(f"{grown.before:,} -> {grown.now:,} tokens in {grown.runs:,} runs{in_short}"),
        refuted_by="tasks that became larger in these weeks",
    )


RULE: Final = Rule(
    code="CP301",
    title="A context that grows",
    what=(
        "Each call of a conversation is sent all that came before, so that the last ones cost and "
        "wait many times what the first did. Or the prompts of an agent grow from week to week, "
        "and nobody sees when it became slow."
    ),
    evidence=(
        "proved: in a conversation of 10 calls of one model (iterations) or more the prompt grew "
        "to three times its size or more, and by 10,000 tokens or more, most calls bringing "
        "something and none more than half of it; and half of the cost of a run of $0.05 (cost) or "
        "more was paid for what was added, or first tokens came 3 s (llm) and a tenth of the wall "
        "later in all. likely: over four weeks or more, each of three runs or more, the middle of "
        "the largest prompts of the runs of one agent and model rose to 1.5 times or more, by "
        "Kendall's statistic more than by chance, and by no single step, which is a release. A "
        "week with fewer runs counts with the next. Where what users wrote makes up half of the "
        "growth or more (as the sizes of blocks say), it is theirs. It is said of the runs of the "
        "last week."
    ),
    saving="Not known: how much of a prompt is needed is not in the trace.",
    refuted_by="A task of which the last call needs all that came before.",
    fix=(
        "Begin anew where a new task begins, sum up or drop what is old once a prompt has a size "
        "that you set, and bound what is added to every prompt (memory, history, examples)."
    ),
    find=growing_context,
)
