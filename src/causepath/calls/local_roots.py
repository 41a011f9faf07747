"""The outermost spans of this process around others: the request that a web server answers, a task.

A conversation that nobody declared, in a span of somebody else's, is a run as well: that outermost
span is its run, and is marked so. The tree stays as others made it.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context

from causepath.calls.runs import Run
from causepath.otel import semconv
from causepath.otel.span_access import attributes_of, is_server

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from causepath.otel.span_access import Key

MAX_OPEN = 10_000
"""Spans watched at a time; of more, the oldest are forgotten."""

SCHEMES = ("http.scheme", "url.scheme")


class LocalRoot:
    """A span that none of this process is around, as long as it is open."""

    __slots__ = ("_is_marked", "_span", "has_runs", "key", "run")

    def __init__(self, span: Span, key: Key) -> None:
        # An application may never end it: it is not kept alive.
        self._span = weakref.ref(span)
        self.key = key
        self.run: Run | None = None
        """The run that it is, once there has been a call in it."""
        self._is_marked = False
        self.has_runs = False
        """There are runs in it, with spans of their own: it is none itself."""

    def as_run(self, *, begins: bool = True) -> Run | None:
        """Takes the span for that of a run, if it may be one, and marks it if the run begins in it:
        one that goes on has its mark where it began."""
        span = self._span()
        if span is None or self.has_runs or not span.is_recording():
            return self.run
        if self.run is None:
            if attributes_of(span).get(semconv.CATEGORY) == "llm":
                return None  # a trace of one call, and the next one has another
            self.run = Run(Context(), self.key)
            self.run.written = span
        if begins and not self._is_marked:
            self._is_marked = True
            span.set_attribute(semconv.RUN_OUTERMOST, True)
        return self.run


class LocalRoots:
    """The spans that are open, with the outermost one around each. Safe to use from any thread."""

    def __init__(self) -> None:
        self._around: OrderedDict[Key, LocalRoot] = OrderedDict()

    def began(self, span: Any, key: Key, parent: Key | None) -> None:
        """Notes that a span has begun, below that with the key `parent`."""
        around = self._around
        root = around.get(parent) if parent is not None else None
        if root is None:
            if is_connection(span):
                return
            root = LocalRoot(span, key)
        around[key] = root
        if len(around) > MAX_OPEN:
            around.popitem(last=False)

    def ended(self, key: Key) -> None:
        """Notes that a span has ended."""
        root = self._around.pop(key, None)
        if root is not None and root.key == key and root.run is not None:
            root.run.written = None

    def of(self, key: Key) -> LocalRoot | None:
        """Finds the outermost span around the one with this key, which is open, or that itself."""
        return self._around.get(key)

    def is_cut_off(self, key: Key) -> bool:
        """Tells the span of a run that ends while a call of it goes on."""
        root = self._around.get(key)
        return root is not None and root.key == key and root.run is not None and root.run.inside > 0

    def clear(self) -> None:
        self._around.clear()


def is_connection(span: Any) -> bool:
    """Tells the span of a WebSocket: what is asked by it, one after the other, has nothing to do
    with each other."""
    attributes = attributes_of(span)
    return is_server(span) and any(attributes.get(name) in ("ws", "wss") for name in SCHEMES)
