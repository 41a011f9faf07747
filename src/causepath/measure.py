"""Measuring the functions that carry out tool calls, however they are found.

They are declared (`causepath.tool`, `causepath.tools`), named in `CAUSEPATH_TOOLS`, or found by the
plugin itself: when a reply asks for a tool and the hand-written loop on the stack has a function
for it, in a dict under that name or as a global of that name, its calls are measured from then on.
"""

from __future__ import annotations

import fnmatch
import functools
import sys
import types
from typing import TYPE_CHECKING, Any, cast

from causepath.guard import harmless
from causepath.inside import MEASURED, inside, is_inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping, Sequence
    from types import FrameType

    from causepath.spans import Operation, Telemetry

FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)

telemetry: Callable[[], Telemetry | None] = lambda: None  # noqa: E731
"""Who measures, if anybody does just now. Set by the instrumentor."""


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

    def opened(args: Any, kwargs: Any) -> Operation | None:
        active = telemetry()
        if active is None:
            return None
        return active.tool_call(tool, function, args, kwargs, read_only, only_asked)

    return inside(function, opened, tool)


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

    @harmless(None)
    def find(self, frames: Sequence[FrameType], names: Sequence[str]) -> None:
        """Measure what the code on the stack has for tools with these names."""
        wanted = dict.fromkeys(names)
        seen: set[int] = set()
        for frame in frames:
            for scope in (frame.f_locals, frame.f_globals):
                if id(scope) in seen:
                    continue
                seen.add(id(scope))
                for table in _tables(scope):
                    for name in wanted:
                        value = table.get(name)
                        if is_function(value) and not is_inside(value):
                            table[name] = self._replacement(value, name)
            for name in wanted:
                value = frame.f_globals.get(name)
                if isinstance(value, types.FunctionType) and not is_inside(value):
                    self._replace_global(frame.f_globals, name, value)

    @harmless(None)
    def measure_module(self, module: types.ModuleType, names: str) -> None:
        """Measure the functions of a module that `CAUSEPATH_TOOLS` names."""
        for name, original in measure_module(module, names):
            self._undo.append((vars(module), name, original, vars(module)[name]))

    def undo(self) -> None:
        for owner, name, original, wrapper in reversed(self._undo):
            if owner.get(name) is wrapper:
                owner[name] = original
        self._undo.clear()

    def _replacement(self, function: Any, name: str) -> Callable[..., Any]:
        """The measured function, which also takes the place where it is defined.

        So there is one of it: whoever compares finds it equal, and it pickles as before.
        """
        wrapper = measured(function, name, only_asked=True)
        module = sys.modules.get(getattr(function, "__module__", None) or "")
        home = {} if module is None else vars(module)
        defined_as = getattr(function, "__name__", "")
        if home.get(defined_as) is function:
            home[defined_as] = wrapper
            self._undo.append((home, defined_as, function, wrapper))
            return wrapper
        found: Any = home.get(defined_as)
        if getattr(found, MEASURED, None) == name and found.__wrapped__ is function:
            return cast("Callable[..., Any]", found)
        return wrapper

    def _replace_global(self, scope: dict[str, Any], name: str, function: Any) -> None:
        wrapper = self._replacement(function, name)
        if scope.get(name) is function:
            scope[name] = wrapper
            self._undo.append((scope, name, function, wrapper))


def _tables(scope: Any) -> Iterator[dict[str, Any]]:
    """The dicts among the variables of a scope, and those of `self`."""
    for value in list(scope.values()):
        if type(value) is dict:
            yield value
    owner = scope.get("self")
    if owner is not None and hasattr(owner, "__dict__"):
        for value in list(vars(owner).values()):
            if type(value) is dict:
                yield value
