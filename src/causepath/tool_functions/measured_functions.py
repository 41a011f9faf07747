"""Measuring the functions that carry out tool calls, however they are found.

They are declared (`causepath.tool`, `causepath.tools`), named in `CAUSEPATH_TOOLS`, or found by the
plugin itself (`found_tools.py`).
"""

from __future__ import annotations

import fnmatch
import functools
import types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath import forks
from causepath.calls.matching import given_by
from causepath.calls.possible_calls import Called
from causepath.guard import harmless, or_itself
from causepath.tool_functions.wrapping import MEASURED, inside, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.possible_calls import PossibleCalls
    from causepath.calls.run_spans import RunSpans
    from causepath.calls.tool_calls import ToolCalls
    from causepath.otel.operation import Operation


@dataclass(frozen=True, eq=False)
class Declared:
    """The declaration of a function that is measured."""

    name: str
    """Of the tool."""
    read_only: bool | None
    only_asked: bool = False
    also: set[str] = field(default_factory=set)
    """What it was found as, too."""


CACHED = type(functools.cache(lambda: None))
"""What `functools.lru_cache` makes of a function."""

FUNCTIONS = frozenset({types.FunctionType, types.MethodType, functools.partial, CACHED})


class Measuring(NamedTuple):
    """The parts of the plugin that a call of a measured function is told."""

    runs: OpenRuns
    run_spans: RunSpans
    tool_calls: ToolCalls
    possible_calls: PossibleCalls


active: Measuring | None = None
"""The parts of the plugin while it is enabled. Set by the instrumentor."""


@or_itself
def measured(
    function: Callable[..., Any],
    name: str | None = None,
    read_only: bool | None = None,
) -> Callable[..., Any]:
    """`function`, each call of which is a tool span while the plugin is enabled."""
    known = declared(function)
    if known is not None and not known.only_asked:
        return function
    tool = name or getattr(function, "__name__", None) or type(function).__name__

    @harmless(None)
    def opened(args: Any, kwargs: Any) -> Operation | None:
        now = active
        if now is None:
            return None
        return now.tool_calls.of_function(tool, function, args, kwargs, read_only)

    wrapper = inside(function, opened)
    setattr(wrapper, MEASURED, Declared(tool, read_only))
    return wrapper


@or_itself
def run_of_agent(
    function: Callable[..., Any], opened: Callable[[Any, Any], Operation | None]
) -> Callable[..., Any]:
    """`function`, run inside what `opened` gives; where a reply asks for it as a tool, that is
    around it."""
    outer = declared(function)
    if outer is not None and not outer.only_asked:  # the tool is around the agent in any order
        return measured(inside(function.__wrapped__, opened), outer.name, outer.read_only)  # type: ignore[attr-defined]
    run = inside(function, opened)
    about = Declared(getattr(function, "__name__", ""), None, only_asked=True)
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", about.name)

    @harmless(None)
    def asked(args: Any, kwargs: Any) -> Operation | None:
        now = active
        if now is None or not now.runs.asks():
            return None
        given = given_by(function, args, kwargs)
        for tool in (about.name, *about.also):
            found = now.possible_calls.may_be(tool, Called(about, name, code), given)
            if found is not None:
                return found
        return None

    wrapper = inside(run, asked)
    setattr(wrapper, MEASURED, about)
    return wrapper


@or_itself
def inside_each_call(
    function: Callable[..., Any], opened: Callable[[Any, Any], Any]
) -> Callable[..., Any]:
    """`function`, each call of which runs inside what `opened` gives; a tool stays one."""
    known = declared(function)
    wrapper = inside(function, opened)
    if known is not None:
        setattr(wrapper, MEASURED, known)
    else:
        delattr(wrapper, MEASURED)  # it may yet be measured
    return wrapper


def declared(function: object) -> Declared | None:
    """Returns what a measured function, or what stands in for one, was declared as."""
    found = getattr(function, MEASURED, None)
    return found if isinstance(found, Declared) else None


@or_itself
def stand_in(
    function: Callable[..., Any],
    name: str | None = None,
    read_only: bool | None = None,
) -> Callable[..., Any]:
    """Measures like `measured`, for a place that the application reads the function from: equal
    to it."""
    known = declared(function)
    if known is not None and not known.only_asked:
        return function
    from causepath.tool_functions.stand_in import MeasuredFunction

    return MeasuredFunction(function, measured(function, name, read_only))


@or_itself
def dispatching(
    function: Callable[..., Any], names: Callable[[], Iterable[str]]
) -> Callable[..., Any]:
    """Measures like `stand_in`, for a function that carries out what `names` says just then."""
    from causepath.tool_functions.stand_in import MeasuredFunction

    made_in = forks.process

    @harmless(None)
    def opened(args: Any, kwargs: Any) -> Operation | None:
        now = active
        if now is None or made_in is not forks.process or not now.runs.asks():
            return None
        for name in names():
            operation = now.tool_calls.of_function(
                name, function, args, kwargs, None, only_asked=True
            )
            if operation is not None:
                return operation
        return None

    return MeasuredFunction(function, inside(function, opened))


def is_function(value: object) -> bool:
    return any(issubclass(type(value), kind) for kind in FUNCTIONS)


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
