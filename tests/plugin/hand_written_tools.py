"""What the tools of `hand_written.py` do, and what of them is in another module."""

from __future__ import annotations

import threading
import time
from typing import Any

CLOCK: list[tuple[int, int]] = []
"""When they ran, by their own clocks, in ns."""


def look(q: str) -> str:
    return _work(f"found {q}")


def store(text: str) -> str:
    if text == "full":
        raise OSError(text)
    return _work(f"stored {text}")


def search(q: str) -> str:
    return look(q)


def save(text: str) -> str:
    return store(text)


def run_tool(name: str, args: dict[str, Any]) -> str:
    if name == "search":
        return look(args["q"])
    if name == "save":
        return store(args["text"])
    raise KeyError(name)


def _work(result: str) -> str:
    began_ns = time.time_ns()
    threading.Event().wait(0.02)
    CLOCK.append((began_ns, time.time_ns()))
    return result
