"""The spans of tool calls: begun for what we measure, inferred for what nobody saw, completed where
somebody else writes them."""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from causepath.calls import worker_clock
from causepath.calls.announced_tool import announced, told_in
from causepath.calls.candidates import RUNNING, Candidate, Choice, chosen
from causepath.calls.matching import Given, given_by
from causepath.calls.runs import MAX_DEPTH, RUN_KEY, enclosing_run, run_in
from causepath.calls.tool_spans import call_plain, tool_attributes, tool_call_links, tool_of
from causepath.code.application_stack import (
    application_frames,
    pool_future,
    standing,
    steps_outside,
)
from causepath.code.call_sites import calling
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.operation import Operation, Step
from causepath.otel.span_access import (
    attributes_of,
    is_native,
    is_suppressed,
    key_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import CodeType

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, Tracer

    from causepath.calls.runs import AskedTool, Run
    from causepath.calls.tracing import Telemetry
    from causepath.code.call_sites import Site
    from causepath.code.frames import Frame
    from causepath.providers.messages import ToolCall
    from causepath.providers.provider import Provider, ToolUse


class ToolFinder(Protocol):
    """Finds what of the application carries out tools, and measures it."""

    def find(self, frames: Sequence[Frame], names: Sequence[str]) -> None:
        """A reply asks for tools with these names, and this is the stack of its loop."""

    def missed(self, name: str) -> None:
        """Nothing measured a call of this tool."""

    def quiet(self, name: str) -> None:
        """Nothing asks for this tool any more."""

    def names(self, function: object) -> list[str]:
        """The tools that a function was found to carry out."""


class Called(NamedTuple):
    """A function that may carry out a tool, as its span tells of it."""

    by: object
    """Who tells of its calls."""
    name: str
    code: CodeType | None
    serial: int = 0
    """Of the times that it was asked for."""
    read_only: bool | None = None


MAX_OUTSIDE = 20
"""Calls outside the loop that are kept for a call that it asked for."""

NOTHING_GIVEN = Given({}, [])


def _given_up(calls: Sequence[Candidate], call: Candidate) -> list[Candidate]:
    """The earlier calls of its function that are still in progress, or were told to stop: given up,
    as it was made again since."""
    found = [
        one
        for one in calls
        if (not one.end_ns or one.left_ns) and one.by == call.by and one.start_ns < call.start_ns
    ]
    for one in found:
        one.give_up(call.start_ns, semconv.GIVEN_UP)
    return found


def _calling() -> Site:
    """Where the application is."""
    _, at = calling(sys._getframe(1))  # noqa: SLF001 - the documented way to the stack
    return at


_chosen = harmless(Choice(None))(chosen)  # then it is inferred, and nothing is left open


class ToolCalls:
    """Whatever carries out a tool, its span is made, completed or inferred here."""

    def __init__(self, telemetry: Telemetry, finder: ToolFinder | None) -> None:
        self._telemetry = telemetry
        self._finder = finder
        self._held: dict[tuple[int, int], Candidate] = {}
        """By trace and span id, the calls of which nobody knows yet whether they are tools."""

    def find(self, run: Run, calls: Sequence[ToolCall]) -> None:
        """A reply asks for these tools: measure the application's functions for them."""
        frames = list(application_frames())
        stack = run.stack = standing(frames)
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
        *,
        only_asked: bool = False,
    ) -> Operation | None:
        """The span of one measured call of a tool function; `only_asked` leaves out those that no
        reply asked for."""
        if only_asked and not self._telemetry.runs.is_asked(name):
            return None
        if is_suppressed():
            return None
        if worker_clock.is_measured(name):
            return None
        given = given_by(function, args, kwargs)
        asked = self._take(name, id(function), given)
        if asked is None and only_asked:
            return None
        return self._function_call(name, asked, function, given, read_only)

    # -- calls that may be what was asked for

    @harmless(None)
    def may_be(
        self, name: str, called: Called, given: Given, *, strict: bool = False
    ) -> Candidate | None:
        """The span of a call that was found by its name: it ends when that was the tool."""
        runs = self._telemetry.runs
        if not runs.is_asked(name) or is_suppressed() or worker_clock.is_measured(name):
            return None
        outer, around, inside = RUNNING.get(), [], []
        while outer is not None:
            around.append(outer)
            if not outer.sure:  # else what it calls for it is no other call
                inside.append(outer.asked)
            outer = outer.around
        key = self._key(runs.here())
        asked, sure = runs.may_be(name, called.by, given, key, inside, around, strict=strict)
        if asked is None:
            return None
        outside = steps_outside(asked.stack)
        if outside and len(asked.candidates) >= MAX_OUTSIDE:
            asked.open -= 1
            return None
        code = called.code
        about = {
            semconv.TOOL_READ_ONLY: called.read_only,
            semconv.CODE_FILE_PATH: code.co_filename if code else None,
            semconv.CODE_LINE_NUMBER: code.co_firstlineno if code else None,
            semconv.CODE_FUNCTION_NAME: called.name,
        }
        start_ns = time.time_ns()
        span, context = self._begin(
            name,
            asked,
            tool_attributes(name, asked.call.id) | about | asked.about,
            tool_call_links(asked),
            start_ns,
        )
        candidate = Candidate(
            span,
            context,
            asked,
            functools.partial(self._write, asked),
            by=called.by,
            name=called.name,
            serial=called.serial,
            sure=sure,
            given=frozenset(map(id, given.values)),
            start_ns=start_ns,
            outside=outside,
        )
        asked.candidates.append(candidate)
        future = pool_future(sys._getframe(1))  # noqa: SLF001 - the documented way to the stack
        if future is not None:
            candidate.watch(future)
        asked.run.touched_ns = start_ns
        self._held[key_of(span.get_span_context())] = candidate
        self._look_at_tool(candidate, name, asked, given.named)
        candidate.began_with = len(attributes_of(span))
        candidate.is_last = not outside and runs.all_open(name)
        return candidate

    def began(self, span: Any) -> None:
        """A span begins, below one of a call perhaps that may be no tool."""
        if self._held:
            parent = getattr(span, "parent", None)
            candidate = self._held.get(key_of(parent)) if parent is not None else None
            if candidate is not None:
                candidate.is_used = True

    @harmless(None)
    def deliver(
        self,
        asked: AskedTool,
        now_ns: int,
        sent: object,
        windows: Sequence[tuple[int, int]],
        *,
        failed: bool,
    ) -> None:
        """Its result is sent: what it was is known, and it is over for who asked. `windows`, in
        order, are when calls ran for what is sent together with it."""
        error_type = semconv.TOOL_ERROR if failed else semconv.GIVEN_UP
        if asked.candidates:
            self.settle(asked, now_ns, sent, error_type, windows)
        operation, asked.operation = asked.operation, None
        if operation is not None and not self._is_inside(operation):
            operation.give_up(now_ns, error_type)

    def _is_inside(self, operation: Operation) -> bool:
        """Whether what is done now is done inside the operation."""
        here: Context | None = self._telemetry.runs.here()
        for _ in range(MAX_DEPTH):
            if here is None or trace.get_current_span(here) is operation.span:
                return here is not None
            run = enclosing_run(here)
            here = run.outside if run is not None else None
        return False

    @harmless(None)
    def settle(
        self,
        asked: AskedTool,
        now_ns: int,
        sent: object = None,
        given_up: str | None = None,
        windows: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Which of the calls it was; `sent` is its result, where that has been sent, `given_up`
        what the call has failed with in that case if it has not ended by itself, and `windows` are
        those of what was sent together with it."""
        calls, asked.candidates = asked.candidates, []
        choice = Choice(None) if asked.taken else _chosen(calls, sent, now_ns, windows)
        if choice.call is not None:
            asked.measured = choice.call.span.get_span_context()
            if choice.unclear > 1:
                choice.call.span.set_attribute(semconv.TOOL_AMBIGUOUS, choice.unclear)
        tries = [*choice.tries]
        if choice.call is not None and given_up is not None:
            tries += _given_up(calls, choice.call)
            gone = not choice.call.left_ns or choice.call.was_left(sent)
            if gone and not choice.call.is_around_here():
                choice.call.give_up(now_ns, given_up)
        for call in calls:
            call.settle(is_it=call is choice.call or call in tries)

    def settle_run(self, run: Run) -> None:
        """Nobody will tell any more what was done for it."""
        for asked in list(run.asked.values()):
            if asked.candidates:
                self.settle(asked, time.time_ns())

    def settle_all(self, before_ns: int) -> None:
        """Likewise where nothing has happened since then."""
        for asked in self._telemetry.runs.waiting(before_ns):
            self.settle(asked, time.time_ns())

    def _write(self, asked: AskedTool, candidate: Candidate, is_it: bool) -> None:
        """Ends the span of a call that is over, and known to be the tool or not."""
        span = candidate.span
        key = key_of(span.get_span_context())
        self._held.pop(key, None)
        if not is_it:
            if candidate.is_used or len(attributes_of(span)) != candidate.began_with:
                call_plain(span, candidate.name)
                span.end(end_time=candidate.end_ns)
            self._telemetry.unended.pop(key, None)  # of the others, nobody hears again
            return
        ending = candidate.ending
        if candidate.error_type is None and ending is not None and ending.is_error:
            candidate.error_type = ending.error_type
        if candidate.error_type is not None:
            candidate.fail(candidate.error_type)
        asked.ending = ending
        asked.run.touched_ns = max(asked.run.touched_ns, candidate.end_ns)
        asked.ended, asked.failed = True, candidate.error_type is not None
        span.end(end_time=candidate.end_ns)
        name = asked.call.name
        self._measure_tool(name, candidate.start_ns, candidate.end_ns, candidate.error_type)

    @harmless(None)
    def of_framework(
        self, name: str, call_id: object, function: Callable[..., Any], arguments: Any
    ) -> Operation | None:
        """The span of a tool that a framework carries out."""
        with Step(announced(name, call_id)):
            return self.of_function(name, function, (), arguments or {}, None, only_asked=True)

    @harmless(None)
    def of_sdk(
        self, provider: Provider, tool: ToolUse, function: Callable[..., Any]
    ) -> Operation | None:
        """The span of a tool that the SDK itself runs, with this function, where it writes none."""
        if is_native(provider, trace.get_current_span()):
            return None
        return self.of_function(
            tool.name, tool.function or function, (), tool.arguments, None, only_asked=True
        )

    @harmless(None)
    def sdk_returned(self, provider: Provider, result: object) -> None:
        """The SDK has run a tool, below a span of its own perhaps."""
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
        asked = self._take(name, 0, Given(arguments, list(arguments.values())), qualified=True)
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
        given = given_by(function, args, kwargs)
        for known_as in (name, *(self._finder.names(function) if self._finder else ())):
            asked = self._take(known_as, id(function), given)
            if asked is not None:
                return asked
        return self._telemetry.runs.take_told(given.values)

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
        """The span of a tool call that another process is to carry out."""
        given = given_by(function, args, kwargs)
        return self._function_call(name, asked, function, given, read_only)

    @harmless(None)
    def nobody(self, operation: Operation, asked: AskedTool | None) -> None:
        """Nobody has carried it out, so that somebody else may yet."""
        self._telemetry.unended.pop(key_of(operation.span.get_span_context()), None)
        if asked is not None and asked.operation is operation:
            asked.taken, asked.measured, asked.operation = False, None, None

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
            self._take(name, 0, NOTHING_GIVEN, here=here)
            if self._telemetry.runs.is_asked(name)
            else None
        )

    def _take(
        self,
        name: str,
        by: int,
        given: Given,
        *,
        qualified: bool = False,
        here: Context | None = None,
    ) -> AskedTool | None:
        """What a reply asked for and this call carries out."""
        here = self._telemetry.runs.here() if here is None else here
        told = told_in(here)
        call_id = told.call_id if told is not None and told.name == name else None
        if call_id is not None and self._telemetry.runs.issuer(call_id) is not None:
            return self._telemetry.runs.take_by_id(call_id)
        return self._telemetry.runs.take(name, by, given, self._key(here), qualified=qualified)

    def _key(self, here: Context) -> tuple[int, int] | None:
        """What a run of this context has its calls below."""
        current = trace.get_current_span(here).get_span_context()
        if not current.is_valid:
            return None
        key = current.trace_id, current.span_id
        run = run_in(here) or self._telemetry.runs.below(key)
        return run.key if run else key

    def _function_call(
        self,
        name: str,
        asked: AskedTool | None,
        function: Callable[..., Any],
        given: Given,
        read_only: bool | None,
    ) -> Operation:
        code = getattr(function, "__code__", None)
        about = {
            semconv.TOOL_READ_ONLY: read_only,
            semconv.CODE_FILE_PATH: code.co_filename if code else None,
            semconv.CODE_LINE_NUMBER: code.co_firstlineno if code else None,
            semconv.CODE_FUNCTION_NAME: getattr(function, "__qualname__", None),
        }
        return self._tool(name, asked, given.named, about)

    def _tool(
        self,
        name: str,
        asked: AskedTool | None,
        arguments: object,
        about: Mapping[str, Any],
        read_error: Callable[[BaseException], str] | None = None,
    ) -> Operation:
        start_ns = time.time_ns()
        attributes = {
            **tool_attributes(name, asked.call.id if asked else None),
            **about,
            **(asked.about if asked else semconv.site_attributes(_calling())),
        }
        links = tool_call_links(asked) if asked else ()
        span, context = self._begin(name, asked, attributes, links, start_ns)
        if asked is not None:
            asked.measured = span.get_span_context()
            asked.run.touched_ns = time.time_ns()

        def over(end_ns: int, error: str | None) -> None:
            if asked is not None:
                asked.operation = None
                asked.run.touched_ns = max(asked.run.touched_ns, end_ns)
                asked.ended, asked.failed = True, error is not None
                asked.ending = operation.ending
            self._measure_tool(name, getattr(span, "start_time", start_ns), end_ns, error)

        operation = Operation(span, context, over, read_error)
        if asked is not None:
            asked.operation = operation
        self._look_at_tool(operation, name, asked, arguments)
        return operation

    def _begin(
        self,
        name: str,
        asked: AskedTool | None,
        attributes: Mapping[str, Any],
        links: Sequence[Link],
        start_ns: int,
    ) -> tuple[Span, Context]:
        """A span of a tool, and the context inside it."""
        parent = self._telemetry.runs.here()
        if asked is not None and not trace.get_current_span(parent).get_span_context().is_valid:
            parent = asked.run.parent
        span = self._telemetry.tracer().start_span(
            f"execute_tool {name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(attributes),
            links=links,
            start_time=start_ns,
        )
        # What the tool asks a model for is a conversation of its own.
        return span, otel.set_value(RUN_KEY, None, trace.set_span_in_context(span, parent))

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
