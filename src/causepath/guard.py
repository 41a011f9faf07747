"""Our fault never reaches the application: the one place where the plugin catches everything.

Inside, code is written as if it could not fail. At the edges, where the application or an SDK calls
us, a function is wrapped with `harmless`: what goes wrong is logged once at debug level and the
application goes on as if the plugin were not there.
"""

from __future__ import annotations

import functools
import logging
import sys
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("causepath")

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")
F = TypeVar("F")

_reported: set[str] = set()


def say(text: str) -> None:
    """Write one line on standard error, where there is one."""
    log.debug("%s", text)
    if sys.stderr is not None:
        print(f"causepath: {text}", file=sys.stderr, flush=True)


def report(where: str) -> None:
    """Log the exception being handled at debug level, once for each place it comes from."""
    if where not in _reported:
        _reported.add(where)
        log.debug("causepath failed in %s; the application is not affected", where, exc_info=True)


def harmless(fallback: D) -> Callable[[Callable[P, R]], Callable[P, R | D]]:
    """Make a function return `fallback` where it would raise."""

    def decorate(function: Callable[P, R]) -> Callable[P, R | D]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | D:
            try:
                return function(*args, **kwargs)
            except Exception:
                report(f"{function.__module__}.{function.__qualname__}")
                return fallback

        return guarded

    return decorate


def or_itself(better: Callable[Concatenate[F, P], F]) -> Callable[Concatenate[F, P], F]:
    """Make what improves its first argument give that back as it is where it would raise."""

    @functools.wraps(better)
    def guarded(first: F, *args: P.args, **kwargs: P.kwargs) -> F:
        try:
            return better(first, *args, **kwargs)
        except Exception:
            report(f"{better.__module__}.{better.__qualname__}")
            return first

    return cast("Callable[Concatenate[F, P], F]", guarded)
