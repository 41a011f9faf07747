"""The spans of a run as rows, with what the analyses say about each: for reports and exports.

Exports have a row for each span, in the order of the trace. Reports show them as a tree, the one in
which the critical path was walked, and fold what says little.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from causepath_analyzer.analyses.findings.rule import Finding
from causepath_analyzer.analyses.path.critical_path import Section
from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN, Span

MOST_ROWS: Final = 24
"""More rows nobody reads; what is left out is said."""
_CALLS: Final = ("llm", "tool", "retry", "agent")
_NOTICEABLE: Final = 200
"""What took less than this part of the wall is not worth a row, unless it is a call."""


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


class ShownRow(Struct, frozen=True):
    """A row of the tree in which the path was walked.

    ``depth`` counts the shown rows that it lies below. ``path`` are the stretches of time, in ns,
    in which the path was in the span or below it. ``finding`` is the number of a finding about it,
    in the order of the run's.
    """

    span: Span
    label: str
    depth: int
    kind: Kind
    path_ns: int
    path: tuple[tuple[int, int], ...]
    finding: int | None


class Folded(Struct, frozen=True):
    """The rows that are not shown: their number, their time on the path, and how many have which
    label, the most frequent first."""

    rows: int
    path_ns: int
    labels: Mapping[str, int]


class ShownRows(Struct, frozen=True):
    """The rows to show, in order of display, and those that are left out."""

    rows: tuple[ShownRow, ...]
    folded: Folded


NO_ROWS: Final = ShownRows((), Folded(0, 0, {}))


def span_rows(run: Run) -> tuple[SpanRow, ...]:
    """Makes the rows of the spans of `run`, in their order."""
    trace = run.trace
    spans, parents = trace.spans, trace.parents
    sections = _sections(run)
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
            path_ns=_length_ns(sections[i]),
            own_ns=_own_ns(span, [spans[c] for c in trace.children[i]]),
            sections=tuple(sections[i]),
            codes=tuple(codes[i]),
            first_of=tuple(first_of[i]),
        )
        for i, span in enumerate(spans)
    )


def shown_rows(run: Run, most: int | None = MOST_ROWS) -> ShownRows:
    """Makes at most so many rows of `run` for people to read, in order of the tree in which its
    path was walked; all of them with ``None``."""
    spans = run.trace.spans
    tree = _Tree(run.causes.parents)
    sections = _sections(run)
    path_ns = [_length_ns(own) for own in sections]
    shown = _chosen(run, tree, path_ns, most)
    depths = tree.depth_among(shown)
    finding: dict[int, int] = {}
    for number, one in enumerate(run.findings):  # the one that saves most has the letter
        for i in one.spans:
            finding.setdefault(i, number)
    visible = set(shown)
    hidden = [i for i in _candidates(run, tree) if i not in visible]
    return ShownRows(
        tuple(
            ShownRow(
                span=spans[i],
                label=label(spans[i]),
                depth=depths[i],
                kind=_main_kind(sections[i]) or run.kinds.own[i],
                path_ns=path_ns[i],
                path=tuple(
                    (s.start_ns, s.end_ns)
                    for s in run.path.sections
                    if s.span != NO_SPAN and tree.is_below(s.span, i)
                ),
                finding=finding.get(i),
            )
            for i in shown
        ),
        Folded(
            len(hidden),
            sum(path_ns[i] for i in hidden),
            dict(Counter(operation(spans[i].name) for i in hidden).most_common()),
        ),
    )


def label(span: Span) -> str:
    """Names `span` as people know it: a tool by its own name."""
    tool = span.tool_call.name if span.tool_call is not None else None
    return operation(span.name if tool is None or tool in span.name else f"tool {tool}")


def operation(name: str) -> str:
    """Leaves of the span name `name` what people know: of "execute_tool x" that is "tool x"."""
    return name.removeprefix("execute_") if name.startswith("execute_tool ") else name


class _Tree:
    """A tree of spans: their order of display, and which lies below which."""

    def __init__(self, parents: Sequence[int]) -> None:
        children: list[list[int]] = [[] for _ in parents]
        waiting: list[int] = []
        for i in reversed(range(len(parents))):
            (children[parents[i]] if parents[i] != NO_SPAN else waiting).append(i)
        self.order: list[int] = []
        self._parents = parents
        while waiting:  # children are in reverse order of start, so that the first is on top
            i = waiting.pop()
            self.order.append(i)
            waiting.extend(children[i])
        self._place = {i: n for n, i in enumerate(self.order)}
        self._last = dict(self._place)
        for i in reversed(self.order):
            if parents[i] != NO_SPAN:
                self._last[parents[i]] = max(self._last[parents[i]], self._last[i])

    def is_below(self, span: int, other: int) -> bool:
        """Tells whether `span` is `other` or lies below it."""
        return self._place[other] <= self._place[span] <= self._last[other]

    def depth_among(self, shown: Sequence[int]) -> dict[int, int]:
        """Counts for each span in `shown` how many of the others it lies below."""
        depth: dict[int, int] = {}
        inside = [-1] * len(self._parents)  # depth of the innermost shown span around
        visible = set(shown)
        for i in self.order:
            parent = self._parents[i]
            around = inside[parent] if parent != NO_SPAN else -1
            inside[i] = around
            if i in visible:
                inside[i] = depth[i] = around + 1
        return depth


def _candidates(run: Run, tree: _Tree) -> Sequence[int]:
    """Lists the spans that may have a row: a single root is in the headline."""
    has_headline = len(run.trace.roots) == 1 and len(run.trace.spans) > 1
    return tree.order[1:] if has_headline else tree.order


def _chosen(run: Run, tree: _Tree, path_ns: Sequence[int], most: int | None) -> Sequence[int]:
    """Picks the spans to show, in order of display."""
    trace = run.trace
    candidates = _candidates(run, tree)
    if most is None or len(candidates) <= most:
        return candidates
    # Wrappers that only wait for what is below them say nothing of their own.
    noticeable = trace.wall_ns // _NOTICEABLE
    weight = {
        i: (
            path_ns[i] >= noticeable or trace.spans[i].category in _CALLS,
            path_ns[i],
            trace.spans[i].duration_ns,
            -i,
        )
        for i in candidates
        if path_ns[i] >= noticeable
        or trace.spans[i].category in _CALLS
        or (not trace.children[i] and trace.spans[i].duration_ns >= noticeable)
    }
    best = set(sorted(weight, key=weight.__getitem__, reverse=True)[:most])
    return [i for i in candidates if i in best]


def _sections(run: Run) -> Sequence[Sequence[Section]]:
    """Lists the sections of the path that are in each span itself."""
    found: list[list[Section]] = [[] for _ in run.trace.spans]
    for section in run.path.sections:
        if section.span != NO_SPAN:
            found[section.span].append(section)
    return found


def _length_ns(sections: Sequence[Section]) -> int:
    return sum(s.end_ns - s.start_ns for s in sections)


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
