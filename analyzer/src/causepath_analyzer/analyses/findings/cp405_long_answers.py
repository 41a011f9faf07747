"""CP405: model calls that the run waited for while they wrote, more than for anything else in them.

chat   |--first token--|------------- 2,400 tokens -------------|
"""

from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.cp403_stalls import stall
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.path.usage import contradicts_itself, is_hasty
from causepath_analyzer.analyses.proof.independence import failed, where_of
from causepath_analyzer.model import NO_SPAN

_MOSTLY: Final = 2
"""Half of the call or more was writing."""
_FEWEST: Final = 100
"""Tokens of an answer that could be shorter."""


def long_answers(facts: Facts) -> Iterator[Candidate]:
    """Finds the model calls on the path that took long to write."""
    trace = facts.trace
    least_ns = facts.limits.llm_ns
    if trace.untrusted or facts.wall.path.get("generation", 0) < least_ns:
        return
    if all(trace.spans[i].duration_ns < least_ns for i in facts.numbers.get("llm", ())):
        return
    written_ns: dict[int, int] = {}
    for section in facts.path.sections:
        if section.kind == "generation" and section.span != NO_SPAN:
            call = facts.kinds.calls[section.span]
            if call != NO_SPAN:
                length_ns = section.end_ns - section.start_ns
                written_ns[call] = written_ns.get(call, 0) + length_ns
    for call, waited_ns in written_ns.items():
        span = trace.spans[call]
        told = span.model_call
        paused = stall(facts, call)
        ns = waited_ns if paused is None else max(0, waited_ns - paused.gap_ns)
        if ns < least_ns or _MOSTLY * ns < span.duration_ns or failed(span):
            continue
        if told is None or told.tokens is None or told.partial or told.tokens.output < _FEWEST:
            continue
        if contradicts_itself(told.tokens) or is_hasty(told, span.duration_ns):
            continue
        tokens = told.tokens
        pace_ns = ns * 100 // tokens.output
        thought = (
            f" {tokens.reasoning:,} of them are reasoning."
            if 2 * tokens.reasoning > tokens.output
            else ""
        )
        yield Candidate(
            title=f"shorten an answer ({seconds(ns)} of writing)",
            plural="shorten long answers",
            place=where_of(trace, (call,)) or span.name,
            spans=(call,),
            evidence="proved",
            why=(
                f"For {seconds(ns)} the run waited while {tokens.output:,} tokens were written."
                f"{thought} Every 100 tokens fewer save {seconds_of_pace(pace_ns)}; how many are "
                "needed is not in the trace."
            ),
            fix=(
                "Ask for less reasoning (a lower effort or thinking budget) where the task is easy."
                if thought
                else "Say how long the answer may be and in which form, ask for what changed and "
                "not for all of it, and let max_tokens bound it."
            ),
            where=where_of(trace, (call,)),
            refuted_by="a reader who needs all of the answer",
        )


def seconds_of_pace(ns: int) -> str:
    """Writes the time of 100 tokens, which may be little."""
    return f"{ns / 1_000_000_000:.1f} s" if ns >= 1_000_000_000 else f"{ns // 1_000_000} ms"


RULE: Final = Rule(
    code="CP405",
    title="Calls that take long to write their answer",
    what=(
        "The run waited for a model call, and most of that time the model was writing: what it "
        "was given hardly matters to its time, the length of its answer does."
    ),
    evidence=(
        "proved: on the path, the time after the first token is 3 s (llm) or more and half of the "
        "call. Nothing is said where the first token is not known, of answers that nobody counted, "
        "of less than 100 tokens, or of the time that the stream stood still or was held up by "
        "whoever read it."
    ),
    saving=(
        "Not known: how many of the tokens are needed is not in the trace. Said is what 100 fewer "
        'save. `causepath whatif --apply "shrink output=0.5"` replays a shorter answer.'
    ),
    refuted_by="A reader who needs all of the answer.",
    fix=(
        "Say how long the answer may be and in which form, ask for what changed and not for all of "
        "it, let max_tokens bound it, and ask for less reasoning where the task is easy."
    ),
    find=long_answers,
)
