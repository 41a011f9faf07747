"""Where in the application a call comes from."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

NOT_THE_APPLICATION = frozenset(
    {
        "anthropic", "anyio", "asyncio", "causepath", "claude_agent_sdk", "concurrent",
        "contextlib", "functools", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "openai",
        "opentelemetry", "runpy", "threading", "wrapt",
    }
)  # fmt: skip
"""Packages whose frames are plumbing."""

MAX_KNOWN = 10_000

_is_application: dict[str, bool] = {}
"""By the name of a module: calls come from the same few over and over."""

MAX_FRAMES = 60
MAX_APPLICATION_FRAMES = 12


def application_frames() -> Iterator[FrameType]:
    """The frames of the application below the caller, the nearest first; a few at most."""
    frame = application_frame(sys._getframe(1))  # noqa: SLF001 - the documented way to the stack
    for _ in range(MAX_APPLICATION_FRAMES):
        if frame is None:
            return
        yield frame
        frame = application_frame(frame.f_back)


def application_frame(frame: FrameType | None) -> FrameType | None:
    """`frame` if it is of the application, or the next one outwards that is."""
    for _ in range(MAX_FRAMES):
        if frame is None:
            return None
        module: Any = frame.f_globals.get("__name__")
        known = _is_application.get(module) if type(module) is str else True
        if known is None:
            known = _look_at(module)
        if known:
            return frame
        frame = frame.f_back
    return None


def _look_at(module: str) -> bool:
    found = module.partition(".")[0] not in NOT_THE_APPLICATION
    if len(_is_application) < MAX_KNOWN:
        _is_application[module] = found
    return found


def variables(frame: FrameType) -> dict[str, Any]:
    """The variables of a frame, such that the application notices nothing of it.

    Before Python 3.13 asking for those of a function writes them into a dict, which is the one that
    `locals()` gives the application, and which keeps each of them alive until the function returns.
    """
    code = frame.f_code
    if sys.version_info >= (3, 13) or not code.co_flags & inspect.CO_OPTIMIZED:
        return dict(frame.f_locals)
    if not READS_ITS_FRAME.isdisjoint(code.co_names):
        return {}
    shared = frame.f_locals
    found = dict(shared)
    if sys.getrefcount(shared) == HELD_BY_THE_FRAME:
        shared.clear()
    return found


READS_ITS_FRAME = frozenset({"locals", "vars", "dir", "eval", "exec", "_getframe", "currentframe"})

HELD_BY_THE_FRAME = 3
"""References to such a dict that nobody else has: the frame's, our variable, the argument."""
