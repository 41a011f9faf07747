"""SIGTERM where nobody handles it: what there is gets written, then it ends the process as ever.

A handler of Python's would only run when the main thread gets to its next line, which it may not do
for a long time: a process would live on that dies at once without us. So the handler is that of
`faulthandler`, which is written in C and tells a pipe at once, and a thread of ours listens there.
`signal.getsignal` still says that nobody handles it, and whoever does so later takes our place.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from typing import TYPE_CHECKING

from causepath import forks
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable


END_SECONDS = 1.0


class Termination:
    """Calls `write` before SIGTERM ends the process, from `arm` to `disarm`."""

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._pipe: tuple[int, int] | None = None

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
        faulthandler.register(signal.SIGTERM, file=writes, all_threads=False)

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
        """In a child process, where nobody listens."""
        if self._pipe is not None:
            self._unregister()
            for descriptor in self._pipe:
                os.close(descriptor)
            self._pipe = None

    def _unregister(self) -> None:
        if _is_unhandled():  # else somebody has taken our place, whom this would take away
            faulthandler.unregister(signal.SIGTERM)

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
