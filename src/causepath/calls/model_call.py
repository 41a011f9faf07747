"""One call of a model: its span, its attempts, its reply, and when all of it is over."""

from __future__ import annotations

import functools
import sys
import time
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from causepath import forks
from causepath.budgets.spending import Spent
from causepath.budgets.time_outs import Deadline
from causepath.code.call_sites import calling
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import Ending, ending_of, ending_of_type
from causepath.otel.operation import detach
from causepath.otel.span_access import attributes_of, write
from causepath.providers.provider import FACTS, LAST
from causepath.replies.reply import Reply
from causepath.replies.stream_pace import connecting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence
    from types import CodeType, TracebackType

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext, Tracer
    from opentelemetry.util.types import AttributeValue

    from causepath.budgets.spending import Spending
    from causepath.calls.asked_tools import AskedTools, Delivered
    from causepath.calls.attempts import Attempts
    from causepath.calls.foreign_spans import OtherSpan
    from causepath.calls.open_calls import OpenCalls
    from causepath.calls.run_spans import RunSpans
    from causepath.calls.runs import Run
    from causepath.code.call_sites import Site
    from causepath.content.call_words import CallWords
    from causepath.otel.metrics import Metrics
    from causepath.providers.messages import Block, ModelRequest
    from causepath.providers.provider import Head, NativeSpans, Provider, Response
    from causepath.replies.stream_pace import Connecting, Pacing

IN_PROGRESS: ContextVar[ModelCall | None] = ContextVar("causepath-model-call", default=None)
"""The model call that the code of an SDK is working for. Not in OpenTelemetry's context, which what
the application starts meanwhile may keep, and which is slower to set and to ask."""


class Place(NamedTuple):
    """The place of a model call in its trace."""

    run: Run
    parent: Context
    """The context that its span hangs on."""
    around: Context
    """The context that its tools hang on."""


class FailedAttempt(NamedTuple):
    """An attempt that another one may follow."""

    end_ns: int
    status: int | None
    error_type: str | None
    connected: Mapping[str, Any]
    """How it got its connection."""
    retry_after: str | None


class ModelCall:
    """One call of a model, from the request to the last byte of the reply."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """The arguments to go on with."""
    is_async = False
    """The application awaits it."""
    span: Span | None = None
    is_here = False
    """The call hangs on what is current anyhow."""

    # What most calls never change is not set in each of them: an object of more than thirty fields
    # of its own takes twice the time to make and to read.
    closed_ns = 0
    _token: Any = None
    _progress: Any = None
    _closed = False
    _error: str | None = None
    _ending: Ending | None = None
    """Its end, if that is no error of the provider's."""
    _connecting: Connecting | None = None
    _attempts: Attempts | None = None
    _retries = 0
    _failure: FailedAttempt | None = None
    """The latest attempt, if it failed and no other one has begun."""
    _sent = False
    _ended_ns: int | None = None
    _came_at_once = False
    _as_given: tuple[tuple[Any, ...], dict[str, Any]] | None = None
    """The arguments of the application, where we have added to them."""
    spent: Spent | None = None
    """The part that it has in budgets, if there are any."""
    deadline: Deadline | None = None
    """The end of its time-out, once it has been sent."""
    _body_sent: object = None
    """The request, while it may turn out that it has to be sent again."""

    def __init__(
        self,
        provider: Provider,
        client: Any,
        request: ModelRequest,
        place: Place,
        turn: int,
        now_ns: int,
        *,
        tracer: Tracer,
        delivered: Delivered,
        words: CallWords | None,
        tools: AskedTools,
        run_spans: RunSpans,
        open_calls: OpenCalls,
        metrics: Metrics,
        native: NativeSpans | None,
        other: OtherSpan | None,
    ) -> None:
        self._provider = provider
        self._client = client
        self._request = request
        self._run, self._context, self._around = place
        self._start_ns = now_ns
        self._tracer = tracer
        self._delivered = delivered
        self._inferred = list(delivered.inferred)
        self._words = words
        self._tools = tools
        self._run_spans = run_spans
        self._open_calls = open_calls
        self._metrics = metrics
        self._native = native
        self._other = other
        self._is_ours = native is None and other is None
        self._handled = id(sys.exc_info()[1])
        """The id of an exception that the application handles as it makes the call."""
        self._reply = Reply(provider, request.make_up_id)
        self._told_others: dict[str, Any] = {}
        """The attributes that a span of another library was given for this call."""
        self._process = forks.process
        self._own: dict[str, Any] = semconv.more_request_attributes(request)
        """Attributes that samplers need not see, and most of which no other library writes."""
        self._own.update(_caller())
        self._own[semconv.CATEGORY] = "llm"
        self._own[semconv.TURN] = self._turn = turn
        if request.declared_tools:
            self._own[semconv.TOOLS_DECLARED] = request.declared_tools

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
        may_go_again = self._reply.streams or error is not None
        if may_go_again and self._run.span is not None and not self._run.answered:
            given = self._as_given or (self.args, self.kwargs)
            self._body_sent = self._provider.read_body(*given)
        self.args, self.kwargs = (), {}
        if error is not None:
            self._failed(error)
        elif not self._reply.streams:
            self._close(None)

    @harmless(None)
    def _start_span(self, context: Context) -> Context:
        span = self._tracer.start_span(
            self._name(),
            context=context,
            kind=SpanKind.CLIENT,
            attributes={semconv.CATEGORY: "llm", **self._request_attributes()},
            links=self._delivered.links(),
            start_time=self._start_ns,
        )
        write(span, self._own)
        self.span = span
        if span.is_recording():
            self._open_calls.opened(self, span.get_span_context())
        return trace.set_span_in_context(span, context)

    def asks_diagnosis(self, previous: str | None) -> None:
        """Lets the request ask how its prompt differs from that of the reply `previous`."""
        self._as_given = self.args, self.kwargs
        self.args, self.kwargs = self._provider.asking_diagnosis(
            self._client, self.args, self.kwargs, previous
        )

    def adopts(self, span: Any) -> bool:
        """Takes a span that an SDK starts, whose code the call is in, if it is of the call."""
        native = self._native
        if self.span is not None or native is None or span.name != native.call:
            return False
        self.span = span
        # Nothing below the span may begin before it, and times are counted from its start.
        self._start_ns = span.start_time or time.time_ns()
        span.update_name(self._name())
        write(span, self._own, only_missing=True)
        self._add_result_links(span)
        self._open_calls.opened(self, span.context)
        return True

    @harmless(None)
    def _complete_other(self, span: Span) -> None:
        """Completes the span that another library has started for this call."""
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
            self._open_calls.opened(self, span.get_span_context())

    def _set_missing(self, span: Span, attributes: Mapping[str, AttributeValue]) -> None:
        self._told_others.update(attributes)
        write(span, attributes, only_missing=True)

    def _name(self) -> str:
        operation, model = self._provider.operation, self._request.model
        return f"{operation} {model}" if model else operation

    def _request_attributes(self) -> dict[str, Any]:
        server = self._provider.read_server(self._client)
        return semconv.request_attributes(self._provider, self._request, server)

    def _add_result_links(self, span: Span) -> None:
        for link in self._delivered.links():
            span.add_link(link.context, link.attributes)

    @property
    def reads_request(self) -> bool:
        """Says that the blocks of the request are wanted."""
        return self._words is not None

    @harmless(None)
    def sends(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Reads the request, which is about to be sent, from the arguments of the BODY seam."""
        span, words = self.span, self._words
        if self._sent:
            return
        self._sent = True
        if span is None or words is None or not span.is_recording():
            return
        prompt = self._provider.read_prompt(args, kwargs)
        words.traced(span, self._run.conversations, prompt, self._delivered.spans)
        recorded = words.recorded(prompt, self._show_results)
        if recorded:
            self._set_missing(span, recorded)
        run = self._run.shown_on if self._turn == 1 else None
        if run is not None and semconv.INPUT_MESSAGES not in attributes_of(run):
            words.question(run)

    def _show_results(self, blocks: Sequence[Block]) -> None:
        if self._inferred:
            self._end_inferred_tools(
                {block.id: block.value for block in blocks if block.kind == "tool_result"}
            )

    def _end_inferred_tools(self, results: Mapping[str, object]) -> None:
        while self._inferred:
            asked, end = self._inferred.pop()
            end(results.get(asked.call.id))

    # -- attempts

    @harmless(None)
    def sending(
        self, extensions: Callable[[Any], MutableMapping[str, Any] | None], built: object
    ) -> None:
        """Listens to an attempt that is about to be sent, and that `built` was made for."""
        given = extensions(built)
        self._connecting = connecting(given, is_async=self.is_async)
        if given:
            self.deadline = self.deadline or Deadline()
            self.deadline.attempt(given)

    @harmless(None)
    def attempt_begins(self) -> None:
        """Notes that an attempt begins, after the pause since the latest one, if there was one."""
        failure, self._failure = self._failure, None
        if failure is not None:
            self._pause_after(failure)
            self.attempt_again()

    @harmless(None)
    def attempt_ended(self, response: Head | None, error: BaseException) -> None:
        """Notes that an attempt has failed, and that another one may follow or not."""
        self._failure = self._failed_attempt(response, error)

    @harmless(None)
    def attempt_failed(self, response: Head | None, error: BaseException | None) -> None:
        """Notes that an attempt has failed, and that the pause before the next one begins."""
        self._pause_after(self._failed_attempt(response, error))

    def _failed_attempt(self, response: Head | None, error: BaseException | None) -> FailedAttempt:
        status = response.status if response is not None else None
        return FailedAttempt(
            time.time_ns(),
            status,
            str(status) if status else self._provider.read_error(error) if error else None,
            self._connected(),
            None if response is None else response.headers.get("retry-after"),
        )

    def _pause_after(self, failure: FailedAttempt) -> None:
        if self.span is None:
            return
        if self._attempts is None:
            from causepath.calls.attempts import Attempts

            around = trace.set_span_in_context(self.span, self._context)
            self._attempts = Attempts(self._tracer, around, self._start_ns)
        self._attempts.failed(*failure)
        self._attempts.pause(failure.end_ns)
        self._retries += 1
        told = {semconv.ERROR_TYPE: failure.error_type, semconv.HTTP_STATUS: failure.status}
        self.span.add_event(semconv.RETRY_EVENT, semconv.present(told), failure.end_ns)
        self.span.set_attribute(semconv.RETRIES, self._retries)

    @harmless(None)
    def attempt_again(self) -> None:
        """Notes that the pause is over, in whatever way."""
        if self._attempts is not None:
            self._attempts.go_on(time.time_ns())

    def _connected(self) -> Mapping[str, Any]:
        """Describes how the latest attempt got its connection."""
        return self._connecting.attributes() if self._connecting is not None else {}

    # -- the reply

    @harmless(None)
    def spends(self, budget: Spending) -> None:
        """Counts the call in this budget and those around it."""
        around = self._run.span or trace.get_current_span(self._context)
        self.spent = Spent(budget, "llm", f"reply of {self._name()}", around)

    @property
    def is_complete(self) -> bool:
        """Says that the whole reply is known."""
        return self._reply.is_complete

    @property
    def pace(self) -> Pacing:
        """Gives the pace of a streamed reply."""
        return self._reply.pace

    @property
    def look(self) -> Callable[[Any], int]:
        """Gives what sees each event of a streamed reply."""
        return self._reply.look

    @property
    @harmless(None)
    def refusal(self) -> Callable[[], BaseException | None] | None:
        """Gives what tells of each event of a streamed reply that budgets refuse it."""
        return None if self.spent is None else self.spent.refusal

    @harmless(None)
    def responded(self, response: Response | None, result: object) -> None:
        """Reads the response of a successful attempt; the application is about to get `result`."""
        if self._connecting is not None:
            self._connecting.over()
        status = response.status if response is not None else None
        if status is not None and status >= 400:
            return
        if self._attempts is not None:
            self._attempts.succeeded(time.time_ns(), status, self._connected())
        if self._reply.read(result):
            self._came_at_once = True
            self._reply_over()
        elif response is not None and not response.is_read:
            with_blocks = self._words is not None and self._words.reads_reply
            self._reply.begin_stream(response, self, with_blocks=with_blocks)

    @harmless(None)
    def refused(self, response: Response | None) -> None:
        """Reads a whole reply that the SDK makes nothing of, as it is not of the form that was
        asked for. It has been paid for all the same."""
        if response is not None and response.is_read:
            self._reply.read_document(response.content())

    @harmless(None)
    def told(self, event: Any, what: int) -> None:
        """Reads an event that is more than a piece of the answer; the application is about to get
        it."""
        is_news = self._reply.read_event(event, what)
        if is_news and self.spent is not None:
            self.spent.uses(self._request.model, self._reply.content)
        if is_news and self._reply.content.tool_calls:
            self._tools.ask(self._run, self._reply.content, self._issuer(), self._words, self._turn)
        if what & FACTS and what & LAST:
            self._reply_over()

    @harmless(None)
    def reading(self) -> Callable[[bytes], None] | None:
        """Gives what looks at the bytes of the body, if nobody parses its events."""
        return self._reply.bytes_reader(self.told)

    def _issuer(self) -> SpanContext | None:
        return self.span.get_span_context() if self.span is not None else None

    def _reply_over(self) -> None:
        """Notes that the whole reply is known, though its body may not be closed yet."""
        self._reply.is_complete = True
        reply = self._reply.content
        if self.spent is not None:
            self.spent.uses(self._request.model, reply)
        if self._as_given is not None and reply.id is not None:
            self._run.replies.update((call.id, reply.id) for call in reply.tool_calls)
        self._tools.reply_over(self._run, reply, self._issuer(), self._words, self._turn)
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

        run = self._run.shown_on
        if run is not None and self._words is not None and self._is_answer():
            self._words.answer(run)

    def _is_answer(self) -> bool:
        return self._reply.is_complete and not self._reply.asks_for_tools

    def known_late(self) -> dict[str, AttributeValue]:
        """Gives what to add to a span that another library ends before the reply is over for us."""
        late = self._reply_attributes() if self._reply.is_known else {}
        if self._ending is not None and self._ending.is_error and self._error is not None:
            late[semconv.ERROR_TYPE] = self._error
        return late

    def _reply_attributes(self) -> dict[str, Any]:
        reply = self._reply
        attributes = reply.attributes(self._native)
        if self._words is not None and self._words.reads_reply and self.span is not None:
            answered = self._words.answered(
                self.span, reply.blocks, reply.content.finish_reason, self._in_full
            )
            attributes.update(answered)
        attributes.update(reply.pace_attributes(self._start()))
        cost = self._cost()
        if cost:
            attributes[semconv.COST_USD] = float(cost)
        if self._attempts is None:
            attributes.update(self._connected())
        return attributes

    def _cost(self) -> Decimal | None:
        """Tells what the call costs, if there is a table of prices and it says so."""
        spent, usage = self.spent, self._reply.content.usage
        if spent is None:
            return None
        if not self._reply.is_known:
            return Decimal(0)  # a call that was refused, say
        return None if usage.input is None or usage.output is None else spent.cost

    def _in_full(self) -> dict[str, Any]:
        """Describes the request and the reply in all attributes that there are."""
        return {
            **self._request_attributes(),
            **semconv.more_request_attributes(self._request),
            **semconv.reply_attributes(self._reply.content),
        }

    def _start(self) -> int:
        """Tells when the call began, of `time.perf_counter_ns`."""
        return self._start_ns - time.time_ns() + time.perf_counter_ns()

    def _first_chunk_ns(self) -> int | None:
        """Measures how long it took until the first piece of the answer came."""
        first = self._reply.first_chunk()
        return first - self._start() if first is not None else None

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
            self._attempts.failed(now_ns, status, self._error, self._connected(), is_last=True)
        self.closed(error)

    @harmless(None)
    def left(self, error: BaseException) -> None:
        """Notes that nobody fetches events any more; the body may yet be read."""
        if self._reply.ends_with_events or not isinstance(error, GeneratorExit):
            self.closed(error)

    @harmless(None)
    def exhausted(self) -> None:
        """Notes that all events of the reply have come."""
        if not self.is_complete and self._reply.content.finish_reason is not None:
            self._reply_over()
        self.closed()

    @harmless(None)
    def closed(self, error: BaseException | None = None) -> None:
        """Notes that nothing more comes: of events, of the body, or as it is collected, so perhaps
        more than once."""
        if self._closed or self._process is not forks.process:
            return
        if self._reply.is_waited_for:
            return  # what ends it is an exception on its way out, which is told when it is out
        if not sys.is_finalizing():
            self._close(error)

    @harmless(None)
    def interrupt(self, write_open: Callable[[Span], None], why: Ending) -> None:
        """Ends the call before its reply is over, as the process ends, and `why`.

        `write_open` writes the span as it is now, if an SDK may still have something to say to it.
        """
        if self._closed or self._process is not forks.process:
            return
        span = self.span
        if span is not None and not self.is_complete:
            span.set_attribute(semconv.UNFINISHED, True)
            self._ending, self._error = why, why.error_type
        self._close(None)
        if span is not None and self._native and span.is_recording():
            write_open(span)
            self._open_calls.forget(span.get_span_context())
            self.over(time.time_ns(), self._error)

    def _ended_by(self, error: BaseException) -> None:
        """Notes the exception that ends the call. To leave a stream is no error."""
        if self.spent is not None and error is self.spent.refused:
            self._error = type(error).__qualname__
        elif isinstance(error, Exception):
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
        if not self.is_complete and self._reply.read_end():
            self._reply_over()
        self._reply.close()
        self._error = self._error or self._reply.content.error
        if not self.is_complete:
            self._write_reply()
        span = self.span
        if self.spent is not None:
            self._spent_over(self.spent)
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
            self._open_calls.forget(span.get_span_context())
            self.over(now_ns, self._error)
        elif not self._native:
            self.closed_ns = time.time_ns()
            self._open_calls.left_to_others(self)

    def _spent_over(self, spent: Spent) -> None:
        """Notes that the call uses nothing more of its budgets, which may have cut it off."""
        spent.over(self._reply.content if self._reply.is_known else None)
        span = self.span
        if self._native and spent.refused is not None and span is not None and span.is_recording():
            span.set_status(StatusCode.ERROR)
            span.set_attribute(semconv.ERROR_TYPE, type(spent.refused).__qualname__)

    @harmless(None)
    def write_if_nobody_has(self) -> None:
        """Writes a span of our own if the library that began one should have ended it by now."""
        left = self.span
        if left is None or not left.is_recording():
            return
        self._open_calls.forget(left.get_span_context())
        span = self._tracer.start_span(
            self._name(),
            context=self._around,
            kind=SpanKind.CLIENT,
            attributes=self._told_others,
            links=self._delivered.links(),
            start_time=self._start_ns,
        )
        if self._error is not None:
            span.set_status(StatusCode.ERROR)
            span.set_attribute(semconv.ERROR_TYPE, self._error)
        elif self.is_complete:
            span.set_status(StatusCode.OK)
        span.end(end_time=self.closed_ns)
        self.over(self.closed_ns, self._error)

    def cut_off_by(self, error: BaseException | None) -> None:
        """Notes what an SDK ends its span for before we are told: a cancelled task, for example,
        of which the span says nothing."""
        is_new = error is not None and id(error) != self._handled
        if is_new and not isinstance(error, Exception) and not self.is_complete:
            self._ended_by(error)  # type: ignore[arg-type]

    def over(self, end_ns: int, error: str | None) -> None:
        """Notes that the span of the call has ended."""
        if self._ended_ns is not None:
            return
        self._ended_ns = end_ns
        if self._inferred:
            self._end_inferred_tools({})
        if self._came_at_once:
            self._tools.call_over(self._run, self._issuer(), end_ns)
        if self._metrics.wanted():
            self._measure(end_ns, error)
        self._run_spans.call_over(
            self._run,
            end_ns,
            self._ending or (ending_of_type(error) if error is not None else None),
            is_first=self._turn == 1,
            goes_on=self._reply.asks_for_tools,
            usage=self._reply.content.usage,
            cost=self._cost(),
            read_body=functools.partial(self._request_body, error),
        )
        self._body_sent = None

    def _request_body(self, error: str | None) -> object:
        """Gives the request if it may be sent again after this error."""
        if error in self._provider.final_errors:
            return None
        if self.kwargs or self.args:
            return self._provider.read_body(self.args, self.kwargs)
        return self._body_sent

    def _measure(self, end_ns: int, error: str | None) -> None:
        request, reply = self._request, self._reply.content
        server = self._provider.read_server(self._client)
        self._metrics.model_call(
            semconv.present(
                {
                    semconv.OPERATION: self._provider.operation,
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
            self._reply.chunk_gaps_ns(),
        )


def _caller() -> Mapping[str, Any]:
    """Finds where in the application the call is made: here, as the SDK's own span begins far below
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
