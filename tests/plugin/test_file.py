"""The trace file: each batch is one whole line, whatever became of the one before."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from causepath.export import trace_file
from causepath.export.trace_file import TraceFile

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN, NOT_WRITTEN = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.jsonl"


def batch(name: str) -> list[Any]:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span(name)
    span.end()
    return [span]


def names(path: Path) -> list[str]:
    """Of the spans; a line that is torn as `torn`."""
    found = []
    for line in path.read_text().splitlines():
        try:
            (resource,) = json.loads(line)["resourceSpans"]
        except ValueError:  # noqa: PERF203 - each on its own
            found.append("torn")
        else:
            found += [s["name"] for scope in resource["scopeSpans"] for s in scope["spans"]]
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", ["a", "b"]),
        (b'{"resourceSpans": [{"resource"', ["torn", "a", "b"]),
        (b'{"resourceSpans": [{"resource"\n', ["torn", "a", "b"]),
        (b"\xff", ["torn", "a", "b"]),
    ],
    ids=["empty", "cut off", "cut off by somebody who went on", "no text"],
)
def test_a_torn_last_line_costs_that_line_only(before: bytes, after: list[str], path: Path) -> None:
    path.write_bytes(before)
    written = TraceFile(path)
    assert [written.export(batch(name)) for name in "ab"] == [WRITTEN] * 2
    path.write_bytes(path.read_bytes().replace(b"\xff", b"?"))
    assert names(path) == after


def test_what_cannot_be_written_whole_is_not_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = TraceFile(path)
    assert written.export(batch("before")) is WRITTEN
    write, left = os.write, [40, 2, 0]

    def full(descriptor: int, data: Any) -> int:
        room = left.pop(0)
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:room])

    with monkeypatch.context() as patched:
        patched.setattr(trace_file.os, "write", full)
        assert written.export(batch("lost")) is NOT_WRITTEN
    assert written.export(batch("after")) is WRITTEN
    assert names(path) == ["before", "after"]


def test_a_short_write_goes_on_where_it_ended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(
        trace_file.os, "write", lambda descriptor, data: write(descriptor, data[:10])
    )
    assert TraceFile(path).export(batch("a")) is WRITTEN
    assert names(path) == ["a"]


@pytest.mark.parametrize(
    ("private", "there", "mode"),
    [(False, None, 0o644), (True, None, 0o600), (True, 0o644, 0o600), (False, 0o640, 0o640)],
)
def test_who_may_read_it(private: bool, there: int | None, mode: int, path: Path) -> None:
    if there is not None:
        path.touch()
        path.chmod(there)
    before = os.umask(0o022)
    try:
        TraceFile(path, private=private).export(batch("a"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.timeout(20)
def test_a_file_that_another_process_holds_is_waited_for_but_not_for_ever(path: Path) -> None:
    written = TraceFile(path)
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        written.patience_seconds = 0.05
        assert written.export(batch("lost")) is NOT_WRITTEN
        written.patience_seconds = 10
        threading.Timer(0.05, fcntl.flock, (other, fcntl.LOCK_UN)).start()
        assert written.export(batch("a")) is WRITTEN
    assert names(path) == ["a"]


@pytest.mark.timeout(20)
def test_a_child_that_was_forked_while_it_was_written_does_not_hold_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write, children = TraceFile(path), os.write, list[int]()

    def forks(descriptor: int, data: Any) -> int:
        if not children:
            children.append(os.fork())
            if not children[0]:
                time.sleep(60)
                os._exit(0)
        return write(descriptor, data)

    monkeypatch.setattr(trace_file.os, "write", forks)
    try:
        assert written.export(batch("a")) is WRITTEN
        assert written.export(batch("b")) is WRITTEN
    finally:
        os.kill(children[0], 9)
        os.waitpid(children[0], 0)
    assert names(path) == ["a", "b"]


def test_it_may_be_a_pipe(path: Path) -> None:
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert TraceFile(path).export(batch("a")) is WRITTEN
        assert b'"name":"a"' in os.read(reader, 10_000)
    finally:
        os.close(reader)
