"""Everything there is to say about one run, put together from the single analyses."""

from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.causes import Causes, causes
from causepath_analyzer.analyses.cost import cost_usd
from causepath_analyzer.analyses.critical_path import CriticalPath, Overflow, critical_path
from causepath_analyzer.analyses.findings import Finding
from causepath_analyzer.analyses.independence import NOWHERE, Elsewhere
from causepath_analyzer.analyses.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.opportunities import opportunities
from causepath_analyzer.analyses.usage import Usage, usage
from causepath_analyzer.analyses.wall_time import WallTime, wall_time
from causepath_analyzer.model import Health, Trace


class Run(Struct, frozen=True):
    """One run, explained. ``cost_usd`` is ``None`` if it was not asked for or is not known."""

    trace: Trace
    kinds: SpanKinds
    causes: Causes
    path: CriticalPath
    wall: WallTime
    usage: Usage
    findings: tuple[Finding, ...]
    together_ns: int
    """What all findings save in one replay; no sum of what each saves alone."""
    cost_usd: Decimal | None
    health: Health

    @property
    def spent_usd(self) -> Decimal | None:
        """The cost, which without model calls is nothing; ``None`` if it is not known."""
        return self.cost_usd if self.usage.calls.llm else Decimal(0)


def explained(
    trace: Trace,
    overflow: Overflow = "async",
    *,
    with_cost: bool = False,
    others: Elsewhere = NOWHERE,
) -> Run:
    """All analyses of `trace`; what `others` did in which order is evidence for findings."""
    kinds = span_kinds(trace)
    known = causes(trace, kinds)
    path = critical_path(trace, kinds, known, overflow)
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
        cost_usd=cost_usd(used.models, trace.start_ns) if with_cost else None,
        health=_health(trace.health, path),
    )


def _health(mended: Health, path: CriticalPath) -> Health:
    if path.fault is None:
        return mended
    note = f"the critical path is wrong, please report this: {path.fault}"
    return replace(mended, notes=(*mended.notes, note))
