"""CP104: a look that nearly all runs of an agent take, and that could begin before it is asked for.

    llm plan   |---------|                      llm plan   |---------|
    get_profile           |------|       ->     get_profile |------|
    llm answer                    |----|        llm answer            |----|

Many runs tell how often the guess is right; in the others the tool runs in vain. Only tools that
change nothing can be started on a guess, and only with arguments that are the same in all these
runs: then these need nothing of the reply.
"""

from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.prices import spent
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds
from causepath_analyzer.analyses.proof.independence import failed, is_inside, only_looks, where_of
from causepath_analyzer.analyses.proof.over_runs import agent_of, arguments_of
from causepath_analyzer.analyses.replay.change import Sooner
from causepath_analyzer.model import NO_SPAN

_WAITS: Final = frozenset(("human", "wait"))


def early_starts(facts: Facts) -> Iterator[Candidate]:
    """Finds looks of the run that runs of its agent nearly always take, each with its model call.

    Of equal calls in one run only the first one can be started early.
    """
    alike = facts.others.alike
    trace = facts.trace
    agent = agent_of(trace)
    usual = alike.usual.get(agent)
    if not usual:
        return
    seen: set[tuple[str, int]] = set()
    for i in facts.numbers.get("tool", ()):
        span = trace.spans[i]
        tool = span.tool_call
        digest = arguments_of(facts.flow, i)
        if tool is None or digest is None:
            continue
        name = tool.name or span.name
        times = usual.get(name, {}).get(digest, 0)
        if not times or (name, digest) in seen:
            continue
        seen.add((name, digest))
        issuer = facts.causes.issuers[i]
        if issuer == NO_SPAN or failed(span) or not only_looks(span):
            continue
        if not _may_have_changed(facts, issuer, i):
            yield _candidate(facts, i, issuer, agent, (times, alike.runs[agent]))


def _may_have_changed(facts: Facts, issuer: int, tool: int) -> bool:
    """Tells whether anything ran between the start of `issuer` and that of `tool` that may have
    changed what the tool finds."""
    trace = facts.trace
    from_ns, until_ns = trace.spans[issuer].start_ns, trace.spans[tool].start_ns
    for i, span in enumerate(trace.spans):
        if span.start_ns > until_ns:
            break
        changes = span.category in _WAITS or (span.category == "tool" and not only_looks(span))
        if changes and span.ended_ns > from_ns and not is_inside(trace, issuer, (i,)):
            return True
    return False


def _candidate(
    facts: Facts, call: int, issuer: int, agent: str, often: tuple[int, int]
) -> Candidate:
    trace = facts.trace
    span = trace.spans[call]
    name = (span.tool_call and span.tool_call.name) or span.name
    times, runs = often
    where = where_of(trace, (call,))
    vain, agent = runs - times, agent.removeprefix("invoke_agent ")
    costs = ", and what its model calls cost" if spent(facts, (call,)).tokens else ""
    wasted = (
        f"in the other {vain:,} it would run in vain: {seconds(span.duration_ns)} of work that "
        f"nobody waits for{costs}"
        if vain
        else "none would have run it in vain"
    )
    return Candidate(
        title=f"start {name} before it is asked for",
        plural=f"start {name} before it is asked for",
        place=f"{name} {where}",
        spans=(issuer, call),
        change=Sooner(call, issuer),
        evidence="likely",
        why=(
            f"{times:,} of {runs:,} runs of {agent} call {name} with the same arguments, so that "
            f"it can start with the model call that asks for it; {wasted}."
        ),
        fix=(
            f"Start {name} beside the model call, on the guess that the reply asks for it; hand "
            "out that result if it does, and drop it if not. Or call it before and put its result "
            "into the prompt: then the turn that asks for it is saved as well."
        ),
        where=where,
        over_runs=(
            f"{times:,} of {runs:,} runs call it so"
            + (f"; {vain:,} would have run it in vain" if vain else "")
        ),
        refuted_by=(
            f"other runs that do without {name}, or something outside of the trace that changes "
            "what it returns while the model answers"
        ),
    )


RULE: Final = Rule(
    code="CP104",
    title="A call that nearly every run makes, worth starting early",
    what=(
        "Nearly all runs of the agent call a tool that changes nothing with the same arguments. It "
        "need not wait for the reply that asks for it."
    ),
    evidence=(
        "likely: of ten runs or more that begin with the same agent, four fifths call the tool "
        "with equal arguments, which can come of no reply then, and by the number of runs it is no "
        "chance (nine of ten do, and 16 of 20). Nothing is said of tools that may "
        "change something, failed or are inferred, where anything that may change what it finds "
        "ran beside the model call, or of one run alone."
    ),
    saving=(
        "The wall time now, minus that of a replay in which the tool starts with the model call. "
        "The waste, where nobody asks for it, is said beside it."
    ),
    refuted_by="Other runs that do without the call, or a state that changes in the meantime.",
    fix=(
        "Start the tool beside the model call, and keep its result for the reply that asks for it; "
        "or call it before and put its result into the prompt."
    ),
    find=early_starts,
    change=Sooner,
)
