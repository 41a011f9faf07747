"""OTLP/JSON: what the collector, the SDKs' file exporters, Tempo and Jaeger v3 write.

The usual dialect (camelCase) is decoded by typed decoders that leave attribute values as raw
bytes. Whatever they refuse (snake_case names, a wrong type somewhere in the document) goes span by
span through `_salvage`, which is slow and forgiving.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.meaning import normalise, repeated_spans
from causepath_analyzer.read.meaning.asked import is_asked, labelled
from causepath_analyzer.read.meaning.content import Unread
from causepath_analyzer.read.meaning.repeated_spans import Completed, Read, Values, completed
from causepath_analyzer.read.meaning.span_kinds import BY_NUMBER

Number = int | str | float | None
_Int = Annotated[int, Meta(ge=1 - (1 << 63), le=(1 << 63) - 1)]


class _KeyValue(Struct, gc=False):
    key: str
    value: Raw = Raw(b"null")


class _Link(Struct, gc=False):
    traceId: str | None = None  # noqa: N815
    spanId: str = ""  # noqa: N815
    attributes: list[_KeyValue] | None = None


class _Event(Struct, gc=False):
    name: str | None = None
    timeUnixNano: Number = None  # noqa: N815
    attributes: Raw = Raw(b"")


_PAIRS: Final = msgspec.json.Decoder(list[_KeyValue])


class _Status(Struct, gc=False):
    code: Number = None


class _Span(Struct, gc=False):
    traceId: str = ""  # noqa: N815
    spanId: str = ""  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    name: str | None = None
    kind: Number = None
    startTimeUnixNano: _Int | None = None  # noqa: N815
    endTimeUnixNano: _Int | None = None  # noqa: N815
    attributes: list[_KeyValue] | None = None
    status: _Status | None = None
    links: list[_Link] | None = None
    events: list[_Event] | None = None


class _AnyTimes(_Span, gc=False):
    """A span that may be wrong about its times."""

    startTimeUnixNano: Number = None  # type: ignore[assignment]  # noqa: N815
    endTimeUnixNano: Number = None  # type: ignore[assignment]  # noqa: N815


class _Scope(Struct, gc=False):
    name: str | None = None
    version: str | None = None


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


class _Text(Struct, gc=False, forbid_unknown_fields=True, rename={"value": "stringValue"}):
    """A value that is nothing but a text; the next two are of other types."""

    value: Annotated[str, Meta(min_length=1)]


class _Count(Struct, gc=False, forbid_unknown_fields=True, rename={"value": "intValue"}):
    value: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]


class _Double(Struct, gc=False, forbid_unknown_fields=True, rename={"value": "doubleValue"}):
    value: float


# Not strict: 64-bit integers are texts in OTLP/JSON, and decoded as numbers.
_DOCUMENT: Final = msgspec.json.Decoder(_Request | list[_Request], strict=False)
_RESOURCE: Final = msgspec.json.Decoder(_Resource | None)
_VALUE: Final = msgspec.json.Decoder(_Value | None)
_SPAN: Final = msgspec.json.Decoder(_AnyTimes)

_KINDS: Final[Mapping[Number, SpanKind]] = {
    **dict(enumerate(BY_NUMBER)),
    "SPAN_KIND_INTERNAL": "internal",
    "SPAN_KIND_SERVER": "server",
    "SPAN_KIND_CLIENT": "client",
    "SPAN_KIND_PRODUCER": "producer",
    "SPAN_KIND_CONSUMER": "consumer",
}
_ERROR_CODES: Final = (2, "2", "STATUS_CODE_ERROR")
_CAMEL_PART: Final = re.compile(r"_([a-z])")
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
    # In another spelling, or a part of a request alone.
    return _salvage(document, where) if any(mark in document for mark in _MARKS) else None


def _partial(where: str, message: str | None) -> Skipped:
    why = "Tempo gave only a part of this trace"
    return Skipped(where, f"{why}: {message}" if message else why)


def _read_batch(batch: _ResourceSpans, where: str, found: list[Found]) -> None:
    resource = _resource(batch.resource)
    for group in batch.scopeSpans or batch.instrumentationLibrarySpans or ():
        scope = group.scope or group.instrumentationLibrary
        name, version = (
            (scope.name or "", scope.version or None) if scope is not None else ("", None)
        )
        spans = group.spans or ()
        _read_group(spans, resource, name, version, where, found)
        if is_asked():
            _label(found, spans, batch.resource)


def _label(found: list[Found], spans: Sequence[_Span], resource: Raw) -> None:
    """Adds what is asked for to the last ones that were `found`, which are of `spans`."""
    told = _by_name(_pairs_of(bytes(resource)) or ())
    for at, wire in enumerate(spans, start=len(found) - len(spans)):
        found[at] = labelled(found[at], _by_name(wire.attributes or ()), resource=told)


def _by_name(pairs: Iterable[_KeyValue]) -> dict[str, object]:
    return {pair.key: Unread(bytes(pair.value), _anything_in) for pair in pairs}


def _anything_in(data: bytes) -> object:
    """The value in `data`, of whatever kind; ``None`` for what is damaged."""
    try:
        return _bare(_anything(data))
    except (ValueError, RecursionError):
        return None


def _bare(value: object) -> object:
    """Takes out what stands in a value of OTLP, where lists and maps are of such values again."""
    if not isinstance(value, dict) or not value:
        return None
    kind, held = next(iter(value.items()))
    match kind:
        case "intValue" | "int_value" | "doubleValue" | "double_value" if isinstance(held, str):
            number = normalise.whole(held)
            return held if number is None else number
        case "arrayValue" | "array_value":
            return [_bare(one) for one in _values_in(held)]
        case "kvlistValue" | "kvlist_value":
            pairs = _objects(_values_in(held))
            return {str(one.get("key")): _bare(one.get("value")) for one in pairs}
    return held


def _values_in(held: object) -> list[object]:
    values = held.get("values") if isinstance(held, dict) else None
    return values if isinstance(values, list) else []


def _read_group(
    spans: Sequence[_Span],
    resource: normalise.Resource,
    scope: str,
    version: str | None,
    where: str,
    found: list[Found],
) -> None:
    """Adds the spans that one instrumentation emitted. One loop, gone through for every span."""
    known = repeated_spans.known_of(EMITTERS, scope, resource, _VALUES)
    known.seen += len(spans)
    layouts, trace_ids = known.layouts, _trace_ids
    scope_said = scope or None
    for wire in spans:
        start_ns, end_ns, own = wire.startTimeUnixNano, wire.endTimeUnixNano, wire.spanId
        if start_ns is None or not own:
            found.append(Skipped(where, _what_is_missing(wire)))
            continue
        if not end_ns:
            # Protobuf writes nothing for 0, and some write 0 for nothing.
            end_ns = None if start_ns else end_ns
        trace = trace_ids.get(wire.traceId) or _trace_id(wire.traceId)
        # 16 characters in lower case need no second look.
        if len(own) != 16 or own != own.lower() or own < _LEAST_ID:
            own = span_id(own)
        parent = wire.parentSpanId or ""
        if parent and (len(parent) != 16 or parent != parent.lower() or parent < _LEAST_ID):
            parent = span_id(parent)
        status, pairs = wire.status, wire.attributes or ()
        code = status.code if status is not None else None
        layout, shape, words = repeated_spans.NO_LAYOUT, None, b""
        if known.is_open:
            keys = tuple([pair.key for pair in pairs])
            layout = layouts.get(keys) or known.new_layout(keys)
            if layout.words:
                words = b"".join([pairs[at].value for at in layout.words])
            shape = layout.shapes.get((wire.name, wire.kind, code, words))
        own_facts: Completed | None = None
        if shape is not None and shape.is_usual and not (wire.events and _tells(wire.events, code)):
            own_facts = completed(shape, pairs, start_ns) if shape.has_free else shape.facts
        if shape is None or own_facts is None:
            understood = _understood(wire)
            name, kind = wire.name or "", _KINDS.get(wire.kind, "internal")
            failed = code in _ERROR_CODES
            found.append(
                normalise.of_parts(
                    trace,
                    own,
                    parent,
                    name,
                    kind,
                    start_ns,
                    end_ns,
                    failed,
                    _links(wire.links, wire.traceId) if wire.links else (),
                    understood,
                    resource,
                    scope,
                    version,
                )
            )
            if shape is None and known.is_open and not wire.events:
                key = wire.name, wire.kind, code, words
                known.learn(layout, key, name, kind, failed, pairs, understood)
            continue
        found.append(
            repeated_spans.span(
                shape,
                own_facts,
                trace,
                own,
                parent,
                start_ns,
                end_ns,
                _links(wire.links, wire.traceId) if wire.links else (),
                resource,
                scope_said,
                version,
            )
        )


def _trace_id(raw: str) -> str:
    if len(_trace_ids) >= _MOST_IDS:
        _trace_ids.clear()
    found = _trace_ids[raw] = trace_id(raw)
    return found


_LEAST_ID: Final = "0000000000000001"
"""Nothing but zeros stands for no id."""
_trace_ids: dict[str, str] = {}
_MOST_IDS: Final = 1 << 16
EMITTERS: Final[repeated_spans.Emitters] = {}


def _understood(wire: _Span) -> dict[str, object]:
    """Every attribute of `wire` that is worth decoding."""
    understood: dict[str, object] = {}
    for pair in wire.attributes or ():
        key = pair.key
        if key in _UNDERSTOOD:
            understood[key] = _content(pair.value) if key in _LONG else _value(pair.value)
    if wire.events:
        _read_events(wire.events, understood)
    return understood


def _tells(events: list[_Event], code: Number) -> bool:
    """Tells whether one of `events` says when the first token came, or what went wrong."""
    failed = code in _ERROR_CODES
    return any(
        event.name in names.FIRST_TOKEN_EVENTS or (failed and event.name == names.EXCEPTION)
        for event in events
    )


def _read_events(events: list[_Event], understood: dict[str, object]) -> None:
    """Reads from events what no attribute says: when the first token came, what went wrong."""
    for event in events:
        if event.name in names.FIRST_TOKEN_EVENTS:
            understood.setdefault(names.FIRST_TOKEN_NS, normalise.whole(event.timeUnixNano))
        elif event.name == names.EXCEPTION and event.attributes:
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                for pair in _PAIRS.decode(event.attributes):
                    if pair.key == names.EXCEPTION_TYPE:
                        understood.setdefault(names.EXCEPTION_TYPE, _value(pair.value))


def _what_is_missing(wire: _Span) -> str:
    if not wire.spanId:
        return "a span without an id"
    if wire.startTimeUnixNano is None:
        return f"span {wire.spanId} has no start time"
    return f"span {wire.spanId} starts at {wire.startTimeUnixNano!r}, which is no time in ns"


def _links(links: list[_Link], here: str) -> tuple[Link, ...]:
    """The `links` of a span in the trace with the id `here`, as it is on the wire."""
    found = []
    for link in links:
        told = {p.key: _value(p.value) for p in link.attributes or () if p.key in names.LINKS}
        away = link.traceId
        elsewhere = (_trace_ids.get(away) or _trace_id(away)) if away and away != here else ""
        if elsewhere == _trace_ids.get(here):
            elsewhere = ""
        found.append(Link(span_id(link.spanId), normalise.why_linked(told), elsewhere))
    return tuple(found)


def _value(raw: Raw) -> object:
    """The value in `raw`; ``None`` for what is damaged or of a kind nobody asks for."""
    data = bytes(raw)
    if data in _values:
        return _values[data]
    found = _decoded(data)
    if len(data) <= _SHORT:
        # Names, flags and small numbers come again and again.
        if len(_values) >= _MOST_VALUES:
            _values.clear()
        _values[data] = found
    return found


def _content(raw: Raw) -> object:
    """A text that may be long, not decoded yet; any other value as `_value` gives it."""
    data = bytes(raw)
    return Unread(data, _decoded) if data[:16] == _PLAIN_TEXT else _decoded(data)


_PLAIN: Final = (_Count, _Double, _Text)


def _plain(raw: Raw) -> type[Struct] | None:
    """The type of the value in `raw`, if it is text or number and nothing else."""
    return next((kind for kind in _PLAIN if _reader((kind,))([raw]) is not None), None)


@lru_cache(maxsize=1024)
def _reader(types: tuple[type[Struct], ...]) -> Read:
    """Reads several values, of these types, with one call of the decoder."""
    decoder: msgspec.json.Decoder[tuple[Struct, ...]]
    decoder = msgspec.json.Decoder(tuple.__class_getitem__(types), strict=False)
    decode, value = decoder.decode, attrgetter("value")

    def read(raws: list[Raw]) -> Iterable[object] | None:
        try:
            return map(value, decode(b"[%b]" % b",".join(raws)))
        except (msgspec.ValidationError, RecursionError):
            return None

    return read


_VALUES: Final = Values(_plain, _reader, _content, _value)
_LONG: Final = names.CONTENT
_SHORT: Final = 72
_MOST_VALUES: Final = 4096
_values: dict[bytes, object] = {}


def _decoded(data: bytes) -> object:
    # As the collector and the SDKs write them, which is quicker to see than to decode.
    if data[:16] == _PLAIN_TEXT and data[-2:] == b'"}' and b"\\" not in data:
        text = data[16:-2]
        if b'"' not in text and text.isascii():
            return text.decode("ascii")
    elif data[:13] == _PLAIN_INT and data[13:-2].isdigit() and len(data) < 34:
        return int(data[13:-2])
    try:
        value = _VALUE.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
    if value is None:
        return None
    if value.stringValue is not None:
        return value.stringValue
    if value.boolValue is not None:
        return value.boolValue
    if value.arrayValue is not None:
        # Shared between spans, so it must not be changed.
        return tuple(item.stringValue for item in value.arrayValue.values or ())
    if value.intValue is not None:
        return normalise.whole(value.intValue) if type(value.intValue) is str else value.intValue
    return value.doubleValue


_PLAIN_TEXT: Final = b'{"stringValue":"'
_PLAIN_INT: Final = b'{"intValue":"'

_resources: dict[bytes, normalise.Resource] = {}


def _resource(raw: Raw) -> normalise.Resource:
    """The resource in `raw`. Exporters repeat the same block on every line: decoded once."""
    block = bytes(raw)
    known = _resources.get(block)
    if known is None:
        pairs = _pairs_of(block)
        if pairs is None:
            return normalise.NO_RESOURCE
        known = normalise.resource(
            {p.key: _value(p.value) for p in pairs if p.key in normalise.RESOURCE_ATTRIBUTES}
        )
        if len(_resources) >= 256:
            _resources.clear()
        _resources[block] = known
    return known


def _pairs_of(block: bytes) -> Sequence[_KeyValue] | None:
    """The attributes of the resource in `block`; ``None`` if it is damaged."""
    try:
        decoded = _RESOURCE.decode(block)
    except (msgspec.DecodeError, RecursionError):
        return None
    return (decoded.attributes or ()) if decoded is not None else ()


# The forgiving way --------------------------------------------------------------------------


def _anything(document: bytes) -> object:
    """Decodes JSON, also with numbers beyond what a float holds."""
    try:
        return msgspec.json.decode(document)
    except msgspec.ValidationError:
        with suppress(ValueError):
            return json.loads(document)
        raise


def _salvage(document: bytes, where: str) -> list[Found] | None:
    """The same as `read` for documents in another spelling, or with wrong types in places."""
    try:
        decoded = _anything(document)
    except RecursionError:
        return [Skipped(where, "nested too deeply to be a trace")]
    found: list[Found] = []
    is_otlp = False
    for request in _objects(decoded) if isinstance(decoded, list) else _objects([decoded]):
        if request.get("status") == "PARTIAL" and "trace" in request:
            message = request.get("message")
            found.append(_partial(where, message if isinstance(message, str) else None))
        for part in _parts(request):
            is_otlp = True
            found.extend(_salvage_batch(part, where))
        for inner in (request, *_objects([request.get("trace"), request.get("result")])):
            for key in ("resourceSpans", "resource_spans", "batches"):
                if isinstance(inner.get(key), list):
                    is_otlp = True
                    for batch in _objects(inner[key]):
                        found.extend(_salvage_batch(batch, where))
    return found if is_otlp else None


_MARKS: Final = (b"_spans", b'"scopeSpans"', b'"startTimeUnixNano"')


def _parts(request: dict[str, object]) -> Iterator[dict[str, object]]:
    """A batch, a scope with its spans or a span that stands where a request should."""
    if any(isinstance(request.get(key), list) for key in ("scopeSpans", "scope_spans")):
        yield request
    elif "startTimeUnixNano" in request and any(key in request for key in _OF_A_SPAN):
        yield {"scopeSpans": [{"spans": [request]}]}
    elif any("startTimeUnixNano" in span for span in _objects(request.get("spans"))):
        yield {"scopeSpans": [request]}


def _salvage_batch(batch: dict[str, object], where: str) -> Iterator[Found]:
    batch = _camel(batch)
    resource_block = _camel_attributes(_camel(batch.get("resource")))
    block = Raw(msgspec.json.encode(resource_block))
    resource = _resource(block)
    for key in ("scopeSpans", "instrumentationLibrarySpans"):
        for group in map(_camel, _objects(batch.get(key))):
            name, version = _named(group.get("scope", group.get("instrumentationLibrary")))
            for span in map(_camel, _objects(group.get("spans"))):
                span.update(
                    {k: _hex(v, 32 if k == "traceId" else 16) for k, v in span.items() if k in _IDS}
                )
                span["events"] = [
                    _camel_attributes(_camel(e)) for e in _objects(span.get("events"))
                ]
                span["links"] = [
                    _with_text_ids(_camel_attributes(_camel(k)))
                    for k in _objects(span.get("links"))
                ]
                try:
                    wire = _SPAN.decode(msgspec.json.encode(_camel_attributes(span)))
                except msgspec.ValidationError as error:
                    yield Skipped(where, f"a span with a field of the wrong type: {error}")
                    continue
                start_ns = normalise.whole(wire.startTimeUnixNano)
                if start_ns is None:
                    yield Skipped(where, _what_is_missing(wire))
                    continue
                wire.startTimeUnixNano = start_ns
                wire.endTimeUnixNano = normalise.whole(wire.endTimeUnixNano)
                found: list[Found] = []
                _read_group((wire,), resource, name, version, where, found)
                if is_asked():
                    _label(found, (wire,), block)
                yield from found


def _named(scope: object) -> tuple[str, str | None]:
    """Name and version of a scope, where they are texts."""
    said = scope if isinstance(scope, dict) else {}
    name, version = said.get("name"), said.get("version")
    return (
        name if isinstance(name, str) else "",
        version if isinstance(version, str) and version else None,
    )


_OF_A_SPAN: Final = ("spanId", "name", "attributes")
"""A trace that Tempo found has none of these."""
_IDS: Final = ("traceId", "spanId", "parentSpanId")


def _with_text_ids(link: dict[str, object]) -> dict[str, object]:
    trace = _hex(link.get("traceId"), 32)
    return {**link, "traceId": trace if isinstance(trace, str) else None}


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
