"""Streamed replies: the one sync/async pair for their events, and the one for their bodies.

Events tell what the reply is, while the application reads them. The body tells when the reply is
over, however that comes about: read to its end, closed, broken, or dropped and collected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import wrapt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Reader(Protocol):
    """Who wants to know. No method raises; `closed` may be called more than once."""

    def event(self, event: Any) -> None: ...

    def closed(self, error: BaseException | None = None) -> None: ...


def observed_events(
    events: Iterator[Any], find_reader: Callable[[], Reader | None]
) -> Iterator[Any]:
    """The same events, each shown to the reader, if there is one, before the application gets it."""
    reader = find_reader()
    if reader is None:
        yield from events
        return
    try:
        for event in events:
            reader.event(event)
            yield event
    except Exception as error:
        reader.closed(error)
        raise


async def observed_async_events(
    events: AsyncIterator[Any], find_reader: Callable[[], Reader | None]
) -> AsyncIterator[Any]:
    """The same events, each shown to the reader, if there is one, before the application gets it."""
    reader = find_reader()
    try:
        async for event in events:
            if reader is not None:
                reader.event(event)
            yield event
    except Exception as error:
        if reader is not None:
            reader.closed(error)
        raise
    finally:
        # Closed here, in the task that read them: the event loop would do it later in its own.
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


class ObservedBody(wrapt.ObjectProxy):  # type: ignore[misc]
    """The body of a response, which tells `reader` when nothing more comes from it.

    A proxy, so that it is of the same kind as the body under `isinstance`.
    """

    def __init__(self, body: Any, reader: Reader) -> None:
        super().__init__(body)
        self._self_reader = reader

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.__wrapped__
        except Exception as error:
            self._self_reader.closed(error)
            raise
        self._self_reader.closed()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self.__wrapped__.__aiter__()
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            self._self_reader.closed(error)
            raise
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        self._self_reader.closed()

    def close(self) -> None:
        self._self_reader.closed()
        self.__wrapped__.close()

    async def aclose(self) -> None:
        self._self_reader.closed()
        await self.__wrapped__.aclose()

    def __del__(self) -> None:
        self._self_reader.closed()
