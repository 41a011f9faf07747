"""Where spans go: to what the application set up, else to a set-up of our own (`set_up.py`).

Nothing is set up before the first span is needed, so that an application may set up OpenTelemetry
after enabling the plugin. Even later its `set_tracer_provider` succeeds: ours stands in as the
global provider without using up the one time that it may be set.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from causepath import forks
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from opentelemetry.trace import TracerProvider

    from causepath.config import Config
    from causepath.set_up import SetUp

FLUSH_SECONDS = 5
"""How long the end of the process waits for spans to be written, at most."""


class Pipeline:
    """Finds the tracer provider in force, and makes one where nobody has."""

    def __init__(
        self, config: Config, given: TracerProvider | None, before_end: Callable[[], None]
    ) -> None:
        self._config = config
        self._given = given
        self._before_end = before_end
        self._lock = threading.Lock()
        self._default: SetUp | None = None
        self._tried = False
        self._disarmed = False
        self._seen: TracerProvider | None = None
        self._restore: Callable[[], None] = lambda: None
        forks.living.add(self)
        self._arm_signal()

    def after_fork(self) -> None:
        """In a child process: the lock may be held by a thread that only the parent has."""
        self._lock = threading.Lock()
        self._tried = self._default is not None
        self._seen = None
        # A worker of `multiprocessing` skips `atexit`, but not its own way to say the same, which
        # it forgets once more after the fork and before these are called.
        workers = sys.modules.get("multiprocessing.util")
        if workers is not None:
            workers.register_after_fork(self, Pipeline._at_exit_of_a_worker)

    @harmless(None)
    def _at_exit_of_a_worker(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self._at_exit, exitpriority=1)
        # A pool ends its workers by this signal, and Python may lose it where a worker is about to
        # wait for work: the pool would wait for that one for ever. Until there are spans to lose,
        # the system does it.
        if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._disarmed = True

    @harmless(None)
    def when_set(self, attend: Callable[[object], None]) -> None:
        """Show the provider in force to `attend`, now or as soon as the application sets one."""
        if self._given is not None:
            attend(self._given)
        elif trace._TRACER_PROVIDER is not None:  # noqa: SLF001
            attend(trace._TRACER_PROVIDER)  # noqa: SLF001
        else:
            original = trace._set_tracer_provider  # noqa: SLF001

            @functools.wraps(original)
            def set_and_attend(*args: Any, **kwargs: Any) -> None:
                original(*args, **kwargs)
                attend(trace._TRACER_PROVIDER)  # noqa: SLF001

            trace._set_tracer_provider = set_and_attend  # noqa: SLF001
            self._restore = lambda: setattr(trace, "_set_tracer_provider", original)

    def provider(self) -> TracerProvider:
        """The tracer provider for the next span."""
        provider = self._given or trace._TRACER_PROVIDER or self._global()  # noqa: SLF001
        if provider is not self._seen:
            self._seen = provider
            # What was registered last runs first: before the provider shuts itself down.
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)
            if self._disarmed:
                self._arm_signal()
        return provider

    @harmless(None)
    def close(self) -> None:
        """Flush and forget a set-up of our own."""
        atexit.unregister(self._at_exit)
        default = self._default
        self._at_exit()
        self._restore()
        if default is not None and trace._TRACER_PROVIDER is default.provider:  # noqa: SLF001
            trace._TRACER_PROVIDER = None  # noqa: SLF001

    def _global(self) -> TracerProvider:
        # The variable, as asking `get_tracer_provider` gives a stand-in where nothing is set.
        if trace._TRACER_PROVIDER is None and "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ:  # noqa: SLF001
            with self._lock:
                if trace._TRACER_PROVIDER is None and not self._tried:  # noqa: SLF001
                    from causepath.set_up import default_provider

                    self._tried = True
                    self._default = default_provider(self._config)
                    if self._default is not None:
                        trace._TRACER_PROVIDER = self._default.provider  # noqa: SLF001
        return trace.get_tracer_provider()

    @harmless(None)
    def _at_exit(self) -> None:
        """End what is open, and write what a set-up of our own still has, in the time there is."""
        self._before_end()
        default, self._default = self._default, None
        if default is None:
            return
        # Aside and at the same time, as exporters have their own ideas of how long to try: a dead
        # collector must not keep the process alive, nor a file from being written.
        flushes = [
            threading.Thread(target=delivery.shutdown, daemon=True)
            for delivery in default.deliveries
        ]
        end = time.monotonic() + FLUSH_SECONDS
        try:
            for flush in flushes:
                flush.start()
            for flush in flushes:
                flush.join(max(0, end - time.monotonic()))
        except RuntimeError:  # too late in the life of the interpreter for a thread
            for delivery in default.deliveries:
                delivery.shutdown()
        for delivery in default.deliveries:
            delivery.tell()

    @harmless(None)
    def _arm_signal(self) -> None:
        """Write what there is before SIGTERM ends the process, where it would end it silently."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # In a thread of its own: the interrupted code may hold a lock that flushing needs.
        flush = threading.Thread(target=self._at_exit, daemon=True)
        try:
            flush.start()
            flush.join(FLUSH_SECONDS)
        except RuntimeError:  # the main thread has ended, and holds none
            self._at_exit()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
