"""The `openai` SDK, 2.x and 3.x: Chat Completions and Responses, plain and streamed.

It writes no spans of its own.
"""

from __future__ import annotations

import functools
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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
    ToolCall,
    Usage,
)
from causepath.providers.openai_blocks import StreamedBlocks, input_prompt, output_blocks
from causepath.providers.provider import ALIKE, CONTENT, FACTS, LAST, Provider
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

    from causepath.providers.messages import Scalar, Server
    from causepath.providers.prompt import Prompt

FINISH_REASONS = {"tool_calls": "tool_call", "function_call": "tool_call"}
"""The conventions' words for those of Chat Completions. Any other is passed on as it is."""

INCOMPLETE = {"max_output_tokens": "length"}
"""The conventions' words for why a response is incomplete."""

PARAMETERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "reasoning_effort": "gen_ai.request.reasoning.level",
    "previous_response_id": "gen_ai.request.previous_response.id",
    "service_tier": "openai.request.service_tier",
}
"""The names of their attributes, by the API's."""

ENDED = frozenset({"response.completed", "response.incomplete", "response.failed"})


def read_request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelRequest | None:
    """The request in the arguments of `client.request(cast_to, options, *, stream)`."""
    options = call_options(args, kwargs)
    path = options.url.partition("?")[0]
    if options.method.lower() != "post" or not path.endswith(("/chat/completions", "/responses")):
        return None
    body = body_of(options)
    if body is None:
        return None
    given = items(body.get("messages")) or items(body.get("input"))
    results = _tool_results(given)
    conversation = body.get("conversation")
    return ModelRequest(
        model=text(body.get("model")) or "",
        streams=body.get("stream") is True,
        tool_results=tuple(results),
        results=results,
        continues=any(map(_is_the_models, given)) or bool(body.get("previous_response_id")),
        declared_tools=_declared_tools(sent_tools(body.get("tools"))),
        forces_tool=_forces_tool(body.get("tool_choice")),
        parameters=_parameters(body),
        conversation=text(conversation) or text(get(conversation, "id")),
    )


def read_server(client: Any) -> Server:
    return server(client, "azure.ai.openai" if "Azure" in type(client).__name__ else None)


def read_prompt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Prompt:
    """Reads the arguments of `client._build_request(options, *, retries_taken)`."""
    body = body_of(body_options(args, kwargs))
    return input_prompt(body if body is not None else {})


def _is_the_models(item: Any) -> bool:
    """Tells whether the model said this message, or item of a response."""
    fields = fields_of(item)
    return fields.get("role") == "assistant" or fields.get("type") in ("function_call", "reasoning")


def _tool_results(given: Any) -> dict[str, object]:
    """Collects the results that are sent after the last reply, by the ids that they answer."""
    found: list[tuple[str, object]] = []
    for item in reversed(given):
        if _is_the_models(item):
            break
        fields = fields_of(item)
        call_id = fields.get("tool_call_id") or fields.get("call_id")
        if isinstance(call_id, str):
            found.append((call_id, fields.get("output", fields.get("content"))))
    return dict(reversed(found))


def _forces_tool(choice: Any) -> bool:
    if choice is None or isinstance(choice, str):
        return choice == "required"
    return get(choice, "type") in ("function", "custom") or get(choice, "mode") == "required"


def _declared_tools(tools: Any) -> tuple[str, ...]:
    names = []
    for tool in tools:
        fields = fields_of(tool)
        inside = fields.get("function") or fields.get("custom") or fields
        name = get(inside, "name") or fields.get("type")
        if isinstance(name, str):
            names.append(name)
    return tuple(names)


def _parameters(body: Mapping[str, Any]) -> dict[str, Scalar | tuple[str, ...]]:
    found: dict[str, Scalar | tuple[str, ...]] = {
        name: value
        for key, name in PARAMETERS.items()
        if isinstance(value := body.get(key), int | float | str)
    }
    effort = get(body.get("reasoning"), "effort")
    if isinstance(effort, str):
        found["gen_ai.request.reasoning.level"] = effort
    choices = count(body.get("n"))
    if choices is not None and choices != 1:
        found["gen_ai.request.choice.count"] = choices
    stop = body.get("stop")
    stop = (stop,) if isinstance(stop, str) else tuple(items(stop))
    if stop and all(isinstance(word, str) for word in stop):
        found["gen_ai.request.stop_sequences"] = stop
    return found


def read_reply(result: object) -> ModelReply | None:
    """A completion, a response, or a raw HTTP response whose body has been read."""
    found = fields_of(result)
    response = found.get("http_response")
    if response is not None:
        if not response.is_closed or "json" not in response.headers.get("content-type", ""):
            return None
        found = fields_of(response.json())
    if found.get("object") == "response":
        return _response(found)
    return _completion(found) if found.get("object") == "chat.completion" else None


def _completion(found: Mapping[str, Any]) -> ModelReply:
    first = fields_of(next(iter(found.get("choices") or ()), None))
    stop_reason = text(first.get("finish_reason"))
    message = first.get("message")
    return ModelReply(
        id=text(found.get("id")),
        model=text(found.get("model")),
        finish_reason=_finish_reason(stop_reason),
        usage=_usage(found.get("usage")),
        tool_calls=tuple(
            ToolCall(get(call, "id"), name, parsed(arguments))
            for call in get(message, "tool_calls") or ()
            for name, arguments in (_asked(call),)
            if name is not None
        ),
        blocks=functools.partial(output_blocks, [message]),
        awaits_tools=stop_reason == "tool_calls",
        facts=_facts(found),
    )


def _asked(call: Any) -> tuple[str | None, object]:
    fields = fields_of(call)
    function = fields_of(fields.get("function") or fields.get("custom"))
    return text(function.get("name")), function.get("arguments", function.get("input"))


def _response(found: Mapping[str, Any]) -> ModelReply:
    output = found.get("output") or ()
    calls = tuple(call for item in output if (call := _function_call(item)) is not None)
    status = text(found.get("status"))
    error = found.get("error")
    return ModelReply(
        id=text(found.get("id")),
        model=text(found.get("model")),
        finish_reason=_end_of_response(found, status, asks=bool(calls)),
        usage=_usage(found.get("usage")),
        tool_calls=calls,
        blocks=functools.partial(output_blocks, output),
        awaits_tools=bool(calls) and status == "completed",
        error=(text(get(error, "code")) or "error") if status == "failed" else None,
        facts=_facts(found),
    )


def _facts(found: Mapping[str, Any]) -> dict[str, str | int]:
    """Describes how a completion or response was served, and what the API says of its cache."""
    told: dict[str, str | int] = {}
    tier = found.get("service_tier")
    if isinstance(tier, str) and tier != "auto":  # which is what was asked for, not what served
        told["openai.response.service_tier"] = tier
    searches = count(get(get(found.get("tool_usage"), "web_search"), "num_requests"))
    if searches is None:  # older releases tell it by nothing but the searches themselves
        searches = sum(map(_searches, items(found.get("output"))))
    if searches:
        told["gen_ai.usage.web_search_requests"] = searches
    diagnostics = fields_of(found.get("prompt_cache_diagnostics"))
    why = diagnostics.get("reason") or diagnostics.get("type")
    if isinstance(why, str):
        told[CACHE_DIAGNOSIS] = why
        missed = count(diagnostics.get("cache_missed_tokens"))
        if missed is not None:
            told[CACHE_MISSED] = missed
    return told


def _searches(item: Any) -> bool:
    """Tells whether the API searched the web for this item; to open a page costs nothing."""
    fields = fields_of(item)
    return (
        fields.get("type") == "web_search_call"
        and fields.get("status") == "completed"
        and get(fields.get("action"), "type") in ("search", None)
    )


def _end_of_response(found: Mapping[str, Any], status: str | None, *, asks: bool) -> str | None:
    if status == "incomplete":
        why = text(get(found.get("incomplete_details"), "reason"))
        return INCOMPLETE.get(why, why) if why is not None else None
    if status == "completed":
        return "tool_call" if asks else "stop"
    return "error" if status == "failed" else None


def _function_call(item: Any) -> ToolCall | None:
    fields = fields_of(item)
    call_id, name = fields.get("call_id"), fields.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str):
        return None
    if fields.get("type") == "function_call":
        return ToolCall(call_id, name, parsed(fields.get("arguments")))
    if fields.get("type") == "custom_tool_call":
        return ToolCall(call_id, name, {"input": fields.get("input")})
    return None


def _finish_reason(stop_reason: str | None) -> str | None:
    return FINISH_REASONS.get(stop_reason, stop_reason) if stop_reason is not None else None


def _usage(usage: Any) -> Usage:
    """Both APIs count cached tokens inside the input, and reasoning inside the output."""
    found = fields_of(usage)
    told = fields_of(found.get("prompt_tokens_details") or found.get("input_tokens_details"))
    said = fields_of(found.get("completion_tokens_details") or found.get("output_tokens_details"))
    return Usage(
        input=count(found.get("prompt_tokens", found.get("input_tokens"))),
        output=count(found.get("completion_tokens", found.get("output_tokens"))),
        cache_read=count(told.get("cached_tokens")),
        cache_write=count(told.get("cache_write_tokens")),
        reasoning=count(said.get("reasoning_tokens")),
    )


# -- streams: chunks of a completion have no type, events of a response do


def look_at_event(event: Any) -> int:
    kind = getattr(event, "type", None)
    if kind is None:
        choices = event.choices
        if not choices:
            return FACTS | LAST  # the usage, which comes after all the rest
        choice = choices[0]
        delta = choice.delta
        what = CONTENT if delta.content else FACTS
        if delta.tool_calls:
            what |= CONTENT | FACTS
        return what | FACTS | LAST if choice.finish_reason else what
    if kind.endswith(".delta"):
        return CONTENT | ALIKE
    if kind in ENDED or kind == "error":
        return FACTS | LAST
    return FACTS if kind in ("response.created", "response.output_item.done") else 0


def read_event(reply: ModelReply, event: Any) -> ModelReply:
    """The reply with what one event of its stream adds."""
    kind = getattr(event, "type", None)
    if kind is None:
        return _read_chunk(reply, event)
    if kind in ENDED:
        return _response(fields_of(event.response))
    if kind == "response.created":
        created = fields_of(event.response)
        return reply._replace(id=text(created.get("id")), model=text(created.get("model")))
    if kind == "response.output_item.done":
        call = _function_call(event.item)
        return reply if call is None else reply._replace(tool_calls=(*reply.tool_calls, call))
    if kind == "error":
        return reply._replace(error=text(get(event, "code")) or "error")
    return reply


def _read_chunk(reply: ModelReply, chunk: Any) -> ModelReply:
    if reply.id is None:
        reply = reply._replace(id=text(chunk.id), model=text(chunk.model))
    usage, tier = get(chunk, "usage"), get(chunk, "service_tier")
    if usage is not None:
        reply = reply._replace(usage=_usage(usage))
    if tier is not None:
        reply = reply._replace(facts={**reply.facts, **_facts({"service_tier": tier})})
    choice = next((one for one in chunk.choices or () if one.index == 0), None)
    if choice is None:
        return reply
    calls = list(reply.tool_calls)
    for piece in get(choice.delta, "tool_calls") or ():
        name, arguments = _asked(piece)
        if piece.index >= len(calls):
            _close_last(calls)
            calls.append(ToolCall(get(piece, "id"), name or "", ""))
        last = calls[piece.index]
        if isinstance(last.input, str):
            calls[piece.index] = last._replace(input=last.input + (text(arguments) or ""))
    stop_reason = text(choice.finish_reason)
    if stop_reason is None:
        return reply._replace(tool_calls=tuple(calls)) if calls else reply
    _close_last(calls)
    return reply._replace(
        finish_reason=_finish_reason(stop_reason),
        tool_calls=tuple(calls),
        awaits_tools=stop_reason == "tool_calls",
    )


def _close_last(calls: list[ToolCall]) -> None:
    if calls and isinstance(calls[-1].input, str):
        calls[-1] = calls[-1]._replace(input=parsed(calls[-1].input))


def read_data(data: bytes) -> Any:
    """An event as the SDK would make it; `[DONE]` is none."""
    event = decoded(data, _namespace)
    is_chunk = getattr(event, "object", None) == "chat.completion.chunk"
    return event if is_chunk or isinstance(getattr(event, "type", None), str) else None


def _namespace(found: dict[str, Any]) -> object:
    if "delta" in found and "index" in found:
        delta = fields_of(found["delta"])
        found["delta"] = SimpleNamespace(**{"content": None, "tool_calls": None, **delta})
        found.setdefault("finish_reason", None)
    return SimpleNamespace(**found)


def read_document(data: bytes) -> ModelReply | None:
    return read_reply(decoded(data))


def read_error(error: BaseException) -> str:
    """The API's code or type of the error, or the status code."""
    words = (getattr(error, field, None) for field in ("code", "type"))
    return error_type(error, next((word for word in words if isinstance(word, str)), None))


def asking_diagnosis(
    client: Any, args: tuple[Any, ...], kwargs: dict[str, Any], previous: str | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Responses can be compared with others, by models from `gpt-5.6` on."""
    options = call_options(args, kwargs)
    body = body_of(options)
    if body is None or not options.url.partition("?")[0].endswith("/responses"):
        return args, kwargs
    model = MODEL.match(text(body.get("model")) or "")
    previous = text(body.get("previous_response_id")) or previous
    asked = fields_of(body.get("prompt_cache_options"))
    if (
        previous is None
        or model is None
        or read_server(client).platform is not None
        or (int(model[1]), int(model[2] or 0)) < DIAGNOSED
        or "comparison_response_id" in asked
    ):
        return args, kwargs
    asked = {**asked, "comparison_response_id": previous}
    return with_field(args, kwargs, "prompt_cache_options", asked)


MODEL = re.compile(r"gpt-(\d{1,4})(?:\.(\d{1,4}))?(?=-|\Z)", re.ASCII)
DIAGNOSED = (5, 6)

PROVIDER = Provider(
    name="openai",
    targets=targets("openai"),
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
)
