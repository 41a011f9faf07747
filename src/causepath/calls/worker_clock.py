"""The number of a piece of work that goes to another process and comes back with its times.

A process pool gives each piece of work a number, which travels with it and with its result. Only
that number is replaced, and it counts and compares as before: the function, its arguments, its
result and its exception are pickled as they are without us. When it is read is when the work
begins, and when it is written again, before the result, is when the work has ended. With it goes
the span that the work is done below.

Read in worker processes too, so it imports next to nothing.
"""

from __future__ import annotations

import threading
from time import time_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


Below = tuple[int, int, int]
"""The trace id, the span id and the flags of a span in another process."""


def apart(below: Below) -> Callable[[], None] | None:  # noqa: ARG001
    """Joins nothing, as where the plugin is not enabled."""
    return None


join: Callable[[Below], Callable[[], None] | None] = apart
"""Makes what this thread does go on below that span, where the plugin is enabled. Gives what ends
that. Set by who wraps the pools of this process."""


class Sent(int):
    """A piece of work in the process that sends it: `tool` is what it is the call of."""

    tool: str
    below: Below | None

    def __reduce__(self) -> Any:
        return begun, (int(self), self.tool, self.below)


class Begun(int):
    """A piece of work in the process that does it."""

    tool: str
    start_ns: int
    end_ns = 0

    def __reduce__(self) -> Any:
        if not self.end_ns:  # a result that cannot be pickled is followed by the error that says so
            self.end_ns = time_ns()
            _here.begun = None
            _leave()
        return done, (int(self), self.start_ns, self.end_ns)


class Keywords(dict[str, object]):
    """The keyword arguments of the work, where a pool sends its number before the function."""

    def __reduce__(self) -> Any:
        return about_to_begin, (), None, None, iter(self.items())


class _Here(threading.local):
    begun: Begun | None = None
    leave: Callable[[], None] | None = None
    times: tuple[int, int] | None = None


_here = _Here()


def begun(number: int, tool: str, below: Below | None = None) -> Begun:
    _leave()
    if below is not None:
        _here.leave = join(below)
    found = Begun(number)
    found.tool, found.start_ns = tool, time_ns()
    _here.begun = found
    return found


def _leave() -> None:
    leave, _here.leave = _here.leave, None
    if leave is not None:
        leave()


def about_to_begin() -> dict[str, object]:
    """Begins the work once more: importing the module of the function, before, is not the work."""
    if _here.begun is not None:
        _here.begun.start_ns = time_ns()
    return {}


def done(number: int, start_ns: int, end_ns: int) -> int:
    _here.times = start_ns, end_ns
    return number


def times() -> tuple[int, int] | None:
    """Tells when the work began and ended whose result this thread has just received."""
    found, _here.times = _here.times, None
    return found


def is_measured(tool: str) -> bool:
    """Tells a call of `tool` that is the work of this thread, and measured where it came from."""
    found = _here.begun
    if found is None or found.tool != tool:
        return False
    _here.begun = None
    return True
