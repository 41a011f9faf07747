"""CP602: time on the path in which the run waited for a person."""

from collections.abc import Iterator
from typing import Final

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.rule import Candidate, Rule, seconds, worth_saying
from causepath_analyzer.analyses.proof.independence import where_of
from causepath_analyzer.model import NEXT_MESSAGE, NO_SPAN


def waiting_for_a_person(facts: Facts) -> Iterator[Candidate]:
    """Finds what a run asked people for, if nothing else went on meanwhile: what they wrote next
    they were not asked for."""
    trace = facts.trace
    if trace.untrusted or facts.wall.path.get("human", 0) < facts.limits.tool_ns:
        return
    waited_ns: dict[int, int] = {}
    for section in facts.path.sections:
        if (
            section.kind == "human"
            and section.span != NO_SPAN
            and trace.spans[section.span].name != NEXT_MESSAGE
        ):
            length_ns = section.end_ns - section.start_ns
            waited_ns[section.span] = waited_ns.get(section.span, 0) + length_ns
    total_ns = sum(waited_ns.values())
    if total_ns < facts.limits.tool_ns or not worth_saying(total_ns, trace.wall_ns):
        return
    longest = max(waited_ns, key=waited_ns.__getitem__)
    times = len(waited_ns)
    asked = "once" if times == 1 else f"{times} times"
    yield Candidate(
        title=f"ask people earlier ({seconds(total_ns)} waited)",
        plural="ask people earlier",
        place=trace.spans[longest].name,
        spans=tuple(sorted(waited_ns)),
        evidence="proved",
        why=(
            f"A person was asked {asked} ({trace.spans[longest].name}), and for "
            f"{seconds(total_ns)}, {total_ns / trace.wall_ns:.0%} of the wall, nothing else of the "
            "run went on. How long people take is not the agent's time: no saving is computed."
        ),
        fix=(
            "Ask for all of it at once and as early as it is known, go on with what does not need "
            "the answer, and let what only looks (read_only) pass without being asked for."
        ),
        where=where_of(trace, (longest,)),
        refuted_by="work that waits for the answer in any case",
    )


RULE: Final = Rule(
    code="CP602",
    title="Waiting for a person",
    what="The run waited for a person (an approval, a question), and nothing else went on.",
    evidence=(
        "proved: spans of asking a person are on the critical path, for 1 s (tool) and 1 % of the "
        "wall or more. What a user does before writing the next message is none of it."
    ),
    saving="Not known: how long a person takes is not the agent's time.",
    refuted_by="Work that waits for the answer in any case.",
    fix=(
        "Ask for all of it at once and early, go on with what does not need the answer, and let "
        "what only looks pass without being asked for."
    ),
    find=waiting_for_a_person,
)
