"""A provider is a table of places to patch and a few pure functions: which calls, how to read them.

Nothing here or in `providers/` starts a span. To add a provider, write one module under
`providers/` with one `PROVIDER` and name it in `instrumentor.PROVIDERS`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from causepath.providers.messages import Block, ModelReply, ModelRequest, Server
    from causepath.providers.prompt import Prompt


CONTENT = 1
"""The event carries a piece of the answer, as the time to the first one is asked for."""

FACTS = 2
"""`read_event` may find something in it. Most pieces of an answer hold nothing but the piece."""

LAST = 4
"""The event ends the reply."""


class Seam(Enum):
    """What a patched function of an SDK means to us."""

    CALL = "one call of the model, with all its retries"
    BODY = "the request of one attempt is built from plain data, and about to be sent"
    RESPONSE = "the response of a successful attempt becomes what the application gets"
    PAUSE = "the pause between a failed attempt and the next one"
    EVENTS = "the events of a streamed reply, one by one"
    SPAN = "the SDK is about to start a span of its own around calls of the model"
    TOOL = "a tool object of the SDK carries out one call; it has a `name`, and gets the arguments"


class Target(NamedTuple):
    """A method to wrap."""

    module: str
    name: str
    seam: Seam
    is_async: bool = False


class BlockReader(Protocol):
    """The blocks of a streamed reply, from its events."""

    def event(self, event: Any) -> int:
        """Takes an event in, and says what `look_at_event` says of it."""

    def blocks(self) -> list[Block]:
        """The blocks that have come, the last one perhaps in part."""


class Provider(NamedTuple):
    """One SDK: what to patch in it, and how to read what passes there."""

    name: str
    """`gen_ai.provider.name`."""
    targets: tuple[Target, ...]
    read_request: Callable[[tuple[Any, ...], dict[str, Any]], ModelRequest | None]
    """From the arguments of the CALL seam; `None` where it is no model call."""
    read_body: Callable[[tuple[Any, ...], dict[str, Any]], object]
    """All that a model call sends, from the arguments of the CALL seam."""
    read_server: Callable[[Any], Server]
    """From the client."""
    read_prompt: Callable[[tuple[Any, ...], dict[str, Any]], Prompt]
    """What a request says in the order of its prompt, from the arguments of the BODY seam."""
    read_reply: Callable[[object], ModelReply | None]
    """From what the RESPONSE seam returned; `None` where that is not a whole reply."""
    read_event: Callable[[ModelReply, Any], ModelReply]
    """The reply so far and one event of the EVENTS seam make the new reply."""
    block_reader: Callable[[Callable[[Any], int]], BlockReader]
    """Made of `look_at_event`."""
    look_at_event: Callable[[Any], int]
    """What an event is: `CONTENT`, `FACTS`, `LAST`, or any of them together, joined by `|`."""
    read_data: Callable[[bytes], Any]
    """From the data of a server-sent event, as it came, to an event as of the EVENTS seam; `None`
    where it is none. For replies that the application forwards without parsing them."""
    read_document: Callable[[bytes], ModelReply | None]
    """From the JSON of a whole reply, as it came; `None` where it is none."""
    read_error: Callable[[BaseException], str]
    """The `error.type` of a failed call."""
    native_scope: str | None = None
    """The instrumentation scope of the SDK's own spans, or how it begins."""
    native_call: str | None = None
    """The name of the SDK's own span of a model call."""
    native_reply: frozenset[str] = frozenset()
    """The attributes that the SDK gives its own span of a call from a whole reply."""
    native_tracer: Callable[[Any, tuple[Any, ...], dict[str, Any]], object | None] = lambda *_: None
    """The tracer with which the SDK writes its own span of the call, `None` where it writes none.
    From the client and the arguments of the CALL seam."""
    native_content: Callable[[Any], bool] = lambda _: False
    """Whether the SDK's own spans of this client record what is said."""
    silence: Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]] = (
        lambda args, kwargs: (args, kwargs)
    )
    """The same arguments of the CALL seam, such that the SDK writes no span of its own."""
    native_tracer_provider: Callable[[Any], object | None] = lambda _: None
    """The tracer provider this client was given for its own spans, if any."""
