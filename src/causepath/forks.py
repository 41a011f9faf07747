"""Which process this is: what began in the parent of a fork is the parent's to end."""

from __future__ import annotations

import _thread
import os
import sys
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

has_forked = False
"""Whether this process has children that may do what it does not."""

_is_forked = False

living: weakref.WeakSet[Forked] = weakref.WeakSet()
"""What is told in a child process."""


STARTED = "CAUSEPATH_STARTED"
"""The variable that tells the processes below the first one with us that they are that."""


def mark_outermost_process() -> None:
    """Let the programs that this one starts know that they are not the one that was traced: what
    they print may be the result of a tool, and nothing is said there that is no news."""
    os.environ.setdefault(STARTED, str(os.getpid()))


def is_outermost_process() -> bool:
    """Tell the process that somebody has started to trace it from those that it starts."""
    processes = sys.modules.get("multiprocessing.process")
    if _is_forked or (processes is not None and processes.parent_process() is not None):
        return False
    return os.environ.get(STARTED, str(os.getpid())) == str(os.getpid())


def has_green_threads() -> bool:
    """Tells whether gevent or eventlet have replaced threads."""
    return _thread.start_new_thread.__module__ != "_thread"


def ends_by_itself() -> None:
    """This process is a worker of `multiprocessing`, which ends without waiting for threads."""
    global may_begin_threads
    may_begin_threads = True


def _note_child() -> None:
    global has_forked
    has_forked = True


def _begin_anew() -> None:
    global process, may_begin_threads, _is_forked
    process, _is_forked = object(), True
    may_begin_threads = has_green_threads() or isinstance(
        threading.main_thread(),
        threading._MainThread,  # type: ignore[attr-defined]  # noqa: SLF001
    )
    for one in list(living):
        one.after_fork()


if hasattr(os, "register_at_fork"):
    # The one thing of ours that stays after `uninstrument`: Python has no way to take it back.
    os.register_at_fork(after_in_child=_begin_anew, after_in_parent=_note_child)
