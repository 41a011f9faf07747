"""One run and what the single analyses say of it: what findings are looked for in."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from causepath_analyzer.analyses.limits import LIMITS, Limits
from causepath_analyzer.analyses.path.causes import Causes, causes
from causepath_analyzer.analyses.path.cost import TABLE_ONLY, Cost, OwnPrices, cost_of
from causepath_analyzer.analyses.path.critical_path import CriticalPath, critical_path
from causepath_analyzer.analyses.path.data_flow import DataFlow
from causepath_analyzer.analyses.path.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.path.usage import Usage, usage
from causepath_analyzer.analyses.path.wall_time import WallTime, wall_time
from causepath_analyzer.analyses.proof.independence import NOWHERE, Elsewhere
from causepath_analyzer.model import Category, Trace


class Facts:
    """The analyses of ``trace``, each made once, when it is first asked for.

    ``others`` is what other runs show about the order of calls, ``prices`` are those of one's own,
    ``limits`` the sizes from which on something is worth a warning.
    """

    def __init__(
        self,
        trace: Trace,
        others: Elsewhere = NOWHERE,
        prices: OwnPrices = TABLE_ONLY,
        limits: Limits = LIMITS,
    ) -> None:
        self.trace = trace
        self.others = others
        self.prices = prices
        self.limits = limits

    @cached_property
    def numbers(self) -> Mapping[Category, Sequence[int]]:
        """Lists the numbers of the spans of each category, in order of start."""
        found: dict[Category, list[int]] = {}
        for i, span in enumerate(self.trace.spans):
            found.setdefault(span.category, []).append(i)
        return found

    @cached_property
    def errors(self) -> Sequence[int]:
        """Lists the numbers of the spans that have an error."""
        return [i for i, span in enumerate(self.trace.spans) if span.error is not None]

    @cached_property
    def ends(self) -> Sequence[tuple[int, int]]:
        """Lists when spans ended, in order, each with its number."""
        return sorted((span.ended_ns, i) for i, span in enumerate(self.trace.spans))

    @cached_property
    def kinds(self) -> SpanKinds:
        """Tells what each span is."""
        return span_kinds(self.trace)

    @cached_property
    def causes(self) -> Causes:
        """Tells which call asked for which tool, and the tree that these causes make."""
        return causes(self.trace, self.kinds)

    @property
    def flow(self) -> DataFlow:
        """Tells what reached which span."""
        return self.causes.flow

    @cached_property
    def path(self) -> CriticalPath:
        """Tells what was waited for at each instant."""
        return critical_path(self.trace, self.kinds, self.causes)

    @cached_property
    def wall(self) -> WallTime:
        """Divides the wall time by kind."""
        return wall_time(self.trace, self.kinds, self.path)

    @cached_property
    def usage(self) -> Usage:
        """Counts calls, turns and tokens."""
        return usage(self.flow)

    @cached_property
    def cost(self) -> Cost:
        """Prices the calls; the table of prices is loaded when this is first asked for."""
        return cost_of(self.usage.models, self.usage.started_ns, self.prices)
