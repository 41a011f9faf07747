"""Every span of a provider as it starts and ends: a category for it, and the causes we know of.

A span that an SDK writes itself is adopted, not written again.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry.trace import Status, StatusCode

from causepath.calls.announced_tool import told_in
from causepath.calls.model_call import IN_PROGRESS
from causepath.calls.tool_spans import tool_of
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.categories import category
from causepath.otel.span_access import (
    SCOPE,
    attributes_of,
    is_client,
    key_of,
    name_of,
    scope_of,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

    from causepath.calls.foreign_spans import OtherSpans
    from causepath.calls.foreign_tools import ForeignTools
    from causepath.calls.local_roots import LocalRoots
    from causepath.calls.open_calls import OpenCalls
    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.possible_calls import PossibleCalls
    from causepath.calls.run_spans import RunSpans
    from causepath.content.call_words import Words
    from causepath.otel.metrics import Metrics
    from causepath.providers.provider import Provider


class SpanWatcher:
    """A span processor that shows every span of a provider to the plugin.

    It has the methods of `opentelemetry.sdk.trace.SpanProcessor` without being one, as the SDK is
    not a dependency of ours.
    """

    def __init__(self, spans: WatchedSpans) -> None:
        self._spans: WatchedSpans | None = spans

    @harmless(None)
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._spans is not None:
            self._spans.started(span, parent_context)

    @harmless(None)
    def _on_ending(self, span: Any) -> None:
        if self._spans is not None:
            self._spans.ending(span)

    @harmless(None)
    def on_end(self, span: Any) -> None:
        if self._spans is not None:
            self._spans.ended(span)

    @harmless(None)
    def shutdown(self) -> None:
        spans, self._spans = self._spans, None
        if spans is not None:
            spans.flush()

    @harmless(True)
    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        if self._spans is not None:
            self._spans.flush()
        return True


class WatchedSpans:
    """The spans of all providers that we attend, whoever writes them."""

    def __init__(
        self,
        runs: OpenRuns,
        run_spans: RunSpans,
        open_calls: OpenCalls,
        others: OtherSpans,
        roots: LocalRoots,
        possible: PossibleCalls,
        tools: ForeignTools,
        words: Words,
        metrics: Metrics,
        providers: list[Provider],
    ) -> None:
        self._runs = runs
        self._run_spans = run_spans
        self._open_calls = open_calls
        self._others = others
        self._roots = roots
        self._possible = possible
        self._tools = tools
        self._words = words
        self._metrics = metrics
        self._providers = providers

    def flush(self) -> None:
        """Ends what has its answer and only waits for a call that may take it up."""
        self._run_spans.end_resting()

    def started(self, span: Span, parent_context: Context | None) -> None:
        """Adopts or categorises a span as it starts."""
        call = IN_PROGRESS.get()
        self._possible.began(span)
        parent, key = getattr(span, "parent", None), key_of(span.get_span_context())
        if parent is not None:
            self._runs.began_below(key_of(parent), key)
        self._roots.began(span, key, None if parent is None or parent.is_remote else key_of(parent))
        if call is not None and call.adopts(span):
            return
        scope = scope_of(span)
        if scope == SCOPE:
            self._open_calls.began(span)
            return
        for provider in self._providers:
            if provider.native is not None and scope.startswith(provider.native.scope):
                self._adopt(span)
                return
        attributes = attributes_of(span)
        found = attributes.get(semconv.CATEGORY)
        if found is None:
            found = category(attributes, name=name_of(span), client=is_client(span))
            if found is not None:
                span.set_attribute(semconv.CATEGORY, found)
        may_be_call = found == "llm" or (found is None and _is_named_like_call(span))
        if not may_be_call and not self._runs.asks():
            return
        here = otel.get_current() if parent_context is None else parent_context
        if may_be_call:
            self._others.started(span, here, says_so=found == "llm")
        elif found == "tool" or _is_named_so(span, here):
            self._tools.adopt(span, here)

    def _adopt(self, span: Span) -> None:
        """Completes a span that an SDK starts for one of its own operations."""
        attributes = attributes_of(span)
        operation = attributes.get(semconv.OPERATION)
        if operation == "execute_tool":
            self._tools.adopt_native(span)
        elif operation == "invoke_agent":
            span.update_name("invoke_agent")
            self._run_spans.begun_by_sdk(span)
        found = category(attributes, name=name_of(span), client=is_client(span)) or "other"
        span.set_attribute(semconv.CATEGORY, found)

    def ending(self, span: Any) -> None:
        """Adds what is known late: the category of a span whose attributes came after its start,
        of a stream that the application left, what had come of it, and of a call that was
        cancelled, that it was.

        Its attributes are sealed by now, so this writes below the seal; should an OpenTelemetry
        release store them differently, such a span goes without a category.
        """
        attributes = span._attributes._dict  # noqa: SLF001
        call = self._open_calls.in_progress(span.context)
        if call is not None:
            call.cut_off_by(sys.exc_info()[1])
        late = {} if call is None or call.is_complete else call.known_late()
        if self._roots.is_cut_off(key_of(span.context)):
            late[semconv.USAGE_PARTIAL] = True
        if semconv.CATEGORY not in attributes:
            found = category(attributes, name=name_of(span), client=is_client(span)) or "other"
            if found == "tool":
                late |= self._tools.adopt_late(span)
            late[semconv.CATEGORY] = found
        failed = semconv.ERROR_TYPE in late and semconv.ERROR_TYPE not in attributes
        for name, value in late.items():
            if name not in attributes:
                attributes[name] = value
        if failed:
            span._status = Status(StatusCode.ERROR)  # noqa: SLF001

    def ended(self, span: Any) -> None:
        """Lets nothing new hang on a span that has ended, and ends the call that it is of."""
        context: SpanContext = span.context
        key = key_of(context)
        self._runs.span_over(key)
        self._roots.ended(key)
        if self._others.open:
            self._others.ended(key)
        call = self._open_calls.ended(key)
        if call is not None:
            call.cut_off_by(sys.exc_info()[1])
            call.over(span.end_time or time.time_ns(), attributes_of(span).get(semconv.ERROR_TYPE))
        elif self._metrics.wanted():
            self._tools.measure_native(span)
        self._run_spans.span_ended(key, context)
        if span.parent is None and self._words.evidence is not None:
            self._words.evidence.forget_texts(context.trace_id)


def _is_named_like_call(span: Span) -> bool:
    """Tells a name as the conventions have it, as some libraries say what a span is only later."""
    name = name_of(span)
    return name == "chat" or name.startswith("chat ")


def _is_named_so(span: Span, here: Context) -> bool:
    """Tells a span that is named like a tool's, before it says what it is: as the conventions have
    it, or after the tool which a framework says is about to be carried out."""
    told = told_in(here)
    return name_of(span).startswith("execute_tool ") or (
        told is not None and told.name == tool_of(span)
    )
