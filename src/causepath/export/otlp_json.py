"""Spans of the SDK as OTLP/JSON: what the collector reads, with nothing but the SDK itself.

As protobuf maps messages to JSON, but for what OTLP says otherwise: ids are hexadecimal, and
enumerations are numbers. A field that has its default is left out.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, TraceState

    Json = dict[str, Any]

KINDS = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}

IS_REMOTE_IS_KNOWN, IS_REMOTE = 0x100, 0x200
"""The flags of a span tell of its parent, those of a link of what it points at."""

INT64 = range(-(2**63), 2**63)


class NoValueError(ValueError):
    """An attribute's value that OTLP has no form for."""


def line(spans: Sequence[ReadableSpan]) -> bytes:
    """Give the request that exports `spans`, on one line of ASCII."""
    data = request(spans)
    text = json.dumps(data, separators=(",", ":"))
    if "\\ud" in text:  # perhaps half of a surrogate pair, which many readers refuse
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            mended = json.dumps(data, ensure_ascii=False).encode(errors="replace")
            text = json.dumps(json.loads(mended), separators=(",", ":"))
    return text.encode() + b"\n"


def request(spans: Sequence[ReadableSpan]) -> Json:
    """Give an `ExportTraceServiceRequest`: spans by resource and scope, each as it comes first."""
    groups: dict[Resource, dict[InstrumentationScope | None, list[Json]]] = {}
    resource, scopes = None, {}
    for span in spans:
        if span.resource is not resource:  # it takes long to hash, and is mostly the same
            resource = span.resource
            scopes = groups.setdefault(resource, {})
        scopes.setdefault(span.instrumentation_scope, []).append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": _with_attributes({}, resource.attributes),
                "scopeSpans": [
                    {
                        "scope": _scope(scope),
                        "spans": found,
                        **_unless_empty("schemaUrl", scope.schema_url if scope else None),
                    }
                    for scope, found in scopes.items()
                ],
                **_unless_empty("schemaUrl", resource.schema_url),
            }
            for resource, scopes in groups.items()
        ]
    }


def _scope(scope: InstrumentationScope | None) -> Json:
    if scope is None:
        return {}
    names = {**_unless_empty("name", scope.name), **_unless_empty("version", scope.version)}
    return _with_attributes(names, scope.attributes)


def _span(span: ReadableSpan) -> Json:
    context = span.context
    found = _point(context) if context is not None else {}
    if span.parent is not None:
        found["parentSpanId"] = f"{span.parent.span_id:016x}"
    if span.name:
        found["name"] = span.name
    found["kind"] = KINDS[span.kind]
    if span.start_time:
        found["startTimeUnixNano"] = str(span.start_time)
    if span.end_time:
        found["endTimeUnixNano"] = str(span.end_time)
    _with_attributes(found, span.attributes, span.dropped_attributes)
    if span.events:
        found["events"] = [_event(event) for event in span.events]
    if span.dropped_events:
        found["droppedEventsCount"] = span.dropped_events
    if span.links:
        found["links"] = [_link(link) for link in span.links]
    if span.dropped_links:
        found["droppedLinksCount"] = span.dropped_links
    status = found["status"] = {}
    if span.status.description:
        status["message"] = span.status.description
    if span.status.status_code.value:
        status["code"] = span.status.status_code.value
    found["flags"] = _flags(span.parent)
    return found


def _event(event: Event) -> Json:
    found: Json = {}
    if event.timestamp:
        found["timeUnixNano"] = str(event.timestamp)
    if event.name:
        found["name"] = event.name
    return _with_attributes(found, event.attributes, event.dropped_attributes)


def _link(link: Link) -> Json:
    found = _with_attributes(_point(link.context), link.attributes, link.dropped_attributes)
    found["flags"] = _flags(link.context)
    return found


def _point(context: SpanContext) -> Json:
    found: Json = {"traceId": f"{context.trace_id:032x}", "spanId": f"{context.span_id:016x}"}
    state: TraceState | None = context.trace_state
    if state:
        found["traceState"] = ",".join(f"{key}={value}" for key, value in state.items())
    return found


def _flags(context: SpanContext | None) -> int:
    is_remote = context is not None and context.is_remote
    return IS_REMOTE_IS_KNOWN | IS_REMOTE if is_remote else IS_REMOTE_IS_KNOWN


def _with_attributes(
    found: Json, attributes: Mapping[str, Any] | None, dropped: int | None = 0
) -> Json:
    """Add attributes; what has no form in OTLP is counted with those that the SDK dropped."""
    dropped = dropped or 0
    values = []
    for key, value in (attributes or {}).items():
        try:
            values.append({"key": key, "value": _value(value)})
        except NoValueError:  # noqa: PERF203 - each on its own
            dropped += 1
    if values:
        found["attributes"] = values
    if dropped:
        found["droppedAttributesCount"] = dropped
    return found


def _value(value: Any) -> Json:
    """Give an `AnyValue`. The kinds that spans have most come first."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        if value not in INT64:
            raise NoValueError
        return {"intValue": str(int(value))}
    if isinstance(value, float):
        return {"doubleValue": float(value) if math.isfinite(value) else _no_number(value)}
    if value is None:
        return {}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, Sequence):
        return {"arrayValue": _unless_empty("values", [_value(one) for one in value])}
    if isinstance(value, Mapping):
        items = [
            {**_unless_empty("key", str(key)), "value": _value(one)} for key, one in value.items()
        ]
        return {"kvlistValue": _unless_empty("values", items)}
    raise NoValueError


def _no_number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _unless_empty(name: str, value: Any) -> Json:
    return {name: value} if value else {}
