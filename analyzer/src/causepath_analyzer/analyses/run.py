"""Everything there is to say about one run, put together from the single analyses."""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.findings.opportunities import opportunities
from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.path.causes import Causes, causes
from causepath_analyzer.analyses.path.cost import NO_COST, Cost, cost_of
from causepath_analyzer.analyses.path.critical_path import CriticalPath, critical_path
from causepath_analyzer.analyses.path.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.path.usage import Usage, usage
from causepath_analyzer.analyses.path.wall_time import WallTime, wall_time
from causepath_analyzer.analyses.proof.independence import NOWHERE, Elsewhere
from causepath_analyzer.model import Health, Trace


class Run(Struct, frozen=True):
    """One run, explained. ``cost`` is `NO_COST` if it was not asked for."""

    trace: Trace
    kinds: SpanKinds
    causes: Causes
    path: CriticalPath
    wall: WallTime
    usage: Usage
    findings: tuple[Finding, ...]
    together_ns: int
    """What all findings save in one replay; no sum of what each saves alone."""
    cost: Cost
    health: Health

    @property
    def spent_usd(self) -> Decimal | None:
        """The cost, which without model calls is nothing; ``None`` if it is not wholly known."""
        if not self.usage.models and not self.usage.calls.llm:
            return Decimal(0)
        return self.cost.usd if self.cost.is_whole else None


def explained(
    trace: Trace,
    *,
    with_cost: bool = False,
    others: Elsewhere = NOWHERE,
) -> Run:
    """All analyses of `trace`; what `others` did in which order is evidence for findings."""
    kinds = span_kinds(trace)
    known = causes(trace, kinds)
    path = critical_path(trace, kinds, known)
    used = usage(trace)
    found = opportunities(trace, kinds, known, others)
    return Run(
        trace=trace,
        kinds=kinds,
        causes=known,
        path=path,
        wall=wall_time(trace, kinds, path),
        usage=used,
        findings=found.findings,
        together_ns=found.together_ns,
        cost=cost_of(used.models, trace.start_ns) if with_cost else NO_COST,
        health=_health(trace.health, used, path),
    )


def _health(mended: Health, used: Usage, path: CriticalPath) -> Health:
    notes = used.notes
    if path.fault is not None:
        notes = (*notes, f"the critical path is wrong, please report this: {path.fault}")
    return replace(mended, notes=(*mended.notes, *notes)) if notes else mended
