"""The body of a response, which stands in for the SDK's own and is equal to it for all others.

Not imported before the first one is needed, as `wrapt` takes longer to import than all of ours.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from causepath.replies.stream_events import Reader


class ObservedBody(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A response's body that tells `reader` when nothing more comes from it.

    A proxy, so that it is of the same kind as the body under `isinstance`.
    """

    def __init__(self, body: Any, reader: Reader) -> None:
        super().__init__(body)
        self._self_reader = reader
        self._self_stream_observer = getattr(body, "stream_observer", None)

    # `anthropic` asks for this at every event, and a proxy is slow to say that there is none.
    stream_observer = property(attrgetter("_self_stream_observer"))

    def __iter__(self) -> Iterator[bytes]:
        look = self._self_reader.reading()
        try:
            if look is None:
                yield from self.__wrapped__
            else:
                for chunk in self.__wrapped__:
                    look(chunk)
                    yield chunk
        except Exception as error:
            self._self_reader.closed(error)
            raise
        self._self_reader.closed()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        look = self._self_reader.reading()
        try:
            async for chunk in self.__wrapped__:
                if look is not None:
                    look(chunk)
                yield chunk
        except Exception as error:
            self._self_reader.closed(error)
            raise
        self._self_reader.closed()

    def close(self) -> None:
        self._self_reader.closed()
        self.__wrapped__.close()

    async def aclose(self) -> None:
        self._self_reader.closed()
        await self.__wrapped__.aclose()

    def __del__(self) -> None:
        self._self_reader.closed()
