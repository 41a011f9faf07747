"""Measuring the functions that carry out tool calls, however they are found.

They are declared (`causepath.tool`, `causepath.tools`), named in `CAUSEPATH_TOOLS`, or found by the
plugin itself: when a reply asks for a tool and the hand-written loop on the stack has a function
for it, in a dict under that name or as a global of that name, its calls are measured from then on.
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless, or_itself
from causepath.inside import inside, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence
    from types import FrameType

    from causepath.operation import Operation
    from causepath.telemetry import Telemetry

FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)

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
        return active.tool_call(tool, function, args, kwargs, read_only, only_asked)

    return inside(function, opened)


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


class FoundTools:
    """The functions of the application that were found to be tools, to be put back one day."""

    def __init__(self) -> None:
        self._undo: list[tuple[MutableMapping[str, Any], str, Any, Any]] = []
        self._left_alone: weakref.WeakSet[types.FunctionType] = weakref.WeakSet()

    @harmless(None)
    def find(self, frames: Sequence[FrameType], names: Sequence[str]) -> None:
        """Measure what the code on the stack has for tools with these names."""
        wanted = set(names)
        for table in {id(table): table for frame in frames for table in _tables(frame)}.values():
            for name in names:
                value: Any = table.get(name)
                if is_function(value):
                    wanted.discard(name)
                    if not is_inside(value):
                        table[name] = stand_in(value, name, only_asked=True)
        for scope in {id(frame.f_globals): frame.f_globals for frame in frames}.values():
            for name in wanted:
                value = scope.get(name)
                if (
                    isinstance(value, types.FunctionType)
                    and not is_inside(value)
                    # Somebody else who has it may pickle it, by the name of its module.
                    and (
                        sys.getrefcount(value) <= HELD_BY_ITS_MODULE
                        or value.__module__ != scope.get("__name__")
                    )
                    and self._is_called_by_name(value, name, scope)
                ):
                    replacement = stand_in(value, name, only_asked=True)
                    scope[name] = replacement
                    self._undo.append((scope, name, value, replacement))

    def _is_called_by_name(self, value: Any, name: str, scope: dict[str, Any]) -> bool:
        """Whether code of the module names the global, so that replacing it is of any use.

        A function that is only registered somewhere is called from there, and whoever pickles it
        there has to find it under its name.
        """
        if value in self._left_alone:
            return False
        if any(name in code.co_names for code in _code_of(scope) if code is not value.__code__):
            return True
        self._left_alone.add(value)
        return False

    @harmless(None)
    def measure_module(self, module: types.ModuleType, names: str) -> None:
        """Measure the functions of a module that `CAUSEPATH_TOOLS` names."""
        for name, original in measure_module(module, names):
            self._undo.append((vars(module), name, original, vars(module)[name]))

    @harmless(None)
    def undo(self) -> None:
        for owner, name, original, wrapper in reversed(self._undo):
            if owner.get(name) is wrapper:
                owner[name] = original
        self._undo.clear()


def _tables(frame: FrameType) -> Iterator[dict[str, Any]]:
    """The dicts among the variables that a frame sees, and those of its `self`."""
    variables = _variables(frame)
    owner = variables.get("self")
    # Asking the type, as an object may answer for an attribute in any way it likes.
    own = vars(owner) if getattr(type(owner), "__dictoffset__", 0) else {}
    for scope in (variables, own, frame.f_globals):
        yield from (value for value in list(scope.values()) if type(value) is dict)


def _variables(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame, such that the application notices nothing of it.

    Before Python 3.13 asking for those of a function writes them into a dict, which is the one that
    `locals()` gives the application, and which keeps each of them alive until the function returns.
    """
    code = frame.f_code
    if sys.version_info >= (3, 13) or not code.co_flags & inspect.CO_OPTIMIZED:
        return dict(frame.f_locals)
    if not READS_ITS_FRAME.isdisjoint(code.co_names):
        return {}
    shared = frame.f_locals
    variables = dict(shared)
    if sys.getrefcount(shared) == HELD_BY_THE_FRAME:
        shared.clear()
    return variables


HELD_BY_ITS_MODULE = 3
"""References to such a function that nobody else has: the module's, our variable, the argument."""

READS_ITS_FRAME = frozenset({"locals", "vars", "dir", "eval", "exec", "_getframe", "currentframe"})

HELD_BY_THE_FRAME = 3
"""References to such a dict that nobody else has: the frame's, our variable, the argument."""


def _code_of(scope: dict[str, Any]) -> Iterator[types.CodeType]:
    """The code of the functions and methods that a module defines, and of those inside them."""
    for value in list(scope.values()):
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        for member in members:
            function = getattr(member, "__func__", member) if members else member
            function = vars(function).get("__wrapped__", function) if is_function(function) else 0
            if isinstance(function, types.FunctionType) and function.__globals__ is scope:
                waiting = [function.__code__]
                while waiting:
                    code = waiting.pop()
                    yield code
                    waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
