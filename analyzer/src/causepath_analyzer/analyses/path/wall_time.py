"""Where the wall time went: the critical path by kind, which adds up to the wall exactly."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.path.critical_path import CriticalPath, generated_until_ns
from causepath_analyzer.analyses.path.kinds import KINDS, Kind, SpanKinds
from causepath_analyzer.model import CATEGORIES, NO_SPAN, Category, Trace


class WallTime(Struct, frozen=True):
    """All times in ns.

    ``path`` is wall time by kind, most first. ``sums`` are the plain sums of the durations of the
    spans of each category, without spans inside one of the same category; they may exceed the
    wall. A tool's time leaves out the wait for a person in it. ``kind_sums`` are the same by kind,
    without spans inside one of the same kind, model calls split at their first token.
    """

    path: Mapping[Kind, int]
    sums: Mapping[Category, int]
    kind_sums: Mapping[Kind, int]


def wall_time(trace: Trace, kinds: SpanKinds, path: CriticalPath) -> WallTime:
    """Divides the wall time of `trace` by what it was spent on."""
    on_path: dict[Kind, int] = {}
    for section in path.sections:
        spent = section.end_ns - section.start_ns
        on_path[section.kind] = on_path.get(section.kind, 0) + spent
    sums, kind_sums = _sums(trace, kinds)
    return WallTime(
        dict(sorted(on_path.items(), key=lambda item: -item[1])),
        dict(sorted(sums.items(), key=lambda item: -item[1])),
        kind_sums,
    )


def _sums(trace: Trace, kinds: SpanKinds) -> tuple[dict[Category, int], dict[Kind, int]]:
    sums: dict[Category, int] = {}
    kind_sums: dict[Kind, int] = {}
    spans, parents, own = trace.spans, trace.parents, kinds.own
    # Which categories are open above a span, as bits: a category is counted at its top only. So is
    # a kind: what an internal step of a tool took is in what the tool took.
    above = [0] * len(spans)
    kinds_above = [0] * len(spans)
    for i in kinds.top_down:
        span, parent = spans[i], parents[i]
        category = span.category
        bit = _BITS[category]
        kind_bit = _KIND_BITS[own[i]]
        seen = kinds_seen = 0
        if parent != NO_SPAN:
            seen, kinds_seen = above[parent], kinds_above[parent]
        above[i], kinds_above[i] = seen | bit, kinds_seen | kind_bit
        if seen & bit:
            continue
        spent = (span.end_ns or 0) - span.start_ns
        if category == "chain":
            category = "agent"
        sums[category] = sums.get(category, 0) + spent
        if category == "llm":
            until_ns = generated_until_ns(trace, i)
            ttft_ns = span.model_call.ttft_ns if span.model_call is not None else None
            generated = spent if until_ns is None else min(until_ns - span.start_ns, spent)
            generated = max(generated, min(ttft_ns or 0, spent))
            _split(ttft_ns, generated, kind_sums)
            if generated < spent:
                kind_sums["agent"] = kind_sums.get("agent", 0) + spent - generated
        else:
            kind = own[i]
            if kind != "llm" and not kinds_seen & kind_bit:
                kind_sums[kind] = kind_sums.get(kind, 0) + spent
            if category == "human" and seen & _BITS["tool"]:
                # The tool could not begin before the person had answered.
                sums["tool"] -= spent
                kind_sums["tool"] -= spent
    return sums, kind_sums


# Framework steps are the agent's; a twin or an attempt is the model call's.
_BITS: Final[dict[Category, int]] = {
    category: 1 << place for place, category in enumerate(CATEGORIES)
}
_BITS["chain"] = _BITS["agent"]
_KIND_BITS: Final[dict[Kind, int]] = {kind: 1 << place for place, kind in enumerate(KINDS)}


def _split(ttft_ns: int | None, spent_ns: int, sums: dict[Kind, int]) -> None:
    if ttft_ns is None:
        sums["llm"] = sums.get("llm", 0) + spent_ns
    else:
        waited_ns = min(ttft_ns, spent_ns)
        sums["first_token"] = sums.get("first_token", 0) + waited_ns
        sums["generation"] = sums.get("generation", 0) + spent_ns - waited_ns
