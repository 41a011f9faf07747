"""How much faster runs get as one operation does: a curve for each, as Coz draws it for code.

Coz slows everything else down while a program runs, to see what a speed-up would do. A trace can
be replayed, so here the operation itself is made faster. A curve that flattens says that something
else is waited for from there on; one that is flat from the start is not worth optimising.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.causes import Causes, causes
from causepath_analyzer.analyses.path.critical_path import first_token_ns
from causepath_analyzer.analyses.path.kinds import SpanKinds, span_kinds
from causepath_analyzer.analyses.path.retries import retries
from causepath_analyzer.analyses.replay.edits import Editing, outermost
from causepath_analyzer.analyses.replay.operations import operation_of
from causepath_analyzer.analyses.replay.schedule import replayed, schedule
from causepath_analyzer.model import NO_SPAN, Trace

PERCENTS: Final = (10, 25, 50, 75, 100)
_MOST: Final = 12
_PROFILED: Final = frozenset(
    ("llm", "tool", "retrieval", "embedding", "cache", "database", "network", "guardrail", "retry")
)


class Curve(Struct, frozen=True):
    """``shares[n]`` is the part of the wall time of all runs that goes if ``operation`` takes
    ``PERCENTS[n]`` percent less time."""

    operation: str
    shares: tuple[float, ...]


def profile(traces: Sequence[Trace]) -> tuple[Curve, ...]:
    """Draws the curves of the operations that matter most in `traces`, steepest first."""
    spent: dict[str, int] = {}
    runs = []
    for trace in traces:
        if trace.untrusted:
            continue
        kinds = span_kinds(trace)
        known = causes(trace, kinds)
        targets = _targets(trace, kinds, known)
        runs.append((schedule(trace, known), kinds, targets))
        for name, spans in targets.items():
            spent[name] = spent.get(name, 0) + sum(trace.spans[i].duration_ns for i in spans)
    total = sum(plan.trace.wall_ns for plan, _, _ in runs)
    chosen = sorted(spent, key=lambda name: (-spent[name], name))[:_MOST]
    curves = []
    for name in chosen:
        saved = [0] * len(PERCENTS)
        for plan, kinds, targets in runs:
            if name not in targets:
                continue
            for place, percent in enumerate(PERCENTS):
                editing = Editing(plan, kinds)
                phase = name.partition(":")[0].partition(".")[2]
                for span in outermost(plan.causes.parents, targets[name]):
                    editing.scale(span, phase, (100 - percent, 100))
                saved[place] += plan.trace.wall_ns - replayed(plan, editing.done()).wall_ns
        curves.append(Curve(name, tuple(one / total if total else 0.0 for one in saved)))
    return tuple(sorted(curves, key=lambda curve: (-curve.shares[-1], curve.operation)))


def _targets(trace: Trace, kinds: SpanKinds, known: Causes) -> dict[str, list[int]]:
    """Finds the operations of `trace` with their spans; model calls by phase where it is known."""
    found: dict[str, list[int]] = {}
    failed = {retry.failed for retry in retries(known.flow, kinds.calls)}
    for i, span in enumerate(trace.spans):
        if span.category not in _PROFILED or (span.category == "llm" and kinds.calls[i] != i):
            continue
        if kinds.units[i] not in (i, NO_SPAN) and span.category in ("network", "other"):
            continue  # the wire below a call is that call's
        tried = span.category == "retry" or i in failed
        name = "retry" if tried else operation_of(trace, kinds, i)
        if not tried and span.category == "llm" and first_token_ns(trace, kinds, i) is not None:
            for phase in ("first_token", "generation"):
                found.setdefault(name.replace("llm:", f"llm.{phase}:", 1), []).append(i)
        else:
            found.setdefault(name, []).append(i)
    return found
