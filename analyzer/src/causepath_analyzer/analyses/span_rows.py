"""One row for each span: what the analysis of its run says about it."""

from collections.abc import Sequence

from msgspec import Struct

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.path.critical_path import Section
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN, Span


class SpanRow(Struct, frozen=True):
    """A span, its place in the repaired tree, and its part of the critical path.

    ``path_ns`` is the time that the run waited for the span itself, ``own_ns`` the time in which
    none of its children ran. ``kind`` is what most of its time on the path was, or, off the path,
    what its own time is. ``first_of`` are the findings whose first span this is.
    """

    span: Span
    parent_id: str
    depth: int
    kind: Kind
    path_ns: int
    own_ns: int
    sections: tuple[Section, ...]
    codes: tuple[str, ...]
    first_of: tuple[Finding, ...]

    @property
    def on_path(self) -> bool:
        return bool(self.sections)


def span_rows(run: Run) -> tuple[SpanRow, ...]:
    """Makes the rows of the spans of `run`, in their order."""
    trace = run.trace
    spans, parents = trace.spans, trace.parents
    sections: list[list[Section]] = [[] for _ in spans]
    for section in run.path.sections:
        if section.span != NO_SPAN:
            sections[section.span].append(section)
    codes: list[list[str]] = [[] for _ in spans]
    first_of: list[list[Finding]] = [[] for _ in spans]
    for finding in run.findings:
        for number, i in enumerate(finding.spans):
            if finding.code not in codes[i]:
                codes[i].append(finding.code)
            if number == 0:
                first_of[i].append(finding)
    depths = [0] * len(spans)
    for i in trace.top_down():
        if parents[i] != NO_SPAN:
            depths[i] = depths[parents[i]] + 1
    return tuple(
        SpanRow(
            span=span,
            parent_id="" if parents[i] == NO_SPAN else spans[parents[i]].span_id,
            depth=depths[i],
            kind=_main_kind(sections[i]) or run.kinds.own[i],
            path_ns=sum(s.end_ns - s.start_ns for s in sections[i]),
            own_ns=_own_ns(span, [spans[c] for c in trace.children[i]]),
            sections=tuple(sections[i]),
            codes=tuple(codes[i]),
            first_of=tuple(first_of[i]),
        )
        for i, span in enumerate(spans)
    )


def _main_kind(sections: Sequence[Section]) -> Kind | None:
    spent: dict[Kind, int] = {}
    for section in sections:
        spent[section.kind] = spent.get(section.kind, 0) + section.end_ns - section.start_ns
    return max(spent.items(), key=lambda entry: entry[1])[0] if spent else None


def _own_ns(span: Span, children: Sequence[Span]) -> int:
    """Measures the part of `span` that none of `children`, which are in order of their start,
    covers."""
    own, at = 0, span.start_ns
    for child in children:
        start, end = max(child.start_ns, at), min(child.ended_ns, span.ended_ns)
        own += max(0, min(start, span.ended_ns) - at)
        at = max(at, end)
    return own + max(0, span.ended_ns - at)
