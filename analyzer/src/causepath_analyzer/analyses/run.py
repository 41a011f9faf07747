"""Everything there is to say about one run, put together from the single analyses."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.opportunities import Fault, opportunities
from causepath_analyzer.analyses.findings.rule import Finding, Rule
from causepath_analyzer.analyses.findings.rules import EVERY
from causepath_analyzer.analyses.limits import LIMITS, Limits
from causepath_analyzer.analyses.money.spent import Money, money
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.cost import NO_COST, TABLE_ONLY, Cost, OwnPrices
from causepath_analyzer.analyses.path.critical_path import CriticalPath
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.path.status import WELL, Ending, ending
from causepath_analyzer.analyses.path.usage import Usage
from causepath_analyzer.analyses.path.wall_time import WallTime
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
    together_usd: Decimal | None
    """The money that all findings save, no dollar of it twice; ``None`` if none is known to save
    any."""
    faults: tuple[Fault, ...]
    """Rules that failed, whose findings are missing."""
    cost: Cost
    health: Health
    ending: Ending = WELL
    money: Money | None = None
    """``None`` as well if it was not asked for."""

    @property
    def spent_usd(self) -> Decimal | None:
        """Gives the cost, which without model calls is nothing; ``None`` if it is not wholly
        known."""
        if not self.usage.models and not self.usage.calls.llm:
            return Decimal(0)
        return self.cost.usd if self.cost.is_whole else None

    @property
    def is_lower_bound(self) -> bool:
        """Tells whether the run used more than was counted, or more than what has a price."""
        whole = self.usage.is_counted and (self.cost.is_whole or self.cost.usd is None)
        return not whole


def explained(
    trace: Trace,
    *,
    with_cost: bool = False,
    with_money: bool = False,
    others: Elsewhere = NOWHERE,
    rules: Iterable[Rule] = EVERY,
    prices: OwnPrices = TABLE_ONLY,
    limits: Limits = LIMITS,
) -> Run:
    """Makes all analyses of `trace`, and finds what `rules` find.

    What `others` did in which order is evidence for findings. `prices` go over those of the table,
    and findings warn of what is larger than `limits`.
    A summary asks for the cost alone, the report on the run for where its money went as well.
    """
    facts = Facts(trace, others, prices, limits)
    found = opportunities(facts, rules)
    return Run(
        trace=trace,
        kinds=facts.kinds,
        causes=facts.causes,
        path=facts.path,
        wall=facts.wall,
        usage=facts.usage,
        findings=found.findings,
        together_ns=found.together_ns,
        together_usd=found.together_usd,
        faults=found.faults,
        cost=facts.cost if with_cost else NO_COST,
        health=_health(trace.health, facts.usage, facts.path, found.faults),
        ending=ending(trace),
        money=money(facts) if with_money else None,
    )


def _health(mended: Health, used: Usage, path: CriticalPath, faults: Iterable[Fault]) -> Health:
    notes = [
        *used.notes,
        *(f"{fault.code} failed, please report this: {fault.why}" for fault in faults),
    ]
    if path.fault is not None:
        notes.append(f"the critical path is wrong, please report this: {path.fault}")
    return replace(mended, notes=(*mended.notes, *notes)) if notes else mended
