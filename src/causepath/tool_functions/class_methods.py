"""Measuring the methods of a framework's classes in their classes, to be put back one day."""

from __future__ import annotations

import types
import weakref
from typing import TYPE_CHECKING, Any

from causepath.code import static_attributes
from causepath.tool_functions.measured_functions import dispatching
from causepath.tool_functions.stand_in import MeasuredFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_PATCHED = 10_000
"""Methods measured at a time; more are left alone."""


class Methods:
    """The methods that are measured in their classes, to be put back one day."""

    def __init__(self) -> None:
        self._measured: list[tuple[weakref.ref[type], str]] = []

    def measure(self, base: type, name: str, names: Callable[[], Iterable[str]]) -> None:
        """Measure a method, which carries out the tools that `names` says just then."""
        held = static_attributes.members(base).get(name)
        kind: Any = type(held)
        function: Any = held.__func__ if isinstance(held, staticmethod | classmethod) else held
        if (
            type(function) is not types.FunctionType
            or vars(function).get("__isabstractmethod__")
            or len(self._measured) >= MAX_PATCHED
        ):
            return
        measured = dispatching(function, names)
        type.__setattr__(base, name, measured if kind is types.FunctionType else kind(measured))
        self._measured.append((weakref.ref(base), name))

    def undo(self) -> None:
        for reference, name in self._measured:
            base = reference()
            held: Any = static_attributes.members(base).get(name) if base is not None else None
            wrapper: Any = type(held) if isinstance(held, staticmethod | classmethod) else None
            measured = held.__func__ if wrapper is not None else held
            if type(measured) is MeasuredFunction:
                original = measured.__wrapped__
                type.__setattr__(base, name, wrapper(original) if wrapper else original)
        self._measured.clear()
