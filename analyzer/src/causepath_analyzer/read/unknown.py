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
    (re.compile(pattern, re.DOTALL), Look(what, harmless))
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
            rb'"agent_or_node_id"',
            "spans in Clew's private format: export the run as OTLP or as the SDK's spans",
            False,
        ),
        (
            rb'"observation"\s*:.*"extras"\s*:|"action"\s*:.*"args"\s*:',
            "an event log of OpenHands, no trace: export OTLP",
            False,
        ),
        (rb'"traceEvents"', "a Chrome or Perfetto trace, which has no parents and calls", False),
        (rb'"span_name"\s*:.*"otel_', "rows of a Logfire query: export OTLP instead", False),
        (rb'"errors?"\s*:', "the error message of an API, no trace", False),
    )
)
_JAVASCRIPT: Final = re.compile(
    rb"^\s*(?:traceId|traceState|parentId): (?:'|undefined)", re.MULTILINE
)
_CONSOLE: Final = Look(
    "output of the JavaScript SDK's console exporter, which cuts values short: "
    "use its OTLP/JSON exporter or the collector's file exporter"
)
_NO_TRACE: Final = Look("JSON, but no trace in any format that causepath reads")


def looks_like(document: bytes) -> Look:
    """The first look in the table that `document` matches, else "JSON, but no trace"."""
    head = document[:_HEAD]
    return next((look for pattern, look in _LOOKS if pattern.search(head)), _NO_TRACE)


def text_looks_like(document: bytes) -> Look | None:
    """What `document`, which is no JSON, looks like; ``None`` if like nothing in particular."""
    return _CONSOLE if _JAVASCRIPT.search(document[:_HEAD]) else None
