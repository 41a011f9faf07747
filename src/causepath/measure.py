"""Measuring the functions that carry out tool calls, however they are found.

They are declared (`causepath.tool`, `causepath.tools`), named in `CAUSEPATH_TOOLS`, or found by the
plugin itself (`found_tools.py`).
"""

from __future__ import annotations

import fnmatch
import functools
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath import forks
from causepath.guard import harmless, or_itself
from causepath.inside import MEASURED, inside, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from causepath.operation import Operation
    from causepath.telemetry import Telemetry


class Declared(NamedTuple):
    """What is known of a function that is measured."""

    name: str
    """Of the tool."""
    read_only: bool | None
    only_asked: bool


CACHED = type(functools.cache(lambda: None))
"""What `functools.lru_cache` makes of a function."""

FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial, CACHED)

telemetry: Callable[[], Telemetry | None] = lambda: None  # noqa: E731
"""Who measures, if anybody does just now. Set by the instrumentor."""


@or_itself
def measured(
    function: Callable[..., Any],
    name: str | None = None,
    read_only: bool | None = None,
    *,
    only_asked: bool = False,
) -> Callable[..., Any]:
    """`function`, each call of which is a tool span while the plugin is enabled.

    `only_asked` leaves out the calls that no reply asked for.
    """
    if is_inside(function):
        return function
    tool = name or getattr(function, "__name__", None) or type(function).__name__

    @harmless(None)
    def opened(args: Any, kwargs: Any) -> Operation | None:
        active = telemetry()
        if active is None:
            return None
        return active.tool_calls.of_function(tool, function, args, kwargs, read_only, only_asked)

    wrapper = inside(function, opened)
    setattr(wrapper, MEASURED, Declared(tool, read_only, only_asked))
    return wrapper


def declared(function: object) -> Declared | None:
    """What a measured function, or what stands in for one, was declared as."""
    found = getattr(function, MEASURED, None)
    return found if isinstance(found, Declared) else None


@or_itself
def stand_in(
    function: Callable[..., Any],
    name: str | None = None,
    read_only: bool | None = None,
    *,
    only_asked: bool = False,
) -> Callable[..., Any]:
    """As `measured`, for a place that the application reads the function from: equal to it."""
    if is_inside(function):
        return function
    from causepath.proxies import MeasuredFunction

    return MeasuredFunction(function, measured(function, name, read_only, only_asked=only_asked))


@or_itself
def dispatching(
    function: Callable[..., Any],
    names: Callable[[tuple[Any, ...], dict[str, Any]], Iterable[str]],
    *,
    strict: bool,
) -> Callable[..., Any]:
    """As `stand_in`, of a function that carries out tools of several names.

    `names(args, kwargs)` tells which a call of it may be. `strict` leaves out the calls whose
    arguments do not tell that they are what was asked for.
    """
    from causepath.proxies import MeasuredFunction

    made_in = forks.process

    @harmless(None)
    def opened(args: Any, kwargs: Any) -> Operation | None:
        active = telemetry()
        if active is None or made_in is not forks.process or not active.runs.asks():
            return None
        for name in names(args, kwargs):
            operation = active.tool_calls.of_function(
                name, function, args, kwargs, None, only_asked=True, strict=strict
            )
            if operation is not None:
                return operation
        return None

    return MeasuredFunction(function, inside(function, opened))


def is_function(value: object) -> bool:
    return isinstance(value, FUNCTIONS)


def measure_module(module: types.ModuleType, names: str = "*") -> list[tuple[str, Any]]:
    """Measure the functions that `module` defines, in place; gives what they were before."""
    replaced = []
    for name, value in list(vars(module).items()):
        if (
            isinstance(value, types.FunctionType)
            and value.__module__ == module.__name__
            and fnmatch.fnmatchcase(name, names)
            and not (name.startswith("_") and names.startswith(("*", "?")))
            and not is_inside(value)
        ):
            setattr(module, name, measured(value))
            replaced.append((name, value))
    return replaced
