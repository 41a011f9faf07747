"""How an answer looks on the wire of OpenAI's APIs: Chat Completions and Responses.

Pure functions from scripted values to what is sent, as in `wire`, whose script they share.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support import wire
from tests.support.script import Cut, ErrorEvent, Reply, Request, Text, Thinking, ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.wire import JsonObject

FINISH_REASONS = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length"}


@dataclass(frozen=True)
class Chunk:
    """One server-sent event; `data` None is the end of a stream of chunks."""

    name: str
    data: JsonObject | None
    pause_seconds: float = 0.0

    def encode(self) -> bytes:
        if self.data is None:
            return b"data: [DONE]\n\n"
        name = f"event: {self.name}\n" if "type" in self.data else ""
        return f"{name}data: {json.dumps(self.data)}\n\n".encode()


def error(error_type: str, text: str, request_id: str) -> JsonObject:
    return {"error": {"message": text, "type": error_type, "param": None, "code": None}}


def _tokens(reply: Reply, request: Request) -> tuple[int, int]:
    usage = reply.usage
    given = usage.input_tokens
    if given is None:
        given = wire.input_size_tokens({"messages": request.body})
    said = usage.output_tokens
    if said is None:
        said = wire.output_size_tokens(reply.blocks)
    return given + usage.cache_read_input_tokens, said


def _calls(reply: Reply, reply_id: str) -> list[tuple[str, str, str]]:
    """The id, name and arguments of each tool call."""
    return [
        (
            block.id or wire.new_id("call", reply_id, index),
            block.name,
            json.dumps(dict(block.input)),
        )
        for index, block in enumerate(reply.blocks)
        if isinstance(block, ToolUse)
    ]


def _text(reply: Reply) -> str:
    return "".join(block.text for block in reply.blocks if isinstance(block, Text))


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


class Chat:
    """Chat Completions."""

    path = "/chat/completions"
    prefix = "chatcmpl"
    required = ("model", "messages")

    @staticmethod
    def whole(reply: Reply, request: Request, reply_id: str) -> JsonObject:
        asked = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, name, arguments in _calls(reply, reply_id)
        ]
        message = {"role": "assistant", "content": _text(reply) or None, "refusal": None}
        body = {
            **_chat(request, reply_id, "chat.completion"),
            "choices": [
                {
                    "index": 0,
                    "message": {**message, "tool_calls": asked} if asked else message,
                    "finish_reason": FINISH_REASONS[reply.final_stop_reason],
                    "logprobs": None,
                }
            ],
            "usage": _chat_usage(reply, request),
        }
        return wire.merged(body, reply.more)

    @staticmethod
    def events(reply: Reply, request: Request, reply_id: str) -> Iterator[Chunk]:
        head = wire.merged(_chat(request, reply_id, "chat.completion.chunk"), reply.more)

        def chunk(delta: JsonObject, finish: str | None = None, pause: float = 0.0) -> Chunk:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
            return Chunk("chunk", {**head, "choices": [choice]}, pause)

        yield chunk({"role": "assistant", "content": ""})
        deltas: list[JsonObject] = [
            {"content": piece} for piece in _pieces(_text(reply), reply.delta_characters)
        ]
        for index, (id_, name, arguments) in enumerate(_calls(reply, reply_id)):
            start = {"id": id_, "type": "function", "function": {"name": name, "arguments": ""}}
            deltas.append({"tool_calls": [{"index": index, **start}]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in _pieces(arguments, reply.delta_characters)
            ]
        for sent, delta in enumerate(deltas):
            if reply.interruption is not None and sent >= reply.interruption.after_deltas:
                break
            yield chunk(delta, pause=reply.latency.before_delta(sent))
        if isinstance(reply.interruption, ErrorEvent):
            yield Chunk("error", error("server_error", reply.interruption.message, ""))
        if reply.interruption is not None:
            return
        yield chunk({}, FINISH_REASONS[reply.final_stop_reason])
        if (request.body.get("stream_options") or {}).get("include_usage"):
            yield Chunk("usage", {**head, "choices": [], "usage": _chat_usage(reply, request)})
        yield Chunk("done", None)


def _chat(request: Request, reply_id: str, kind: str) -> JsonObject:
    return {"id": reply_id, "object": kind, "created": 1, "model": request.body["model"]}


def _chat_usage(reply: Reply, request: Request) -> JsonObject:
    given, said = _tokens(reply, request)
    return {
        "prompt_tokens": given,
        "completion_tokens": said,
        "total_tokens": given + said,
        "prompt_tokens_details": {"cached_tokens": reply.usage.cache_read_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": reply.usage.thinking_tokens or 0},
    }


class Responses:
    """Responses."""

    path = "/responses"
    prefix = "resp"
    required = ("model", "input")

    @staticmethod
    def whole(reply: Reply, request: Request, reply_id: str) -> JsonObject:
        given, said = _tokens(reply, request)
        incomplete = reply.final_stop_reason == "max_tokens"
        body = {
            **_response(request, reply_id),
            "status": "incomplete" if incomplete else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
            "output": _output(reply, reply_id),
            "usage": {
                "input_tokens": given,
                "output_tokens": said,
                "total_tokens": given + said,
                "input_tokens_details": {"cached_tokens": reply.usage.cache_read_input_tokens},
                "output_tokens_details": {"reasoning_tokens": reply.usage.thinking_tokens or 0},
            },
        }
        return wire.merged(body, reply.more)

    @staticmethod
    def events(reply: Reply, request: Request, reply_id: str) -> Iterator[Chunk]:
        number = 0

        def event(kind: str, pause: float = 0.0, **data: Any) -> Chunk:
            nonlocal number
            number += 1
            return Chunk(kind, {"type": kind, "sequence_number": number, **data}, pause)

        started = {**_response(request, reply_id), "status": "in_progress", "output": []}
        yield event("response.created", response=started)
        sent = 0
        for index, item in enumerate(_output(reply, reply_id)):
            opening = {**item, "status": "in_progress"}
            at: JsonObject = {"output_index": index, "item_id": item["id"]}
            if item["type"] == "message":
                opening["content"] = []
            yield event("response.output_item.added", output_index=index, item=opening)
            name, text = _deltas_of(item)
            if item["type"] == "message":
                at["content_index"] = 0
                part = {**item["content"][0], "text": ""}
                yield event("response.content_part.added", part=part, **at)
                at["logprobs"] = []
            for piece in _pieces(text, reply.delta_characters):
                if reply.interruption is not None and sent >= reply.interruption.after_deltas:
                    if isinstance(reply.interruption, ErrorEvent):
                        yield event("error", code="server_error", message="Overloaded", param=None)
                    return
                yield event(name, reply.latency.before_delta(sent), delta=piece, **at)
                sent += 1
            yield event(f"{name.removesuffix('delta')}done", **_done(item, text), **at)
            yield event("response.output_item.done", output_index=index, item=item)
        if isinstance(reply.interruption, Cut):
            return
        whole = Responses.whole(reply, request, reply_id)
        yield event(f"response.{whole['status']}", response=whole)


def _response(request: Request, reply_id: str) -> JsonObject:
    body = request.body
    return {
        "id": reply_id,
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": body.get("tools") or [],
        "previous_response_id": body.get("previous_response_id"),
    }


def _output(reply: Reply, reply_id: str) -> list[JsonObject]:
    output: list[JsonObject] = []
    for index, block in enumerate(reply.blocks):
        id_ = wire.new_id("item", reply_id, index)
        if isinstance(block, Text):
            part = {"type": "output_text", "text": block.text, "annotations": [], "logprobs": []}
            output.append(
                {
                    "id": id_,
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [part],
                }
            )
        elif isinstance(block, Thinking):
            summary = [{"type": "summary_text", "text": block.thinking}]
            output.append({"id": id_, "type": "reasoning", "summary": summary})
    for index, (call_id, name, arguments) in enumerate(_calls(reply, reply_id)):
        output.append(
            {
                "id": wire.new_id("fc", reply_id, index),
                "type": "function_call",
                "call_id": call_id,
                "name": name,
                "arguments": arguments,
                "status": "completed",
            }
        )
    return output


def _done(item: JsonObject, text: str) -> JsonObject:
    if item["type"] == "function_call":
        return {"arguments": text, "name": item["name"]}
    return {"text": text}


def _deltas_of(item: JsonObject) -> tuple[str, str]:
    if item["type"] == "message":
        return "response.output_text.delta", item["content"][0]["text"]
    if item["type"] == "function_call":
        return "response.function_call_arguments.delta", item["arguments"]
    return "response.reasoning_summary_text.delta", ""
