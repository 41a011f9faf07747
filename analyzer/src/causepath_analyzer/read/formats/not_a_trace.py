"""What a document looks like that no reader took, in words that help its owner on.

Told from its structure: the names of the fields of its outermost objects, and of those just inside.
A word in a prompt or in a value decides nothing.
"""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec
from msgspec import Raw, Struct


class Look(Struct, frozen=True):
    """``what`` a document is; ``harmless`` if it may stand between traces without a word.

    ``packed`` if traces may be in it that only have to be unpacked.
    """

    what: str
    harmless: bool = False
    packed: bool = False


class _Seen(Struct, frozen=True):
    """The fields of an object, by name."""

    fields: dict[str, Raw]

    def has(self, *names: str) -> bool:
        return all(name in self.fields for name in names)

    def any(self, *names: str) -> bool:
        return any(name in self.fields for name in names)

    def holds(self, name: str) -> bytes:
        """The first byte of the field `name` where it is there and not null."""
        raw = self.fields.get(name)
        found = bytes(memoryview(raw)[:1]) if raw else b""
        return b"" if found == b"n" else found

    def text(self, name: str) -> str:
        """The field `name` where it is a text."""
        raw = self.fields.get(name)
        if raw is None or bytes(memoryview(raw)[:1]) != b'"':
            return ""
        try:
            return _TEXT.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""

    def is_empty(self, name: str) -> bool:
        raw = self.fields.get(name)
        return raw is not None and not bytes(raw).strip(b"[]{} \t\r\n")


_TEXT: Final = msgspec.json.Decoder(str)
_ANY: Final = msgspec.json.Decoder(dict[str, Raw] | list[Raw] | None)
_MOST: Final = 64
"""So many objects at most are looked at."""
_ITEMS: Final = 4
"""So many items of a list."""

LOGS: Final = "OTLP logs, no traces"
METRICS: Final = "OTLP metrics, no traces"
_OTLP: Final = "send it to a collector as OTLP, or export OTLP instead"
_ROLES: Final = ("user", "assistant", "model", "system", "developer", "tool", "human", "ai")
_ERROR_FIELDS: Final = frozenset(
    (
        "error",
        "errors",
        "error_code",
        "error_description",
        "message",
        "code",
        "status",
        "statusCode",
        "status_code",
        "type",
        "detail",
        "details",
        "title",
        "request_id",
        "requestId",
        "path",
        "timestamp",
        "data",
        "total",
        "limit",
        "offset",
        "success",
        "ok",
    )
)


def _is_error(seen: _Seen) -> bool:
    """A reply that says what went wrong, and little more; a flag of 0 says that nothing did."""
    said = [seen.holds(name) in (b'"', b"{", b"[") for name in ("error", "errors")]
    empty = seen.is_empty("error") or seen.is_empty("errors")
    return any(said) and not empty and seen.fields.keys() <= _ERROR_FIELDS


def _is_message(seen: _Seen) -> bool:
    return seen.text("role") in _ROLES and seen.any("content", "parts", "tool_calls")


def _is_datadog(seen: _Seen) -> bool:
    return seen.has("trace_id", "span_id", "start", "duration") and seen.any("meta", "metrics")


def _is_xray(seen: _Seen) -> bool:
    return seen.has("Segments") or (
        seen.has("id", "start_time") and seen.text("trace_id").startswith("1-")
    )


def _is_elastic(seen: _Seen) -> bool:
    inner = seen.any("transaction", "span", "processor")
    return (seen.has("_index", "_source")) or (seen.has("@timestamp", "trace") and inner)


def _is_elastic_intake(seen: _Seen) -> bool:
    return (
        len(seen.fields) == 1
        and seen.any("transaction", "span")
        and seen.holds(next(iter(seen.fields))) == b"{"
    )


def _is_application_insights(seen: _Seen) -> bool:
    table = seen.has("tables") and seen.holds("tables") == b"["
    item = seen.any("operation_Id", "operation_ParentId") and seen.any("timestamp", "duration")
    return table or item or (seen.has("iKey", "time") and seen.has("data"))


_LOOKS: Final[tuple[tuple[Callable[[_Seen], bool], Look], ...]] = (
    (lambda s: s.any("resourceLogs", "resource_logs"), Look(LOGS, harmless=True)),
    (lambda s: s.any("resourceMetrics", "resource_metrics"), Look(METRICS, harmless=True)),
    (
        lambda s: (
            s.any("rootTraceName", "rootServiceName", "spanSet", "spanSets")
            and s.any("traceID", "traceId", "durationMs")
        ),
        Look("a Tempo search result, no spans: fetch the traces by id (/api/traces/ID)"),
    ),
    (lambda s: s.any("tagMap", "stringTagMap"), Look("rows of a SigNoz query, no trace export")),
    (
        lambda s: s.has("agent_or_node_id"),
        Look("spans in Clew's private format: export the run as OTLP or as the SDK's spans"),
    ),
    (
        lambda s: s.has("observation", "extras") or s.has("action", "args"),
        Look("an event log of OpenHands, no trace: export OTLP"),
    ),
    (
        lambda s: s.has("traceEvents") or s.has("ph", "ts", "pid"),
        Look("a Chrome or Perfetto trace, which has no parents and calls"),
    ),
    (
        lambda s: s.has("span_name") and any(name.startswith("otel_") for name in s.fields),
        Look("rows of a Logfire query: export OTLP instead"),
    ),
    (
        lambda s: s.has("data", "total") and s.is_empty("data"),
        Look("an answer of Jaeger without a trace"),
    ),
    (_is_datadog, Look(f"spans of Datadog's tracer, which causepath does not read: {_OTLP}")),
    (
        lambda s: s.any("ml_app", "_dd.llmobs") or s.has("span_kind", "_dd"),
        Look(f"spans of Datadog's LLM Observability, which causepath does not read: {_OTLP}"),
    ),
    (_is_xray, Look(f"segments of AWS X-Ray, which causepath does not read: {_OTLP}")),
    (
        lambda s: _is_elastic(s) or _is_elastic_intake(s),
        Look(f"documents of Elastic APM or Elasticsearch, which causepath does not read: {_OTLP}"),
    ),
    (
        _is_application_insights,
        Look(
            f"rows of Application Insights (Azure Monitor), which causepath does not read: {_OTLP}"
        ),
    ),
    (
        lambda s: s.has("span_count", "error_count", "duration_ms", "spans"),
        Look(f"a trace of Noveum, which causepath does not read: {_OTLP}"),
    ),
    (
        lambda s: s.has("op_name", "started_at") and s.any("trace_id", "inputs"),
        Look(f"calls of W&B Weave, which causepath does not read: {_OTLP}"),
    ),
    (
        lambda s: s.has("span_id", "root_span_id") and s.any("span_parents", "span_attributes"),
        Look(f"rows of Braintrust, which causepath does not read: {_OTLP}"),
    ),
    (
        lambda s: s.has("trace.trace_id") and s.any("trace.span_id", "duration_ms"),
        Look(f"rows of a Honeycomb query, which causepath does not read: {_OTLP}"),
    ),
    (
        lambda s: s.has("traceId", "annotations") and s.has("binaryAnnotations"),
        Look("spans of Zipkin v1: export v2, or OTLP"),
    ),
    (
        lambda s: s.has("projectId", "traceId", "spans"),
        Look(f"traces of Google Cloud Trace, which causepath does not read: {_OTLP}"),
    ),
    (
        lambda s: (
            s.text("type") in ("thread.started", "turn.started", "turn.completed")
            or (s.text("type").startswith("item.") and s.has("item"))
        ),
        Look(
            "what `codex exec --json` prints, which has no times: "
            "give the rollout (~/.codex/sessions)"
        ),
    ),
    (
        lambda s: s.has("id", "timestamp", "instructions") and not s.has("payload"),
        Look("a rollout of an old Codex, whose items have no times"),
    ),
    (
        lambda s: s.has("session_id", "type") and s.any("subtype", "message", "event"),
        Look(
            "what Claude Code streams (stream-json), no transcript: give the session's file "
            "(~/.claude/projects)"
        ),
    ),
    (
        lambda s: s.has("sessionId", "messages") and s.any("projectHash", "lastUpdated"),
        Look("a chat of Gemini CLI: give the file of its telemetry (telemetry.outfile) instead"),
    ),
    (
        lambda s: s.has("choices", "model") or (_is_message(s) and s.has("usage", "model")),
        Look("the reply of a model's API, no trace"),
    ),
    (_is_error, Look("the error message of an API, no trace")),
    (_is_message, Look("messages of a conversation, no trace")),
)
_NET: Final = "output of .NET's console exporter: causepath reads what its OTLP exporter sends"
_JAVA: Final = "output of Java's logging exporter: causepath reads what its OTLP exporter sends"
_DEBUG: Final = "output of the collector's debug exporter: causepath reads its file exporter's"
_MAGIC: Final[tuple[tuple[re.Pattern[bytes], Look], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), Look(what, packed="unpack it first" in what))
    for pattern, what in (
        (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP", "a picture, no trace"),
        (rb"%PDF-", "a PDF, no trace"),
        (rb"\x7fELF|MZ[^\n]{30}|\xca\xfe\xba\xbe", "a program, no trace"),
        (rb"PAR1", "a Parquet file: export it as JSON lines"),
        (
            rb"\xfd7zXZ\0|BZh[1-9]|7z\xbc\xaf|\x04\x22\x4d\x18",
            "compressed, but not with gzip or zstd: unpack it first",
        ),
        (rb"SQLite format 3\0", "an SQLite database: export its traces as JSON"),
    )
)
_TEXTS: Final[tuple[tuple[re.Pattern[bytes], Look], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), Look(what))
    for pattern, what in (
        (
            rb"\s*<(?:!doctype|html|head|body)",
            "a web page, no trace: is it the address of the API?",
        ),
        (rb"\s*<\?xml", "XML, no trace in any format that causepath reads"),
        (rb"\s*Activity\.(?:TraceId|SpanId|Id|DisplayName):?\s", _NET),
        (rb"(?:[^\n{\[]* )?io\.opentelemetry\.exporter\.logging\.\w+ export\b", _JAVA),
        (rb"(?:\w+: )?'[^'\n]*' : [0-9a-f]{32} [0-9a-f]{16} [A-Z]+ \[tracer: ", _JAVA),
        (rb"(?:[^\n{\[]*\t)?Resource(?:Trace|Span)s? ?#\d+\b", _DEBUG),
        (rb"\s*(?:(?:Scope|InstrumentationLibrary)Spans|Span) #\d+\s*$", _DEBUG),
        (rb"\s+Trace ID\s+: [0-9a-f]{32}", _DEBUG),
        (
            rb"[\w.\" -]+(?:[,;\t][\w.: \"-]+){2,}\r?$",
            "a table (CSV), no trace export: export JSON",
        ),
    )
)
_CONSOLE: Final = Look(
    "output of the JavaScript SDK's console exporter that cannot be read: "
    "use its OTLP/JSON exporter or the collector's file exporter"
)
_JAVASCRIPT: Final = re.compile(
    rb"\s*\{\s*\n\s*(?:resource|traceId|traceState|parentId|instrumentation\w+): (?:['{]|undefined)"
)
_NO_TRACE: Final = Look("JSON, but no trace in any format that causepath reads")
_TIMES: Final = re.compile(
    r"(?:^|_|\.)(?:start|begin|began|end|finish)(?:ed)?(?:_?(?:at|time|ts|timestamp|nanos?|ns|ms|us))?$"
    r"|(?:start|began|end)(?:ed)?_?(?:at|time)|timestamp|duration",
    re.IGNORECASE,
)
_ID: Final = re.compile(r"(?:^|_)id$|I[dD]$")
_NAMED: Final = 6


def looks_like(document: bytes) -> Look:
    """The first look in the table that an object of `document` has, outermost first; else what
    its fields are called."""
    timed: list[str] = []
    for seen in _objects(document):
        for fits, look in _LOOKS:
            if fits(seen):
                return look
        timed = timed or [name for name in seen.fields if _TIMES.search(name)]
    if timed:
        return Look(
            f"{_NO_TRACE.what}; the objects in it have times ({_listed(timed)}): export OTLP, "
            "or spans in one of these formats"
        )
    return _NO_TRACE


def _is_record(fields: Collection[str]) -> bool:
    """Tells whether an object has a time and an id: what is in it is its content."""
    return any(map(_TIMES.search, fields)) and any(map(_ID.search, fields))


def _listed(names: Collection[str]) -> str:
    shown = [name[:40] for name in list(names)[:_NAMED]]
    return ", ".join(shown) + (", ..." if len(names) > _NAMED else "")


def _objects(document: bytes) -> Iterable[_Seen]:
    """The outermost objects of `document` and those in their lists and fields, breadth first."""
    waiting: list[tuple[Raw, int]] = [(Raw(document), 0)]
    given = 0
    for raw, depth in waiting:
        try:
            found = _ANY.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if isinstance(found, dict):
            yield _Seen(found)
            given += 1
            inner: Iterable[Raw] = found.values()
        else:
            inner = (found or [])[:_ITEMS]
        if given >= _MOST:
            return
        if depth < _DEPTH and not (isinstance(found, dict) and _is_record(found)):
            waiting.extend(
                (part, depth + 1) for part in inner if bytes(memoryview(part)[:1]) in (b"{", b"[")
            )


_DEPTH: Final = 5


def beginning_looks_like(head: bytes) -> Look | None:
    """Tells by its first bytes what a file is in which no line of text has to be."""
    return next((look for pattern, look in _MAGIC if pattern.match(head)), None)


def text_looks_like(document: bytes) -> Look | None:
    """Guesses what `document`, which is no JSON, looks like; ``None`` if like nothing in
    particular."""
    if _JAVASCRIPT.match(document):
        return _CONSOLE
    return next((look for pattern, look in _TEXTS if pattern.match(document)), None)


_WORDS: Final = (
    (
        re.compile(
            rb"\s*\[?(?:\d{4}[-/]\d\d[-/]\d\d(?:\b|T)|\d\d:\d\d:\d\d\b"
            rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\b"  # syslog
            rb"|[IWEF]\d{4} \d\d:\d\d"  # glog
            rb"|\d{1,3}(?:\.\d{1,3}){3} \S+ \S+ \["  # web servers
            rb"|(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\b)"
        ),
        "lines of a log, no trace",
    ),
    (re.compile(rb"[#>*A-Za-z][^\n\"{}\[\]\x00-\x08]*\s*\Z"), "text, no trace"),
)


def words_look_like(document: bytes) -> str | None:
    """Tells if `document` is a line of words, which explains nothing if more is in the file."""
    return next((what for pattern, what in _WORDS if pattern.match(document)), None)
