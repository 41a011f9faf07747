"""Spans of tools that SDKs and other libraries write: completed with what we know of the call."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from causepath.calls.matching import Given
from causepath.calls.tool_spans import tool_call_links, tool_id, tool_of
from causepath.otel import semconv
from causepath.otel.span_access import attributes_of, is_native, is_server, key_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.runs import AskedTool
    from causepath.calls.tool_spans import ToolSpans
    from causepath.providers.provider import Provider

NOTHING_GIVEN = Given({}, [])


class ForeignTools:
    """The spans of tools that are not ours."""

    def __init__(self, spans: ToolSpans, runs: OpenRuns, providers: list[Provider]) -> None:
        self._spans = spans
        self._runs = runs
        self._providers = providers

    def adopt_native(self, span: Span) -> None:
        """Completes the span that an SDK writes for a tool which its tool runner runs."""
        attributes = attributes_of(span)
        tool, call_id = attributes.get(semconv.TOOL_NAME), attributes.get(semconv.TOOL_CALL_ID)
        if isinstance(tool, str):
            span.update_name(f"execute_tool {tool}")
        asked = self._runs.issuer(call_id) if isinstance(call_id, str) else None
        if asked is not None:
            asked.taken = True
            self._begins(span, asked)
            for link in tool_call_links(asked):
                span.add_link(link.context, link.attributes)
            span.set_attribute(semconv.TURN, asked.about[semconv.TURN])
            self._spans.record(span, asked, semconv.TOOL_ARGUMENTS, asked.call.input)

    def adopt(self, span: Span, here: Context) -> None:
        """Completes a span of a tool that another library writes: it is the call's only one."""
        asked = self._asked_of(span, here)
        if asked is None:
            return
        self._begins(span, asked)
        for link in tool_call_links(asked):
            span.add_link(link.context, link.attributes)
        attributes = attributes_of(span)
        told = {**tool_id(asked), semconv.CATEGORY: "tool", **asked.about}
        span.set_attributes({k: v for k, v in told.items() if k not in attributes})
        if semconv.TOOL_ARGUMENTS not in attributes:
            self._spans.record(span, asked, semconv.TOOL_ARGUMENTS, asked.call.input)

    def _begins(self, span: Span, asked: AskedTool) -> None:
        asked.measured = span.get_span_context()
        self._runs.began_for_tool(key_of(asked.measured), asked.run)

    def adopt_late(self, span: Any) -> dict[str, Any]:
        """Gives what a span lacks that did not say before it ends that it is of a tool."""
        asked = self._asked_of(span, self._runs.here()) if self._runs.asks() else None
        if asked is None:
            return {}
        asked.measured = span.context
        for link in tool_call_links(asked):
            span._links.append(link)  # noqa: SLF001 - it is sealed by now
        return {**tool_id(asked), semconv.TURN: asked.about[semconv.TURN]}

    def measure_native(self, span: Any) -> None:
        """Counts a tool call that an SDK has carried out, and written the span of itself."""
        attributes = span.attributes or {}
        if (
            attributes.get(semconv.OPERATION) == "execute_tool"
            and span.start_time is not None
            and any(is_native(provider, span) for provider in self._providers)
        ):
            self._spans.measure(
                str(attributes.get(semconv.TOOL_NAME)),
                span.start_time,
                span.end_time or time.time_ns(),
                attributes.get(semconv.ERROR_TYPE),
            )

    def _asked_of(self, span: Span, here: Context) -> AskedTool | None:
        call_id, name = attributes_of(span).get(semconv.TOOL_CALL_ID), tool_of(span)
        if isinstance(call_id, str):
            return self._runs.take_by_id(call_id)
        if is_server(span) or not self._runs.is_asked(name):
            return None  # a server answers a call, whose span is its client's
        return self._runs.take(name, 0, NOTHING_GIVEN, context=here)
