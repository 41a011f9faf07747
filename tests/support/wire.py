"""How an answer looks on the wire of the Messages API: JSON bodies and server-sent events.

Pure functions from scripted values to what is sent; only `messages_api` opens sockets.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.script import (
    ERROR_TYPES,
    Block,
    Cut,
    ErrorEvent,
    RawBlock,
    Reply,
    Request,
    Text,
    Thinking,
    ToolUse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

JsonObject = dict[str, Any]

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Event:
    """One server-sent event, sent `pause_seconds` after the one before it."""

    name: str
    data: JsonObject
    pause_seconds: float = 0.0

    def frame(self) -> bytes:
        """The event as Bedrock sends it: a frame of `application/vnd.amazon.eventstream`."""
        headers = b"".join(
            struct.pack("!B", len(name)) + name + b"\x07" + struct.pack("!H", len(value)) + value
            for name, value in (
                (b":event-type", b"chunk"),
                (b":content-type", b"application/json"),
                (b":message-type", b"event"),
            )
        )
        encoded = base64.b64encode(json.dumps(self.data).encode()).decode()
        payload = json.dumps({"bytes": encoded}).encode()
        prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
        message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
        return message + struct.pack("!I", zlib.crc32(message))

    def encode(self) -> bytes:
        """The event as bytes, with the empty line that ends it."""
        return f"event: {self.name}\ndata: {json.dumps(self.data)}\n\n".encode()


PLATFORM_PATHS = re.compile(
    r"(?:/model/(?P<bedrock>[^/]+)/invoke(?:-with-response-stream)?"
    r"|/.*/models/(?P<vertex>[^/:]+):(?:rawPredict|streamRawPredict))$"
)
"""Where Bedrock and Vertex are asked for a message; the model is in the path."""


def model_in(path: str) -> str | None:
    """The model that a path of Bedrock or Vertex names."""
    found = PLATFORM_PATHS.match(path)
    return (found["bedrock"] or found["vertex"]) if found else None


def new_id(prefix: str, *parts: object) -> str:
    """An id in the shape of the API's that depends on nothing but the parts."""
    digest = hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=12)
    return f"{prefix}_01{digest.hexdigest()}"


def input_size_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of a request, as good a guess as its length allows: same request, same number."""
    counted = {key: body[key] for key in ("system", "tools", "messages") if key in body}
    return max(1, math.ceil(len(json.dumps(counted)) / CHARACTERS_PER_TOKEN))


def output_size_tokens(blocks: Sequence[Block]) -> int:
    """Tokens of a reply, guessed in the same way."""
    characters = sum(len(_whole_text(block)) for block in blocks)
    return max(1, math.ceil(characters / CHARACTERS_PER_TOKEN))


def message(reply: Reply, request: Request, message_id: str) -> JsonObject:
    """The reply as the JSON body of an answer that is not streamed."""
    body = {
        **_empty_message(request, message_id),
        "content": [
            _whole_block(block, message_id, index) for index, block in enumerate(reply.blocks)
        ],
        "stop_reason": reply.final_stop_reason,
        "stop_sequence": reply.stop_sequence,
        "usage": _usage(reply, request),
    }
    return merged(body, reply.more)


def merged(body: JsonObject, more: Mapping[str, Any]) -> JsonObject:
    """`body` with the fields of `more`, objects with those of both."""
    return body | {
        name: merged(body[name], value)
        if isinstance(value, dict) and isinstance(body.get(name), dict)
        else value
        for name, value in more.items()
    }


def events(reply: Reply, request: Request, message_id: str) -> Iterator[Event]:
    """The reply as the events of a stream, up to where it is cut, if it is."""
    usage = _usage(reply, request)
    started = {**_empty_message(request, message_id), "usage": {**usage, "output_tokens": 1}}
    started["usage"].pop("output_tokens_details", None)
    started = merged(started, reply.more)
    searched = started["usage"].pop("server_tool_use", None)  # not before it has
    yield _event("message_start", message=started)

    sent = 0
    for index, block in enumerate(reply.blocks):
        opening = _empty_block(block, message_id, index)
        yield _event("content_block_start", index=index, content_block=opening)
        if index == 0:
            yield _event("ping")
        for delta in _deltas(block, reply.delta_characters):
            if reply.interruption is not None and sent >= reply.interruption.after_deltas:
                yield from _interruption_events(reply.interruption)
                return
            pause_seconds = reply.latency.before_delta(sent)
            yield _event("content_block_delta", pause_seconds, index=index, delta=delta)
            sent += 1
        if isinstance(block, Thinking):
            delta = {"type": "signature_delta", "signature": block.signature}
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    if reply.interruption is not None:
        yield from _interruption_events(reply.interruption)
        return

    del usage["cache_creation"], usage["service_tier"]
    if searched is not None:
        usage["server_tool_use"] = searched
    delta = {"stop_reason": reply.final_stop_reason, "stop_sequence": reply.stop_sequence}
    yield _event("message_delta", delta=delta, usage=usage)
    yield _event("message_stop")


def error(error_type: str, text: str, request_id: str) -> JsonObject:
    """The body of an answer that says what went wrong."""
    return {
        "type": "error",
        "error": {"type": error_type, "message": text},
        "request_id": request_id,
    }


def generation_seconds(reply: Reply) -> float:
    """How long the stream of this reply lasts after its headers."""
    deltas = sum(len(_deltas(block, reply.delta_characters)) for block in reply.blocks)
    if reply.interruption is not None:
        deltas = min(deltas, reply.interruption.after_deltas)
    return sum(reply.latency.before_delta(index) for index in range(deltas))


def _interruption_events(interruption: Cut | ErrorEvent) -> Iterator[Event]:
    if isinstance(interruption, ErrorEvent):
        error_type = ERROR_TYPES.get(interruption.status, "api_error")
        yield _event("error", error={"type": error_type, "message": interruption.message})


def _event(name: str, pause_seconds: float = 0.0, **data: object) -> Event:
    return Event(name, {"type": name, **data}, pause_seconds)


def _empty_message(request: Request, message_id: str) -> JsonObject:
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": request.body.get("model") or model_in(request.path),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _usage(reply: Reply, request: Request) -> JsonObject:
    usage = reply.usage
    cached = usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    input_tokens = usage.input_tokens
    if input_tokens is None:
        input_tokens = max(1, input_size_tokens(request.body) - cached)
    output_tokens = usage.output_tokens
    if output_tokens is None:
        output_tokens = output_size_tokens(reply.blocks)
    counts: JsonObject = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.ephemeral_5m_input_tokens,
            "ephemeral_1h_input_tokens": usage.ephemeral_1h_input_tokens,
        },
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }
    if usage.thinking_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.thinking_tokens}
    return counts


def _whole_block(block: Block, message_id: str, index: int) -> JsonObject:
    opening = _empty_block(block, message_id, index)
    if isinstance(block, Text):
        return {**opening, "text": block.text}
    if isinstance(block, Thinking):
        return {**opening, "thinking": block.thinking, "signature": block.signature}
    if isinstance(block, ToolUse):
        return {**opening, "input": dict(block.input)}
    return opening


def _empty_block(block: Block, message_id: str, index: int) -> JsonObject:
    if isinstance(block, Text):
        return {"type": "text", "text": ""}
    if isinstance(block, Thinking):
        return {"type": "thinking", "thinking": "", "signature": ""}
    if isinstance(block, ToolUse):
        tool_use_id = block.id or new_id("toolu", message_id, index)
        return {"type": "tool_use", "id": tool_use_id, "name": block.name, "input": {}}
    return dict(block.block)


def _deltas(block: Block, characters: int) -> list[JsonObject]:
    """A block's content in pieces; the signature of a thinking block is not among them."""
    text = _whole_text(block)
    pieces = [text[start : start + characters] for start in range(0, len(text), characters)]
    if isinstance(block, Text):
        return [{"type": "text_delta", "text": piece} for piece in pieces]
    if isinstance(block, Thinking):
        return [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
    if isinstance(block, ToolUse):
        # The API opens the arguments with an empty piece.
        return [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces)]
    return []


def _whole_text(block: Block) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Thinking):
        return block.thinking
    if isinstance(block, ToolUse):
        return json.dumps(dict(block.input)) if block.input else ""
    assert isinstance(block, RawBlock)
    return ""
