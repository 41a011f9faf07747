"""Finding what carries out a tool that a reply asks for, among all that its loop has at hand.

The hand-written loop on the stack has a function for it, in a dict under that name or as a global
of that name: that is looked for at each reply. Else, and seldom, everything is looked at that the
loop can reach (`reachable.py`): registries of objects, lists of functions, methods of a toolbox,
and the function that tells tools apart by their names. What is found is measured from then on.
"""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

from causepath.calls.possible_calls import Called
from causepath.code import static_attributes
from causepath.code.frames import variables
from causepath.guard import harmless
from causepath.tool_functions import measured_functions
from causepath.tool_functions.code_exchange import MAX_NAMES, Only, Tellers, Way
from causepath.tool_functions.measured_functions import is_function

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence
    from types import ModuleType

    from causepath.calls.candidates import Candidate
    from causepath.calls.matching import Given
    from causepath.code.frames import Frame
    from causepath.otel.operation import Refused
    from causepath.tool_functions.code_exchange import Teller
    from causepath.tool_functions.search import Registries

MAX_STACKS = 16
"""Ways through the code to one tool that are told apart."""

MAX_PARTIAL = 10
"""Of what is called in the end, behind partial functions, that are looked at."""

MAX_PATIENCE = 64
"""Unmeasured calls of a tool, at most, before everything is looked at again."""


class _Account:
    """The attempts to find a tool that no table has a function for, and when to look again."""

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
        self._tellers = Tellers(_found)
        self._registries: Registries | None = None
        self._accounts: dict[str, _Account] = {}

    @harmless(None)
    def find(self, frames: Sequence[Frame], names: Sequence[str]) -> None:
        """Measure what the code on the stack has for tools with these names."""
        self._tellers.ask(names)
        scopes = {id(frame.f_globals): frame.f_globals for frame in frames}
        tables = {id(table): table for frame in frames for table in _tables(frame)}
        told: set[str] = set()
        for scope in (*tables.values(), *scopes.values()):
            for name in names:
                value: Any = scope.get(name)
                if is_function(value) and self._tellers.tell(value, name, Way(Only(name), False)):
                    told.add(name)
        self._look_further(frames, set(names), told)

    @harmless(None)
    def quiet(self, name: str) -> None:
        """Notes that nothing asks for this tool any more."""
        self._tellers.quiet(name)

    @harmless(None)
    def handed_over(self, function: object) -> None:
        """A thread is about to call this: a tool perhaps that was given up and is tried again."""
        waiting = [function]
        for _ in range(MAX_PARTIAL):
            if not waiting:
                return
            one = waiting.pop()
            if type(one) is functools.partial:
                waiting += (one.func, *one.args[:1])
            elif type(one) is types.MethodType:
                waiting.append(one.__func__)
            elif type(one) is types.FunctionType:
                self._tellers.go_on(one)

    def names(self, function: object) -> list[str]:
        """The tools that a function was found to carry out."""
        return self._tellers.names(function)

    @harmless(None)
    def missed(self, name: str) -> None:
        """Notes that nothing measured a call of this tool."""
        account = self._account(name)
        if account is not None:
            account.missed += 1

    def _account(self, name: str) -> _Account | None:
        account = self._accounts.get(name)
        if account is None and len(self._accounts) < MAX_NAMES:
            account = self._accounts[name] = _Account()
        return account

    def _look_further(self, frames: Sequence[Frame], names: set[str], told: set[str]) -> None:
        """Seldom, as it takes long: for a tool that this code never asked for; where what was found
        lasts no longer than its agent, and the tables have not `told` of it; and, ever less often,
        where calls are not measured."""
        stack = tuple(id(frame.f_code) for frame in frames)
        looked_for, again = set(), set()
        for name in names:
            account = self._account(name)
            if account is None:
                continue
            if account.is_new(stack) or account.missed >= account.patience:
                looked_for.add(name)
            elif account.place is not None and name not in told:
                again.add(name)
        for name in again:
            self._look_again(frames, name, self._accounts[name])
        if not looked_for:
            return
        if self._registries is None:
            from causepath.tool_functions.search import Registries

            self._registries = Registries(self._tellers)
        missed = {name for name in looked_for if self._accounts[name].missed}
        passing = self._registries.find(frames, looked_for, missed)
        for name in looked_for:
            account, held = self._accounts[name], passing.get(name)
            account.place = (stack[held.frame], held.depth) if held is not None else None
            if account.missed >= account.patience:
                account.patience = min(2 * account.patience, MAX_PATIENCE)
            account.missed = 0

    def _look_again(self, frames: Sequence[Frame], name: str, account: _Account) -> None:
        """No further than where it was the last time."""
        if account.place is not None and self._registries is not None:
            code, depth = account.place
            frame = next((frame for frame in frames if id(frame.f_code) == code), None)
            if frame is not None:
                self._registries.find([frame], {name}, set(), depth)

    @harmless(None)
    def measure_module(self, module: ModuleType, names: str) -> int:
        """Measure the functions of a module that `CAUSEPATH_TOOLS` names, and count them."""
        measured = measured_functions.measure_module(module, names)
        for name, original in measured:
            self._undo.append((vars(module), name, original, vars(module)[name]))
        return len(measured)

    @harmless(None)
    def undo(self) -> None:
        for owner, name, original, wrapper in reversed(self._undo):
            if owner.get(name) is wrapper:
                owner[name] = original
        self._undo.clear()
        self._tellers.undo()


def _found(teller: Teller, name: str, given: Given, strict: bool) -> Candidate | Refused | None:
    """A function is called that may carry out a tool with this name."""
    active, function = measured_functions.active, teller.function
    if active is None or function is None:
        return None
    called = Called(teller, function.__qualname__, teller.plain, teller.serial)
    return active.possible_calls.may_be(name, called, given, strict=strict)


def _tables(frame: Frame) -> Iterator[dict[str, Any]]:
    """The dicts among the variables that a frame sees, and those of its `self`."""
    seen = variables(frame)
    for scope in (seen, static_attributes.own(seen.get("self")), frame.f_globals):
        for name, value in list(scope.items()):
            if type(value) is dict and name != "__builtins__":
                yield value
