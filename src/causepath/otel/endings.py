"""How what a span measures came to an end that is not its own: failed, interrupted, timed out."""

from __future__ import annotations

import sys
import weakref
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED, INTERRUPTED, TIMED_OUT, UNFINISHED = "failed", "interrupted", "timed_out", "unfinished"

CANCELLED = frozenset({"CancelledError", "Cancelled", "GreenletExit"})
"""What asyncio, trio and gevent stop a task with."""

TIMEOUTS = ("TimeoutError", "TimeoutException", "Timeout")
"""How the exceptions of the standard library, of HTTP clients and of gevent end that say this."""

MAX_TASKS = 200
"""Tasks that are looked at for one with a time limit."""

MAX_AWAITED = 100
"""Coroutines that wait for each other, of which one may have a time limit."""


class Ending(NamedTuple):
    """An end that is not the one that was meant."""

    outcome: str
    error_type: str | None = None
    is_error: bool = True
    """Whether it is one for OpenTelemetry, too."""


WENT_ON = Ending(UNFINISHED, is_error=False)
"""Of what still went on when the process ended, for no reason that is known."""


def ending_of(error: BaseException, error_type: str | None = None) -> Ending:
    """Tell what an exception means for what it leaves; `error_type` where somebody knows a better
    one than its own."""
    names = [kind.__name__ for kind in type(error).__mro__]
    error_type = error_type or type(error).__qualname__
    if isinstance(error, GeneratorExit):
        return Ending(INTERRUPTED, error_type, is_error=False)
    if isinstance(error, SystemExit):
        return Ending(INTERRUPTED, error_type, is_error=bool(error.code))
    if any(name.endswith(TIMEOUTS) for name in names):
        return Ending(TIMED_OUT, error_type)
    if not CANCELLED.isdisjoint(names):
        return Ending(TIMED_OUT if _is_past_deadline(error) else INTERRUPTED, error_type)
    return Ending(FAILED if isinstance(error, Exception) else INTERRUPTED, error_type)


def ending_of_type(error_type: str) -> Ending:
    """Tell the same where only the name of an error is known, as a provider has it."""
    return Ending(TIMED_OUT if "timeout" in error_type.lower() else FAILED, error_type)


def end_of_process(signal_name: str | None = None) -> Ending:
    """Tell why what is open now, as the process ends, will not come to its own end."""
    if signal_name is not None:
        return Ending(INTERRUPTED, signal_name)
    kind = getattr(sys, "last_type", None)
    if kind is KeyboardInterrupt and not hasattr(sys, "ps1"):
        return Ending(INTERRUPTED, kind.__name__)
    return WENT_ON


# -- deadlines: the exception that ends a task is the same whoever cancelled it, and why

_expiring: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""By task, the latest `asyncio.timeout` that has cancelled it."""


def noting(on_timeout: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make what `asyncio.timeout` does at its deadline note whom that concerns."""
    original = on_timeout

    def expires(self: Any) -> Any:
        result = original(self)
        task = getattr(self, "_task", None)
        if task is not None:
            _expiring[task] = weakref.ref(self)
        return result

    return expires


def _is_past_deadline(error: BaseException) -> bool:
    if any("deadline" in str(one) for one in error.args):  # anyio says why
        return True
    for deadline in list(_expiring.values()):
        state = getattr(deadline(), "_state", None)
        if getattr(state, "name", "") == "EXPIRING":  # until the task has left it
            return True
    return sys.version_info < (3, 12) and _is_past_limit_of_wait_for()


def _is_past_limit_of_wait_for() -> bool:
    """Tell whether `asyncio.wait_for`, which has no `asyncio.timeout` inside before Python 3.12, is
    cancelling what it waits for, as its time is over."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        loop = asyncio.get_running_loop() if asyncio is not None else None
    except RuntimeError:
        return False
    if loop is None:
        return False
    for task in islice(asyncio.all_tasks(loop), MAX_TASKS):
        awaited = task.get_coro()
        for _ in range(MAX_AWAITED):
            frame = getattr(awaited, "cr_frame", None)
            if frame is None:
                break
            if frame.f_code.co_name == "wait_for":
                timer = frame.f_locals.get("timeout_handle")
                if timer is not None and not timer.cancelled() and timer.when() <= loop.time():
                    return True
            awaited = getattr(awaited, "cr_await", None)
    return False
