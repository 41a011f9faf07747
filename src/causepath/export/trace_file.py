"""The trace file: OTLP/JSON lines, appended whole by any number of processes.

`otlp_json` makes the lines. This module sees to it that each reaches the file in one piece, or not
at all.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from causepath.export import otlp_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

try:
    import fcntl
except ImportError:  # Windows: lines of several processes may mix there
    fcntl = None  # type: ignore[assignment]

PATIENCE_SECONDS = 10.0
"""How long another process may hold the file before it counts as one that cannot be written."""

LOCK_PAUSE_SECONDS = 0.005

logger = logging.getLogger(__name__)


class TraceFile(SpanExporter):
    """Appends a line for each batch, and logs why one could not be written.

    `private`: what is said is recorded, and nobody but the user may read it.
    """

    # Without a lock of its own: the official exporter for files holds one while it writes, and a
    # child that is forked meanwhile would wait for it for ever.

    def __init__(self, path: Path, *, private: bool = False) -> None:
        self._path = path
        self._private = private
        self.patience_seconds = PATIENCE_SECONDS
        """How long to wait for others now; less where somebody waits for us."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            self._append(otlp_json.line(spans))
        except OSError as error:
            logger.warning("cannot write to the trace file: %s", error.strerror)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Does nothing: no file is open between two batches."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True

    def _append(self, data: bytes) -> None:
        # Opened anew each time: the file may have been moved away, or this process forked.
        descriptor = self._open()
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):  # a pipe, a terminal
                _write(descriptor, data)
                return
            if self._private and about.st_mode & 0o077 and about.st_uid == os.geteuid():
                os.fchmod(descriptor, 0o600)
            self._lock(descriptor)
            try:
                _append_whole(descriptor, data)
            finally:
                # Said, as a child that was forked meanwhile has the file open, too.
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        mode, flags = 0o600 if self._private else 0o644, os.O_APPEND | os.O_CREAT
        try:
            return os.open(self._path, os.O_RDWR | flags, mode)
        except OSError:  # may be written, but not read; a pipe
            return os.open(self._path, os.O_WRONLY | flags, mode)

    def _lock(self, descriptor: int) -> None:
        began = time.monotonic()
        while fcntl is not None and not _locked(descriptor):
            if time.monotonic() - began >= self.patience_seconds:
                raise OSError(errno.EWOULDBLOCK, "another process holds it")
            time.sleep(LOCK_PAUSE_SECONDS)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR)
    return True  # or a file system without locks


def _append_whole(descriptor: int, data: bytes) -> None:
    size = os.fstat(descriptor).st_size
    if size and not _ends_in_newline(descriptor, size):
        data = b"\n" + data  # somebody was ended while writing: that line alone is torn
    try:
        _write(descriptor, data)
    except OSError:
        os.ftruncate(descriptor, size)
        raise


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _ends_in_newline(descriptor: int, size: int) -> bool:
    try:
        return os.pread(descriptor, 1, size - 1) == b"\n"
    except (OSError, AttributeError):  # opened for writing only; Windows
        return True
