"""OTLP/JSON: what the collector, the SDKs' file exporters, Tempo and Jaeger v3 write.

The usual dialect (camelCase) is decoded by typed decoders that leave attribute values as raw
bytes. Whatever they refuse (snake_case names, a wrong type somewhere in the document) goes span by
span through `_salvage`, which is slow and forgiving.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, SpanKind
from causepath_analyzer.read import normalise
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id

Number = int | str | float | None


class _KeyValue(Struct, gc=False):
    key: str
    value: Raw = Raw(b"null")


class _Link(Struct, gc=False):
    spanId: str = ""  # noqa: N815
    attributes: list[_KeyValue] | None = None


class _Status(Struct, gc=False):
    code: Number = None


class _Span(Struct, gc=False):
    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    name: str | None = None
    kind: Number = None
    startTimeUnixNano: Number = None  # noqa: N815
    endTimeUnixNano: Number = None  # noqa: N815
    attributes: list[_KeyValue] | None = None
    status: _Status | None = None
    links: list[_Link] | None = None


class _Scope(Struct, gc=False):
    name: str | None = None


class _ScopeSpans(Struct, gc=False):
    scope: _Scope | None = None
    instrumentationLibrary: _Scope | None = None  # noqa: N815
    spans: list[_Span] | None = None


class _Resource(Struct, gc=False):
    attributes: list[_KeyValue] | None = None


class _ResourceSpans(Struct, gc=False):
    resource: Raw = Raw(b"null")
    scopeSpans: list[_ScopeSpans] | None = None  # noqa: N815
    instrumentationLibrarySpans: list[_ScopeSpans] | None = None  # noqa: N815


class _Inner(Struct, gc=False):
    resourceSpans: list[_ResourceSpans] | None = None  # noqa: N815
    batches: list[_ResourceSpans] | None = None


class _Request(_Inner, gc=False):
    """A request; Tempo (``trace``) and Jaeger v3 (``result``) wrap one up."""

    trace: _Inner | None = None
    result: _Inner | None = None
    status: str | None = None
    """``PARTIAL`` where Tempo gives a part of a trace only."""
    message: str | None = None


class _Array(Struct, gc=False):
    values: list["_Value"] | None = None


class _Value(Struct, gc=False):
    """The values an analysis may ask for; maps and bytes are among those nobody asks for."""

    stringValue: str | None = None  # noqa: N815
    intValue: Number = None  # noqa: N815
    boolValue: bool | None = None  # noqa: N815
    doubleValue: Number = None  # noqa: N815
    arrayValue: _Array | None = None  # noqa: N815


_DOCUMENT: Final = msgspec.json.Decoder(_Request | list[_Request])
_RESOURCE: Final = msgspec.json.Decoder(_Resource | None)
_VALUE: Final = msgspec.json.Decoder(_Value | None)
_SPAN: Final = msgspec.json.Decoder(_Span)

_KINDS: Final[Mapping[Number, SpanKind]] = {
    0: "internal",
    1: "internal",
    2: "server",
    3: "client",
    4: "producer",
    5: "consumer",
    "SPAN_KIND_INTERNAL": "internal",
    "SPAN_KIND_SERVER": "server",
    "SPAN_KIND_CLIENT": "client",
    "SPAN_KIND_PRODUCER": "producer",
    "SPAN_KIND_CONSUMER": "consumer",
}
_ERROR_CODES: Final = (2, "2", "STATUS_CODE_ERROR")
_CAMEL_PART: Final = re.compile(r"_([a-z])")
_NO_RESOURCE: Final = normalise.resource({})
_UNDERSTOOD: Final = names.UNDERSTOOD


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, an OTLP request or a list of them; ``None`` if it is none."""
    try:
        decoded = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return _salvage(document, where)
    requests = decoded if isinstance(decoded, list) else [decoded]
    found: list[Found] = []
    is_otlp = False
    for request in requests:
        if request.status == "PARTIAL" and request.trace is not None:
            found.append(_partial(where, request.message))
        for inner in (request, request.trace, request.result):
            if inner is None:
                continue
            batches = inner.resourceSpans if inner.resourceSpans is not None else inner.batches
            if batches is None:
                continue
            is_otlp = True
            for batch in batches:
                _read_batch(batch, where, found)
    if is_otlp:
        return found
    return _salvage(document, where) if b"_spans" in document else None


def _partial(where: str, message: str | None) -> Skipped:
    why = "Tempo gave only a part of this trace"
    return Skipped(where, f"{why}: {message}" if message else why)


def _read_batch(batch: _ResourceSpans, where: str, found: list[Found]) -> None:
    resource = _resource(batch.resource)
    for group in batch.scopeSpans or batch.instrumentationLibrarySpans or ():
        scope = group.scope or group.instrumentationLibrary
        scope_name = (scope.name or "") if scope is not None else ""
        found += [_span(wire, resource, scope_name, where) for wire in group.spans or ()]


def _span(wire: _Span, resource: normalise.Resource, scope: str, where: str) -> Found:
    start_ns = normalise.whole(wire.startTimeUnixNano)
    if start_ns is None or not wire.spanId:
        return Skipped(where, _what_is_missing(wire))
    end_ns = normalise.whole(wire.endTimeUnixNano)
    emitted = normalise.Emitted(
        trace_id(wire.traceId),
        span_id(wire.spanId),
        span_id(wire.parentSpanId),
        wire.name or "",
        _KINDS.get(wire.kind, "internal") if wire.kind != 1 else "internal",
        start_ns,
        # Protobuf writes nothing for 0, and some write 0 for nothing.
        end_ns if end_ns or not start_ns else None,
        wire.status is not None and wire.status.code in _ERROR_CODES,
        _links(wire.links) if wire.links else (),
    )
    understood: dict[str, object] = {}
    for pair in wire.attributes or ():
        if pair.key in _UNDERSTOOD:
            understood[pair.key] = _value(pair.value)
    return normalise.span(emitted, understood, resource, scope)


def _what_is_missing(wire: _Span) -> str:
    if not wire.spanId:
        return "a span without an id"
    if wire.startTimeUnixNano is None:
        return f"span {wire.spanId} has no start time"
    return f"span {wire.spanId} starts at {wire.startTimeUnixNano!r}, which is no time in ns"


def _links(links: list[_Link]) -> tuple[Link, ...]:
    found = []
    for link in links:
        why = None
        for pair in link.attributes or ():
            if pair.key == names.LINK:
                value = _value(pair.value)
                why = value if isinstance(value, str) else None
        found.append(Link(span_id(link.spanId), why))
    return tuple(found)


def _value(raw: Raw) -> object:
    """The value in `raw`; ``None`` for what is damaged or of a kind nobody asks for."""
    try:
        value = _VALUE.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    if value is None:
        return None
    if value.stringValue is not None:
        return value.stringValue
    if value.boolValue is not None:
        return value.boolValue
    if value.arrayValue is not None:
        return [item.stringValue for item in value.arrayValue.values or ()]
    return value.intValue if value.intValue is not None else value.doubleValue


_resources: dict[bytes, normalise.Resource] = {}


def _resource(raw: Raw) -> normalise.Resource:
    """The resource in `raw`. Exporters repeat the same block on every line: decoded once."""
    block = bytes(raw)
    known = _resources.get(block)
    if known is None:
        try:
            decoded = _RESOURCE.decode(block)
        except (msgspec.DecodeError, RecursionError):
            return _NO_RESOURCE
        pairs = (decoded.attributes or ()) if decoded is not None else ()
        known = normalise.resource(
            {p.key: _value(p.value) for p in pairs if p.key in normalise.RESOURCE_ATTRIBUTES}
        )
        if len(_resources) >= 256:
            _resources.clear()
        _resources[block] = known
    return known


# The forgiving way --------------------------------------------------------------------------


def _salvage(document: bytes, where: str) -> list[Found] | None:
    """The same as `read` for documents in another spelling, or with wrong types in places."""
    try:
        decoded = msgspec.json.decode(document)
    except RecursionError:
        return [Skipped(where, "nested too deeply to be a trace")]
    found: list[Found] = []
    is_otlp = False
    for request in _objects(decoded) if isinstance(decoded, list) else _objects([decoded]):
        if request.get("status") == "PARTIAL" and "trace" in request:
            message = request.get("message")
            found.append(_partial(where, message if isinstance(message, str) else None))
        for inner in (request, *_objects([request.get("trace"), request.get("result")])):
            for key in ("resourceSpans", "resource_spans", "batches"):
                if isinstance(inner.get(key), list):
                    is_otlp = True
                    for batch in _objects(inner[key]):
                        found.extend(_salvage_batch(batch, where))
    return found if is_otlp else None


def _salvage_batch(batch: dict[str, object], where: str) -> Iterator[Found]:
    batch = _camel(batch)
    resource_block = _camel_attributes(_camel(batch.get("resource")))
    resource = _resource(Raw(msgspec.json.encode(resource_block)))
    for key in ("scopeSpans", "instrumentationLibrarySpans"):
        for group in map(_camel, _objects(batch.get(key))):
            scope = group.get("scope", group.get("instrumentationLibrary"))
            name = scope.get("name") if isinstance(scope, dict) else None
            for span in map(_camel, _objects(group.get("spans"))):
                span.update(
                    {k: _hex(v, 32 if k == "traceId" else 16) for k, v in span.items() if k in _IDS}
                )
                span["links"] = [_camel_attributes(_camel(k)) for k in _objects(span.get("links"))]
                try:
                    wire = _SPAN.decode(msgspec.json.encode(_camel_attributes(span)))
                except msgspec.ValidationError as error:
                    yield Skipped(where, f"a span with a field of the wrong type: {error}")
                else:
                    yield _span(wire, resource, name if isinstance(name, str) else "", where)


_IDS: Final = ("traceId", "spanId", "parentSpanId")


def _hex(identity: object, digits: int) -> object:
    """An id that was written as a number, as its digits; anything else as it is."""
    if isinstance(identity, int) and 0 <= identity < 1 << 4 * digits:
        return f"{identity:0{digits}x}"
    return identity


def _objects(value: object) -> list[dict[str, object]]:
    """The JSON objects in `value`, if that is a list."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _camel(value: object) -> dict[str, object]:
    """The object `value` with its own keys in camelCase; anything else becomes an empty object."""
    if not isinstance(value, dict):
        return {}
    return {_CAMEL_PART.sub(lambda m: m[1].upper(), key): v for key, v in value.items()}


def _camel_attributes(owner: dict[str, object]) -> dict[str, object]:
    """`owner` with usable attributes only, the names of their value types in camelCase."""
    pairs = []
    for pair in _objects(owner.get("attributes")):
        value = _camel(pair.get("value"))
        array = value.get("arrayValue")
        if isinstance(array, dict):
            value["arrayValue"] = {"values": [_camel(v) for v in _objects(array.get("values"))]}
        if isinstance(pair.get("key"), str):
            pairs.append({"key": pair["key"], "value": value})
    return {**owner, "attributes": pairs}


FORMAT = JsonFormat("otlp-json", read)
