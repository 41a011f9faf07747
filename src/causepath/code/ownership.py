"""The owner of a module: the application, a library, or what that stands on."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

from causepath.code import frameworks, static_attributes
from causepath.code.frames import NOT_THE_APPLICATION

if TYPE_CHECKING:
    from causepath.code.frames import Frame

MAX_KNOWN = 10_000


def is_opaque(kind: type) -> bool:
    """Tells a class of Python, of an SDK or its parts, or of a framework whose tools are measured
    in its own functions."""
    return (
        kind is not types.SimpleNamespace and _kind_of(static_attributes.module(kind)) == PLUMBING
    )


def is_seen_to(kind: type) -> bool:
    """Tells a class of a framework whose tools are measured where it carries them out."""
    module = static_attributes.module(kind)
    return is_opaque(kind) and type(module) is str and module.startswith(frameworks.MEASURED)


def is_application(module: object) -> bool:
    """Tells a module of the application: neither plumbing nor a library installed for it."""
    return _kind_of(module) == APPLICATION


APPLICATION, LIBRARY, PLUMBING = range(3)

_known: dict[str, int] = {}

_callers: set[str] = set()


def remember_caller(frame: Frame) -> None:
    """Counts what calls an SDK as the application, even if it is installed as a library, unless it
    is a framework."""
    module = frame.f_globals.get("__name__")
    if _kind_of(module) == LIBRARY and type(module) is str and len(_callers) < MAX_KNOWN:
        top = module.partition(".")[0]
        if not top.startswith(frameworks.ALL):
            _callers.add(top)
            _known.clear()


def _kind_of(module: object) -> int:
    if type(module) is not str:
        return LIBRARY
    found = _known.get(module)
    if found is None:
        top = module.partition(".")[0]
        file = str(static_attributes.own(sys.modules.get(module)).get("__file__"))
        if top in NOT_THE_APPLICATION or top in sys.stdlib_module_names:
            found = PLUMBING
        elif ("site-packages" in file or "dist-packages" in file) and top not in _callers:
            found = PLUMBING if top.startswith(frameworks.MEASURED) else LIBRARY
        else:
            found = APPLICATION
        if len(_known) < MAX_KNOWN:
            _known[module] = found
    return found
