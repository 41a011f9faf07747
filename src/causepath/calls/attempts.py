"""The attempts of a model call that took more than one, and the pauses between them: spans below
that of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, StatusCode

from causepath.otel import semconv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer


APART_NS = 1_000
"""Between two attempts or pauses: Jaeger takes those that touch for one on the path."""


class Attempts:
    """Attempts, from when the first one has failed: most calls need no second."""

    def __init__(self, tracer: Tracer, around: Context, start_ns: int) -> None:
        """Begins with the first attempt, which began at `start_ns`; spans hang on `around`."""
        self._tracer = tracer
        self._around = around
        self._start_ns = start_ns
        self._number = 0
        self._pause: Span | None = None

    def succeeded(self, end_ns: int, status: object, about: Mapping[str, Any]) -> None:
        """Writes the attempt that went on and has a response; `about` tells of its connection."""
        self._write(end_ns, "network", status, None, about)

    def failed(
        self,
        end_ns: int,
        status: object,
        error_type: str | None,
        about: Mapping[str, Any],
        retry_after: str | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        """Writes the attempt that went on and has failed, whether or not another one follows.

        The last one is an error. One that another follows is none for OpenTelemetry: pages and
        samplers would take a call that went well in the end for one that failed.
        """
        if retry_after:
            about = {**about, semconv.RETRY_AFTER: (retry_after,)}
        self._write(end_ns, "retry", status, error_type, about, is_error=is_last)

    def pause(self, start_ns: int) -> None:
        """Begins the pause before the next one."""
        self._pause = self._tracer.start_span(
            "backoff",
            context=self._around,
            kind=SpanKind.INTERNAL,
            attributes={semconv.CATEGORY: "retry"},
            start_time=start_ns + APART_NS,
        )
        self._start_ns = start_ns + APART_NS

    def go_on(self, now_ns: int) -> None:
        """Ends the pause, however it is over."""
        if self._pause is not None:
            now_ns = max(now_ns, self._start_ns)
            self._pause.end(end_time=now_ns)
            self._pause = None
        self._start_ns = now_ns + APART_NS

    def _write(
        self,
        end_ns: int,
        category: str,
        status: object,
        error_type: str | None,
        about: Mapping[str, Any],
        *,
        is_error: bool = False,
    ) -> None:
        self._number += 1
        told = {
            semconv.CATEGORY: category,
            semconv.HTTP_STATUS: status if isinstance(status, int) else None,
            semconv.ERROR_TYPE: error_type,
            **about,
        }
        span = self._tracer.start_span(
            f"attempt {self._number}",
            context=self._around,
            kind=SpanKind.CLIENT,
            attributes=semconv.present(told),
            start_time=self._start_ns,
        )
        if is_error:
            span.set_status(StatusCode.ERROR)
        span.end(end_time=max(end_ns, self._start_ns))
