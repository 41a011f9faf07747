"""What a JSON document looks like that no reader took, in words that help its owner on."""

import re
from typing import Final

from msgspec import Struct


class Look(Struct, frozen=True):
    """``what`` a document is; ``harmless`` if it may stand between traces without a word."""

    what: str
    harmless: bool = False


_HEAD: Final = 1 << 16
_LOOKS: Final[tuple[tuple[re.Pattern[bytes], Look], ...]] = tuple(
    (re.compile(pattern), Look(what, harmless))
    for pattern, what, harmless in (
        (rb'"resource_?[lL]ogs"', "OTLP logs, no traces", True),
        (rb'"resource_?[mM]etrics"', "OTLP metrics, no traces", True),
        (
            rb'"rootTraceName"|"rootServiceName"',
            "a Tempo search result, no spans: fetch the traces by id (/api/traces/ID)",
            False,
        ),
        (rb'"tagMap"|"stringTagMap"', "rows of a SigNoz query, no trace export", False),
        (
            rb'"(?:localEndpoint|remoteEndpoint)"',
            "Zipkin spans, which this version does not read: export OTLP or Jaeger JSON",
            False,
        ),
        (
            rb'"traceId"[^{]*"projectId"|"observations"|"parentObservationId"',
            "a Langfuse export, which this version does not read",
            False,
        ),
        (
            rb'"trace\.span"|"span_data"',
            "OpenAI Agents spans, which this version does not read",
            False,
        ),
        (
            rb'"parentUuid"|"sessionId"[^{]*"message"',
            "a Claude Code transcript, which this version does not read",
            False,
        ),
        (
            rb'"context"\s*:\s*\{\s*"trace_id"',
            "spans of the OpenTelemetry SDK's console exporter: use the OTLP file exporter",
            False,
        ),
    )
)
_NO_TRACE: Final = Look("JSON, but no trace in any format that causepath reads")


def looks_like(document: bytes) -> Look:
    """The first look in the table that `document` matches, else "JSON, but no trace"."""
    head = document[:_HEAD]
    return next((look for pattern, look in _LOOKS if pattern.search(head)), _NO_TRACE)
