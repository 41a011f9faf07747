"""Where the time inside one call went: waiting for a connection, for events, for the consumer."""

from __future__ import annotations

import time
from itertools import pairwise
from operator import sub
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless
from causepath.otel import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

TRACE = "trace"
"""The request extension of `httpx` (and `httpx2`) that is told what the transport does."""


class Pacing:
    """The times at which the events of a streamed reply came, by `time.perf_counter_ns`.

    While they come, only two times are noted for each, in a list, which takes in a number in half
    the time that an array does. What they mean is worked out when somebody asks.
    """

    __slots__ = ("_others", "_times", "note")

    def __init__(self) -> None:
        self._times: list[int] = []
        """By turns: since when the consumer waited for an event, and when that came."""
        self._others: list[int] = []
        """Which events are no piece of the answer, by their number."""
        self.note: Callable[[int], None] = self._times.append
        """The consumer begins to wait for an event, or the event that it waits for comes."""

    @property
    def is_waiting(self) -> bool:
        """Tells whether the consumer waits for an event now."""
        return len(self._times) % 2 == 1

    @harmless(None)
    def was_left(self) -> None:
        """The consumer waits for no event any more."""
        if self.is_waiting:
            self._times.pop()

    def was_no_chunk(self) -> None:
        """The latest event was no piece of the answer."""
        self._others.append(len(self._times) // 2 - 1)

    def came_unasked(self, now: int) -> None:
        """An event came at this time, and nobody knows since when it was waited for."""
        self.note(self._times[-1] if self._times else now)
        self.note(now)

    def first_chunk(self) -> int | None:
        """Returns when the first piece of the answer came."""
        first = 0
        for number in self._others:
            if number != first:
                break
            first += 1
        arrived = self._times[1::2]
        return arrived[first] if first < len(arrived) else None

    def chunk_gaps_ns(self) -> list[int]:
        """The times between pieces of the answer."""
        others = set(self._others)
        chunks = [at for number, at in enumerate(self._times[1::2]) if number not in others]
        return [later - earlier for earlier, later in pairwise(chunks)]

    def attributes(self, start: int) -> dict[str, Any]:
        """Describes the stream, for the span of a call that began at `start`."""
        arrived = self._times[1::2]
        if not arrived:
            return {}
        first, last = arrived[0], arrived[-1]
        waits_ns = [*map(sub, arrived[1:], self._times[2::2])]
        found = {
            semconv.STREAM_EVENTS: len(arrived),
            semconv.STREAM_CHUNKS: len(arrived) - len(self._others),
            semconv.STREAM_FIRST_EVENT_MS: (first - start) / 1e6,
            semconv.STREAM_LAST_EVENT_MS: (last - start) / 1e6,
            semconv.STREAM_LONGEST_GAP_MS: max(waits_ns, default=0) / 1e6,
            semconv.STREAM_HELD_MS: (last - first - sum(waits_ns)) / 1e6,
        }
        chunk = self.first_chunk()
        if chunk is not None:
            found[semconv.RESPONSE_TIME_TO_FIRST_CHUNK] = (chunk - start) / 1e9
        return found


class Connecting:
    """The time that one attempt waited for a connection, as its transport reports it.

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
            self.over()

    def over(self) -> None:
        """Stops listening, whether or not the transport has reported anything."""
        self._extensions.pop(TRACE, None)

    def attributes(self) -> dict[str, Any]:
        if self._wait_ns is None:
            return {}
        return {
            semconv.CONNECTION_WAIT_MS: self._wait_ns / 1e6,
            semconv.CONNECTION_NEW: self._new,
        }


def connecting(extensions: MutableMapping[str, Any] | None, *, is_async: bool) -> Connecting | None:
    """Listen to what the transport does for a request, if the application does not."""
    if extensions is None or TRACE in extensions:
        return None
    found = Connecting(extensions)
    extensions[TRACE] = found.listener(is_async=is_async)
    return found
