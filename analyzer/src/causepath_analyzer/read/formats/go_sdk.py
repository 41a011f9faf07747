"""Spans of the OpenTelemetry Go SDK as its `stdouttrace` exporter prints them.

One object for each span, on a line or over lines, one after the other. Attributes are lists of keys
and typed values, times have the zone of the process, and the parent of a root has an id of zeros.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer.model import Link, Skipped
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import sdk_spans, values
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled
from causepath_analyzer.read.meaning.span_kinds import kind_of


class _Context(Struct, gc=False):
    TraceID: str | None = None
    SpanID: str | None = None


class _Value(Struct, gc=False):
    Value: Raw = values.ABSENT


class _Attribute(Struct, gc=False):
    Key: str | None = None
    Value: _Value | None = None


class _Status(Struct, gc=False):
    Code: str | int | None = None


class _Event(Struct, gc=False):
    Name: str | None = None
    Time: str | None = None
    Attributes: list[_Attribute] | None = None


class _Link(Struct, gc=False):
    SpanContext: _Context | None = None
    Attributes: list[_Attribute] | None = None


class _Scope(Struct, gc=False):
    Name: str | None = None
    Version: str | None = None


class _Span(Struct, gc=False):
    Name: str | None = None
    SpanContext: _Context | None = None
    Parent: _Context | None = None
    SpanKind: int | None = None
    StartTime: str | None = None
    EndTime: str | None = None
    Attributes: list[_Attribute] | None = None
    Events: list[_Event] | None = None
    Links: list[_Link] | None = None
    Status: _Status | None = None
    Resource: list[_Attribute] | None = None
    InstrumentationScope: _Scope | None = None
    InstrumentationLibrary: _Scope | None = None


_SPAN: Final = msgspec.json.Decoder(_Span)
_MARKS: Final = (b'"SpanContext"', b'"TraceID"')
_ERROR: Final = "Error"


def read(document: bytes, where: str) -> list[Found] | None:
    """Reads the spans of `document`, one or a list; ``None`` if Go's SDK did not print it."""
    if not all(mark in document for mark in _MARKS):
        return None
    return sdk_spans.read_each(document, "Spans", _SPAN, where, _span)


def _span(wire: _Span, where: str) -> Found | None:
    context = wire.SpanContext
    if context is None:
        return None
    identity = span_id(context.SpanID)
    start_ns = values.time_ns(wire.StartTime)
    if not identity or not context.TraceID or start_ns is None:
        return sdk_spans.without_id_or_start(identity, wire.Name, where)
    if start_ns <= 0:
        return Skipped(where, f"span {identity} without times: the exporter was told to leave them")
    understood = sdk_spans.told_by_events(
        ((event.Name, values.time_ns(event.Time), event.Attributes) for event in wire.Events or ()),
        _mapping,
    )
    understood |= values.attributes(_mapping(wire.Attributes))
    scope = wire.InstrumentationScope or wire.InstrumentationLibrary or _Scope()
    end_ns = values.time_ns(wire.EndTime)
    emitted = normalise.Emitted(
        trace_id(context.TraceID),
        identity,
        span_id(wire.Parent.SpanID if wire.Parent is not None else None),
        wire.Name or "",
        kind_of(wire.SpanKind),
        start_ns,
        end_ns if end_ns is not None and end_ns > 0 else None,
        wire.Status is not None and wire.Status.Code == _ERROR,
        tuple(_links(wire.Links, trace_id(context.TraceID))),
    )
    resource = sdk_spans.resource(_mapping(wire.Resource))
    span = normalise.span(emitted, understood, resource, scope.Name or "", scope.Version or None)
    return labelled(span, _mapping(wire.Attributes), resource=_mapping(wire.Resource))


def _mapping(attributes: list[_Attribute] | None) -> dict[str, Raw]:
    return {
        attribute.Key: attribute.Value.Value
        for attribute in attributes or ()
        if attribute.Key is not None and attribute.Value is not None
    }


def _links(links: list[_Link] | None, here: str) -> Iterator[Link]:
    for link in links or ():
        if link.SpanContext is not None and link.SpanContext.SpanID:
            yield sdk_spans.link(
                link.SpanContext.SpanID,
                link.SpanContext.TraceID,
                _mapping(link.Attributes),
                here,
            )


FORMAT = JsonFormat("go-sdk", read)
