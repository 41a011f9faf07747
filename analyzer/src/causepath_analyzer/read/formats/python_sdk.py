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

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import monocle, values
from causepath_analyzer.read.formats.values import Id, Number
from causepath_analyzer.read.meaning import normalise


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
_EXCEPTION: Final = frozenset((names.EXCEPTION_TYPE,))
_NO_RESOURCE: Final = normalise.resource({})


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, a span, a list of them or an object with one; else ``None``."""
    if _MARK.search(document) is None:
        return None
    raws = values.listed(document, "spans")
    if raws is None:
        return None
    found: list[Found] = []
    is_ours = False
    for wire in values.decoded(raws, _SPAN, where, "a span"):
        if isinstance(wire, Skipped):
            found.append(wire)
        elif wire.context is None or values.present(wire.span_kind):
            found.append(Skipped(where, "an object without the context of a span"))
        else:
            is_ours = True
            found.append(_span(wire, wire.context, where))
    return found if is_ours else None


def _span(wire: _Span, context: _Context, where: str) -> Found:
    identity = span_id(values.hex_id(context.span_id, 16))
    start_ns = values.time_ns(wire.start_time)
    trace = values.hex_id(context.trace_id, 32)
    if not identity or not trace or start_ns is None:
        return Skipped(where, f"span {identity or wire.name or '?'} without id or start time")
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
        resource = normalise.resource(
            values.attributes(wire.resource.attributes, normalise.RESOURCE_ATTRIBUTES)
        )
    scope = wire.instrumentation_scope or wire.instrumentation_info
    understood = values.attributes(wire.attributes)
    if wire.attributes is not None and monocle.VERSION in wire.attributes:
        events = ((event.name, event.attributes) for event in wire.events or ())
        understood |= monocle.told(wire.attributes, events)
    if wire.events:
        understood |= values.noted((e.name, values.time_ns(e.timestamp)) for e in wire.events)
        for event in wire.events:
            if event.name == names.EXCEPTION:
                told = values.attributes(values.mapping(event.attributes), _EXCEPTION)
                understood = told | understood
    name, version = (scope.name, scope.version) if scope is not None else (None, None)
    return normalise.span(emitted, understood, resource, name or "", version or None)


def _kind(kind: Id) -> SpanKind:
    """From ``SpanKind.CLIENT`` or ``client``."""
    said = kind.rpartition(".")[2].lower() if isinstance(kind, str) else ""
    return _KINDS.get(said, "internal")


def _links(links: "list[_Link] | tuple[()]", here: str) -> Iterator[Link]:
    for link in links:
        if link.context is not None:
            told = values.attributes(link.attributes, names.LINKS)
            identity = span_id(values.hex_id(link.context.span_id, 16))
            said = values.hex_id(link.context.trace_id, 32)
            away = trace_id(said) if said else ""
            yield Link(identity, normalise.why_linked(told), away if away != here else "")


FORMAT = JsonFormat("python-sdk", read)
