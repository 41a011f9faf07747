"""MLflow traces: "info" beside "data", in the spelling of release 3 and of release 2.

Every attribute is JSON text inside JSON. Ids are base64 in release 3 and hex in release 2.
"""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read import normalise, replies, values
from causepath_analyzer.read.format import Found, JsonFormat, span_id, trace_id
from causepath_analyzer.read.values import Id, Number


class _Context(Struct, gc=False):
    trace_id: Id = None
    span_id: Id = None


class _Status(Struct, gc=False):
    code: Id = None


class _Event(Struct, gc=False):
    name: str | None = None
    timestamp: Number = None
    time_unix_nano: Number = None


class _Span(Struct, gc=False):
    name: str | None = None
    trace_id: Id = None
    span_id: Id = None
    parent_span_id: Id = None
    start_time_unix_nano: Number = None
    end_time_unix_nano: Number = None
    status: _Status | None = None
    attributes: dict[str, Raw] | None = None
    events: list[_Event] | None = None
    # Release 2:
    context: _Context | None = None
    parent_id: Id = None
    start_time: Number = None
    end_time: Number = None
    status_code: str | None = None


class _Info(Struct, gc=False):
    trace_metadata: dict[str, Raw] | None = None
    request_metadata: dict[str, Raw] | None = None


class _Data(Struct, gc=False):
    spans: Raw = values.ABSENT


class _Trace(Struct, gc=False):
    """A trace, an answer that wraps traces, or the file of a trace's spans alone."""

    info: _Info | None = None
    data: _Data | None = None
    spans: Raw = values.ABSENT
    traces: list[Raw] | None = None


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
_MARK: Final = b'"mlflow.'
_KIND: Final = "mlflow.spanType"
_MODELS: Final = (b"LLM", b"CHAT_MODEL")
_TOKENS: Final = "mlflow.chat.tokenUsage"
_NO_RESOURCE: Final = normalise.resource({})
_CONTENT: Final = ("mlflow.spanInputs", "mlflow.spanOutputs")
_OF_A_TRACE: Final = frozenset(("mlflow.trace.session", "mlflow.trace.user"))


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`, a trace or several; ``None`` if MLflow did not write it."""
    if _MARK not in document:
        return None
    try:
        decoded = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return None
    raws = decoded if isinstance(decoded, list) else decoded.traces or [Raw(document)]
    found: list[Found] = []
    is_ours = False
    for trace in values.decoded(raws, _TRACE, where, "a trace"):
        if isinstance(trace, Skipped):
            found.append(trace)
            continue
        spans = trace.data.spans if trace.data is not None else trace.spans
        of_trace = _of_trace(trace.info) if trace.info is not None else {}
        for wire in values.decoded(values.records(spans), _SPAN, where, "a span"):
            span = wire if isinstance(wire, Skipped) else _span(wire, of_trace, where)
            is_ours = is_ours or not isinstance(span, Skipped)
            found.append(span)
    return found if is_ours else None


def _of_trace(info: _Info) -> values.Attributes:
    metadata = {**(info.request_metadata or {}), **(info.trace_metadata or {})}
    return values.attributes(metadata, _OF_A_TRACE)


def _span(wire: _Span, of_trace: values.Attributes, where: str) -> Found:
    context = wire.context or _Context(wire.trace_id, wire.span_id)
    identity = span_id(values.hex_id(context.span_id, 16))
    trace = values.hex_id(context.trace_id, 32)
    start_ns = values.time_ns(_either(wire.start_time_unix_nano, wire.start_time))
    if not identity or not trace or start_ns is None:
        return Skipped(where, f"span {identity or wire.name or '?'} without id or start time")
    understood = {**of_trace, **_attributes(wire.attributes or {})}
    understood |= values.noted(
        (e.name, values.time_ns(_either(e.time_unix_nano, e.timestamp))) for e in wire.events or ()
    )
    code = wire.status.code if wire.status is not None else wire.status_code
    emitted = normalise.Emitted(
        trace_id(trace.removeprefix("tr-")),
        identity,
        span_id(values.hex_id(wire.parent_span_id or wire.parent_id, 16)),
        wire.name or "",
        "internal",
        start_ns,
        values.time_ns(_either(wire.end_time_unix_nano, wire.end_time)),
        isinstance(code, str) and code.endswith("ERROR"),
    )
    return normalise.span(emitted, understood, _NO_RESOURCE, "mlflow")


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
    try:
        text = _TEXT.decode(raw)
        msgspec.json.decode(text, type=Raw)
    except values.DAMAGED:
        return raw
    return Raw(text.encode())


FORMAT = JsonFormat("mlflow", read)
