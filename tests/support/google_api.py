"""A stand-in of Gemini's API, as Google AI Studio and Vertex AI have it: the server of
`messages_api`, which speaks another dialect.

with GoogleApi([Failure(429), Reply("Hello")]) as api:
    client = genai.Client(api_key="test", http_options={"base_url": api.url})
    client.models.generate_content(model="gemini-2.5-flash", contents="Hello?")

A `ToolUse` without an `id` is sent without one, as older models do. A `RawBlock` is a part.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.support import wire
from tests.support.messages_api import MessagesApi, _Answering, _Connection, _phrase
from tests.support.script import (
    Block,
    ErrorEvent,
    Failure,
    RawBlock,
    Reply,
    Request,
    Text,
    Thinking,
    ToolUse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.script import Answer, Script
    from tests.support.wire import JsonObject

PATH = re.compile(r"/.*models/(?P<model>[^/:]+):(?P<method>generateContent|streamGenerateContent)$")

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

FINISH_REASONS = {"end_turn": "STOP", "tool_use": "STOP", "max_tokens": "MAX_TOKENS"}


class GoogleApi(MessagesApi):
    """As `MessagesApi`, for `generateContent` and `streamGenerateContent`."""

    def __init__(self, script: Script | Answer | Sequence[Answer], *, keep: bool = True) -> None:
        super().__init__(script, keep=keep)
        self._server.RequestHandlerClass = _GoogleConnection


class _GoogleAnswering(_Answering):
    @staticmethod
    def is_message(path: str) -> bool:
        return PATH.match(path) is not None

    def answer(self, identity: tuple[str, int]) -> None:
        path = self._request.path
        if path.endswith(":countTokens"):
            self._json(200, {"totalTokens": 12})
        elif not self.is_message(path) or not isinstance(self._request.body, dict):
            self.refusal(404, f"Not found: {path}")
        else:
            self.message(wire.new_id("msg", *identity))

    def message(self, message_id: str) -> None:
        if "contents" not in self._request.body:
            self.refusal(400, "contents are not specified")
        else:
            self.from_script(message_id)

    def _scripted(self, answer: Answer, message_id: str) -> None:
        if isinstance(answer, Reply) and self._request.path.endswith(":streamGenerateContent"):
            self._pause(answer.latency.before_headers)
            self._stream(answer, message_id)
        else:
            super()._scripted(answer, message_id)

    def _failure(self, failure: Failure, headers: dict[str, str]) -> None:
        body = _error(failure.status, failure.message or _phrase(failure.status))
        self._json(failure.status, body, headers)

    def _whole(self, reply: Reply, message_id: str) -> None:
        interruption = reply.interruption
        if isinstance(interruption, ErrorEvent):
            self._failure(Failure(interruption.status, interruption.message), {})
            return
        parts = [part for block in reply.blocks for part in _parts(block, None)]
        body = _head(self._request, message_id) | _candidate(parts, _end(reply))
        body["usageMetadata"] = _usage(reply, self._request, is_over=True)
        body = wire.merged(body, reply.more)
        if reply.stop_reason == "blocked":
            body = {"promptFeedback": {"blockReason": "SAFETY"}, **body}
            del body["candidates"]
        self._json(200, body, cut=interruption is not None, encoding=reply.encoding)

    def _stream(self, reply: Reply, message_id: str) -> None:
        self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
        for seconds, chunk in _chunks(reply, self._request, message_id):
            self._pause(seconds)
            data = f"data: {json.dumps(chunk)}\r\n\r\n".encode()
            self._send("chunk", b"%x\r\n%s\r\n" % (len(data), data))
        self._end_stream(reply)


class _GoogleConnection(_Connection):
    answering = _GoogleAnswering


def _error(status: int, text: str) -> JsonObject:
    return {"error": {"code": status, "message": text, "status": STATUSES.get(status, "UNKNOWN")}}


def _head(request: Request, message_id: str) -> JsonObject:
    found = PATH.match(request.path)
    return {"modelVersion": found["model"] if found else "", "responseId": message_id}


def _end(reply: Reply) -> str:
    return FINISH_REASONS.get(reply.final_stop_reason, reply.final_stop_reason)


def _candidate(parts: Sequence[JsonObject], finish: str | None) -> JsonObject:
    candidate: JsonObject = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate]}


def _parts(block: Block, size: int | None) -> Iterator[JsonObject]:
    """A block as a part, or as several where `size` characters are sent at a time."""
    if isinstance(block, ToolUse):
        call: JsonObject = {"name": block.name, "args": dict(block.input)}
        yield {"functionCall": {"id": block.id, **call} if block.id else call}
    elif isinstance(block, RawBlock):
        yield dict(block.block)
    else:
        is_thought = isinstance(block, Thinking)
        said = block.thinking if isinstance(block, Thinking) else block.text
        size = size or len(said) or 1
        for start in range(0, len(said), size):
            part: JsonObject = {"text": said[start : start + size]}
            yield {**part, "thought": True} if is_thought else part


def _chunks(reply: Reply, request: Request, message_id: str) -> Iterator[tuple[float, JsonObject]]:
    """Each chunk, and the seconds before it."""
    head = _head(request, message_id)
    so_far = _usage(reply, request, is_over=False)
    parts = [part for block in reply.blocks for part in _parts(block, reply.delta_characters)]
    interruption = reply.interruption
    for number, part in enumerate(parts):
        if interruption is not None and number >= interruption.after_deltas:
            break
        is_last = number == len(parts) - 1
        usage = _usage(reply, request, is_over=True) if is_last else so_far
        chunk = _candidate([part], _end(reply) if is_last else None)
        body = {**chunk, "usageMetadata": usage, **head}
        yield reply.latency.before_delta(number), wire.merged(body, reply.more)
    if isinstance(interruption, ErrorEvent):
        yield 0, _error(interruption.status, interruption.message)


def _usage(reply: Reply, request: Request, *, is_over: bool) -> JsonObject:
    """Counts that are zero are left out. What is generated is counted as it comes."""
    usage = reply.usage
    given = usage.input_tokens
    if given is None:
        given = wire.input_size_tokens({"messages": request.body})
    said = usage.output_tokens
    if said is None:
        said = wire.output_size_tokens([one for one in reply.blocks if isinstance(one, Text)])
    thought = usage.thinking_tokens or 0
    counts: dict[str, Any] = {
        "promptTokenCount": given + usage.cache_read_input_tokens,
        "candidatesTokenCount": said - thought if is_over else 1,
        "cachedContentTokenCount": usage.cache_read_input_tokens,
        "toolUsePromptTokenCount": usage.tool_use_input_tokens,
        "thoughtsTokenCount": thought if is_over else 0,
    }
    total = sum(count for name, count in counts.items() if name != "cachedContentTokenCount")
    return {name: count for name, count in counts.items() if count} | {"totalTokenCount": total}
