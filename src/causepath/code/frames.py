"""Where in the application a call comes from."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

if TYPE_CHECKING:
    from types import CodeType, FrameType

NOT_THE_APPLICATION = frozenset(
    {
        "anthropic", "anyio", "asyncio", "causepath", "claude_agent_sdk", "concurrent",
        "contextlib", "functools", "google", "httpcore", "httpcore2", "httpx", "httpx2", "mcp",
        "multiprocessing", "openai", "opentelemetry", "runpy", "threading", "wrapt",
    }
)  # fmt: skip
"""Packages whose frames are plumbing."""

MAX_KNOWN = 10_000

_plumbing: dict[str, bool] = {}
"""By the name of a module: calls come from the same few over and over."""

MAX_FRAMES = 60
MAX_APPLICATION_FRAMES = 12


class Place(NamedTuple):
    """The code and globals of a frame that need not exist any more."""

    f_code: CodeType
    f_lasti: int
    f_globals: dict[str, Any]
    frame: int
    """The id of the frame."""

    @property
    def f_lineno(self) -> int:
        lines = (line for begin, end, line in self.f_code.co_lines() if begin <= self.f_lasti < end)
        return next(lines, None) or self.f_code.co_firstlineno

    @property
    def f_locals(self) -> dict[str, Any]:
        """Returns nothing: the variables are the frame's alone."""
        return {}


Frame: TypeAlias = Union["FrameType", Place]

WrittenAt: TypeAlias = tuple[str, int, str]
"""The file, line and name of a function: the same for its code while it is measured."""


def written_at(code: CodeType) -> WrittenAt:
    """Names the place where a function is written."""
    return code.co_filename, code.co_firstlineno, code.co_name


def application_frame(frame: FrameType | None, distance: int = MAX_FRAMES) -> FrameType | None:
    """`frame` if it is of the application, or the next one outwards that is."""
    for _ in range(distance):
        if frame is None:
            return None
        if not is_plumbing(frame.f_globals.get("__name__")):
            return frame
        frame = frame.f_back
    return None


def is_plumbing(module: Any) -> bool:
    """Tells whether frames of this module are passed over."""
    if type(module) is not str:
        return False
    found = _plumbing.get(module)
    if found is None:
        found = module.partition(".")[0] in NOT_THE_APPLICATION
        if len(_plumbing) < MAX_KNOWN:
            _plumbing[module] = found
    return found


def variables(frame: Frame) -> dict[str, Any]:
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
