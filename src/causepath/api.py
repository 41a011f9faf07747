"""What an application may say itself: this is an agent, these functions are tools."""

from __future__ import annotations

import copy
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from causepath.arguments import no_others, of_type
from causepath.calls.declared_runs import declaring_generator
from causepath.guard import harmless
from causepath.tool_functions import measured_functions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

    from causepath.otel.operation import Operation

F = TypeVar("F", bound="Callable[..., Any]")
T = TypeVar("T")


class Agent:
    """One declared run. Use it with `with` or `async with`, or as a decorator."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._entered: list[Operation | None] = []

    @harmless(None)
    def __enter__(self) -> None:
        operation = _open_run(self._name, declaring_generator(sys._getframe(1)))  # noqa: SLF001
        self._entered.append(operation)
        if operation is not None:
            operation.__enter__()

    @harmless(None)
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        operation = self._entered.pop()
        if operation is not None:
            operation.__exit__(kind, error, traceback)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        return measured_functions.run_of_agent(function, lambda *_: _open_run(self._name))  # type: ignore[return-value]


@overload
def agent(name: str) -> Agent: ...
@overload
def agent(name: F) -> F: ...
@no_others
def agent(name: Any) -> Any:
    """Declare a run of an agent.

    `with causepath.agent("research"):` around the code, or `@causepath.agent` (named after the
    function) or `@causepath.agent("research")` on a function, coroutine function, generator or
    asynchronous generator. Model calls and tools inside belong to the run. Without the plugin
    enabled it does nothing.
    """
    if not isinstance(name, str) and not callable(name):
        raise TypeError(
            "causepath.agent takes the name of the agent, or the function that it decorates, not "
            f"{type(name).__name__}"
        )
    if callable(name):
        return Agent(getattr(name, "__name__", "agent"))(name)
    return Agent(name)


@overload
def tool(function: F) -> F: ...
@overload
def tool(*, name: str | None = None, read_only: bool | None = None) -> Callable[[F], F]: ...
@no_others
def tool(function: Any = None, *, name: str | None = None, read_only: bool | None = None) -> Any:
    """Measure a function that carries out a tool call: `@causepath.tool`.

    `name` is the tool's name where the function's differs. `read_only=True` says that calls have no
    effects, so that the analyzer may advise to run them together without a warning.
    """
    if function is not None and not callable(function):
        raise TypeError(
            f"causepath.tool decorates a function, not {type(function).__name__}; to name the tool "
            "write @causepath.tool(name=...), for a dict or list of functions causepath.tools(...)"
        )
    if not of_type(name, str) or not of_type(read_only, bool):
        raise TypeError("causepath.tool takes name=<text> and read_only=<True or False>")
    if function is None:
        return lambda decorated: measured_functions.measured(decorated, name, read_only)
    return measured_functions.measured(function, name, read_only)


@no_others
def tools(functions: T, *, read_only: bool | None = None) -> T:
    """Measure a dict, list, tuple or module of tool functions.

    A dict, list or tuple comes back as a new one of the same type with each function measured, in a
    dict under its key; what is not a function stays as it is. The public functions that a module
    defines are measured in place, and the module comes back.
    """
    if not of_type(read_only, bool):
        raise TypeError("causepath.tools takes read_only=<True or False>")
    collection: Any = functions
    if isinstance(collection, ModuleType):
        measured_functions.measure_module(collection)
        return functions
    if isinstance(collection, dict):
        # A copy, as the type may want to be told more than its items.
        measured = copy.copy(collection)
        for key, value in collection.items():
            if measured_functions.is_function(value):
                name = key if isinstance(key, str) else None
                measured[key] = measured_functions.stand_in(value, name, read_only)
        return measured  # type: ignore[return-value]
    if isinstance(collection, list | tuple):
        make = getattr(collection, "_make", type(collection))  # a named tuple takes no iterable
        return make(  # type: ignore[return-value]
            [
                measured_functions.stand_in(value, None, read_only)
                if measured_functions.is_function(value)
                else value
                for value in collection
            ]
        )
    raise TypeError(
        f"causepath.tools() takes a dict, list, tuple or module of functions, not a "
        f"{type(collection).__name__}; for one function use causepath.tool"
    )


@harmless(None)
def _open_run(name: str, generator: FrameType | None = None) -> Operation | None:
    active = measured_functions.active
    return None if active is None else active.run_spans.declared(name, generator)
