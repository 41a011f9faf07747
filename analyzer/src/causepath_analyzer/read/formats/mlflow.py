"""MLflow traces: "info" beside "data", in the spelling of release 3 and of release 2.

Every attribute is JSON text inside JSON. Ids are base64 in release 3 and hex in release 2. Rows of
tables are read as well: a trace in a row, as text or not (what ``search_traces`` gives, Databricks'
inference tables), or a row for each span (Databricks' tables of spans).
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped, SpanKind
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import replies, values
from causepath_analyzer.read.formats.values import Id, Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import is_asked, labelled


class _Context(Struct, gc=False):
    trace_id: Id = None
    span_id: Id = None


class _Status(Struct, gc=False):
    code: Id = None


class _Event(Struct, gc=False):
    name: str | None = None
    timestamp: Number = None
    time_unix_nano: Number = None


class _Attributes(Struct, gc=False):
    attributes: Raw = values.ABSENT


class _Scope(Struct, gc=False):
    name: str | None = None
    version: str | None = None


class _Span(Struct, gc=False):
    name: str | None = None
    trace_id: Id = None
    span_id: Id = None
    parent_span_id: Id = None
    start_time_unix_nano: Number = None
    end_time_unix_nano: Number = None
    status: _Status | None = None
    attributes: Raw = values.ABSENT
    events: list[_Event] | None = None
    # In rows of spans:
    kind: str | None = None
    service_name: str | None = None
    resource: Raw = values.ABSENT
    instrumentation_scope: Raw = values.ABSENT
    # Release 2:
    context: _Context | None = None
    parent_id: Id = None
    start_time: Number = None
    end_time: Number = None
    status_code: str | None = None


class _Info(Struct, gc=False):
    trace_metadata: dict[str, Raw] | None = None
    request_metadata: dict[str, Raw] | None = None
    tags: Raw = values.ABSENT


class _Data(Struct, gc=False):
    spans: Raw = values.ABSENT


class _Output(Struct, gc=False):
    trace: Raw = values.ABSENT


class _Response(Struct, gc=False):
    databricks_output: _Output | None = None


class _Trace(Struct, gc=False):
    """A trace, an answer that wraps traces, the file of a trace's spans alone, or a row."""

    info: _Info | None = None
    data: _Data | None = None
    spans: Raw = values.ABSENT
    traces: list[Raw] | None = None
    # Rows:
    trace: Raw = values.ABSENT
    response: Raw = values.ABSENT
    start_time_unix_nano: Raw = values.ABSENT


class _Usage(Struct, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    total_tokens: Number = None
    cache_read_input_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_creation_input_tokens_above_1hr: Number = None


_DOCUMENT: Final = msgspec.json.Decoder(_Trace | list[Raw])
_TRACE: Final = msgspec.json.Decoder(_Trace)
_SPAN: Final = msgspec.json.Decoder(_Span)
_TEXT: Final = msgspec.json.Decoder(str)
_USAGE: Final = msgspec.json.Decoder(_Usage)
_RESPONSE: Final = msgspec.json.Decoder(_Response)
_OWNER: Final = msgspec.json.Decoder(_Attributes)
_SCOPE: Final = msgspec.json.Decoder(_Scope)
_MARKS: Final = (b'"mlflow.', b'"start_time_unix_nano')
_KINDS: Final[Mapping[str, SpanKind]] = {
    "SPAN_KIND_SERVER": "server",
    "SPAN_KIND_CLIENT": "client",
    "SPAN_KIND_PRODUCER": "producer",
    "SPAN_KIND_CONSUMER": "consumer",
}
_KIND: Final = "mlflow.spanType"
_MODELS: Final = (b"LLM", b"CHAT_MODEL")
_TOKENS: Final = "mlflow.chat.tokenUsage"
_NO_RESOURCE: Final = normalise.resource({})
_CONTENT: Final = ("mlflow.spanInputs", "mlflow.spanOutputs")
_OF_A_TRACE: Final = frozenset(("mlflow.trace.session", "mlflow.trace.user"))


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, a trace or several; ``None`` if MLflow did not write it."""
    if not any(mark in document for mark in _MARKS):
        return None
    try:
        decoded = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return None
    raws = decoded if isinstance(decoded, list) else decoded.traces or [Raw(document)]
    found: list[Found] = []
    is_ours = False
    for row, trace in zip(raws, values.decoded(raws, _TRACE, where, "a trace"), strict=True):
        if isinstance(trace, Skipped):
            found.append(trace)
            continue
        if values.present(trace.start_time_unix_nano):
            spans, of_trace, beside = [row], {}, {}
        else:
            inner = _inner(trace)
            whole = inner.data.spans if inner.data is not None else inner.spans
            spans = values.records(_unwrapped(whole))
            beside = _beside(inner.info) if inner.info is not None else {}
            of_trace = values.attributes(beside, _OF_A_TRACE)
        for wire in values.decoded(spans, _SPAN, where, "a span"):
            span = wire if isinstance(wire, Skipped) else _span(wire, of_trace, beside, where)
            is_ours = is_ours or not isinstance(span, Skipped)
            found.append(span)
    return found if is_ours else None


def _inner(row: _Trace) -> _Trace:
    """The trace that stands in `row`, or in the response that is in it; `row` itself if none."""
    trace = row.trace
    if not values.present(trace) and row.data is None and values.present(row.response):
        try:
            output = _RESPONSE.decode(_unwrapped(row.response)).databricks_output
        except values.DAMAGED:
            return row
        trace = output.trace if output is not None else values.ABSENT
    if not values.present(trace):
        return row
    try:
        return _TRACE.decode(_unwrapped(trace))
    except values.DAMAGED:
        return row


def _beside(info: _Info) -> dict[str, Raw]:
    """Gathers what is told of the trace as a whole."""
    return {
        **values.mapping(info.tags),
        **(info.request_metadata or {}),
        **(info.trace_metadata or {}),
    }


def _span(wire: _Span, of_trace: values.Attributes, beside: dict[str, Raw], where: str) -> Found:
    context = wire.context or _Context(wire.trace_id, wire.span_id)
    identity = span_id(values.hex_id(context.span_id, 16))
    trace = values.hex_id(context.trace_id, 32)
    start_ns = values.time_ns(_either(wire.start_time_unix_nano, wire.start_time))
    if not identity or not trace or start_ns is None:
        return Skipped(where, f"span {identity or wire.name or '?'} without id or start time")
    attributes = values.mapping(wire.attributes)
    understood = {**of_trace, **_attributes(attributes)}
    understood |= values.noted(
        (e.name, values.time_ns(_either(e.time_unix_nano, e.timestamp))) for e in wire.events or ()
    )
    code = wire.status.code if wire.status is not None else wire.status_code
    emitted = normalise.Emitted(
        trace_id(trace.rpartition("/")[2].removeprefix("tr-")),
        identity,
        span_id(values.hex_id(wire.parent_span_id or wire.parent_id, 16)),
        wire.name or "",
        _KINDS.get(wire.kind or "", "internal"),
        start_ns,
        values.time_ns(_either(wire.end_time_unix_nano, wire.end_time)),
        isinstance(code, str) and code.endswith("ERROR"),
    )
    scope = _scope(wire.instrumentation_scope)
    of_process = _of_process(wire)
    span = normalise.span(
        emitted,
        understood,
        _resource(wire, of_process),
        scope.name or "mlflow",
        scope.version or None,
    )
    if not is_asked():
        return span
    unwrapped = {name: _unwrapped(raw) for name, raw in attributes.items()}
    return labelled(span, unwrapped, understood, resource={**beside, **of_process})


def _of_process(wire: _Span) -> dict[str, Raw]:
    if not values.present(wire.resource):
        return {}
    try:
        return values.mapping(_OWNER.decode(_unwrapped(wire.resource)).attributes)
    except values.DAMAGED:
        return {}


def _resource(wire: _Span, of_process: dict[str, Raw]) -> normalise.Resource:
    if not values.present(wire.resource) and wire.service_name is None:
        return _NO_RESOURCE
    told = values.attributes(of_process, normalise.RESOURCE_ATTRIBUTES)
    return normalise.resource({names.SERVICE_NAME: wire.service_name, **told})


def _scope(raw: Raw) -> _Scope:
    if values.present(raw):
        try:
            return _SCOPE.decode(_unwrapped(raw))
        except values.DAMAGED:
            return _Scope()
    return _Scope()


def _either(first: Number, second: Number) -> Number:
    return first if first is not None else second


def _attributes(wire: dict[str, Raw]) -> values.Attributes:
    unwrapped = {
        name: inner
        for name, raw in wire.items()
        if (name in names.UNDERSTOOD or name == _TOKENS) and (inner := _unwrapped(raw))
    }
    found: values.Attributes = {}
    if (kind := unwrapped.get(_KIND)) is not None and bytes(kind).strip(b'"') in _MODELS:
        found |= replies.asked(unwrapped.get(_CONTENT[0], values.ABSENT))
        found |= replies.answered(unwrapped.get(_CONTENT[1], values.ABSENT))
    found |= values.attributes(unwrapped)
    found |= {name: values.content(unwrapped[name]) for name in _CONTENT if name in unwrapped}
    if _TOKENS in unwrapped:
        try:
            usage = _USAGE.decode(unwrapped[_TOKENS])
        except values.DAMAGED:
            return found
        found[names.INPUT_TOKENS[0]] = usage.input_tokens
        found[names.OUTPUT_TOKENS[0]] = usage.output_tokens
        found[names.TOTAL_TOKENS[0]] = usage.total_tokens
        found[names.CACHE_READ_TOKENS[0]] = usage.cache_read_input_tokens
        found[names.CACHE_WRITE_TOKENS[0]] = usage.cache_creation_input_tokens
        found[names.CACHE_WRITE_1H_TOKENS[0]] = usage.cache_creation_input_tokens_above_1hr
    return found


def _unwrapped(raw: Raw) -> Raw:
    """The JSON in the JSON text `raw`; `raw` itself where it is no such text."""
    if not raw:
        return raw
    try:
        text = _TEXT.decode(raw)
        msgspec.json.decode(text, type=Raw)
    except values.DAMAGED:
        return raw
    return Raw(text.encode())


FORMAT = JsonFormat("mlflow", read)
