"""The reply to one model call: from the response, as it arrives, to attributes of the span."""

from __future__ import annotations

import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless
from causepath.otel import semconv
from causepath.providers.messages import ModelReply
from causepath.providers.provider import CONTENT, FACTS
from causepath.replies.reply_body import ObservedBody
from causepath.replies.stream_pace import Pacing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from causepath.providers.messages import Block
    from causepath.providers.provider import BlockReader, NativeSpans, Provider, Response
    from causepath.replies.reply_bytes import Body
    from causepath.replies.stream_events import Reader

NO_REPLY = ModelReply()


class Reply:
    """A reply, as much of it as has come."""

    # What most replies never change is not set in each of them.
    content = NO_REPLY
    is_complete = False
    """The whole reply is known, though its body may not be closed yet."""
    streams = False
    pace: Pacing
    """The pace of a streamed reply."""
    _headers: Mapping[str, str] = MappingProxyType({})
    _body: Body | None = None
    _block_reader: BlockReader | None = None

    ends_with_events = False
    """Nothing more of it comes once its events are left."""

    def __init__(self, provider: Provider, make_up_id: Callable[[int], str] | None = None) -> None:
        """`make_up_id` makes the id of the nth tool call, if the API gives it none."""
        self._provider = provider
        self._make_up_id = make_up_id
        self.look = provider.look_at_event

    # -- reading

    def read(self, result: object) -> bool:
        """Reads what the application gets, if that is a whole reply."""
        return self._take(self._provider.read_reply(result))

    def read_document(self, document: bytes | None) -> bool:
        """Reads the JSON of a whole reply, if it is one."""
        return bool(document) and self._take(self._provider.read_document(document or b""))

    def read_end(self) -> bool:
        """Reads what the application has read as bytes, if that is a whole reply and no stream."""
        return self.read_document(self._body.document() if self._body is not None else None)

    def _take(self, content: ModelReply | None) -> bool:
        if content is not None:
            self.content = self._identified(content)
        return content is not None

    def _identified(self, content: ModelReply) -> ModelReply:
        """Gives an id to each tool call that has none."""
        make_up_id = self._make_up_id
        if make_up_id is None or all(call.id for call in content.tool_calls):
            return content
        calls = [
            call if call.id else call._replace(id=make_up_id(number))
            for number, call in enumerate(content.tool_calls)
        ]
        return content._replace(tool_calls=tuple(calls))

    def begin_stream(self, response: Response, reader: Reader, *, with_blocks: bool) -> None:
        """Lets the reply, which has only begun, be shown to `reader` as it arrives."""
        self.pace = Pacing()
        self.streams = True
        self._headers = response.headers
        if with_blocks and self._provider.block_reader is not None:
            self._block_reader = self._provider.block_reader(self.look)
            self.look = self._block_reader.event
        self.ends_with_events = not response.bytes_tell
        response.observe(reader, ObservedBody)

    def read_event(self, event: Any, what: int) -> bool:
        """Reads an event that is more than a piece of the answer; tells whether it has facts."""
        if not what & CONTENT:
            self.pace.was_no_chunk()
        if not what & FACTS:
            return False
        before = self.content
        self.content = self._identified(self._provider.read_event(before, event))
        return self.content is not before

    def bytes_reader(self, told: Callable[[Any, int], object]) -> Callable[[bytes], None] | None:
        """Gives what reads the bytes of the body, if no events are parsed from it: each event in
        them is shown to `told`."""
        if self._body is not None or self.pace.is_waiting:
            return None
        from causepath.replies.reply_bytes import Body

        def event_data(data: bytes) -> None:
            event = self._provider.read_data(data)
            if event is not None:
                self.pace.came_unasked(time.perf_counter_ns())
                told(event, self.look(event))

        self._body = Body(self._headers, event_data)
        return harmless(None)(self._body.feed)

    def close(self) -> None:
        """Keeps nothing of the body, as nothing more of it comes."""
        if self._body is not None:
            self._body.close()

    @property
    def is_waited_for(self) -> bool:
        """Says that the consumer waits for an event just now."""
        return self.streams and self.pace.is_waiting

    # -- telling

    @property
    def is_known(self) -> bool:
        """Says that something of it has come."""
        return self.streams or self.content is not NO_REPLY

    @property
    def asks_for_tools(self) -> bool:
        """Says that the application or the provider is to carry out tools before the next call."""
        content = self.content
        asks = content.tool_calls or (self.is_complete and content.goes_on)
        return bool(asks) and not (self.is_complete and not content.awaits_tools)

    def blocks(self) -> Sequence[Block]:
        """Reads the blocks of the reply, the last one perhaps in part."""
        reader = self._block_reader
        return self.content.blocks() if reader is None else reader.blocks()

    def attributes(self, native: NativeSpans | None) -> dict[str, Any]:
        """Describes the reply; if the span is `native`, less what the SDK says itself."""
        native = native if self.is_complete and not self.streams else None
        said = native.reply if native is not None else frozenset[str]()
        found: dict[str, Any] = semconv.reply_attributes(self.content, said)
        usage = self.content.usage
        unfinished = usage.input is not None or not self.is_complete
        if self.streams and usage.output is None and unfinished:
            # The reply does not say what was used after the application left it.
            found[semconv.USAGE_PARTIAL] = True
        return found

    def pace_attributes(self, start: int) -> dict[str, Any]:
        """Describes how a streamed reply came to a call that began at `start`."""
        return self.pace.attributes(start) if self.streams else {}

    def first_chunk(self) -> int | None:
        """Finds when the first piece of a streamed answer came, of `time.perf_counter_ns`."""
        return self.pace.first_chunk() if self.streams else None

    def chunk_gaps_ns(self) -> Sequence[int]:
        """Measures the times between pieces of a streamed answer."""
        return self.pace.chunk_gaps_ns() if self.streams else ()
