"""From what the user named to traces: open, recognise, read, group by trace, repair."""

import gc
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.errors import CausepathError, NoTracesError, UnreadableInputError
from causepath_analyzer.model import Input, Skipped, Span, Trace
from causepath_analyzer.read.format import Repeats
from causepath_analyzer.read.recognise import DEFAULTS, FORMATS, GATHERED, Options, Recogniser
from causepath_analyzer.read.source import files, open_source
from causepath_analyzer.read.tree import build

__all__ = [
    "FORMATS",
    "Options",
    "Progress",
    "Reading",
    "SpansByTrace",
    "read",
    "read_stream",
    "traces",
]

_MOST_SKIPPED: Final = 1000


class Reading(Struct, frozen=True):
    """Traces in order of their start, and where they came from."""

    inputs: tuple[Input, ...]
    traces: tuple[Trace, ...]


SpansByTrace = dict[str, list[Span]]
Progress = Callable[[str, int], None]
"""Called now and then with the path being read and the number of spans found in it so far."""


def read(
    paths: Sequence[str], progress: Progress | None = None, options: Options = DEFAULTS
) -> Reading:
    """Reads every file in `paths` (``-`` is standard input; folders are gone through).

    What cannot be read is told in the inputs, not raised. Only if there is no span at all, the
    most serious problem is raised.
    """
    spans: SpansByTrace = {}
    inputs: list[Input] = []
    for path in paths:
        found = [_read_file(file, spans, progress, options) for file in files(path)]
        inputs.extend(found or [Input(path, None, 0, problem=_no_files(path))])
    return traces(inputs, spans)


def traces(inputs: Sequence[Input], spans: SpansByTrace) -> Reading:
    """The traces of `spans`. Raises the most serious problem of `inputs` if there is none."""
    if not spans:
        problems = [entry.problem for entry in inputs if entry.problem is not None]
        unreadable = (p for p in problems if isinstance(p, UnreadableInputError))
        raise next(unreadable, problems[0] if problems else NoTracesError("no input"))
    repeats = {name: told for row in GATHERED for name, told in row.settle(spans).items()}
    # Spans live to the end and are never part of a cycle: collecting meanwhile only costs time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        built = sorted(map(build, spans.values()), key=lambda t: (t.start_ns, t.trace_id))
    finally:
        if collecting:
            gc.enable()
    if repeats:
        built = [_told(trace, repeats.get(trace.trace_id)) for trace in built]
    return Reading(tuple(inputs), tuple(built))


def _told(trace: Trace, repeats: Repeats | None) -> Trace:
    """`trace`, whose health tells of `repeats`."""
    if repeats is None:
        return trace
    health = trace.health
    return replace(
        trace,
        health=replace(
            health,
            duplicates=health.duplicates + repeats.records,
            notes=(*health.notes, repeats.note),
        ),
    )


def _read_file(
    path: str, spans: SpansByTrace, progress: Progress | None, options: Options
) -> Input:
    try:
        stream = open_source(path, options.max_bytes)
    except UnreadableInputError as error:
        return Input(path, None, 0, problem=error)
    with stream:
        return read_stream(path, stream, spans, progress, options)


def read_stream(
    path: str,
    stream: BinaryIO,
    spans: SpansByTrace,
    progress: Progress | None = None,
    options: Options = DEFAULTS,
) -> Input:
    """Adds the spans in `stream` to `spans`. `path` only says what it is called in messages."""
    reader = Recogniser(stream, options)
    count = total = 0
    skipped: list[Skipped] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for batch in reader.found():
            for found in batch:
                if isinstance(found, Span):
                    trace = spans.get(found.trace_id)
                    if trace is None:
                        spans[found.trace_id] = [found]
                    else:
                        trace.append(found)
                    count += 1
                else:
                    total += 1
                    if total <= _MOST_SKIPPED:
                        skipped.append(found)
            if progress is not None:
                progress(path, count)
    finally:
        if collecting:
            gc.enable()
    problem = None if count else _no_spans(path, reader, skipped)
    return Input(path, reader.format, count, tuple(skipped), total, problem)


def _no_files(path: str) -> CausepathError:
    return NoTracesError(f"{path}: a folder without files")


def _no_spans(path: str, reader: Recogniser, skipped: Sequence[Skipped]) -> CausepathError:
    """Why nothing came out of a file that could be opened."""
    if reader.is_empty and not skipped:
        return NoTracesError(f"{path}: empty")
    if skipped:
        # What is wrong with the file explains what is wrong in it.
        first = reader.lost[0] if reader.lost else skipped[0]
        kind = NoTracesError if reader.is_json or reader.format else UnreadableInputError
        return kind(f"{path}:{_short(first.where)}: {first.why}")
    what = ", ".join(sorted(reader.signals)) or "a trace file without a span"
    return NoTracesError(f"{path}: {what}")


def _short(where: str) -> str:
    """ "line 2" as it stands after a file name and a colon."""
    return where.removeprefix("line ")
