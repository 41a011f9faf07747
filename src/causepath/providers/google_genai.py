"""The `google-genai` SDK, from 1.5: `models.generate_content`, plain and streamed, and what is made
of it (chats, functions that the SDK calls by itself), of the Gemini API and of Vertex AI.

All of that passes one method below the public ones, as plain data. It writes no spans of its own.
"""

from __future__ import annotations

import functools
import marshal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from causepath.providers.fields import count, decoded, fields_of, get, items, text
from causepath.providers.google_blocks import (
    StreamedBlocks,
    input_prompt,
    output_blocks,
    parts_of,
    said_by,
)
from causepath.providers.messages import MadeUpId, ModelReply, ModelRequest, Server, ToolCall, Usage
from causepath.providers.provider import CONTENT, FACTS, Provider, Seam, Target, ToolUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from causepath.providers.messages import Scalar
    from causepath.providers.prompt import Prompt

FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR",
            "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
    **dict.fromkeys(
        (
            "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
            "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE",
        ),
        "error",
    ),
}  # fmt: skip
"""The conventions' words for the API's. Any other is passed on as it is."""

PARAMETERS = {
    "maxOutputTokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "topP": "gen_ai.request.top_p",
    "topK": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequencyPenalty": "gen_ai.request.frequency_penalty",
    "presencePenalty": "gen_ai.request.presence_penalty",
}
"""The names of their attributes, by the API's."""

TIERS = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
}
"""The API's words for the service tiers, by those of Vertex AI. Any other is passed on."""

PREFIXES = ("publishers/google/models/", "models/")
"""What a model's name may begin with in an address, and a price list does not know."""

WENT_ON = "CONTINUATION"
"""The API's word for a reply that another request has go on, with the token that it gives."""

FINAL_ERRORS = frozenset(
    {
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "PERMISSION_DENIED",
        "UNAUTHENTICATED",
    }
)
"""The API's words for what the same request fails with again."""

CONNECTIONS = ("httpx", "httpcore", "requests", "urllib3", "aiohttp", "google.auth")
"""Where the errors come from that no server has sent."""


# -- requests: `BaseApiClient._request(self, http_request, ...)`, whose data is what is sent


def _http_request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return kwargs["http_request"] if "http_request" in kwargs else args[0]


def _body(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    data = _http_request(args, kwargs).data
    return data if isinstance(data, dict) else {}


def read_request(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModelRequest | None:
    model, method = _address(_http_request(args, kwargs).url)
    if method not in ("generateContent", "streamGenerateContent"):
        return None
    body = _body(args, kwargs)
    contents = items(body.get("contents"))
    answered = [*_answered(contents)]
    token = _continuation(body)
    return ModelRequest(
        model=model,
        streams=method == "streamGenerateContent",
        tool_results=(token,) if token is not None else tuple(one for one, *_ in answered),
        results={call_id: said_by(get(given, "response"))[0] for call_id, given in answered},
        failed_tools=tuple(
            call_id for call_id, given in answered if said_by(get(given, "response"))[1]
        ),
        continues=token is not None or any(get(one, "role") == "model" for one in contents),
        declared_tools=_declared_tools(items(body.get("tools"))),
        forces_tool=get(get(body.get("toolConfig"), "functionCallingConfig"), "mode") == "ANY",
        parameters=_parameters(fields_of(body.get("generationConfig")), body.get("serviceTier")),
        make_up_id=functools.partial(_made_up, functools.cache(functools.partial(_key, contents))),
    )


def read_body(args: tuple[Any, ...], kwargs: dict[str, Any]) -> object:
    return {**_body(args, kwargs), "url": _http_request(args, kwargs).url}


def read_prompt(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Prompt:
    body = _body(args, kwargs)
    answered = _answered(items(body.get("contents")))
    return input_prompt(body, {id(given): call_id for call_id, given in answered})


def read_server(client: Any) -> Server:
    address, port = _server(str(get(client._http_options, "base_url")))
    return Server(address, port, "gcp.vertex_ai" if client.vertexai else None)


@functools.lru_cache(maxsize=64)
def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)


@functools.lru_cache(maxsize=256)
def _address(url: str) -> tuple[str, str]:
    """The model that an address names, and the method."""
    named, _, method = url.partition("?")[0].rpartition(":")
    for prefix in PREFIXES:
        before, found, model = named.rpartition(f"/{prefix}")
        if found and before:
            return model, method
    return "/".join(named.split("/")[-2:]), method  # tunedModels/123, endpoints/123


def _answered(contents: list[Any] | tuple[Any, ...]) -> list[tuple[str, Any]]:
    """The newest function responses, and the ids of the calls that they answer: the calls' own, or
    those that were made up for them, by their names and order."""
    end = len(contents)
    while end and get(contents[end - 1], "role") != "model":
        end -= 1
    start = end
    while start and get(contents[start - 1], "role") == "model":
        start -= 1
    responses = [
        given
        for content in contents[end:]
        for part in items(get(content, "parts"))
        if (given := get(part, "functionResponse"))
    ]
    if not responses:
        return []
    key = functools.cache(functools.partial(_key, contents[:start]))
    calls = [
        call
        for content in contents[start:end]
        for part in items(get(content, "parts"))
        if (call := get(part, "functionCall")) and get(call, "name")
    ]
    asked = [
        (text(get(call, "name")), text(get(call, "id")) or _made_up(key, number))
        for number, call in enumerate(calls)
    ]
    found = []
    for given in responses:
        call_id, name = text(get(given, "id")), get(given, "name")
        same = [one for one in asked if one[1] == call_id] or [
            one for one in asked if one[0] == name and call_id is None
        ]
        if same:
            asked.remove(same[0])
            call_id = same[0][1]
        if call_id is not None:
            found.append((call_id, given))
    return found


def _key(contents: list[Any] | tuple[Any, ...]) -> int:
    """Equal for equal beginnings of a conversation only."""
    try:
        return hash(marshal.dumps(list(contents), 2))
    except ValueError:  # no plain data
        return hash(repr(contents))


def _made_up(key: Callable[[], int], number: int) -> MadeUpId:
    return MadeUpId(f"{key():x} {number}")


def _continuation(body: Mapping[str, Any]) -> str | None:
    inside = body.get("continuationToken") or get(body.get("generationConfig"), "continuationToken")
    return text(inside)


def _declared_tools(tools: Any) -> tuple[str, ...]:
    names = []
    for tool in tools:
        for kind, inside in fields_of(tool).items():
            if kind == "functionDeclarations":
                names += [get(one, "name") for one in items(inside)]
            else:
                names.append(kind)
    return tuple(name for name in names if isinstance(name, str))


def _parameters(settings: Mapping[str, Any], tier: object) -> dict[str, Scalar | tuple[str, ...]]:
    found: dict[str, Scalar | tuple[str, ...]] = {
        name: value
        for key, name in PARAMETERS.items()
        if isinstance(value := settings.get(key), int | float)
    }
    if isinstance(tier, str):
        found["gen_ai.request.service_tier"] = tier.lower()
    choices = count(settings.get("candidateCount"))
    if choices is not None and choices != 1:
        found["gen_ai.request.choice.count"] = choices
    stop = items(settings.get("stopSequences"))
    if stop and all(isinstance(word, str) for word in stop):
        found["gen_ai.request.stop_sequences"] = tuple(stop)
    return found


# -- replies


def read_reply(result: object) -> ModelReply | None:
    """Reads an `HttpResponse` that holds a whole reply."""
    whole = get(result, "response_stream")
    if not isinstance(whole, list):
        return None
    return read_document(whole[0].encode()) if whole and isinstance(whole[0], str) else None


def read_document(data: bytes) -> ModelReply | None:
    found = decoded(data)
    if not isinstance(found, dict) or not found.keys() & {"candidates", "promptFeedback"}:
        return None
    return read_event(ModelReply(), found)._replace(
        blocks=functools.partial(output_blocks, parts_of(found))
    )


def look_at_event(event: Any) -> int:
    """Each chunk has the usage so far. The last one is known by nothing but that none follows."""
    return CONTENT | FACTS if any(map(_says, parts_of(event))) else FACTS


def _says(part: Any) -> bool:
    return any(value for name, value in fields_of(part).items() if name != "thoughtSignature")


def read_event(reply: ModelReply, event: Any) -> ModelReply:
    """The reply with what one chunk of it adds. A whole reply is one chunk."""
    found = fields_of(event)
    error = found.get("error")
    if error:
        return reply._replace(error=text(get(error, "status")) or str(get(error, "code")))
    calls = list(reply.tool_calls)
    for part in parts_of(event):
        call = fields_of(get(part, "functionCall"))
        if isinstance(name := call.get("name"), str):
            # Arguments that come in pieces of their own are not put together here.
            given = None if call.get("willContinue") else call.get("args") or {}
            calls.append(ToolCall(text(call.get("id")) or "", name, given))
    stop_reason = _ends(event)
    usage = _usage(found.get("usageMetadata"))
    if stop_reason is None and reply.finish_reason is None:  # so far it is only counted
        usage = usage._replace(output=None, reasoning=None)
    finish_reason = FINISH_REASONS.get(stop_reason, stop_reason) if stop_reason else None
    if calls and (finish_reason or reply.finish_reason) == "stop":
        finish_reason = "tool_call"
    token = get(next(iter(items(found.get("candidates"))), None), "continuationToken")
    return reply._replace(
        id=reply.id or text(found.get("responseId")),
        model=reply.model or text(found.get("modelVersion")),
        finish_reason=finish_reason or reply.finish_reason,
        usage=usage if usage.input is not None else reply.usage,
        tool_calls=tuple(calls),
        awaits_tools=stop_reason == WENT_ON or finish_reason == "tool_call" or reply.awaits_tools,
        goes_on=(token,) if stop_reason == WENT_ON and isinstance(token, str) else (),
        facts={**reply.facts, **_facts(found)},
    )


def _facts(found: Mapping[str, Any]) -> dict[str, str | int]:
    """Describes how a reply was served, and how often the API searched the web for it."""
    told: dict[str, str | int] = {}
    usage = fields_of(found.get("usageMetadata"))
    tier = usage.get("serviceTier") or usage.get("trafficType")
    if isinstance(tier, str) and not tier.upper().endswith("UNSPECIFIED"):
        told["gen_ai.response.service_tier"] = TIERS.get(tier, tier.lower())
    first = next(iter(items(found.get("candidates"))), None)
    searches = len(items(get(get(first, "groundingMetadata"), "webSearchQueries")))
    if searches:
        told["gen_ai.usage.web_search_requests"] = searches
    return told


def _ends(event: Any) -> str | None:
    """Tells why the reply ends, if it does, or why there is none, if the prompt was not taken."""
    found = fields_of(event)
    candidates = items(found.get("candidates"))
    if candidates:
        return text(get(candidates[0], "finishReason"))
    return "SAFETY" if get(found.get("promptFeedback"), "blockReason") else None


def _usage(usage: Any) -> Usage:
    """The API counts what it thinks beside the candidates, and the results of its own tools beside
    the prompt, in which is what was cached. What is zero it leaves out."""
    found = fields_of(usage)
    prompt, candidates = (
        count(found.get("promptTokenCount")),
        count(found.get("candidatesTokenCount")),
    )
    thoughts, total = count(found.get("thoughtsTokenCount")), count(found.get("totalTokenCount"))
    given = None if prompt is None else prompt + (count(found.get("toolUsePromptTokenCount")) or 0)
    output = None if candidates is None else candidates + (thoughts or 0)
    if output is None and total is not None and given is not None:
        output = total - given
    return Usage(
        input=given,
        output=output,
        cache_read=count(found.get("cachedContentTokenCount")),
        reasoning=thoughts,
    )


def read_data(data: bytes) -> Any:
    event = decoded(data)
    return event if isinstance(event, dict) else None


# -- errors


def read_error(error: BaseException) -> str:
    """The API's word for the error, or the status code."""
    name = type(error).__name__
    if "Timeout" in name:
        return "client_timeout_error"
    if type(error).__module__.startswith(CONNECTIONS):
        return "connection_error"
    status, code = getattr(error, "status", None), read_status(error)
    if isinstance(status, str) and status.isupper():
        return status
    return str(code) if code is not None else "client_error"


def read_status(error: BaseException) -> int | None:
    code = getattr(error, "code", None)
    return code if isinstance(code, int) else None


class GenaiResponse:
    """An `HttpResponse` of the SDK: of a successful attempt, as it raises an error for another.

    It does not matter by which of three libraries it was fetched, whose bytes nobody gets but the
    SDK.
    """

    def __init__(self, response: Any) -> None:
        self._response = response

    status = 200
    bytes_tell = False

    @property
    def headers(self) -> Mapping[str, str]:
        headers: Mapping[str, str] = self._response.headers
        return headers

    @property
    def is_read(self) -> bool:
        return isinstance(self._response.response_stream, list)

    def content(self) -> bytes:
        return "".join(self._response.response_stream).encode()

    @property
    def reader(self) -> object:
        reader, _ = getattr(self._response, READER, (None, None))
        return reader

    def observe(self, reader: object, observed: Callable[[Any, Any], object]) -> None:
        # It tells that it is dropped together with the response, should nobody read that.
        setattr(self._response, READER, (reader, observed(None, reader)))


READER = "_causepath"
"""The attribute of a response that holds who observes it."""


def _returned(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> GenaiResponse | None:  # noqa: ARG001
    return None if result is None else GenaiResponse(result)


def _iterated(args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> GenaiResponse:  # noqa: ARG001
    return GenaiResponse(args[0])


class Refusal(NamedTuple):
    """The response that an attempt failed with."""

    status: int
    headers: Mapping[str, str]


def _refused(error: BaseException) -> Refusal | None:
    code = read_status(error)
    headers = getattr(getattr(error, "response", None), "headers", None)
    return None if code is None else Refusal(code, headers if headers is not None else {})


def _tool(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ToolUse | None:
    """Reads the arguments of `invoke_function_from_dict_args(args, function_to_invoke)`."""
    given = kwargs["args"] if "args" in kwargs else args[0]
    function = kwargs.get("function_to_invoke") or args[-1]
    name = getattr(function, "__name__", None)
    return ToolUse(name, given, function, _raised) if isinstance(name, str) else None


def _raised(error: BaseException) -> BaseException:
    """The SDK raises an error of its own for what a function raises."""
    named = type(error).__name__ == "FunctionInvocationError"
    return error.__context__ or error if named else error


def _targets() -> tuple[Target, ...]:
    api, tools = "google.genai._api_client", "google.genai._extra_utils"
    found = []
    for is_async, prefix, events, invoke in (
        (False, "_", "segments", "invoke_function_from_dict_args"),
        (True, "_async_", "async_segments", "invoke_function_from_dict_args_async"),
    ):
        call = f"BaseApiClient.{prefix}request"
        found += [
            Target(api, f"{call}_once", Seam.ATTEMPT, is_async, failure=_refused),
            Target(api, call, Seam.RESPONSE, is_async, _returned),
            Target(api, call, Seam.BODY, is_async),
            Target(api, call, Seam.CALL, is_async),
            Target(api, f"HttpResponse.{events}", Seam.EVENTS, is_async, _iterated),
            Target(tools, invoke, Seam.TOOL, is_async, tool=_tool),
        ]
    return tuple(found)


PROVIDER = Provider(
    name="gcp.gemini",
    operation="generate_content",
    targets=_targets(),
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
    final_errors=FINAL_ERRORS,
)
