"""What recorded requests and replies of a model say, where a trace store keeps them as JSON.

A store that has no counts of its own (MLflow 2, runs as the LangSmith SDK posts them) still has
the reply: of Anthropic's Messages, of OpenAI's completions or responses, or LangSmith's own sum.
"""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.read.formats import values
from causepath_analyzer.read.formats.values import Number
from causepath_analyzer.read.meaning import normalise


class _Cached(Struct, gc=False):
    ephemeral_5m_input_tokens: Number = None
    ephemeral_1h_input_tokens: Number = None


class _InputDetails(_Cached, gc=False):
    cached_tokens: Number = None
    cache_read: Number = None
    cache_creation: Number = None


class _OutputDetails(Struct, gc=False):
    reasoning_tokens: Number = None
    reasoning: Number = None


class _Usage(Struct, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    total_tokens: Number = None
    cache_read_input_tokens: Number = None
    cache_creation_input_tokens: Number = None
    cache_creation: _Cached | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    # OpenAI's completions:
    prompt_tokens: Number = None
    completion_tokens: Number = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    # LangSmith:
    input_token_details: _InputDetails | None = None
    output_token_details: _OutputDetails | None = None
    prompt_token_details: _InputDetails | None = None
    completion_token_details: _OutputDetails | None = None


class _Part(Struct, gc=False):
    type: str | None = None
    id: str | None = None


class _Message(Struct, gc=False):
    tool_calls: list[_Part] | None = None


class _Choice(Struct, gc=False):
    finish_reason: str | None = None
    message: _Message | None = None


class _Reply(Struct, gc=False):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    content: list[_Part] | str | None = None
    tool_calls: list[_Part] | None = None
    choices: list[_Choice] | None = None
    usage: Raw = values.ABSENT
    usage_metadata: Raw = values.ABSENT


class _Request(Struct, gc=False):
    model: str | None = None
    stream: bool | None = None


_REPLY: Final = msgspec.json.Decoder(_Reply)
_REQUEST: Final = msgspec.json.Decoder(_Request)
_USAGE: Final = msgspec.json.Decoder(_Usage)
_ISSUED: Final = tuple(name for name in names.ISSUED if name.startswith("gen_ai."))


def asked(raw: Raw) -> values.Attributes:
    """Reads the request in `raw` as attributes; nothing if it is no request."""
    try:
        request = _REQUEST.decode(raw)
    except values.DAMAGED:
        return {}
    return _known({"gen_ai.request.model": request.model, names.STREAMED[0]: request.stream})


def answered(raw: Raw) -> values.Attributes:
    """Reads the reply in `raw` as attributes; nothing if it is no reply."""
    try:
        reply = _REPLY.decode(raw)
    except values.DAMAGED:
        return {}
    choice = reply.choices[0] if reply.choices else None
    message = choice.message if choice is not None else None
    parts = reply.tool_calls or (message.tool_calls if message is not None else None)
    if parts is None and isinstance(reply.content, list):
        parts = [part for part in reply.content if part.type == "tool_use"]
    found = {
        **used(reply.usage),
        **used(reply.usage_metadata),
        names.RESPONSE_ID[0]: reply.id,
        names.MODEL[0]: reply.model,
        names.FINISH_REASONS[0]: reply.stop_reason or (choice and choice.finish_reason),
    }
    found.update(zip(_ISSUED, (part.id for part in parts or ()), strict=False))
    return _known(found)


def used(raw: Raw) -> values.Attributes:
    """The counts of tokens in `raw` as attributes, the input with what came from caches."""
    if not values.present(raw):
        return {}
    try:
        usage = _USAGE.decode(raw)
    except values.DAMAGED:
        return {}
    asked = usage.input_tokens_details or usage.prompt_tokens_details
    asked = asked or usage.input_token_details or usage.prompt_token_details or _InputDetails()
    told = usage.output_tokens_details or usage.completion_tokens_details
    told = told or usage.output_token_details or usage.completion_token_details or _OutputDetails()
    parts = usage.cache_creation or asked
    counted = _first(usage.input_tokens, usage.prompt_tokens)
    read = _first(usage.cache_read_input_tokens, asked.cache_read, asked.cached_tokens)
    write = _first(usage.cache_creation_input_tokens, asked.cache_creation)
    if counted is not None and usage.cache_read_input_tokens is not None:
        # Anthropic's own counts leave the caches out.
        counted += (read or 0) + (write or 0)
    return _known(
        {
            names.INPUT_TOKENS[0]: counted,
            names.OUTPUT_TOKENS[0]: _first(usage.output_tokens, usage.completion_tokens),
            names.TOTAL_TOKENS[0]: _first(usage.total_tokens),
            names.CACHE_READ_TOKENS[0]: read,
            names.CACHE_WRITE_TOKENS[0]: write,
            names.CACHE_WRITE_5M_TOKENS[0]: _first(parts.ephemeral_5m_input_tokens),
            names.CACHE_WRITE_1H_TOKENS[0]: _first(parts.ephemeral_1h_input_tokens),
            names.REASONING_TOKENS[0]: _first(told.reasoning_tokens, told.reasoning),
        }
    )


def _first(*counts: Number) -> int | None:
    return next((n for count in counts if (n := normalise.whole(count)) is not None), None)


def _known(found: values.Attributes) -> values.Attributes:
    return {name: value for name, value in found.items() if value is not None}
