"""Zipkin v2 JSON: a list of spans, or the API's list of lists, one per trace.

Times are microseconds, every tag is text. Client and server may share one id (``shared`` marks the
server's half); `tree.build` tells the two halves apart. A span without a time of its own gets that
of its first annotation, or starts with the nearest span that has one: other half, child, parent.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled
from causepath_analyzer.read.tree.rounding import within_parents

_US: Final = 1_000


class _Endpoint(Struct, gc=False):
    serviceName: str | None = None  # noqa: N815
    ipv4: str | None = None
    ipv6: str | None = None


class _Annotation(Struct, gc=False):
    timestamp: Number = None
    value: str | None = None


class _Span(Struct, gc=False):
    traceId: str = ""  # noqa: N815
    id: str = ""
    parentId: str | None = None  # noqa: N815
    name: str | None = None
    kind: str | None = None
    timestamp: Number = None
    duration: Number = None
    shared: bool | None = None
    localEndpoint: _Endpoint | None = None  # noqa: N815
    tags: dict[str, Raw] | None = None
    annotations: list[_Annotation] | None = None


_LIST: Final = msgspec.json.Decoder(list[Raw])
_SPAN: Final = msgspec.json.Decoder(_Span)
_MARK: Final = re.compile(rb'"(?:localEndpoint|remoteEndpoint|timestamp)"\s*:')
_KINDS: Final[Mapping[str | None, SpanKind]] = {
    "SERVER": "server",
    "CLIENT": "client",
    "PRODUCER": "producer",
    "CONSUMER": "consumer",
}
_UNDERSTOOD: Final = names.UNDERSTOOD | {names.STATUS_CODE, *names.SCOPE, *names.SCOPE_VERSION}
# Exporters write an event as {"name": {...}}, "name": {...}, name|{...}|0 or its name alone.
_EVENT: Final = re.compile(r'\{?\s*"?([^"|]+)')


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, a list of spans or of such lists; ``None`` if it is none."""
    if _MARK.search(document) is None or b'"traceId"' not in document:
        return None
    try:
        items = _LIST.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return None
    spans: list[_Span] = []
    found: list[Found] = []
    raws = [
        raw for item in items for raw in ((item,) if _is_object(item) else values.records(item))
    ]
    for wire in values.decoded(raws, _SPAN, where, "a span"):
        if isinstance(wire, Skipped):
            found.append(wire)
        elif not wire.id or not wire.traceId:
            found.append(Skipped(where, "a span without id or traceId"))
        else:
            spans.append(wire)
    if not any(wire.localEndpoint or normalise.whole(wire.timestamp) for wire in spans):
        return None
    if any(wire.timestamp is None for wire in spans):
        spans = _with_times(spans)
    found.extend(within_parents(_span(wire, where) for wire in spans))
    return found


def _is_object(raw: Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"{"


def _with_times(spans: list[_Span]) -> list[_Span]:
    starts: dict[tuple[str, str], Number] = {}
    for wire in spans:
        times = [wire.timestamp, *(a.timestamp for a in wire.annotations or ())]
        known = [time for time in map(normalise.whole, times) if time is not None]
        if known:
            starts.setdefault((wire.traceId, wire.id), known[0])
    for wire in spans:
        own = starts.get((wire.traceId, wire.id))
        if own is not None and wire.parentId:
            starts.setdefault((wire.traceId, wire.parentId), own)
    return [
        replace(
            wire,
            timestamp=starts.get((wire.traceId, wire.id))
            or starts.get((wire.traceId, wire.parentId or "")),
        )
        if wire.timestamp is None
        else wire
        for wire in spans
    ]


def _span(wire: _Span, where: str) -> Found:
    start_us = normalise.whole(wire.timestamp)
    if start_us is None:
        return Skipped(where, f"span {wire.id} without a timestamp")
    duration_us = normalise.whole(wire.duration)
    understood = values.attributes(wire.tags, _UNDERSTOOD)
    if wire.annotations:
        understood |= values.noted(map(_event, wire.annotations))
    # Its presence alone marks an error, unless it says that there is none.
    marked = normalise.flag(understood.get(names.ERROR, False)) is not False
    failed = understood.pop(names.STATUS_CODE, None) == "ERROR" or marked
    scope = values.taken_text(understood, names.SCOPE)
    version = values.taken_text(understood, names.SCOPE_VERSION)
    endpoint = wire.localEndpoint
    emitted = normalise.Emitted(
        trace_id(wire.traceId),
        span_id(wire.id),
        span_id(wire.parentId),
        wire.name or "",
        "server" if wire.shared and wire.kind is None else _KINDS.get(wire.kind, "internal"),
        start_us * _US,
        (start_us + duration_us) * _US if duration_us is not None else None,
        failed,
    )
    resource = normalise.resource(
        {names.SERVICE_NAME: endpoint.serviceName, "ip": endpoint.ipv4 or endpoint.ipv6}
        if endpoint is not None
        else {}
    )
    return labelled(
        normalise.span(emitted, understood, resource, scope or "", version), wire.tags or {}
    )


def _event(annotation: _Annotation) -> tuple[str | None, int | None]:
    at_us = normalise.whole(annotation.timestamp)
    name = _EVENT.match(annotation.value or "")
    return name and name[1].strip(), None if at_us is None else at_us * _US


FORMAT = JsonFormat("zipkin-json", read)
