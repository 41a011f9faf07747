"""What would make a run faster: every candidate tried in a replay, and all of them together."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from causepath_analyzer.analyses.findings.cp101_sequential_tools import sequential_tools
from causepath_analyzer.analyses.findings.cp102_independent_calls import independent_calls
from causepath_analyzer.analyses.findings.cp103_mergeable_turns import mergeable_turns
from causepath_analyzer.analyses.findings.rule import Candidate, Finding, worth_saying
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.proof.independence import NOWHERE, Elsewhere
from causepath_analyzer.analyses.replay.edits import Editing
from causepath_analyzer.analyses.replay.schedule import Changes, Schedule, Turns, replayed, schedule
from causepath_analyzer.model import Trace


class Opportunities(Struct, frozen=True):
    """``findings`` with the largest saving first, each alone; ``together_ns`` is what all of them
    save in one replay, which is no sum."""

    findings: tuple[Finding, ...] = ()
    together_ns: int = 0


NONE = Opportunities()


def opportunities(
    trace: Trace, kinds: SpanKinds, causes: Causes, others: Elsewhere = NOWHERE
) -> Opportunities:
    """The findings about `trace` that have to do with order; none where times mean nothing."""
    if trace.untrusted:
        return NONE
    found = [
        group
        for group in _grouped(candidates(trace, kinds, causes, others))
        if worth_saying(sum(_at_most_ns(causes, one) for one in group), trace.wall_ns)
    ]
    if not found:
        return NONE
    plan = schedule(trace, causes)
    findings: list[tuple[Finding, Sequence[Candidate]]] = []
    for group in found:
        saving_ns = trace.wall_ns - replayed(plan, applied(plan, kinds, group)).wall_ns
        if worth_saying(saving_ns, trace.wall_ns):
            findings.append((_finding(group, saving_ns, trace.wall_ns), group))
    if not findings:
        return NONE
    findings.sort(key=lambda pair: -pair[0].saving_ns)
    together_ns = findings[0][0].saving_ns
    if len(findings) > 1:
        every = applied(plan, kinds, [candidate for _, group in findings for candidate in group])
        together_ns = trace.wall_ns - replayed(plan, every).wall_ns
    return Opportunities(tuple(finding for finding, _ in findings), together_ns)


def _grouped(found: Iterable[Candidate]) -> Iterable[Sequence[Candidate]]:
    """Candidates that one change of the code would mend: small ones may add up."""
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in found:
        key = (candidate.code, candidate.evidence, candidate.place)
        groups.setdefault(key, []).append(candidate)
    return groups.values()


def _at_most_ns(causes: Causes, candidate: Candidate) -> int:
    """What `candidate` can save at the very most, without a replay: there may be thousands."""
    started_ns, ended_ns = causes.started_ns, causes.ended_ns
    durations = [ended_ns[i] - started_ns[i] for i in candidate.spans]
    window = ended_ns[max(candidate.spans)] - started_ns[candidate.spans[0]]
    return max(window, sum(durations)) - min(durations, default=0)


def candidates(
    trace: Trace, kinds: SpanKinds, causes: Causes, others: Elsewhere = NOWHERE
) -> Sequence[Candidate]:
    """Everything that could be done in another order, whatever it saves."""
    return [
        *sequential_tools(trace, causes, others),
        *independent_calls(trace, kinds, causes, others),
        *mergeable_turns(trace, kinds, causes, others),
    ]


def applied(plan: Schedule, kinds: SpanKinds, chosen: Iterable[Candidate]) -> Changes:
    """What all of `chosen` do to a run, in one."""
    editing = Editing(plan, kinds)
    for candidate in chosen:
        apply(editing, candidate)
    return editing.done()


def apply(editing: Editing, candidate: Candidate, limit: int | None = None) -> None:
    """Does to a run what `candidate` proposes, with at most `limit` at once."""
    if isinstance(candidate.change, Turns):
        editing.merge(candidate.change)
    else:
        editing.together(candidate.change, limit)


def _finding(group: Sequence[Candidate], saving_ns: int, wall_ns: int) -> Finding:
    first, times = group[0], len(group)
    return Finding(
        code=first.code,
        title=first.title if times == 1 else f"{first.plural}, {times} times",
        spans=tuple(span for one in group for span in one.spans),
        saving_ns=saving_ns,
        share=saving_ns / wall_ns,
        evidence=first.evidence,
        why=first.why if times == 1 else f"This happens {times} times. The first time: {first.why}",
        fix=first.fix,
        where=first.where,
        times=times,
        refuted_by=first.refuted_by,
        at_most=any(one.at_most for one in group),
    )
