"""Stacks and their weights in nanoseconds, a line each: what flame graph tools read.

    research;chat claude-opus-5;generation 1250000000

The frames are the spans from the root down. Weighed by the critical path, all lines together are
the wall time; weighed by own time, they are what all spans took that none of their children did.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from causepath_analyzer.analyses.path.kinds import Kind
from causepath_analyzer.analyses.run import Run
from causepath_analyzer.analyses.span_rows import span_rows
from causepath_analyzer.model import NO_SPAN, Span, Trace

Weight = Literal["path", "own"]

UNCOVERED: Final = "(no span)"
_CUT: Final = "(...)"
_DEEPEST: Final = 128
"""Frames of a stack. No real trace is as deep, and a hostile one must not become its square."""
_PHASES: Final[frozenset[Kind]] = frozenset(("first_token", "generation"))
_BREAKS: Final = str.maketrans({";": ",", "\n": " ", "\r": " ", "\0": " ", "\u2028": " "})


def folded(runs: Iterable[Run], weight: Weight = "path") -> bytes:
    """The stacks of all `runs`, equal ones added up, in order of their names."""
    weights: dict[tuple[str, ...], int] = {}
    for run in runs:
        for stack, spent in _weighed(run, weight):
            weights[stack] = weights.get(stack, 0) + spent
    lines = (f"{';'.join(stack)} {spent}\n" for stack, spent in sorted(weights.items()) if spent)
    return "".join(lines).encode("utf-8", "replace")


def stack(
    trace: Trace, span: int, name_of: Callable[[Span], str] = lambda span: span.name
) -> tuple[str, ...]:
    """The names of `span` and of everything above it, the root first; the nearest of very many."""
    names: list[str] = []
    while span != NO_SPAN:
        if len(names) == _DEEPEST:
            names.append(_CUT)
            break
        names.append(frame(name_of(trace.spans[span])))
        span = trace.parents[span]
    return tuple(reversed(names))


def frame(name: str) -> str:
    """`name` as it can stand in a stack."""
    return name.translate(_BREAKS).strip() or "(unnamed)"


def _weighed(run: Run, weight: Weight) -> Sequence[tuple[tuple[str, ...], int]]:
    trace = run.trace
    if weight == "own":
        return [(stack(trace, i), row.own_ns) for i, row in enumerate(span_rows(run))]
    found = []
    for section in run.path.sections:
        spent = section.end_ns - section.start_ns
        if section.span == NO_SPAN:
            found.append(((UNCOVERED,), spent))
            continue
        frames = stack(trace, section.span)
        phase = (section.kind,) if section.kind in _PHASES else ()
        found.append(((*frames, *phase), spent))
    return found
