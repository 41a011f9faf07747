"""What stands in for an object of the application or of an SDK, and is equal to it for all others.

Not imported before the first one is needed, as `wrapt` takes longer to import than all of ours.
"""

from __future__ import annotations

import copy
import sys
import types
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from causepath.replies.stream_events import Reader


class MeasuredFunction(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A function of the application that is measured where it is called through this.

    It compares, hashes, inspects, copies and pickles as the function does. In another process it is
    the function itself.
    """

    def __init__(self, function: Any, measured: Callable[..., Any]) -> None:
        super().__init__(function)
        self._self_measured = measured

    @property
    def __causepath_measured__(self) -> Any:
        return self._self_measured.__causepath_measured__  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_measured(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """In a class, it is a method where the function itself would be one."""
        if instance is None or type(self.__wrapped__) is not types.FunctionType:
            return self
        return types.MethodType(self, instance)

    def __copy__(self) -> MeasuredFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MeasuredFunction:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        function = self.__wrapped__
        name = getattr(function, "__qualname__", "")
        defined = _defined(getattr(function, "__module__", None), name)
        if defined is self:
            return name
        # Whichever of the two is found under its name.
        known = isinstance(defined, MeasuredFunction) and defined.__wrapped__ is function
        return copy.copy, (defined if known else function,)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)


def _defined(module: str | None, name: str) -> object:
    """What is found in a module under a dotted name, as pickle looks for it."""
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        if found is None or part == "<locals>":
            return None
        found = vars(found).get(part)
        if isinstance(found, staticmethod):
            found = found.__func__
    return found


class ObservedBody(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """The body of a response, which tells `reader` when nothing more comes from it.

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
