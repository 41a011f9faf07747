"""A provider is a table of places to patch and a few pure functions: which calls, how to read them.

Nothing here or in `providers/` starts a span. To add a provider, write one module under
`providers/` with one `PROVIDER` and name it in `instrumentor.PROVIDERS`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from causepath.providers.messages import Block, ModelReply, ModelRequest, Server
    from causepath.providers.prompt import Prompt


CONTENT = 1
"""The event carries a piece of the answer, as the time to the first one is asked for."""

FACTS = 2
"""`read_event` may find something in it. Most pieces of an answer hold nothing but the piece."""

LAST = 4
"""The event ends the reply."""


ALIKE = 8
"""And further events of its class are the same, until one of another class comes."""


class Seam(Enum):
    """The meaning of a patched function of an SDK. One function may be several of these: it is then
    the target of each, the inner ones first."""

    CALL = "one call of the model, with all its retries"
    BODY = "the request of one attempt is built from plain data, and about to be sent"
    RESPONSE = "the response of a successful attempt becomes what the application gets"
    ATTEMPT = "one attempt of a call"
    PAUSE = "the pause between a failed attempt and the next one, where that can be seen"
    EVENTS = "the events of a streamed reply, one by one"
    SPAN = "the SDK is about to start a span of its own around calls of the model"
    TOOL = "the SDK carries out one call of a tool"


class Head(Protocol):
    """The beginning of an HTTP response."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by their names in lower case."""


class Response(Head, Protocol):
    """An HTTP response as the driver sees it, whichever library has fetched it."""

    @property
    def is_read(self) -> bool:
        """Tells whether all of its body has been read."""

    @property
    def bytes_tell(self) -> bool:
        """Tells whether its bytes tell when nothing more comes, as the application may get
        these; else its events do."""

    def content(self) -> bytes:
        """Gives the body that has been read."""

    @property
    def reader(self) -> object:
        """Returns what observes it, if anything does."""

    def observe(self, reader: object, observed: Callable[[Any, Any], object]) -> None:
        """Lets `reader` observe it, and keeps `observed(body, reader)` as long as it is there, in
        the place of the body if the bytes tell."""


class ToolUse(NamedTuple):
    """A tool call that an SDK carries out."""

    name: str
    arguments: Mapping[str, object]
    function: Callable[..., Any] | None = None
    """The application's own function, where the SDK's is not all that is known."""
    raised: Callable[[BaseException], BaseException] = lambda error: error
    """What the tool raised, from what the SDK makes of it."""


class Target(NamedTuple):
    """A function to wrap, and how to get out of a call of it what its seam is about.

    Each of these is given what the function is: its arguments, `self` the first of them.
    """

    module: str
    name: str
    seam: Seam
    is_async: bool = False
    response: Callable[[tuple[Any, ...], dict[str, Any], Any], Response | None] = lambda *_: None
    """From the arguments and the result, if there is one yet. `None` for a RESPONSE seam says that
    the result is a whole reply."""
    failure: Callable[[BaseException], Head | None] = lambda _: None
    """From what ended an ATTEMPT: the response that it failed with, if there was one."""
    extensions: Callable[[Any], MutableMapping[str, Any] | None] = lambda _: None
    """From the result of a BODY seam: where the HTTP library looks up whom to tell what it does, as
    `httpx` does under `trace`."""
    given_up: Callable[
        [tuple[Any, ...], dict[str, Any], BaseException | None], Exception | None
    ] = lambda *_: None
    """From the arguments of a PAUSE seam and what is handled there: the error that the SDK raises
    where no attempts are left."""
    tool: Callable[[tuple[Any, ...], dict[str, Any]], ToolUse | None] = lambda *_: None
    """From the arguments of a TOOL seam."""


class BlockReader(Protocol):
    """The blocks of a streamed reply, from its events."""

    def event(self, event: Any) -> int:
        """Takes an event in, and says what `look_at_event` says of it, but for `ALIKE`: it has to
        see every one."""

    def blocks(self) -> list[Block]:
        """The blocks that have come, the last one perhaps in part."""


class NativeSpans(NamedTuple):
    """The spans that an SDK itself writes."""

    scope: str
    """Their instrumentation scope, or how it begins."""
    call: str
    """The name of that of a model call."""
    reply: frozenset[str]
    """The attributes that the SDK gives it from a whole reply."""
    tracer: Callable[[Any, tuple[Any, ...], dict[str, Any]], object | None]
    """The tracer with which the SDK writes that of a call, `None` where it writes none. From the
    client and the arguments of the CALL seam."""
    tracer_provider: Callable[[Any], object | None]
    """The tracer provider that this client was given for them, if any."""
    records_content: Callable[[Any], bool]
    """Whether those of this client record what is said."""
    silence: Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    """The same arguments of the CALL seam, such that the SDK writes none."""


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
    read_error: Callable[[BaseException], str]
    """The `error.type` of a failed call."""
    read_status: Callable[[BaseException], int | None]
    """The status code that the call failed with, if there was a response."""
    final_errors: frozenset[str] = frozenset()
    """The `error.type` of what the same request fails with again."""
    read_document: Callable[[bytes], ModelReply | None] = lambda _: None
    """From the JSON of a whole reply, as it came; `None` where it is none."""
    read_event: Callable[[ModelReply, Any], ModelReply] = lambda reply, _: reply
    """The reply so far and one event of the EVENTS seam make the new reply."""
    look_at_event: Callable[[Any], int] = lambda _: 0
    """What an event is: `CONTENT`, `FACTS`, `LAST`, or any of them together, joined by `|`; or
    `CONTENT | ALIKE`."""
    block_reader: Callable[[Callable[[Any], int]], BlockReader] | None = None
    """Made of `look_at_event`."""
    read_data: Callable[[bytes], Any] = lambda _: None
    """From the data of a server-sent event, as it came, to an event as of the EVENTS seam; `None`
    where it is none. For replies that the application forwards without parsing them."""
    asking_diagnosis: Callable[
        [Any, tuple[Any, ...], dict[str, Any], str | None], tuple[tuple[Any, ...], dict[str, Any]]
    ] = lambda _client, args, kwargs, _previous: (args, kwargs)
    """The same arguments of the CALL seam, such that the provider says why its cache did not have
    all of the prompt: compared with that of the reply with this id, if there was one before."""
    operation: str = "chat"
    """The conventions' word for a call of the model: `gen_ai.operation.name`."""
    native: NativeSpans | None = None
    """Where the SDK writes spans of its own."""
