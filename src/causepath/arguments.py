"""What an application tells us in code is checked before anything is done: a wrong argument is an
error with what would have worked, as one that is ignored may be one that was to redact."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

P = ParamSpec("P")
R = TypeVar("R")

ELSEWHERE = {
    "file": "the trace file is set by the variable CAUSEPATH_FILE",
    "path": "the trace file is set by the variable CAUSEPATH_FILE",
    "exporter": "add it to a tracer_provider, or name it in OTEL_TRACES_EXPORTER",
    "endpoint": "a collector is set by the variable OTEL_EXPORTER_OTLP_ENDPOINT",
    "service_name": "a service is named by the variable OTEL_SERVICE_NAME",
    "tools": "tools are declared by causepath.tools() or the variable CAUSEPATH_TOOLS",
    "capture_content": "content is recorded by "
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=span_only",
}
"""What people may look for here, and where it is."""


def no_others(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function name the argument that an unknown one is perhaps meant to be."""
    known = [
        name
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is not one.POSITIONAL_ONLY
    ]

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name in kwargs:
            if name not in known:
                raise TypeError(
                    f"causepath.{function.__name__}() has no argument {name!r}"
                    f"{meant(name, known) or elsewhere(name)}"
                )
        return function(*args, **kwargs)

    return checked


def meant(word: str, known: Iterable[str]) -> str:
    """Ask for the word that is perhaps meant, or say nothing."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def elsewhere(name: str) -> str:
    return f": {ELSEWHERE[name]}" if name in ELSEWHERE else ""


def of_type(value: object, *kinds: type) -> bool:
    """Tell whether an argument that may be left out is of these types."""
    return value is None or isinstance(value, kinds)
