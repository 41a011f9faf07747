"""Model calls as they begin: the run of each, what its span hangs on, and who writes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan

from causepath.calls.asked_tools import NOTHING_DELIVERED
from causepath.calls.model_call import ModelCall, Place
from causepath.calls.open_calls import GRACE_NS
from causepath.calls.runs import Run, run_in
from causepath.guard import harmless
from causepath.otel.span_access import is_suppressed, key_of, unsuppressed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext

    from causepath.calls.asked_tools import AskedTools
    from causepath.calls.foreign_spans import OtherSpan, OtherSpans
    from causepath.calls.open_calls import OpenCalls
    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.run_spans import RunSpans
    from causepath.calls.tracing import Tracing
    from causepath.content.call_words import Words
    from causepath.otel.metrics import Metrics
    from causepath.providers.messages import ModelRequest
    from causepath.providers.provider import Provider


class ModelCalls:
    """The calls that the patched methods of SDKs make."""

    def __init__(
        self,
        tracing: Tracing,
        runs: OpenRuns,
        run_spans: RunSpans,
        open_calls: OpenCalls,
        others: OtherSpans,
        tools: AskedTools,
        words: Words,
        metrics: Metrics,
    ) -> None:
        self._tracing = tracing
        self._runs = runs
        self._run_spans = run_spans
        self._open_calls = open_calls
        self._others = others
        self._tools = tools
        self._words = words
        self._metrics = metrics
        self.asks_diagnosis = False
        """Requests ask the provider why its cache did not have all of a prompt."""

    @harmless(None)
    def begin(
        self, provider: Provider, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ModelCall | None:
        """Begins the model call that these arguments make; gives `None` if they make none."""
        now_ns = time.time_ns()  # what has to be set up first is part of the first call
        request = provider.read_request(args, kwargs)
        if request is None:
            return None
        self._open_calls.calls += 1
        here = self._runs.here()
        current = trace.get_current_span(here).get_span_context()
        others = self._others if self._others.open else None
        if is_suppressed() and (others is None or others.current(current) is None):
            return None  # else the library that writes its span has suppressed us: it is completed
        tracer = self._tracing.tracer()
        native = provider.native
        theirs = native.tracer(client, args, kwargs) if native is not None else None
        if native is not None and theirs is None:
            native = None
        elif native is not None and not self._tracing.sees(native, theirs, client):
            # Told to write elsewhere than the SDK does: then we write, and the SDK does not.
            args, kwargs = native.silence(args, kwargs)
            native = None
        self._open_calls.write_what_others_left(now_ns - GRACE_NS)
        other = others.of_call(current, provider.name) if others is not None else None
        if other is not None:
            other.claimed = True
        place = self._place(
            request, other, here, current, now_ns, lambda: provider.read_body(args, kwargs)
        )
        run, delivered = place.run, NOTHING_DELIVERED
        if request.tool_results:
            delivered = self._tools.deliver(run, request, now_ns, place.around, tracer)
        run.forces_tools = request.forces_tool
        if self._words.content is not None:
            run.native_content = native is not None and native.records_content(client)
        call = ModelCall(
            provider,
            client,
            request,
            place,
            self._runs.next_turn(run, now_ns),
            now_ns,
            tracer=tracer,
            delivered=delivered,
            words=self._words.of_call(is_recorded=not run.native_content),
            tools=self._tools,
            run_spans=self._run_spans,
            open_calls=self._open_calls,
            metrics=self._metrics,
            native=native,
            other=other,
        )
        call.is_here = place.parent is otel.get_current()
        call.args, call.kwargs = args, kwargs
        if self.asks_diagnosis:
            answered = (run.replies.get(one) for one in request.tool_results)
            previous = next((reply_id for reply_id in answered if reply_id is not None), None)
            call.asks_diagnosis(previous)
        return call

    def _place(
        self,
        request: ModelRequest,
        other: OtherSpan | None,
        here: Context,
        current: SpanContext,
        now_ns: int,
        read_body: Callable[[], object],
    ) -> Place:
        """Finds the run of a request, what its call hangs on, and what its tools do."""
        run = self._runs.answered(request.tool_results) if request.tool_results else None
        if run is not None and run.is_over:
            run = None
        if other is None and self._others.open:
            other = self._others.current(current)
        if other is not None:
            return self._place_around(other, run, request, here)
        if current.is_valid and not self._is_apart(run, current, here):
            if run is not None:
                self._run_spans.go_on(run, key_of(current), here)
            return Place(run or self._run_at(current, request, here), here, here)
        if run is None:
            run = self._run_spans.gone_on_with(read_body) or self._run_spans.infer(here, now_ns)
            self._run_spans.mark(run)
        return Place(run, run.parent, run.parent)

    def _place_around(
        self, other: OtherSpan, run: Run | None, request: ModelRequest, here: Context
    ) -> Place:
        """Does the same if another library has a span of the call: the run is around that."""
        if other.parent is None:
            # A trace of one call, and nothing can be put around what has begun.
            around = unsuppressed(here)
            run = run or self._run_at(other.span.get_span_context(), request, around)
            return Place(run, here, run.parent)
        around = trace.set_span_in_context(NonRecordingSpan(other.parent), unsuppressed(here))
        return Place(run or self._run_at(other.parent, request, around), here, around)

    def _is_apart(self, run: Run | None, current: SpanContext, here: Context) -> bool:
        """Tells whether a call is in a run with a span of ours that is not current here."""
        if run is not None:
            return run.opened_in == key_of(current)
        return self._run_spans.begins_apart(current, here)

    def _run_at(self, current: SpanContext, request: ModelRequest, here: Context) -> Run:
        """Finds the run whose calls hang on the current span, or begins one."""
        run = run_in(here)
        if run is not None:
            return run
        key = key_of(current)
        run = self._runs.below(key)
        if run is None or (run.span is None and run.turns and not request.continues):
            run = Run(here, key)  # another conversation, perhaps, below the same span
            run.host, run.is_in_tool = self._run_spans.host(key, here)
            self._runs.remember_below(key, run)
        return run
