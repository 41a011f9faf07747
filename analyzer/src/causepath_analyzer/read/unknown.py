"""What a JSON document looks like that no reader took, in words that help its owner on."""

import re
from typing import Final

from msgspec import Struct


class Look(Struct, frozen=True):
    """``what`` a document is; ``harmless`` if it may stand between traces without a word."""

    what: str
    harmless: bool = False


LOGS: Final = "OTLP logs, no traces"
METRICS: Final = "OTLP metrics, no traces"
_HEAD: Final = 1 << 16
_LOOKS: Final[tuple[tuple[re.Pattern[bytes], Look], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), Look(what, harmless))
    for pattern, what, harmless in (
        (rb'"resource_?[lL]ogs"', LOGS, True),
        (rb'"resource_?[mM]etrics"', METRICS, True),
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
        (rb'"data"\s*:\s*\[\s*\].*"total"', "an answer of Jaeger without a trace", False),
        (rb'"errors?"\s*:(?!\s*(?:null|\[\s*\]))', "the error message of an API, no trace", False),
        (
            rb'"role"\s*:\s*"(?:user|assistant|model|system)"',
            "messages of a conversation, which have no times: no trace",
            False,
        ),
    )
)
_JAVASCRIPT: Final = re.compile(
    rb"^\s*(?:traceId|traceState|parentId): (?:'|undefined)", re.MULTILINE
)
_TEXTS: Final[tuple[tuple[re.Pattern[bytes], Look], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), Look(what))
    for pattern, what in (
        (
            rb"\s*<(?:!doctype|html|head|body)",
            "a web page, no trace: is it the address of the API?",
        ),
        (rb"\s*<\?xml", "XML, no trace in any format that causepath reads"),
        (rb"PAR1", "a Parquet file: export it as JSON lines"),
        (rb"PK\x03\x04", "a ZIP archive: unpack it first"),
        (
            rb"\xfd7zXZ\0|BZh[1-9]|7z\xbc\xaf|\x04\x22\x4d\x18",
            "compressed, but not with gzip or zstd: unpack it first",
        ),
        (rb"SQLite format 3\0", "an SQLite database: export its traces as JSON"),
        (rb"[\w.\"]+(?:,[\w. \"]+){2,}\r?$", "a table (CSV), no trace export: export JSON"),
    )
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
    head = document[:_HEAD]
    if _JAVASCRIPT.search(head):
        return _CONSOLE
    return next((look for pattern, look in _TEXTS if pattern.match(head)), None)
