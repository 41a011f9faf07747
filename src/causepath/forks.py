"""Which process this is: what began in the parent of a fork is the parent's to end."""

from __future__ import annotations

import _thread
import os
import threading
import weakref
from typing import Protocol


class Forked(Protocol):
    def after_fork(self) -> None:
        """Forget, in a child process, what the parent has in progress, and locks it may hold."""


process = object()
"""Another one in every forked child."""

may_begin_threads = True
"""Whether this process ends with its main thread, whatever other threads do.

A child that was forked in a thread has no main thread: it ends with its last one, and one of ours
would keep it for ever.
"""

living: weakref.WeakSet[Forked] = weakref.WeakSet()
"""What is told in a child process."""


def has_green_threads() -> bool:
    """Whether gevent or eventlet have put their own in the place of threads."""
    return _thread.start_new_thread.__module__ != "_thread"


def ends_by_itself() -> None:
    """This process is a worker of `multiprocessing`, which ends without waiting for threads."""
    global may_begin_threads
    may_begin_threads = True


def _begin_anew() -> None:
    global process, may_begin_threads
    process = object()
    may_begin_threads = has_green_threads() or isinstance(
        threading.main_thread(),
        threading._MainThread,  # type: ignore[attr-defined]  # noqa: SLF001
    )
    for one in list(living):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    # The one thing of ours that stays after `uninstrument`: Python has no way to take it back.
    os.register_at_fork(after_in_child=_begin_anew)
