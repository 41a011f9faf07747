"""One call of a model: its span, its attempts, its reply, and when all of it is over."""

from __future__ import annotations

import functools
import sys
import time
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, StatusCode

from causepath import forks
from causepath.code.call_sites import calling
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import Ending, ending_of, ending_of_type
from causepath.otel.operation import detach
from causepath.otel.span_access import write
from causepath.providers.messages import ModelReply
from causepath.providers.provider import CONTENT, FACTS, LAST
from causepath.replies.reply_body import ObservedBody
from causepath.replies.stream_pace import Pacing, connecting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence
    from types import CodeType, TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from causepath.calls.attempts import Attempts
    from causepath.calls.foreign_spans import OtherSpan
    from causepath.calls.runs import AskedTool, Run
    from causepath.calls.tracing import Telemetry
    from causepath.code.call_sites import Site
    from causepath.content.conversations import Told
    from causepath.content.recording import Content, Said
    from causepath.providers.messages import Block, ModelRequest, ToolCall
    from causepath.providers.provider import BlockReader, NativeSpans, Provider, Response
    from causepath.replies.reply_bytes import Body
    from causepath.replies.stream_pace import Connecting

IN_PROGRESS: ContextVar[ModelCall | None] = ContextVar("causepath-model-call", default=None)
"""The model call that the code of an SDK is working for. Not in OpenTelemetry's context, which what
the application starts meanwhile may keep, and which is slower to set and to ask."""

NO_REPLY = ModelReply()


class ModelCall:
    """One call of a model, from the request to the last byte of the reply."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """The arguments to go on with."""
    is_async = False
    """Whether the application awaits it."""
    span: Span | None = None
    pace: Pacing
    """Of a streamed reply."""
    is_here = False
    """Whether the call hangs on what is current anyhow."""

    # What most calls never change is not set in each of them: an object of more than thirty fields
    # of its own takes twice the time to make and to read.
    _token: Any = None
    _progress: Any = None
    _reply = NO_REPLY
    is_complete = False
    """Whether the whole reply is known."""
    _streams = False
    _headers: Mapping[str, str] = MappingProxyType({})
    _body: Body | None = None
    _closed = False
    _error: str | None = None
    _ending: Ending | None = None
    """How it has ended, where that is no error of the provider's."""
    _connecting: Connecting | None = None
    _attempts: Attempts | None = None
    _sent = False
    _told: Told | None = None
    _said: Said | None = None
    _block_reader: BlockReader | None = None
    _answer: dict[str, Any] | None = None
    _ended_ns: int | None = None
    _delivered: Sequence[AskedTool] = ()
    _records_content = False
    _body_sent: object = None
    """While it may turn out that it has to be sent again."""

    def __init__(
        self,
        telemetry: Telemetry,
        provider: Provider,
        client: Any,
        request: ModelRequest,
        tracer: Tracer,
        run: Run,
        parent: Context,
        around: Context,
        now_ns: int,
        *,
        native: NativeSpans | None,
        other: OtherSpan | None,
    ) -> None:
        self._telemetry = telemetry
        self._provider = provider
        self.look = provider.look_at_event
        self._client = client
        self._request = request
        self._tracer = tracer
        self._native = native
        self._other = other
        self._is_ours = native is None and other is None
        self._told_others: dict[str, Any] = {}
        """What a span of somebody else was told of this call."""
        self.closed_ns = 0
        self._inferred: list[tuple[AskedTool, Callable[[object], None]]] = []
        self._process = forks.process
        self._start_ns = now_ns
        self._run, self._context, self._around = run, parent, around
        if request.tool_results:
            self._deliver(request)
        if telemetry.content is not None:
            run.native_content = native is not None and native.records_content(client)
            self._records_content = not run.native_content
        self._own: dict[str, Any] = semconv.more_request_attributes(request)
        """What samplers need not see, and most of it nobody else says."""
        self._own.update(_caller())
        self._own[semconv.CATEGORY] = "llm"
        self._own[semconv.TURN] = telemetry.runs.next_turn(run, now_ns)
        if request.declared_tools:
            self._own[semconv.TOOLS_DECLARED] = request.declared_tools
        self.reads_request = telemetry.evidence is not None or telemetry.content is not None
        """Whether somebody wants to know what stands in the request."""

    def _deliver(self, request: ModelRequest) -> None:
        """The request brings results of tool calls, some of them for the first time."""
        self._delivered = self._telemetry.runs.deliver(self._run, request.tool_results)
        windows = sorted(
            (call.start_ns, call.end_ns)
            for asked in self._delivered
            for call in asked.candidates
            if call.end_ns
        )
        for asked in self._delivered:
            failed = asked.call.id in request.failed_tools
            if asked.candidates or asked.operation is not None:
                sent = request.results.get(asked.call.id)
                self._telemetry.tool_calls.deliver(
                    asked, self._start_ns, sent, windows, failed=failed
                )
            if asked.measured is None:
                end = self._telemetry.tool_calls.inferred(
                    asked, self._start_ns, self._around, self._tracer, failed=failed
                )
                if end is not None:
                    self._inferred.append((asked, end))

    # -- life

    @harmless(None)
    def __enter__(self) -> None:
        self._progress = IN_PROGRESS.set(self)
        context = self._context
        if self._is_ours:
            context = self._start_span(context) or context
        elif not self._native and self._other is not None:
            self._complete_other(self._other.span)
        if self._is_ours or not self.is_here:
            self._token = otel.attach(context)

    @harmless(None)
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            detach(self._token)
        detach(self._progress)
        may_go_again = self._streams or error is not None
        if may_go_again and self._run.span is not None and not self._run.answered:
            self._body_sent = self._provider.read_body(self.args, self.kwargs)
        self.args, self.kwargs = (), {}
        if error is not None:
            self._failed(error)
        elif not self._streams:
            self._close(None)

    @harmless(None)
    def _start_span(self, context: Context) -> Context:
        span = self._tracer.start_span(
            _chat_name(self._request),
            context=context,
            kind=SpanKind.CLIENT,
            attributes={semconv.CATEGORY: "llm", **self._request_attributes()},
            links=self._result_links() if self._delivered else (),
            start_time=self._start_ns,
        )
        write(span, self._own)
        self.span = span
        if span.is_recording():
            self._telemetry.opened(self, span.get_span_context())
        return trace.set_span_in_context(span, context)

    def adopts(self, span: Any) -> bool:
        """Whether an SDK starts this span, in whose code the call is, for the call itself."""
        native = self._native
        if self.span is not None or native is None or span.name != native.call:
            return False
        self.span = span
        # Nothing below the span may begin before it, and times are counted from its start.
        self._start_ns = span.start_time or time.time_ns()
        span.update_name(_chat_name(self._request))
        write(span, self._own, only_missing=True)
        if self._delivered:
            self._add_result_links(span)
        self._telemetry.opened(self, span.context)
        return True

    @harmless(None)
    def _complete_other(self, span: Span) -> None:
        """Another instrumentation has started its span for this call."""
        self.span = span
        self._set_missing(
            span,
            {
                **self._request_attributes(),
                **self._own,
            },
        )
        self._add_result_links(span)
        if span.is_recording():
            self._telemetry.opened(self, span.get_span_context())

    def _set_missing(self, span: Span, attributes: Mapping[str, AttributeValue]) -> None:
        self._told_others.update(attributes)
        write(span, attributes, only_missing=True)

    def _request_attributes(self) -> dict[str, Any]:
        server = self._provider.read_server(self._client)
        return semconv.request_attributes(self._provider.name, self._request, server)

    def _add_result_links(self, span: Span) -> None:
        for link in self._result_links():
            span.add_link(link.context, link.attributes)

    def _result_links(self) -> list[Link]:
        return [
            Link(asked.measured, {semconv.LINK: "tool_result"})
            for asked in self._delivered
            if asked.measured is not None and asked.measured.is_valid
        ]

    @harmless(None)
    def sends(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The request is about to be sent; `args` and `kwargs` are those of the BODY seam."""
        span, evidence, content = self.span, self._telemetry.evidence, self._telemetry.content
        if self._sent:
            return
        self._sent = True
        if span is None or not span.is_recording():
            return
        prompt = self._provider.read_prompt(args, kwargs)
        if evidence is not None:
            results = {asked.call.id: asked.measured for asked in self._delivered if asked.measured}
            self._told = evidence.given(span, self._run.conversations, prompt, results)
        if content is not None:
            self._record_request(content, span, prompt.blocks())

    @harmless(None)
    def _record_request(self, content: Content, span: Span, blocks: Sequence[Block]) -> None:
        if self._inferred:
            results = {block.id: block.value for block in blocks if block.kind == "tool_result"}
            self._end_inferred_tools(results)
        said = self._said = content.asked(blocks)
        if said is not None and self._records_content:
            self._set_missing(span, content.attributes(said))

    def _end_inferred_tools(self, results: Mapping[str, object]) -> None:
        while self._inferred:
            asked, end = self._inferred.pop()
            end(results.get(asked.call.id))

    # -- attempts

    @harmless(None)
    def sending(
        self, extensions: Callable[[Any], MutableMapping[str, Any] | None], built: object
    ) -> None:
        """An attempt is about to be sent, and `built` for that."""
        self._connecting = connecting(extensions(built), is_async=self.is_async)

    @harmless(None)
    def attempt_failed(self, response: Response | None, error: BaseException | None) -> None:
        """The pause before the next attempt begins."""
        now_ns = time.time_ns()
        status = response.status if response is not None else None
        if self.span is None:
            return
        if self._attempts is None:
            from causepath.calls.attempts import Attempts

            around = trace.set_span_in_context(self.span, self._context)
            self._attempts = Attempts(self._tracer, around, self._start_ns)
        self._attempts.failed(
            now_ns,
            status,
            str(status) if status else self._provider.read_error(error) if error else None,
            self._connected(),
            None if response is None else response.headers.get("retry-after"),
        )
        self._attempts.pause(now_ns)

    @harmless(None)
    def attempt_again(self) -> None:
        """The pause is over, in whatever way."""
        if self._attempts is not None:
            self._attempts.go_on(time.time_ns())

    def _connected(self) -> Mapping[str, Any]:
        """How the latest attempt got its connection."""
        return self._connecting.attributes() if self._connecting is not None else {}

    # -- the reply

    @harmless(None)
    def responded(self, response: Response | None, result: object) -> None:
        """A successful attempt has its response, and the application is about to get `result`."""
        if self._connecting is not None:
            self._connecting.over()
        if response is None or response.status >= 400:
            return
        if self._attempts is not None:
            self._attempts.succeeded(time.time_ns(), response.status, self._connected())
        reply = self._provider.read_reply(result)
        if reply is not None:
            self._reply = reply
            self._reply_over()
        elif not response.is_read:
            self.pace = Pacing()
            self._streams = True
            self._headers = response.headers
            if self._told is not None or self._said is not None:
                self._block_reader = self._provider.block_reader(self.look)
                self.look = self._block_reader.event
            response.observe(self, ObservedBody)

    @harmless(None)
    def refused(self, response: Response | None) -> None:
        """The SDK makes nothing of a whole reply, as it is not of the form that was asked for. It
        has been paid for all the same."""
        if response is None or not response.is_read:
            return
        reply = self._provider.read_document(response.content())
        if reply is not None:
            self._reply = reply

    @harmless(None)
    def told(self, event: Any, what: int) -> None:
        """The application is about to get an event that is more than a piece of the answer."""
        if not what & CONTENT:
            self.pace.was_no_chunk()
        if what & FACTS:
            before = self._reply
            self._reply = self._provider.read_event(before, event)
            if self._reply is not before and self._reply.tool_calls:
                self._ask_whole_calls()
            if what & LAST:
                self._reply_over()

    @harmless(None)
    def reading(self) -> Callable[[bytes], None] | None:
        """The body is about to be read. If nobody parses its events, its bytes have to tell."""
        if self._body is not None or self.pace.is_waiting:
            return None
        from causepath.replies.reply_bytes import Body

        self._body = Body(self._headers, self._event_data)
        return harmless(None)(self._body.feed)

    def _event_data(self, data: bytes) -> None:
        event = self._provider.read_data(data)
        if event is None:
            return
        self.pace.came_unasked(time.perf_counter_ns())
        self.told(event, self.look(event))

    def _ask_whole_calls(self) -> None:
        """A tool may be started while the reply still streams, once its arguments have arrived."""
        asked = [
            tool_call
            for tool_call in self._reply.tool_calls
            if not isinstance(tool_call.input, str) and self._ask(tool_call)
        ]
        if asked:
            self._telemetry.tool_calls.find(self._run, asked)

    def _ask(self, tool_call: ToolCall) -> bool:
        issuer = self.span.get_span_context() if self.span is not None else None
        if not self._telemetry.runs.ask(self._run, tool_call, issuer, time.time_ns()):
            return False
        self._look_at_arguments(tool_call)
        return True

    @harmless(None)
    def _look_at_arguments(self, tool_call: ToolCall) -> None:
        asked, evidence = self._run.asked.get(tool_call.id), self._telemetry.evidence
        if asked is not None and evidence is not None and self._told is not None:
            asked.about, asked.carries = evidence.asked(self._told, tool_call)

    def _reply_over(self) -> None:
        """The whole reply is known, though its body may not be closed yet."""
        self.is_complete = True
        self._run.answered, self._run.ending = True, None
        reply = self._reply
        if reply.tool_calls:
            self._ask_whole_calls()
        if reply.goes_on:
            issuer = self.span.get_span_context() if self.span is not None else None
            self._telemetry.runs.pause(self._run, reply.goes_on, issuer)
        if self._run.asked:
            self._telemetry.runs.reply_over(self._run, time.time_ns())
        self._write_reply()

    def _write_reply(self) -> None:
        span = self.span
        if span is None or not span.is_recording():
            return
        attributes = self._reply_attributes()
        first_ns = self._first_chunk_ns()
        if first_ns is not None:
            span.add_event(semconv.FIRST_TOKEN_EVENT, timestamp=self._start_ns + first_ns)
        if self._other is not None and not self._native:
            self._set_missing(span, attributes)
        else:
            write(span, attributes)

    def known_late(self) -> dict[str, AttributeValue]:
        """What to add to a span that somebody else ends before the reply is over for us."""
        told = self._streams or self._reply is not NO_REPLY
        return self._reply_attributes() if told else {}

    def _reply_attributes(self) -> dict[str, Any]:
        native = self._native if self.is_complete and not self._streams else None
        said = native.reply if native is not None else frozenset[str]()
        attributes: dict[str, Any] = semconv.reply_attributes(self._reply, said)
        usage = self._reply.usage
        unfinished = usage.input is not None or not self.is_complete
        if self._streams and usage.output is None and unfinished:
            # What was used after it was left, nobody says.
            attributes[semconv.USAGE_PARTIAL] = True
        if self._told is not None or self._said is not None:
            attributes.update(self._answered())
        if self._streams:
            attributes.update(self.pace.attributes(self._start()))
        if self._attempts is None:
            attributes.update(self._connected())
        return attributes

    def _start(self) -> int:
        """When the call began, of `time.perf_counter_ns`."""
        return self._start_ns - time.time_ns() + time.perf_counter_ns()

    def _first_chunk_ns(self) -> int | None:
        """How long it took until the first piece of the answer came."""
        first = self.pace.first_chunk() if self._streams else None
        return first - self._start() if first is not None else None

    def _answered(self) -> Mapping[str, Any]:
        """The blocks of the reply, whole or as much of it as has come."""
        if self._answer is None and self.span is not None:
            reader = self._block_reader
            blocks = self._reply.blocks() if reader is None else reader.blocks()
            self._answer = {}
            if self._told is not None and self._telemetry.evidence is not None:
                answered = self._telemetry.evidence.answered
                conversations = self._run.conversations
                self._answer.update(answered(self.span, self._told, blocks, conversations))
            self._answer.update(self._record_reply(blocks) or {})
        return self._answer or {}

    @harmless(None)
    def _record_reply(self, blocks: Sequence[Block]) -> Mapping[str, Any] | None:
        content, said = self._telemetry.content, self._said
        if content is None or said is None or self.span is None:
            return None
        content.answered(said, blocks)
        if content.settings.in_events:
            about = {
                **self._request_attributes(),
                **semconv.more_request_attributes(self._request),
                **semconv.reply_attributes(self._reply),
            }
            content.emit(said, about, self.span)
        if not self._records_content:
            return None
        return content.attributes(said, (semconv.OUTPUT_MESSAGES,))

    # -- the end

    @harmless(None)
    def _failed(self, error: BaseException) -> None:
        if self._process is not forks.process:
            return
        # The SDK may have ended its span by now; nothing below a span may outlive it.
        now_ns = self._ended_ns or time.time_ns()
        self._ended_by(error)
        if self._attempts is not None and self._error is not None and not self.is_complete:
            status = self._provider.read_status(error)
            self._attempts.failed(now_ns, status, self._error, self._connected())
        self.closed(error)

    @harmless(None)
    def closed(self, error: BaseException | None = None) -> None:
        """Nothing more comes. May be told more than once: by events, the body, a collector."""
        if self._closed or self._process is not forks.process:
            return
        if self._streams and self.pace.is_waiting:
            return  # what ends it is an exception on its way out, which is told when it is out
        if not sys.is_finalizing():
            self._close(error)

    @harmless(None)
    def interrupt(self, write_open: Callable[[Span], None], why: Ending) -> None:
        """The process ends before the reply is over, and `why`. `write_open` writes the span as it
        is now, where an SDK may still have something to say to it."""
        if self._closed or self._process is not forks.process:
            return
        span = self.span
        if span is not None and not self.is_complete:
            span.set_attribute(semconv.UNFINISHED, True)
            self._ending, self._error = why, why.error_type
        self._close(None)
        if span is not None and self._native and span.is_recording():
            write_open(span)
            self._telemetry.forget(span.get_span_context())
            self.over(time.time_ns(), self._error)

    def _ended_by(self, error: BaseException) -> None:
        """An exception ends it. Who leaves a stream wants no more of it, which is no error."""
        if isinstance(error, Exception):
            self._error = self._provider.read_error(error)
        elif not isinstance(error, GeneratorExit):
            self._ending = ending_of(error)
            self._error = self._ending.error_type

    def _close(self, error: BaseException | None) -> None:
        if self._closed:
            return
        self._closed = True
        if error is not None and self._error is None:
            self._ended_by(error)
        if not self.is_complete:
            self._read_document()
        if self._body is not None:
            self._body.close()
        self._error = self._error or self._reply.error
        if not self.is_complete:
            self._write_reply()
        span = self.span
        if span is None:
            self.over(time.time_ns(), self._error)
        elif self._is_ours:
            if self._error is not None:
                span.set_status(StatusCode.ERROR)
                span.set_attribute(semconv.ERROR_TYPE, self._error)
            elif self.is_complete:
                span.set_status(StatusCode.OK)
            now_ns = time.time_ns()
            span.end(end_time=now_ns)
            # A provider that tells no processor, or no processor of this span, told us nothing.
            self._telemetry.forget(span.get_span_context())
            self.over(now_ns, self._error)
        elif not self._native:
            self.closed_ns = time.time_ns()
            self._telemetry.left_to_others(self)

    @harmless(None)
    def write_if_nobody_has(self) -> None:
        """Whoever began the span of this call should have ended it by now, or never will."""
        left = self.span
        if left is None or not left.is_recording():
            return
        self._telemetry.forget(left.get_span_context())
        span = self._tracer.start_span(
            _chat_name(self._request),
            context=self._around,
            kind=SpanKind.CLIENT,
            attributes=self._told_others,
            links=self._result_links(),
            start_time=self._start_ns,
        )
        if self._error is not None:
            span.set_status(StatusCode.ERROR)
            span.set_attribute(semconv.ERROR_TYPE, self._error)
        elif self.is_complete:
            span.set_status(StatusCode.OK)
        span.end(end_time=self.closed_ns)
        self.over(self.closed_ns, self._error)

    def _read_document(self) -> None:
        """The application has read the bytes of a reply that is no stream."""
        document = self._body.document() if self._body is not None else None
        reply = self._provider.read_document(document) if document else None
        if reply is not None:
            self._reply = reply
            self._reply_over()

    def over(self, end_ns: int, error: str | None) -> None:
        """The span of the call has ended. An inferred run with no question left has ended too."""
        if self._ended_ns is not None:
            return
        self._ended_ns = end_ns
        if self._inferred:
            self._end_inferred_tools({})
        run = self._run
        if self._telemetry.metrics.wanted():
            self._measure(end_ns, error)
        body, self._body_sent = self._body_sent, None
        if self._telemetry.runs.call_over(run, end_ns) or run.span is None:
            return  # another call of the run is in progress
        ending = self._ending or (ending_of_type(error) if error is not None else None)
        if ending is not None:
            if not run.answered:
                if self.kwargs or self.args:
                    body = self._provider.read_body(self.args, self.kwargs)
                self._telemetry.first_call_failed(run, end_ns, ending, body)
            elif self._own[semconv.TURN] == 1:
                self._telemetry.end_run(run, end_ns, ending)
            else:
                run.ending = ending
            # Later in a run, the application may well send the same results again.
            return
        reply = self._reply
        asks = reply.tool_calls or (self.is_complete and reply.goes_on)
        if not asks or (self.is_complete and not reply.awaits_tools):
            self._telemetry.end_run(run, end_ns)

    def _measure(self, end_ns: int, error: str | None) -> None:
        request, reply = self._request, self._reply
        server = self._provider.read_server(self._client)
        self._telemetry.metrics.model_call(
            semconv.present(
                {
                    semconv.OPERATION: "chat",
                    semconv.PROVIDER: server.platform or self._provider.name,
                    semconv.REQUEST_MODEL: request.model or None,
                    semconv.RESPONSE_MODEL: reply.model,
                    semconv.SERVER_ADDRESS: server.address,
                    semconv.SERVER_PORT: server.port,
                    semconv.ERROR_TYPE: error,
                }
            ),
            reply.usage,
            end_ns - self._start_ns,
            self._first_chunk_ns(),
            self.pace.chunk_gaps_ns() if self._streams else (),
        )


def _caller() -> Mapping[str, Any]:
    """Where in the application the call is made: asked here, as the SDK's own span begins far below
    and every frame of the way costs. The nearest are ours, up to the patched method's.
    """
    frame, at = calling(sys._getframe(6))  # noqa: SLF001 - the documented way to the stack
    return _place(frame.f_code, frame.f_lineno, at) if frame is not None else {}


@functools.lru_cache(maxsize=1_000)
def _place(code: CodeType, line: int, at: Site) -> Mapping[str, Any]:
    return {
        semconv.CODE_FILE_PATH: code.co_filename,
        semconv.CODE_LINE_NUMBER: line,
        semconv.CODE_FUNCTION_NAME: getattr(code, "co_qualname", code.co_name),
        **semconv.site_attributes(at),
    }


def _chat_name(request: ModelRequest) -> str:
    return f"chat {request.model}" if request.model else "chat"
