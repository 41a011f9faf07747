"""The body of a streamed reply, which tells when the reply is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from causepath.replies.stream_events import Reader


class ObservedBody:
    """The body of a response, which tells `reader` when nothing more comes from it.

    It says that it is of the class of the body, which is what `isinstance` goes by. No proxy of
    `wrapt`, as the SDK asks it for something at every event, and such a one is slow to answer.
    """

    __slots__ = ("__weakref__", "_body", "_reader", "stream_observer")

    def __init__(self, body: Any, reader: Reader) -> None:
        own = object.__setattr__
        own(self, "_body", body)
        own(self, "_reader", reader)
        own(self, "stream_observer", getattr(body, "stream_observer", None))

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return self._body.__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._body, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._body, name)

    def __dir__(self) -> Iterable[str]:
        return dir(self._body)

    def __repr__(self) -> str:
        return repr(self._body)

    def __iter__(self) -> Iterator[bytes]:
        look = self._reader.reading()
        try:
            if look is None:
                yield from self._body
            else:
                for chunk in self._body:
                    look(chunk)
                    yield chunk
        except Exception as error:
            self._reader.closed(error)
            raise
        self._reader.closed()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        look = self._reader.reading()
        try:
            async for chunk in self._body:
                if look is not None:
                    look(chunk)
                yield chunk
        except Exception as error:
            self._reader.closed(error)
            raise
        self._reader.closed()

    def close(self) -> None:
        self._reader.closed()
        self._body.close()

    async def aclose(self) -> None:
        self._reader.closed()
        await self._body.aclose()

    def __del__(self) -> None:
        self._reader.closed()
