"""What stands in the requests and replies of Chat Completions and Responses, block by block.

A block of a reply equals the same block when it is sent back, in either way that it can be.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from causepath.providers.fields import fields_of, items, parsed, sent_tools, text
from causepath.providers.messages import Block
from causepath.providers.prompt import Key, Prompt, key_of, plain_key
from causepath.providers.provider import ALIKE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

NOT_MEANT = frozenset({"annotations", "call_id", "id", "logprobs", "phase", "status", "type"})
"""Fields of an item that do not change what it says. Its type is its kind."""

ROLES = {"developer": "system", "system": "system", "assistant": "assistant"}

TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""By the type of a part, the field that holds its text."""


def input_prompt(body: Mapping[str, Any]) -> Prompt:
    """Reads a request in the order of its prompt: tools, instructions, messages.

    What can be read only once (an iterator of messages, say) is left to the SDK and has no blocks.
    """
    keys: list[Key] = [_declaration_key(tool) for tool in sent_tools(body.get("tools"))]
    before = list(_before(body))
    keys += map(key_of, before)
    starts = []
    for item in _items(body):
        starts.append(len(keys))
        _add_keys(keys, item)

    def read(start: int) -> list[Block]:
        first = bisect_right(starts, start) - 1
        found: list[Block] = []
        if first < 0:
            found = [*map(_declaration, sent_tools(body.get("tools"))), *before]
            first = skipped = 0
        else:
            skipped = starts[first]
        for number, item in enumerate(_items(body)[first:], first):
            found += _blocks(item, number)
        return found[start - skipped :]

    return Prompt(keys, read)


def _before(body: Mapping[str, Any]) -> Iterator[Block]:
    """The texts that are in no message."""
    instructions, given = body.get("instructions"), body.get("input")
    if isinstance(instructions, str):
        yield Block("system", "text", instructions, "", "", -1)
    if isinstance(given, str):
        yield Block("user", "text", given, "", "", 0)


def _items(body: Mapping[str, Any]) -> Sequence[Any]:
    return items(body.get("messages")) or items(body.get("input"))


def _add_keys(keys: list[Key], item: Any) -> None:
    """Adds a key for each block that `_blocks` would find, equal only if the block is equal."""
    known = _known_keys(item) if type(item) is dict else None
    keys += [key_of(block) for block in _blocks(item, 0)] if known is None else known


def _known_keys(item: dict[str, Any]) -> list[Key] | None:
    """Makes the keys of the kinds that a long conversation is made of, because there may be
    thousands."""
    role, content = item.get("role"), item.get("content")
    if type(role) is str:
        if role == "tool":
            return [hash(("user", "tool_result", content))] if type(content) is str else None
        who = ROLES.get(role, "user")
        found: list[Key] = []
        if type(content) is str:
            if content or who != "assistant":
                found.append(hash((who, "text", content)))
        elif content is not None:
            return None
        for call in items(item.get("tool_calls")):
            key = _call_key(call.get("function")) if type(call) is dict else None
            if key is None:
                return None
            found.append(key)
        return None if item.get("refusal") else found
    kind = item.get("type")
    if kind == "function_call_output":
        output = item.get("output")
        return [hash(("user", "tool_result", output))] if type(output) is str else None
    key = _call_key(item) if kind == "function_call" else None
    return None if key is None else [key]


def _call_key(call: Any) -> Key:
    """Makes a key of the arguments as they are sent, without parsing them."""
    if type(call) is dict:
        name, arguments = call.get("name"), call.get("arguments")
        if type(name) is str and type(arguments) is str:
            return hash(("assistant", "tool_use", name, "as sent", arguments))
    return None


def _declaration_key(tool: Any) -> Key:
    """Makes a key of the whole declaration, whatever it means."""
    if type(tool) is dict:
        return plain_key("tools", "tool", "", tool)
    return key_of(_declaration(tool))


def output_blocks(items_: Iterable[Any]) -> list[Block]:
    """The blocks of a reply: the message of a completion, or the output of a response."""
    return [block for item in items_ for block in _blocks(item, 0)]


class StreamedBlocks:
    """The blocks of a reply from the events of its stream, as far as they have come."""

    def __init__(self, look_at_event: Callable[[Any], int]) -> None:
        self._look_at_event = look_at_event
        self._found: list[Block] = []
        self._text: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}

    def event(self, event: Any) -> int:
        kind = getattr(event, "type", None)
        if kind == "response.output_item.done":
            self._found += _blocks(event.item, 0)
            self._text.clear()
        elif kind == "response.output_text.delta":
            self._text.append(event.delta)
        elif kind is None:
            for choice in event.choices or ():
                if choice.index == 0:
                    self._chunk(choice.delta)
        return self._look_at_event(event) & ~ALIKE

    def _chunk(self, delta: Any) -> None:
        if delta.content:
            self._text.append(delta.content)
        for piece in delta.tool_calls or ():
            function = fields_of(piece.function)
            call = self._calls.setdefault(piece.index, {"arguments": ""})
            for key, value in (("id", fields_of(piece).get("id")), ("name", function.get("name"))):
                if value:
                    call[key] = value
            call["arguments"] += function.get("arguments") or ""

    def blocks(self) -> list[Block]:
        found = list(self._found)
        if self._text:
            found.append(Block("assistant", "text", "".join(self._text)))
        found += [
            _use(call.get("name"), call["arguments"], call.get("id"), 0)
            for call in self._calls.values()
        ]
        return found


def _declaration(tool: Any) -> Block:
    fields = fields_of(tool)
    inside = fields_of(fields.get("function") or fields.get("custom") or fields)
    return Block("tools", "tool", _meaning(inside), str(inside.get("name") or ""))


def _blocks(item: Any, number: int) -> Iterator[Block]:
    fields = fields_of(item)
    role, kind = fields.get("role"), fields.get("type")
    if role == "tool":
        yield _result(fields.get("content"), fields.get("tool_call_id"), number)
    elif isinstance(role, str):
        who = ROLES.get(role, "user")
        yield from _parts(who, fields.get("content"), -1 if who == "system" else number)
        if fields.get("refusal"):
            yield Block(who, "text", fields["refusal"], "", "", number)
        for call in items(fields.get("tool_calls")):
            asked = fields_of(call)
            inside = fields_of(asked.get("function") or asked.get("custom"))
            arguments = inside.get("arguments", inside.get("input"))
            yield _use(inside.get("name"), arguments, asked.get("id"), number)
    elif kind == "function_call":
        yield _use(fields.get("name"), fields.get("arguments"), fields.get("call_id"), number)
    elif kind in ("function_call_output", "custom_tool_call_output"):
        yield _result(fields.get("output"), fields.get("call_id"), number)
    elif kind == "reasoning":
        # Where the thoughts themselves are withheld, what stands for them does.
        thoughts = [
            text(fields_of(part).get("text"))
            for part in (*items(fields.get("summary")), *items(fields.get("content")))
        ]
        value = "\n".join(filter(None, thoughts)) or fields.get("encrypted_content") or ""
        yield Block("assistant", "thinking", value, "", "", number)
    elif isinstance(kind, str):
        name = fields.get("name")
        by = "user" if kind.endswith("_output") else "assistant"
        yield Block(by, kind, _meaning(fields), name if isinstance(name, str) else "", "", number)


def _parts(who: str, content: Any, number: int) -> Iterator[Block]:
    if isinstance(content, str):
        if content or who != "assistant":  # beside tool calls, some say nothing, others ""
            yield Block(who, "text", content, "", "", number)
        return
    for part in items(content):
        fields = fields_of(part)
        kind = text(fields.get("type"))
        if kind in TEXTS:
            yield Block(who, "text", fields.get(TEXTS[kind]) or "", "", "", number)
        elif kind in ("image_url", "input_image"):
            url = fields.get("image_url") or fields.get("file_id")
            url = url if isinstance(url, str) else fields_of(url).get("url")
            yield Block(who, "image", url or "", "", "", number)
        elif kind in ("file", "input_file"):
            inside = fields_of(fields.get("file") or fields)
            value = inside.get("file_data") or inside.get("file_url") or inside.get("file_id")
            yield Block(who, "document", value or "", "", "", number)
        else:
            yield Block(who, kind or "unknown", _meaning(fields), "", "", number)


def _use(name: Any, arguments: Any, call_id: Any, number: int) -> Block:
    value = parsed(arguments)
    return Block(
        "assistant",
        "tool_use",
        arguments if value is None else value,
        name if isinstance(name, str) else "",
        call_id if isinstance(call_id, str) else "",
        number,
    )


def _result(content: Any, call_id: Any, number: int) -> Block:
    """One text, however it is wrapped, or the blocks in it."""
    value: object = content or ""
    if not isinstance(value, str):
        inside = tuple(_parts("", content, 0))
        only = inside[0] if len(inside) == 1 else None
        value = only.value if only is not None and only.kind == "text" else inside
    return Block(
        "user", "tool_result", value, "", call_id if isinstance(call_id, str) else "", number
    )


def _meaning(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        key: value for key, value in fields.items() if value is not None and key not in NOT_MEANT
    }
