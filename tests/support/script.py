"""What the stand-in API is asked and what it answers, as values a test can write down.

A script is any function from a `Request` to an answer, a `Reply` or a `Failure`. `InOrder` and
`ByTurn` are the two that cover most needs. Scripts keep no state of their own, so one script can
serve any number of agents at once, and the same requests always get the same answers.

This module needs nothing but the standard library: the stand-in as a process of its own starts
without the site packages, so that nothing installed for the agent runs in it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The name the API gives to an error, by HTTP status."""


class ScriptError(ValueError):
    """The script is wrong: the message says where, and what would have worked."""


@dataclass(frozen=True)
class Text:
    """A text block."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """A thinking block with the signature that proves where it came from."""

    thinking: str
    signature: str = "EqQBCgIYAhIkc3RhbmQtaW4gc2lnbmF0dXJl"


@dataclass(frozen=True)
class ToolUse:
    """A request to run a tool.

    Without an `id` the stand-in makes one that differs from reply to reply, as the API does.
    """

    name: str
    input: Mapping[str, object] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class RawBlock:
    """Any other kind of block, sent whole and exactly as given: `{"type": ..., ...}`."""

    block: Mapping[str, object]


Block: TypeAlias = Text | Thinking | ToolUse | RawBlock


@dataclass(frozen=True)
class Usage:
    """Token counts of one reply; what is None is worked out from the size of the texts.

    `input_tokens` leaves out what was read from or written to the cache, as in the API.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0
    thinking_tokens: int | None = None
    tool_use_input_tokens: int = 0
    """The results of the API's own tools, which Gemini counts beside the input."""

    @property
    def cache_creation_input_tokens(self) -> int:
        """Tokens written to the cache, whatever their time to live."""
        return self.ephemeral_5m_input_tokens + self.ephemeral_1h_input_tokens


@dataclass(frozen=True)
class Stall:
    """An extra pause of `seconds` before the delta of this index (from 0) in a reply."""

    before_delta: int
    seconds: float


@dataclass(frozen=True)
class Latency:
    """How long the model takes, in seconds.

    A reply that is not streamed is sent when a streamed one would have ended, because the model
    generates it for just as long.
    """

    before_headers: float = 0.0
    before_first_delta: float = 0.0
    per_delta: float = 0.0
    stalls: Sequence[Stall] = ()

    def __post_init__(self) -> None:
        for name in ("before_headers", "before_first_delta", "per_delta"):
            if getattr(self, name) < 0:
                raise ScriptError(f"Latency.{name} must be 0 or more, not {getattr(self, name)}")

    def before_delta(self, index: int) -> float:
        """Seconds between what was sent before and the delta of this index."""
        regular = self.per_delta if index else self.before_first_delta
        return regular + sum(stall.seconds for stall in self.stalls if stall.before_delta == index)


@dataclass(frozen=True)
class Cut:
    """The connection is lost after so many deltas; a reply without a stream ends half-way."""

    after_deltas: int


@dataclass(frozen=True)
class ErrorEvent:
    """An `error` event after so many deltas; a reply without a stream is that error instead."""

    after_deltas: int
    status: int = 529
    message: str = "Overloaded"


@dataclass(frozen=True)
class Reply:
    """What the model says, at what pace, and what goes wrong on the way.

    `content` is the text, or the blocks. Each delta of a stream carries `delta_characters`
    characters. Without a `stop_reason` it is `tool_use` if a tool is asked for, else `end_turn`.
    """

    content: str | Sequence[Block]
    latency: Latency = Latency()
    usage: Usage = Usage()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    delta_characters: int = 16
    interruption: Cut | ErrorEvent | None = None
    encoding: str | None = None
    """The `content-encoding`: `gzip`, or any other word, which then changes nothing of the body."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the body, put into those of the same names."""

    def __post_init__(self) -> None:
        if self.delta_characters < 1:
            raise ScriptError(
                f"Reply.delta_characters must be 1 or more, not {self.delta_characters}"
            )
        for block in self.blocks:
            if not isinstance(block, Text | Thinking | ToolUse | RawBlock):
                raise ScriptError(
                    "Reply.content must be a str or a sequence of Text, Thinking, ToolUse and "
                    f"RawBlock, but it holds {block!r}"
                )

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The content as blocks."""
        if isinstance(self.content, str):
            return (Text(self.content),)
        return tuple(self.content)

    @property
    def final_stop_reason(self) -> str:
        """Why the model stopped, as the reply will say."""
        if self.stop_reason is not None:
            return self.stop_reason
        asks_for_tools = any(isinstance(block, ToolUse) for block in self.blocks)
        return "tool_use" if asks_for_tools else "end_turn"


@dataclass(frozen=True)
class Failure:
    """An HTTP error. `retry_after_seconds` may be a fraction."""

    status: int
    message: str | None = None
    retry_after_seconds: float | None = None
    latency_seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ScriptError(f"Failure.status must be 400 to 599, not {self.status}")
        if self.latency_seconds < 0:
            raise ScriptError(f"Failure.latency_seconds must be 0 or more: {self.latency_seconds}")

    @property
    def error_type(self) -> str:
        """The name the API gives to this error."""
        return ERROR_TYPES.get(
            self.status, "invalid_request_error" if self.status < 500 else "api_error"
        )


Answer: TypeAlias = Reply | Failure


@dataclass(frozen=True)
class Request:
    """One HTTP request as the stand-in got it.

    `number` counts the requests for a message from 0, in the order of arrival. Header names are in
    lower case. `body` is what was decoded from JSON, None if that failed. `received_ns` is on the
    monotonic clock of the stand-in's process.
    """

    number: int
    """Of the requests for a message, counted from 0; -1 for another."""
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any
    received_ns: int

    @property
    def messages(self) -> Sequence[Any]:
        """The conversation so far."""
        messages = self.body.get("messages") if isinstance(self.body, dict) else None
        return messages if isinstance(messages, list) else ()

    @property
    def streams(self) -> bool:
        """Whether the answer is wanted as server-sent events."""
        return isinstance(self.body, dict) and self.body.get("stream") is True

    @property
    def turn(self) -> int:
        """How many replies of the model the conversation already holds."""
        return sum(message.get("role") == "assistant" for message in self.messages)

    @property
    def retry(self) -> int:
        """How often the SDK has tried this call before."""
        return int(self.headers.get("x-stainless-retry-count", "0"))

    @property
    def question(self) -> str:
        """The first text of the user."""
        return next((block["text"] for block in self._blocks("text")), "")

    @property
    def tool_results(self) -> Sequence[Mapping[str, Any]]:
        """Every tool result in the conversation, oldest first."""
        return list(self._blocks("tool_result"))

    @property
    def tools_called(self) -> Sequence[str]:
        """The name of every tool whose result is in the conversation, in the order of the calls."""
        answered = {result["tool_use_id"] for result in self.tool_results}
        calls = self._blocks("tool_use", role="assistant")
        return [call["name"] for call in calls if call["id"] in answered]

    def _blocks(self, kind: str, role: str = "user") -> Sequence[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for message in self.messages:
            if message.get("role") != role:
                continue
            content = message.get("content")
            blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
            found.extend(block for block in blocks or () if block.get("type") == kind)
        return found


Script: TypeAlias = Callable[[Request], Answer]


class UnscriptedError(ScriptError):
    """The script has no answer to this request."""


@dataclass(frozen=True)
class InOrder:
    """The first request gets the first answer, the second the second, retries included."""

    answers: Sequence[Answer]

    def __post_init__(self) -> None:
        for answer in self.answers:
            check_answer(answer, "InOrder")

    def __call__(self, request: Request) -> Answer:
        if request.number >= len(self.answers):
            raise UnscriptedError(
                f"the script has {len(self.answers)} answers, but this is request "
                f"{request.number + 1}"
            )
        return self.answers[request.number]


@dataclass(frozen=True)
class ByTurn:
    """The answer is chosen by how far the conversation has come, so that agents never mix.

    The entry of a turn is its answer, or the answers to the first try, the second and so on, of
    which the last one is for all tries that remain.
    """

    turns: Sequence[Answer | Sequence[Answer]]

    def __post_init__(self) -> None:
        for entry in self.turns:
            for answer in _tries(entry):
                check_answer(answer, "ByTurn")

    def __call__(self, request: Request) -> Answer:
        if request.turn >= len(self.turns):
            raise UnscriptedError(
                f"the script has {len(self.turns)} turns, but this is turn {request.turn + 1} of "
                "a conversation"
            )
        tries = _tries(self.turns[request.turn])
        return tries[min(request.retry, len(tries) - 1)]


def _tries(entry: Answer | Sequence[Answer]) -> Sequence[Answer]:
    return (entry,) if isinstance(entry, Reply | Failure) else entry


def check_answer(answer: object, where: str) -> Answer:
    """The same answer.

    Raises ScriptError if it is none.
    """
    if not isinstance(answer, Reply | Failure):
        raise ScriptError(f"{where} must give a Reply or a Failure, not {answer!r}")
    return answer


def as_script(script: Script | Answer | Sequence[Answer]) -> Script:
    """A script from whatever is short to write: one answer for all, answers in order, a function.

    Raises ScriptError for anything else.
    """
    if isinstance(script, Reply | Failure):
        always = script
        return lambda request: always
    if callable(script):
        return script
    if isinstance(script, Sequence):
        return InOrder(script)
    raise ScriptError(
        "a script must be a Reply or Failure, a sequence of them, or a function of the Request, "
        f"not {script!r}"
    )
