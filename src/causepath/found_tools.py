"""Finding what carries out a tool that a reply asks for, among all that its loop has at hand.

The hand-written loop on the stack has a function for it, in a dict under that name or as a global
of that name: that is looked for at each reply. Else, and seldom, everything is looked at that the
loop can reach (`reachable.py`): registries of objects, lists of functions, methods of a toolbox,
and the function that tells tools apart by their names. What is found is measured from then on.
"""

from __future__ import annotations

import inspect
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from causepath import stored
from causepath.callsite import variables
from causepath.guard import harmless
from causepath.inside import is_inside
from causepath.measure import CACHED, dispatching, is_function, measure_module, stand_in
from causepath.nested import with_nested

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence
    from types import FrameType

    from causepath.methods import Wanted
    from causepath.registries import Registries

MAX_NAMES = 1_000
"""Tools that are kept an account of."""

MAX_STACKS = 16
"""Ways through the code to one tool that are told apart."""

MAX_PATIENCE = 64
"""Unmeasured calls of a tool, at most, before everything is looked at again."""


def _references() -> int:
    """To a function that nobody has but its module, as `_measure_global` counts them. Python
    counts its own in another way from release to release."""
    scope: dict[str, Any] = {"function": lambda: None}
    value = scope.get("function")
    return sys.getrefcount(value)


HELD_BY_ITS_MODULE = _references()


class _Account:
    """Of a tool that no table has a function for: when to look further for it again."""

    __slots__ = ("missed", "patience", "place", "stacks")

    def __init__(self) -> None:
        self.missed = 0
        """Calls that nothing measured, since the last look."""
        self.patience = 1
        """How many of them it takes."""
        self.place: tuple[int, int] | None = None
        """Where what was found belongs to one object, and the next agent may have another: the
        code of the frame that reaches it, and in how many steps."""
        self.stacks: set[tuple[int, ...]] = set()
        """The code that has asked for it."""

    def is_new(self, stack: tuple[int, ...]) -> bool:
        if stack in self.stacks or len(self.stacks) >= MAX_STACKS:
            return False
        self.stacks.add(stack)
        return True


class FoundTools:
    """The functions of the application that were found to be tools, to be put back one day."""

    def __init__(self) -> None:
        self._undo: list[tuple[MutableMapping[str, Any], str, Any, Any]] = []
        self._left_alone: weakref.WeakSet[Any] = weakref.WeakSet()
        self._registries: Registries | None = None
        self._accounts: dict[str, _Account] = {}

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
            for name in list(wanted):
                if self._measure_global(scope, name):
                    wanted.discard(name)
        for name in names:
            account = self._accounts.get(name)
            if account is not None and account.missed >= account.patience:
                wanted.add(name)  # what was found is not what is called
        if wanted:
            self._look_further(frames, wanted)

    @harmless(None)
    def missed(self, name: str) -> None:
        """Nothing measured a call of this tool."""
        account = self._account(name)
        if account is not None:
            account.missed += 1

    def _account(self, name: str) -> _Account | None:
        account = self._accounts.get(name)
        if account is None and len(self._accounts) < MAX_NAMES:
            account = self._accounts[name] = _Account()
        return account

    def _look_further(self, frames: Sequence[FrameType], names: set[str]) -> None:
        """Seldom, as it takes long: for a tool that this code never asked for; where what was found
        lasts no longer than its agent; and, ever less often, where calls are not measured."""
        stack = tuple(id(frame.f_code) for frame in frames)
        looked_for, again = set(), set()
        for name in names:
            account = self._account(name)
            if account is None:
                continue
            if account.is_new(stack) or account.missed >= account.patience:
                looked_for.add(name)
            elif account.place is not None:
                again.add(name)
        for name in again:
            self._look_again(frames, name, self._accounts[name])
        if not looked_for:
            return
        if self._registries is None:
            from causepath.registries import Registries

            self._registries = Registries(self._measure_wanted)
        missed = {name for name in looked_for if self._accounts[name].missed}
        passing = self._registries.find(frames, looked_for, missed)
        for name in looked_for:
            account, held = self._accounts[name], passing.get(name)
            account.place = (stack[held.frame], held.depth) if held is not None else None
            if account.missed >= account.patience:
                account.patience = min(2 * account.patience, MAX_PATIENCE)
            account.missed = 0

    def _look_again(self, frames: Sequence[FrameType], name: str, account: _Account) -> None:
        """No further than where it was the last time."""
        if account.place is not None and self._registries is not None:
            code, depth = account.place
            frame = next((frame for frame in frames if id(frame.f_code) == code), None)
            if frame is not None:
                self._registries.find([frame], {name}, set(), depth)

    def _measure_global(self, scope: dict[str, Any], name: str) -> bool:
        """Measure the global function of this name, where it is called by it; whether it is."""
        value: Any = scope.get(name)
        if not isinstance(value, types.FunctionType | CACHED):
            return False
        if is_inside(value):
            return True
        if (
            # Somebody else who has it may pickle it, by the name of its module.
            sys.getrefcount(value) > HELD_BY_ITS_MODULE and _is_found_in(scope, value.__module__)
        ) or not self._is_called_by_name(value, name, scope):
            return False
        self._replace(scope, name, value, stand_in(value, name, only_asked=True))
        return True

    def _measure_wanted(self, wanted: Wanted) -> None:
        """Likewise, where the search has seen that it is called."""
        scope, name = wanted.holder, wanted.name
        value = scope.get(name)
        if type(value) is types.FunctionType and (
            sys.getrefcount(value) <= HELD_BY_ITS_MODULE
            or not _is_found_in(scope, value.__module__)
        ):
            measured = dispatching(value, wanted.resolve, strict=wanted.strict)
            self._replace(scope, name, value, measured)

    def _replace(self, scope: dict[str, Any], name: str, value: Any, replacement: Any) -> None:
        scope[name] = replacement
        self._undo.append((scope, name, value, replacement))

    def _is_called_by_name(self, value: Any, name: str, scope: dict[str, Any]) -> bool:
        """Whether code of the module names the global, so that replacing it is of any use.

        A function that is only registered somewhere is called from there, and whoever pickles it
        there has to find it under its name.
        """
        if value in self._left_alone:
            return False
        own = getattr(inspect.unwrap(value), "__code__", None)
        if any(name in code.co_names for code in _code_of(scope) if code is not own):
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
        if self._registries is not None:
            self._registries.undo()


def _is_found_in(scope: dict[str, Any], module: str) -> bool:
    """Whether pickle looks in this scope for what is of that module: in a worker process, the code
    of the main module runs in a copy."""
    return stored.own(sys.modules.get(module)) is scope


def _tables(frame: FrameType) -> Iterator[dict[str, Any]]:
    """The dicts among the variables that a frame sees, and those of its `self`."""
    seen = variables(frame)
    for scope in (seen, stored.own(seen.get("self")), frame.f_globals):
        yield from (value for value in list(scope.values()) if type(value) is dict)


def _code_of(scope: dict[str, Any]) -> Iterator[types.CodeType]:
    """The code of the functions and methods that a module defines, and of those inside them."""
    for value in list(scope.values()):
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        for member in members:
            function = getattr(member, "__func__", member) if members else member
            function = vars(function).get("__wrapped__", function) if is_function(function) else 0
            if isinstance(function, types.FunctionType) and function.__globals__ is scope:
                yield from with_nested(function.__code__)
