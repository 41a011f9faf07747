"""OTLP protobuf: export requests (``TracesData``), one or several in a row, plain or framed.

A request is a sequence of ``ResourceSpans``, each as field 1, so a file is read one of these at a
time. The collector's file exporter puts a four-byte big-endian length before each message.
"""

import binascii
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, Final

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Link, Skipped, Span
from causepath_analyzer.read.format import BinaryFormat, Found
from causepath_analyzer.read.formats.not_a_trace import LOGS, METRICS
from causepath_analyzer.read.input.source import read_exactly
from causepath_analyzer.read.meaning import normalise, repeated_spans
from causepath_analyzer.read.meaning.asked import is_asked, labelled
from causepath_analyzer.read.meaning.span_kinds import kind_of

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1 import trace_pb2

_FIELD_1: Final = 0x0A  # field 1, length-delimited
_FIELDS_OF_RESOURCE_SPANS: Final = (0x0A, 0x12, 0x1A)
_LENGTH_BYTES: Final = 4
_HEAD: Final = 32
_LONGEST: Final = 1 << 30
_ERROR_CODE: Final = 2
_ID_BYTES: Final = 8


def recognise(head: bytes) -> bool:
    """Tells whether `head` starts an OTLP message with spans, plain or after a frame's length."""
    if all(byte >= 0x20 or byte in b"\t\n\r" for byte in head):
        return False  # text: a line feed followed by a brace looks like a field and its length
    return _starts_message(head) or (_is_framed(head) and _starts_message(head[_LENGTH_BYTES:]))


def frames(stream: BinaryIO) -> Iterator[int]:
    """Finds the frames of `stream` that a reader could begin with; nothing else is read."""
    position = 0
    while head := stream.read(_HEAD):
        length = int.from_bytes(head[:_LENGTH_BYTES], "big")
        if not length:
            return
        if _is_framed(head) and recognise(head):
            yield position
        position += _LENGTH_BYTES + length
        stream.seek(position)


def _is_framed(head: bytes) -> bool:
    return 0 < int.from_bytes(head[:_LENGTH_BYTES], "big") < _LONGEST and head[:1] == b"\0"


def _starts_message(head: bytes) -> bool:
    if head[:1] != bytes((_FIELD_1,)):
        return False
    length, size = 0, 0
    for size, byte in enumerate(head[1:11], start=1):
        length |= (byte & 0x7F) << 7 * (size - 1)
        if byte < 0x80:
            break
    return length == 0 or head[1 + size : 2 + size] in map(_byte, _FIELDS_OF_RESOURCE_SPANS)


def _byte(value: int) -> bytes:
    return bytes((value,))


def read(stream: BinaryIO, passed_over: Callable[[str], None]) -> Iterator[Found]:
    """The spans of all messages in `stream`. Tells `passed_over` of logs and metrics."""
    # The generated code takes 40 ms to import, which users of JSON need not wait for.
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.trace.v1 import trace_pb2

    for where, message in resource_spans(stream):
        if message is None:
            # Framed messages go on after it; anything else ends here.
            yield Skipped(where, "cut off or no OTLP protobuf from here on")
            continue
        batch = trace_pb2.ResourceSpans()
        damaged = False
        try:
            batch.ParseFromString(message)
        except DecodeError:
            damaged = True
        if damaged or not _has_spans(batch):
            # The messages of other signals have the same outer fields.
            signal = _other_signal(message)
            if signal is not None:
                passed_over(signal)
                continue
            inner = trace_pb2.TracesData()
            try:
                # Tempo's second API has one message more around it.
                inner.ParseFromString(message)
            except DecodeError:
                inner.Clear()
            if any(map(_has_spans, inner.resource_spans)):
                for of_trace in inner.resource_spans:
                    yield from _batch(of_trace, where)
                continue
        if damaged:
            yield Skipped(where, f"{len(message)} bytes that are no OTLP protobuf")
        else:
            yield from _batch(batch, where)


def _has_spans(batch: "trace_pb2.ResourceSpans") -> bool:
    """Tells whether what was read as spans has the ids of spans."""
    spans = (span for group in batch.scope_spans for span in group.spans)
    return any(len(span.span_id) == _ID_BYTES for span in spans)


def _other_signal(message: bytes) -> str | None:
    """Names the signal of `message`, if it is another one. Fields of other types read as absent."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
    from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

    try:
        metrics = ResourceMetrics.FromString(message)
        if any(m.WhichOneof("data") for group in metrics.scope_metrics for m in group.metrics):
            return METRICS
    except DecodeError:
        pass
    try:
        logs = ResourceLogs.FromString(message)
        records = (record for group in logs.scope_logs for record in group.log_records)
        if any(record.time_unix_nano or record.observed_time_unix_nano for record in records):
            return LOGS
    except DecodeError:
        pass
    return None


def resource_spans(stream: BinaryIO) -> Iterator[tuple[str, bytes | None]]:
    """Place and bytes of each ``ResourceSpans``; no bytes where the stream breaks off."""
    first = stream.read(1)
    if first == b"\0":
        yield from _frames(first, stream)
    else:
        yield from _fields(first, stream, 0)


def _frames(first: bytes, stream: BinaryIO) -> Iterator[tuple[str, bytes | None]]:
    position = 0
    while first:
        length_bytes = first + stream.read(_LENGTH_BYTES - 1)
        length = int.from_bytes(length_bytes, "big")
        frame = read_exactly(stream, length) if length < _LONGEST else b""
        if len(length_bytes) < _LENGTH_BYTES or len(frame) < length:
            yield f"byte {position}", None
            return
        message = io.BytesIO(frame)
        yield from _fields(message.read(1), message, position + _LENGTH_BYTES)
        position += _LENGTH_BYTES + length
        first = stream.read(1)


def _fields(first: bytes, stream: BinaryIO, position: int) -> Iterator[tuple[str, bytes | None]]:
    while first:
        length, size = _varint(stream)
        fits = first[0] == _FIELD_1 and 0 <= length < _LONGEST
        body = read_exactly(stream, length) if fits else None
        if body is None or len(body) < length:
            yield f"byte {position}", None
            return
        yield f"byte {position}", body
        position += 1 + size + length
        first = stream.read(1)


def _varint(stream: BinaryIO) -> tuple[int, int]:
    """A variable-length integer and the bytes it took; negative if it does not end."""
    value = 0
    for size in range(10):
        byte = stream.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << 7 * size
        if byte[0] < 0x80:
            return value, size + 1
    return -1, 0


def _batch(batch: "trace_pb2.ResourceSpans", where: str) -> Iterator[Found]:
    resource = normalise.resource(
        _understood(batch.resource.attributes, normalise.RESOURCE_ATTRIBUTES)
    )
    for group in batch.scope_spans:
        scope, version = group.scope.name, group.scope.version or None
        known = _known(scope, resource)
        known.seen += len(group.spans)
        for wire in group.spans:
            if not wire.span_id:
                yield Skipped(where, "a span without an id")
                continue
            span = _span(wire, resource, scope, version, known)
            if is_asked():
                told = _by_name(batch.resource.attributes)
                span = labelled(span, _by_name(wire.attributes), resource=told)
            yield span


def _by_name(pairs: "Iterable[KeyValue]") -> dict[str, object]:
    return {pair.key: _anything(pair.value) for pair in pairs}


def _anything(value: "AnyValue") -> object:
    """The value in `value`, of whatever kind."""
    match kind := value.WhichOneof("value"):
        case "array_value":
            return [_anything(one) for one in value.array_value.values]
        case "kvlist_value":
            return _by_name(value.kvlist_value.values)
        case "bytes_value":
            return binascii.b2a_base64(value.bytes_value, newline=False).decode()
        case None:
            return None
    return getattr(value, kind)


def _span(
    wire: "trace_pb2.Span",
    resource: normalise.Resource,
    scope: str,
    version: str | None,
    known: repeated_spans.Known,
) -> Span:
    start_ns, end_ns = wire.start_time_unix_nano, wire.end_time_unix_nano
    trace_id, span_id = sys.intern(wire.trace_id.hex()), wire.span_id.hex()
    parent = wire.parent_span_id
    parent_id = parent.hex() if parent.strip(b"\0") else ""
    ended_ns = end_ns if end_ns or not start_ns else None
    links = tuple([_link(link, wire.trace_id) for link in wire.links]) if wire.links else ()
    pairs = list(wire.attributes)
    layout = repeated_spans.NO_LAYOUT
    if known.is_open:
        layout = known.layout(tuple([pair.key for pair in pairs]))
    words = b"".join([pairs[at].SerializeToString() for at in layout.words])
    key = wire.name, wire.kind, wire.status.code, words
    shape = layout.shapes.get(key)
    has_events = bool(wire.events)
    failed = wire.status.code == _ERROR_CODE
    tells = has_events and any(
        event.name in names.FIRST_TOKEN_EVENTS or (failed and event.name == names.EXCEPTION)
        for event in wire.events
    )
    if shape is not None and shape.is_usual and not tells:
        own = repeated_spans.completed(shape, pairs, start_ns) if shape.has_free else shape.facts
        if own is not None:
            return repeated_spans.span(
                shape,
                own,
                trace_id,
                span_id,
                parent_id,
                start_ns,
                ended_ns,
                links,
                resource,
                scope or None,
                version,
            )
    kind = kind_of(wire.kind)
    understood = _understood(pairs, names.UNDERSTOOD)
    if tells:
        for event in wire.events:
            if event.name in names.FIRST_TOKEN_EVENTS:
                understood.setdefault(names.FIRST_TOKEN_NS, event.time_unix_nano)
            elif event.name == names.EXCEPTION:
                told = _understood(event.attributes, frozenset((names.EXCEPTION_TYPE,)))
                understood = told | understood
    elif shape is None:
        known.learn(layout, key, wire.name, kind, failed, pairs, understood)
    return normalise.of_parts(
        trace_id,
        span_id,
        parent_id,
        wire.name,
        kind,
        start_ns,
        ended_ns,
        failed,
        links,
        understood,
        resource,
        scope,
        version,
    )


def _link(link: "trace_pb2.Span.Link", here: bytes) -> Link:
    away = link.trace_id.hex() if link.trace_id not in (b"", here) else ""
    why = normalise.why_linked(_understood(link.attributes, names.LINKS))
    return Link(link.span_id.hex(), why, away)


def _understood(pairs: "Iterable[KeyValue]", wanted: frozenset[str]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs if pair.key in wanted}


def _value(value: "AnyValue") -> object:
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case "array_value":
            return [item.string_value for item in value.array_value.values]
        case _:
            return None


def _plain(value: "AnyValue") -> str | None:
    """The field of `value` that holds it, if it is text or number and nothing else."""
    kind = value.WhichOneof("value")
    return kind if kind in ("string_value", "int_value", "double_value") else None


@lru_cache(maxsize=1024)
def _reader(fields: tuple[str, ...]) -> repeated_spans.Read:
    """Reads several values from these fields."""

    def read(values: "list[AnyValue]") -> list[object] | None:
        found: list[object] = []
        for value, field in zip(values, fields, strict=True):
            held = getattr(value, field)
            # What is not there looks like an empty text or a zero.
            if not held and (field == "string_value" or value.WhichOneof("value") != field):
                return None
            if field == "int_value" and held < 0:
                return None
            found.append(held)
        return found

    return read


_VALUES: Final = repeated_spans.Values(_plain, _reader, _value, _value)


def _known(scope: str, resource: normalise.Resource) -> repeated_spans.Known:
    return repeated_spans.known_of(EMITTERS, scope, resource, _VALUES)


EMITTERS: Final[repeated_spans.Emitters] = {}


FORMAT = BinaryFormat("otlp-protobuf", recognise, read)
