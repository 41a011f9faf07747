"""Every span of a provider as it starts and ends: a category for it, and the causes we know of.

What an SDK writes itself is adopted, not written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel

from causepath.calls.announced_tool import told_in
from causepath.calls.model_call import IN_PROGRESS
from causepath.calls.runs import outermost
from causepath.calls.tool_spans import tool_call_links, tool_of
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.categories import category
from causepath.otel.span_access import (
    SCOPE,
    attributes_of,
    is_client,
    name_of,
    scope_of,
)

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from causepath.calls.tracing import Telemetry


class SpanWatcher:
    """A span processor that shows every span of a provider to the plugin.

    It has the methods of `opentelemetry.sdk.trace.SpanProcessor` without being one, as the SDK is
    not a dependency of ours.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry: Telemetry | None = telemetry

    @harmless(None)
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        telemetry = self._telemetry
        call = IN_PROGRESS.get()
        if telemetry is None:
            return
        telemetry.tool_calls.began(span)
        if call is not None and call.adopts(span):
            return
        scope = scope_of(span)
        if scope == SCOPE:
            telemetry.began(span)
            return
        for provider in telemetry.providers:
            if provider.native is not None and scope.startswith(provider.native.scope):
                _adopt(telemetry, span)
                return
        attributes = attributes_of(span)
        found = attributes.get(semconv.CATEGORY)
        if found is None:
            found = category(attributes, name=name_of(span), client=is_client(span))
            if found is not None:
                span.set_attribute(semconv.CATEGORY, found)
        may_be_call = found == "llm" or (found is None and _is_named_like_call(span))
        if not may_be_call and not telemetry.runs.asks():
            return
        here = otel.get_current() if parent_context is None else parent_context
        if may_be_call:
            telemetry.others.started(span, here, says_so=found == "llm")
        elif found == "tool" or _is_named_so(span, here):
            telemetry.tool_calls.adopt(span, here)

    @harmless(None)
    def _on_ending(self, span: Any) -> None:
        """The last moment for what is known late: the category of a span whose attributes came
        after its start, and of a stream that the application left, what had come of it.

        Its attributes are sealed by now, so this writes below the seal; should an OpenTelemetry
        release store them differently, such a span goes without a category.
        """
        if self._telemetry is None:
            return
        attributes = span._attributes._dict  # noqa: SLF001
        call = self._telemetry.in_progress(span.context)
        late = {} if call is None or call.is_complete else call.known_late()
        if semconv.CATEGORY not in attributes:
            found = category(attributes, name=name_of(span), client=is_client(span)) or "other"
            if found == "tool":
                late |= self._telemetry.tool_calls.adopt_late(span)
            late[semconv.CATEGORY] = found
        for name, value in late.items():
            if name not in attributes:
                attributes[name] = value

    @harmless(None)
    def on_end(self, span: Any) -> None:
        if self._telemetry is not None:
            self._telemetry.span_ended(span)

    @harmless(None)
    def shutdown(self) -> None:
        self._telemetry = None

    @harmless(True)
    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True


def _adopt(telemetry: Telemetry, span: Span) -> None:
    """Complete a span that an SDK starts for one of its own operations."""
    attributes = attributes_of(span)
    operation = attributes.get(semconv.OPERATION)
    if operation == "execute_tool":
        tool, call_id = attributes.get(semconv.TOOL_NAME), attributes.get(semconv.TOOL_CALL_ID)
        if isinstance(tool, str):
            span.update_name(f"execute_tool {tool}")
        asked = telemetry.runs.issuer(call_id) if isinstance(call_id, str) else None
        if asked is not None:
            asked.taken = True
            asked.measured = span.get_span_context()
            for link in tool_call_links(asked):
                span.add_link(link.context, link.attributes)
            telemetry.tool_calls.record(span, asked, semconv.TOOL_ARGUMENTS, asked.call.input)
    elif operation == "invoke_agent":
        span.update_name("invoke_agent")
        if outermost(telemetry.runs.here()):
            span.set_attribute(semconv.RUN_OUTERMOST, True)
    found = category(attributes, name=name_of(span), client=is_client(span)) or "other"
    span.set_attribute(semconv.CATEGORY, found)


def _is_named_like_call(span: Span) -> bool:
    """As the conventions have it. What kind of span it is, some say right after they began it."""
    name = name_of(span)
    return name == "chat" or name.startswith("chat ")


def _is_named_so(span: Span, here: Context) -> bool:
    """Whether a span that does not say yet what it is has the name of a tool's: that of the
    conventions, or that of the tool which a framework says is about to be carried out."""
    told = told_in(here)
    return name_of(span).startswith("execute_tool ") or (
        told is not None and told.name == tool_of(span)
    )
