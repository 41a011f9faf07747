"""Spans of the OpenTelemetry JavaScript SDK, as its console prints and programs dump them.

`ConsoleSpanExporter` hands an object to ``console.dir``, whose notation `inspected` turns into
JSON: the start and the duration in microseconds. Programs write the span itself with
``JSON.stringify`` (Gemini CLI's telemetry), where times are pairs of seconds and nanoseconds.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer.model import Link, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import sdk_spans, values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class _Context(Struct, gc=False):
    traceId: str | None = None  # noqa: N815
    spanId: str | None = None  # noqa: N815


class _Status(Struct, gc=False):
    code: int | None = None


class _Event(Struct, gc=False):
    name: str | None = None
    time: Raw = values.ABSENT
    attributes: Raw = values.ABSENT


class _Link(Struct, gc=False):
    context: Raw = values.ABSENT
    """A string where the object stood elsewhere before."""
    attributes: Raw = values.ABSENT


class _Resource(Struct, gc=False):
    attributes: Raw = values.ABSENT
    rawAttributes: Raw = msgspec.field(name="_rawAttributes", default=values.ABSENT)  # noqa: N815
    syncAttributes: Raw = msgspec.field(name="_syncAttributes", default=values.ABSENT)  # noqa: N815
    plainAttributes: Raw = msgspec.field(name="_attributes", default=values.ABSENT)  # noqa: N815


class _Scope(Struct, gc=False):
    name: str | None = None
    version: str | None = None


class _Span(Struct, gc=False):
    name: str | None = None
    kind: int | None = None
    attributes: Raw = values.ABSENT
    status: _Status | None = None
    events: list[_Event] | None = None
    links: list[_Link] | None = None
    resource: _Resource | None = None
    instrumentationScope: _Scope | None = None  # noqa: N815
    instrumentationLibrary: _Scope | None = None  # noqa: N815
    parentSpanContext: Raw = values.ABSENT  # noqa: N815
    # As the console exporter prints it:
    traceId: str | None = None  # noqa: N815
    id: str | None = None
    parentId: str | None = None  # noqa: N815
    timestamp: Number = None
    duration: Raw = values.ABSENT
    # The span itself:
    spanContext: _Context | None = msgspec.field(name="_spanContext", default=None)  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    startTime: Raw = values.ABSENT  # noqa: N815
    endTime: Raw = values.ABSENT  # noqa: N815
    ended: bool | None = msgspec.field(name="_ended", default=None)


_SPAN: Final = msgspec.json.Decoder(_Span)
_CONTEXT: Final = msgspec.json.Decoder(_Context)
_TIME: Final = msgspec.json.Decoder(tuple[int, int])
_PAIRS: Final = msgspec.json.Decoder(list[tuple[str, Raw]])
_DURATION: Final = msgspec.json.Decoder(int | float)
_MARKS: Final = (b'"kind"', b'"attributes"')
_SPANS: Final = (b'"_spanContext"', b'"traceId"')
_KINDS: Final[tuple[SpanKind, ...]] = ("internal", "server", "client", "producer", "consumer")
_FAILED: Final = 2
_SECOND: Final = 1_000_000_000


def read(document: bytes, where: str) -> list[Found] | None:
    """Reads the spans of `document`, one or a list; ``None`` if it is of another SDK."""
    if not all(mark in document for mark in _MARKS) or not any(m in document for m in _SPANS):
        return None
    return sdk_spans.read_each(document, "spans", _SPAN, where, _either)


def _either(wire: _Span, where: str) -> Found | None:
    """Reads a span as it was dumped, or as the console exporter prints it."""
    if wire.spanContext is not None and values.present(wire.startTime):
        end_ns = None if wire.ended is False else _pair(wire.endTime)
        return _span(wire, wire.spanContext, _pair(wire.startTime), end_ns, where)
    if wire.timestamp is not None and wire.id is not None and values.present(wire.duration):
        start_ns = values.time_ns(wire.timestamp)
        end_ns = None if start_ns is None else _after(start_ns, wire.duration)
        return _span(wire, _Context(wire.traceId, wire.id), start_ns, end_ns, where)
    return None


def _span(
    wire: _Span, context: _Context, start_ns: int | None, end_ns: int | None, where: str
) -> Found:
    identity = span_id(context.spanId)
    if not identity or not context.traceId or start_ns is None:
        return sdk_spans.without_id_or_start(identity, wire.name, where)
    understood = sdk_spans.told_by_events(
        ((event.name, _pair(event.time), event.attributes) for event in wire.events or ()),
        values.mapping,
    )
    attributes = values.mapping(wire.attributes)
    understood |= values.attributes(attributes)
    scope = wire.instrumentationScope or wire.instrumentationLibrary or _Scope()
    emitted = normalise.Emitted(
        trace_id(context.traceId),
        identity,
        span_id(wire.parentId or wire.parentSpanId or _context(wire.parentSpanContext).spanId),
        wire.name or "",
        _kind(wire.kind),
        start_ns,
        end_ns,
        wire.status is not None and wire.status.code == _FAILED,
        tuple(_links(wire.links, trace_id(context.traceId))),
    )
    of_process = _of_process(wire.resource)
    resource = normalise.NO_RESOURCE if of_process is None else sdk_spans.resource(of_process)
    span = normalise.span(emitted, understood, resource, scope.name or "", scope.version or None)
    return labelled(span, attributes, resource=of_process or {})


def _pair(raw: Raw) -> int | None:
    """Reads the instant in `raw`, seconds and nanoseconds."""
    if not values.present(raw):
        return None
    try:
        seconds, nanoseconds = _TIME.decode(raw)
    except values.DAMAGED:
        return None
    found = seconds * _SECOND + nanoseconds
    return found if 0 < found < 1 << 63 else None


def _after(start_ns: int, raw: Raw) -> int | None:
    try:
        took_ns = normalise.nanoseconds(_DURATION.decode(raw), 1_000)
    except values.DAMAGED:
        return None
    return None if took_ns is None else start_ns + took_ns


def _context(raw: Raw) -> _Context:
    if values.present(raw):
        try:
            return _CONTEXT.decode(raw)
        except values.DAMAGED:
            return _Context()
    return _Context()


def _kind(kind: int | None) -> SpanKind:
    return _KINDS[kind] if kind is not None and 0 <= kind < len(_KINDS) else "internal"


def _links(links: list[_Link] | None, here: str) -> Iterator[Link]:
    for link in links or ():
        context = _context(link.context)
        if context.spanId:
            told = values.mapping(link.attributes)
            yield sdk_spans.link(context.spanId, context.traceId, told, here)


def _of_process(wire: _Resource | None) -> dict[str, Raw] | None:
    if wire is None:
        return None
    told: dict[str, Raw] = {}
    if values.present(wire.rawAttributes):
        try:
            told = dict(_PAIRS.decode(wire.rawAttributes))
        except values.DAMAGED:
            told = {}
    for raw in (wire.attributes, wire.plainAttributes, wire.syncAttributes):
        told = told or values.mapping(raw)
    return told


FORMAT = JsonFormat("javascript-sdk", read)
