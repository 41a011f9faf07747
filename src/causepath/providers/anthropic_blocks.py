"""What stands in the requests and replies of Messages, block by block.

What only says how to send a block (`cache_control`, and ids) is left out, as is what a reply may
spell out and a request need not (fields that are null, citations), so that a block of a reply
equals the same block when it is sent back.
"""

from __future__ import annotations

import functools
from marshal import dumps
from typing import TYPE_CHECKING, Any

from causepath.providers.fields import fields_of, get, items, sent_tools
from causepath.providers.messages import Block
from causepath.providers.prompt import Key, Prompt, key_of
from causepath.providers.provider import ALIKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NOT_MEANT = frozenset({"cache_control", "caller", "citations", "id", "tool_use_id", "type"})
"""Fields of a block that do not change what it says. Its type is its kind."""

DATA = {"image": "image", "document": "document", "container_upload": "file"}
THOUGHT = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}


def input_prompt(body: Mapping[str, Any]) -> Prompt:
    """Reads a request in the order of its prompt: tools, system, messages.

    What can be read only once (an iterator of messages, say) is left to the SDK and has no blocks.
    """
    keys = _tool_keys(sent_tools(body.get("tools")))
    system = body.get("system")
    if system is not None:
        _add_keys(keys, [{"role": "system", "content": system}])
    _add_keys(keys, items(body.get("messages")))
    return Prompt(keys, functools.partial(_input_blocks, body, len(keys)))


def _input_blocks(body: Mapping[str, Any], total: int, start: int) -> list[Block]:
    """The blocks of a request from number `start` on, of `total` ones."""
    messages = items(body.get("messages"))
    first, wanted = len(messages), total - start
    while wanted > 0 and first:
        first -= 1
        content = get(messages[first], "content")
        wanted -= 1 if type(content) is str else len(items(content))
    found: list[Block] = []
    if wanted > 0:
        found.extend(map(_tool, sent_tools(body.get("tools"))))
        _read(found, "system", -1, body.get("system"))
        wanted -= len(found)
    for number, message in enumerate(messages[first:], first):
        fields = message if type(message) is dict else fields_of(message)
        role = fields.get("role")
        _read(found, role if type(role) is str else "user", number, fields.get("content"))
    return found[-wanted:] if wanted else found


def _add_keys(keys: list[Key], messages: Iterable[Any]) -> None:
    """Adds a key for each block that `_read` would find, equal only if the block is equal.

    In one piece, for the kinds that a long conversation is made of, as there may be thousands.
    """
    add = keys.append
    for message in messages:
        fields = message if type(message) is dict else dict(fields_of(message))
        try:
            role, content = fields["role"], fields["content"]
        except KeyError:
            role, content = fields.get("role"), fields.get("content")
        if type(role) is not str:
            role = "user"
        if type(content) is str:
            add(hash((role, "text", content)))
            continue
        for block in content if type(content) is list else items(content):
            if type(block) is dict:
                try:
                    kind = block["type"]
                    if kind == "tool_result":
                        value = block["content"]
                        if type(value) is str:
                            add(hash((role, kind, value)))
                            continue
                    elif kind == "tool_use":
                        name = block["name"]
                        if type(name) is str:
                            add(hash((role, kind, name, dumps(block["input"], 2))))
                            continue
                    elif kind == "text":
                        value = block["text"]
                        if type(value) is str:
                            add(hash((role, kind, value)))
                            continue
                except (KeyError, ValueError):
                    pass  # something is missing, or is no plain data
            add(key_of(_block_of(role, 0, block)))


def _tool_keys(tools: Any) -> list[Key]:
    """Makes one key for all declarations together, because they rarely change one by one."""
    if not tools:
        return []
    try:
        first = hash(dumps(tools, 2))
    except ValueError:  # no plain data
        return [key_of(_tool(tool)) for tool in tools]
    return [*range(first, first + len(tools))]


def _tool(tool: Any) -> Block:
    fields = tool if type(tool) is dict else fields_of(tool)
    name = fields.get("name")
    meaning = _meaning(fields, "type")
    if meaning.get("type") == "custom":  # as without one
        del meaning["type"]
    return Block("tools", "tool", meaning, name if isinstance(name, str) else "", "", -1)


def output_blocks(message: Any) -> list[Block]:
    """The blocks of a reply: a `Message`, or the JSON of one."""
    found: list[Block] = []
    _read(found, "assistant", 0, fields_of(message).get("content"))
    return found


class StreamedBlocks:
    """The blocks of a reply from the events of its stream, as far as they have come."""

    def __init__(self, look_at_event: Callable[[Any], int]) -> None:
        self._look_at_event = look_at_event
        self._found: list[Block] = []
        self._open: Mapping[str, Any] | None = None
        self._pieces: list[str] = []
        self._keep = self._pieces.append
        self._field: str | None = None
        """What the pieces of the block stand in, once there was one."""
        self._is = 0
        """What an event with such a piece is."""

    def event(self, event: Any) -> int:
        try:  # another piece of the block, as nearly all of the thousands are
            self._keep(event.delta.__dict__[self._field])
        except (AttributeError, KeyError):
            return self._other_event(event)
        return self._is

    def _other_event(self, event: Any) -> int:
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta.__dict__
            field = PIECES.get(delta["type"])
            if field in delta and delta[field] is not None:
                self._field, self._is = field, self._look_at_event(event) & ~ALIKE
                self._keep(delta[field])
        elif kind == "content_block_start":
            self._close()
            self._open = fields_of(event.content_block)
        elif kind == "content_block_stop":
            self._close()
        return self._look_at_event(event) & ~ALIKE

    def blocks(self) -> list[Block]:
        self._close()
        return self._found

    def _close(self) -> None:
        if self._open is None:
            return
        fields, text = dict(self._open), "".join(filter(None, self._pieces))
        self._open = self._field = None
        self._pieces.clear()
        if text:
            kind = fields.get("type")
            if kind in THOUGHT:
                fields["thinking"] = text
            elif kind == "text":
                fields["text"] = (fields.get("text") or "") + text
            elif "input" in fields:
                fields["input"] = _parsed(text)
            else:
                fields["content"] = text
        _read(self._found, "assistant", 0, [fields])


PIECES = {
    "text_delta": "text",
    "input_json_delta": "partial_json",
    "thinking_delta": "thinking",
    "compaction_delta": "content",
}
"""The kinds of a piece of a block, and the field of the event that holds it."""


def _parsed(text: str) -> object:
    import json

    try:
        return json.loads(text)
    except ValueError:  # the stream broke off
        return text


def _read(found: list[Block], role: str, message: int, content: Any) -> None:
    if type(content) is str:
        found.append(Block(role, "text", content, "", "", message))
    else:
        found.extend([_block_of(role, message, block) for block in items(content)])


def _block_of(role: str, message: int, block: Any) -> Block:
    """Any block whatever, or what stands in the place of one."""
    if isinstance(block, str):
        return Block(role, "text", str.__str__(block), "", "", message)
    fields = fields_of(block)
    kind = fields.get("type")
    name = fields.get("name")
    value: object = None
    if not isinstance(kind, str):
        kind, value = "unknown", _meaning(fields)
    elif kind == "text":
        value = fields.get("text")
    elif kind == "tool_use":
        value = fields.get("input")
    elif kind == "tool_result":
        value = _inside(fields.get("content"))
    elif kind in THOUGHT:
        # Where the thoughts themselves are withheld, the signature stands for them.
        value = next((text for key in THOUGHT[kind] if (text := fields.get(key))), "")
    elif kind in DATA:
        name, value = _data(fields.get("source"))
    else:
        value = _meaning(fields)
    call_id = fields.get("id") or fields.get("tool_use_id")
    return Block(
        role,
        kind,
        "" if value is None else value,
        name if isinstance(name, str) else "",
        call_id if isinstance(call_id, str) else "",
        message,
    )


def _inside(content: Any) -> object:
    """The content of a tool result: one text, however it is wrapped, or the blocks in it."""
    if content is None or type(content) is str:
        return content or ""
    found: list[Block] = []
    _read(found, "", 0, content)
    if len(found) == 1 and found[0].kind == "text":
        return found[0].value
    return tuple(found)


def _data(source: Any) -> tuple[str, object]:
    """The media type and the data of an image or a document, or where it is to be found."""
    fields = fields_of(source)
    media_type = fields.get("media_type") or ""
    if "content" in fields:
        return media_type, _inside(fields["content"])
    for key in ("data", "url", "file_id"):
        if key in fields:
            return media_type, fields[key]
    return media_type, _meaning(fields)


def _meaning(fields: Mapping[str, Any], *also: str) -> dict[str, Any]:
    return {
        key: value
        for key, value in fields.items()
        if value is not None and (key not in NOT_MEANT or key in also)
    }
