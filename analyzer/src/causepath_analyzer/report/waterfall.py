"""One run as rows of bars over its wall time: what it waited for solid, the rest light."""

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from rich.cells import cell_len
from rich.text import Text

from causepath_analyzer.analyses.run_view import RunView
from causepath_analyzer.analyses.span_rows import Folded, ShownRow
from causepath_analyzer.model import Category, Span, Trace
from causepath_analyzer.report.formatting import alike, count, duration, fitted, harmless

_LABEL: Final = 25
_NOTE: Final = 10
_BESIDE: Final = 13
"""Columns that are neither label nor bar nor note."""
_DEPTH: Final = 4


class Marks(Struct, frozen=True):
    """The characters of bars: time on the path, time off it."""

    on: str
    off: str
    ascii_only: bool
    width: int = 80
    """Columns that there are."""

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


def waterfall(view: RunView, marks: Marks) -> list[Text]:
    """Draws the rows of `view`, and says below the scale what is folded."""
    trace = view.run.trace
    lines = [_row(row, trace, marks) for row in view.rows.rows]
    lines.append(_scale(trace, marks))
    if view.rows.folded.rows:
        lines.append(_folded(view.rows.folded, trace, marks))
    return lines


def _folded(folded: Folded, trace: Trace, marks: Marks) -> Text:
    """Says what is not shown: how many spans, how much of the path, and what they are called."""
    what = f"  {count(folded.rows, 'more span')} (--all shows them)"
    if folded.path_ns:
        what += f", {alike(folded.path_ns, trace.wall_ns)} of the path"
    each = [
        f"{number:,} {harmless(name, ascii_only=marks.ascii_only)}"
        for name, number in folded.labels.items()
    ]
    line = f"{what}: {', '.join(each[:_NAMED])}"
    if len(each) > _NAMED:
        line += ", ..."
    return Text(fitted(line, min(marks.width, cell_len(line))), style="note")


_NAMED: Final = 4


def lane(number: int | None) -> str:
    """Gives a finding the letter of its number: A, B, ... Z, then nothing."""
    return chr(ord("A") + number) if number is not None and number < 26 else ""


def _row(row: ShownRow, trace: Trace, marks: Marks) -> Text:
    span = row.span
    line = Text("  ")
    line.append(_label(row, marks))
    line.append(" |")
    for char, on_path in _bar(row, trace, marks):
        line.append(char, style=_style(span) if on_path else "off")
    line.append(f"|{alike(span.duration_ns, trace.wall_ns):>7} ")
    line.append(_note(row, marks), style="note" if span.error is None else "bad")
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


def _label(row: ShownRow, marks: Marks) -> str:
    indent = "  " * min(row.depth, _DEPTH)
    name = harmless(row.label, ascii_only=marks.ascii_only) or "(unnamed)"
    turn = row.span.model_call.turn if row.span.model_call is not None else None
    tail = f" #{turn}" if turn is not None else ""
    room = marks.label - len(indent) - len(tail)
    short = fitted(name, room) if cell_len(name) > room else name
    return fitted(indent + short + tail, marks.label)


def _note(row: ShownRow, marks: Marks) -> str:
    span, letter = row.span, lane(row.finding)
    notes = [letter] if letter else []
    if span.error is not None:
        notes.append(harmless(span.error, ascii_only=marks.ascii_only))
    elif span.exceeded:
        notes.append("over budget")
    elif span.model_call is not None and span.model_call.ttft_ns is not None:
        notes.append(f"TTFT {span.model_call.ttft_ns / 1e9:.2f}")
    elif span.tool_call is not None and span.tool_call.inferred:
        notes.append("at most")
    text = " ".join(notes)
    return fitted(text, marks.note).rstrip() if cell_len(text) > marks.note else text


def _bar(row: ShownRow, trace: Trace, marks: Marks) -> Sequence[tuple[str, bool]]:
    """Gives one character per cell, and whether it stands for time on the path."""
    span, width = row.span, marks.bar
    start, wall = trace.start_ns, max(1, trace.wall_ns)
    first = min(width - 1, (span.start_ns - start) * width // wall)
    last = min(width - 1, max(first, -(-(span.ended_ns - start) * width // wall) - 1))
    covered = [0] * width
    for begin, end in row.path:
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


def _scale(trace: Trace, marks: Marks) -> Text:
    total = duration(trace.wall_ns)
    legend = f"{marks.on} on the path  {marks.off} off"
    if len(legend) + len(total) + 6 > marks.bar:
        legend = f"{marks.on} path"
    line = Text(" " * (marks.label + 4))
    line.append("0s" + f"{legend:^{marks.bar - 2 - len(total)}}" + total, style="note")
    return line
