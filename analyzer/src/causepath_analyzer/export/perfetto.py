"""A timeline for ui.perfetto.dev and chrome://tracing, in Chrome's JSON of trace events.

A run is a process. Its first thread is the critical path, the others are its spans in lanes, so
that what ran at once is side by side. Arrows are causes: from the model call that asked for a tool
to the tool, from a tool to the call that got its result.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from causepath_analyzer.analyses.run import Run
from causepath_analyzer.analyses.span_rows import SpanRow, span_rows
from causepath_analyzer.export.folded import UNCOVERED, frame
from causepath_analyzer.export.for_people import for_people
from causepath_analyzer.export.lanes import Edge, lanes
from causepath_analyzer.export.shown_names import shown_name
from causepath_analyzer.ids import shown_id
from causepath_analyzer.model import NO_SPAN, Span

Event = dict[str, Any]


def perfetto(runs: Sequence[Run]) -> bytes:
    """The timeline of `runs`. Times are microseconds from the earliest start, exact to the ns."""
    origin_ns = min(run.trace.start_ns for run in runs)
    events: list[Event] = []
    number = 1
    for run in runs:
        # Viewers put the thread first that has the number of its process. None comes twice.
        lanes_of_run = lanes(run.trace)
        events += _events(run, lanes_of_run, number, origin_ns)
        number += 1 + len(lanes_of_run)
    return msgspec.json.encode(
        {
            "traceEvents": events,
            "displayTimeUnit": "ns",
            "otherData": {"exporter": "causepath", "origin_unix_ns": str(origin_ns)},
        }
    )


def _events(
    run: Run, lanes_of_run: Sequence[Sequence[Edge]], process: int, origin_ns: int
) -> Iterator[Event]:
    trace = run.trace
    root = frame(shown_name(trace.spans[trace.main_root].name, None))
    yield _named("process_name", f"{root} {shown_id(trace.trace_id)[:8]}", process, process)
    yield _named("thread_name", "critical path", process, process)
    for section in run.path.sections:
        name = UNCOVERED
        args: dict[str, object] = {"kind": section.kind, "edge": section.edge}
        if section.span != NO_SPAN:
            name = _shown(trace.spans[section.span])
            args["span_id"] = trace.spans[section.span].span_id
        at = {"pid": process, "tid": process}
        start, end = _us(section.start_ns - origin_ns), _us(section.end_ns - origin_ns)
        same = {"name": name, "cat": section.kind, **at, "args": args}
        yield {"ph": "B", "ts": start, **same}
        yield {"ph": "E", "ts": end, **same}
    told = span_rows(run)
    flows = _flows(run)
    for number, lane in enumerate(lanes_of_run, start=1):
        thread = process + number
        yield _named("thread_name", f"spans {number}", process, thread)
        timed: list[tuple[int, Event]] = []
        for edge in lane:
            row = told[edge.span]
            slices = _slice(edge, row, flows, process, thread, origin_ns, trace.wall_ns)
            timed += [(edge.at_ns, event) for event in slices]
            timed += _ticks(edge, row.span, process, thread, origin_ns)
        timed.sort(key=lambda one: one[0])
        yield from (event for _, event in timed)


def _slice(
    edge: Edge,
    row: SpanRow,
    flows: "dict[int, list[tuple[str, bool]]]",
    process: int,
    thread: int,
    origin_ns: int,
    wall_ns: int,
) -> Iterator[Event]:
    at = {"ts": _us(edge.at_ns - origin_ns), "pid": process, "tid": thread}
    args = _args(row, wall_ns)
    # Readers match an end by its name and arguments as well.
    same = {"name": _shown(row.span), "cat": row.span.category, **at, "args": args}
    if not edge.opens:
        yield {"ph": "E", **same}
        return
    yield {"ph": "B", **same}
    # After the slice begins and before anything lies on it: the arrow belongs to this slice.
    for flow, leaves in flows.get(edge.span, ()):
        arrow = {"name": "cause", "cat": "cause", "id": f"{process}.{flow}", **at}
        yield {"ph": "s", **arrow} if leaves else {"ph": "f", "bp": "e", **arrow}


def _ticks(
    edge: Edge, span: Span, process: int, thread: int, origin_ns: int
) -> Iterator[tuple[int, Event]]:
    """Marks on the bar of a model call when its first token came."""
    call = span.model_call
    if edge.opens and call is not None and call.ttft_ns is not None:
        at_ns = min(span.start_ns + call.ttft_ns, span.ended_ns)
        at = {"ts": _us(at_ns - origin_ns), "pid": process, "tid": thread}
        yield at_ns, {"ph": "i", "name": "first token", "cat": "llm", "s": "t", **at, "args": {}}


def _flows(run: Run) -> "dict[int, list[tuple[str, bool]]]":
    """Lists for each span the arrows that leave it (true) or end in it."""
    found: dict[int, list[tuple[str, bool]]] = {}
    spans = run.trace.spans
    number = {span.span_id: i for i, span in enumerate(spans)}
    causes = {(issuer, i) for i, issuer in enumerate(run.causes.issuers) if issuer != NO_SPAN}
    for i, span in enumerate(spans):
        for link in span.links:
            cause = number.get(link.span_id)
            if link.why is not None and cause is not None and cause != i:
                causes.add((cause, i))
    for cause, effect in sorted(causes):
        if spans[cause].start_ns <= spans[effect].start_ns:
            found.setdefault(cause, []).append((f"{cause}-{effect}", True))
            found.setdefault(effect, []).append((f"{cause}-{effect}", False))
    return found


def _shown(span: Span) -> str:
    return frame(shown_name(span.name, span))


def _args(row: SpanRow, wall_ns: int) -> dict[str, object]:
    span = row.span
    args: dict[str, object] = {"name": span.name, "span_id": span.span_id, "on_path": row.on_path}
    if row.on_path:
        args |= {"path_ns": row.path_ns, **for_people("path", row.path_ns, wall_ns)}
        args["kind"] = row.kind
    if span.service is not None:
        args["service"] = span.service
    if span.model_call is not None:
        call = span.model_call
        args |= {"model": call.model, "turn": call.turn}
        if call.tokens is not None:
            args |= {"input_tokens": call.tokens.input, "output_tokens": call.tokens.output}
    if span.tool_call is not None and span.tool_call.inferred:
        args["inferred"] = True
    if span.error is not None:
        args["error"] = span.error
    if row.codes:
        args["findings"] = ",".join(row.codes)
    return {name: said for name, said in args.items() if said is not None}


def _named(kind: str, name: str, process: int, thread: int) -> Event:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _us(ns: int) -> msgspec.Raw:
    """Microseconds with all three digits of the nanoseconds, which a float may not keep."""
    return msgspec.Raw(b"%d.%03d" % divmod(ns, 1000))
