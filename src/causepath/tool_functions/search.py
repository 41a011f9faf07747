"""Finding the tools that are no functions in a table: objects, lists, methods, and chains.

What carries out a tool is known by its name: the key of a registry, the `name` of an object, of a
function or of a method, or a constant in the code that tells tools apart.
"""

from __future__ import annotations

import functools
import types
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.code import static_attributes
from causepath.code.name_branches import called_for, carries_out
from causepath.code.ownership import is_application, is_opaque, is_seen_to
from causepath.code.reachable import MAX_DEPTH, Held, names_in, reachable
from causepath.tool_functions.code_exchange import MAX_NAMES, Only, Way
from causepath.tool_functions.measured_functions import FUNCTIONS as FUNCTION_TYPES
from causepath.tool_functions.measured_functions import is_function

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, FunctionType

    from causepath.code.frames import Frame
    from causepath.tool_functions.code_exchange import Tellers

CONTAINERS = frozenset({dict, list, tuple, set, frozenset})

MAX_PARTS = 20
"""Of the record that a registry has of one tool."""

MAX_TEXTS = 1_000

METHODS = (
    "run", "arun", "_run", "_arun", "execute", "aexecute", "_execute", "_aexecute",
    "invoke", "ainvoke", "_invoke", "_ainvoke", "call", "acall", "_call", "_acall", "__call__",
    "use", "handle", "handler", "perform", "apply", "process", "forward", "fn", "func", "function",
    "run_async", "execute_async", "invoke_async", "call_async", "run_sync", "call_tool", "run_tool",
)  # fmt: skip
"""What classes of tools call the method that carries one out."""

FUNCTIONS = (
    *METHODS, "callable", "callback", "coroutine", "entrypoint", "implementation", "impl",
    "executor", "action", "target", "method", "_fn", "_func", "_function", "_handler", "_callback",
)  # fmt: skip
"""What a record or object of a tool calls the function that carries it out."""

NAMES = ("name", "tool_name", "_name")
"""What an object calls its own name."""

SCHEMAS = ("schema", "definition", "spec", "tool", "tool_schema", "tool_spec", "declaration")
"""What an object calls the declaration that says its name."""

BEFORE = (
    "", "_", "tool_", "_tool_", "do_", "_do_", "handle_", "_handle_", "run_", "_run_",
    "execute_", "_execute_", "call_", "on_", "_on_",
)  # fmt: skip
"""What toolboxes put before the name of a tool to make that of a method."""

ASKING = (
    frozenset({"create", "stream", "parse", "stream_text"}),
    frozenset({"messages", "responses", "completions"}),
)
"""Names in code that asks a model: one of each, and it is the loop rather than a tool."""


MAX_CLASSES = 200
"""Classes that are remembered, and so kept, to be looked at once."""


class Registries:
    """The tools found in the objects of the application."""

    def __init__(self, tellers: Tellers) -> None:
        self._tellers = tellers
        self._names = _Names()
        self._classes: dict[int, tuple[type, _Class]] = {}

    def find(
        self,
        frames: Sequence[Frame],
        wanted: set[str],
        missed: set[str],
        max_depth: int = MAX_DEPTH,
    ) -> dict[str, Held]:
        """Measure what the stack can reach for the `wanted` tools.

        Gives those whose function belongs to one object and has to be found again in the next, and
        where it was. Where calls of a tool were `missed`, what is measured already is not what
        carries it out.
        """
        search = _Search(self._tellers, self._names, self._classes, wanted, missed, frames)
        for held in reachable(frames, max_depth):
            if search.is_over(held.depth):
                break
            search.look_at(held)
        search.end()
        return search.passing


class _Search:
    """One search for what carries out the tools of one reply."""

    def __init__(
        self,
        tellers: Tellers,
        names: _Names,
        classes: dict[int, tuple[type, _Class]],
        wanted: set[str],
        missed: set[str],
        frames: Sequence[Frame],
    ) -> None:
        self.wanted = wanted
        self._found: dict[str, int] = {}
        """How deep they were found."""
        self._held = Held(None)
        self.passing: dict[str, Held] = {}
        self._tellers = tellers
        self._names = names
        self._missed = missed
        self._on_stack = {frame.f_code for frame in frames}
        self._classes = classes
        self._toolboxes: set[int] = set()
        self._branches: dict[str, set[str]] = {}
        """By the name of a function, the tools in whose branches of the loop it is named."""
        self._in_branches: dict[str, tuple[int, dict[int, FunctionType]]] = {}
        """By tool, how deep functions were found by these names, and which."""
        for frame in frames:
            if "globals" in names_in(frame.f_code):
                self._look_up(frame.f_globals)
            for tool in wanted:
                for name in called_for(frame.f_code, tool):
                    self._branches.setdefault(name, set()).add(tool)

    def end(self) -> None:
        """Ends the search.

        Of the functions that the branch of a tool names, the only one carries it out; of several,
        none is known to.
        """
        for tool, (depth, functions) in self._in_branches.items():
            if len(functions) == 1 and depth <= self._found.get(tool, depth):
                (function,) = functions.values()
                self._tell(function, tool, Way(Only(tool), strict=True))

    def is_over(self, depth: int) -> bool:
        """Tells whether all is found, and what lies close to it too: several things may have one
        name."""
        return self._found.keys() == self.wanted and depth > 2 + max(self._found.values())

    def look_at(self, held: Held) -> None:
        self._held = held
        value, kind = held.value, type(held.value)
        if static_attributes.is_one_of(kind, FUNCTION_TYPES):
            self._function(held)
        elif kind is staticmethod or kind is classmethod:
            self._branch(held, value.__func__)
            self._chain(value.__func__)
        elif kind is types.ModuleType:
            if is_application(value.__name__):
                self._look_up(vars(value))
        else:
            if type(held.key) is str and held.key in self.wanted:
                self._entry(held, held.key)
            if static_attributes.is_one_of(kind, CONTAINERS):
                return
            if issubclass(kind, type):
                self._toolbox(value)
            elif not is_opaque(kind):
                for name in self._names_of(value) & self.wanted:
                    self._object(value, name)
                self._toolbox(kind)

    def _done(self, name: str, *, passing: bool = False) -> None:
        self._found.setdefault(name, self._held.depth)
        if passing:
            self.passing[name] = self._held

    def _tell(self, function: Any, name: str, way: Way) -> bool:
        return self._tellers.tell(function, name, way)

    # -- functions

    def _function(self, held: Held) -> None:
        function = held.value.__func__ if type(held.value) is types.MethodType else held.value
        plain = type(function) is types.FunctionType
        names = {held.key if type(held.key) is str else "", function.__name__ if plain else ""}
        for name in names & self.wanted:
            if self._tell(held.value, name, Way(Only(name), strict=False)):
                self._done(name, passing=not held.is_defined)
        if plain:
            self._branch(held, function)
            self._chain(function)

    def _branch(self, held: Held, function: Any) -> None:
        """A function that the loop names where it has told a tool by its name."""
        if not self._branches or not held.is_defined:
            return
        tools = self._branches.get(held.key)
        if (
            tools
            and type(function) is types.FunctionType
            and is_application(function.__module__)
            and function.__code__ not in self._on_stack
        ):
            for tool in tools:
                depth, functions = self._in_branches.setdefault(tool, (held.depth, {}))
                if held.depth <= depth:  # the nearest; others far away may have the name too
                    functions[id(function)] = function

    def _chain(self, function: Any) -> None:
        """A function that tells tools apart by their names, which are constants in its code."""
        if type(function) is not types.FunctionType or not is_application(function.__module__):
            return
        code = function.__code__
        if code in self._on_stack or not code.co_argcount + code.co_kwonlyargcount:
            return
        constants = _texts_in(code)
        names = names_in(code)
        if not any(map(names.isdisjoint, ASKING)):
            return
        for tool in self.wanted & constants:
            if carries_out(code, tool):
                self._tell(function, tool, Way(_Said(tool), strict=True))

    def _look_up(self, scope: dict[str, Any]) -> None:
        """A module whose functions are looked up by the names of tools."""
        for name in self.wanted:
            for before in BEFORE:
                function = scope.get(before + name)
                if type(function) is types.FunctionType:
                    self._tell(function, name, Way(Only(name), strict=False))

    # -- objects

    def _entry(self, held: Held, name: str) -> None:
        """Looks up what a registry has under the name of a tool."""
        value, kind = held.value, type(held.value)
        parts: dict[Any, Any]
        if kind is dict:
            parts = dict(value)
        elif kind is list or kind is tuple:
            parts = dict(enumerate(value))
        elif issubclass(kind, type):
            self._class_of_tool(value, name)
            return
        else:
            if not is_opaque(kind):
                self._object(value, name)
            return
        if len(parts) > MAX_PARTS:
            return
        for function in _chosen({k: v for k, v in parts.items() if is_function(v)}).values():
            if self._tell(function, name, Way(Only(name), strict=False)):
                self._done(name, passing=True)
        for part in parts.values():
            if isinstance(type(part), type) and issubclass(type(part), type):
                self._class_of_tool(part, name)
            elif not is_opaque(type(part)):
                self._object(part, name)

    def _object(self, value: object, name: str) -> None:
        """An object that carries out the tool: by a function it has, or a method of its class."""
        parts = {
            key: item
            for key, item in (
                *list(static_attributes.own(value).items()),
                *static_attributes.slots(value),
            )
            if is_function(item)
        }
        found = False
        for function in _chosen(parts).values():
            found |= self._tell(function, name, Way(Only(name), strict=False))
        methods = self._class(type(value)).methods
        for method in methods:
            self._tell_method(method, name)
        if methods and not self._names.add(value, name):
            self._names.add(type(value), name)
        if found or (methods and name not in self._missed):
            self._done(name, passing=found or name not in self._names_of(value))

    def _tell_method(self, method: Any, name: str) -> None:
        """A method that carries out a tool, if its object is one. Where no object is among the
        arguments, it is that one."""
        of_call = Only(name) if type(method) is staticmethod else self._names.of_call
        self._tell(method, name, Way(of_call, strict=False))

    def _class_of_tool(self, kind: type, name: str) -> None:
        """A class whose instances carry out the tool, one a call perhaps."""
        methods = self._class(kind).methods
        for method in methods:
            self._tell_method(method, name)
        if methods:
            self._names.add(kind, name)
            if name not in self._missed:
                self._done(name)

    def _toolbox(self, kind: type) -> None:
        """A class with methods that are named after tools."""
        if id(kind) in self._toolboxes:
            return
        self._toolboxes.add(id(kind))
        members = self._class(kind).members
        for name in self.wanted if members else ():
            for before in BEFORE:
                method = members.get(before + name.replace("-", "_"))
                if method is not None:
                    self._tell(method, name, Way(Only(name), strict=False))

    def _class(self, kind: type) -> _Class:
        known = self._classes.get(id(kind))
        if known is None:
            if len(self._classes) >= MAX_CLASSES:
                self._classes.clear()
            known = self._classes[id(kind)] = kind, _Class.of(kind)
        return known[1]

    def _names_of(self, value: object) -> set[str]:
        return names_of(value, self._class(type(value)).names)


class _Class(NamedTuple):
    """The facts that are the same for all objects of a class."""

    names: frozenset[str]
    """The texts that may be the name of such an object."""
    methods: tuple[Any, ...]
    """Those that carry out a tool, if such an object is one."""
    members: dict[str, Any]
    """The methods that the application has written."""

    @classmethod
    def of(cls, kind: type) -> _Class:
        names: set[str] = set()
        methods: list[Any] = []
        members: dict[str, Any] = {}
        bases = [base for base in static_attributes.bases(kind) if not is_opaque(base)]
        if any(is_seen_to(base) for base in static_attributes.bases(kind)):
            return cls(frozenset(), (), {})
        defined: dict[str, tuple[type, Any]] = {}
        for base in reversed(bases):
            for name, value in list(static_attributes.members(base).items()):
                defined[name] = base, value
        for name, (base, value) in defined.items():
            if isinstance(value, types.FunctionType | staticmethod | classmethod):
                if name in METHODS:
                    methods.append(value)
                if is_application(static_attributes.module(base)) and name.rpartition("__")[2]:
                    members[name] = value
            elif name in NAMES or name in SCHEMAS:
                names.update(_names_in(value))
        return cls(frozenset(names), tuple(methods), members)


class _Names:
    """The names that objects and classes are known by as tools, which are not kept alive by it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], list[str]]] = {}

    def add(self, value: object, name: str) -> bool:
        """Remember the name; false where nobody can tell when the object is gone."""
        known = self._of(value)
        if known is None:
            key = id(value)
            try:
                reference = weakref.ref(value, lambda _: self._known.pop(key, None))
            except TypeError:
                return False
            known = []
            self._known[key] = reference, known
        if name not in known:
            known.append(name)
            del known[:-MAX_NAMES]
        return True

    def _of(self, value: object) -> list[str] | None:
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0]() is value else None

    def of_call(self, values: Sequence[Any]) -> Iterable[str]:
        """Names the tool of the object or class whose method is called with these."""
        if not values:
            return ()
        value = values[0]
        known = self._of(value)
        if known is None:
            kind = (
                value
                if isinstance(type(value), type) and issubclass(type(value), type)
                else type(value)
            )
            known = next(
                (k for base in static_attributes.bases(kind) if (k := self._of(base))), None
            )
        return known if known is not None else names_of(value)


def names_of(value: object, of_class: Iterable[str] | None = None) -> set[str]:
    """Lists the names that an object gives itself: as an attribute, in its declaration, or by a
    property that only returns one."""
    found = set(of_class or ())
    if of_class is None:
        for name in (*NAMES, *SCHEMAS):
            found |= _names_in((static_attributes.member(type(value), name) or (None, None))[1])
    own = static_attributes.own(value)
    for name in (*NAMES, *SCHEMAS):
        if name in own:
            found |= _names_in(own[name])
    for name, item in static_attributes.slots(value):
        if name in NAMES or name in SCHEMAS:
            found |= _names_in(item)
    return found


def _names_in(value: Any) -> set[str]:
    kind = type(value)
    if kind is str:
        return {value}
    if kind is property:
        code = getattr(value.fget, "__code__", None)
        return set(_texts_in(code)) if code is not None else set()
    if kind is dict:
        function = value.get("function")
        return _names_in(value.get("name")) | (
            _names_in(function.get("name")) if type(function) is dict else set()
        )
    return set()


def _chosen(parts: dict[Any, Any]) -> dict[Any, Any]:
    """Picks, of several functions, those that carry out the tool, by their names."""
    known = {key: part for key, part in parts.items() if key in FUNCTIONS}
    return known or (parts if len(parts) == 1 else {})


@dataclass(frozen=True)
class _Said(Only):
    """A function that is given the name of a tool: as a text, or as that of an object."""

    def __call__(self, values: Sequence[Any]) -> Iterable[str]:
        for value in values:
            if type(value) is str:
                if value == self.name:
                    return (self.name,)
                continue
            attributes = value if type(value) is dict else static_attributes.own(value)
            for inside in (attributes, attributes.get("function")):
                inside = inside if type(inside) is dict else static_attributes.own(inside)
                if inside.get("name") == self.name:
                    return (self.name,)
        return ()


@functools.lru_cache(maxsize=1_000)
def _texts_in(code: CodeType) -> frozenset[str]:
    """The texts among the constants of a function and of those inside it."""
    found: set[str] = set()
    waiting: list[Any] = [code]
    while waiting and len(found) < MAX_TEXTS:
        for value in waiting.pop().co_consts:
            if type(value) is str:
                found.add(value)
            elif type(value) is tuple or type(value) is frozenset:
                found.update(item for item in value if type(item) is str)
            elif type(value) is types.CodeType:
                waiting.append(value)
    return frozenset(found)
