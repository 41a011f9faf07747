"""A function that runs inside a span: one wrapper for each kind of function.

Works for functions, coroutine functions, generators and asynchronous generators. No context is held
across a `yield`: a generator enters it for each step.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from causepath.otel.operation import Operation

MEASURED = "__causepath_measured__"


def inside(
    function: Callable[..., Any], opened: Callable[[Any, Any], Operation | None]
) -> Callable[..., Any]:
    """`function`, of the same kind, run inside what `opened(args, kwargs)` gives at each call.

    Where that is `None`, the call goes straight through.
    """
    if inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, opened)
    elif inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, opened)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, opened)
    else:
        wrapper = _plain(function, opened)
    wrapper = functools.wraps(function)(wrapper)
    setattr(wrapper, MEASURED, True)
    return wrapper


def is_inside(function: object) -> bool:
    """Tells whether `wrapping.inside` made this function."""
    return hasattr(function, MEASURED)


def _plain(function: Any, opened: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        operation = opened(args, kwargs)
        if operation is None:
            return function(*args, **kwargs)
        with operation.step():
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                operation.end(error)
                raise
        if inspect.iscoroutine(result):
            return _finish(result, operation)
        if ends_later(result, operation):
            return result
        operation.returned(result)
        operation.end()
        return result

    return call


@harmless(False)
def ends_later(result: Any, operation: Operation) -> bool:
    """Tells whether a plain function returned a future or a task, and is over when that is."""
    if not hasattr(type(result), "add_done_callback"):
        return False
    kinds = {base.__module__.partition(".")[0] for base in type(result).__mro__}
    if kinds.isdisjoint(("asyncio", "_asyncio", "concurrent")):
        return False
    over = _WhenDone(operation)
    if result.done():
        over(result)
    else:
        result.add_done_callback(over)
    return True


class _WhenDone:
    """Ends the operation with the future, or when that is lost."""

    def __init__(self, operation: Operation) -> None:
        self._operation: Operation | None = operation

    @harmless(None)
    def __call__(self, future: Any) -> None:
        operation, self._operation = self._operation, None
        if operation is None:
            return
        # Not by `exception()`, or nobody would hear of an error that nobody else asks for.
        error = getattr(future, "_exception", None)
        if future.cancelled():
            from concurrent.futures import CancelledError

            error = CancelledError()
        elif error is None:
            operation.returned(getattr(future, "_result", None))
        operation.end(error)

    @harmless(None)
    def __del__(self) -> None:
        if self._operation is not None:
            self._operation.end()


async def _finish(awaitable: Any, operation: Operation) -> Any:
    """The rest of a plain function that gave back a coroutine."""
    with operation:
        result = await awaitable
        operation.returned(result)
        return result


def _coroutine(function: Any, opened: Any) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        operation = opened(args, kwargs)
        if operation is None:
            return await function(*args, **kwargs)
        with operation:
            result = await function(*args, **kwargs)
            operation.returned(result)
            return result

    return call


def _generator(function: Any, opened: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        operation = opened(args, kwargs)
        if operation is None:
            return (yield from function(*args, **kwargs))
        items = function(*args, **kwargs)
        step: Callable[[], Any] = functools.partial(next, items)
        try:
            while True:
                with operation.step():
                    item = step()
                try:
                    sent = yield item
                    step = functools.partial(items.send, sent)
                except GeneratorExit:
                    with operation.step():
                        items.close()
                    raise
                except BaseException as error:
                    step = functools.partial(items.throw, error)
        except StopIteration as stop:
            operation.end()
            return stop.value
        except BaseException as error:
            operation.end(error)
            raise

    return call


def _async_generator(function: Any, opened: Any) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        operation = opened(args, kwargs)
        if operation is None:
            async for item in function(*args, **kwargs):
                yield item
            return
        items = function(*args, **kwargs)
        step: Callable[[], Any] = functools.partial(anext, items)
        try:
            while True:
                with operation.step():
                    item = await step()
                try:
                    sent = yield item
                    step = functools.partial(items.asend, sent)
                except GeneratorExit:
                    with operation.step():
                        await items.aclose()
                    raise
                except BaseException as error:
                    step = functools.partial(items.athrow, error)
        except StopAsyncIteration:
            operation.end()
        except BaseException as error:
            operation.end(error)
            raise

    return call
