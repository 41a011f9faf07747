"""What the code on a stack can reach from its variables: values, and by what name each is held.

The nearest first, and no more than a bounded number. Looks at what is stored and runs nothing.
"""

from __future__ import annotations

import functools
import types
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from causepath.code import static_attributes
from causepath.code.frames import variables
from causepath.code.nested_code import with_nested
from causepath.code.ownership import is_application, is_opaque, remember_caller

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import CodeType

    from causepath.code.frames import Frame

MAX_LOOKED_AT = 1_000
"""Values looked at in one search."""

MAX_DEPTH = 5
"""Steps from a variable."""

MAX_WIDTH = 200
"""Items of a container, and attributes of an object."""

LEAVES = frozenset({str, int, float, bool, bytes, type(None), complex, bytearray, range, slice})


class Held(NamedTuple):
    """A value, and where it is held."""

    value: Any
    key: Any = None
    """The key, or the name of the attribute, global or slot; `None` where it has none."""
    depth: int = 0
    frame: int = 0
    """From which of the frames it was reached first."""
    is_defined: bool = False
    """Whether a class or a module has it, and so does the next object or run."""


def reachable(frames: Sequence[Frame], max_depth: int = MAX_DEPTH) -> Iterator[Held]:
    """Finds the values that the code on the stack can reach, the nearest first, each where it is
    held.

    From a module's globals it takes those that the code names, and what the code names of the
    modules among them; from functions their closures and the globals that they name; from objects
    their attributes and those of their classes.
    """
    if frames:
        remember_caller(frames[0])
    named = frozenset().union(*(names_in(frame.f_code) for frame in frames))
    waiting: deque[Held] = deque()
    for number, frame in enumerate(frames):
        waiting += (Held(value, frame=number) for value in variables(frame).values())
    scopes: set[int] = set()
    for number, frame in enumerate(frames):
        if id(frame.f_globals) not in scopes:
            scopes.add(id(frame.f_globals))
            waiting += _globals(named, frame.f_globals, 0, number)
    opened: set[int] = set()
    looked_at = 0
    while waiting and looked_at < MAX_LOOKED_AT:
        held = waiting.popleft()
        if static_attributes.is_one_of(type(held.value), LEAVES):
            continue
        looked_at += 1
        yield held
        if held.depth < max_depth and id(held.value) not in opened:
            opened.add(id(held.value))
            waiting += _inside(held.value, held.depth + 1, held.frame, named)


def _inside(value: Any, depth: int, frame: int, named: frozenset[str]) -> Iterator[Held]:
    kind = type(value)
    if issubclass(kind, dict):
        if dict.__len__(value) <= MAX_WIDTH:
            for key, item in list(dict.items(value)):
                yield Held(item, key, depth, frame)
    elif issubclass(kind, list):
        for item in list.__getitem__(value, slice(MAX_WIDTH)):
            yield Held(item, None, depth, frame)
    elif issubclass(kind, tuple):
        for item in tuple.__getitem__(value, slice(MAX_WIDTH)):
            yield Held(item, None, depth, frame)
    elif kind is set or kind is frozenset:
        if len(value) <= MAX_WIDTH:
            for item in list(value):
                yield Held(item, None, depth, frame)
    elif kind is types.FunctionType:
        if is_application(value.__module__):
            for cell in value.__closure__ or ():
                if cell != types.CellType():  # an empty one, which compares with no content
                    yield Held(cell.cell_contents, None, depth, frame)
            yield from _globals(names_in(value.__code__), value.__globals__, depth, frame)
    elif kind is types.MethodType:
        yield Held(value.__self__, None, depth, frame)
        yield Held(value.__func__, None, depth, frame)
    elif kind is functools.partial:
        yield Held(value.func, None, depth, frame)
    elif issubclass(kind, type):
        yield from _members(value, depth, frame, named)
    elif kind is not types.ModuleType and not is_opaque(kind):
        attributes = static_attributes.own(value)
        if len(attributes) <= MAX_WIDTH:
            for key, item in list(attributes.items()):
                yield Held(item, key, depth, frame)
        for name, item in static_attributes.slots(value):
            yield Held(item, name, depth, frame)
        yield from _members(kind, depth, frame, named)


def _globals(
    named: frozenset[str], scope: dict[str, Any], depth: int, frame: int
) -> Iterator[Held]:
    modules = []
    for name in named:
        if name in scope:
            value = scope[name]
            yield Held(value, name, depth, frame, is_defined=True)
            if type(value) is types.ModuleType and is_application(value.__name__):
                modules.append(vars(value))
    for module in modules:
        for name in named:
            if name in module:
                yield Held(module[name], name, depth + 1, frame, is_defined=True)


def _members(kind: type, depth: int, frame: int, named: frozenset[str]) -> Iterator[Held]:
    """Finds what the classes of the application hold, and those of their methods that the code
    names."""
    for base in static_attributes.bases(kind):
        if is_application(static_attributes.module(base)):
            for name, item in list(static_attributes.members(base).items()):
                if isinstance(item, types.FunctionType | staticmethod | classmethod):
                    if name in named:
                        yield Held(item, name, depth, frame, is_defined=True)
                elif not name.startswith("__") and not static_attributes.is_one_of(
                    type(item), LEAVES
                ):
                    yield Held(item, name, depth, frame)


@functools.lru_cache(maxsize=1_000)
def names_in(code: CodeType) -> frozenset[str]:
    """The names of globals and attributes in the code of a function, and of those inside it."""
    return frozenset().union(*(one.co_names for one in with_nested(code)))
