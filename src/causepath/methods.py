"""Measuring the methods of classes in their classes, to be put back one day."""

from __future__ import annotations

import sys
import types
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from causepath import stored
from causepath.measure import dispatching
from causepath.proxies import MeasuredFunction


def _references(name: str) -> int:
    """To a method that nobody has but its class, as `Methods.measure` counts them."""

    class Example:
        def method(self) -> None: ...

        @staticmethod
        def static_method() -> None: ...

    held = stored.members(Example)[name]
    function = held.__func__ if type(held) is staticmethod else held
    del held
    return sys.getrefcount(function)


HELD_BY_ITS_CLASS = _references("method")
HELD_BY_ITS_WRAPPER = _references("static_method")

MAX_PATCHED = 10_000
"""Methods measured at a time; more are left alone."""

Resolve = Callable[[tuple[Any, ...], dict[str, Any]], Iterable[str]]
"""From the arguments of a call the names of the tools that it may carry out."""


class Wanted(NamedTuple):
    """A function to be measured where it is defined."""

    holder: Any
    """The class, or the scope of the module."""
    name: str
    resolve: Resolve
    strict: bool

    def of(self, name: str) -> Wanted:
        """For the tool with this name: where no object is among the arguments, it is that one."""
        stored_as = stored.members(self.holder).get(self.name)
        return self._replace(resolve=only(name)) if type(stored_as) is staticmethod else self


class Methods:
    """The methods that are measured in their classes, to be put back one day."""

    def __init__(self) -> None:
        self._measured: list[tuple[weakref.ref[type], str]] = []

    def measure(self, wanted: Wanted, *, bound: int = 0, exclusive: bool = True) -> None:
        """Measure a method, unless it is `exclusive` and somebody else has its function, who may
        pickle it by its name. `bound` methods of objects are found by theirs."""
        base, name = wanted.holder, wanted.name
        kind: Any = type(stored.members(base).get(name))
        if kind is types.FunctionType:
            function, most = stored.members(base)[name], HELD_BY_ITS_CLASS
        elif kind is staticmethod or kind is classmethod:
            function, most = stored.members(base)[name].__func__, HELD_BY_ITS_WRAPPER
        else:
            return
        if (
            type(function) is not types.FunctionType
            or (exclusive and sys.getrefcount(function) > most + bound)
            or vars(function).get("__isabstractmethod__")
            or len(self._measured) >= MAX_PATCHED
        ):
            return
        measured = dispatching(function, wanted.resolve, strict=wanted.strict)
        type.__setattr__(base, name, measured if kind is types.FunctionType else kind(measured))
        self._measured.append((weakref.ref(base), name))

    def undo(self) -> None:
        for reference, name in self._measured:
            base = reference()
            held: Any = stored.members(base).get(name) if base is not None else None
            wrapper: Any = type(held) if isinstance(held, staticmethod | classmethod) else None
            measured = held.__func__ if wrapper is not None else held
            if type(measured) is MeasuredFunction:
                original = measured.__wrapped__
                type.__setattr__(base, name, wrapper(original) if wrapper else original)
        self._measured.clear()


def only(*names: str) -> Resolve:
    """Of a function that carries out these, whatever it is given."""
    return lambda _args, _kwargs: names
