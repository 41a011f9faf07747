"""What can be told from recorded content without keeping it: who was asked what, and how much.

Content may be absent, redacted or cut off in any trace, so nothing here is needed for times or
tokens. Texts are parsed where they must be and dropped; what stays is short, or compressed where it
tells what a later tool was given.
"""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from causepath_analyzer import attributes as names
from causepath_analyzer.model import Content, Declared, Retrieval

if TYPE_CHECKING:
    from zstandard import ZstdCompressor


class Unread(Struct, frozen=True, gc=False):
    """A long text as it stands on the wire: most are never decoded."""

    data: bytes
    read: Callable[[bytes], object]


def text_of(value: object) -> str | None:
    """The text in an attribute value, if it is one."""
    if isinstance(value, Unread):
        value = value.read(value.data)
    return value if isinstance(value, str) else None


_KEPT: Final = 240
_KEPT_BYTES: Final = _KEPT * 4
_PACKED: Final = 1 << 16
"""Bytes of the longest text that is kept: some 16 KB once it is compressed."""
_PARSED: Final = 1 << 20
_REDACTED: Final = "<REDACTED>"
_WRAPPERS_IN: Final = ("inputs", "kwargs", "input")
_WRAPPERS_OUT: Final = ("output", "outputs", "result")
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_ANY: Final = msgspec.json.Decoder()


def arguments(text: object) -> Content | None:
    """The arguments of a tool call, taken out of what a framework wraps around them."""
    return _content(text, _WRAPPERS_IN)


def result(text: object) -> Content | None:
    """The result of a tool call, taken out of what a framework wraps around it."""
    return _content(text, _WRAPPERS_OUT)


def retrieval(facts: Mapping[str, object], attributes: Mapping[str, object]) -> Retrieval | None:
    """Reads what was looked for and what was found; ``None`` if nobody says either."""
    query = arguments(facts.get("query", facts.get("in")))
    told = facts.get("documents", facts.get("out"))
    each = [attributes[name] for name in names.DOCUMENTS_EACH if name in attributes]
    if not attributes.keys().isdisjoint(names.DOCUMENTS_EACH[-_PARTS_OF_DOCUMENT:]):
        found = None  # there are more
    elif each:
        parts = [text for value in (*each, told) if (text := text_of(value)) is not None]
        found = None
        if sum(map(len, parts)) <= _PACKED:
            found = result(_ENCODER.encode(parts).decode())
    else:
        found = result(told)
    return None if query is None and found is None else Retrieval(query, found)


_PARTS_OF_DOCUMENT: Final = 3


def _content(value: object, wrappers: Sequence[str]) -> Content | None:
    text = text_of(value)
    if not text or text == _REDACTED:
        return None
    data: bytes | None = None
    if len(text) <= _PARSED and text[:1] in '{["':
        try:
            inner = _unwrapped(_ANY.decode(text), wrappers)
            if isinstance(inner, str):
                text = inner
            else:
                data = _ENCODER.encode(inner)
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
            pass  # cut off by a length limit, or text that only begins like JSON
    if data is None:
        data = text.encode("utf-8", "surrogatepass")
    elif len(data) <= _KEPT_BYTES:
        text = data.decode()
    digest = int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
    if len(data) <= _KEPT_BYTES and len(text) <= _KEPT:
        return Content(digest, len(data), text)
    return Content(digest, len(data), packed=_compress(data) if len(data) <= _PACKED else None)


def _compress(data: bytes) -> bytes:
    return _compressor().compress(data)


@cache
def _compressor() -> "ZstdCompressor":
    import zstandard  # only traces with long results wait for it

    return zstandard.ZstdCompressor(level=1)


def _unwrapped(value: object, wrappers: Sequence[str]) -> object:
    """Returns what was passed:

    ``{"inputs": {...}, "tags": [...]}`` is LangChain's own record of it.
    """
    if isinstance(value, str) and value[:1] in ("{", "["):  # JSON in JSON
        try:
            return _unwrapped_once(_ANY.decode(value), wrappers)
        except (msgspec.MsgspecError, RecursionError):
            return value
    return _unwrapped_once(value, wrappers)


_BESIDE: Final = frozenset(
    (
        "args",
        "kwargs",
        "tags",
        "metadata",
        "inputs",
        "outputs",
        "run_id",
        "callbacks",
        "type",
        "sanitize_inputs_outputs",
    )
)


def _unwrapped_once(value: object, wrappers: Sequence[str]) -> object:
    if not isinstance(value, dict) or value.keys().isdisjoint(wrappers):
        return value
    for wrapper in wrappers:
        inner = value.get(wrapper)
        if inner not in (None, {}, "") and value.keys() - {wrapper} <= _BESIDE:
            return inner
    return value


_ANSWERS: Final = (b'"assistant', b'"model', b'"ai"', b'"ai\\"')
"""How messages of the model begin to say so, with quotes escaped or not."""


def opening(facts: Mapping[str, object]) -> int | None:
    """A digest of how a conversation began: everything up to the first answer of the model.

    Calls of one conversation have it in common, whatever was said later. Where blocks are known,
    the conversation is told from these (see `analyses.data_flow`).
    """
    if "blocks" in facts:
        return None
    first = facts.get("first_message")
    if isinstance(first, str):
        # What the system says may be the same in every conversation; then the user speaks.
        second = facts.get("second_message")
        after_system = facts.get("first_role") in ("system", "developer")
        return _digest(f"{first}\n{second}" if after_system and isinstance(second, str) else first)
    value = facts.get("in")
    if isinstance(value, Unread):
        data = value.data
    elif isinstance(value, str) and value[:1] in ("[", "{"):
        data = value.encode("utf-8", "surrogatepass")
    else:
        return None
    end = len(data)
    for spoken in _ANSWERS:
        at = data.find(spoken, 0, end)
        if at >= 0:
            end = at
            break
    else:
        if isinstance(value, Unread):
            end -= 2  # the end of what is around the text
    end = data.rfind(b"}", 0, end) + 1
    return zlib.crc32(data[:end]) | end << 32 if end > 1 else None


_LINES: Final = 16
_LONG_ENOUGH: Final = 24


def lines(text: object) -> bytes:
    """Four bytes of digest for each of the first lines of `text` that say something."""
    if not isinstance(text, str):
        return b""
    told = (line.strip() for line in text[:8192].splitlines())
    long = [line for line in told if len(line) >= _LONG_ENOUGH][:_LINES]
    return b"".join(
        zlib.crc32(line.encode("utf-8", "surrogatepass")).to_bytes(4, "big") for line in long
    )


def _digest(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    return zlib.crc32(data) | len(data) << 32


_CALL_PART: Final = re.compile(r'\{[^{}]*"type"\s*:\s*"tool_(?:call|use)"[^{}]*')
_CALL_ID: Final = re.compile(r'"id"\s*:\s*"([^"\\]{1,200})"')
_VERCEL_ID: Final = re.compile(r'"toolCallId"\s*:\s*"([^"\\]{1,200})"')


def issued(facts: Mapping[str, object], attributes: Mapping[str, object]) -> tuple[str, ...]:
    """Ids of the tool calls that a recorded reply asked for (JSON text, whole or cut off)."""
    value = facts.get("issued")
    if isinstance(value, Unread):
        data = value.data
        # One byte is found ten times quicker than four: "tool_call", "toolCallId".
        if (b"_" not in data and b"C" not in data) or b"tool" not in data:
            return ()
    text = text_of(value)
    if text is not None:
        if "tool_" in text:
            parts = (_CALL_ID.search(part) for part in _CALL_PART.findall(text))
            return tuple(match[1] for match in parts if match is not None)
        if "toolCallId" in text:
            return tuple(_VERCEL_ID.findall(text))
        return ()
    found = attributes.keys() & _INDEXED
    return (
        tuple(
            value
            for name in sorted(found, key=_RANK.__getitem__)
            if isinstance(value := attributes[name], str)
        )
        if found
        else ()
    )


def declared(
    facts: Mapping[str, object], attributes: Mapping[str, object]
) -> tuple[Declared, ...] | None:
    """Reads the tools that a request declares; ``None`` if nobody says, or not all of it can be
    read."""
    value = facts.get("declared")
    if value is None and names.DECLARED_EACH[0] in attributes:
        value = tuple(attributes[name] for name in names.DECLARED_EACH if name in attributes)
    if isinstance(value, Unread):
        return _declared_on_wire(value.data, value.read)
    if isinstance(value, str):
        return _declared_in(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return _declared_each(tuple(value))
    return None


@lru_cache(256)
def _declared_on_wire(data: bytes, read: Callable[[bytes], object]) -> tuple[Declared, ...] | None:
    text = read(data)
    return _declared_in(text) if isinstance(text, str) else None


@lru_cache(256)
def _declared_each(texts: tuple[str, ...]) -> tuple[Declared, ...] | None:
    found: list[Declared] = []
    for text in texts:
        if text[:1] != "{":
            found.append(Declared(text))
            continue
        one = _declared_in(text)
        if one is None:
            return None
        found += one
    return tuple(found)


@lru_cache(256)
def _declared_in(text: str) -> tuple[Declared, ...] | None:
    """Reads JSON of one declaration or of many; calls of an agent repeat the same again."""
    try:
        told = _ANY.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None  # cut off, or redacted
    found: list[Declared] = []
    waiting = list(told) if isinstance(told, list) else [told]
    for one in waiting:
        if isinstance(one, str):
            found.append(Declared(one))
            continue
        if not isinstance(one, dict):
            return None
        several = one.get("functionDeclarations") or one.get("function_declarations")
        if isinstance(several, list):
            waiting += several
            continue
        inside = next((one[key] for key in _INSIDE if isinstance(one.get(key), dict)), one)
        name = inside.get("name") or one.get("type")
        if not isinstance(name, str):
            return None
        if one.get("defer_loading") is not True and inside.get("defer_loading") is not True:
            found.append(Declared(name, len(_ENCODER.encode(one))))
    return tuple(found)


_INSIDE: Final = ("function", "custom", "toolSpec")
"""Fields around a declaration."""
_INDEXED: Final = frozenset(names.ISSUED)
_RANK: Final = {name: rank for rank, name in enumerate(names.ISSUED)}
