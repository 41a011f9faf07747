"""The line on a program that ``causepath run`` has run, above the report on the runs in it."""

from collections.abc import Iterable

from rich.text import Text

from causepath_analyzer.analyses.program import ProgramTime
from causepath_analyzer.report.formatting import alike, duration

_SHORTEST_NS = 1_000_000


def program_text(time: ProgramTime) -> list[Text]:
    """Says where the time of a program went: "program 9.7s: runs 0.7s, 4s before the first"."""
    status = _ended(time.exit_status)
    parts = [f"runs {alike(time.runs_ns, time.wall_ns)}"]
    for length, where in (
        (time.before_ns, "before the first"),
        (time.between_ns, "between them"),
        (time.after_ns, "after the last"),
    ):
        if length >= _SHORTEST_NS:
            parts.append(f"{alike(length, time.wall_ns)} {where}")
    line = Text(f"program {duration(time.wall_ns)}{status}: ", style="title")
    line.append(", ".join(parts), style="plain")
    told = _told(
        time.wall_ns,
        (time.interpreter_ns, "to start Python"),
        (time.imports_ns, "to import the SDK"),
    )
    lines = [line]
    if told:
        lines.append(Text(f"  before the first run: {told}", style="note"))
    return lines


def _ended(status: int) -> str:
    if status > 128:
        return f" (signal {status - 128})"
    return f" (exit {status})" if status else ""


def _told(whole_ns: int, *parts: tuple[int | None, str]) -> str:
    return ", ".join(
        f"{alike(length, whole_ns)} {what}"
        for length, what in _known(parts)
        if length >= _SHORTEST_NS
    )


def _known(parts: Iterable[tuple[int | None, str]]) -> Iterable[tuple[int, str]]:
    return ((length, what) for length, what in parts if length is not None)
