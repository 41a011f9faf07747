"""Where spans go: to what the application set up, else to `default_provider`.

Nothing is set up before the first span is needed, so that an application may set up OpenTelemetry
after enabling the plugin. Even later its `set_tracer_provider` succeeds: ours stands in as the
global provider without using up the one time that it may be set.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn, cast

from opentelemetry import trace

from causepath import forks
from causepath.export.termination import Termination
from causepath.guard import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.trace import TracerProvider

    from causepath.config import Config
    from causepath.export.default_provider import SetUp

FLUSH_SECONDS = 5
"""How long the end of the process waits for a collector, at most."""

FILE_FLUSH_SECONDS = 1
"""How long it waits for the trace file, and a process that was told to end for anything."""

ENDS_PROCESS = {
    getattr(signal, name): name
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
}
"""Signals that end a process which does not handle them."""


class Pipeline:
    """Finds the tracer provider in force, and makes one where nobody has."""

    def __init__(
        self,
        config: Config,
        given: TracerProvider | None,
        before_end: Callable[[str | None], None],
        after_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._began = time.time()
        self._given = given
        self._before_end = before_end
        self._after_end = after_end
        self._default: SetUp | None = None
        self._tried = False
        self.why_none: str | None = None
        """The reason why no set-up of our own can be made, which has been said."""
        self._begin()
        self._termination = Termination(lambda: self._end(FILE_FLUSH_SECONDS, "SIGTERM"))
        self._seen: TracerProvider | None = None
        self._restore: Callable[[], None] = lambda: None
        self._forget_worker: Callable[[], object] = lambda: None
        """Undoes what is registered in a worker of `multiprocessing`."""
        self._restore_exit: Callable[[], None] = lambda: None
        forks.living.add(self)
        # What is registered first runs last: what the application does at its end is written, too.
        atexit.register(self._at_exit)

    def _begin(self) -> None:
        self._ends = itertools.count()
        """How often somebody has said that the process ends."""
        self._ended = threading.Event()

    def after_fork(self) -> None:
        """Starts again in a child process, in which nothing has begun to end."""
        self._tried = self._default is not None
        self._begin()
        self._seen = None
        self._termination.after_fork()
        if not forks.may_begin_threads:
            # Its end is that of this thread, and runs nothing else: no `atexit`.
            _in_thread.at_end = AtEndOfThread(self._at_exit)
        # A worker of `multiprocessing` skips `atexit`, but not its own way to say the same, which
        # it forgets once more after the fork and before these are called.
        workers = sys.modules.get("multiprocessing.util")
        if workers is not None:
            workers.register_after_fork(self, Pipeline._at_exit_of_a_worker)

    @harmless(None)
    def _at_exit_of_a_worker(self) -> None:
        forks.ends_by_itself()
        if _in_thread.at_end is not None:
            _in_thread.at_end.do = None
        workers: Any = sys.modules["multiprocessing.util"]
        self._forget_worker = workers.Finalize(None, self._at_exit, exitpriority=1).cancel

    @harmless(None)
    def when_set(
        self, attend: Callable[[object], None], begin: Callable[[], None] = lambda: None
    ) -> None:
        """Show the provider in force to `attend`, now or as soon as the application sets one.

        `begin` is called where somebody else writes a span before that, a server's say, which is to
        be in the trace of what goes on below it: perhaps ours has to stand in by now.
        """
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
            undo = _when_written(begin)

            def restore() -> None:
                if trace._set_tracer_provider is set_and_attend:  # noqa: SLF001
                    trace._set_tracer_provider = original  # noqa: SLF001
                undo()

            self._restore = restore

    def prepare(self) -> None:
        """Spans will be needed: be quick then, where they may go to a set-up of our own."""
        if self._given is None and trace._TRACER_PROVIDER is None:  # noqa: SLF001
            from causepath.export.default_provider import prepare

            prepare()

    def provider(self) -> TracerProvider:
        """The tracer provider for the next span."""
        provider = self._given or trace._TRACER_PROVIDER or self._global()  # noqa: SLF001
        if provider is not self._seen:
            self._seen = provider
            if self._default is not None and provider is self._default.provider:
                self._termination.arm()
                self._watch_exit()
            else:
                # What was registered last runs first: before the provider shuts itself down.
                atexit.unregister(self._at_exit)
                atexit.register(self._at_exit)
        return provider

    def _watch_exit(self) -> None:
        """Write what there is before `os._exit` ends the process, which runs no `atexit`, or a
        signal that the process raises itself: a server does so that has handled SIGTERM."""
        self._restore_exit()  # in a forked child it is the parent's still
        original, raises = os._exit, signal.raise_signal

        @functools.wraps(original)
        def _exit(status: int) -> NoReturn:
            self._end_soon()
            original(status)

        @functools.wraps(raises)
        def raise_signal(signalnum: int, /) -> None:
            if signalnum in ENDS_PROCESS and signal.getsignal(signalnum) is signal.SIG_DFL:
                self._end_soon(ENDS_PROCESS[signalnum])
            raises(signalnum)

        def restore() -> None:
            if os._exit is _exit:
                os._exit = original
            if signal.raise_signal is raise_signal:
                signal.raise_signal = raises
            self._restore_exit = lambda: None

        os._exit = _exit
        signal.raise_signal = raise_signal
        self._restore_exit = restore

    @harmless(None)
    def _end_soon(self, signal_name: str | None = None) -> None:
        own = self._default
        if own is None or not any(delivery.is_used for delivery in own.deliveries):
            return
        if forks.may_begin_threads and not forks.has_green_threads():
            # Aside, as who ends a process in this way may hold a lock of anybody's.
            how = (FILE_FLUSH_SECONDS, signal_name)
            end = threading.Thread(target=self._end, args=how, daemon=True)
            end.start()
            end.join(FILE_FLUSH_SECONDS)
        else:
            self._end(FILE_FLUSH_SECONDS, signal_name)

    def is_asked_for_spans(self) -> bool:
        """Tell whether somebody waits for spans of ours, who is told if none come: not where an
        application has set up OpenTelemetry, which has more to write, or in a console."""
        if hasattr(sys, "ps1") or "ipykernel" in sys.modules:
            return False
        if forks.has_forked or self._config.file_is_newer_than(self._began):
            return False  # a child has written some, or will
        own = self._default.provider if self._default is not None else None
        in_force = self._given or trace._TRACER_PROVIDER  # noqa: SLF001
        return in_force in (None, own) or bool(os.environ.get("CAUSEPATH"))

    @harmless(None)
    def why_nothing(self, *, recorded: bool) -> str | None:
        """Give the reason why the spans of this process are written nowhere, if that is so.

        `recorded`: at least one has been."""
        provider: Any = self._seen
        own = self._default
        is_own = own is not None and provider is own.provider
        if provider is None or (self._tried and own is None and not recorded):
            return None  # said already
        nothing = "no spans are written: "
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" and not recorded:
            return nothing + "OTEL_SDK_DISABLED=true; unset it"
        if own is not None and is_own and not own.deliveries:
            if "none" in os.environ.get("OTEL_TRACES_EXPORTER", "").split(","):
                return nothing + "OTEL_TRACES_EXPORTER=none; unset it, or name an exporter"
            return None
        if not recorded and type(provider).__name__ == trace.NoOpTracerProvider.__name__:
            return nothing + "the application's NoOpTracerProvider records none"
        if not recorded and not hasattr(provider, "add_span_processor"):
            return None  # nobody of ours sees what passes there
        if not recorded:
            name = os.environ.get("OTEL_TRACES_SAMPLER")
            return nothing + (
                f"none was sampled (OTEL_TRACES_SAMPLER={name}); unset it"
                if name
                else f"the application's {_described(provider)} recorded none"
            )
        if not is_own and _has_no_processor(provider):
            return nothing + (
                f"the application's {type(provider).__name__} has no span processor; add one with "
                "an exporter, or set up none, and they are written to causepath-traces.jsonl"
            )
        return None

    @harmless(())
    def destinations(self) -> Sequence[str]:
        """List where spans go, or would go if there were any, for messages."""
        own = self._default
        in_force = self._given or trace._TRACER_PROVIDER  # noqa: SLF001
        if in_force is not None and (own is None or in_force is not own.provider):
            return (f"the application's {type(in_force).__name__}",)
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return ()
        from causepath.export.default_provider import destinations

        return destinations(self._config)

    @harmless(())
    def lost(self) -> Sequence[str]:
        """List what did not get to where a set-up of our own sends it, and why."""
        deliveries = self._default.deliveries if self._default is not None else ()
        return [lost for delivery in deliveries if (lost := delivery.lost()) is not None]

    def flush(self) -> bool:
        """Write what a set-up of our own still has, and tell whether that is to a file; true also
        where nothing is to be written yet."""
        if self._default is None:
            return self._given is None and trace._TRACER_PROVIDER is None  # noqa: SLF001
        for delivery in self._default.deliveries:
            delivery.force_flush()
        return any(delivery.is_to_file for delivery in self._default.deliveries)

    def give(self, provider: TracerProvider) -> None:
        """Sends spans there from now on."""
        self._given = provider

    @harmless(None)
    def write_open(self, span: Any) -> None:
        """Write the span of somebody else as it is now, if it would come to a set-up of our own."""
        own = self._default
        if own is not None and span._span_processor is own.provider._active_span_processor:  # type: ignore[attr-defined]  # noqa: SLF001
            now = span._readable_span()  # noqa: SLF001
            now._end_time = time.time_ns()  # noqa: SLF001
            for delivery in own.deliveries:
                delivery.on_end(now)
                delivery.written.add(now.context.span_id)

    @harmless(None)
    def close(self) -> None:
        """Flush and forget a set-up of our own."""
        atexit.unregister(self._at_exit)
        self._forget_worker()
        self._termination.disarm()
        default = self._default
        self._after_end = lambda: None  # it is not over
        self._restore_exit()
        self._at_exit()
        for delivery in default.deliveries if default is not None else ():
            delivery.stop()
        self._restore()
        if default is not None and trace._TRACER_PROVIDER is default.provider:  # noqa: SLF001
            trace._TRACER_PROVIDER = None  # noqa: SLF001

    def _global(self) -> TracerProvider:
        # The variable, as asking `get_tracer_provider` gives a stand-in where nothing is set.
        if trace._TRACER_PROVIDER is None and "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ:  # noqa: SLF001
            if not self._tried:
                from causepath.export.default_provider import default_provider

                # Without a lock, as this imports, and green threads take turns meanwhile. One that
                # comes at the same time makes another set-up, which has begun nothing yet.
                made = default_provider(self._config)
                if not self._tried:
                    self._tried = True
                    if isinstance(made, str):
                        self.why_none = made
                    else:
                        self._default = made
            if self._default is not None and trace._TRACER_PROVIDER is None:  # noqa: SLF001
                trace._TRACER_PROVIDER = self._default.provider  # noqa: SLF001
        return trace.get_tracer_provider()

    @harmless(None)
    def _at_exit(self) -> None:
        """End what is open, and write what a set-up of our own still has, in the time there is."""
        self._end(FLUSH_SECONDS)
        self._termination.disarm()

    @harmless(None)
    def _end(self, seconds: float, signal_name: str | None = None) -> None:
        until = time.monotonic() + seconds
        if next(self._ends):
            # Several may say at once that the process ends, and each as the last thing it does.
            self._ended.wait(seconds)
            return
        try:
            self._before_end(signal_name)
            if self._default is not None:
                _flush(self._default, until)
            self._after_end()
        finally:
            self._ended.set()


def _described(provider: object) -> str:
    sampler = getattr(provider, "sampler", None)
    kind = type(provider).__name__
    return f"{kind} ({sampler.get_description()})" if sampler is not None else kind


def _has_no_processor(provider: object) -> bool:
    """Tell whether nobody but us sees the spans of a provider of the SDK."""
    together = getattr(provider, "_active_span_processor", None)
    processors = getattr(together, "_span_processors", None)
    return isinstance(processors, tuple) and all(
        type(one).__module__.startswith("causepath.") for one in processors
    )


ASK_FOR_EACH_REQUEST = frozenset({"fastapi", "starlette"})
"""Packages that look, before each request, whether there is a provider, and write no span else."""


def _when_written(begin: Callable[[], None]) -> Callable[[], None]:
    """Call `begin` where somebody is about to write a span and nobody has set up anything. Gives
    what undoes that."""
    looked_up, asked = trace.ProxyTracer._tracer, trace.get_tracer_provider  # noqa: SLF001

    def tracer(self: trace.ProxyTracer) -> Any:
        if self._real_tracer is None and trace._TRACER_PROVIDER is None:  # noqa: SLF001
            begin()
        return looked_up.fget(self)  # type: ignore[attr-defined]

    @functools.wraps(asked)
    def get_tracer_provider() -> TracerProvider:
        if trace._TRACER_PROVIDER is None:  # noqa: SLF001
            asks = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001
            if asks.partition(".")[0] in ASK_FOR_EACH_REQUEST:
                begin()
        return asked()

    replaced, proxy = property(tracer), cast("Any", trace.ProxyTracer)
    proxy._tracer = replaced  # noqa: SLF001
    trace.get_tracer_provider = get_tracer_provider

    def undo() -> None:
        if proxy._tracer is replaced:  # noqa: SLF001
            proxy._tracer = looked_up  # noqa: SLF001
        if trace.get_tracer_provider is get_tracer_provider:
            trace.get_tracer_provider = asked

    return undo


def _flush(own: SetUp, until: float) -> None:
    flushes = []
    if forks.may_begin_threads:
        # Aside and at the same time, as exporters have their own ideas of how long to try: a dead
        # collector must not keep the process alive, nor a file from being written.
        for delivery in own.deliveries:
            flush = threading.Thread(target=delivery.shutdown, daemon=True)
            try:
                flush.start()
            except RuntimeError:  # too late in the life of the interpreter for a thread
                break
            flushes.append((flush, delivery))
    for delivery in own.deliveries[len(flushes) :]:
        delivery.shutdown()
    of_files = min(until, time.monotonic() + FILE_FLUSH_SECONDS)
    for flush, delivery in flushes:
        end = of_files if delivery.is_to_file else until
        flush.join(max(0, end - time.monotonic()))
    for delivery in own.deliveries:
        delivery.tell()


class AtEndOfThread:
    """A value that a thread alone keeps, so that it goes with the thread."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do: Callable[[], None] | None = do

    def __del__(self) -> None:
        if self.do is not None:
            self.do()


class _InThread(threading.local):
    at_end: AtEndOfThread | None = None


_in_thread = _InThread()
