"""Runs that the application declares around its code, in generators too, and where that code is.

A generator takes its steps wherever its consumer asks for them, so OpenTelemetry's context alone
does not tell which run a call belongs to.
"""

from __future__ import annotations

import inspect
import sys
import threading
from typing import TYPE_CHECKING

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context

from causepath.calls.runs import (
    ENCLOSING_KEY,
    MAX_DEPTH,
    RUN_KEY,
    Run,
    enclosing_run,
    is_within,
)
from causepath.calls.strands import strand

if TYPE_CHECKING:
    from types import FrameType

GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class DeclaredRuns:
    """The runs that generators declare. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._by_frame: dict[int, list[Run]] = {}
        """The runs by the ids of their generators' frames."""

    def clear(self) -> None:
        """Forgets all of them, and a lock that the parent of a child process may hold."""
        self._lock = threading.RLock()
        self._by_frame.clear()

    def here(self) -> Context:
        """Finds the context that a call belongs to now: the current one, but not of a run that
        has ended, nor, for the consumer of a generator, of the run that the generator declares; and
        of that run, whatever is current, where the generator is on the stack."""
        context = otel.get_current()
        run = enclosing_run(context)
        while run is not None and (run.is_over or _has_left(run)):
            context = _around(context, run)
            run = enclosing_run(context)
        if self._by_frame:
            declared = self._declared_on_stack()
            if declared is not None and not is_within(run, declared):
                return declared.parent
        return context

    def declare_in(self, frame: FrameType, run: Run) -> None:
        """Notes that a generator declares a run, whose steps may come from anywhere."""
        run.frame, run.strand = frame, strand()
        with self._lock:
            self._by_frame.setdefault(id(frame), []).append(run)

    def over(self, run: Run) -> None:
        """Notes that the span of a run has ended."""
        run.is_over = True
        frame, run.frame = run.frame, None
        if frame is not None:
            with self._lock:
                declared = self._by_frame.get(id(frame), [])
                if run in declared:
                    declared.remove(run)
                if not declared:
                    self._by_frame.pop(id(frame), None)

    def _declared_on_stack(self) -> Run | None:
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
        for _ in range(MAX_DEPTH):
            if frame is None:
                return None
            for run in reversed(self._by_frame.get(id(frame), ())):
                if run.frame is frame:
                    return run
            frame = frame.f_back
        return None


def declaring_generator(frame: FrameType | None) -> FrameType | None:
    """Finds the generator whose code declares a run in `frame`; none if that is no generator.

    One that is a context manager declares it for the code that uses that.
    """
    while frame is not None:
        module = str(frame.f_globals.get("__name__")).partition(".")[0]
        if module not in ("causepath", "contextlib"):
            if not frame.f_code.co_flags & GENERATOR:
                return None
            caller = frame.f_back
            if caller is None or caller.f_globals.get("__name__") != "contextlib":
                return frame
        frame = frame.f_back
    return None


def _has_left(run: Run) -> bool:
    """Tells whether a generator that declares the run waits for its consumer, which is here.

    Tasks, say, that it began before are other strands, and still its own.
    """
    if run.frame is None or run.strand != strand():
        return False
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to the stack
    for _ in range(MAX_DEPTH):
        if frame is None:
            return True
        if frame is run.frame:
            return False
        frame = frame.f_back
    return False


def _around(context: Context, run: Run) -> Context:
    """Gives the context without the run: if something else goes on in it, that alone."""
    span = trace.get_current_span(context)
    if run.is_over and span.is_recording() and span.get_span_context()[:2] != run.key:
        return otel.set_value(ENCLOSING_KEY, None, otel.set_value(RUN_KEY, None, context))
    return run.outside or Context()
