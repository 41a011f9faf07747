"""What reports say of one run, worked out: the terminal, JSON and pages only arrange it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from causepath_analyzer.analyses.findings.rule import Finding, worth_saying
from causepath_analyzer.analyses.lacking import lacking
from causepath_analyzer.analyses.money.money_rows import MoneyRows, money_rows
from causepath_analyzer.analyses.path.critical_path import Edge
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.proof.independence import CALLS
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.analyses.span_rows import MOST_ROWS, NO_ROWS, ShownRows, shown_rows
from causepath_analyzer.model import NO_SPAN, Trace

WhyNone = Literal["untrusted", "no_length", "no_calls", "inferred", "no_issuers", "none"]
"""Why there is no finding: nothing can be told, or there is none."""
Next = Literal["finding", "profile", "doctor"]
"""What to look at next: the first finding, the operations, or the tracing itself."""

_WORTH_NAMING: Final = 20
"""Time without a call is explained from this part of the wall on."""


class KindTime(Struct, frozen=True):
    """The wall time that was spent on one kind, its part of the wall, and the plain sum of the
    spans of this kind, ``None`` where that is no sum of calls."""

    kind: Kind
    wall_ns: int
    share: float
    sum_ns: int | None


class Long(Struct, frozen=True):
    """A span that took so long; the name is ``None`` where no span covers the time."""

    name: str | None
    ns: int


class Shown(Struct, frozen=True):
    """A finding, with the names of the calls that it is about."""

    finding: Finding
    names: tuple[str, ...]


class RunView(Struct, frozen=True):
    """One run as reports show it.

    ``run`` has what needs no working out: ids, times, ending, calls, tokens, cost, health. A report
    reads it and this, and computes nothing.
    """

    run: Run
    name: str
    service: str | None
    session: str | None
    left_open: str | None
    """The last span that was open when the program ended."""
    rows: ShownRows
    edges: Mapping[Edge, int]
    """How often a call on the path came after another one, by what shows that it had to."""
    kinds: tuple[KindTime, ...]
    """The most first; empty where durations mean nothing."""
    goes_on: Long | None
    """What went on longest after the run."""
    is_unmeasured: bool
    """A part that is worth naming was taken by nothing that is measured."""
    branch: Long | None
    """The call that ran in most of the time that a branch beside it took."""
    alone: Long | None
    """What took half of the wall and shows nothing of what it did."""
    money: MoneyRows | None
    """Where the money went; ``None`` where nothing is known to have cost something."""
    findings: tuple[Shown, ...]
    together_share: float | None
    """The part of the wall that all findings save together, if several save time."""
    apart_ns: int | None
    """The sum of what findings save alone, where it is more: they save some of the same time."""
    then_ns: int
    """The wall without what all findings save together."""
    together_usd: Decimal | None
    """The money that all findings save together, if several save some."""
    together_usd_share: float | None
    """The part of the cost that this is, if all of it is known."""
    apart_usd: Decimal | None
    """The sum of what findings save alone, where it is more."""
    why_none: WhyNone | None
    """Why there is no finding; ``None`` if there is one."""
    lacking: tuple[str, ...]
    next: Next


def run_view(run: Run, most_rows: int | None = MOST_ROWS) -> RunView:
    """Works out what reports say of `run`, with at most so many rows of spans; ``None``: all."""
    trace = run.trace
    spans = trace.spans
    root = spans[trace.main_root]
    wall_ns = max(1, trace.wall_ns)
    left_open = [span.name for span in spans if span.left_open]
    paid = sum(bool(finding.saving.usd) for finding in run.findings)
    together_usd = run.together_usd if paid > 1 else None
    timed = sum(finding.share is not None for finding in run.findings)
    return RunView(
        run=run,
        name=root.name,
        service=root.service,
        session=next((span.session for span in spans if span.session is not None), None),
        left_open=left_open[-1] if left_open else None,
        rows=NO_ROWS if most_rows == 0 else shown_rows(run, most_rows),
        edges=_edges(run),
        kinds=() if trace.untrusted else _kinds(run, wall_ns),
        goes_on=_goes_on(trace),
        is_unmeasured=_is_worth_naming(run, "agent"),
        branch=_branch(run) if _is_worth_naming(run, "beside") else None,
        alone=_alone(run),
        money=money_rows(run.money, trace),
        findings=tuple(
            Shown(one, tuple(dict.fromkeys(_called(trace, i) for i in one.spans)))
            for one in run.findings
        ),
        together_share=run.together_ns / wall_ns if timed > 1 else None,
        apart_ns=_apart_ns(run),
        then_ns=trace.wall_ns - run.together_ns,
        together_usd=together_usd,
        together_usd_share=_of_cost(run, together_usd),
        apart_usd=_apart_usd(run),
        why_none=None if run.findings else _why_none(run),
        lacking=lacking(trace, run.usage),
        next=_next(run),
    )


def _edges(run: Run) -> Mapping[Edge, int]:
    """Counts what held each call on the path that came after another one."""
    held: dict[Edge, int] = {}
    before = NO_SPAN
    for section in run.path.sections:
        unit = run.kinds.units[section.span] if section.span != NO_SPAN else NO_SPAN
        if unit in (before, NO_SPAN):
            continue
        if before != NO_SPAN:
            held[section.edge] = held.get(section.edge, 0) + 1
        before = unit
    return {} if run.trace.untrusted else held


def _kinds(run: Run, wall_ns: int) -> tuple[KindTime, ...]:
    # The own time of agents is no sum of spans: they contain everything else.
    sums = {kind: ns for kind, ns in run.wall.kind_sums.items() if kind not in ("agent", "other")}
    return tuple(
        KindTime(kind, spent_ns, spent_ns / wall_ns, sums.get(kind))
        for kind, spent_ns in run.wall.path.items()
    )


def _is_worth_naming(run: Run, kind: Kind) -> bool:
    return run.wall.path.get(kind, 0) * _WORTH_NAMING >= run.trace.wall_ns > 0


def _goes_on(trace: Trace) -> Long | None:
    """Finds what goes on longest after the run."""
    if not trace.after_ns:
        return None
    return Long(max(trace.spans, key=lambda span: span.ended_ns).name, trace.after_ns)


def _branch(run: Run) -> Long:
    """Finds the call that ran in most of the time that a branch beside it took."""
    beside: dict[int, int] = {}
    for section in run.path.sections:
        if section.kind == "beside":
            length = section.end_ns - section.start_ns
            beside[section.beside] = beside.get(section.beside, 0) + length
    most = max(beside, key=beside.__getitem__)
    return Long(run.trace.spans[most].name, beside[most])


def _alone(run: Run) -> Long | None:
    """Finds what took half of the wall and shows nothing of what it did."""
    trace, alone_ns = run.trace, run.path.alone_ns
    most = max(alone_ns, key=alone_ns.__getitem__, default=NO_SPAN)
    longest_ns = alone_ns.get(most, 0)
    if not longest_ns or 2 * longest_ns < trace.wall_ns or len(trace.spans) == 1:
        return None
    return Long(None if most == NO_SPAN else trace.spans[most].name, longest_ns)


def _apart_ns(run: Run) -> int | None:
    apart_ns = sum(finding.saving.ns or 0 for finding in run.findings)
    return apart_ns if (apart_ns - run.together_ns) * 100 > run.trace.wall_ns else None


def _apart_usd(run: Run) -> Decimal | None:
    known = [finding.saving.usd for finding in run.findings]
    apart_usd = sum((usd for usd in known if usd is not None and usd > 0), Decimal(0))
    together_usd = run.together_usd or Decimal(0)
    return apart_usd if (apart_usd - together_usd) * 100 > together_usd else None


def _of_cost(run: Run, usd: Decimal | None) -> float | None:
    if usd is None or not run.cost.is_whole or not run.cost.usd:
        return None
    return float(usd / run.cost.usd)


def _called(trace: Trace, span: int) -> str:
    tool = trace.spans[span].tool_call
    return tool.name if tool is not None and tool.name else trace.spans[span].name


def _why_none(run: Run) -> WhyNone:
    """Tells whether there is no finding, or none could be seen."""
    spans = run.trace.spans
    if run.trace.untrusted:
        return "untrusted"
    if not run.trace.wall_ns:
        return "no_length"
    if not any(span.category in CALLS for span in spans):
        return "no_calls"
    tools = [span for span in spans if span.category == "tool"]
    lengths = sorted(span.duration_ns for span in tools)
    if worth_saying(sum(lengths[:-1]), run.trace.wall_ns):
        if all(span.tool_call is None or span.tool_call.inferred for span in tools):
            return "inferred"
        if all(issuer == NO_SPAN for issuer in run.causes.issuers):
            return "no_issuers"
    return "none"


def _next(run: Run) -> Next:
    if run.findings:
        return "finding"
    return "profile" if any(span.category in CALLS for span in run.trace.spans) else "doctor"
