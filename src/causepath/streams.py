"""Streamed replies: the one sync/async pair for their events; `proxies` has the one for bodies.

Events tell what the reply is, while the application reads them. The body tells when the reply is
over, however that comes about: read to its end, closed, broken, or dropped and collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Reader(Protocol):
    """Who wants to know. No method raises; `closed` may be called more than once."""

    inside: bool
    """Whether the next event is being fetched just now. What closes the body then may be an
    exception on its way out, so the end is told when it is out, with the exception."""

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
    reader.inside = True
    try:
        for event in events:
            reader.event(event)
            reader.inside = False
            yield event
            reader.inside = True
    except BaseException as error:
        reader.inside = False
        if not isinstance(error, GeneratorExit):
            reader.closed(error)
        raise
    reader.inside = False
    reader.closed()


async def observed_async_events(
    events: AsyncIterator[Any], find_reader: Callable[[], Reader | None]
) -> AsyncIterator[Any]:
    """The same events, each shown to the reader, if any, before the application gets it."""
    reader = find_reader() or _Nobody()
    reader.inside = True
    try:
        async for event in events:
            reader.event(event)
            reader.inside = False
            yield event
            reader.inside = True
    except BaseException as error:
        reader.inside = False
        if not isinstance(error, GeneratorExit):
            reader.closed(error)
        raise
    finally:
        # Closed here, in the task that read them: the event loop would do it later in its own.
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()
    reader.inside = False
    reader.closed()


class _Nobody:
    """Wants to know nothing: an asynchronous generator has no `yield from`."""

    inside = False

    def event(self, event: Any) -> None: ...

    def reading(self) -> None: ...

    def closed(self, error: BaseException | None = None) -> None: ...
