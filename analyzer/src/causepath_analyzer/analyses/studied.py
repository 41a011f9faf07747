"""A run with what an edit has to know of it."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from causepath_analyzer.analyses.causes import Causes, causes
from causepath_analyzer.analyses.findings import Candidate
from causepath_analyzer.analyses.independence import Elsewhere
from causepath_analyzer.analyses.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.opportunities import candidates
from causepath_analyzer.analyses.slopes import Sizes, sized_calls
from causepath_analyzer.model import Trace


class Studied(Struct, frozen=True):
    """``found`` are its candidates and ``sizes`` those of its model calls, where they are asked
    for."""

    trace: Trace
    kinds: SpanKinds
    causes: Causes
    found: Sequence[Candidate] = ()
    sizes: Mapping[int, Sizes] = {}


def studied(trace: Trace, others: Elsewhere | None, *, sized: bool) -> Studied:
    """`trace` with its candidates, if what is known of `others` is given, and its sizes."""
    kinds = span_kinds(trace)
    known = causes(trace, kinds)
    found = () if others is None else candidates(trace, kinds, known, others)
    return Studied(trace, kinds, known, found, sized_calls(trace, kinds, known) if sized else {})
