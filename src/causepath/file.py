"""The trace file: OTLP/JSON lines, appended whole by any number of processes.

The lines are the official exporter's. This module only sees to it that each reaches the file in one
piece, and says once where they went.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: lines of several processes may mix there
    fcntl = None  # type: ignore[assignment]


class WholeLines:
    """A text stream for one exporter: what is written between two flushes is appended at once."""

    closed = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text: list[str] = []
        self.problem: OSError | None = None
        """Why the last flush wrote nothing. Raised, it would be logged with each batch."""

    def write(self, text: str) -> int:
        self._text.append(text)
        return len(text)

    def flush(self) -> None:
        data = memoryview("".join(self._text).encode())
        self._text.clear()
        if not data:
            return
        try:
            self._append(data)
            self.problem = None
        except OSError as error:
            self.problem = error

    def _append(self, data: memoryview) -> None:
        # Opened anew each time: the file may have been moved away, or this process forked.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)


class TraceFile(FileSpanExporter):
    """The official exporter, which also counts, to say at the end where the spans are."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._lines = WholeLines(path)
        super().__init__(stream=self._lines)  # type: ignore[call-overload]
        self._path = path
        self._say = say
        self._pid = os.getpid()
        self._written = 0
        self._lost = 0
        self._why = ""
        self._lock = threading.Lock()

    def export(self, spans: Any) -> Any:
        result = super().export(spans)
        problem = self._lines.problem
        with self._lock:
            if result is SpanExportResult.SUCCESS and problem is None:
                self._written += len(spans)
            else:
                self._lost += len(spans)
                self._why = f": {problem.strerror}" if problem is not None else ""
        return result if problem is None else SpanExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        super().shutdown(timeout_millis, **kwargs)
        # A forked child has the parent's count and would speak for it; of many workers each would.
        processes = sys.modules.get("multiprocessing.process")
        is_worker = processes is not None and processes.parent_process() is not None
        if os.getpid() == self._pid and not is_worker:
            if self._written:
                self._say(f"{_spans(self._written)} written to {self._path}")
            if self._lost:
                self._say(f"{_spans(self._lost)} could not be written to {self._path}{self._why}")


def _spans(count: int) -> str:
    return f"{count} span" if count == 1 else f"{count} spans"


def file_exporter(path: Path, say: Callable[[str], None]) -> TraceFile:
    """An exporter that appends to `path` and tells `say` how much, when it is shut down."""
    return TraceFile(path, say)
