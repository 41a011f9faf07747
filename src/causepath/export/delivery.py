"""Spans in batches to one exporter, with an account of what arrived and what was lost.

Exporters of OpenTelemetry log a warning for each attempt that fails. Here the first says why, in
one line, and the number is told when the process ends.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from causepath import forks
from causepath.guard import log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from causepath.export.trace_file import TraceFile

QUEUE_SPANS = 2048
"""How many spans wait for the exporter at most, where `OTEL_BSP_MAX_QUEUE_SIZE` says nothing."""

BATCH_SPANS = 512
"""How many spans go at once, where `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says nothing."""

DELAY_MILLISECONDS = 5_000
"""How long spans wait for company, where `OTEL_BSP_SCHEDULE_DELAY` says nothing."""

END_SECONDS = 1.0
"""How long the end of a thread of ours is waited for where the plugin is taken out."""

FILE_SECONDS = 0.7
"""How long the end of the process waits for somebody else who holds the trace file."""

IN_PASSING_SECONDS = 0.1
"""How long the application's own threads do."""

KINDS_OF_DATA = ("spans", "span", "traces")
"""What exporters call what they send, among the arguments of their messages."""


class Delivery(SpanProcessor):
    """Spans in batches, brought by a thread that begins when the first span has ended.

    Where no thread may or can begin, the application's own threads bring them: to a file at once,
    but to anywhere else only when the process ends, as an agent must not wait for a collector.
    """

    # In the place of the SDK's batch processor, whose thread begins with it and anew in every
    # forked child, whether or not that ever writes a span, and keeps one alive that was forked in a
    # thread.

    def __init__(
        self,
        exporter: SpanExporter,
        destination: str,
        say: Callable[[str], None],
        *,
        file: TraceFile | None = None,
        delay_seconds: float | None = None,
    ) -> None:
        self._destination = destination
        self._say = say
        self._file = file
        self._made_in = os.getpid()
        self._room = _number("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS)
        self._batch = min(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SPANS), self._room)
        if delay_seconds is None:
            delay_seconds = _number("OTEL_BSP_SCHEDULE_DELAY", DELAY_MILLISECONDS) / 1e3
        self._delay_seconds = delay_seconds
        self._exporter = _Watched(exporter, self)
        self._begin()
        forks.living.add(self)

    def _begin(self) -> None:
        self._waiting: deque[ReadableSpan] = deque()
        # Once more in one thread, too: a collection may end a span anywhere.
        self._counting = threading.RLock()
        self._exporting = threading.Lock()
        self._some, self._enough = threading.Event(), threading.Event()
        self._begins = itertools.count()
        self._is_threaded = True
        self._thread: threading.Thread | None = None
        self._ended = 0
        self._delivered = 0
        self._why = ""
        self._told = False
        self._closing = self._stopped = False
        self.written: set[int] = set()
        """The ids of spans that came before they had ended, as the process ends."""

    def after_fork(self) -> None:
        """Starts empty in a child process: what waits is the parent's to send, and the thread is
        its, too."""
        self._begin()

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if (
            self._stopped
            or context is None
            or not context.trace_flags.sampled
            or context.span_id in self.written
        ):
            return
        with self._counting:
            self._ended += 1
            if len(self._waiting) >= self._room:
                self._why = self._why or "they came faster than they could be sent"
                return
            self._waiting.append(span)
        if self._closing or not self._has_thread():
            if self._file is not None:
                self._file.patience_seconds = IN_PASSING_SECONDS
                self._export(IN_PASSING_SECONDS)
            return
        if len(self._waiting) >= self._batch:
            self._enough.set()
        if not self._some.is_set():
            self._some.set()
        if self._file is not None and _is_worker() and _is_outermost(span):
            # A pool may end its workers as soon as it has their results.
            self._export(IN_PASSING_SECONDS)

    def _has_thread(self) -> bool:
        """Tells whether a thread of ours sends the spans, and starts it if need be."""
        if not forks.may_begin_threads:
            return False
        if not next(self._begins):  # the first one to ask, without a lock: green threads take turns
            try:
                thread = threading.Thread(
                    target=self._bring, name="causepath-delivery", daemon=True
                )
                thread.start()
                self._thread = thread
            except RuntimeError:
                # Since Python 3.12 once the main thread has ended, though others go on, and never
                # in an isolated subinterpreter.
                self._why = "no thread could begin that sends them"
                self._is_threaded = False
        return self._is_threaded

    def _bring(self) -> None:
        while not (self._closing or self._stopped):
            self._some.wait()
            self._some.clear()
            self._enough.wait(self._delay_seconds)
            self._enough.clear()
            if not (self._closing or self._stopped):
                self._export(None)

    def _export(self, patience_seconds: float | None) -> bool:
        """Bring what waits, or leave that to who is at it already."""
        if not self._exporting.acquire(
            timeout=-1 if patience_seconds is None else patience_seconds
        ):
            return False
        try:
            token = otel.attach(otel.set_value(otel._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001
            try:
                while self._waiting:
                    count = min(self._batch, len(self._waiting))
                    self._bring_batch([self._waiting.popleft() for _ in range(count)])
            finally:
                otel.detach(token)
        finally:
            self._exporting.release()
        return True

    def _bring_batch(self, spans: list[ReadableSpan]) -> None:
        try:
            self._exporter.export(spans)
        except Exception as error:
            log.debug("an exporter has failed", exc_info=True)
            self.failed(type(error).__name__)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._export(timeout_millis / 1e3) and self._exporter.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Bring what is waiting. What cannot even be connected to is not tried again."""
        self._closing = True
        if self._file is not None:
            self._file.patience_seconds = FILE_SECONDS
        if self._exporter.cannot_connect:
            self._exporter.shutdown()
        self._some.set()
        self._enough.set()
        self._export(None)
        self._exporter.shutdown()

    def stop(self) -> None:
        """Take no more spans: nobody is there any longer who wants them. The thread ends."""
        self._stopped = True
        self._some.set()
        self._enough.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(END_SECONDS)
        self._exporter.let_go()

    def tell(self) -> None:
        """Say what became of the spans, where there is something to say.

        A forked child has the parent's count and would speak for it; of many workers each would.
        """
        if os.getpid() != self._made_in or _is_worker():
            return
        with self._counting:
            delivered = self._delivered
        if delivered and self._file is not None:
            self._say(f"{_spans(delivered)} written to {self._destination}")
        lost = self.lost()
        if lost is not None:
            self._say(lost)

    def lost(self) -> str | None:
        """Says how many spans did not get to where they go, and why, if that is so."""
        is_file = self._file is not None
        with self._counting:
            delivered, lost = self._delivered, self._ended - self._delivered
        if not lost:
            return None
        verb = "written" if is_file else "sent"
        of_all = f" of {_spans(delivered + lost)}" if delivered and not is_file else ""
        count = str(lost) if of_all else _spans(lost)
        why = self._why or "no answer in time"
        return f"{count}{of_all} could not be {verb} to {self._destination}: {why}"

    def arrived(self, count: int) -> None:
        """So many spans were taken by where they go."""
        with self._counting:
            self._delivered += count

    def failed(self, why: str) -> None:
        """An attempt failed, for a reason in a few words, or an unknown one."""
        self._why = why or self._why or "no attempt succeeded"
        if not (self._told or self._closing or self._file is not None):
            self._told = True
            self._say(f"no spans get to {self._destination}: {self._why}; the agent goes on")

    @property
    def is_used(self) -> bool:
        """Tells whether any span of this process came here, or may do so."""
        return bool(self._ended) or os.getpid() == self._made_in

    @property
    def is_to_file(self) -> bool:
        return self._file is not None

    @property
    def closing(self) -> bool:
        """Tells whether the process ends."""
        return self._closing


class _Watched(SpanExporter):
    """An exporter whose results are counted, and whose warnings come here instead of to the log."""

    def __init__(self, exporter: SpanExporter, delivery: Delivery) -> None:
        self._exporter = exporter
        self._delivery = delivery
        self._is_shut_down = False
        self.cannot_connect = False
        self._loggers = [logging.getLogger(kind.__module__) for kind in type(exporter).__mro__[:-1]]
        for logger in self._loggers:
            logger.addFilter(self._hold_back)

    def let_go(self) -> None:
        """Leaves warnings to the log again."""
        for logger in self._loggers:
            logger.removeFilter(self._hold_back)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.cannot_connect = False
            self._delivery.arrived(len(spans))
        else:
            self._delivery.failed("")
        return result

    def shutdown(self) -> None:
        if not self._is_shut_down:
            self._is_shut_down = True
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _hold_back(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        text = record.getMessage()
        self.cannot_connect = "connect" in text.lower()
        reason = _reason(record)
        if reason and not self._is_shut_down:
            self._delivery.failed(reason)
        if self.cannot_connect and self._delivery.closing:
            self.shutdown()  # which ends the pause before the next attempt
        return False


def _reason(record: logging.LogRecord) -> str:
    """Finds why an attempt failed in what an exporter logs: `Connection refused`.

    It takes the last text among the arguments, and of that what follows the last colon, because
    libraries put the cause last. Empty if there is none.
    """
    arguments: tuple[Any, ...] = record.args if isinstance(record.args, tuple) else ()
    texts = [str(one) for one in arguments if isinstance(one, (str, BaseException))]
    reasons = [text for text in texts if text not in KINDS_OF_DATA]
    if not reasons:
        return ""
    cause = reasons[-1].rsplit(": ", 1)[-1].rstrip("\"')")
    if cause.startswith("[Errno"):
        cause = cause.partition("] ")[2]
    return cause


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() and int(text) > 0 else default


def _is_outermost(span: ReadableSpan) -> bool:
    return span.parent is None or span.parent.is_remote


def _is_worker() -> bool:
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _spans(count: int) -> str:
    return f"{count} span" if count == 1 else f"{count} spans"
