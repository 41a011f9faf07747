"""The calls that carry out tools, as we measure them: each gets its span when it begins."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN

from causepath.budgets.spending import Spent, of_tool
from causepath.calls import worker_clock
from causepath.calls.announced_tool import announced
from causepath.calls.matching import Given, given_by
from causepath.calls.tool_spans import function_attributes, tool_attributes, tool_call_links
from causepath.code.call_sites import calling
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.operation import Operation, Refused, Step
from causepath.otel.span_access import attributes_of, is_native, is_suppressed, key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from causepath.calls.open_calls import OpenCalls
    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.runs import AskedTool
    from causepath.calls.tool_spans import ToolSpans
    from causepath.code.call_sites import Site
    from causepath.providers.provider import Provider, ToolUse


class ToolCalls:
    """The measured calls, whatever carries out the tool."""

    def __init__(
        self,
        spans: ToolSpans,
        runs: OpenRuns,
        open_calls: OpenCalls,
        found_names: Callable[[object], list[str]],
    ) -> None:
        """Measures calls; `found_names` gives the tools that a function was found to carry out."""
        self._spans = spans
        self._runs = runs
        self._open_calls = open_calls
        self._found_names = found_names

    @harmless(None)
    def of_function(
        self,
        name: str,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        read_only: bool | None,
        *,
        only_asked: bool = False,
        read_error: Callable[[BaseException], str] | None = None,
    ) -> Operation | None:
        """Begins the span of one measured call of a tool function; `only_asked` leaves out those
        that no reply asked for."""
        if only_asked and not self._runs.is_asked(name):
            return None
        if is_suppressed():
            return None
        if worker_clock.is_measured(name):
            return None
        given = given_by(function, args, kwargs)
        asked = self._runs.take(name, id(function), given)
        if asked is None and only_asked:
            return None
        return self._function_call(name, asked, function, given, read_only, read_error)

    @harmless(None)
    def of_framework(
        self, name: str, call_id: object, function: Callable[..., Any], arguments: Any
    ) -> Operation | None:
        """Begins the span of a tool that a framework carries out."""
        with Step(announced(name, call_id)):
            return self.of_function(name, function, (), arguments or {}, None, only_asked=True)

    @harmless(None)
    def of_sdk(
        self, provider: Provider, tool: ToolUse, function: Callable[..., Any]
    ) -> Operation | None:
        """Begins the span of a tool that the SDK itself runs, with this function, if it writes
        none."""
        if is_native(provider, trace.get_current_span()):
            return None
        return self.of_function(
            tool.name,
            tool.function or function,
            (),
            tool.arguments,
            None,
            only_asked=True,
            read_error=lambda error: type(tool.raised(error)).__qualname__,
        )

    @harmless(nullcontext())
    def not_measured(self, provider: Provider, tool: ToolUse) -> AbstractContextManager[Any]:
        """Gives what is around a tool that the SDK itself runs, and that no span of ours is for."""
        if not is_native(provider, trace.get_current_span()):
            return nullcontext()
        budget, refused = of_tool(tool.name)
        if refused is not None:
            return Refused(refused)
        if budget is None:
            return nullcontext()
        operation = Operation(INVALID_SPAN, otel.get_current())
        operation.on_over = Spent(budget, "tool", tool.name).over
        return operation

    @harmless(None)
    def sdk_returned(self, provider: Provider, result: object) -> None:
        """Records what a tool gave back that the SDK has run, if below a span of its own."""
        current: Any = trace.get_current_span()
        call_id = attributes_of(current).get(semconv.TOOL_CALL_ID)
        asked = self._runs.issuer(call_id) if isinstance(call_id, str) else None
        if asked is not None and is_native(provider, current):
            self._spans.record(current, asked, semconv.TOOL_RESULT, result)

    @harmless(None)
    def of_mcp(
        self,
        name: str,
        arguments: Mapping[str, object],
        read_only: bool | None,
        read_error: Callable[[BaseException], str],
    ) -> Operation | None:
        """Begins the span of a tool that an MCP server carries out.

        There is none if a tool in progress passes its call on: that has a span already.
        """
        if is_suppressed():
            return None
        asked = self._runs.take(name, 0, Given(arguments, list(arguments.values())), qualified=True)
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
        """Takes what a reply asked for and this call carries out, which goes to another process.

        It may be a call of the tool itself, or of a function that looks it up there.
        """
        given = given_by(function, args, kwargs)
        for known_as in (name, *self._found_names(function)):
            asked = self._runs.take(known_as, id(function), given)
            if asked is not None:
                return asked
        return self._runs.take_told(given.values)

    @harmless(None)
    def elsewhere(
        self,
        name: str,
        asked: AskedTool | None,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        read_only: bool | None,
    ) -> Operation:
        """Begins the span of a tool call that another process is to carry out."""
        given = given_by(function, args, kwargs)
        return self._function_call(name, asked, function, given, read_only)

    @harmless(None)
    def nobody(self, operation: Operation, asked: AskedTool | None) -> None:
        """Gives back a call that nobody has carried out, so that another one yet may."""
        operation.is_left()
        self._open_calls.dropped(key_of(operation.span.get_span_context()))
        if asked is not None and asked.operation is operation:
            asked.taken, asked.measured, asked.operation = False, None, None

    def _function_call(
        self,
        name: str,
        asked: AskedTool | None,
        function: Callable[..., Any],
        given: Given,
        read_only: bool | None,
        read_error: Callable[[BaseException], str] | None = None,
    ) -> Operation:
        code = getattr(function, "__code__", None)
        about = function_attributes(getattr(function, "__qualname__", None), code, read_only)
        return self._tool(name, asked, given.named, about, read_error)

    def _tool(
        self,
        name: str,
        asked: AskedTool | None,
        arguments: object,
        about: Mapping[str, Any],
        read_error: Callable[[BaseException], str] | None = None,
    ) -> Operation:
        budget, refused = of_tool(name)
        if refused is not None:
            if asked is not None:
                asked.taken = False
            return Refused(refused)
        start_ns = time.time_ns()
        attributes = {
            **tool_attributes(name, asked.call.id if asked else None),
            **about,
            **(asked.about if asked else semconv.site_attributes(_calling())),
        }
        links = tool_call_links(asked) if asked else ()
        span, context = self._spans.begin(name, asked, attributes, links, start_ns)
        if asked is not None:
            asked.measured = span.get_span_context()
            asked.run.touched_ns = time.time_ns()

        def over(end_ns: int, error: str | None) -> None:
            if asked is not None:
                asked.operation = None
                asked.run.touched_ns = max(asked.run.touched_ns, end_ns)
                asked.ended, asked.failed = True, error is not None
                asked.ending = operation.ending
            self._spans.measure(name, getattr(span, "start_time", start_ns), end_ns, error)

        operation = Operation(span, context, over, read_error)
        if budget is not None:
            operation.on_over = Spent(budget, "tool", name).over
        if asked is not None:
            asked.operation = operation
        self._spans.look_at(operation, name, asked, arguments)
        return operation


def _calling() -> Site:
    """Finds where the application is."""
    _, at = calling(sys._getframe(1))  # noqa: SLF001 - the documented way to the stack
    return at
