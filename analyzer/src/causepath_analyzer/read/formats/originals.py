"""The spans of an input as they were written, with everything on them, as OTLP protobuf.

Reading for an analysis decodes only what an analysis asks for. Writing a trace back needs the
rest: every attribute, event and link. OTLP and Jaeger keep all of it, so they can be carried over
whole; other formats are written anew from what was understood (see `export`).
"""

import binascii
import io
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Raw
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from causepath_analyzer import attributes as names
from causepath_analyzer.ids import SPAN_BYTES, TRACE_BYTES, id_bytes
from causepath_analyzer.read.format import span_id, trace_id
from causepath_analyzer.read.formats import jaeger_wire, otlp_protobuf
from causepath_analyzer.read.formats.jaeger_wire import US
from causepath_analyzer.read.formats.recognise import mended
from causepath_analyzer.read.input.documents import Document, documents
from causepath_analyzer.read.meaning import normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

CARRIED: Final = ("otlp-json", "otlp-protobuf", "jaeger-json")
"""Formats of which everything is carried over."""

_DEEPEST: Final = 16
_MOST_INT: Final = 2**63
_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_CODES: Final = ("UNSET", "OK", "ERROR")

Object = Mapping[str, Any]
T = TypeVar("T")


def originals(format_name: str | None, data: bytes) -> Iterator[ResourceSpans]:
    """Reads the spans in `data` as `format_name`, which is one of `CARRIED`.

    What is damaged is left out: reading has told of it.
    """
    if format_name == "otlp-protobuf":
        for _, message in otlp_protobuf.resource_spans(io.BytesIO(data)):
            with suppress(DecodeError):
                yield ResourceSpans.FromString(message or b"")
        return
    for document in documents(io.BytesIO(data)):
        if not isinstance(document, Document):
            continue
        if format_name == "otlp-json":
            yield from _otlp(_decoded(document.data, _ANY))
        else:
            yield from _jaeger(_decoded(document.data, jaeger_wire.DOCUMENT))


def value(found: object, deep: int = 0) -> AnyValue:
    """Makes `found`, as JSON has it, a value of an attribute."""
    match found:
        case bool():
            return AnyValue(bool_value=found)
        case int() if -_MOST_INT <= found < _MOST_INT:
            return AnyValue(int_value=found)
        case float():
            return AnyValue(double_value=found)
        case str():
            return AnyValue(string_value=_text(found))
        case None:
            return AnyValue()
        case list() | tuple() if deep < _DEEPEST:
            whole = AnyValue()
            whole.array_value.values.extend(value(one, deep + 1) for one in found)
            return whole
        case dict() if deep < _DEEPEST:
            whole = AnyValue()
            whole.kvlist_value.values.extend(
                KeyValue(key=_text(str(k)), value=value(v, deep + 1)) for k, v in found.items()
            )
            return whole
        case _:
            return AnyValue(string_value=_text(str(found)[:4096]))


def pairs(attributes: Mapping[str, object]) -> "list[KeyValue]":
    """Makes attributes as OTLP has them."""
    return [KeyValue(key=_text(name), value=value(said)) for name, said in attributes.items()]


def _decoded(data: bytes | Raw, decoder: "msgspec.json.Decoder[T]") -> T | None:
    with suppress(*_NOT_JSON):
        return decoder.decode(data)
    with suppress(*_NOT_JSON):
        return decoder.decode(mended(bytes(data)))
    return None


_ANY: Final = msgspec.json.Decoder()
_NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _text(found: object) -> str:
    text = found if isinstance(found, str) else ""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _objects(found: object) -> "Iterator[Object]":
    yield from (one for one in found if isinstance(one, dict)) if isinstance(found, list) else ()


def _object(found: object) -> Object:
    return found if isinstance(found, dict) else {}


def _get(owner: Object, name: str) -> Any:
    """Gives the field `name` in camelCase or snake_case."""
    if name in owner:
        return owner[name]
    return owner.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))


def _whole(found: object) -> int:
    number = normalise.whole(found)
    return number if number is not None and 0 <= number < 2**64 else 0


def _end(found: object) -> int:
    """Reads the end of a span, 0 if there is none; one before the epoch is before any start."""
    number = normalise.whole(found)
    return 1 if number is not None and number < 0 else _whole(found)


# OTLP/JSON -----------------------------------------------------------------------------------


def _otlp(document: object) -> Iterator[ResourceSpans]:
    for request in _objects(document if isinstance(document, list) else [document]):
        for inner in (request, _object(request.get("trace")), _object(request.get("result"))):
            batches = _get(inner, "resourceSpans")
            for batch in _objects(inner.get("batches") if batches is None else batches):
                yield _otlp_batch(batch)


def _otlp_batch(batch: Object) -> ResourceSpans:
    resource = _object(batch.get("resource"))
    whole = ResourceSpans(
        resource=Resource(attributes=_otlp_attributes(resource)),
        schema_url=_text(_get(batch, "schemaUrl")),
    )
    groups = _get(batch, "scopeSpans") or _get(batch, "instrumentationLibrarySpans")
    for group in _objects(groups):
        scope = _object(group.get("scope") or _get(group, "instrumentationLibrary"))
        whole.scope_spans.append(
            ScopeSpans(
                scope=InstrumentationScope(
                    name=_text(scope.get("name")),
                    version=_text(scope.get("version")),
                    attributes=_otlp_attributes(scope),
                ),
                spans=[span for one in _objects(group.get("spans")) if (span := _otlp_span(one))],
                schema_url=_text(_get(group, "schemaUrl")),
            )
        )
    return whole


def _otlp_span(wire: Object) -> Span | None:
    start = normalise.whole(_get(wire, "startTimeUnixNano"))
    own = _get(wire, "spanId")
    if start is None or not own:
        return None
    status = _object(wire.get("status"))
    return Span(
        trace_id=_trace_bytes(_get(wire, "traceId")),
        span_id=_span_bytes(own),
        parent_span_id=_span_bytes(_get(wire, "parentSpanId")),
        trace_state=_text(_get(wire, "traceState")),
        flags=_whole(wire.get("flags")) & 0xFFFFFFFF,
        name=_text(wire.get("name")),
        kind=_enum(wire.get("kind"), _KINDS, "SPAN_KIND_"),  # type: ignore[arg-type]
        start_time_unix_nano=_whole(start),
        end_time_unix_nano=_end(_get(wire, "endTimeUnixNano")),
        attributes=_otlp_attributes(wire),
        events=[
            Span.Event(
                time_unix_nano=_whole(_get(event, "timeUnixNano")),
                name=_text(event.get("name")),
                attributes=_otlp_attributes(event),
            )
            for event in _objects(wire.get("events"))
        ],
        links=[
            Span.Link(
                trace_id=_trace_bytes(_get(link, "traceId")),
                span_id=_span_bytes(_get(link, "spanId")),
                trace_state=_text(_get(link, "traceState")),
                attributes=_otlp_attributes(link),
            )
            for link in _objects(wire.get("links"))
        ],
        status=Status(
            code=_enum(status.get("code"), _CODES, "STATUS_CODE_"),  # type: ignore[arg-type]
            message=_text(status.get("message")),
        ),
    )


def _trace_bytes(identity: object) -> bytes:
    return id_bytes(trace_id(_hex(identity, 2 * TRACE_BYTES)), TRACE_BYTES)


def _span_bytes(identity: object) -> bytes:
    """Writes no bytes for no id, which is an absent or all-zero one."""
    found = span_id(_hex(identity, 2 * SPAN_BYTES))
    return id_bytes(found, SPAN_BYTES) if found else b""


def _hex(identity: object, digits: int) -> str:
    """Writes an id that was written as a number as its digits."""
    if isinstance(identity, int) and 0 <= identity < 1 << 4 * digits:
        return f"{identity:0{digits}x}"
    return identity if isinstance(identity, str) else ""


def _enum(found: object, names: "Sequence[str]", prefix: str) -> int:
    if isinstance(found, str) and found.removeprefix(prefix) in names:
        return names.index(found.removeprefix(prefix))
    number = normalise.whole(found)
    return number if number is not None and 0 <= number < len(names) else 0


def _otlp_attributes(owner: Object) -> "list[KeyValue]":
    return [
        KeyValue(key=_text(pair["key"]), value=_otlp_value(_object(pair.get("value"))))
        for pair in _objects(owner.get("attributes"))
        if isinstance(pair.get("key"), str)
    ]


def _otlp_value(wire: Object, deep: int = 0) -> AnyValue:
    for name in ("stringValue", "boolValue", "intValue", "doubleValue"):
        found = _get(wire, name)
        if found is not None:
            if name == "intValue":
                number = normalise.whole(found)
                return value(found if number is None else number)
            if name == "doubleValue":
                return value(_double(found))
            return value(found)
    whole = AnyValue()
    if deep >= _DEEPEST:
        return whole
    array, table = _get(wire, "arrayValue"), _get(wire, "kvlistValue")
    if isinstance(array, dict):
        whole.array_value.values.extend(
            _otlp_value(one, deep + 1) for one in _objects(array.get("values"))
        )
    elif isinstance(table, dict):
        whole.kvlist_value.values.extend(
            KeyValue(
                key=_text(one.get("key")), value=_otlp_value(_object(one.get("value")), deep + 1)
            )
            for one in _objects(table.get("values"))
        )
    elif isinstance(_get(wire, "bytesValue"), str):
        try:
            whole.bytes_value = binascii.a2b_base64(_get(wire, "bytesValue"))
        except ValueError:
            whole.string_value = _text(_get(wire, "bytesValue"))
    return whole


def _double(found: object) -> object:
    """Reads what Protobuf's JSON writes as text, as JSON has no numbers for it."""
    try:
        return float(found) if isinstance(found, int | float | str) else found
    except (ValueError, OverflowError):
        return found


# Jaeger --------------------------------------------------------------------------------------

_STATUS_MESSAGE: Final = "otel.status_description"
_TRACE_STATE: Final = "w3c.tracestate"
_DROPPED: Final = frozenset(
    (
        jaeger_wire.KIND,
        names.STATUS_CODE,
        _STATUS_MESSAGE,
        _TRACE_STATE,
        *names.SCOPE,
        *names.SCOPE_VERSION,
    )
)
"""Tags that have a field of their own in OTLP."""


def _jaeger(decoded: jaeger_wire.Document | None) -> Iterator[ResourceSpans]:
    for trace in jaeger_wire.traces(decoded or []):
        for raw in trace.spans or ():
            wire = _decoded(raw, jaeger_wire.SPAN)
            found = None if wire is None else _jaeger_span(wire, trace)
            if found is not None:
                yield found


def _jaeger_span(wire: jaeger_wire.Span, trace: jaeger_wire.Trace) -> ResourceSpans | None:
    start_us = normalise.whole(wire.startTime)
    if start_us is None or not wire.spanID or wire.operationName is None:
        return None
    process = wire.process or (trace.processes or {}).get(wire.processID or "")
    process = process or jaeger_wire.Process()
    tags = _tags(wire.tags)
    identity = wire.traceID or trace.traceID
    parent, others = jaeger_wire.parent_and_others(wire)
    duration_us = normalise.whole(wire.duration)
    failed = tags.get(names.STATUS_CODE) == "ERROR" or normalise.flag(tags.get("error")) is True
    code = 2 if failed else 1 if tags.get(names.STATUS_CODE) == "OK" else 0
    scope = next((tags[name] for name in names.SCOPE if name in tags), "")
    version = next((tags[name] for name in names.SCOPE_VERSION if name in tags), "")
    about = {k: v for k, v in _tags(process.tags).items() if k != names.SERVICE_NAME}
    if process.serviceName is not None:
        about = {names.SERVICE_NAME: process.serviceName, **about}
    span = Span(
        trace_id=_trace_bytes(identity),
        span_id=_span_bytes(wire.spanID),
        parent_span_id=_span_bytes(parent),
        trace_state=_text(tags.get(_TRACE_STATE)),
        name=_text(wire.operationName),
        kind=_enum(str(tags.get(jaeger_wire.KIND, "internal")).upper(), _KINDS, ""),  # type: ignore[arg-type]
        start_time_unix_nano=_whole(start_us * US),
        end_time_unix_nano=0 if duration_us is None else _whole((start_us + duration_us) * US),
        attributes=pairs({k: v for k, v in tags.items() if k not in _DROPPED}),
        events=[_log(log) for log in wire.logs or ()],
        links=[
            Span.Link(
                trace_id=_trace_bytes(reference.traceID or identity),
                span_id=_span_bytes(reference.spanID),
            )
            for reference, _ in others
        ],
        status=Status(code=code, message=_text(tags.get(_STATUS_MESSAGE))),  # type: ignore[arg-type]
    )
    return ResourceSpans(
        resource=Resource(attributes=pairs(about)),
        scope_spans=[
            ScopeSpans(
                scope=InstrumentationScope(name=_text(scope), version=_text(version)), spans=[span]
            )
        ],
    )


def _log(wire: jaeger_wire.Log) -> Span.Event:
    fields = _tags(wire.fields)
    name = fields.pop("event", None)
    at_us = normalise.whole(wire.timestamp) or 0
    return Span.Event(
        time_unix_nano=_whole(at_us * US), name=_text(name) or "log", attributes=pairs(fields)
    )


def _tags(found: "Sequence[jaeger_wire.Tag] | None") -> dict[str, object]:
    """Gives tags by name. Numbers and flags that the server wrote as text are what their type
    says."""
    tags: dict[str, object] = {}
    for tag in found or ():
        said = _decoded(tag.value, _ANY)
        if isinstance(said, str) and tag.type:
            said = _typed(said, _decoded(tag.type, _ANY))
        tags[tag.key] = said if not isinstance(said, dict) else json.dumps(said)
    return tags


def _typed(said: str, kind: object) -> object:
    if kind == "int64" and (number := normalise.whole(said)) is not None:
        return number
    if kind == "float64" and isinstance(double := _double(said), float):
        return double if math.isfinite(double) else said
    if kind == "bool" and (yes := normalise.flag(said)) is not None:
        return yes
    return said
