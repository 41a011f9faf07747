"""Jaeger v1 JSON: what ``/api/traces`` answers and the "JSON" button of its UI saves.

Times are microseconds. The parent is the ``CHILD_OF`` reference into the same trace; lists, bools
and large numbers in tags may arrive as text.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import jaeger_wire as wire_format
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.jaeger_wire import US
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import is_asked, labelled
from causepath_analyzer.read.tree.rounding import within_parents

_VALUE: Final = msgspec.json.Decoder(str | int | float | bool | list[str] | None)
_MARK: Final = re.compile(rb'"spanID"\s*:')
_KINDS: Final[Mapping[str | None, SpanKind]] = {
    "server": "server",
    "client": "client",
    "producer": "producer",
    "consumer": "consumer",
}
_UNDERSTOOD: Final = names.UNDERSTOOD | {
    wire_format.KIND,
    names.STATUS_CODE,
    *names.SCOPE,
    *names.SCOPE_VERSION,
}
_EVENT: Final = frozenset(("event", "name"))
_NO_PROCESS: Final = normalise.resource({})


def read(document: bytes, where: str) -> list[Found] | None:
    """Reads the spans of `document`: an API answer, a trace or a list of them; else ``None``."""
    if _MARK.search(document) is None:
        return None
    try:
        decoded = wire_format.DOCUMENT.decode(document)
    except msgspec.ValidationError as error:
        return [Skipped(where, f"looks like a Jaeger trace, but is damaged: {error}")]
    except RecursionError:
        return [Skipped(where, "nested too deeply to be a trace")]
    found: list[Found] = []
    is_jaeger = False
    for trace in wire_format.traces(decoded):
        spans = within_parents(_spans(trace, where))
        # Other tools write lists called "spans" as well; ours name every operation.
        if trace.processes is not None or any(not isinstance(s, Skipped) for s in spans):
            is_jaeger = True
            found.extend(spans)
    return found if is_jaeger else None


def _spans(trace: wire_format.Trace, where: str) -> Iterator[Found]:
    processes = {key: _process(process) for key, process in (trace.processes or {}).items()}
    for raw in trace.spans or ():
        try:
            wire = wire_format.SPAN.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            yield Skipped(where, f"a span that cannot be read: {error}")
            continue
        start_us = normalise.whole(wire.startTime)
        if not wire.spanID or start_us is None or wire.operationName is None:
            what = f"span {wire.spanID}" if wire.spanID else "a span"
            yield Skipped(where, f"{what} without id, operationName or startTime")
            continue
        understood = _tags(wire.tags, _UNDERSTOOD)
        if wire.logs:
            understood |= values.noted(map(_event, wire.logs))
        kind = values.taken_text(understood, (wire_format.KIND,))
        scope = values.taken_text(understood, names.SCOPE)
        version = values.taken_text(understood, names.SCOPE_VERSION)
        parent, links = _references(wire)
        duration_us = normalise.whole(wire.duration)
        emitted = normalise.Emitted(
            trace_id(wire.traceID or trace.traceID),
            span_id(wire.spanID),
            parent,
            wire.operationName,
            _KINDS.get(kind, "internal"),
            start_us * US,
            (start_us + duration_us) * US if duration_us is not None else None,
            understood.pop(names.STATUS_CODE, None) == "ERROR"
            or normalise.flag(understood.get(names.ERROR)) is True,
            links,
        )
        process = _process(wire.process) if wire.process else processes.get(wire.processID or "")
        span = normalise.span(emitted, understood, process or _NO_PROCESS, scope or "", version)
        own = wire.process or (trace.processes or {}).get(wire.processID or "")
        of_process = _by_name(own.tags) if own is not None else {}
        yield labelled(span, _by_name(wire.tags), resource=of_process)


def _by_name(tags: list[wire_format.Tag] | None) -> dict[str, object]:
    return {tag.key: tag.value for tag in tags or ()} if is_asked() else {}


def _references(wire: wire_format.Span) -> tuple[str, tuple[Link, ...]]:
    """Finds the id of the parent, and makes links of the other references."""
    parent, others = wire_format.parent_and_others(wire)
    links = tuple(
        Link(
            span_id(reference.spanID),
            None,
            "" if is_here or not wire.traceID else _other(reference.traceID, wire.traceID),
        )
        for reference, is_here in others
    )
    return span_id(parent), links


def _other(trace: str, here: str) -> str:
    """Gives the id of a trace if it is not `here`, whatever zeros stand before the two."""
    away = trace_id(trace)
    return away if away != trace_id(here) else ""


def _event(log: wire_format.Log) -> tuple[str | None, int | None]:
    at_us = normalise.whole(log.timestamp)
    name = values.taken_text(_tags(log.fields, _EVENT), ("event", "name"))
    return name, None if at_us is None else at_us * US


def _process(process: wire_format.Process) -> normalise.Resource:
    understood = _tags(process.tags, normalise.RESOURCE_ATTRIBUTES)
    return normalise.resource({**understood, names.SERVICE_NAME: process.serviceName})


def _tags(tags: list[wire_format.Tag] | None, wanted: frozenset[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for tag in tags or ():
        if tag.key in wanted:
            try:
                found[tag.key] = _VALUE.decode(tag.value)
            except (msgspec.DecodeError, RecursionError):
                continue
    return found


FORMAT = JsonFormat("jaeger-json", read)
