"""SIGTERM where nobody handles it: what there is gets written, then it ends the process as ever.

A handler of Python's would only run when the main thread gets to its next line, which it may not do
for a long time: a process would live on that dies at once without us. So the handler is that of
`faulthandler`, which is written in C and tells a pipe at once, and a thread of ours listens there.
`signal.getsignal` still says that nobody handles it, and whoever does so later takes our place.

Meanwhile the main thread is to do no more: it has to notice before its next line, though nobody may
hold Python's lock to tell it. So the kernel tells it (Linux only): what is written into the pipe
comes with a SIGURG, whose handler, one of Python's, waits there for the end.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import sys
import threading
from typing import TYPE_CHECKING

from causepath import forks
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable


END_SECONDS = 1.0
"""How long the main thread waits at most: it may hold a lock that writing needs."""


class Termination:
    """Calls `write` before SIGTERM ends the process, from `arm` to `disarm`."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._pipe: tuple[int, int] | None = None
        self._end = threading.Lock()
        """Held for ever once the process is told to end."""
        self._end.acquire()

    @harmless(None)
    def arm(self) -> None:
        if (
            self._pipe is not None
            or not hasattr(faulthandler, "register")  # Windows, which has no such signals
            or not forks.may_begin_threads
            or forks.has_green_threads()  # one that listens would keep all others from running
            or not _is_unhandled()
        ):
            return
        reads, writes = self._pipe = os.pipe()
        os.set_blocking(writes, False)
        self._thread = threading.Thread(
            target=self._listen, args=(reads,), name="causepath-sigterm", daemon=True
        )
        self._thread.start()
        if threading.current_thread() is threading.main_thread():
            self._stop_main_thread_when_told(reads)
        faulthandler.register(signal.SIGTERM, file=writes, all_threads=False)

    @harmless(None)
    def _stop_main_thread_when_told(self, reads: int) -> None:
        if sys.platform != "linux" or signal.getsignal(signal.SIGURG) is not signal.SIG_DFL:
            return
        import fcntl

        signal.signal(signal.SIGURG, self._wait_for_the_end)
        fcntl.fcntl(reads, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(reads, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(reads, fcntl.F_SETFL, fcntl.fcntl(reads, fcntl.F_GETFL) | os.O_ASYNC)

    @harmless(None)
    def _wait_for_the_end(self, *_: object) -> None:
        if self._pipe is not None:
            told = select.poll()
            told.register(self._pipe[0], select.POLLIN)
            if told.poll(0):  # more is written than the thread reads; else it is not about the end
                self._end.acquire(timeout=END_SECONDS)

    @harmless(None)
    def disarm(self) -> None:
        """Let the signal do what it does without us. The thread ends."""
        if self._pipe is not None:
            self._unregister()
            _, writes = self._pipe
            self._pipe = None
            os.close(writes)
            if self._thread is not threading.current_thread():
                self._thread.join(END_SECONDS)

    @harmless(None)
    def after_fork(self) -> None:
        """Forgets the listener in a child process, where it does not run."""
        if self._pipe is not None:
            self._unregister()
            for descriptor in self._pipe:
                os.close(descriptor)
            self._pipe = None

    def _unregister(self) -> None:
        if _is_unhandled():  # else somebody has taken our place, whom this would take away
            faulthandler.unregister(signal.SIGTERM)
        if (
            signal.getsignal(signal.SIGURG) == self._wait_for_the_end
            and threading.current_thread() is threading.main_thread()
        ):
            signal.signal(signal.SIGURG, signal.SIG_DFL)

    @harmless(None)
    def _listen(self, reads: int) -> None:
        told = os.read(reads, 1)
        if not told:  # disarmed
            os.close(reads)
            return
        try:
            self._write()
        finally:
            self._unregister()
            os.kill(os.getpid(), signal.SIGTERM)


def _is_unhandled() -> bool:
    return signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
