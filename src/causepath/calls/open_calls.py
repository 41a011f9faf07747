"""The model calls in progress, and the spans of ours that have begun and not ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from causepath.otel import semconv
from causepath.otel.span_access import key_of, write_ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, SpanContext

    from causepath.otel.endings import Ending
    from causepath.otel.span_access import Key

MAX_CALLS_IN_FLIGHT = 10_000

GRACE_NS = 1_000_000_000
"""Time after a reply in which another library may still end the span of its call."""

MAX_LEFT_TO_OTHERS = 1_000


class OpenCall(Protocol):
    """A model call, as far as its span is concerned."""

    closed_ns: int
    """The time when nothing more came."""

    @property
    def is_complete(self) -> bool:
        """Says that the whole reply is known."""

    def known_late(self) -> dict[str, Any]:
        """Gives what to add to a span that another library ends before the reply is over for us."""

    def cut_off_by(self, error: BaseException | None) -> None: ...

    def over(self, end_ns: int, error: str | None) -> None:
        """Notes that the span of the call has ended."""

    def interrupt(self, write_open: Callable[[Span], None], why: Ending) -> None:
        """Ends the call as far as it came, as the process ends, and `why`."""

    def write_if_nobody_has(self) -> None:
        """Writes a span for the call if the library that began one has not ended it."""


class OpenCalls:
    """The spans that somebody has to end, by their keys. Safe to use from any thread."""

    def __init__(self) -> None:
        self._open: dict[Key, OpenCall] = {}
        self._left_to_others: deque[OpenCall] = deque(maxlen=MAX_LEFT_TO_OTHERS)
        self._unended: dict[Key, Span] = {}
        self.calls = self.begun = self.passed = 0
        """The model calls that were made, the spans that we began, those of anybody that ended."""

    def clear(self) -> None:
        """Forgets all of them: they are another process's to end, or nobody's any more."""
        self._open.clear()
        self._unended.clear()
        self._left_to_others.clear()
        self.calls = self.begun = self.passed = 0

    # -- spans of ours

    def began(self, span: Span) -> None:
        """Notes that one of our own spans has begun."""
        self.begun += 1
        if len(self._unended) < MAX_CALLS_IN_FLIGHT:
            self._unended[key_of(span.get_span_context())] = span

    def ended(self, key: Key) -> OpenCall | None:
        """Notes that a span has ended. Gives the model call that it is of, if any."""
        self.passed += 1
        self._unended.pop(key, None)
        return self._open.pop(key, None)

    def dropped(self, key: Key) -> None:
        """Forgets a span of ours that has turned out to be of nothing: it never ends."""
        self._unended.pop(key, None)

    def end_spans(self, end_ns: int, why: Ending) -> None:
        """Ends the spans that are open, as the process ends, and `why`."""
        for span in reversed(list(self._unended.values())):
            if span.is_recording():
                span.set_attribute(semconv.UNFINISHED, True)
                write_ending(span, why)
                span.end(end_time=end_ns)

    # -- model calls

    def opened(self, call: OpenCall, context: SpanContext) -> None:
        """Notes that `call` waits for the end of its span, which has this context."""
        if len(self._open) < MAX_CALLS_IN_FLIGHT:
            self._open[key_of(context)] = call

    def in_progress(self, context: SpanContext) -> OpenCall | None:
        """Finds the call that has the span with this context."""
        return self._open.get(key_of(context))

    def forget(self, context: SpanContext) -> None:
        """Forgets a call whose span has ended."""
        self._open.pop(key_of(context), None)

    def interrupt(self, write_open: Callable[[Span], None], why: Ending) -> None:
        """Ends all calls as far as they came, as the process ends, and `why`."""
        for call in list(self._open.values()):
            call.interrupt(write_open, why)

    # -- model calls whose spans other libraries end

    def left_to_others(self, call: OpenCall) -> None:
        """Keeps a call that has ended in mind, whose span another library should end by now."""
        self._left_to_others.append(call)

    def write_what_others_left(self, before_ns: int) -> None:
        """Writes the calls that ended before, if the libraries that began their spans have not."""
        left = self._left_to_others
        while left and left[0].closed_ns <= before_ns:
            left.popleft().write_if_nobody_has()
