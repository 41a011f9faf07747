"""One vocabulary for every convention: attributes of any emitter become a `Span`.

Readers hand over what the wire said, decoded but not judged; here units, spellings and meanings
are settled, so that no analysis asks where a trace came from. What nobody said stays unknown.
"""

import math
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import (
    Link,
    ModelCall,
    Span,
    SpanKind,
    Tokens,
    ToolCall,
)
from causepath_analyzer.read import categories

Attributes = Mapping[str, object]
"""Decoded values of the attributes in ``attributes.UNDERSTOOD`` that a span carries."""

_NO_INT = 2**63
"""No count and no time of a real run is as large; such numbers are treated as absent."""


class Resource(Struct, frozen=True, gc=False):
    """What all spans of one process have in common."""

    service: str | None = None
    host: str = ""
    sdk: str | None = None


class Emitted(Struct, frozen=True, gc=False):
    """The part of a span that every wire format has in one form or another.

    Ids are in canonical form (`span_id`, `trace_id`), times in ns since the epoch; ``end_ns`` is
    ``None`` where the record has no end.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int | None
    failed: bool = False
    links: tuple[Link, ...] = ()


def resource(attributes: Attributes) -> Resource:
    """The resource that `attributes` describe; unnamed services have no name."""
    service = _text(attributes.get(names.SERVICE_NAME))
    host = next((h for name in names.HOST if (h := _text(attributes.get(name)))), None)
    if service is not None and service.startswith("unknown_service"):
        service = None
    return Resource(
        service=service,
        # Without a host, processes are told apart by their service: two services may be two hosts.
        host=host if host is not None else f"service:{service or ''}",
        sdk=_text(attributes.get(names.SDK_NAME)),
    )


RESOURCE_ATTRIBUTES = frozenset((names.SERVICE_NAME, names.SDK_NAME, *names.HOST))
"""Every attribute of a resource that is worth decoding."""


def span(emitted: Emitted, attributes: Attributes, resource: Resource, scope: str) -> Span:
    """The span `emitted` with everything its attributes say, in our words."""
    if not attributes:
        # Most spans of other people's services end here.
        return Span(
            emitted.trace_id,
            emitted.span_id,
            emitted.parent_id,
            emitted.name,
            emitted.start_ns,
            emitted.end_ns,
            categories.of_name(emitted.name),
            emitted.kind,
            resource.service,
            resource.host,
            "error" if emitted.failed else None,
            None,
            None,
            emitted.links,
            scope=scope or None,
        )
    category = categories.of(emitted.name, emitted.kind, attributes, scope)
    return Span(
        emitted.trace_id,
        emitted.span_id,
        emitted.parent_id,
        emitted.name,
        emitted.start_ns,
        emitted.end_ns,
        category,
        emitted.kind,
        resource.service,
        resource.host,
        _error(emitted.failed, attributes),
        _model_call(attributes, resource) if category in ("llm", "embedding") else None,
        _tool_call(attributes, emitted.name) if category == "tool" else None,
        emitted.links,
        _text(_first(attributes, names.SESSION)),
        _where(attributes),
        scope or None,
        _text(_first(attributes, names.USER)),
    )


def _model_call(attributes: Attributes, resource: Resource) -> ModelCall:
    provider = _text(_first(attributes, names.PROVIDER))
    tokens = _tokens(attributes, resource)
    finish = _finish_reasons(attributes)
    streamed = _first(attributes, names.STREAMED)
    turn = whole(attributes.get(names.TURN))
    ttft_ns = _time_to_first_token(attributes, provider)
    return ModelCall(
        model=_text(_first(attributes, names.MODEL)),
        provider=names.PROVIDERS.get(provider, provider) if provider is not None else None,
        tokens=tokens,
        ttft_ns=ttft_ns,
        finish_reasons=finish,
        streamed=flag(streamed),
        turn=turn,
        issued=_issued(attributes.get(names.OUTPUT_MESSAGES)),
    )


def _tokens(attributes: Attributes, resource: Resource) -> Tokens | None:
    """Counts with the input including caches, whatever the emitter meant by "input"."""
    input_tokens = _count(_first(attributes, names.INPUT_TOKENS))
    output = _count(_first(attributes, names.OUTPUT_TOKENS))
    exclusive = resource.sdk == "openlit"
    if input_tokens is None and output is None:
        input_tokens = _count(attributes.get(names.EXCLUSIVE_INPUT_TOKENS))
        output = _count(attributes.get(names.EXCLUSIVE_OUTPUT_TOKENS))
        exclusive = True
        if input_tokens is None and output is None:
            return None
    read = _count(_first(attributes, names.CACHE_READ_TOKENS)) or 0
    write = _count(_first(attributes, names.CACHE_WRITE_TOKENS)) or 0
    total = _count(_first(attributes, names.TOTAL_TOKENS))
    counted, produced = input_tokens or 0, output or 0
    # An emitter's own total settles what it counts as input; more cache than input does as well.
    if read or write:
        if total == counted + produced:
            exclusive = False
        elif total == counted + produced + read + write or read + write > counted:
            exclusive = True
        if exclusive:
            counted += read + write
    return Tokens(
        input=counted,
        output=produced,
        cache_read=read,
        cache_write=write,
        reasoning=_count(_first(attributes, names.REASONING_TOKENS)) or 0,
        cache_write_1h=_count(_first(attributes, names.CACHE_WRITE_1H_TOKENS)) or 0,
    )


def _time_to_first_token(attributes: Attributes, provider: str | None) -> int | None:
    for name, unit_ns in names.TIME_TO_FIRST_TOKEN:
        if name in attributes:
            return _nanoseconds(attributes[name], unit_ns)
    unit_ns = names.MILLISECOND if provider == names.STRANDS else names.SECOND
    return _nanoseconds(attributes.get(names.SERVER_TIME_TO_FIRST_TOKEN), unit_ns)


def _nanoseconds(value: object, unit_ns: int) -> int | None:
    number = _number(value)
    if number is None or number < 0 or number * unit_ns >= _NO_INT:
        return None
    return round(number * unit_ns)


def _finish_reasons(attributes: Attributes) -> tuple[str, ...]:
    value = _first(attributes, names.FINISH_REASONS)
    if isinstance(value, str):
        # Jaeger and Zipkin write lists as JSON text.
        found: Sequence[object] = re.findall(r'"([^"]*)"', value) if value[:1] == "[" else [value]
    else:
        found = value if isinstance(value, list | tuple) else ()
    return tuple(names.FINISH.get(reason, reason) for reason in found if isinstance(reason, str))


_CALL_PART = re.compile(r'\{[^{}]*"type"\s*:\s*"tool_(?:call|use)"[^{}]*')
_CALL_ID = re.compile(r'"id"\s*:\s*"([^"\\]{1,200})"')


def _issued(messages: object) -> tuple[str, ...]:
    """Ids of the tool calls in recorded output messages (JSON text, whole or cut off)."""
    if not isinstance(messages, str) or "tool_" not in messages:
        return ()
    found = (_CALL_ID.search(part) for part in _CALL_PART.findall(messages))
    return tuple(match[1] for match in found if match is not None)


def _tool_call(attributes: Attributes, name: str) -> ToolCall:
    return ToolCall(
        name=_text(_first(attributes, names.TOOL_NAME)) or name.removeprefix("execute_tool "),
        call_id=_text(_first(attributes, names.TOOL_CALL_ID)),
        inferred=flag(attributes.get(names.TOOL_INFERRED)) is True,
        read_only=flag(attributes.get(names.TOOL_READ_ONLY)),
    )


def _error(failed: bool, attributes: Attributes) -> str | None:
    """What went wrong: a type, else a message; that something did is for the wire to say."""
    kind = _text(attributes.get(names.ERROR_TYPE))
    if kind is not None:
        return kind
    message = _text(attributes.get(names.ERROR))
    if message is not None and flag(message) is None:
        return message
    return "error" if failed else None


def _where(attributes: Attributes) -> str | None:
    file = _text(_first(attributes, names.CODE_FILE))
    if file is None:
        return None
    line = whole(_first(attributes, names.CODE_LINE))
    function = _text(_first(attributes, names.CODE_FUNCTION))
    place = file if line is None else f"{file}:{line}"
    return place if function is None else f"{place} {function}"


def _first(attributes: Attributes, candidates: Sequence[str]) -> object:
    for name in candidates:
        value = attributes.get(name)
        if value is not None:
            return value
    return None


def _text(value: object) -> str | None:
    """A non-empty string; emitters write "unknown" as an empty one."""
    return value if isinstance(value, str) and value else None


def flag(value: object) -> bool | None:
    """A yes or no that may arrive as text; ``None`` if it is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    return bool(value) if isinstance(value, int) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, int):
        return value if -_NO_INT < value < _NO_INT else None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _count(value: object) -> int | None:
    """A number of tokens; nobody used less than none."""
    number = whole(value)
    return number if number is not None and number >= 0 else None


def whole(value: object) -> int | None:
    """A count or a time that may arrive as number or text; ``None`` if it is neither.

    Text of digits is read exactly: nanoseconds since the epoch do not fit into a float.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -_NO_INT < value < _NO_INT else None
    if isinstance(value, str) and len(value) <= 20:
        try:
            return whole(int(value))
        except ValueError:
            pass
    number = _number(value)
    return int(number) if number is not None and abs(number) < _NO_INT else None
