"""An object that stands in for a function of the application, and is equal to it for all others.

Not imported before the first one is needed, as `wrapt` takes longer to import than all of ours.
"""

from __future__ import annotations

import copy
import sys
import types
from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable


class MeasuredFunction(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A function of the application that is measured where it is called through this.

    It compares, hashes, inspects, copies and pickles as the function does. In another process it is
    the function itself.
    """

    def __init__(self, function: Any, measured: Callable[..., Any]) -> None:
        super().__init__(function)
        self._self_measured = measured

    @property
    def __causepath_measured__(self) -> Any:
        return self._self_measured.__causepath_measured__  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._self_measured(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Makes a method of it in a class, if the function itself would be one."""
        if instance is None or type(self.__wrapped__) is not types.FunctionType:
            return self
        return types.MethodType(self, instance)

    def __copy__(self) -> MeasuredFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MeasuredFunction:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        function = self.__wrapped__
        name = getattr(function, "__qualname__", "")
        defined = _defined(getattr(function, "__module__", None), name)
        if defined is self:
            return name
        # Whichever of the two is found under its name.
        known = isinstance(defined, MeasuredFunction) and defined.__wrapped__ is function
        return copy.copy, (defined if known else function,)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)


def _defined(module: str | None, name: str) -> object:
    """Looks a dotted name up in a module, as pickle does."""
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        if found is None or part == "<locals>":
            return None
        found = vars(found).get(part)
        if isinstance(found, staticmethod):
            found = found.__func__
    return found
