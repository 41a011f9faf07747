"""Drawn spans in OTLP/JSON, to send to a pipeline."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET = "a word of the user"

START_NS = time.time_ns()
SECOND_NS = 1_000_000_000

ids = random.Random(6)


def value(of: object) -> dict[str, object]:
    """An attribute's value in OTLP/JSON."""
    if isinstance(of, list):
        return {"arrayValue": {"values": [value(item) for item in of]}}
    if isinstance(of, bool):
        return {"boolValue": of}
    if isinstance(of, int):
        return {"intValue": str(of)}
    return {"stringValue": of}


def span(
    name: str,
    seconds: float,
    attributes: Mapping[str, object],
    *,
    parent: Mapping[str, Any] | None = None,
    failed: bool = False,
    events: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, Any]:
    """A span in OTLP/JSON; a root begins a trace of its own."""
    return {
        "traceId": parent["traceId"] if parent else f"{ids.getrandbits(128):032x}",
        "spanId": f"{ids.getrandbits(64):016x}",
        "parentSpanId": parent["spanId"] if parent else "",
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + round(seconds * SECOND_NS)),
        "attributes": [{"key": key, "value": value(of)} for key, of in attributes.items()],
        "events": [
            {
                "name": event,
                "timeUnixNano": str(START_NS),
                "attributes": [{"key": key, "value": value(of)} for key, of in of_event.items()],
            }
            for event, of_event in (events or {}).items()
        ],
        "status": {"code": 2, "message": SECRET} if failed else {},
    }


def of_service(service: str, *spans: Mapping[str, Any]) -> dict[str, Any]:
    """Spans with the resource that they come from."""
    resource = {"attributes": [{"key": "service.name", "value": value(service)}]}
    return {"resource": resource, "scopeSpans": [{"scope": {"name": "test"}, "spans": spans}]}
