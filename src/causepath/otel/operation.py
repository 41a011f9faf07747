"""A span that is current while it is entered: entered and left in one and the same frame."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, StatusCode

from causepath import forks
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import Ending, ending_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from opentelemetry.trace import Span


class Operation:
    """A span and the context inside it, entered and left in one frame, any number of times.

    `with` is one whole life. A generator enters for each step (`step`) and ends once.
    """

    on_over: Callable[[], object] | None = None
    """Who else is told, and be it that nobody carried it out."""

    def __init__(
        self,
        span: Span,
        context: Context,
        on_end: Callable[[int, str | None], None] | None = None,
        read_error: Callable[[BaseException], str] | None = None,
    ) -> None:
        self.span = span
        self._context = context
        self._token: Any = None
        self._on_end = on_end
        self._read_error = read_error
        self._error: str | None = None
        self.ending: Ending | None = None
        """How it ended, if not by itself."""
        self._process = forks.process
        self._is_over = False
        self.explain: Callable[[BaseException], str | None] | None = None
        """Puts into words why it failed, if anything that is said is recorded."""
        self.reason: str | None = None
        """These words."""
        self.on_result: list[Callable[[object], Callable[[], None] | None]] = []
        """Who wants to see what the operation gives back, and what they do with it once it is known
        that it is that."""

    @harmless(None)
    def __enter__(self) -> None:
        self._token = otel.attach(self._context)

    @harmless(None)
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        detach(self._token)
        self.end(error)

    @harmless(nullcontext())
    def step(self) -> AbstractContextManager[None]:
        """The context of the operation for one step of a generator."""
        return Step(self._context)

    @harmless(None)
    def returned(self, result: object) -> None:
        """The application is about to get `result`."""
        if self._process is forks.process and not self._is_over:
            for look in self.on_result:
                known = look(result)
                if known is not None:
                    known()

    def began(self, start_ns: int) -> None:
        """It waited until then for somebody to begin it."""
        span: Any = self.span
        if hasattr(span, "_start_time"):
            span._start_time = start_ns  # noqa: SLF001 - there is no public way to say so later

    def fail(self, error_type: str) -> None:
        """Marks the operation as failed, whether or not by an exception."""
        self._error = error_type
        self.span.set_status(StatusCode.ERROR, self.reason)
        self.span.set_attribute(semconv.ERROR_TYPE, error_type)

    def ended_by(self, error: BaseException) -> None:
        """An exception leaves it. That a generator is closed is no error of it."""
        told = (
            self._read_error(error) if self._read_error and isinstance(error, Exception) else None
        )
        self.ending = ending = ending_of(error, told)
        self.explained(error)
        if ending.is_error and ending.error_type is not None:
            self.fail(ending.error_type)

    def explained(self, error: BaseException) -> None:
        """Notes why it failed, if anybody wants to know."""
        if self.explain is not None:
            self.reason = self.explain(error)

    def give_up(self, end_ns: int, error_type: str) -> None:
        """Ends an operation that nothing waits for any more: what comes later is not part of it."""
        if not self._is_over:
            self.span.set_attribute(semconv.TOOL_GIVEN_UP, True)
            self.fail(error_type)
            self.end(end_ns=end_ns)

    def is_left(self) -> None:
        """Tells that nothing is in progress any more."""
        if self.on_over is not None:
            self.on_over()

    @harmless(None)
    def end(self, error: BaseException | None = None, end_ns: int | None = None) -> None:
        if self._process is not forks.process or self._is_over:
            return
        self._is_over = True
        self.is_left()
        if getattr(self.span, "end_time", None) is not None:
            return  # the end of the process has ended it
        if error is not None:
            self.ended_by(error)
        end_ns = end_ns or time.time_ns()
        self.span.end(end_time=end_ns)
        if self._on_end is not None:
            self._on_end(end_ns, self._error)


class Refused(Operation):
    """An operation that may not begin: who enters it gets the error."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(INVALID_SPAN, Context())
        self._refusal = error
        self._is_over = True

    def __enter__(self) -> None:
        raise self._refusal

    def step(self) -> AbstractContextManager[None]:
        return self


class Step:
    """A context for one frame."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    @harmless(None)
    def __enter__(self) -> None:
        self._token = otel.attach(self._context)

    @harmless(None)
    def __exit__(self, *exc: object) -> None:
        detach(self._token)


def detach(token: Any) -> None:
    """Detaches like `otel.detach`, but silently if the frame is left in another context than it was
    entered.

    That happens to a coroutine which the collector closes, for example, and there is nothing to
    restore then.
    """
    if isinstance(token, Token):
        try:
            token.var.reset(token)
        except ValueError:
            return  # as said above
    elif token is not None:
        otel.detach(token)
