"""Whose code a module is: the application's, a library's, or what that stands on."""

from __future__ import annotations

import sys
import types
from typing import TYPE_CHECKING

from causepath.code import static_attributes
from causepath.code.frames import NOT_THE_APPLICATION

if TYPE_CHECKING:
    from causepath.code.frames import Frame

MAX_KNOWN = 10_000


def is_opaque(kind: type) -> bool:
    """Whether a class is of Python, of an SDK or what that is made of, or of a framework that is
    seen to elsewhere."""
    return (
        kind is not types.SimpleNamespace and _kind_of(static_attributes.module(kind)) == PLUMBING
    )


def is_seen_to(kind: type) -> bool:
    """Whether a class is of a framework whose tools are measured where it carries them out."""
    module = static_attributes.module(kind)
    return is_opaque(kind) and type(module) is str and module.startswith(SEEN_TO)


def is_application(module: object) -> bool:
    """Whether a module is of the application: neither plumbing nor a library installed for it."""
    return _kind_of(module) == APPLICATION


APPLICATION, LIBRARY, PLUMBING = range(3)

_known: dict[str, int] = {}

_callers: set[str] = set()


def remember_caller(frame: Frame) -> None:
    """Who calls an SDK is the application, even where it is installed as a library, unless it is a
    framework."""
    module = frame.f_globals.get("__name__")
    if _kind_of(module) == LIBRARY and type(module) is str and len(_callers) < MAX_KNOWN:
        top = module.partition(".")[0]
        if not top.startswith(FRAMEWORKS):
            _callers.add(top)
            _known.clear()


SEEN_TO = (
    "agents", "agno", "autogen", "haystack", "langchain", "langgraph", "llama_index", "pydantic_ai",
    "semantic_kernel", "smolagents", "strands",
)  # fmt: skip
"""How the packages of the frameworks begin that `frameworks.py` knows where to measure in."""

FRAMEWORKS = (
    *SEEN_TO, "agent_framework", "camel", "crewai", "dspy", "google", "instructor", "litellm",
    "mirascope",
)  # fmt: skip
"""Likewise of all that call SDKs for an application."""


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
            found = PLUMBING if top.startswith(SEEN_TO) else LIBRARY
        else:
            found = APPLICATION
        if len(_known) < MAX_KNOWN:
            _known[module] = found
    return found
