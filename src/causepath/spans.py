"""The only code that touches the tracer and the context.

A model call, a tool call and a declared run are each a context manager: entering makes the span
current, leaving restores the context in the same frame. What an SDK writes itself is adopted, not
written again.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from contextlib import suppress
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, StatusCode

from causepath import semconv
from causepath.callsite import application_frames
from causepath.categories import category
from causepath.guard import harmless, report
from causepath.messages import ModelReply
from causepath.provider import CONTENT, FACTS, LAST
from causepath.runs import Run, Runs
from causepath.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, TracebackType

    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue
    from typing_extensions import Self

    from causepath.messages import ModelRequest, ToolCall
    from causepath.provider import Provider
    from causepath.runs import AskedTool

CALL_KEY = otel.create_key("causepath-model-call")
RUN_KEY = otel.create_key("causepath-run")

SUPPRESSED_KEYS = (otel._SUPPRESS_INSTRUMENTATION_KEY, "suppress_instrumentation")  # noqa: SLF001
"""As in `opentelemetry.instrumentation.utils`, whose import takes longer than all of ours."""

SCOPE = "causepath"
"""The instrumentation scope of the spans we write."""

IDLE_SECONDS = 300
"""An inferred run that nothing has happened in for so long has ended when it last did something."""

MAX_CALLS_IN_FLIGHT = 10_000

NO_REPLY = ModelReply()

_process = object()
"""Another one in every forked child: what began in the parent is the parent's to end."""

_living: weakref.WeakSet[Telemetry] = weakref.WeakSet()


def _begin_anew() -> None:
    global _process
    _process = object()
    for telemetry in list(_living):
        telemetry.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class Telemetry:
    """Opens every span that the plugin writes, and completes those that others write."""

    def __init__(
        self,
        tracer_provider: Callable[[], TracerProvider],
        providers: Sequence[Provider],
        found_tools: Callable[[Sequence[FrameType], Sequence[str]], None] | None = None,
    ) -> None:
        self._tracer_provider = tracer_provider
        self._providers = providers
        self._find_tools = found_tools
        self._tracer: tuple[TracerProvider, Tracer] | None = None
        self._attended: weakref.WeakSet[Any] = weakref.WeakSet()
        self._open: dict[tuple[int, int], ModelCall] = {}
        self._janitor: threading.Thread | None = None
        self._janitor_lock = threading.Lock()
        self.runs = Runs()
        _living.add(self)

    def after_fork(self) -> None:
        """Forget, in a child process, what the parent has in progress, and locks it may hold."""
        self._open.clear()
        self._janitor = None
        self._janitor_lock = threading.Lock()
        self.runs.after_fork()

    # -- where spans go

    def tracer(self) -> Tracer:
        """Our tracer of the provider in force, which is seen to and remembered."""
        provider = self._tracer_provider()
        if self._tracer is None or self._tracer[0] is not provider:
            self.attend(provider)
            self._tracer = provider, provider.get_tracer(SCOPE, __version__)
        return self._tracer[1]

    def attend(self, provider: object) -> None:
        """Let every span of `provider` pass our processor. Once for each provider."""
        add = getattr(provider, "add_span_processor", None)
        if add is not None and provider not in self._attended:
            self._attended.add(provider)
            add(SpanWatcher(self))

    def is_global(self) -> bool:
        """Whether the provider in force is the one that SDKs use for their own spans."""
        return self._tracer_provider() is trace.get_tracer_provider()

    # -- model calls

    @harmless(None)
    def model_call(
        self, provider: Provider, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ModelCall | None:
        """The model call that these arguments make, or `None` where they make none."""
        request = provider.read_request(client, args, kwargs)
        if request is None or _is_suppressed():
            return None
        tracer = self.tracer()
        native = provider.native_tracer(client, args, kwargs)
        if native is not None:
            own_provider = provider.native_tracer_provider(client)
            if own_provider is not None:
                self.attend(own_provider)
            elif not self.is_global() or not _writes_to(native, self._tracer_provider()):
                # Told to write elsewhere than the SDK does: then we write, and the SDK does not.
                args, kwargs = provider.silence(args, kwargs)
                native = None
        call = ModelCall(self, provider, request, tracer, native=native is not None)
        call.args, call.kwargs = args, kwargs
        return call

    def run_of(self, request: ModelRequest, now_ns: int, tracer: Tracer) -> tuple[Run, Context]:
        """The run that a request belongs to, and what its call hangs on."""
        here = otel.get_current()
        current = trace.get_current_span(here).get_span_context()
        run = self.runs.answered(request.tool_results)
        if current.is_valid:
            key = (current.trace_id, current.span_id)
            if run is None:
                run = _run_in(here)
            if run is None:
                run = self.runs.below(key)
                if run is not None and run.span is None and run.turns and not request.continues:
                    run = None  # another conversation below the same span
            if run is None:
                run = Run(here, key)
                self.runs.remember_below(key, run)
            return run, here
        if run is None:
            run = self._infer_run(here, now_ns, tracer)
        return run, run.parent

    def _infer_run(self, here: Context, now_ns: int, tracer: Tracer) -> Run:
        name = _agent_name()
        span = tracer.start_span(
            f"invoke_agent {name}" if name else "invoke_agent",
            context=here,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(
                {
                    semconv.CATEGORY: "agent",
                    semconv.OPERATION: "invoke_agent",
                    semconv.AGENT_NAME: name,
                    semconv.RUN_INFERRED: True,
                }
            ),
            start_time=now_ns,
        )
        run = self._run_below(span, here, owned=True)
        run.touched_ns = now_ns
        for left in self.runs.opened(run):
            self.end_run(left, left.touched_ns)
        self._watch_idle_runs()
        return run

    def _run_below(self, span: Span, here: Context, *, owned: bool = False) -> Run:
        context = span.get_span_context()
        key = (context.trace_id, context.span_id)
        run = Run(trace.set_span_in_context(span, here), key, span if owned else None)
        run.parent = otel.set_value(RUN_KEY, run, run.parent)
        self.runs.remember_below(key, run)
        return run

    def inferred_tool(self, asked: AskedTool, now_ns: int, parent: Context, tracer: Tracer) -> None:
        """Nothing measured this tool: all that is known is the window it must have run in."""
        span = tracer.start_span(
            f"execute_tool {asked.call.name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes={
                **_tool_attributes(asked.call.name, asked.call.id),
                semconv.TOOL_INFERRED: True,
            },
            links=_tool_call_links(asked),
            start_time=asked.asked_ns,
        )
        asked.measured = span.get_span_context()
        span.end(end_time=max(asked.asked_ns, now_ns))

    def find_tools(self, names: Sequence[str]) -> None:
        """A reply asks for tools by these names: measure the application's functions for them."""
        if self._find_tools is not None:
            self._find_tools(list(application_frames()), names)

    # -- spans as they start and end, ours and others'

    @harmless(None)
    def span_started(self, span: Span, parent: Context | None) -> None:
        if _scope(span) == SCOPE:
            return
        here = otel.get_current() if parent is None else parent
        for provider in self._providers:
            if _is_native(provider, span):
                self._adopt(provider, span, here)
                return
        attributes = _attributes(span)
        if semconv.CATEGORY not in attributes:
            found = category(attributes, client=_is_client(span))
            if found is not None:
                span.set_attribute(semconv.CATEGORY, found)

    def _adopt(self, provider: Provider, span: Span, here: Context) -> None:
        """Complete a span that an SDK starts for one of its own operations."""
        call = otel.get_value(CALL_KEY, here)
        if (
            isinstance(call, ModelCall)
            and call.span is None
            and _name(span) == provider.native_call
        ):
            call.adopt(span)
            return
        attributes = _attributes(span)
        operation = attributes.get(semconv.OPERATION)
        if operation == "execute_tool":
            tool, call_id = attributes.get(semconv.TOOL_NAME), attributes.get(semconv.TOOL_CALL_ID)
            if isinstance(tool, str):
                span.update_name(f"execute_tool {tool}")
            asked = self.runs.issuer(call_id) if isinstance(call_id, str) else None
            if asked is not None:
                asked.taken = True
                asked.measured = span.get_span_context()
                for link in _tool_call_links(asked):
                    span.add_link(link.context, link.attributes)
        elif operation == "invoke_agent":
            span.update_name("invoke_agent")
        found = category(attributes, client=_is_client(span)) or "other"
        span.set_attribute(semconv.CATEGORY, found)

    @harmless(None)
    def span_ending(self, span: Any) -> None:
        """The last moment for the category of a span whose attributes came after its start.

        Its attributes are sealed by now, so this writes below the seal; should an OpenTelemetry
        release store them differently, such a span goes without a category.
        """
        attributes = span._attributes  # noqa: SLF001
        if semconv.CATEGORY not in attributes:
            found = category(attributes, client=_is_client(span)) or "other"
            attributes._dict[semconv.CATEGORY] = found  # noqa: SLF001

    @harmless(None)
    def span_ended(self, span: Any) -> None:
        context = span.context
        call = self._open.pop((context.trace_id, context.span_id), None)
        if call is not None:
            error = (span.attributes or {}).get(semconv.ERROR_TYPE)
            call.over(span.end_time or time.time_ns(), error)
        self.nothing_below(context)

    def nothing_below(self, context: SpanContext) -> None:
        """The span with this context ended: no new call or tool hangs on it."""
        key = (context.trace_id, context.span_id)
        run = self.runs.forget_below(key)
        if run is not None:
            # A later call may still continue it, but nobody needs what its span holds on to.
            run.parent = trace.set_span_in_context(NonRecordingSpan(context), Context())

    def opened(self, call: ModelCall, span: Span) -> None:
        """Tell `call` when its span ends, whoever ends it."""
        context = span.get_span_context()
        if span.is_recording() and len(self._open) < MAX_CALLS_IN_FLIGHT:
            self._open[context.trace_id, context.span_id] = call

    def forget(self, context: SpanContext) -> None:
        """The span of a call has ended, and so has the call."""
        self._open.pop((context.trace_id, context.span_id), None)

    # -- the end of inferred runs

    def end_run(self, run: Run, end_ns: int, error: str | None = None) -> None:
        """End the span of an inferred run."""
        if run.span is not None and self.runs.ended(run):
            if error is not None:
                run.span.set_status(StatusCode.ERROR)
                run.span.set_attribute(semconv.ERROR_TYPE, error)
            run.span.end(end_time=end_ns)

    @harmless(None)
    def end_idle_runs(self, idle_seconds: float = 0) -> None:
        """End the inferred runs that have gone quiet, at the moment they last did something."""
        before = time.time_ns() - int(idle_seconds * 1e9)
        for run in self.runs.idle(before):
            self.end_run(run, run.touched_ns)

    @harmless(None)
    def _watch_idle_runs(self) -> None:
        with self._janitor_lock:
            if self._janitor is None or not self._janitor.is_alive():
                self._janitor = threading.Thread(
                    target=self._end_runs_as_they_go_idle, name="causepath-idle-runs", daemon=True
                )
                self._janitor.start()

    def _end_runs_as_they_go_idle(self) -> None:
        while self.runs.idle(time.time_ns()):
            time.sleep(IDLE_SECONDS / 10)
            self.end_idle_runs(IDLE_SECONDS)

    # -- tools and declared runs

    @harmless(None)
    def tool_call(
        self,
        name: str,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        read_only: bool | None,
        only_asked: bool,
    ) -> Operation | None:
        """The span of one measured call of a tool function."""
        if _is_suppressed():
            return None
        tracer = self.tracer()
        here = otel.get_current()
        current = trace.get_current_span(here).get_span_context()
        run = None
        if current.is_valid:
            run = _run_in(here) or self.runs.below((current.trace_id, current.span_id))
        asked = self.runs.take(
            name,
            function,
            args,
            kwargs,
            None
            if not current.is_valid
            else run.key
            if run
            else (current.trace_id, current.span_id),
        )
        if asked is None and only_asked:
            return None
        parent = here
        if not current.is_valid and asked is not None:
            parent = asked.run.parent
        code = getattr(function, "__code__", None)
        span = tracer.start_span(
            f"execute_tool {name}",
            context=parent,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(
                {
                    **_tool_attributes(name, asked.call.id if asked else None),
                    semconv.TOOL_READ_ONLY: read_only,
                    semconv.CODE_FILE_PATH: code.co_filename if code else None,
                    semconv.CODE_LINE_NUMBER: code.co_firstlineno if code else None,
                    semconv.CODE_FUNCTION_NAME: getattr(function, "__qualname__", None),
                }
            ),
            links=_tool_call_links(asked) if asked else (),
        )
        if asked is not None:
            asked.measured = span.get_span_context()
            asked.run.touched_ns = time.time_ns()
        # What the tool asks a model for is a conversation of its own.
        context = otel.set_value(RUN_KEY, None, trace.set_span_in_context(span, parent))
        return Operation(span, context, on_end=_toucher(asked.run) if asked else None)

    @harmless(None)
    def sdk_tool_call(
        self, provider: Provider, name: str, function: Callable[..., Any], args: Any, kwargs: Any
    ) -> Operation | None:
        """The span of a tool that the SDK's tool runner runs, where it writes none itself."""
        current: Any = trace.get_current_span()
        if _is_native(provider, current):
            return None
        arguments = {str(i): value for i, value in enumerate(args)} | kwargs
        return self.tool_call(name, function, (), arguments, None, only_asked=True)

    @harmless(None)
    def agent_run(self, name: str) -> Operation | None:
        """The span of a run that the application declares."""
        if _is_suppressed():
            return None
        here = otel.get_current()
        span = self.tracer().start_span(
            f"invoke_agent {name}",
            context=here,
            kind=SpanKind.INTERNAL,
            attributes={
                semconv.CATEGORY: "agent",
                semconv.OPERATION: "invoke_agent",
                semconv.AGENT_NAME: name,
            },
        )
        run = self._run_below(span, here)
        return Operation(span, run.parent)


class SpanWatcher:
    """A span processor that shows every span of a provider to the plugin.

    It has the methods of `opentelemetry.sdk.trace.SpanProcessor` without being one, as the SDK is
    not a dependency of ours.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry: Telemetry | None = telemetry

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._telemetry is not None:
            self._telemetry.span_started(span, parent_context)

    def _on_ending(self, span: Any) -> None:
        if self._telemetry is not None:
            self._telemetry.span_ending(span)

    def on_end(self, span: Any) -> None:
        if self._telemetry is not None:
            self._telemetry.span_ended(span)

    def shutdown(self) -> None:
        self._telemetry = None

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002
        return True


class Operation:
    """A span and the context inside it, entered and left in one frame, any number of times.

    `with` is one whole life. A generator enters for each step (`step`) and ends once.
    """

    def __init__(
        self, span: Span, context: Context, on_end: Callable[[int], None] | None = None
    ) -> None:
        self.span = span
        self._context = context
        self._token: Any = None
        self._on_end = on_end
        self._process = _process

    def __enter__(self) -> Self:
        self._token = otel.attach(self._context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _detach(self._token)
        self.end(error)

    def step(self) -> Step:
        """The context of the operation for one step of a generator."""
        return Step(self._context)

    @harmless(None)
    def end(self, error: BaseException | None = None) -> None:
        if self._process is not _process:
            return
        if isinstance(error, Exception):
            self.span.set_status(StatusCode.ERROR)
            self.span.set_attribute(semconv.ERROR_TYPE, type(error).__qualname__)
        now_ns = time.time_ns()
        self.span.end(end_time=now_ns)
        if self._on_end is not None:
            self._on_end(now_ns)


class Step:
    """A context for one frame."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token = otel.attach(self._context)

    def __exit__(self, *exc: object) -> None:
        _detach(self._token)


def _detach(token: Any) -> None:
    """As `otel.detach`, but silent where the frame is left in another context than it was entered.

    That is a coroutine which is closed by the collector, say, and there is nothing to restore then.
    """
    if isinstance(token, Token):
        with suppress(ValueError):
            token.var.reset(token)
    else:
        otel.detach(token)


class ModelCall:
    """One call of a model, from the request to the last byte of the reply."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """The arguments to go on with."""

    def __init__(
        self,
        telemetry: Telemetry,
        provider: Provider,
        request: ModelRequest,
        tracer: Tracer,
        *,
        native: bool,
    ) -> None:
        self._telemetry = telemetry
        self._provider = provider
        self._look_at_event = provider.look_at_event
        self._request = request
        self._tracer = tracer
        self._native = native
        self._token: Any = None
        self._reply = NO_REPLY
        self._complete = False
        self._streams = False
        self._closed = False
        self._error: str | None = None
        self._chunks = 0
        self._last_chunk_ns = 0
        self._longest_gap_ns = 0
        self._attempts = 0
        self._attempt_start_ns = 0
        self._pause: Span | None = None
        self._ended_ns: int | None = None
        self._process = _process
        self.span: Span | None = None
        self.inside = False

        self._start_ns = time.time_ns()
        self._run, parent = telemetry.run_of(request, self._start_ns, tracer)
        self._delivered = (
            telemetry.runs.deliver(self._run, request.tool_results) if request.tool_results else []
        )
        for asked in self._delivered:
            if asked.measured is None:
                telemetry.inferred_tool(asked, self._start_ns, parent, tracer)
        self._turn = telemetry.runs.next_turn(self._run, self._start_ns)
        self._attempt_start_ns = self._start_ns
        self._context = otel.set_value(CALL_KEY, self, parent)

    # -- life

    def __enter__(self) -> Self:
        context = self._context
        if not self._native:
            context = self._start_span() or context
        self._token = otel.attach(context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _detach(self._token)
        if error is not None:
            self._failed(error)
        elif not self._streams:
            self.closed()

    @harmless(None)
    def _start_span(self) -> Context:
        span = self._tracer.start_span(
            _chat_name(self._request),
            context=self._context,
            kind=SpanKind.CLIENT,
            attributes={
                **semconv.request_attributes(self._provider.name, self._request),
                **self._own_attributes(),
            },
            links=self._result_links(),
            start_time=self._start_ns,
        )
        self.span = span
        self._telemetry.opened(self, span)
        return trace.set_span_in_context(span, self._context)

    def adopt(self, span: Span) -> None:
        """The SDK started its own span for this call."""
        self.span = span
        # Nothing below the span may begin before it.
        self._attempt_start_ns = getattr(span, "start_time", None) or time.time_ns()
        span.update_name(_chat_name(self._request))
        there = _attributes(span)
        parameters = semconv.parameter_attributes(self._request)
        span.set_attributes(
            {
                **{name: value for name, value in parameters.items() if name not in there},
                **self._own_attributes(),
            }
        )
        for link in self._result_links():
            span.add_link(link.context, link.attributes)
        self._telemetry.opened(self, span)

    def _own_attributes(self) -> Mapping[str, AttributeValue]:
        attributes: dict[str, Any] = {semconv.CATEGORY: "llm", semconv.TURN: self._turn}
        if self._request.declared_tools:
            attributes[semconv.TOOLS_DECLARED] = self._request.declared_tools
        frame = next(application_frames(), None)
        if frame is not None:
            code = frame.f_code
            attributes[semconv.CODE_FILE_PATH] = code.co_filename
            attributes[semconv.CODE_LINE_NUMBER] = frame.f_lineno
            attributes[semconv.CODE_FUNCTION_NAME] = getattr(code, "co_qualname", code.co_name)
        return attributes

    def _result_links(self) -> list[Link]:
        return [
            Link(asked.measured, {semconv.LINK: "tool_result"})
            for asked in self._delivered
            if asked.measured is not None and asked.measured.is_valid
        ]

    # -- attempts

    @harmless(None)
    def attempt_failed(self, response: Any, error: BaseException | None) -> None:
        """The pause before the next attempt begins."""
        status = getattr(response, "status_code", None)
        now_ns = time.time_ns()
        self._end_attempt(
            now_ns,
            "retry",
            status,
            str(status) if status else self._provider.read_error(error) if error else None,
        )
        if self.span is not None:
            self._pause = self._tracer.start_span(
                "backoff",
                context=trace.set_span_in_context(self.span, self._context),
                kind=SpanKind.INTERNAL,
                attributes={semconv.CATEGORY: "retry"},
                start_time=now_ns,
            )

    @harmless(None)
    def attempt_again(self) -> None:
        """The pause is over, in whatever way."""
        self._attempt_start_ns = time.time_ns()
        if self._pause is not None:
            self._pause.end(end_time=self._attempt_start_ns)
            self._pause = None

    def _end_attempt(self, now_ns: int, kind: str, status: object, error_type: str | None) -> None:
        self._attempts += 1
        if self.span is None:
            return
        span = self._tracer.start_span(
            f"attempt {self._attempts}",
            context=trace.set_span_in_context(self.span, self._context),
            kind=SpanKind.CLIENT,
            attributes=semconv.present(
                {
                    semconv.CATEGORY: kind,
                    semconv.HTTP_STATUS: status if isinstance(status, int) else None,
                    semconv.ERROR_TYPE: error_type,
                }
            ),
            start_time=self._attempt_start_ns,
        )
        if error_type is not None:
            span.set_status(StatusCode.ERROR)
        span.end(end_time=now_ns)

    # -- the reply

    @harmless(None)
    def responded(self, response: Any, result: object) -> None:
        """A successful attempt has its response, and the application is about to get `result`."""
        if getattr(response, "status_code", 200) >= 400:
            return
        if self._attempts:
            self._end_attempt(time.time_ns(), "network", response.status_code, None)
        reply = self._provider.read_reply(result)
        if reply is not None:
            self._reply = reply
            self._reply_over()
        elif not response.is_closed:
            from causepath.proxies import ObservedBody

            self._streams = True
            response.extensions["causepath.call"] = self
            response.stream = ObservedBody(response.stream, self)

    def event(self, event: Any) -> None:
        """The application is about to get this event of a streamed reply."""
        try:  # as `harmless`, but cheaper: this is the one thing that happens thousands of times
            now_ns = time.time_ns()
            gap_ns = now_ns - self._last_chunk_ns
            if gap_ns > self._longest_gap_ns and self._last_chunk_ns:
                self._longest_gap_ns = gap_ns
            self._last_chunk_ns = now_ns
            what = self._look_at_event(event)
            if what & CONTENT:
                self._chunks += 1
                if self._chunks == 1:
                    self._first_chunk(now_ns)
            if what & FACTS:
                before = self._reply
                self._reply = self._provider.read_event(before, event)
                if self._reply is not before:
                    self._ask_whole_calls()
                if what & LAST:
                    self._reply_over()
        except Exception:
            report("causepath.spans.ModelCall.event")

    def _first_chunk(self, now_ns: int) -> None:
        if self.span is not None and self.span.is_recording():
            # The SDK's own spans say the same a moment later, in its own words.
            self.span.set_attribute(
                semconv.RESPONSE_TIME_TO_FIRST_CHUNK, (now_ns - self._start_ns) / 1e9
            )

    def _ask_whole_calls(self) -> None:
        """A tool may be started while the reply still streams, once its arguments have arrived."""
        for tool_call in self._reply.tool_calls:
            if not isinstance(tool_call.input, str):
                self._ask(tool_call)

    def _ask(self, tool_call: ToolCall) -> None:
        issuer = self.span.get_span_context() if self.span is not None else None
        self._telemetry.runs.ask(self._run, tool_call, issuer, time.time_ns())

    def _reply_over(self) -> None:
        """The whole reply is known, though its body may not be closed yet."""
        self._complete = True
        self._ask_whole_calls()
        self._telemetry.runs.reply_over(self._run, time.time_ns())
        self._write_reply()
        if self._reply.tool_calls:
            self._telemetry.find_tools([tool_call.name for tool_call in self._reply.tool_calls])

    def _write_reply(self) -> None:
        span = self.span
        if span is None or not span.is_recording():
            return
        attributes = semconv.reply_attributes(self._reply)
        if self._native and not self._streams:
            for name in self._provider.native_reply:
                attributes.pop(name, None)
        if self._chunks:
            attributes[semconv.STREAM_CHUNKS] = self._chunks
            attributes[semconv.STREAM_LONGEST_GAP_MS] = self._longest_gap_ns / 1e6
        span.set_attributes(attributes)

    # -- the end

    @harmless(None)
    def _failed(self, error: BaseException) -> None:
        if self._process is not _process:
            return
        # The SDK may have ended its span by now; nothing below a span may outlive it.
        now_ns = self._ended_ns or time.time_ns()
        if isinstance(error, Exception):
            self._error = self._provider.read_error(error)
        if self._pause is not None:
            self.attempt_again()
        elif self._attempts and self._error is not None and not self._complete:
            self._end_attempt(now_ns, "retry", getattr(error, "status_code", None), self._error)
        self.closed(error)

    @harmless(None)
    def closed(self, error: BaseException | None = None) -> None:
        """Nothing more comes. May be told more than once: by events, the body, a collector."""
        if self._closed or self.inside or self._process is not _process or sys.is_finalizing():
            return
        self._closed = True
        if isinstance(error, Exception) and self._error is None:
            self._error = self._provider.read_error(error)
        if not self._complete:
            self._write_reply()
        span = self.span
        if span is None:
            self.over(time.time_ns(), self._error)
        elif not self._native:
            if self._error is not None:
                span.set_status(StatusCode.ERROR)
                span.set_attribute(semconv.ERROR_TYPE, self._error)
            elif self._complete:
                span.set_status(StatusCode.OK)
            now_ns = time.time_ns()
            span.end(end_time=now_ns)
            # A provider that tells no processor, or no processor of this span, told us nothing.
            self._telemetry.forget(span.get_span_context())
            self.over(now_ns, self._error)

    def over(self, end_ns: int, error: str | None) -> None:
        """The span of the call has ended. An inferred run with no question left has ended too."""
        if self._ended_ns is not None:
            return
        self._ended_ns = end_ns
        run = self._run
        if self._telemetry.runs.call_over(run, end_ns):
            return  # another call of the run is in progress
        if error is not None:
            # Later in a run, the application may well send the same results again.
            if self._turn == 1:
                self._telemetry.end_run(run, end_ns, error)
        elif not self._reply.tool_calls or (self._complete and not self._reply.awaits_tools):
            self._telemetry.end_run(run, end_ns)


def _run_in(context: Context) -> Run | None:
    run = otel.get_value(RUN_KEY, context)
    return run if isinstance(run, Run) else None


def _writes_to(tracer: Any, tracer_provider: Any) -> bool:
    """Whether a tracer of an SDK, which keeps it for good, is of the provider in force by now."""
    theirs = getattr(getattr(tracer, "_real_tracer", None) or tracer, "span_processor", None)
    ours = getattr(tracer_provider, "_active_span_processor", None)
    return theirs is None or ours is None or theirs is ours


def _chat_name(request: ModelRequest) -> str:
    return f"chat {request.model}" if request.model else "chat"


def _agent_name() -> str | None:
    """What to call an agent that nobody named: after the script or the module of its loop."""
    for frame in application_frames():
        module = str(frame.f_globals.get("__name__", ""))
        if module == "__main__":
            path = str(frame.f_globals.get("__file__", "")) or frame.f_code.co_filename
            module = path.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
        return None if not module or module.startswith("<") else module.rpartition(".")[2]
    return None


def _tool_attributes(name: str, call_id: str | None) -> dict[str, Any]:
    return semconv.present(
        {
            semconv.CATEGORY: "tool",
            semconv.OPERATION: "execute_tool",
            semconv.TOOL_NAME: name,
            semconv.TOOL_TYPE: "function",
            semconv.TOOL_CALL_ID: call_id,
        }
    )


def _tool_call_links(asked: AskedTool) -> list[Link]:
    if asked.issuer is None or not asked.issuer.is_valid:
        return []
    return [Link(asked.issuer, {semconv.LINK: "tool_call"})]


def _toucher(run: Run) -> Callable[[int], None]:
    def touch(now_ns: int) -> None:
        run.touched_ns = max(run.touched_ns, now_ns)

    return touch


def _is_suppressed() -> bool:
    here = otel.get_current()
    return any(here.get(key) for key in SUPPRESSED_KEYS) if here else False


def _scope(span: Any) -> str:
    return getattr(getattr(span, "instrumentation_scope", None), "name", "")


def _attributes(span: Any) -> Mapping[str, Any]:
    return getattr(span, "attributes", None) or {}


def _name(span: Any) -> str:
    return getattr(span, "name", "")


def _is_native(provider: Provider, span: Any) -> bool:
    """Whether the SDK of `provider` itself writes this span."""
    return provider.native_scope is not None and _scope(span).startswith(provider.native_scope)


def _is_client(span: Any) -> bool:
    return getattr(span, "kind", None) is SpanKind.CLIENT
