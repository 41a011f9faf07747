"""Spans of Mastra's observability, as its storage and API give them and exporters write them.

A "model_generation" is the whole loop of an agent, its "model_step" one round with the tools that
were called in it, and "model_inference" the call of the model. Releases differ in how far down they
go: a call is the innermost of these that a trace has::

    agent_run         |-----------------------------|
    model_generation   |---------------------------|
    model_step         |-----------||-------------|
    model_inference    |------|      |------------|
    tool_call                  |---|
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Category, Skipped
from causepath_analyzer.read.format import Found, GatheredFormat, JsonFormat, span_id, trace_id
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import is_asked, labelled
from causepath_analyzer.read.meaning.categories import MASTRA


class _InputDetails(Struct, gc=False):
    cacheRead: Number = None  # noqa: N815
    cacheWrite: Number = None  # noqa: N815
    cacheWrite5m: Number = None  # noqa: N815
    cacheWrite1h: Number = None  # noqa: N815


class _OutputDetails(Struct, gc=False):
    reasoning: Number = None


class _Usage(Struct, gc=False):
    inputTokens: Number = None  # noqa: N815
    outputTokens: Number = None  # noqa: N815
    inputDetails: _InputDetails | None = None  # noqa: N815
    outputDetails: _OutputDetails | None = None  # noqa: N815
    # Older releases:
    promptTokens: Number = None  # noqa: N815
    completionTokens: Number = None  # noqa: N815
    cachedInputTokens: Number = None  # noqa: N815
    promptCacheHitTokens: Number = None  # noqa: N815
    reasoningTokens: Number = None  # noqa: N815


class _Attributes(Struct, gc=False):
    model: str | None = None
    responseModel: str | None = None  # noqa: N815
    provider: str | None = None
    responseId: str | None = None  # noqa: N815
    usage: Raw = values.ABSENT
    streaming: bool | None = None
    finishReason: str | None = None  # noqa: N815
    completionStartTime: Number = None  # noqa: N815
    conversationId: str | None = None  # noqa: N815
    toolCallId: str | None = None  # noqa: N815
    toolId: str | None = None  # noqa: N815
    success: bool | None = None


class _Span(Struct, gc=False):
    traceId: str | None = None  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    name: str | None = None
    attributes: Raw = values.ABSENT
    input: Raw = values.ABSENT
    output: Raw = values.ABSENT
    entityName: str | None = None  # noqa: N815
    threadId: str | None = None  # noqa: N815
    userId: str | None = None  # noqa: N815
    isEvent: bool | None = None  # noqa: N815
    metadata: Raw = values.ABSENT
    tags: Raw = values.ABSENT
    # From storage:
    spanId: str | None = None  # noqa: N815
    spanType: str | None = None  # noqa: N815
    startedAt: Number = None  # noqa: N815
    endedAt: Number = None  # noqa: N815
    error: Raw = values.ABSENT
    # From exporters:
    id: str | None = None
    type: str | None = None
    startTime: Number = None  # noqa: N815
    endTime: Number = None  # noqa: N815
    errorInfo: Raw = values.ABSENT  # noqa: N815


class _Event(Struct, gc=False):
    """A record that an exporter writes when a span begins, goes on or ends."""

    exportedSpan: Raw = values.ABSENT  # noqa: N815
    span: Raw = values.ABSENT
    data: Raw = values.ABSENT


class _Document(Struct, gc=False):
    trace: Raw = values.ABSENT
    spans: Raw = values.ABSENT


_CALLS: Final = ("model_inference", "model_step", "model_generation")
"""Innermost first."""
_SPAN: Final = msgspec.json.Decoder(_Span)
_ATTRIBUTES: Final = msgspec.json.Decoder(_Attributes)
_USAGE: Final = msgspec.json.Decoder(_Usage)
_EVENT: Final = msgspec.json.Decoder(_Event)
_DOCUMENT: Final = msgspec.json.Decoder(_Document)
_QUOTED: Final = re.compile(r"'([^']+)'")
_RESOURCE: Final = normalise.resource({})
_SCOPE: Final = "mastra"


class _Exported:
    """Gathers the spans of one input; `finish` tells which of them are calls of a model."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], tuple[_Span, str]] = {}
        self._models: dict[str, set[str]] = {}
        """Of each trace the kinds of its model spans."""

    def add(self, document: bytes, where: str) -> Sequence[Found] | None:
        if b'"traceId"' not in document or (
            b'"startedAt"' not in document and b'"startTime"' not in document
        ):
            return None
        raws = _raws(document)
        if raws is None:
            return None
        skipped: list[Found] = []
        is_ours = False
        for wire in values.decoded(raws, _SPAN, where, "a span"):
            if isinstance(wire, Skipped):
                skipped.append(wire)
                continue
            kind = wire.spanType or wire.type
            if kind is None or (wire.spanType is None and kind not in MASTRA):
                skipped.append(Skipped(where, "an object that is no span"))
                continue
            is_ours = True
            identity = span_id(wire.spanId or wire.id)
            if not identity or not wire.traceId:
                skipped.append(Skipped(where, f"span {wire.name or '?'} without an id"))
                continue
            known = self._spans.get((wire.traceId, identity))
            if known is None or _ended(wire) or not _ended(known[0]):
                self._spans[wire.traceId, identity] = wire, where
            if kind in _CALLS:
                self._models.setdefault(wire.traceId, set()).add(kind)
        return skipped if is_ours else None

    def finish(self) -> Iterator[Found]:
        for (trace, identity), (wire, where) in self._spans.items():
            calls = next((k for k in _CALLS if k in self._models.get(trace, ())), "")
            yield _span(wire, identity, calls, self._above(trace, wire), where)

    def _above(self, trace: str, wire: _Span) -> Iterable[_Span]:
        """Walks up from `wire`, nearest first."""
        seen = set()
        at = span_id(wire.parentSpanId)
        while at and at not in seen and (trace, at) in self._spans:
            seen.add(at)
            above = self._spans[trace, at][0]
            yield above
            at = span_id(above.parentSpanId)


def _ended(wire: _Span) -> bool:
    return wire.endedAt is not None or wire.endTime is not None


def _raws(document: bytes) -> list[Raw] | None:
    """The spans in `document`: a list, a trace, or what an exporter tells of one span."""
    try:
        whole = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return values.listed(document, "spans")
    if values.present(whole.trace) and not values.present(whole.spans):
        return values.listed(bytes(whole.trace), "spans")
    if values.present(whole.spans):
        return values.records(whole.spans)
    try:
        event = _EVENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        return [Raw(document)]
    inner = next((r for r in (event.exportedSpan, event.span) if values.present(r)), None)
    if inner is None and values.present(event.data):
        return _raws(bytes(event.data)) if bytes(memoryview(event.data)[:1]) in b"[{" else None
    return [inner if inner is not None else Raw(document)]


def _span(wire: _Span, identity: str, calls: str, above: Iterable[_Span], where: str) -> Found:
    kind = wire.spanType or wire.type or ""
    start_ns = values.time_ns(wire.startedAt if wire.startedAt is not None else wire.startTime)
    if start_ns is None:
        return Skipped(where, f"span {identity} without a start time")
    end_ns = values.time_ns(wire.endedAt if wire.endedAt is not None else wire.endTime)
    if end_ns is None and wire.isEvent:
        end_ns = start_ns
    told = _told(wire)
    category: Category = "llm" if kind == calls else MASTRA.get(kind, "other")
    understood: values.Attributes = {
        names.CATEGORY: category,
        names.SESSION[0]: wire.threadId or told.conversationId,
        names.USER[0]: wire.userId,
    }
    if kind in _CALLS:
        models = (told, *(_told(one) for one in above))
        understood[names.MODEL[0]] = next(
            (m for one in models if (m := one.responseModel or one.model)), None
        )
        understood[names.PROVIDER[0]] = next((m for one in models if (m := one.provider)), None)
        understood |= _used(told.usage)
    if category == "llm":
        understood[names.FINISH_REASONS[0]] = told.finishReason
        understood[names.RESPONSE_ID[0]] = told.responseId
        understood[names.STREAMED[0]] = told.streaming
        understood["gen_ai.input.messages"] = values.content(wire.input)
        first_ns = values.time_ns(told.completionStartTime)
        if first_ns is not None and first_ns >= start_ns:
            understood[names.FIRST_TOKEN_NS] = first_ns
    elif category == "embedding":
        understood |= {names.MODEL[0]: told.model, **_used(told.usage)}
    elif category == "tool":
        quoted = _QUOTED.search(wire.name or "")
        understood[names.TOOL_NAME[0]] = (
            wire.entityName or told.toolId or (quoted[1] if quoted is not None else wire.name)
        )
        understood[names.TOOL_CALL_ID[0]] = told.toolCallId
        understood["gen_ai.tool.call.arguments"] = values.content(wire.input)
        understood["gen_ai.tool.call.result"] = values.content(wire.output)
    emitted = normalise.Emitted(
        trace_id(wire.traceId or ""),
        identity,
        span_id(wire.parentSpanId),
        wire.name or kind,
        "internal",
        start_ns,
        end_ns,
        values.present(wire.error) or values.present(wire.errorInfo) or told.success is False,
    )
    found = {name: value for name, value in understood.items() if value is not None}
    span = normalise.span(emitted, found, _RESOURCE, _SCOPE)
    if not is_asked():
        return span
    inner, outer = values.mapping(wire.attributes), values.mapping(wire.metadata)
    return labelled(span, inner, outer, found, {"metadata": wire.metadata, "tags": wire.tags})


def _told(wire: _Span) -> _Attributes:
    if values.present(wire.attributes):
        try:
            return _ATTRIBUTES.decode(wire.attributes)
        except values.DAMAGED:
            return _Attributes()
    return _Attributes()


def _used(raw: Raw) -> values.Attributes:
    if not values.present(raw):
        return {}
    try:
        usage = _USAGE.decode(raw)
    except values.DAMAGED:
        return {}
    asked = usage.inputDetails or _InputDetails()
    told = usage.outputDetails or _OutputDetails()
    return {
        names.INPUT_TOKENS[0]: _either(usage.inputTokens, usage.promptTokens),
        names.OUTPUT_TOKENS[0]: _either(usage.outputTokens, usage.completionTokens),
        names.CACHE_READ_TOKENS[0]: _either(
            asked.cacheRead, usage.cachedInputTokens, usage.promptCacheHitTokens
        ),
        names.CACHE_WRITE_TOKENS[0]: asked.cacheWrite,
        names.CACHE_WRITE_5M_TOKENS[0]: asked.cacheWrite5m,
        names.CACHE_WRITE_1H_TOKENS[0]: asked.cacheWrite1h,
        names.REASONING_TOKENS[0]: _either(told.reasoning, usage.reasoningTokens),
    }


def _either(*counts: Number) -> Number:
    return next((count for count in counts if count is not None), None)


def _begin() -> JsonFormat:
    exported = _Exported()
    return JsonFormat(_SCOPE, exported.add, exported.finish)


FORMAT = GatheredFormat(_SCOPE, _begin)
