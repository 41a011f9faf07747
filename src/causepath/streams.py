"""Streamed replies: the one sync/async pair for their events; `proxies` has the one for bodies.

Events tell what the reply is, while the application reads them. The body tells when the reply is
over, however that comes about: read to its end, closed, broken, or dropped and collected.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Reader(Protocol):
    """Who wants to know. No method raises; `closed` may be called more than once."""

    waiting_since_ns: int
    """Since when the next event is being fetched, 0 while the consumer has the one before.

    What closes the body while it is being fetched may be an exception on its way out, so the end is
    told when it is out, with the exception."""

    def event(self, event: Any) -> None: ...

    def reading(self) -> Callable[[bytes], None] | None:
        """The body is about to be read: who looks at its bytes, if nobody parses them."""

    def closed(self, error: BaseException | None = None) -> None: ...


def observed_events(
    events: Iterator[Any], find_reader: Callable[[], Reader | None]
) -> Iterator[Any]:
    """The same events, each shown to the reader, if any, before the application gets it."""
    reader = find_reader()
    if reader is None:
        yield from events
        return
    reader.waiting_since_ns = time_ns()
    try:
        for event in events:
            reader.event(event)
            reader.waiting_since_ns = 0
            yield event
            reader.waiting_since_ns = time_ns()
    except BaseException as error:
        reader.waiting_since_ns = 0
        if not isinstance(error, GeneratorExit):
            reader.closed(error)
        raise
    reader.waiting_since_ns = 0
    reader.closed()


async def observed_async_events(
    events: AsyncIterator[Any], find_reader: Callable[[], Reader | None]
) -> AsyncIterator[Any]:
    """The same events, each shown to the reader, if any, before the application gets it."""
    reader = find_reader() or _Nobody()
    reader.waiting_since_ns = time_ns()
    try:
        async for event in events:
            reader.event(event)
            reader.waiting_since_ns = 0
            yield event
            reader.waiting_since_ns = time_ns()
    except BaseException as error:
        reader.waiting_since_ns = 0
        if not isinstance(error, GeneratorExit):
            reader.closed(error)
        raise
    finally:
        # Closed here, in the task that read them: the event loop would do it later in its own.
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
    reader.waiting_since_ns = 0
    reader.closed()


class _Nobody:
    """Wants to know nothing: an asynchronous generator has no `yield from`."""

    waiting_since_ns = 0

    def event(self, event: Any) -> None: ...

    def reading(self) -> None: ...

    def closed(self, error: BaseException | None = None) -> None: ...
