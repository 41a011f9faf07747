"""Requests and replies as every provider describes them: frozen, and neutral of any SDK.

Named tuples, as several are made for each call: a frozen dataclass takes five times as long.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Scalar = str | bool | int | float


class MadeUpId(str):
    """The id of a tool call where the API gives none: the same in the reply that asks and in the
    request that answers, as it is made of what the conversation was before. No span has it."""

    __slots__ = ()


class ToolCall(NamedTuple):
    """A tool that a reply asks for."""

    id: str
    name: str
    input: object = None
    """The arguments as the reply gives them, usually a mapping. Compared, never exported."""


MEDIA = ("image", "audio", "video")
"""The kinds of blocks whose data have no words. Those of a document may be a text."""


class Block(NamedTuple):
    """A piece of a request or of a reply: what it means, not how it is sent."""

    role: str
    """`tools`, `system`, or who says it: `user`, `assistant`."""
    kind: str
    """`text`, one of `MEDIA`, `document`, `thinking`, `tool` (a declaration), `tool_use`,
    `tool_result`, or the provider's own word."""
    value: object = ""
    """A text, the data of a medium or document, blocks inside this one, or plain JSON data."""
    name: str = ""
    """Of a tool; the media type of data."""
    id: str = ""
    """Of the tool call. Not part of the meaning: the same call with another id is the same call."""
    message: int = 0
    """The number of the message it is in, -1 where it is in none."""


class ModelRequest(NamedTuple):
    model: str
    streams: bool = False
    tool_results: tuple[str, ...] = ()
    """The ids of the tool calls that the newest message answers, or of those the provider is to go
    on with."""
    results: Mapping[str, object] = MappingProxyType({})
    """What is sent as the results of these calls, by their ids."""
    failed_tools: tuple[str, ...] = ()
    """Those of them whose results say that they failed."""
    continues: bool = False
    """Whether it carries an earlier reply, so that it is not the first call of a conversation."""
    declared_tools: tuple[str, ...] = ()
    forces_tool: bool = False
    """Whether the reply has to ask for a tool: that is a form for the answer, perhaps."""
    parameters: Mapping[str, Scalar | tuple[str, ...]] = MappingProxyType({})
    """Sampling and limits, by the names of their attributes."""
    conversation: str | None = None
    """The id of a conversation that the provider keeps."""
    make_up_id: Callable[[int], MadeUpId] | None = None
    """Makes the id of the nth tool call of its reply, for an API that may give none."""


class Server(NamedTuple):
    """Whom a client talks to."""

    address: str
    port: int
    platform: str | None = None
    """The `gen_ai.provider.name` where it is not the provider's own."""


CACHE_DIAGNOSIS = "causepath.cache.diagnosis"
"""The attribute with the provider's own word for why its cache did not have all of a prompt."""

CACHE_MISSED = "causepath.cache.missed_tokens"
"""That with the tokens of the prompt that it would have had else, as the provider estimates."""

NO_FACTS: Mapping[str, Scalar] = MappingProxyType({})


class Usage(NamedTuple):
    """Tokens of one call. `None` is unknown. `input` includes both cache counts."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


class ModelReply(NamedTuple):
    """A reply, or as much of it as has arrived."""

    id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    """The conventions' word for why it ended, e.g. `tool_call`."""
    usage: Usage = Usage()
    tool_calls: tuple[ToolCall, ...] = ()
    blocks: Callable[[], Sequence[Block]] = tuple
    """Reads those of a whole reply, where anybody wants them; those of a streamed one are read by
    the provider's `block_reader`."""
    awaits_tools: bool = False
    """Whether the provider expects another request, with the results of `tool_calls` perhaps."""
    goes_on: tuple[str, ...] = ()
    """The ids of calls that the provider carries out itself, where it paused before it was done."""
    facts: Mapping[str, Scalar] = NO_FACTS
    """How it was served, as far as that changes its price, and what the provider says of its cache,
    by the names of their attributes."""
    error: str | None = None
    """The `error.type` of an error that the reply itself tells of, instead of its end."""
