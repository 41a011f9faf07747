"""Where the time inside one call went: waiting for a connection, for events, for the consumer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from causepath import semconv
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

TRACE = "trace"
"""The request extension of `httpx` (and `httpx2`) that is told what the transport does."""


class Pacing:
    """How the events of a streamed reply came. Times are of `time.time_ns`."""

    __slots__ = (
        "chunk_gaps_ns",
        "chunks",
        "events",
        "first_event_ns",
        "held_ns",
        "last_chunk_ns",
        "last_event_ns",
        "longest_wait_ns",
    )

    def __init__(self) -> None:
        self.events = 0
        self.chunks = 0
        """Events with a piece of the answer."""
        self.first_event_ns = 0
        self.last_event_ns = 0
        self.last_chunk_ns = 0
        self.longest_wait_ns = 0
        """The longest time that the consumer waited for an event after the first."""
        self.held_ns = 0
        """How long the consumer kept the stream waiting, in all."""
        self.chunk_gaps_ns: list[int] | None = None
        """The times between chunks, where somebody wants them."""

    def event(self, now_ns: int, since_ns: int, is_chunk: int = 0) -> None:
        """An event came, which the consumer has waited for since `since_ns`, 0 if unknown.

        `is_chunk` is true where it is a piece of the answer.
        """
        self.events += 1
        if is_chunk:
            self.chunks += 1
            if self.chunk_gaps_ns is not None:
                if self.last_chunk_ns:
                    self.chunk_gaps_ns.append(now_ns - self.last_chunk_ns)
                self.last_chunk_ns = now_ns
        last_ns = self.last_event_ns
        self.last_event_ns = now_ns
        if not last_ns:
            self.first_event_ns = now_ns
            return
        if since_ns > last_ns:
            self.held_ns += since_ns - last_ns
        else:
            since_ns = last_ns
        if now_ns - since_ns > self.longest_wait_ns:
            self.longest_wait_ns = now_ns - since_ns

    def attributes(self, start_ns: int) -> dict[str, Any]:
        """What the span of a call that began at `start_ns` says of it."""
        if not self.events:
            return {}
        return {
            semconv.STREAM_EVENTS: self.events,
            semconv.STREAM_CHUNKS: self.chunks,
            semconv.STREAM_FIRST_EVENT_MS: (self.first_event_ns - start_ns) / 1e6,
            semconv.STREAM_LAST_EVENT_MS: (self.last_event_ns - start_ns) / 1e6,
            semconv.STREAM_LONGEST_GAP_MS: self.longest_wait_ns / 1e6,
            semconv.STREAM_HELD_MS: self.held_ns / 1e6,
        }


class Connecting:
    """How long one attempt waited for a connection, as its transport tells.

    It listens no longer than it has to: until the request is being written.
    """

    __slots__ = ("_began_ns", "_extensions", "_new", "_wait_ns")

    def __init__(self, extensions: MutableMapping[str, Any]) -> None:
        self._extensions = extensions
        self._began_ns = time.time_ns()
        self._new = False
        self._wait_ns: int | None = None

    def listener(self, *, is_async: bool) -> Callable[[str, Any], Any]:
        if not is_async:
            return self._told

        async def told(event: str, info: Any) -> None:
            self._told(event, info)

        return told

    @harmless(None)
    def _told(self, event: str, info: Any) -> None:  # noqa: ARG002
        if event.startswith("connection."):
            self._new = True
        elif event.endswith("send_request_headers.started"):
            self._wait_ns = time.time_ns() - self._began_ns
            self._extensions.pop(TRACE, None)

    def attributes(self) -> dict[str, Any]:
        if self._wait_ns is None:
            return {}
        return {
            semconv.CONNECTION_WAIT_MS: self._wait_ns / 1e6,
            semconv.CONNECTION_NEW: self._new,
        }


def connecting(request: Any, *, is_async: bool) -> Connecting | None:
    """Listen to what the transport does for a request, if the application does not."""
    extensions = request.extensions
    if TRACE in extensions:
        return None
    found = Connecting(extensions)
    extensions[TRACE] = found.listener(is_async=is_async)
    return found
