"""Spans of the OpenTelemetry Python SDK as it prints and programs dump them.

`ConsoleSpanExporter` prints ``span.to_json()``, one pretty-printed object after the other, often
between other output. Programs collect the same objects in a list, or in an object under "spans",
some with ids as numbers and times in ns. The instrumentation scope is lost in most of them.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer.model import Link, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import monocle, sdk_spans, values
from causepath_analyzer.read.formats.values import Id, Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class _Context(Struct, gc=False):
    trace_id: Id = None
    span_id: Id = None


class _Status(Struct, gc=False):
    status_code: Id = None


class _Link(Struct, gc=False):
    context: _Context | None = None
    attributes: dict[str, Raw] | None = None


class _Resource(Struct, gc=False):
    attributes: dict[str, Raw] | None = None


class _Scope(Struct, gc=False):
    name: str | None = None
    version: str | None = None


class _Event(Struct, gc=False):
    name: str | None = None
    timestamp: Number = None
    attributes: Raw = values.ABSENT


class _Span(Struct, gc=False):
    name: str | None = None
    context: _Context | None = None
    kind: Id = None
    parent_id: Id = None
    parent: _Context | None = None
    start_time: Number = None
    end_time: Number = None
    status: _Status | None = None
    attributes: dict[str, Raw] | None = None
    events: list[_Event] | None = None
    links: list[_Link] | None = None
    resource: _Resource | None = None
    instrumentation_scope: _Scope | None = None
    instrumentation_info: _Scope | None = None
    span_kind: Raw = values.ABSENT
    """Never written by the SDK: other formats with a context (Phoenix) have it."""


_SPAN: Final = msgspec.json.Decoder(_Span)
_MARK: Final = re.compile(rb'"context"\s*:\s*\{')
_KINDS: Final[Mapping[str, SpanKind]] = {
    "server": "server",
    "client": "client",
    "producer": "producer",
    "consumer": "consumer",
}
_NO_RESOURCE: Final = normalise.resource({})


def read(document: bytes, where: str) -> list[Found] | None:
    """Reads the spans of `document`, one, a list of them or an object with some; else ``None``."""
    if _MARK.search(document) is None:
        return None
    return sdk_spans.read_each(document, "spans", _SPAN, where, _span)


def _span(wire: _Span, where: str) -> Found | None:
    context = wire.context
    if context is None or values.present(wire.span_kind):
        return None
    identity = span_id(values.hex_id(context.span_id, 16))
    start_ns = values.time_ns(wire.start_time)
    trace = values.hex_id(context.trace_id, 32)
    if not identity or not trace or start_ns is None:
        return sdk_spans.without_id_or_start(identity, wire.name, where)
    parent = wire.parent_id
    if parent is None and wire.parent is not None:
        parent = wire.parent.span_id
    code = wire.status.status_code if wire.status is not None else None
    emitted = normalise.Emitted(
        trace_id(trace),
        identity,
        span_id(values.hex_id(parent, 16)),
        wire.name or "",
        _kind(wire.kind),
        start_ns,
        values.time_ns(wire.end_time),
        isinstance(code, str) and code.upper() == "ERROR",
        tuple(_links(wire.links or (), trace_id(trace))),
    )
    resource = _NO_RESOURCE
    if wire.resource is not None:
        resource = sdk_spans.resource(wire.resource.attributes)
    scope = wire.instrumentation_scope or wire.instrumentation_info
    understood = values.attributes(wire.attributes)
    if wire.attributes is not None and monocle.VERSION in wire.attributes:
        events = ((event.name, event.attributes) for event in wire.events or ())
        understood |= monocle.told(wire.attributes, events)
    if wire.events:
        told = sdk_spans.told_by_events(
            (
                (event.name, values.time_ns(event.timestamp), event.attributes)
                for event in wire.events
            ),
            values.mapping,
        )
        understood = told | understood
    name, version = (scope.name, scope.version) if scope is not None else (None, None)
    span = normalise.span(emitted, understood, resource, name or "", version or None)
    of_process = (wire.resource.attributes if wire.resource is not None else None) or {}
    return labelled(span, wire.attributes or {}, understood, resource=of_process)


def _kind(kind: Id) -> SpanKind:
    """Reads ``SpanKind.CLIENT`` or ``client``."""
    said = kind.rpartition(".")[2].lower() if isinstance(kind, str) else ""
    return _KINDS.get(said, "internal")


def _links(links: "list[_Link] | tuple[()]", here: str) -> Iterator[Link]:
    for link in links:
        if link.context is not None:
            identity = values.hex_id(link.context.span_id, 16)
            trace = values.hex_id(link.context.trace_id, 32)
            yield sdk_spans.link(identity, trace, link.attributes, here)


FORMAT = JsonFormat("python-sdk", read)
