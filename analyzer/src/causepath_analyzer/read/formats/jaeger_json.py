"""Jaeger v1 JSON: what ``/api/traces`` answers and the "JSON" button of its UI saves.

Times are microseconds. The parent is the ``CHILD_OF`` reference into the same trace; lists, bools
and large numbers in tags may arrive as text.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.tree.rounding import within_parents

_US: Final = 1_000


class _Tag(Struct, gc=False):
    key: str
    value: Raw = Raw(b"null")


class _Reference(Struct, gc=False):
    refType: str = "CHILD_OF"  # noqa: N815
    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815


class _Log(Struct, gc=False):
    timestamp: Number = None
    fields: list[_Tag] | None = None


class _Process(Struct, gc=False):
    serviceName: str | None = None  # noqa: N815
    tags: list[_Tag] | None = None


class _Span(Struct, gc=False):
    traceID: str = ""  # noqa: N815
    spanID: str = ""  # noqa: N815
    parentSpanID: str | None = None  # noqa: N815
    operationName: str | None = None  # noqa: N815
    references: list[_Reference] | None = None
    startTime: Number = None  # noqa: N815
    duration: Number = None
    tags: list[_Tag] | None = None
    logs: list[_Log] | None = None
    processID: str | None = None  # noqa: N815
    process: _Process | None = None


class _Trace(Struct, gc=False):
    traceID: str = ""  # noqa: N815
    spans: list[Raw] | None = None
    processes: dict[str, _Process] | None = None


class _Answer(_Trace, gc=False):
    """An answer of the API, or a trace alone."""

    data: list[_Trace] | _Trace | None = None


_DOCUMENT: Final = msgspec.json.Decoder(_Answer | list[_Answer])
_SPAN: Final = msgspec.json.Decoder(_Span)
_VALUE: Final = msgspec.json.Decoder(str | int | float | bool | list[str] | None)
_MARK: Final = re.compile(rb'"spanID"\s*:')
_KINDS: Final[Mapping[str | None, SpanKind]] = {
    "server": "server",
    "client": "client",
    "producer": "producer",
    "consumer": "consumer",
}
_KIND: Final = "span.kind"
_UNDERSTOOD: Final = names.UNDERSTOOD | {
    _KIND,
    names.STATUS_CODE,
    *names.SCOPE,
    *names.SCOPE_VERSION,
}
_EVENT: Final = frozenset(("event", "name"))
_NO_PROCESS: Final = normalise.resource({})


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, an API answer, a trace or a list of them; ``None`` if it is none."""
    if _MARK.search(document) is None:
        return None
    try:
        decoded = _DOCUMENT.decode(document)
    except msgspec.ValidationError as error:
        return [Skipped(where, f"looks like a Jaeger trace, but is damaged: {error}")]
    except RecursionError:
        return [Skipped(where, "nested too deeply to be a trace")]
    found: list[Found] = []
    is_jaeger = False
    for answer in decoded if isinstance(decoded, list) else [decoded]:
        data = answer.data
        for trace in (answer, *(data if isinstance(data, list) else [data] if data else [])):
            if trace.spans is None:
                continue
            spans = within_parents(_spans(trace, where))
            # Other tools write lists called "spans" as well; ours name every operation.
            if trace.processes is not None or any(not isinstance(s, Skipped) for s in spans):
                is_jaeger = True
                found.extend(spans)
    return found if is_jaeger else None


def _spans(trace: _Trace, where: str) -> Iterator[Found]:
    processes = {key: _process(process) for key, process in (trace.processes or {}).items()}
    for raw in trace.spans or ():
        try:
            wire = _SPAN.decode(raw)
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
        kind = values.taken_text(understood, (_KIND,))
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
            start_us * _US,
            (start_us + duration_us) * _US if duration_us is not None else None,
            understood.pop(names.STATUS_CODE, None) == "ERROR"
            or normalise.flag(understood.get(names.ERROR)) is True,
            links,
        )
        process = _process(wire.process) if wire.process else processes.get(wire.processID or "")
        yield normalise.span(emitted, understood, process or _NO_PROCESS, scope or "", version)


def _references(wire: _Span) -> tuple[str, tuple[Link, ...]]:
    """The id of the parent (``CHILD_OF`` in this trace, else ``FOLLOWS_FROM``) and other links."""
    here = [r for r in wire.references or () if not r.traceID or r.traceID == wire.traceID]
    parent = next((r for r in here if r.refType == "CHILD_OF"), None)
    if parent is None and not wire.parentSpanID:
        parent = next((r for r in here if r.refType == "FOLLOWS_FROM"), None)
    links = tuple(
        Link(
            span_id(r.spanID),
            None,
            "" if r in here or not wire.traceID else _other(r.traceID, wire.traceID),
        )
        for r in wire.references or ()
        if r is not parent
    )
    return span_id(parent.spanID if parent is not None else wire.parentSpanID), links


def _other(trace: str, here: str) -> str:
    """The id of a trace, if it is not `here`, whatever zeros stand before the two."""
    away = trace_id(trace)
    return away if away != trace_id(here) else ""


def _event(log: _Log) -> tuple[str | None, int | None]:
    at_us = normalise.whole(log.timestamp)
    name = values.taken_text(_tags(log.fields, _EVENT), ("event", "name"))
    return name, None if at_us is None else at_us * _US


def _process(process: _Process) -> normalise.Resource:
    understood = _tags(process.tags, normalise.RESOURCE_ATTRIBUTES)
    return normalise.resource({**understood, names.SERVICE_NAME: process.serviceName})


def _tags(tags: list[_Tag] | None, wanted: frozenset[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for tag in tags or ():
        if tag.key in wanted:
            try:
                found[tag.key] = _VALUE.decode(tag.value)
            except (msgspec.DecodeError, RecursionError):
                continue
    return found


FORMAT = JsonFormat("jaeger-json", read)
