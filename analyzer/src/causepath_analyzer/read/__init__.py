"""From what the user named to traces: open, recognise, read, group by trace, repair."""

import gc
import io
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Final

from msgspec import Struct
from msgspec.structs import replace

from causepath_analyzer.attributes import COPY_SCOPE
from causepath_analyzer.errors import (
    CausepathError,
    NoTracesError,
    UnreadableInputError,
    UsageError,
)
from causepath_analyzer.model import Input, Skipped, Span, Trace
from causepath_analyzer.read.format import Repeats
from causepath_analyzer.read.formats.recognise import (
    DEFAULTS,
    FORMATS,
    Options,
    Recogniser,
    gathered_so_far,
)
from causepath_analyzer.read.input.archives import files_in, is_archive
from causepath_analyzer.read.input.source import (
    STDIN,
    files,
    lost,
    open_source,
    unpacked,
    what_is_in,
)
from causepath_analyzer.read.meaning.asked import asking
from causepath_analyzer.read.tree import joined_traces
from causepath_analyzer.read.tree.build import NOT_JOINED, build
from causepath_analyzer.server_request import is_address

__all__ = [
    "FORMATS",
    "Keep",
    "MOST_SKIPPED",
    "Options",
    "Progress",
    "Reading",
    "SpansByTrace",
    "built",
    "read",
    "read_file",
    "read_stream",
    "traces",
]

MOST_SKIPPED: Final = 1000


class Reading(Struct, frozen=True):
    """Traces in order of their start, and where they came from."""

    inputs: tuple[Input, ...]
    traces: tuple[Trace, ...]


SpansByTrace = dict[str, list[Span]]
Progress = Callable[[str, int], None]
"""Called now and then with the path being read and the number of spans found in it so far."""


Keep = Callable[[str | None, bytes], None]
"""Called with the format and the unpacked bytes of every input that was read."""


def read(
    paths: Sequence[str],
    progress: Progress | None = None,
    options: Options = DEFAULTS,
    keep: Keep | None = None,
) -> Reading:
    """Reads every file in `paths` (``-`` is standard input; folders are gone through; an address
    is asked for what ``options.wanted`` says).

    `keep` is given what was read. What cannot be read is told in the inputs, not raised. Only if
    there is no span at all, the most serious problem is raised.
    """
    spans: SpansByTrace = {}
    inputs: list[Input] = []
    for path in paths:
        if is_address(path):
            inputs.append(_read_server(path, spans, progress, options, keep))
            continue
        found = [read_file(file, spans, progress, options, keep) for file in files(path)]
        inputs.extend(found or [Input(path, None, 0, problem=_no_files(path))])
    return traces(inputs, spans)


def traces(inputs: Sequence[Input], spans: SpansByTrace) -> Reading:
    """The traces of `spans`, of which some may be one run, with what they say of each other. Raises
    the most serious problem of `inputs` if there is none."""
    causes = joined_traces.causes_of(spans)
    found = joined_traces.NO_JOINS
    if causes:
        here = joined_traces.involved(causes, spans)
        found = joined_traces.joins(causes, {i: joined_traces.side_of(spans[i]) for i in here})
    reading = built(inputs, spans, found.lead)
    left = joined_traces.loose(reading.traces)
    named = found.named | joined_traces.handing_on(left.parts)
    parents = joined_traces.holders(reading.traces, left.absent)
    if not named and not parents:
        return reading
    told = tuple([joined_traces.told(trace, named, parents) for trace in reading.traces])
    return replace(reading, traces=told)


def built(inputs: Sequence[Input], spans: SpansByTrace, lead: Mapping[str, str]) -> Reading:
    """The trace of each of `spans` by itself, or with what `lead` says that it is one run with."""
    if not spans:
        problems = [entry.problem for entry in inputs if entry.problem is not None]
        unreadable = (p for p in problems if isinstance(p, UnreadableInputError))
        raise next(unreadable, problems[0] if problems else NoTracesError("no input"))
    repeats = {name: told for row in gathered_so_far() for name, told in row.settle(spans).items()}
    parts = joined_traces.join(spans, lead) if lead else {}
    # Spans live to the end and are never part of a cycle: collecting meanwhile only costs time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        every = (
            build(own, parts[trace_id].origins if trace_id in parts else NOT_JOINED)
            for trace_id, own in spans.items()
        )
        found = sorted(every, key=lambda t: (t.start_ns, t.trace_id))
    finally:
        if collecting:
            gc.enable()
    if any(map(_only_creates, found)) and not all(map(_only_creates, found)):
        runs = [trace for trace in found if not _only_creates(trace)]
        inputs, found = _left_out(inputs, len(found) - len(runs)), runs
    if parts:
        found = [
            _of_parts(trace, parts[trace.trace_id].others) if trace.trace_id in parts else trace
            for trace in found
        ]
    if repeats:
        found = [_told(trace, repeats.get(trace.trace_id)) for trace in found]
    partial = dict(told for entry in inputs for told in entry.partial)
    if partial:
        found = [_incomplete(trace, partial.get(trace.trace_id)) for trace in found]
    return Reading(tuple(inputs), tuple(found))


def _of_parts(trace: Trace, others: tuple[str, ...]) -> Trace:
    """`trace`, which is made of several."""
    note = f"one run in {len(others) + 1} traces, as its links say: they are read as one"
    health = replace(trace.health, notes=(*trace.health.notes, note))
    return replace(trace, joined=others, health=health)


def _only_creates(trace: Trace) -> bool:
    """Tells whether nothing happens in `trace` but that agents or tracing are made ready: no
    run."""
    return all(span.name.startswith(_CREATES) for span in trace.spans)


_CREATES: Final = ("create_agent ", "haystack.tracing.auto_enable")


def _left_out(inputs: Sequence[Input], count: int) -> Sequence[Input]:
    """`inputs`, of which the first that gave spans says how many traces of all are no runs."""
    first = next((i for i, entry in enumerate(inputs) if entry.spans), None)
    if first is None:
        return inputs
    among = " of all inputs" if len(inputs) > 1 else ""
    left = f"{count} trace{'s' if count > 1 else ''}{among} left out: only set-up, nothing runs"
    noted = replace(inputs[first], notes=(*inputs[first].notes, left))
    return (*inputs[:first], noted, *inputs[first + 1 :])


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


def _incomplete(trace: Trace, why: str | None) -> Trace:
    """`trace` with a note on what is missing, if anything is."""
    if why is None:
        return trace
    notes = (*trace.health.notes, f"a part of this trace is missing: {why}")
    return replace(trace, health=replace(trace.health, notes=notes))


def read_file(
    path: str,
    spans: SpansByTrace,
    progress: Progress | None,
    options: Options,
    keep: Keep | None = None,
) -> Input:
    """Adds the spans in the file `path` to `spans`."""
    try:
        stream = open_source(path, options.max_bytes)
    except UnreadableInputError as error:
        return Input(path, None, 0, problem=error)
    with stream:
        if isinstance(stream, io.BufferedReader) and is_archive(stream):
            return _read_archive(path, stream, spans, progress, options, keep)
        if keep is None:
            return read_stream(path, stream, spans, progress, options)
        if path == STDIN:  # which can be read only once
            data = what_is_in(stream)
            with io.BufferedReader(io.BytesIO(data)) as kept:
                entry = read_stream(path, kept, spans, progress, options)
            keep(entry.format, data)
            missing = lost(stream)
            return replace(
                entry,
                skipped=(*entry.skipped, *missing),
                skipped_total=entry.skipped_total + len(missing),
            )
        entry = read_stream(path, stream, spans, progress, options)
    with open_source(path, options.max_bytes) as again:
        keep(entry.format, what_is_in(again))
    return entry


def _read_archive(
    path: str,
    stream: io.BufferedReader,
    spans: SpansByTrace,
    progress: Progress | None,
    options: Options,
    keep: Keep | None,
) -> Input:
    """Adds the spans of every file in an archive; what is no trace there is a note."""
    count = total = 0
    skipped: list[Skipped] = []
    notes: list[str] = []
    attributes: set[str] = set()
    format_name: str | None = None

    for found in files_in(stream, options.max_bytes):
        if isinstance(found, Skipped):
            skipped.append(found)
            total += 1
            continue
        where, inside = f"{path}:{found.name}", found.stream
        if keep is not None:
            inside = io.BufferedReader(io.BytesIO(data := what_is_in(found.stream)))
        entry = read_stream(where, inside, spans, None, options)
        if keep is not None:
            keep(entry.format, data)
        count += entry.spans
        attributes.update(entry.attributes)
        format_name = format_name or entry.format
        missing = list(entry.skipped)
        for source in {id(s): s for s in (found.stream, found.packed)}.values():
            missing += [one for one in lost(source) if one not in missing]
        if entry.problem is not None and not entry.unread:
            notes.append(str(entry.problem).removeprefix(f"{path}:"))
            missing, entry = [], replace(entry, skipped=(), skipped_total=0)
        elif entry.problem is not None and not missing:
            missing = [Skipped("end", str(entry.problem).removeprefix(f"{where}: "))]
        skipped += [
            Skipped(f"{found.name}:{_short(one.where)}", one.why, one.unfinished) for one in missing
        ]
        total += max(entry.skipped_total, len(missing))
        if progress is not None:
            progress(path, count)
    gone = lost(stream)
    skipped += gone
    total += len(gone)
    problem: CausepathError | None = None
    if not count:
        if skipped:
            first = skipped[0]
            problem = UnreadableInputError(f"{path}:{_short(first.where)}: {first.why}")
        else:
            told = f" ({notes[0]})" if notes else ""
            problem = NoTracesError(f"{path}: an archive without a trace{told}")
    most = tuple(skipped[:MOST_SKIPPED])
    names = tuple(sorted(attributes))
    return Input(path, format_name, count, most, total, problem, tuple(notes), (), names)


def _read_server(
    address: str,
    spans: SpansByTrace,
    progress: Progress | None,
    options: Options,
    keep: Keep | None,
) -> Input:
    """Raises `UsageError` where it has to be said what is wanted of the server."""
    from causepath_analyzer.read.input.servers import (  # readers of files need not wait
        Note,
        documents,
    )

    count = total = 0
    skipped: list[Skipped] = []
    notes: list[str] = []
    partial: list[tuple[str, str]] = []
    attributes: set[str] = set()
    format_name: str | None = None
    problem: CausepathError | None = None

    def heard() -> None:
        if progress is not None:
            progress(address, count)

    try:
        for found in documents(address, options.wanted, options.max_bytes, heard):
            if isinstance(found, Note):
                notes.append(found.text)
                continue
            if isinstance(found, Skipped):
                skipped.append(found)
                total += 1
                continue
            with unpacked(io.BufferedReader(io.BytesIO(found.data)), options.max_bytes) as stream:
                entry = read_stream(found.where, stream, spans, None, options)
            if keep is not None:
                keep(entry.format, found.data)
            count += entry.spans
            attributes.update(entry.attributes)
            total += entry.skipped_total
            skipped += [Skipped(found.where, one.why) for one in entry.skipped]
            format_name = format_name or entry.format
            problem = problem or entry.problem
            if entry.skipped and found.trace_id is not None:
                partial.append((found.trace_id, entry.skipped[0].why))
            heard()
    except UsageError:
        raise
    except CausepathError as error:
        problem = error
    if count:
        problem = None
    elif problem is not None and not str(problem).startswith(address[:8]):
        problem = type(problem)(f"{address}: {problem}")
    return Input(
        address,
        format_name,
        count,
        tuple(skipped[:MOST_SKIPPED]),
        total,
        problem,
        tuple(notes),
        tuple(partial),
        tuple(sorted(attributes)),
    )


def read_stream(
    path: str,
    stream: BinaryIO,
    spans: SpansByTrace,
    progress: Progress | None = None,
    options: Options = DEFAULTS,
) -> Input:
    """Adds the spans in `stream` to `spans`. `path` only says what it is called in messages."""
    with asking(options.attributes) as asked:
        entry = _read_stream(path, stream, spans, progress, options)
    return entry if asked is None else replace(entry, attributes=asked.seen)


def _read_stream(
    path: str,
    stream: BinaryIO,
    spans: SpansByTrace,
    progress: Progress | None,
    options: Options,
) -> Input:
    reader = Recogniser(stream, options)
    count = read = total = copies = 0
    skipped: list[Skipped] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for batch in reader.found():
            for found in batch:
                if type(found) is Span:
                    trace = spans.get(found.trace_id)
                    if trace is None:
                        if found.scope == COPY_SCOPE:
                            copies += 1
                            continue
                        spans[found.trace_id] = [found]
                    else:
                        trace.append(found)
                elif isinstance(found, Skipped):
                    total += 1
                    if total <= MOST_SKIPPED:
                        skipped.append(found)
            read += len(batch)
            count = read - total - copies
            if progress is not None:
                progress(path, count)
    finally:
        if collecting:
            gc.enable()
    problem = None if count else _no_spans(path, reader, skipped, copies)
    notes = (_copies_left_out(copies),) if copies else ()
    return Input(path, reader.format, count, tuple(skipped), total, problem, notes=notes)


def _copies_left_out(count: int) -> str:
    copies = f"{count} span{'s' if count > 1 else ''}"
    return f"{copies} left out: copies that `causepath export` made to be looked at"


def _no_files(path: str) -> CausepathError:
    return NoTracesError(f"{path}: a folder without files")


def _no_spans(
    path: str, reader: Recogniser, skipped: Sequence[Skipped], copies: int
) -> CausepathError:
    """Explains why nothing came out of a file that could be opened."""
    if copies:
        return NoTracesError(
            f"{path}: only copies that `causepath export` made to be looked at: read the runs "
            "that it made them of"
        )
    if reader.is_empty and not skipped:
        return NoTracesError(f"{path}: empty")
    if skipped:
        # What is wrong with the file explains what is wrong in it.
        first = reader.lost[0] if reader.lost else reader.named or skipped[0]
        is_text = reader.has_words and not reader.has_riddles and not reader.lost
        known = reader.is_json or reader.format or is_text
        kind = NoTracesError if known else UnreadableInputError
        return kind(f"{path}:{_short(first.where)}: {first.why}")
    what = ", ".join(sorted(reader.signals)) or "a trace file without a span"
    return NoTracesError(f"{path}: {what}")


def _short(where: str) -> str:
    """ "line 2" as it stands after a file name and a colon."""
    return where.removeprefix("line ")
