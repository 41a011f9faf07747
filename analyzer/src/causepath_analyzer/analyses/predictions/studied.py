"""A run with what an edit has to know of it."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from causepath_analyzer.analyses.facts import Facts
from causepath_analyzer.analyses.findings.opportunities import Candidates, candidates
from causepath_analyzer.analyses.findings.rule import Rule
from causepath_analyzer.analyses.path.causes import Causes
from causepath_analyzer.analyses.path.kinds import SpanKinds
from causepath_analyzer.analyses.proof.stretch import overlapping_tools, serial_tools
from causepath_analyzer.analyses.replay.slopes import Sizes, sized_calls
from causepath_analyzer.model import Trace


class Beside(Struct, frozen=True):
    """Tools of which calls ran side by side in any of the runs, and those that then took longer,
    as if they waited for each other."""

    seen: frozenset[str] = frozenset()
    serial: frozenset[str] = frozenset()


class Studied(Struct, frozen=True):
    """``found`` is what the rules found that edits name, and ``sizes`` those of its model calls,
    where they are asked for. ``beside`` is known from all of the runs."""

    facts: Facts
    found: Candidates = Candidates({})
    sizes: Mapping[int, Sizes] = {}
    beside: Beside = Beside()

    @property
    def trace(self) -> Trace:
        """Gives the run itself."""
        return self.facts.trace

    @property
    def kinds(self) -> SpanKinds:
        """Tells what its spans are."""
        return self.facts.kinds

    @property
    def causes(self) -> Causes:
        """Tells which call asked for which tool."""
        return self.facts.causes


def beside(traces: Iterable[Trace]) -> Beside:
    """Gathers what `traces` show of tools that run side by side."""
    seen: frozenset[str] = frozenset()
    serial: frozenset[str] = frozenset()
    for trace in traces:
        seen |= overlapping_tools(trace)
        serial |= serial_tools(trace)
    return Beside(seen, serial)


def studied(
    facts: Facts,
    *,
    rules: Iterable[Rule] = (),
    sized: bool = False,
    together: Beside | None = None,
) -> Studied:
    """Looks in the run of `facts` for what `rules` find, and for sizes of calls."""
    found = candidates(facts, rules)
    sizes = sized_calls(facts.trace, facts.kinds, facts.causes) if sized else {}
    return Studied(facts, found, sizes, together or Beside())
