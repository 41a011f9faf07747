"""Measuring the tools that are no functions in a table: objects, lists, methods, and chains.

What carries out a tool is known by its name: the key of a registry, the `name` of an object, of a
function or of a method, or a constant in the code that tells tools apart. It is measured where it
is held: in the container, in the object, or in its class.
"""

from __future__ import annotations

import functools
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath import stored
from causepath.branches import called_for, carries_out
from causepath.inside import is_inside
from causepath.measure import FUNCTIONS as FUNCTION_TYPES
from causepath.measure import dispatching, is_function, stand_in
from causepath.methods import Methods, Wanted, only
from causepath.origin import is_application, is_opaque, is_seen_to
from causepath.proxies import MeasuredFunction
from causepath.reachable import MAX_DEPTH, Held, names_in, reachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import CodeType, FrameType

    from causepath.methods import Resolve

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
    """What was found in the objects of the application, and whose tool each of them is."""

    def __init__(self, measure_global: Callable[[Wanted], object]) -> None:
        self._measure_global = measure_global
        self._names = _Names()
        self._classes: dict[int, tuple[type, _Class]] = {}
        self._methods = Methods()

    def find(
        self,
        frames: Sequence[FrameType],
        wanted: set[str],
        missed: set[str],
        max_depth: int = MAX_DEPTH,
    ) -> dict[str, Held]:
        """Measure what the stack can reach for the `wanted` tools.

        Gives those whose function belongs to one object and has to be found again in the next, and
        where it was. Where calls of a tool were `missed`, what is measured already is not what
        carries it out.
        """
        search = _Search(self._names, self._classes, wanted, missed, frames)
        for held in reachable(frames, max_depth):
            if search.is_over(held.depth):
                break
            search.look_at(held)
        del held
        search.end()
        # Not before all that was looked at is let go of, to see who else has a function.
        for method in search.methods:
            held_as = stored.members(method.holder).get(method.name)
            bound = len(search.bound.get(id(getattr(held_as, "__func__", held_as)), ()))
            del held_as
            self._methods.measure(method, bound=bound)
        for function in search.globals:
            self._measure_global(function)
        return search.passing

    def undo(self) -> None:
        """Put the methods back."""
        self._methods.undo()


class _Search:
    """One search for what carries out the tools of one reply."""

    def __init__(
        self,
        names: _Names,
        classes: dict[int, tuple[type, _Class]],
        wanted: set[str],
        missed: set[str],
        frames: Sequence[FrameType],
    ) -> None:
        self.wanted = wanted
        self._found: dict[str, int] = {}
        """How deep they were found."""
        self._held = Held(None)
        self.passing: dict[str, Held] = {}
        self.methods: list[Wanted] = []
        self.globals: list[Wanted] = []
        self.bound: dict[int, set[int]] = {}
        """By the id of a function, those of the methods of objects that it was seen as."""
        self._names = names
        self._missed = missed
        self._on_stack = {frame.f_code for frame in frames}
        self._classes = classes
        self._toolboxes: set[int] = set()
        self._branches: dict[str, set[str]] = {}
        """By the name of a function, the tools in whose branches of the loop it is named."""
        self._in_branches: dict[str, tuple[int, dict[tuple[int, str], Wanted]]] = {}
        """By tool, how deep functions were found by these names, and which."""
        for frame in frames:
            if "globals" in names_in(frame.f_code):
                self._look_up(frame.f_globals)
            for tool in wanted:
                for name in called_for(frame.f_code, tool):
                    self._branches.setdefault(name, set()).add(tool)

    def end(self) -> None:
        """Of the functions that the branch of a tool names, the only one carries it out: where
        there are several, nobody can tell which."""
        carries: dict[tuple[int, str], list[tuple[str, Wanted]]] = {}
        for tool, (depth, functions) in self._in_branches.items():
            if len(functions) == 1 and depth <= self._found.get(tool, depth):
                ((where, function),) = functions.items()
                carries.setdefault(where, []).append((tool, function))
        for found in carries.values():
            function = found[0][1]._replace(resolve=only(*(tool for tool, _ in found)))
            (self.methods if isinstance(function.holder, type) else self.globals).append(function)

    def is_over(self, depth: int) -> bool:
        """Whether all is found, and what lies close to it too: two things may have one name."""
        return self._found.keys() == self.wanted and depth > 1 + max(self._found.values())

    def look_at(self, held: Held) -> None:
        self._held = held
        value, kind = held.value, type(held.value)
        if kind is MeasuredFunction:
            self._measured_already(held)
        elif kind in FUNCTION_TYPES:
            if kind is types.MethodType:
                self.bound.setdefault(id(value.__func__), set()).add(id(value))
            self._function(held)
        elif kind is staticmethod or kind is classmethod:
            self._branch(held, value.__func__)
            self._chain(held, value.__func__)
        elif kind is types.ModuleType:
            if is_application(value.__name__):
                self._look_up(vars(value))
        else:
            if type(held.key) is str and held.key in self.wanted:
                self._entry(held, held.key)
            if kind in CONTAINERS:
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

    def _measured_already(self, held: Held) -> None:
        names = {held.key if type(held.key) is str else "", getattr(held.value, "__name__", "")}
        for name in names & self.wanted - self._missed:
            self._done(name, passing=not held.is_global)

    # -- functions

    def _function(self, held: Held) -> None:
        function = held.value.__func__ if type(held.value) is types.MethodType else held.value
        plain = type(function) is types.FunctionType
        names = {held.key if type(held.key) is str else "", function.__name__ if plain else ""}
        for name in names & self.wanted:
            if held.is_global:
                self.globals.append(Wanted(held.holder, held.key, only(name), strict=False))
            elif isinstance(held.holder, type):
                self.methods.append(Wanted(held.holder, held.key, only(name), strict=False))
            elif held.put(stand_in(held.value, name, only_asked=True)):
                self._done(name, passing=True)
        if plain:
            self._branch(held, function)
            self._chain(held, function)

    def _branch(self, held: Held, function: Any) -> None:
        """A function that the loop names where it has told a tool by its name."""
        if not self._branches or not (held.is_global or isinstance(held.holder, type)):
            return
        tools = self._branches.get(held.key)
        if (
            tools
            and type(function) is types.FunctionType
            and is_application(function.__module__)
            and function.__code__ not in self._on_stack
        ):
            wanted = Wanted(held.holder, held.key, only(""), strict=True)
            for tool in tools:
                depth, functions = self._in_branches.setdefault(tool, (held.depth, {}))
                if held.depth <= depth:  # the nearest; others far away may have the name too
                    functions[id(function), held.key] = wanted

    def _chain(self, held: Held, function: Any) -> None:
        """A function that tells tools apart by their names, which are constants in its code."""
        if type(function) is not types.FunctionType or not is_application(function.__module__):
            return
        code = function.__code__
        if code in self._on_stack or not code.co_argcount + code.co_kwonlyargcount:
            return
        constants = _texts_in(code)
        names = names_in(code)
        if not any(map(names.isdisjoint, ASKING)) or not any(
            carries_out(code, tool) for tool in self.wanted & constants
        ):
            return
        resolve = _said(constants)
        if held.is_global:
            self.globals.append(Wanted(held.holder, held.key, resolve, strict=True))
        elif isinstance(held.holder, type):
            self.methods.append(Wanted(held.holder, held.key, resolve, strict=True))
        elif type(held.value) is not staticmethod and type(held.value) is not classmethod:
            held.put(dispatching(held.value, resolve, strict=True))

    def _look_up(self, scope: dict[str, Any]) -> None:
        """A module whose functions are looked up by the names of tools."""
        for name in self.wanted:
            for before in BEFORE:
                function = scope.get(before + name)
                if type(function) is types.FunctionType:
                    self.globals.append(Wanted(scope, before + name, only(name), strict=False))

    # -- objects

    def _entry(self, held: Held, name: str) -> None:
        """What a registry has under the name of a tool."""
        value, kind = held.value, type(held.value)
        if kind is dict:
            parts = {key: Held(item, value, key) for key, item in list(value.items())}
        elif kind is list:
            parts = {index: Held(item, value, index) for index, item in enumerate(value)}
        elif kind is tuple:
            parts = {index: Held(item) for index, item in enumerate(value)}
        elif issubclass(kind, type):
            self._class_of_tool(value, name)
            return
        else:
            if not is_opaque(kind):
                self._object(value, name)
            return
        if len(parts) > MAX_PARTS:
            return
        functions = _chosen({key: part for key, part in parts.items() if is_function(part.value)})
        if kind is tuple and functions:
            items = [
                stand_in(item, name, only_asked=True) if index in functions else item
                for index, item in enumerate(value)
            ]
            if held.put(tuple(items)):
                self._done(name, passing=True)
        for part in () if kind is tuple else functions.values():
            if part.put(stand_in(part.value, name, only_asked=True)):
                self._done(name, passing=True)
        for part in parts.values():
            if isinstance(type(part.value), type) and issubclass(type(part.value), type):
                self._class_of_tool(part.value, name)
            elif not is_opaque(type(part.value)):
                self._object(part.value, name)

    def _object(self, value: object, name: str) -> None:
        """An object that carries out the tool: by a function it has, or a method of its class."""
        own = stored.own(value)
        parts = {key: Held(item, own, key) for key, item in own.items() if is_function(item)}
        for key, slot, item in stored.slots(value):
            if is_function(item):
                parts[key] = Held(item, value, slot)
        found = False
        for part in _chosen(parts).values():
            if is_inside(part.value):
                found |= name not in self._missed
            else:
                found |= part.put(stand_in(part.value, name, only_asked=True))
        methods = self._class(type(value)).methods
        self.methods += (method.of(name) for method in methods)
        if methods and not self._names.add(value, name):
            self._names.add(type(value), name)
        if found or (methods and name not in self._missed):
            self._done(name, passing=found or name not in self._names_of(value))

    def _class_of_tool(self, kind: type, name: str) -> None:
        """A class whose instances carry out the tool, one a call perhaps."""
        methods = self._class(kind).methods
        if methods:
            self.methods += (method.of(name) for method in methods)
            self._names.add(kind, name)
            if name not in self._missed:
                self._done(name)

    def _toolbox(self, kind: type) -> None:
        """A class with methods that are named after tools."""
        if id(kind) in self._toolboxes:
            return
        self._toolboxes.add(id(kind))
        found = self._class(kind).members
        for name in self.wanted if found else ():
            for before in BEFORE:
                base = found.get(before + name.replace("-", "_"))
                if base is not None:
                    method = before + name.replace("-", "_")
                    self.methods.append(Wanted(base, method, only(name), strict=False))

    def _class(self, kind: type) -> _Class:
        known = self._classes.get(id(kind))
        if known is None:
            if len(self._classes) >= MAX_CLASSES:
                self._classes.clear()
            known = self._classes[id(kind)] = kind, _Class.of(kind, self._names.of_call)
        return known[1]

    def _names_of(self, value: object) -> set[str]:
        return names_of(value, self._class(type(value)).names)


class _Class(NamedTuple):
    """What is the same for all objects of a class."""

    names: frozenset[str]
    """The texts that may be the name of such an object."""
    methods: tuple[Wanted, ...]
    """Those that carry out a tool, if such an object is one."""
    members: dict[str, type]
    """The methods that the application has written, and in which class."""

    @classmethod
    def of(cls, kind: type, resolve: Resolve) -> _Class:
        names: set[str] = set()
        methods: list[Wanted] = []
        members: dict[str, type] = {}
        bases = [base for base in stored.bases(kind) if not is_opaque(base)]
        if any(is_seen_to(base) for base in stored.bases(kind)):
            return cls(frozenset(), (), {})
        defined: dict[str, tuple[type, Any]] = {}
        for base in reversed(bases):
            for name, value in list(stored.members(base).items()):
                defined[name] = base, value
        for name, (base, value) in defined.items():
            if isinstance(value, types.FunctionType | staticmethod | classmethod):
                if name in METHODS:
                    methods.append(Wanted(base, name, resolve, strict=False))
                if is_application(base.__module__) and name.rpartition("__")[2]:
                    members[name] = base
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
        return True

    def _of(self, value: object) -> list[str] | None:
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0]() is value else None

    def of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[str]:  # noqa: ARG002
        """Of the object or class whose method is called with these arguments."""
        if not args:
            return ()
        value = args[0]
        known = self._of(value)
        if known is None:
            kind = (
                value
                if isinstance(type(value), type) and issubclass(type(value), type)
                else type(value)
            )
            known = next((k for base in stored.bases(kind) if (k := self._of(base))), None)
        return known if known is not None else names_of(value)


def names_of(value: object, of_class: Iterable[str] | None = None) -> set[str]:
    """What an object says its name is: as an attribute, in its declaration, or by a property that
    does nothing but to say so."""
    found = set(of_class or ())
    if of_class is None:
        for name in (*NAMES, *SCHEMAS):
            found |= _names_in((stored.member(type(value), name) or (None, None))[1])
    own = stored.own(value)
    for name in (*NAMES, *SCHEMAS):
        if name in own:
            found |= _names_in(own[name])
    for name, _, item in stored.slots(value):
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


def _chosen(parts: dict[Any, Held]) -> dict[Any, Held]:
    """Of several functions, those that carry out the tool: by what they are called."""
    known = {key: part for key, part in parts.items() if key in FUNCTIONS}
    return known or (parts if len(parts) == 1 else {})


def _said(names: frozenset[str]) -> Resolve:
    """Which of the names is among the arguments of a call: as a text, or as that of an object."""

    def said(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        found = []
        for value in (*args, *kwargs.values()):
            if type(value) is str:
                found.append(value)
                continue
            attributes = value if type(value) is dict else stored.own(value)
            for inside in (attributes, attributes.get("function")):
                inside = inside if type(inside) is dict else stored.own(inside)
                name = inside.get("name")
                if type(name) is str:
                    found.append(name)
        return [name for name in found if name in names]

    return said


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
