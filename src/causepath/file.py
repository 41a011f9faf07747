"""The trace file: OTLP/JSON lines, appended whole by any number of processes.

The lines are the official exporter's. This module only sees to it that each reaches the file in one
piece.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.json.file import FileSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

if TYPE_CHECKING:
    from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: lines of several processes may mix there
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)


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
    """The official exporter, which also logs why a batch could not be written."""

    def __init__(self, path: Path) -> None:
        self._lines = WholeLines(path)
        super().__init__(stream=self._lines)  # type: ignore[call-overload]

    def export(self, spans: Any) -> Any:
        result = super().export(spans)
        problem = self._lines.problem
        if problem is None:
            return result
        logger.warning("cannot write to the trace file: %s", problem.strerror)
        return SpanExportResult.FAILURE
