"""CP103: two turns that could have been one, as the tools of the second need nothing of the first.

    call 1 |--|  tool a |---|  call 2 |--|  tool b |---|  call 3 |--|
    call 1 |---| tool a |---| tool b |---|  call 3 |--|

The model could have asked for both tools at once: it would have written as much, but have read the
conversation and begun to answer one time less.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.proof.independence import (
    effects,
    level,
    listed,
    order_broken,
    steady_tools,
    where_of,
    worst,
)
from causepath_analyzer.analyses.replay.change import OneTurn
from causepath_analyzer.analyses.replay.operations import name_of
from causepath_analyzer.analyses.replay.pace import Pace, pace, timed_calls
from causepath_analyzer.analyses.replay.schedule import Turns, most_at_once, tools_of_replies
from causepath_analyzer.model import NO_SPAN, Trace


def mergeable_turns(facts: Facts) -> list[Candidate]:
    """Finds turns that could have been one; of three in a row the first two.

    Only where it is known when the second reply began to be written, or how fast its model writes,
    and what tools were given.
    """
    trace, kinds, causes = facts.trace, facts.kinds, facts.causes
    tools: dict[int, list[int]] = {}
    for i, issuer in enumerate(causes.issuers):
        if issuer != NO_SPAN and trace.spans[i].category == "tool":
            tools.setdefault(issuer, []).append(i)
    if len(tools) < 2:
        return []
    replies = tools_of_replies(trace, causes)
    beside = any(most_at_once(trace, group) > 1 for group in replies)
    flow, others = facts.flow, facts.others
    found: list[Candidate] = []
    merged: set[int] = set()
    written = _Written(trace, kinds, causes)
    pairs = list(_pairs(tools, causes))
    steady = steady_tools(trace, ((tools[first], tools[second]) for first, second in pairs))
    for first, second in pairs:
        between, after = tools[first], tools[second]
        if first in merged or _windows(trace, (*between, *after)):
            continue
        generated_ns, estimated = written.ns(second)
        if generated_ns is None:
            continue
        known = worst(
            level(flow, a, b, others, asked_for=True, steady=steady) for a in between for b in after
        )
        if known not in ("proved", "likely"):
            continue
        turns = Turns(first, between, second, after, beside, generated_ns, estimated)
        merged.update((first, second))
        broken = all(order_broken(trace, a, b, others) for a in between for b in after)
        found.append(_candidate(trace, kinds, turns, proved=known == "proved", broken=broken))
    return found


def _pairs(tools: dict[int, list[int]], causes: Causes) -> Iterator[tuple[int, int]]:
    """Finds calls that asked for tools, each with the next call of its agent if that did as
    well."""
    for first in sorted(tools):
        answers = {causes.answered_by[i] for i in tools[first]}
        second = answers.pop() if len(answers) == 1 else NO_SPAN
        if second != NO_SPAN and second in tools:
            yield first, second


class _Written:
    """The time that replies took to write, once the model had begun to."""

    def __init__(self, trace: Trace, kinds: SpanKinds, causes: Causes) -> None:
        self._trace, self._kinds, self._causes = trace, kinds, causes
        self._paces: dict[str, Pace | None] | None = None

    def ns(self, call: int) -> tuple[int | None, bool]:
        """Gives the time, ``None`` if nothing tells it, and whether it is worked out from the
        pace."""
        span = self._trace.spans[call]
        began = first_token_ns(self._trace, self._kinds, call)
        if began is not None:
            return max(0, span.ended_ns - began), False
        told = span.model_call
        if told is None or told.model is None or told.tokens is None:
            return None, False
        if self._paces is None:
            timed = timed_calls(self._trace, self._kinds, self._causes)
            self._paces = {model: pace(calls) for model, calls in timed.items()}
        known = self._paces.get(told.model)
        if known is None or not known.per_token[0]:
            return None, False
        return min(known.generating_ns(told.tokens.output), span.duration_ns), True


def _windows(trace: Trace, tools: Sequence[int]) -> bool:
    calls = [trace.spans[i].tool_call for i in tools]
    return any(call is None or call.inferred for call in calls)


def _candidate(
    trace: Trace, kinds: SpanKinds, turns: Turns, *, proved: bool, broken: bool
) -> Candidate:
    earlier = listed(list(dict.fromkeys(name_of(trace, kinds, i) for i in turns.between)))
    later = listed(list(dict.fromkeys(name_of(trace, kinds, i) for i in turns.after)))
    call = trace.spans[turns.second].model_call
    turn = call.turn if call is not None else None
    which = f"turns {turn - 1} and {turn} one" if turn is not None else "two turns one"
    why = (
        f"All that {later} was given the model knew before {earlier} returned, and in other runs "
        "it was called before that or without it"
        if proved
        else f"In other runs {later} was called before {earlier} or without it"
        if broken
        else f"No word that {earlier} returned is among what {later} was given"
    )
    unsaid = f" {effects(trace, (*turns.between, *turns.after))}"
    if turns.estimated:
        unsaid += (
            " When the second reply began is not known: what it took to write is worked out from "
            "its tokens, as other calls of this model show its pace."
        )
    return Candidate(
        title=f"make {which}",
        plural="make two turns one",
        place=where_of(trace, (turns.second, turns.first)) or "",
        spans=(turns.first, *turns.between, turns.second, *turns.after),
        change=OneTurn(turns),
        evidence="proved" if proved else "likely",
        why=f"{why}, so the model could have asked for all of it in one reply.{unsaid}",
        fix=(
            "Tell the model to ask for everything it needs at once (and that tools of one reply "
            "may run side by side), or offer one tool that does both."
        ),
        where=where_of(trace, (turns.second, turns.first)),
        refuted_by=(
            f"a run in which what {earlier} returned decided what {later} was asked for, or "
            "whether it was asked at all"
        ),
    )


RULE: Final = Rule(
    code="CP103",
    title="Two turns that could have been one",
    what=(
        "The model asked for tools, saw their results, and asked for more tools, whose "
        "arguments hold nothing of these results. It could have asked for all of them in one "
        "reply: one request less to send, to read and to begin to answer."
    ),
    evidence=(
        "likely: no word or number that the earlier tools returned is among the arguments of "
        "the later ones, but what the model had been given before, and the arguments are not "
        "suddenly in words of its own (of another tool, where prompts are not searched by the "
        "emitter: all words stand in the arguments before), nor the next page of the same; "
        "or in another run the later tools were called before "
        "the earlier ones or without them. proved: both of these, all tools are marked "
        "read_only, and all that the later ones were given the model knew before. Nothing is "
        "said after a call that failed, was refused or answered no more than a yes or no, "
        "unless the model went on to call the tool after two different ones of these (a search "
        "by halves of what the question names looks the same; and a look at one thing after the "
        "other, in which all answers but the last are equal, like a search that has an end); "
        "where a tool says by its name that it changes something, and where both name one "
        "place. Whether the model would have thought of it without having seen the first "
        "results is not in the trace."
    ),
    saving=(
        "The wall time now, minus the wall time of a replay in which the first reply also "
        "writes what the second one wrote, and the second request is not made. The tools of "
        "both run in sequence, or together if this agent runs tools together. Where the time "
        "to the first token of the second reply is not known, what it took to write is worked "
        "out from its tokens and the pace of other calls of the model; without these, nothing "
        "is said. The prompt of the second request is not paid for; its output is."
    ),
    refuted_by=(
        "A run in which what the earlier tools returned decided what the later ones were asked "
        "for, or whether they were asked at all."
    ),
    fix=(
        "Say in the system prompt that everything that is needed should be asked for at once, "
        "and that tools of one reply may run side by side; or offer one tool that does both."
    ),
    find=mergeable_turns,
    change=OneTurn,
)
