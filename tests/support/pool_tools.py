"""Tools for the workers of a process pool, who import this and nothing else of the tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import causepath


def search(q: str, name: str = "search") -> tuple[str, int, int]:
    """What ran, and when, in ns."""
    began_ns = time.time_ns()
    threading.Event().wait(0.15)
    return name, began_ns, time.time_ns()


def save(text: str) -> tuple[str, int, int]:
    return search(text, "save")


@causepath.tool(read_only=True)
def look_up(q: str) -> tuple[str, int, int]:
    return search(q, "look_up")


def fail(q: str) -> None:
    raise LookupError(q)


TOOLS: dict[str, Any] = {"search": search, "save": save, "look_up": look_up, "fail": fail}


def carry_out(name: str, given: dict[str, Any]) -> Any:
    return TOOLS[name](**given)


def carry_out_block(block: dict[str, Any]) -> Any:
    return TOOLS[block["name"]](**block["input"])


def at_sigterm() -> str:
    handler = signal.getsignal(signal.SIGTERM)
    return getattr(handler, "name", str(handler))


# -- what pools make of functions that do not just return


def fine(q: str) -> Any:
    return [q, sorted(vars())]


def raises(q: str) -> None:
    try:
        int(q)
    except ValueError as error:
        raise LookupError("deep") from error


class OddError(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def raises_odd(q: str) -> None:
    raise OddError(q, q)


def leaves(q: str) -> None:
    sys.exit(3)


def dies(q: str) -> None:
    os._exit(3)


def gives_no_pickle(q: str) -> Any:
    return threading.Lock()


def gives_lambda(q: str) -> Any:
    return lambda: q


FINE: dict[str, Any] = {
    "fine": fine,
    "raises": raises,
    "gives_no_pickle": gives_no_pickle,
    "gives_lambda": gives_lambda,
}
TOOLS["dies"] = dies
