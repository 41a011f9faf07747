"""CP402: an answer that nobody sees a word of before all of it is written.

question  |---- 4 s of tools ----|---- 8 s: first token -- 600 tokens ----| answer, after 12 s
streamed                                       | first words, after 5 s
"""

from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.path.usage import contradicts_itself, is_hasty
from causepath_analyzer.analyses.proof.independence import failed, where_of
from causepath_analyzer.analyses.replay.operations import Turns
from causepath_analyzer.analyses.replay.pace import pace, timed_calls
from causepath_analyzer.model import NO_SPAN, TASKS, Span, Trace

_FEWEST: Final = 100
"""Tokens that somebody reads."""
_FEWEST_UNASKED: Final = 300
"""The same where nothing says that a person waits."""
_MOSTLY: Final = 2
"""Half of the answer or more is text, and no reasoning before it."""
_GAIN: Final = 10
"""First words come a tenth of the wait earlier, or more."""
_LATER: Final = ("batch", "flex")
"""Tiers for those who do not wait."""
_QUEUES: Final = ("consumer", "producer")


def unstreamed_answers(facts: Facts) -> Iterator[Candidate]:
    """Finds whether the last answer of a run was waited for until it was whole."""
    trace, kinds = facts.trace, facts.kinds
    spans, least_ns = trace.spans, facts.limits.llm_ns
    if trace.untrusted or all(
        spans[i].duration_ns < least_ns for i in facts.numbers.get("llm", ())
    ):
        return
    last = Turns(trace, kinds, facts.causes).last_answer()
    if last == NO_SPAN or not _is_an_answer(spans[last], least_ns):
        return
    span = spans[last]
    told = span.model_call
    if told is None or told.tokens is None or _is_inside_a_tool(trace, last):
        return
    if spans[trace.main_root].kind in _QUEUES:
        return
    if any(
        one.category in TASKS and one.start_ns >= span.ended_ns and i not in trace.background
        for i, one in enumerate(spans)
    ):
        return  # a program goes on with it
    asked_by = _who(trace)
    if asked_by is None and told.tokens.output < _FEWEST_UNASKED:
        return
    now_ns = span.ended_ns - trace.start_ns
    of_model = [
        one
        for one in timed_calls(trace, kinds, facts.causes).get(told.model or "", [])
        if one.waited_ns is not None
    ]
    known = pace(of_model)
    then = ""
    if known is not None:
        sooner_ns = span.duration_ns - known.first_ns
        if sooner_ns < facts.limits.tool_ns or sooner_ns * _GAIN < now_ns:
            return
        then = (
            f" Other calls of the model were streamed and had their first token after "
            f"{seconds(known.first_ns)}: the first words would be seen after "
            f"{seconds(now_ns - sooner_ns)}."
        )
    yield Candidate(
        title=f"stream the last answer ({seconds(span.duration_ns)} without a word)",
        plural="stream the last answers",
        place=where_of(trace, (last,)) or span.name,
        spans=(last,),
        evidence="likely",
        why=(
            f"The last answer, {told.tokens.output:,} tokens, came as a whole after "
            f"{seconds(span.duration_ns)}. {asked_by or 'Whoever asked'} saw nothing for "
            f"{seconds(now_ns)}, all of the run up to then.{then} Streaming leaves the time of the "
            "run as it is: what is felt is less."
        ),
        fix=(
            "Ask for a stream (stream=True, or messages.stream) and hand the words on as they "
            "come, through every server and proxy between the model and the reader."
        ),
        where=where_of(trace, (last,)),
        refuted_by="a program that reads the answer as a whole, or a job that nobody waits for",
    )


def _is_an_answer(span: Span, least_ns: int) -> bool:
    """Tells whether a call was answered as a whole, after some time, with something to read."""
    told = span.model_call
    if told is None or told.streamed is not False or told.ttft_ns is not None:
        return False
    tokens = told.tokens
    if tokens is None or tokens.output < _FEWEST or _MOSTLY * tokens.reasoning > tokens.output:
        return False
    if failed(span) or "tool_call" in told.finish_reasons or told.issued:
        return False
    if told.blocks is not None and any(one.kind == "tool_use" for one in told.blocks.answered):
        return False
    if span.duration_ns < least_ns or is_hasty(told, span.duration_ns):
        return False
    return told.terms.tier not in _LATER and not contradicts_itself(tokens)


def _is_inside_a_tool(trace: Trace, call: int) -> bool:
    above = trace.parents[call]
    while above != NO_SPAN and trace.spans[above].category != "tool":
        above = trace.parents[above]
    return above != NO_SPAN


def _who(trace: Trace) -> str | None:
    """Names who waits, as far as the trace tells; ``None`` if it does not."""
    spans = trace.spans
    if any(span.category == "human" for span in spans):
        return "The person who was asked in this run"
    root = spans[trace.main_root]
    if root.kind == "server":
        return "The client of this server"
    if any(span.session is not None or span.user is not None for span in spans):
        return "The user of this session"
    return None


RULE: Final = Rule(
    code="CP402",
    title="An answer that was waited for as a whole",
    what=(
        "The last answer of a run came as a whole, so that whoever asked saw nothing before all of "
        "it was written. Streamed, its first words are seen after the first token."
    ),
    evidence=(
        "likely: the last call of the outermost agent is known not to have been streamed, took 3 s "
        "(llm) or more, and answered with 100 tokens or more (300 where no session, user, server "
        "or person is in the trace) that are no call of a tool and mostly no reasoning, and the "
        "run made no call after it. Nothing is said of batches and of runs that come from a queue."
    ),
    saving=(
        "None of wall time. When the first words would be seen is told where other calls of the "
        "model in the run were streamed; `causepath whatif --apply stream` predicts it over many "
        "runs."
    ),
    refuted_by="A program that reads the answer as a whole, or a job that nobody waits for.",
    fix="Ask for a stream, and hand the words on as they come.",
    find=unstreamed_answers,
)
