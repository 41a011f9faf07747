"""Spans in batches to one exporter, with an account of what arrived and what was lost.

Exporters of OpenTelemetry log a warning for each attempt that fails. Here the first says why, in
one line, and the number is told when the process ends.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

QUEUE_SPANS = 2048
"""How many spans wait for the exporter at most, where `OTEL_BSP_MAX_QUEUE_SIZE` says nothing."""

BATCH_SPANS = 512
"""How many spans go at once, where `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` says nothing."""

KINDS_OF_DATA = ("spans", "span", "traces")
"""What exporters call what they send, among the arguments of their messages."""


class Delivery(SpanProcessor):
    """In front of the SDK's batch processor: drops what that has no room for, and counts."""

    def __init__(
        self,
        exporter: SpanExporter,
        destination: str,
        say: Callable[[str], None],
        *,
        is_file: bool = False,
        schedule_delay_millis: float | None = None,
    ) -> None:
        self._destination = destination
        self._say = say
        self._is_file = is_file
        self._lock = threading.Lock()
        self._made_in = self._pid = os.getpid()
        self._room = _queue_size()
        self._waiting = 0
        self._ended = 0
        self._delivered = 0
        self._why = ""
        self._told = False
        self._closing = False
        self._exporter = _Watched(exporter, self)
        self._processor: SpanProcessor
        try:
            self._processor = BatchSpanProcessor(
                self._exporter,
                max_queue_size=self._room,
                schedule_delay_millis=schedule_delay_millis,
                # A small queue is refused with the usual size of batches.
                max_export_batch_size=self._room if self._room < BATCH_SPANS else None,
            )
        except RuntimeError:
            # No thread can begin: since Python 3.12 once the main one has ended, though others go
            # on, and never in an isolated subinterpreter.
            self._why = "no thread could begin that sends them"
            self._processor = _Unthreaded(self._exporter, at_once=is_file)

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        if os.getpid() != self._pid:  # a forked child: the SDK empties its queue
            self._lock, self._pid, self._waiting = threading.Lock(), os.getpid(), 0
        with self._lock:
            self._ended += 1
            if self._waiting >= self._room:
                self._why = self._why or "they came faster than they could be sent"
                return
            self._waiting += 1
        self._processor.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._processor.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what is waiting. What cannot even be connected to is not tried again."""
        self._closing = True
        if self._exporter.cannot_connect:
            self._exporter.shutdown()
        self._processor.shutdown()

    def tell(self) -> None:
        """Say what became of the spans, where there is something to say.

        A forked child has the parent's count and would speak for it; of many workers each would.
        """
        if os.getpid() != self._made_in or _is_worker():
            return
        with self._lock:
            delivered, lost = self._delivered, self._ended - self._delivered
        if delivered and self._is_file:
            self._say(f"{_spans(delivered)} written to {self._destination}")
        if lost:
            verb = "written" if self._is_file else "sent"
            of_all = f" of {_spans(delivered + lost)}" if delivered and not self._is_file else ""
            count = str(lost) if of_all else _spans(lost)
            why = self._why or "no answer in time"
            self._say(f"{count}{of_all} could not be {verb} to {self._destination}: {why}")

    def taken(self, count: int) -> None:
        """So many spans left the queue."""
        with self._lock:
            self._waiting = max(0, self._waiting - count)

    def arrived(self, count: int) -> None:
        """So many spans were taken by where they go."""
        with self._lock:
            self._delivered += count

    def failed(self, why: str) -> None:
        """An attempt failed, for a reason in a few words, or an unknown one."""
        self._why = why or self._why or "no attempt succeeded"
        if not (self._told or self._closing or self._is_file):
            self._told = True
            self._say(f"no spans get to {self._destination}: {self._why}; the agent goes on")

    @property
    def closing(self) -> bool:
        """Whether the process ends."""
        return self._closing


class _Unthreaded(SpanProcessor):
    """Spans that the application's own threads bring to the exporter.

    To a file at once, but to anywhere else only when the process ends: an agent must not wait for a
    collector.
    """

    def __init__(self, exporter: SpanExporter, *, at_once: bool) -> None:
        self._exporter = exporter
        self._at_once = at_once
        self._lock = threading.Lock()
        self._waiting: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self._waiting.append(span)
            if self._at_once:
                self._export()

    def shutdown(self) -> None:
        with self._lock:
            self._export()
        self._exporter.shutdown()

    def _export(self) -> None:
        spans, self._waiting = self._waiting, []
        token = otel.attach(otel.set_value(otel._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001
        try:
            if spans:
                self._exporter.export(spans)
        finally:
            otel.detach(token)


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

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._delivery.taken(len(spans))
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
    """Why an attempt failed, from what an exporter logs: `Connection refused`.

    The last text among the arguments, and of that what follows the last colon, as libraries put the
    cause last. Empty where there is none.
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


def _queue_size() -> int:
    text = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
    return int(text) if text.isdecimal() and int(text) > 0 else QUEUE_SPANS


def _is_worker() -> bool:
    processes = sys.modules.get("multiprocessing.process")
    return processes is not None and processes.parent_process() is not None


def _spans(count: int) -> str:
    return f"{count} span" if count == 1 else f"{count} spans"
