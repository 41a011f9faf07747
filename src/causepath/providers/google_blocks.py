"""What stands in the requests and replies of Gemini's `generateContent`, block by block.

A block of a reply equals the same block when it is sent back: a streamed reply comes in pieces of
text, and goes back in as many, so that the model's pieces next to each other are one block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causepath.providers.fields import fields_of, get, items, text
from causepath.providers.messages import Block
from causepath.providers.prompt import Prompt, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ANSWERS = ("result", "output", "error")
"""The key under which a function's response holds all it says, if it has no other."""

OTHER_PARTS = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
"""Parts that only the API itself makes, and that are sent back to it as they are."""


def input_prompt(body: Mapping[str, Any], ids: Mapping[int, str]) -> Prompt:
    """Reads a request in the order of its prompt: tools, system instruction, contents. `ids` are
    those of the newest function responses, by the ids of these objects."""
    found = [*_tools(body), *_system(body), *_contents(items(body.get("contents")), ids)]
    return Prompt([*map(key_of, found)], lambda start: found[start:])


def output_blocks(parts: Iterable[Any]) -> list[Block]:
    """Reads the parts of a reply."""
    return list(_joined(_block_of("assistant", 0, part, {}) for part in parts))


class StreamedBlocks:
    """The blocks of a reply from its chunks, as far as they have come."""

    def __init__(self, look_at_event: Callable[[Any], int]) -> None:
        self._look_at_event = look_at_event
        self._parts: list[Any] = []

    def event(self, event: Any) -> int:
        self._parts += parts_of(event)
        return self._look_at_event(event)

    def blocks(self) -> list[Block]:
        return output_blocks(self._parts)


def parts_of(reply: Any) -> list[Any] | tuple[Any, ...]:
    """Lists the parts of the first candidate of a reply, or of a chunk of one."""
    candidates = items(get(reply, "candidates"))
    return items(get(get(candidates[0], "content"), "parts")) if candidates else ()


def said_by(response: Any) -> tuple[object, bool]:
    """Gives what a function's response says, and whether that is an error."""
    if isinstance(response, dict) and len(response) == 1:
        ((key, value),) = response.items()
        if key in ANSWERS:
            return value, key == "error"
    return response, False


def _tools(body: Mapping[str, Any]) -> Iterator[Block]:
    for tool in items(body.get("tools")):
        fields = fields_of(tool)
        for declaration in items(fields.get("functionDeclarations")):
            about = fields_of(declaration)
            yield Block("tools", "tool", dict(about), text(about.get("name")) or "", "", -1)
        for name, settings in fields.items():
            if name != "functionDeclarations":
                yield Block("tools", "tool", settings, name, "", -1)


def _system(body: Mapping[str, Any]) -> Iterator[Block]:
    cached = body.get("cachedContent")
    if isinstance(cached, str):
        yield Block("system", "cached_content", cached, "", "", -1)
    for part in items(get(body.get("systemInstruction"), "parts")):
        block = _block_of("system", -1, part, {})
        if block is not None:
            yield block


def _contents(contents: Iterable[Any], ids: Mapping[int, str]) -> Iterator[Block]:
    return _joined(
        _block_of(role, number, part, ids)
        for number, content in enumerate(contents)
        for role in ("assistant" if get(content, "role") == "model" else "user",)
        for part in items(get(content, "parts"))
    )


def _joined(blocks: Iterable[Block | None]) -> Iterator[Block]:
    """Joins the texts of the model that follow one another."""
    kept: Block | None = None
    for block in blocks:
        if block is None:
            continue
        if kept is not None and _is_said(block) and _is_said(kept):
            kept = kept._replace(value=f"{kept.value}{block.value}")
            continue
        if kept is not None:
            yield kept
        kept = block
    if kept is not None:
        yield kept


def _is_said(block: Block) -> bool:
    return block.role == "assistant" and block.kind == "text"


def _block_of(role: str, number: int, part: Any, ids: Mapping[int, str]) -> Block | None:
    fields = fields_of(part)
    call, response = fields.get("functionCall"), fields.get("functionResponse")
    if call:
        name = text(get(call, "name")) or ""
        return Block(role, "tool_use", get(call, "args") or {}, name, "", number)
    if response:
        said, _ = said_by(get(response, "response"))
        call_id = ids.get(id(response)) or text(get(response, "id")) or ""
        return Block("user", "tool_result", "" if said is None else said, "", call_id, number)
    said = fields.get("text")
    if fields.get("thought"):
        # Where the thoughts themselves are withheld, the signature stands for them.
        value = said or fields.get("thoughtSignature") or ""
        return Block(role, "thinking", value, "", "", number)
    if isinstance(said, str):
        return Block(role, "text", said, "", "", number) if said or role != "assistant" else None
    for key in ("inlineData", "fileData"):
        data = fields_of(fields.get(key))
        if data:
            # The API gives them one spelling and takes both, the SDK sends the other.
            kind = text(data.get("mimeType") or data.get("mime_type")) or ""
            value = data.get("data") or data.get("fileUri") or data.get("file_uri") or ""
            return Block(role, _kind_of(kind), value, kind, "", number)
    for key in OTHER_PARTS:
        if fields.get(key):
            return Block(role, key, fields[key], "", "", number)
    meant = {name: value for name, value in fields.items() if name != "thoughtSignature"}
    return Block(role, "unknown", meant, "", "", number) if meant else None


def _kind_of(media_type: str) -> str:
    first = media_type.partition("/")[0]
    return first if first in ("image", "audio", "video") else "document"
