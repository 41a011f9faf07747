"""Where the time inside one call went: the connection, the events, the consumer, the pauses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causepath.providers.provider import ALIKE, CONTENT, FACTS
from causepath.replies.reply_body import ObservedBody
from causepath.replies.stream_events import observed_async_events, observed_events
from causepath.replies.stream_pace import Pacing
from tests.support.messages_api import MessagesApi
from tests.support.script import Failure, InOrder, Reply, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from tests.support.recording import Recording

QUESTION: Any = [{"role": "user", "content": "?"}]
REPLY = Reply("One two three four.", usage=Usage(3, 4))
START_NS = 1_000_000_000


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10)), min_size=1, max_size=50))
def test_the_time_of_a_stream_is_waited_or_held(steps: list[tuple[int, int]]) -> None:
    """Each step: how long the consumer keeps the event before, and then waits for the next."""
    pace, now_ns = Pacing(), START_NS
    for held_ns, waited_ns in steps:
        since_ns = now_ns + held_ns
        now_ns = since_ns + waited_ns
        pace.note(since_ns)
        pace.note(now_ns)
        pace.was_no_chunk()
    found = pace.attributes(START_NS)
    (first_held, first_waited), *others = steps
    assert found == {
        "causepath.stream.events": len(steps),
        "causepath.stream.chunks": 0,
        "causepath.stream.first_event_ms": (first_held + first_waited) / 1e6,
        "causepath.stream.last_event_ms": (now_ns - START_NS) / 1e6,
        "causepath.stream.longest_gap_ms": max((waited for _, waited in others), default=0) / 1e6,
        "causepath.stream.held_ms": sum(held for held, _ in others) / 1e6,
    }


def test_where_nobody_says_since_when_it_waits_it_has_waited_all_the_time() -> None:
    pace = Pacing()
    for now_ns in (5_000_000, 7_000_000, 10_000_000):
        pace.came_unasked(now_ns)
    assert pace.attributes(0)["causepath.stream.longest_gap_ms"] == 3
    assert pace.attributes(0)["causepath.stream.held_ms"] == 0


def test_a_call_without_events_says_nothing_of_them() -> None:
    assert Pacing().attributes(0) == {}


class Text:
    """A piece of a text."""


class Other:
    """Anything else."""


class Looks:
    """A reader that says of each event what it is told to, and notes which it has seen."""

    refusal = None

    def __init__(self, what: dict[type, int]) -> None:
        self.pace = Pacing()
        self.seen: list[str] = []
        self.what = what
        self.ended: list[BaseException | None] = []

    def look(self, event: object) -> int:
        self.seen.append(type(event).__name__)
        return self.what[type(event)]

    def told(self, event: object, what: int) -> None:
        if not what & CONTENT:
            self.pace.was_no_chunk()

    def reading(self) -> None: ...

    def exhausted(self) -> None:
        self.closed()

    def left(self, error: BaseException) -> None:
        if not isinstance(error, GeneratorExit):
            self.closed(error)

    def closed(self, error: BaseException | None = None) -> None:
        self.ended.append(error)


@pytest.mark.parametrize(
    ("what", "seen"),
    [
        pytest.param({Text: CONTENT, Other: FACTS}, ["Other", *["Text"] * 3, "Other", "Text"]),
        pytest.param({Text: CONTENT | ALIKE, Other: FACTS}, ["Other", "Text", "Other", "Text"]),
        pytest.param({Text: CONTENT | ALIKE, Other: CONTENT}, ["Other", "Text", "Other", "Text"]),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
def test_events_that_are_alike_are_looked_at_once(
    what: dict[type, int], seen: list[str], *, is_async: bool
) -> None:
    events = [Other(), Text(), Text(), Text(), Other(), Text()]
    reader = Looks(what)

    async def fetched() -> list[Any]:
        async def of() -> Any:
            for event in events:
                yield event

        return [event async for event in observed_async_events(of(), lambda: reader)]

    if is_async:
        assert asyncio.run(fetched()) == events
    else:
        assert list(observed_events(iter(events), lambda: reader)) == events
    assert (reader.seen, reader.ended) == (seen, [None])
    told = reader.pace.attributes(0)
    assert told["causepath.stream.events"] == 6
    assert told["causepath.stream.chunks"] == 6 - 2 * (what[Other] == FACTS)
    assert not reader.pace.is_waiting


def test_a_body_is_of_the_same_kind_and_has_the_same_attributes() -> None:
    class Body:
        size = 3

        def __iter__(self) -> Any:
            yield from (b"a", b"b")

        def close(self) -> None:
            self.size = 0

    body, reader = Body(), Looks({})
    observed: Any = ObservedBody(body, reader)
    assert isinstance(observed, Body)
    assert (observed.size, observed.stream_observer, repr(observed)) == (3, None, repr(body))
    assert [*observed] == [b"a", b"b"]
    assert reader.ended == [None]
    observed.size = 4
    assert body.size == 4
    observed.close()
    assert (body.size, reader.ended) == (0, [None, None])
    with pytest.raises(AttributeError, match="nothing"):
        observed.nothing  # noqa: B018


def chats(recording: Recording) -> Sequence[ReadableSpan]:
    return [span for span in recording.spans() if span.name.startswith(("chat", "attempt"))]


@pytest.fixture
def api() -> Any:
    with MessagesApi(lambda _: REPLY) as found:
        yield found


def test_a_stream_says_how_it_came(api: MessagesApi, recording: Recording) -> None:
    with anthropic.Anthropic(base_url=api.url, api_key="test") as client:
        events = list(
            client.messages.create(model="m", max_tokens=9, messages=QUESTION, stream=True)
        )
    (chat,) = chats(recording)
    found: Any = dict(chat.attributes or {})
    assert found["causepath.stream.events"] == len(events)
    assert found["causepath.stream.chunks"] == sum(
        event.type == "content_block_delta" for event in events
    )
    assert chat.start_time is not None
    assert chat.end_time is not None
    assert (
        0
        < found["causepath.stream.first_event_ms"]
        <= found["causepath.stream.last_event_ms"]
        <= (chat.end_time - chat.start_time) / 1e6 + 1
    )
    assert found["causepath.stream.held_ms"] >= 0


def connections(spans: Sequence[ReadableSpan]) -> list[tuple[object, bool]]:
    """Of each span: whether its connection was new, and whether the wait for it is known."""
    return [
        (
            (span.attributes or {}).get("causepath.connection.new"),
            "causepath.connection.wait_ms" in (span.attributes or {}),
        )
        for span in spans
    ]


def test_the_wait_for_a_connection(api: MessagesApi, recording: Recording) -> None:
    with anthropic.Anthropic(base_url=api.url, api_key="test") as client:
        for _ in range(2):
            client.messages.create(model="m", max_tokens=9, messages=QUESTION)
    assert connections(chats(recording)) == [(True, True), (False, True)]


def test_the_wait_for_a_connection_in_tasks(api: MessagesApi, recording: Recording) -> None:
    async def main() -> None:
        async with anthropic.AsyncAnthropic(base_url=api.url, api_key="test") as client:
            for _ in range(2):
                await client.messages.create(model="m", max_tokens=9, messages=QUESTION)

    asyncio.run(main())
    assert connections(chats(recording)) == [(True, True), (False, True)]


def test_each_attempt_has_its_own_wait_and_what_the_server_asked_for(recording: Recording) -> None:
    refused = Failure(429, retry_after_seconds=0.01)
    with (
        MessagesApi(InOrder([refused, REPLY])) as api,
        anthropic.Anthropic(base_url=api.url, api_key="test") as client,
    ):
        client.messages.create(model="m", max_tokens=9, messages=QUESTION)
    first, second, chat = chats(recording)
    assert [span.name for span in (first, second, chat)] == ["attempt 1", "attempt 2", "chat m"]
    assert [known for _, known in connections([first, second, chat])] == [True, True, False]
    assert (first.attributes or {})["http.response.header.retry-after"] == ("1",)


def test_who_listens_to_the_transport_already_goes_on_doing_so(
    api: MessagesApi, recording: Recording
) -> None:
    heard: list[str] = []
    from anthropic import DefaultHttpxClient

    def listen(request: Any) -> None:
        request.extensions["trace"] = lambda event, _: heard.append(event)

    with anthropic.Anthropic(
        base_url=api.url,
        api_key="test",
        http_client=DefaultHttpxClient(event_hooks={"request": [listen]}),
    ) as client:
        client.messages.create(model="m", max_tokens=9, messages=QUESTION)
    assert any(event.endswith("receive_response_headers.complete") for event in heard)
    assert len(chats(recording)) == 1
