"""The spans of tool calls: begun for what we measure, inferred for what nobody saw, completed where
somebody else writes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from causepath import semconv, work
from causepath.announced import announced, told_in
from causepath.callsite import application_frames
from causepath.guard import harmless
from causepath.operation import Operation, Step
from causepath.runs import RUN_KEY, named_arguments, run_in
from causepath.sites import calling
from causepath.spans import (
    attributes_of,
    is_native,
    is_suppressed,
    tool_attributes,
    tool_call_links,
    tool_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from causepath.messages import ToolCall
    from causepath.provider import Provider
    from causepath.runs import AskedTool, Run
    from causepath.telemetry import Telemetry


class ToolFinder(Protocol):
    """Finds what of the application carries out tools, and measures it."""

    def find(self, frames: Sequence[FrameType], names: Sequence[str]) -> None:
        """A reply asks for tools with these names, and this is the stack of its loop."""

    def missed(self, name: str) -> None:
        """Nothing measured a call of this tool."""


class ToolCalls:
    """Whatever carries out a tool, its span is made, completed or inferred here."""

    def __init__(self, telemetry: Telemetry, finder: ToolFinder | None) -> None:
        self._telemetry = telemetry
        self._finder = finder

    def find(self, run: Run, calls: Sequence[ToolCall]) -> None:
        """A reply asks for these tools: measure the application's functions for them."""
        frames = list(application_frames())
        stack = tuple(map(id, frames))
        for call in calls:
            asked = run.asked.get(call.id)
            if asked is not None:
                asked.stack = stack
        if self._finder is not None:
            self._finder.find(frames, [call.name for call in calls])

    @harmless(None)
    def of_function(
        self,
        name: str,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        read_only: bool | None,
        only_asked: bool,
        strict: bool = False,
    ) -> Operation | None:
        """The span of one measured call of a tool function."""
        if only_asked and not self._telemetry.runs.is_asked(name):
            return None
        if is_suppressed():
            return None
        if work.is_measured(name):
            return None
        asked = self._take(name, function, args, kwargs, strict=strict)
        if asked is None and only_asked:
            return None
        return self._function_call(name, asked, function, args, kwargs, read_only)

    @harmless(None)
    def of_framework(
        self, name: str, call_id: object, function: Callable[..., Any], arguments: Any
    ) -> Operation | None:
        """The span of a tool that a framework carries out."""
        with Step(announced(name, call_id)):
            return self.of_function(name, function, (), arguments or {}, None, only_asked=True)

    @harmless(None)
    def of_sdk(
        self, provider: Provider, name: str, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> Operation | None:
        """The span of a tool that the SDK's tool runner runs, where it writes none itself."""
        current: Any = trace.get_current_span()
        if is_native(provider, current):
            return None
        arguments = {str(i): value for i, value in enumerate(args)} | kwargs
        return self.of_function(name, function, (), arguments, None, only_asked=True)

    @harmless(None)
    def sdk_returned(self, provider: Provider, result: object) -> None:
        """The SDK's tool runner has run a tool below a span of its own."""
        current: Any = trace.get_current_span()
        call_id = attributes_of(current).get(semconv.TOOL_CALL_ID)
        asked = self._telemetry.runs.issuer(call_id) if isinstance(call_id, str) else None
        if asked is not None and is_native(provider, current):
            self.record(current, asked, semconv.TOOL_RESULT, result)

    @harmless(None)
    def of_mcp(
        self,
        name: str,
        arguments: Mapping[str, object],
        read_only: bool | None,
        read_error: Callable[[BaseException], str],
    ) -> Operation | None:
        """The span of a tool that an MCP server carries out.

        None of its own where a tool in progress passes its call on: that has a span already.
        """
        if is_suppressed():
            return None
        asked = self._take(name, None, (), arguments, qualified=True)
        about = semconv.present(
            {semconv.MCP_METHOD: "tools/call", semconv.TOOL_READ_ONLY: read_only}
        )
        current = trace.get_current_span()
        if asked is None and attributes_of(current).get(semconv.CATEGORY) == "tool":
            current.set_attributes(about)
            return None
        return self._tool(asked.call.name if asked else name, asked, arguments, about, read_error)

    def asked_elsewhere(
        self, name: str, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> AskedTool | None:
        """What a reply asked for and this call carries out, which goes to another process.

        It may be a call of the tool itself, or of what looks it up there.
        """
        return self._take(name, function, args, kwargs) or self._telemetry.runs.take_told(
            (*args, *kwargs.values())
        )

    @harmless(None)
    def elsewhere(
        self,
        name: str,
        asked: AskedTool | None,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        read_only: bool | None,
        start_ns: int,
    ) -> Operation | None:
        """The span of a tool call that another process has carried out, from when it began."""
        if asked is not None and asked.measured is not None:
            return None  # its result has been told already, whatever that was
        return self._function_call(name, asked, function, args, kwargs, read_only, start_ns)

    def inferred(
        self, asked: AskedTool, now_ns: int, parent: Context, tracer: Tracer, *, failed: bool
    ) -> Callable[[object], None] | None:
        """Nothing measured this tool: all that is known is the window it must have run in.

        Where content is asked for, gives what ends its span once its result is known.
        """
        if self._finder is not None:
            self._finder.missed(asked.call.name)
        with Step(parent):  # as the tool is not part of the call whose request tells of it
            span = tracer.start_span(
                f"execute_tool {asked.call.name}",
                kind=SpanKind.INTERNAL,
                attributes={
                    **tool_attributes(asked.call.name, asked.call.id),
                    **asked.about,
                    semconv.TOOL_INFERRED: True,
                },
                links=tool_call_links(asked),
                start_time=asked.asked_ns,
            )
            asked.measured = span.get_span_context()
        if failed:
            span.set_status(StatusCode.ERROR)
            span.set_attribute(semconv.ERROR_TYPE, semconv.TOOL_ERROR)
        end_ns, content = max(asked.asked_ns, now_ns), self._telemetry.content
        if content is None:
            with Step(parent):
                span.end(end_time=end_ns)
            return None
        content.write(span, semconv.TOOL_ARGUMENTS, asked.call.input)

        def end(result: object) -> None:
            content.write(span, semconv.TOOL_RESULT, result)
            with Step(parent):
                span.end(end_time=end_ns)

        return end

    def adopt(self, span: Span, here: Context) -> None:
        """Somebody else writes the span of a tool: it is that of the call that was asked for."""
        asked = self._asked_of(span, here)
        if asked is None:
            return
        asked.measured = span.get_span_context()
        for link in tool_call_links(asked):
            span.add_link(link.context, link.attributes)
        attributes = attributes_of(span)
        told = {semconv.TOOL_CALL_ID: asked.call.id, semconv.CATEGORY: "tool", **asked.about}
        span.set_attributes({k: v for k, v in told.items() if k not in attributes})
        if semconv.TOOL_ARGUMENTS not in attributes:
            self.record(span, asked, semconv.TOOL_ARGUMENTS, asked.call.input)

    def adopt_late(self, span: Any) -> dict[str, Any]:
        """A span ends that did not say before that it is of a tool. Gives what it lacks."""
        asked = (
            self._asked_of(span, self._telemetry.runs.here())
            if self._telemetry.runs.asks()
            else None
        )
        if asked is None:
            return {}
        asked.measured = span.context
        for link in tool_call_links(asked):
            span._links.append(link)  # noqa: SLF001 - it is sealed by now
        return {semconv.TOOL_CALL_ID: asked.call.id}

    def record(self, span: Span, asked: AskedTool, name: str, value: object) -> None:
        """Where content is asked for, and the SDK does not record it in its own way."""
        if self._telemetry.content is not None and not asked.run.native_content:
            self._telemetry.content.write(span, name, value)

    def measure_native(self, span: Any) -> None:
        """An SDK has carried out a tool call, and written the span of it itself."""
        attributes = span.attributes or {}
        if (
            attributes.get(semconv.OPERATION) == "execute_tool"
            and span.start_time is not None
            and any(is_native(provider, span) for provider in self._telemetry.providers)
        ):
            self._measure_tool(
                str(attributes.get(semconv.TOOL_NAME)),
                span.start_time,
                span.end_time or time.time_ns(),
                attributes.get(semconv.ERROR_TYPE),
            )

    def _asked_of(self, span: Span, here: Context) -> AskedTool | None:
        call_id, name = attributes_of(span).get(semconv.TOOL_CALL_ID), tool_of(span)
        if isinstance(call_id, str):
            return self._telemetry.runs.take_by_id(call_id)
        return (
            self._take(name, None, (), {}, here=here)
            if self._telemetry.runs.is_asked(name)
            else None
        )

    def _take(
        self,
        name: str,
        function: Callable[..., Any] | None,
        args: Any,
        kwargs: Any,
        *,
        qualified: bool = False,
        strict: bool = False,
        here: Context | None = None,
    ) -> AskedTool | None:
        """What a reply asked for and this call carries out."""
        here = self._telemetry.runs.here() if here is None else here
        told = told_in(here)
        call_id = told.call_id if told is not None and told.name == name else None
        if call_id is not None and self._telemetry.runs.issuer(call_id) is not None:
            return self._telemetry.runs.take_by_id(call_id)
        current = trace.get_current_span(here).get_span_context()
        key = None
        if current.is_valid:
            key = current.trace_id, current.span_id
            run = run_in(here) or self._telemetry.runs.below(key)
            key = run.key if run else key
        return self._telemetry.runs.take(
            name, function, args, kwargs, key, qualified=qualified, strict=strict
        )

    def _function_call(
        self,
        name: str,
        asked: AskedTool | None,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        read_only: bool | None,
        start_ns: int | None = None,
    ) -> Operation:
        code = getattr(function, "__code__", None)
        about = {
            semconv.TOOL_READ_ONLY: read_only,
            semconv.CODE_FILE_PATH: code.co_filename if code else None,
            semconv.CODE_LINE_NUMBER: code.co_firstlineno if code else None,
            semconv.CODE_FUNCTION_NAME: getattr(function, "__qualname__", None),
        }
        given = (
            named_arguments(function, args, kwargs) if self._telemetry.content else (args, kwargs)
        )
        return self._tool(name, asked, given, about, start_ns=start_ns)

    def _tool(
        self,
        name: str,
        asked: AskedTool | None,
        arguments: object,
        about: Mapping[str, Any],
        read_error: Callable[[BaseException], str] | None = None,
        start_ns: int | None = None,
    ) -> Operation:
        start_ns = start_ns or time.time_ns()
        tracer = self._telemetry.tracer()
        parent = self._telemetry.runs.here()
        if asked is not None and not trace.get_current_span(parent).get_span_context().is_valid:
            parent = asked.run.parent
        span = tracer.start_span(
            f"execute_tool {name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(
                {
                    **tool_attributes(name, asked.call.id if asked else None),
                    **about,
                    **(asked.about if asked else semconv.site_attributes(calling())),
                }
            ),
            links=tool_call_links(asked) if asked else (),
            start_time=start_ns,
        )
        if asked is not None:
            asked.measured = span.get_span_context()
            asked.run.touched_ns = time.time_ns()
        # What the tool asks a model for is a conversation of its own.
        context = otel.set_value(RUN_KEY, None, trace.set_span_in_context(span, parent))

        def over(end_ns: int, error: str | None) -> None:
            if asked is not None:
                asked.run.touched_ns = max(asked.run.touched_ns, end_ns)
                asked.ended, asked.failed = True, error is not None
            self._measure_tool(name, start_ns, end_ns, error)

        operation = Operation(span, context, over, read_error)
        self._look_at_tool(operation, name, asked, arguments)
        return operation

    @harmless(None)
    def _look_at_tool(
        self, operation: Operation, name: str, asked: AskedTool | None, given: object
    ) -> None:
        """Whose output a tool is given, and what of others is its own."""
        span, evidence = operation.span, self._telemetry.evidence
        if evidence is not None and span.is_recording():
            pieces = evidence.tool_given(span, name, given, asked.issuer if asked else None)
            operation.on_result.append(lambda it: evidence.tool_returned(span, pieces, given, it))
        content = self._telemetry.content
        if content is not None:
            own = asked.call.input if asked is not None and asked.call.input is not None else given
            content.write(span, semconv.TOOL_ARGUMENTS, own)
            operation.on_result.append(lambda it: content.write(span, semconv.TOOL_RESULT, it))

    @harmless(None)
    def _measure_tool(self, name: str, start_ns: int, end_ns: int, error: str | None) -> None:
        """A tool call was carried out, and seen from its start to its end."""
        if self._telemetry.metrics.wanted():
            attributes = {**tool_attributes(name, None), semconv.ERROR_TYPE: error}
            attributes.pop(semconv.CATEGORY)
            self._telemetry.metrics.tool_call(semconv.present(attributes), end_ns - start_ns)
