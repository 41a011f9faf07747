"""The time that a program took, beside the runs in it."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from causepath_analyzer.model import Trace


class ProgramTime(Struct, frozen=True):
    """The wall time of a program, which ``runs_ns``, ``before_ns``, ``between_ns`` and ``after_ns``
    add up to.

    ``interpreter_ns`` and ``imports_ns`` are parts of ``before_ns``: until Python ran the first
    code, and from then on until the first model SDK was imported. ``None``: not known.
    """

    wall_ns: int
    runs_ns: int
    before_ns: int
    between_ns: int
    after_ns: int
    interpreter_ns: int | None = None
    imports_ns: int | None = None
    exit_status: int = 0


def program_time(
    start_ns: int,
    end_ns: int,
    traces: Iterable[Trace],
    loaded_ns: int | None = None,
    imported_ns: int | None = None,
    exit_status: int = 0,
) -> ProgramTime:
    """Divides the time of a program that ran from `start_ns` to `end_ns` among its runs and what
    was around them; runs beside each other count once."""
    spent = sorted(
        (max(start_ns, trace.start_ns), min(end_ns, trace.end_ns))
        for trace in traces
        if trace.start_ns < end_ns and trace.end_ns > start_ns
    )
    runs_ns = _covered(spent)
    first_ns = spent[0][0] if spent else end_ns
    last_ns = max((end for _, end in spent), default=end_ns)
    interpreter_ns = imports_ns = None
    if loaded_ns is not None and start_ns <= loaded_ns <= first_ns:
        interpreter_ns = loaded_ns - start_ns
        if imported_ns is not None and loaded_ns <= imported_ns <= first_ns:
            imports_ns = imported_ns - loaded_ns
    return ProgramTime(
        wall_ns=end_ns - start_ns,
        runs_ns=runs_ns,
        before_ns=first_ns - start_ns,
        between_ns=last_ns - first_ns - runs_ns,
        after_ns=end_ns - last_ns,
        interpreter_ns=interpreter_ns,
        imports_ns=imports_ns,
        exit_status=exit_status,
    )


def _covered(intervals: Sequence[tuple[int, int]]) -> int:
    covered, until = 0, 0
    for start, end in intervals:
        if end > until:
            covered += end - max(start, until)
            until = end
    return covered
