"""A run with what an edit has to know of it."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from causepath_analyzer.analyses.findings.opportunities import candidates
from causepath_analyzer.analyses.findings.rule import Candidate
from causepath_analyzer.analyses.path.causes import Causes, causes
from causepath_analyzer.analyses.path.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.proof.independence import Elsewhere
from causepath_analyzer.analyses.proof.stretch import overlapping_tools, serial_tools
from causepath_analyzer.analyses.replay.slopes import Sizes, sized_calls
from causepath_analyzer.model import Trace


class Beside(Struct, frozen=True):
    """Tools of which calls ran side by side in any of the runs, and those that then took longer,
    as if they waited for each other."""

    seen: frozenset[str] = frozenset()
    serial: frozenset[str] = frozenset()


class Studied(Struct, frozen=True):
    """``found`` are its candidates and ``sizes`` those of its model calls, where they are asked
    for. ``beside`` is known from all of the runs."""

    trace: Trace
    kinds: SpanKinds
    causes: Causes
    found: Sequence[Candidate] = ()
    sizes: Mapping[int, Sizes] = {}
    beside: Beside = Beside()


def beside(traces: Iterable[Trace]) -> Beside:
    """What `traces` show of tools that run side by side."""
    seen: frozenset[str] = frozenset()
    serial: frozenset[str] = frozenset()
    for trace in traces:
        seen |= overlapping_tools(trace)
        serial |= serial_tools(trace)
    return Beside(seen, serial)


def studied(
    trace: Trace, others: Elsewhere | None, *, sized: bool, together: Beside | None = None
) -> Studied:
    """`trace` with its candidates, if what is known of `others` is given, and its sizes."""
    kinds = span_kinds(trace)
    known = causes(trace, kinds)
    found = () if others is None else candidates(trace, kinds, known, others)
    sizes = sized_calls(trace, kinds, known) if sized else {}
    return Studied(trace, kinds, known, found, sizes, together or Beside())
