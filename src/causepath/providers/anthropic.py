"""The `anthropic` SDK, from 0.100: Messages, however they are asked for (create, stream, the
helpers, `beta`, raw responses, the platform clients), and how to read them."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from causepath.providers.anthropic_blocks import StreamedBlocks, input_prompt, output_blocks
from causepath.providers.fields import (
    count,
    decoded,
    fields_of,
    get,
    items,
    parsed,
    sent_tools,
    text,
)
from causepath.providers.messages import (
    CACHE_DIAGNOSIS,
    CACHE_MISSED,
    ModelReply,
    ModelRequest,
    Server,
    ToolCall,
    Usage,
)
from causepath.providers.provider import (
    ALIKE,
    CONTENT,
    FACTS,
    LAST,
    NativeSpans,
    Provider,
    Seam,
    Target,
    ToolUse,
)
from causepath.providers.stainless import (
    FINAL_ERRORS,
    body_of,
    body_options,
    call_options,
    error_type,
    read_body,
    read_status,
    server,
    targets,
    with_field,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from causepath.providers.prompt import Prompt

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
}
"""The conventions' words for the API's. Any other is passed on as it is."""

SERVED = {
    "service_tier": "anthropic.response.service_tier",
    "speed": "anthropic.response.speed",
    "inference_geo": "anthropic.response.inference_geo",
}
"""The names of the attributes of how a message was served; the first is that of the SDK's spans."""

COUNTED = {
    "cache_creation": {
        f"ephemeral_{lifetime}_input_tokens": (
            f"anthropic.usage.cache_creation.ephemeral_{lifetime}_input_tokens"
        )
        for lifetime in ("5m", "1h")
    },
    "server_tool_use": {
        "web_search_requests": "anthropic.usage.server_tool_use.web_search_requests"
    },
}
"""Those of what has a price of its own."""

AWAITING = frozenset({"tool_use", "pause_turn"})
"""The API's words for a reply that another request answers or has go on."""

PLATFORMS = {"Bedrock": "aws.bedrock", "Vertex": "gcp.vertex_ai"}
"""By the word in the names of their clients, as the SDK's own spans name them."""

PARAMETERS = {
    name: f"gen_ai.request.{name}" for name in ("max_tokens", "temperature", "top_p", "top_k")
}
"""The names of their attributes."""


TASK_BUDGET = "causepath.request.task_budget"
"""The attribute with the tokens that the model was told to get by with."""


def read_request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelRequest | None:
    """The Messages request in the arguments of `client.request(cast_to, options, *, stream)`."""
    options = call_options(args, kwargs)
    if not _is_messages(options.method, options.url):
        return None
    body = body_of(options)
    if body is None:
        return None
    results: dict[str, object] = {}
    tool_results, failed_tools, continues = _since_the_reply(items(body.get("messages")), results)
    return ModelRequest(
        model=text(body.get("model")) or "",
        streams=body.get("stream") is True,
        tool_results=tool_results,
        results=results,
        failed_tools=failed_tools,
        continues=continues,
        declared_tools=_declared_tools(sent_tools(body.get("tools"))),
        forces_tool=get(body.get("tool_choice"), "type") in ("any", "tool"),
        parameters=_parameters(body),
    )


def read_server(client: Any) -> Server:
    return server(client, _platform(client.__class__))


def read_prompt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Prompt:
    """Reads the arguments of `client._build_request(options, *, retries_taken)`."""
    body = body_of(body_options(args, kwargs))
    return input_prompt(body if body is not None else {})


@functools.lru_cache(maxsize=64)
def _platform(client: type) -> str | None:
    """The `gen_ai.provider.name` of a client that talks to somebody else's platform."""
    names = " ".join(base.__name__ for base in client.__mro__)
    return next((name for word, name in PLATFORMS.items() if word in names), None)


@functools.lru_cache(maxsize=256)
def _is_messages(method: str, url: str) -> bool:
    path = url.partition("?")[0]
    return method.lower() == "post" and path.endswith(("/messages", "/v1/messages"))


def _since_the_reply(
    messages: Any, contents: dict[str, object]
) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The ids that the messages after the last reply answer, those of them that failed, and whether
    there was a reply. Puts what is sent as results into `contents`.

    Where there are none, a reply that paused goes on: then the ids of what the API has begun.
    """
    ids: list[str] = []
    failed: list[str] = []
    for message in reversed(messages):
        fields = message if type(message) is dict else fields_of(message)
        if fields.get("role") == "assistant":
            if not ids and message is messages[-1]:
                return _server_tools(fields.get("content")), (), True
            return tuple(ids), tuple(failed), True
        content = fields.get("content")
        if isinstance(content, list | tuple):
            results = [
                (block_id, get(block, "is_error"), get(block, "content"))
                for block in content
                if get(block, "type") == "tool_result"
                and isinstance(block_id := get(block, "tool_use_id"), str)
            ]
            ids[:0] = [block_id for block_id, _, _ in results]
            failed += [block_id for block_id, is_error, _ in results if is_error is True]
            contents.update({block_id: said for block_id, _, said in results})
    return tuple(ids), tuple(failed), False


def _server_tools(content: Any) -> tuple[str, ...]:
    """The ids of the calls among some blocks that the API carries out itself."""
    return tuple(
        [
            block_id
            for block in items(content)
            if get(block, "type") == "server_tool_use"
            and isinstance(block_id := get(block, "id"), str)
        ]
    )


def _declared_tools(tools: Any) -> tuple[str, ...]:
    names = [
        tool.get("name") if type(tool) is dict else fields_of(tool).get("name") for tool in tools
    ]
    return tuple([name for name in names if isinstance(name, str)])


def _parameters(body: Mapping[str, Any]) -> dict[str, bool | int | float | str | tuple[str, ...]]:
    found: dict[str, bool | int | float | str | tuple[str, ...]] = {}
    for name, attribute in PARAMETERS.items():
        value = body.get(name)
        if value is not None and isinstance(value, (int, float)):
            found[attribute] = value
    tier = body.get("service_tier")
    if isinstance(tier, str):
        found["anthropic.request.service_tier"] = tier
    budget = get(get(body.get("output_config"), "task_budget"), "total")
    if isinstance(budget, int) and not isinstance(budget, bool):
        found[TASK_BUDGET] = budget
    stop = body.get("stop_sequences")
    if isinstance(stop, list | tuple) and stop and all(isinstance(text, str) for text in stop):
        found["gen_ai.request.stop_sequences"] = tuple(stop)
    return found


def read_reply(result: object) -> ModelReply | None:
    """A `Message`, or a raw response whose body has been read; anything else is no whole reply."""
    message = fields_of(result)
    response = message.get("http_response")
    if response is not None:
        if not response.is_closed or "json" not in response.headers.get("content-type", ""):
            return None
        message = fields_of(response.json())
    if message.get("type") != "message":
        return None
    stop_reason = text(message.get("stop_reason"))
    return ModelReply(
        id=text(message.get("id")),
        model=text(message.get("model")),
        finish_reason=_finish_reason(stop_reason),
        usage=_usage(message.get("usage")),
        tool_calls=tuple(
            [
                ToolCall(get(block, "id"), get(block, "name"), get(block, "input"))
                for block in message.get("content") or ()
                if get(block, "type") == "tool_use"
            ]
        ),
        blocks=functools.partial(output_blocks, message),
        awaits_tools=stop_reason in AWAITING,
        goes_on=_server_tools(message.get("content")) if stop_reason == "pause_turn" else (),
        facts=_facts(message),
    )


def read_event(reply: ModelReply, event: Any) -> ModelReply:
    """The reply with what one event of its stream adds."""
    kind = event.type
    if kind == "content_block_delta":
        delta = event.delta
        if delta.type != "input_json_delta" or not reply.tool_calls:
            return reply
        *others, last = reply.tool_calls
        started = last.input if isinstance(last.input, str) else ""
        last = last._replace(input=started + delta.partial_json)
        return reply._replace(tool_calls=(*others, last))
    if kind == "content_block_start":
        block = event.content_block
        if block.type == "server_tool_use":
            return reply._replace(goes_on=(*reply.goes_on, block.id))
        if block.type != "tool_use":
            return reply
        return reply._replace(tool_calls=(*reply.tool_calls, ToolCall(block.id, block.name, "")))
    if kind == "content_block_stop":
        if not reply.tool_calls or not isinstance(reply.tool_calls[-1].input, str):
            return reply
        *others, last = reply.tool_calls
        last = last._replace(input=parsed(last.input))
        return reply._replace(tool_calls=(*others, last))
    if kind == "error":
        return reply._replace(error=text(get(get(event, "error"), "type")) or "client_error")
    if kind == "message_start":
        message = event.message
        usage = _usage(message.usage)
        return ModelReply(
            id=text(message.id),
            model=text(message.model),
            # `output_tokens` is a placeholder until `message_delta`.
            usage=Usage(usage.input, None, usage.cache_read, usage.cache_write),
            facts=_facts(fields_of(message)),
        )
    if kind == "message_delta":
        stop_reason = text(event.delta.stop_reason)
        return ModelReply(
            id=reply.id,
            model=reply.model,
            finish_reason=_finish_reason(stop_reason),
            usage=_grown(reply.usage, _usage(event.usage)),
            tool_calls=reply.tool_calls,
            awaits_tools=stop_reason in AWAITING,
            goes_on=reply.goes_on if stop_reason == "pause_turn" else (),
            facts={**reply.facts, **_facts(fields_of(event))},
        )
    return reply


def read_data(data: bytes) -> Any:
    """An event from the data of a server-sent event: an object as the SDK's, or `None`."""
    event = decoded(data, lambda fields: SimpleNamespace(**fields))
    return event if isinstance(get(event, "type"), str) else None


def read_document(data: bytes) -> ModelReply | None:
    return read_reply(decoded(data))


def _facts(message: Mapping[str, Any]) -> dict[str, str | int]:
    """Describes how a message was served and what the API says of its cache, without zeros."""
    usage = fields_of(message.get("usage"))
    found: dict[str, str | int] = {
        name: value
        for key, name in SERVED.items()
        if (value := usage.get(key)) and isinstance(value, str)
    }
    for key, names in COUNTED.items():
        counts = usage.get(key)
        if counts is not None:
            for inside, name in names.items():
                number = count(get(counts, inside))
                if number:
                    found[name] = number
    reason = get(message.get("diagnostics"), "cache_miss_reason")
    if reason is not None and isinstance(why := get(reason, "type"), str):
        found[CACHE_DIAGNOSIS] = why
        missed = count(get(reason, "cache_missed_input_tokens"))
        if missed is not None:
            found[CACHE_MISSED] = missed
    return found


def _finish_reason(stop_reason: str | None) -> str | None:
    return FINISH_REASONS.get(stop_reason, stop_reason) if stop_reason is not None else None


def _usage(usage: Any) -> Usage:
    """The API counts cached tokens beside `input_tokens`; the conventions count them inside."""
    found = fields_of(usage)
    fresh = count(found.get("input_tokens"))
    cache_read = count(found.get("cache_read_input_tokens"))
    cache_write = count(found.get("cache_creation_input_tokens"))
    details = found.get("output_tokens_details")
    return Usage(
        input=None if fresh is None else fresh + (cache_read or 0) + (cache_write or 0),
        output=count(found.get("output_tokens")),
        cache_read=cache_read,
        cache_write=cache_write,
        reasoning=count(fields_of(details).get("thinking_tokens")) if details else None,
    )


def _grown(before: Usage, later: Usage) -> Usage:
    """The usage at the end of a stream. Where the API has run tools of its own, it has given the
    model more than it knew at the beginning."""
    read = before.cache_read if later.cache_read is None else later.cache_read
    write = before.cache_write if later.cache_write is None else later.cache_write
    given = before.input
    if later.input is not None:
        cached = (read or 0) + (write or 0)
        fresh = later.input - (later.cache_read or 0) - (later.cache_write or 0)
        given = max(given or 0, fresh + cached)
    return Usage(given, later.output, read, write, later.reasoning)


def look_at_event(event: Any) -> int:
    kind = event.type
    if kind == "content_block_delta":
        return CONTENT | (FACTS if event.delta.type == "input_json_delta" else ALIKE)
    return FACTS | LAST if kind == "message_stop" else FACTS


def read_error(error: BaseException) -> str:
    """The `error.type` that the SDK's own spans have: the API's error type, or the status code."""
    kind = getattr(error, "type", None)
    if not isinstance(kind, str):
        kind = get(get(getattr(error, "body", None), "error"), "type")
    return error_type(error, kind)


def native_tracer(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> object | None:
    """The SDK writes spans for its own methods only, not for `client.post("/v1/messages", ...)`."""
    options = call_options(args, kwargs)
    tracer: object = getattr(client, "_tracer", None)
    return tracer if getattr(options, "span_name", None) else None


def native_content(client: Any) -> bool:
    return getattr(getattr(client, "_otel", None), "records_content", False) is True


def silence(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Without a `span_name`, the SDK starts no span for the request."""
    if "options" in kwargs:
        return args, {**kwargs, "options": _unnamed(kwargs["options"])}
    cast_to, options, *rest = args
    return (cast_to, _unnamed(options), *rest), kwargs


def _unnamed(options: Any) -> Any:
    return options.model_copy(update={"span_name": None})


def native_tracer_provider(client: Any) -> object | None:
    given: object = get(getattr(client, "_open_telemetry", None), "tracer_provider")
    return given


@functools.lru_cache(maxsize=64)
def _is_elsewhere(client: type) -> bool:
    """Tells whether it is a client of somebody else's platform."""
    return any(base.__module__.startswith("anthropic.lib.") for base in client.__mro__)


def asking_diagnosis(
    client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], previous: str | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Without a reply before, the API notes the prompt to compare the next one with. Other
    platforms do not know that."""
    body = body_of(call_options(args, kwargs))
    if (
        body is None
        or _is_elsewhere(client.__class__)
        or "previous_message_id" in fields_of(body.get("diagnostics"))
    ):
        return args, kwargs
    return with_field(args, kwargs, "diagnostics", {"previous_message_id": previous})


def _tool_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolUse:
    tool, *given = args
    return ToolUse(tool.name, {str(i): value for i, value in enumerate(given)} | kwargs)


_TOOLS = "anthropic.lib.tools._beta_functions"
_RUNNER = "anthropic.lib.tools._beta_runner"

PROVIDER = Provider(
    name="anthropic",
    targets=(
        *targets("anthropic"),
        Target(_RUNNER, "BaseToolRunner._start_tool_runner_span", Seam.SPAN),
        Target(_TOOLS, "BetaFunctionTool.call", Seam.TOOL, tool=_tool_of),
        Target(_TOOLS, "BetaAsyncFunctionTool.call", Seam.TOOL, is_async=True, tool=_tool_of),
    ),
    read_request=read_request,
    read_body=read_body,
    read_server=read_server,
    read_prompt=read_prompt,
    read_reply=read_reply,
    read_event=read_event,
    block_reader=StreamedBlocks,
    look_at_event=look_at_event,
    read_data=read_data,
    read_document=read_document,
    read_error=read_error,
    read_status=read_status,
    asking_diagnosis=asking_diagnosis,
    final_errors=FINAL_ERRORS,
    native=NativeSpans(
        scope="com.anthropic.sdk.python",
        call="anthropic.messages.create",
        reply=frozenset(
            {
                "anthropic.response.service_tier",
                *COUNTED["cache_creation"].values(),
                "gen_ai.response.id",
                "gen_ai.response.model",
                "gen_ai.usage.cache_read.input_tokens",
                "gen_ai.usage.cache_write.input_tokens",
                "gen_ai.usage.output_tokens",
                "gen_ai.usage.reasoning.output_tokens",
            }
        ),
        tracer=native_tracer,
        tracer_provider=native_tracer_provider,
        records_content=native_content,
        silence=silence,
    ),
)
