"""What an application may say itself: this is an agent, these functions are tools."""

from __future__ import annotations

import copy
import inspect
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from causepath.arguments import meant, no_others, of_type
from causepath.budgets.amounts import KINDS, TIMES, amount, read_prices
from causepath.budgets.spending import (
    HERE,
    BudgetedCall,
    BudgetExceeded,
    Spending,
    Used,
    as_used,
)
from causepath.budgets.time_outs import TimeOut
from causepath.calls.declared_runs import declaring_generator
from causepath.guard import harmless, say
from causepath.otel.operation import detach
from causepath.tool_functions import measured_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal
    from types import FrameType, TracebackType

    from typing_extensions import Self

    from causepath.budgets.amounts import Amount, Price
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


class Budget:
    """Limits for what is done inside. Use it with `with` or `async with`, or as a decorator."""

    def __init__(
        self,
        limits: Mapping[str, Amount],
        prices: Mapping[str, Price] | None,
        on_exceeded: str | Callable[[BudgetExceeded], object],
    ) -> None:
        self._given = limits, prices, on_exceeded
        self._spending: Spending | None = None
        self._token: Any = None

    def __enter__(self) -> Self:
        if self._spending is not None:
            raise RuntimeError("a budget is used once: make another one with causepath.budget(...)")
        self._spending = self._begun()
        self._token = HERE.set(self._spending)
        return self

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        detach(self._token)
        if self._spending is not None:
            self._spending.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *exc: object) -> None:
        self.__exit__(*exc)

    def __call__(self, function: F) -> F:
        """Gives each call of a function a budget of its own, with these limits."""
        return measured_functions.inside_each_call(function, self._called)  # type: ignore[return-value]

    @harmless(None)
    def _called(self, *_: object) -> BudgetedCall | None:
        begun = self._begun()
        return None if begun is None else BudgetedCall(begun)

    @harmless(None)
    def _begun(self) -> Spending | None:
        if measured_functions.active is None:
            say("budgets see no call as long as the plugin is not enabled: causepath.instrument()")
        return Spending(*self._given)

    @property
    def usage(self) -> Used:
        """Gives what was used up to now; what is not known is `None`."""
        return self._inside().used()

    def remaining(self) -> Used:
        """Work out what is left, in the tightest of the budgets that are around here; `None` is
        not limited, or not known."""
        return as_used(self._inside().left())

    def can_continue(self, required: Mapping[str, object] | None = None) -> bool:
        """Tell whether another call is allowed, and what it requires is left, as in
        `{"wall": "2s", "tokens": 4000}`. What nobody knows is not there."""
        needs = required or {}
        for kind in needs:
            if kind not in KINDS:
                raise ValueError(
                    f"required={{{kind!r}: ...}} is no limit of budgets{meant(kind, KINDS)}; these "
                    f"are {', '.join(KINDS)}"
                )
        return self._inside().allows({kind: amount(kind, needs[kind]) for kind in needs})

    def timeout(self, kind: str, *, floor: float | str = 1.0, margin: float = 0.9) -> float:
        """Give the seconds that a call of a model ("llm") or a tool ("tool") may take: this share
        of what is left of the time for it and of the wall time, and no less than `floor`.

        As `timeout=` of an SDK it is that of all attempts of a call together.
        """
        if kind not in ("llm", "tool"):
            raise ValueError(f"timeout({kind!r}) is for 'llm' or 'tool'{meant(kind, TIMES)}")
        left = self._inside().left()
        times = [time for time in (left.get("wall"), left.get(kind)) if time is not None]
        if not times:
            raise ValueError(
                f"there is no time-out without a limit: causepath.budget(wall=..., {kind}=...)"
            )
        return TimeOut(max(float(min(times)) * margin, float(amount("wall", floor))) / 1e9)

    def _inside(self) -> Spending:
        if self._spending is None:
            raise RuntimeError("ask inside of it: with causepath.budget(...) as budget:")
        return self._spending


@no_others
def budget(
    *,
    wall: float | str | None = None,
    llm: float | str | None = None,
    tool: float | str | None = None,
    tokens: int | str | None = None,
    cost: Decimal | float | str | None = None,
    turns: int | None = None,
    on_exceeded: str | Callable[[BudgetExceeded], object] = "warn",
    prices: Mapping[str, Mapping[str, object]] | None = None,
) -> Budget:
    """Limit what is spent inside: `with causepath.budget(wall="5s", cost="$0.10"):`.

    `wall` is the time since it began, `llm` and `tool` that in which a model or a measured tool was
    at work, `tokens` are those read and written, `turns` the calls of models. Budgets nest: what is
    spent inside counts in each, and each holds. At 80 % and when a limit is exceeded, that is said
    once, in the log and in the trace. Then `on_exceeded="abort"` raises `BudgetExceeded` before the
    next call or tool, and at the next event of a stream; a function is called there instead, once
    for each limit, with the `BudgetExceeded` that it may raise. `cost` needs `prices`, for each
    model `input`, `output` and perhaps `cache_read` and `cache_write`, in dollars for a million
    tokens.
    """
    given = {
        "wall": wall,
        "llm": llm,
        "tool": tool,
        "tokens": tokens,
        "cost": cost,
        "turns": turns,
    }
    limits = {kind: amount(kind, value) for kind, value in given.items() if value is not None}
    if not limits:
        raise TypeError(f"causepath.budget() takes at least one limit: {', '.join(KINDS)}")
    if on_exceeded not in ("warn", "abort") and (
        not callable(on_exceeded) or inspect.iscoroutinefunction(on_exceeded)
    ):
        raise TypeError(
            'on_exceeded=... takes "warn", "abort" or a function that is no coroutine, not '
            f"{on_exceeded!r}"
        )
    return Budget(limits, None if prices is None else read_prices(prices), on_exceeded)


@harmless(None)
def _open_run(name: str, generator: FrameType | None = None) -> Operation | None:
    active = measured_functions.active
    return None if active is None else active.run_spans.declared(name, generator)
