"""Modules that are imported when something of them is first used, and not before.

This is for a process of our own: in any other, it is not for us to say what is imported when.
"""

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from types import ModuleType
from typing import Final

_UNUSED: Final = ("asyncio", "httpx2")
"""Modules that the table of prices imports for a client that would update it. Nothing here asks for
an update, and they take a tenth of the time of a short command."""
_TABLE: Final = "genai_prices"
RELEASES: Final = frozenset(("0.2.3",))
"""Those of the table that need `_MARKS` for nothing but to validate prices that were downloaded. A
test holds their prices against those of a process that has imported everything."""
_MARKS: Final = frozenset(("ConfigDict", "Discriminator", "Field", "Tag", "TypeAdapter"))
"""The things of ``pydantic`` that the table describes its types with. To import it takes as long as
all the rest of the table."""

Instead = Callable[[str, str], object]
"""Gives what a module gets instead of an attribute that it asks for; ``None``: the attribute."""


class Mark:
    """A mark that stands where a type is described, and means nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass


def defer_all() -> None:
    """Defers everything that our commands need nothing of."""
    for name in _UNUSED:
        defer(name)
    sys.meta_path.insert(0, _BeforeTheTable())


class _BeforeTheTable:
    """Defers what the table of prices imports, when that is imported: the command line looks at
    whether it is there."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == _TABLE:
            defer("pydantic", _mark)


def defer(name: str, instead: Instead = lambda *_: None) -> None:
    """Lets the module `name` be imported when something of it is first used for which there is
    nothing `instead`."""
    if name in sys.modules or find_spec(name) is None:
        return
    deferred = ModuleType(name)

    def used(attribute: str) -> object:
        asking = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001
        found = instead(asking, attribute)
        if found is not None:
            return found
        if sys.modules.get(name) is deferred:
            del sys.modules[name]
        return getattr(import_module(name), attribute)

    vars(deferred)["__getattr__"] = used
    sys.modules[name] = deferred


def _mark(asking: str, attribute: str) -> object:
    is_table = asking.startswith(f"{_TABLE}.")
    return Mark if is_table and attribute in _MARKS and _is_known() else None


@lru_cache(maxsize=1)
def _is_known() -> bool:
    return version("genai-prices") in RELEASES
