"""Where in the application a call comes from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

NOT_THE_APPLICATION = frozenset(
    {
        "anthropic", "anyio", "asyncio", "causepath", "concurrent", "contextlib", "functools",
        "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "openai",
        "opentelemetry", "runpy", "threading", "wrapt",
    }
)  # fmt: skip
"""Packages whose frames are plumbing."""

MAX_FRAMES = 60
MAX_APPLICATION_FRAMES = 12


def application_frames() -> Iterator[FrameType]:
    """The frames of the application below the caller, the nearest first; a few at most."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    found = 0
    for _ in range(MAX_FRAMES):
        if frame is None or found == MAX_APPLICATION_FRAMES:
            return
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in NOT_THE_APPLICATION:
            found += 1
            yield frame
        frame = frame.f_back
