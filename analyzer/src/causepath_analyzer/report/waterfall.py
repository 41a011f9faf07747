"""One run as rows of bars over its wall time: what it waited for solid, the rest light."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from causepath_analyzer.analyses.run import Run
from causepath_analyzer.model import NO_SPAN, Category, Span
from causepath_analyzer.report.formatting import alike, count, duration, fitted, harmless, operation

ROWS: Final = 24
"""More rows nobody reads; what is left out is said."""
_LABEL: Final = 25
_NOTE: Final = 10
_BESIDE: Final = 13
"""Columns that are neither label nor bar nor note."""
_DEPTH: Final = 4
_CALLS: Final = ("llm", "tool", "retry", "agent")


class Marks(Struct, frozen=True):
    """The characters of bars: time on the path, time off it."""

    on: str
    off: str
    ascii_only: bool
    width: int = 80
    """Columns that there are."""
    every_row: bool = False
    """Nothing is folded, however many rows there are."""

    @property
    def label(self) -> int:
        return _LABEL + (self.width - 80) // 3

    @property
    def note(self) -> int:
        return _NOTE + max(0, (self.width - 80) // 6)

    @property
    def bar(self) -> int:
        return self.width - _BESIDE - self.label - self.note


BLOCKS: Final = Marks("█", "░", False)
ASCII: Final = Marks("#", "-", True)


def waterfall(run: Run, marks: Marks) -> list[Text]:
    """Draws at most `ROWS` rows in order of the tree, and says below the scale what is folded."""
    tree = _Tree(run)
    shown, hidden = _chosen(run, tree, every=marks.every_row)
    lanes = _lanes(run)
    depth = tree.depth_among(shown)
    lines = [_row(run, tree, i, depth[i], marks, lanes) for i in shown]
    lines.append(_scale(run, marks))
    if hidden:
        lines.append(_folded(run, tree, hidden, marks))
    return lines


def _folded(run: Run, tree: "_Tree", hidden: Sequence[int], marks: Marks) -> Text:
    """Says what is not shown: how many spans, how much of the path, and what they are called."""
    on_path = sum(tree.own_ns[i] for i in hidden)
    what = f"  {count(len(hidden), 'more span')} (--all shows them)"
    if on_path:
        what += f", {alike(on_path, run.trace.wall_ns)} of the path"
    names = Counter(operation(run.trace.spans[i].name) for i in hidden).most_common()
    each = [f"{number:,} {harmless(name, ascii_only=marks.ascii_only)}" for name, number in names]
    line = f"{what}: {', '.join(each[:_NAMED])}"
    if len(each) > _NAMED:
        line += ", ..."
    return Text(fitted(line, min(marks.width, cell_len(line))), style="note")


_NAMED: Final = 4


class _Tree:
    """The tree the path was walked in: order of display, depth, and time on the path."""

    def __init__(self, run: Run) -> None:
        parents = run.causes.parents
        spans = run.trace.spans
        children: list[list[int]] = [[] for _ in parents]
        waiting: list[int] = []
        for i in reversed(range(len(parents))):
            (children[parents[i]] if parents[i] != NO_SPAN else waiting).append(i)
        self.order: list[int] = []
        self.parents = parents
        while waiting:  # children are in reverse order of start, so that the first is on top
            i = waiting.pop()
            self.order.append(i)
            waiting.extend(children[i])
        place = {i: n for n, i in enumerate(self.order)}
        last = {i: place[i] for i in self.order}
        for i in reversed(self.order):
            if parents[i] != NO_SPAN:
                last[parents[i]] = max(last[parents[i]], last[i])
        self._place, self._last = place, last
        self._sections = [s for s in run.path.sections if s.span != NO_SPAN]
        self.own_ns = [0] * len(spans)
        for section in self._sections:
            self.own_ns[section.span] += section.end_ns - section.start_ns

    def depth_among(self, shown: Sequence[int]) -> dict[int, int]:
        """Counts for each span in `shown` how many of the others it lies below."""
        depth: dict[int, int] = {}
        inside = [-1] * len(self.parents)  # depth of the innermost shown span around
        visible = set(shown)
        for i in self.order:
            parent = self.parents[i]
            around = inside[parent] if parent != NO_SPAN else -1
            inside[i] = around
            if i in visible:
                inside[i] = depth[i] = around + 1
        return depth

    def on_path(self, span: int) -> list[tuple[int, int]]:
        """Finds when the path was in `span` or below it: stretches in ns."""
        first, last = self._place[span], self._last[span]
        return [
            (s.start_ns, s.end_ns) for s in self._sections if first <= self._place[s.span] <= last
        ]


def _chosen(run: Run, tree: _Tree, *, every: bool) -> tuple[list[int], list[int]]:
    """The spans to show, in order of display, and those to hide."""
    trace = run.trace
    candidates = tree.order
    if len(trace.roots) == 1 and len(trace.spans) > 1:
        candidates = candidates[1:]  # the root is in the headline
    if every or len(candidates) <= ROWS:
        return candidates, []
    # Wrappers that only wait for what is below them say nothing of their own.
    noticeable = trace.wall_ns // 200
    weight = {
        i: (
            tree.own_ns[i] >= noticeable or trace.spans[i].category in _CALLS,
            tree.own_ns[i],
            trace.spans[i].duration_ns,
            -i,
        )
        for i in candidates
        if tree.own_ns[i] >= noticeable
        or trace.spans[i].category in _CALLS
        or (not trace.children[i] and trace.spans[i].duration_ns >= noticeable)
    }
    best = set(sorted(weight, key=weight.__getitem__, reverse=True)[:ROWS])
    return [i for i in candidates if i in best], [i for i in candidates if i not in best]


def _lanes(run: Run) -> dict[int, str]:
    """A letter for every span that a finding is about, as in the list of opportunities."""
    return {
        span: lane(number) for number, finding in enumerate(run.findings) for span in finding.spans
    }


def lane(number: int) -> str:
    """A, B, ... Z, then nothing."""
    return chr(ord("A") + number) if number < 26 else ""


def _row(run: Run, tree: _Tree, i: int, depth: int, marks: Marks, lanes: dict[int, str]) -> Text:
    span = run.trace.spans[i]
    indent = "  " * min(depth, _DEPTH)
    line = Text("  ")
    line.append(_label(span, indent, marks))
    line.append(" |")
    for char, on_path in _bar(run, span, tree.on_path(i), marks):
        line.append(char, style=_style(span) if on_path else "off")
    line.append(f"|{alike(span.duration_ns, run.trace.wall_ns):>7} ")
    line.append(_note(span, lanes.get(i, ""), marks), style="note" if span.error is None else "bad")
    line.rstrip()
    return line


_STYLES: Final[Mapping[Category, str]] = {
    "llm": "model",
    "tool": "tool",
    "retrieval": "tool",
    "retry": "bad",
}


def _style(span: Span) -> str:
    return "bad" if span.error is not None else _STYLES.get(span.category, "path")


def _label(span: Span, indent: str, marks: Marks) -> str:
    tool = span.tool_call.name if span.tool_call is not None else None
    said = span.name if tool is None or tool in span.name else f"tool {tool}"
    name = harmless(operation(said), ascii_only=marks.ascii_only) or "(unnamed)"
    turn = span.model_call.turn if span.model_call is not None else None
    tail = f" #{turn}" if turn is not None else ""
    room = marks.label - len(indent) - len(tail)
    short = fitted(name, room) if cell_len(name) > room else name
    return fitted(indent + short + tail, marks.label)


def _note(span: Span, letter: str, marks: Marks) -> str:
    notes = [letter] if letter else []
    if span.error is not None:
        notes.append(harmless(span.error, ascii_only=marks.ascii_only))
    elif span.model_call is not None and span.model_call.ttft_ns is not None:
        notes.append(f"TTFT {span.model_call.ttft_ns / 1e9:.2f}")
    elif span.tool_call is not None and span.tool_call.inferred:
        notes.append("at most")
    text = " ".join(notes)
    return fitted(text, marks.note).rstrip() if cell_len(text) > marks.note else text


def _bar(
    run: Run, span: Span, on_path: Sequence[tuple[int, int]], marks: Marks
) -> list[tuple[str, bool]]:
    """Gives one character per cell, and whether it stands for time on the path."""
    width = marks.bar
    start, wall = run.trace.start_ns, max(1, run.trace.wall_ns)
    first = min(width - 1, (span.start_ns - start) * width // wall)
    last = min(width - 1, max(first, -(-(span.ended_ns - start) * width // wall) - 1))
    covered = [0] * width
    for begin, end in on_path:
        cell = min(width - 1, (begin - start) * width // wall)
        while cell < width and start + cell * wall // width < end:
            left = max(begin, start + cell * wall // width)
            covered[cell] += max(0, min(end, start + (cell + 1) * wall // width) - left)
            cell += 1
    cells = []
    for cell in range(width):
        if not first <= cell <= last:
            cells.append((" ", False))
            continue
        left = max(span.start_ns, start + cell * wall // width)
        right = min(span.ended_ns, start + (cell + 1) * wall // width)
        on = covered[cell] > 0 and 2 * covered[cell] >= right - left
        cells.append((marks.on if on else marks.off, on))
    return cells


def _scale(run: Run, marks: Marks) -> Text:
    total = duration(run.trace.wall_ns)
    legend = f"{marks.on} on the path  {marks.off} off"
    if len(legend) + len(total) + 6 > marks.bar:
        legend = f"{marks.on} path"
    line = Text(" " * (marks.label + 4))
    line.append("0s" + f"{legend:^{marks.bar - 2 - len(total)}}" + total, style="note")
    return line
