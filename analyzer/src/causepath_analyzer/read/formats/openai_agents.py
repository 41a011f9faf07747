"""Spans of the OpenAI Agents SDK: what a trace processor exports or dumps.

Objects "trace" and "trace.span", in a list under "data", under "traces" with the spans of each
inside, in a list, or one per line. The trace object has no times, so it becomes no span.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Skipped
from causepath_analyzer.read.format import Found, JsonFormat
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise
from causepath_analyzer.read.meaning.asked import labelled


class _InputDetails(Struct, gc=False):
    cached_tokens: Number = None


class _OutputDetails(Struct, gc=False):
    reasoning_tokens: Number = None


class _Usage(Struct, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    prompt_tokens: Number = None
    completion_tokens: Number = None
    total_tokens: Number = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Step(Struct, gc=False):
    """The content of a span of the SDK's own, whose type is "custom"."""

    sdk_span_type: str | None = None
    name: str | None = None


class _Data(Struct, gc=False):
    type: str | None = None
    name: str | None = None
    model: str | None = None
    usage: _Usage | None = None
    sdk_span_type: str | None = None
    data: Raw = values.ABSENT
    response_id: str | None = None
    from_agent: str | None = None
    to_agent: str | None = None
    input: Raw = values.ABSENT
    output: Raw = values.ABSENT


class _Error(Struct, gc=False):
    message: str | None = None


class _Item(Struct, gc=False):
    """A trace or a span, as "object" says; or an answer that wraps them."""

    object: str | None = None
    id: str | None = None
    trace_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    started_at: Number = None
    ended_at: Number = None
    span_data: _Data | None = None
    error: _Error | None = None
    workflow_name: Raw = values.ABSENT
    metadata: Raw = values.ABSENT
    data: list[Raw] | None = None
    traces: list[Raw] | None = None
    spans: list[Raw] | None = None


_DOCUMENT: Final = msgspec.json.Decoder(_Item | list[Raw])
_ITEM: Final = msgspec.json.Decoder(_Item)
_MARKS: Final = (b'"trace.span"', b'"workflow_name"')
_CATEGORIES: Final[Mapping[str | None, str]] = {
    "generation": "llm",
    "response": "llm",
    "transcription": "llm",
    "speech": "llm",
    "function": "tool",
    "agent": "agent",
    "guardrail": "guardrail",
    "handoff": "chain",
    "task": "chain",
    "turn": "chain",
    "custom": "chain",
    "speech_group": "chain",
}
_NO_RESOURCE: Final = normalise.resource({})
_NO_DATA: Final = _Data()
_NO_TRACE: Final = _Item()
_NO_STEP: Final = _Step()
_STEP: Final = msgspec.json.Decoder(_Step)
_NO_USAGE: Final = _Usage()
_SCOPE: Final = "openai-agents"


def read(document: bytes, where: str) -> list[Found] | None:
    """The spans of `document`; ``None`` if there is no object of the SDK in it."""
    if not any(mark in document for mark in _MARKS):
        return None
    try:
        decoded = _DOCUMENT.decode(document)
    except (msgspec.ValidationError, RecursionError):
        # One wrong field somewhere: the objects below can still be read one by one.
        decoded = [Raw(document)]
    traces: dict[str | None, _Item] = {}
    spans: list[_Item] = []
    found: list[Found] = []
    is_ours = False
    for item in _items(decoded, where):
        if isinstance(item, Skipped):
            found.append(item)
        elif item.object == "trace":
            is_ours = True
            if item.id:
                traces[item.id] = item
        elif item.object == "trace.span":
            is_ours = True
            spans.append(item)
    found.extend(_span(item, traces.get(item.trace_id, _NO_TRACE), where) for item in spans)
    return found if is_ours else None


def _items(decoded: _Item | list[Raw], where: str) -> Iterator[_Item | Skipped]:
    """Every trace and span, however they are wrapped: three levels at most."""
    if isinstance(decoded, _Item):
        yield decoded
        inner = [*(decoded.data or ()), *(decoded.traces or ()), *(decoded.spans or ())]
    else:
        inner = decoded
    for item in values.decoded(inner, _ITEM, where, "an object"):
        yield item
        if isinstance(item, _Item):
            yield from values.decoded(item.spans or (), _ITEM, where, "a span")


def _span(item: _Item, trace: _Item, where: str) -> Found:
    start_ns = values.time_ns(item.started_at)
    if not item.id or not item.trace_id or start_ns is None:
        return Skipped(where, f"span {item.id or '?'} without id, trace_id or started_at")
    data = item.span_data or _NO_DATA
    kind, name = data.type, _name(data)
    if kind == "custom":
        step = _step(data.data)
        kind = data.sdk_span_type or step.sdk_span_type or kind
        name = (step.name if kind == "task" else None) or name
    error = item.error.message if item.error is not None else None
    usage = data.usage or _NO_USAGE
    understood: dict[str, object] = {
        names.CATEGORY: _CATEGORIES.get(kind, "other"),
        names.MODEL[0]: data.model,
        names.PROVIDER[0]: "openai",
        names.INPUT_TOKENS[0]: _either(usage.input_tokens, usage.prompt_tokens),
        names.OUTPUT_TOKENS[0]: _either(usage.output_tokens, usage.completion_tokens),
        names.TOTAL_TOKENS[0]: usage.total_tokens,
        names.RESPONSE_ID[0]: data.response_id,
        names.ERROR: error,
        names.SESSION[0]: trace.group_id,
    }
    if usage.input_tokens_details is not None:
        understood[names.CACHE_READ_TOKENS[0]] = usage.input_tokens_details.cached_tokens
    if usage.output_tokens_details is not None:
        understood[names.REASONING_TOKENS[0]] = usage.output_tokens_details.reasoning_tokens
    if kind == "function":
        understood[names.TOOL_NAME[0]] = data.name
        understood["gen_ai.tool.call.arguments"] = values.content(data.input)
        understood["gen_ai.tool.call.result"] = values.content(data.output)
    elif kind == "generation":
        understood["gen_ai.input.messages"] = values.content(data.input)
    emitted = normalise.Emitted(
        item.trace_id.removeprefix("trace_"),
        item.id,
        item.parent_id or "",
        name,
        "internal",
        start_ns,
        values.time_ns(item.ended_at),
        item.error is not None,
    )
    span = normalise.span(emitted, understood, _NO_RESOURCE, _SCOPE)
    of_trace = {"workflow_name": trace.workflow_name, "metadata": trace.metadata}
    whole = {name: raw for name, raw in of_trace.items() if values.present(raw)}
    return labelled(
        span,
        values.mapping(item.metadata),
        values.mapping(data.data),
        understood,
        resource={**values.mapping(trace.metadata), **whole},
    )


def _step(data: Raw) -> _Step:
    try:
        return _STEP.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return _NO_STEP


def _either(first: Number, second: Number) -> Number:
    return first if first is not None else second


def _name(data: _Data) -> str:
    if data.name:
        return data.name
    if data.type == "handoff":
        return f"handoff {data.from_agent or '?'} -> {data.to_agent or '?'}"
    return data.type or "span"


FORMAT = JsonFormat("openai-agents", read)
