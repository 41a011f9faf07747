"""Where our spans begin and where they go: which run a call belongs to, what its span hangs on, and
when it is over.

A model call, a tool call and a declared run are each a context manager: entering makes the span
current, leaving restores the context in the same frame.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanKind, StatusCode

from causepath import forks
from causepath.calls.foreign_spans import OtherSpan, OtherSpans
from causepath.calls.model_call import ModelCall
from causepath.calls.open_runs import OpenRuns
from causepath.calls.retried_calls import FailedRuns, fingerprint
from causepath.calls.runs import ENCLOSING_KEY, RUN_KEY, Run, outermost, run_in
from causepath.calls.span_watcher import SpanWatcher
from causepath.calls.tool_calls import ToolCalls
from causepath.code.application_stack import application_frames, own_frame, standing
from causepath.code.notebooks import notebook_name
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import INTERRUPTED, Ending, ending_of
from causepath.otel.metrics import Metrics
from causepath.otel.operation import Operation
from causepath.otel.span_access import (
    SCOPE,
    attributes_of,
    is_suppressed,
    key_of,
    unsuppressed,
)
from causepath.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

    from causepath.calls.tool_calls import ToolFinder
    from causepath.content.provenance import Evidence
    from causepath.content.recording import Content
    from causepath.providers.messages import ModelRequest
    from causepath.providers.provider import NativeSpans, Provider

IDLE_SECONDS = 300
"""An inferred run that nothing has happened in for so long has ended when it last did something."""

RETRY_SECONDS = 60
"""One whose first call has failed, if it is not made again for so long."""

FINAL_ERRORS = frozenset(
    {
        "authentication_error",
        "billing_error",
        "invalid_request_error",
        "not_found_error",
        "permission_error",
        "request_too_large",
    }
)
"""What the same request fails with again."""

MAX_CALLS_IN_FLIGHT = 10_000

GRACE_NS = 1_000_000_000
"""How long after a reply somebody else may take to end the span of its call."""

MAX_LEFT_TO_OTHERS = 1_000


class Telemetry:
    """Opens every span that the plugin writes, and completes those that others write."""

    def __init__(
        self,
        tracer_provider: Callable[[], TracerProvider],
        tool_finder: ToolFinder | None = None,
    ) -> None:
        self.evidence: Evidence | None = None
        """Where digests are asked for, once the first SDK is there to ask for them."""
        self.content: Content | None = None
        """Where content is asked for."""
        self._tracer_provider = tracer_provider
        self.providers: list[Provider] = []
        """Those whose SDKs have been imported."""
        self.tool_calls = ToolCalls(self, tool_finder)
        self._tracer: tuple[TracerProvider, Tracer] | None = None
        self._seen: tuple[object, object] = (None, None)
        """The tracer of an SDK whose spans come past us as long as `_tracer` stays."""
        # By identity, as the providers of some cannot be hashed.
        self._attended: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._watchers: list[tuple[Any, SpanWatcher]] = []
        self._left_to_others: deque[ModelCall] = deque(maxlen=MAX_LEFT_TO_OTHERS)
        self._open: dict[tuple[int, int], ModelCall] = {}
        self.unended: dict[tuple[int, int], Span] = {}
        """The spans of ours that have begun and not ended."""
        self._janitor: dict[str, object] = {}
        """Who looks after runs that go idle, if anybody does."""
        self.runs = OpenRuns()
        self._failed = FailedRuns()
        self._begins = False
        if tool_finder is not None:
            self.runs.quiet = tool_finder.quiet
        self.metrics = Metrics()
        self.others = OtherSpans()
        forks.living.add(self)

    def after_fork(self) -> None:
        """Forget, in a child process, what the parent has in progress, and locks it may hold."""
        self._open.clear()
        self.unended.clear()
        self.others.clear()
        self._left_to_others.clear()
        self._janitor.clear()
        self._failed.clear()
        self.runs.after_fork()

    # -- where spans go

    def tracer(self) -> Tracer:
        """Our tracer of the provider in force, which is seen to and remembered."""
        provider = self._tracer_provider()
        if self._tracer is None or self._tracer[0] is not provider:
            self.attend(provider)
            self._tracer = provider, provider.get_tracer(SCOPE, __version__)
        return self._tracer[1]

    @harmless(None)
    def set_up(self) -> None:
        """Spans are about to be written that are not ours, perhaps the first of the process."""
        self.tracer()

    def set_up_for_others(self) -> None:
        """Somebody else is about to write a span, perhaps around model calls, and nobody has set up
        OpenTelemetry: the first request of a server is to look like all others."""
        if self.providers and not self._begins:
            self._begins = True
            try:
                self.set_up()
            finally:
                self._begins = False

    def attend(self, provider: object) -> None:
        """Let every span of `provider` pass our processor. Once for each provider."""
        add = getattr(provider, "add_span_processor", None)
        if add is not None and id(provider) not in self._attended:
            self._attended[id(provider)] = provider
            watcher = SpanWatcher(self)
            self._watchers.append((provider, watcher))
            add(watcher)

    @harmless(None)
    def close(self) -> None:
        """Watch no more spans, and keep nothing of what passed."""
        self.tool_calls.settle_all(time.time_ns())
        for provider, watcher in self._watchers:
            watcher.shutdown()
            _take_away(provider, watcher)
        self._watchers.clear()
        self._open.clear()
        self.unended.clear()
        self.others.clear()
        self.runs = OpenRuns()

    def _sees(self, native: NativeSpans, tracer: object, client: Any) -> bool:
        """Whether the spans that an SDK writes with this tracer of its client come past us."""
        own_provider = native.tracer_provider(client)
        if own_provider is not None:
            self.attend(own_provider)
            return True
        in_force = self._tracer[0] if self._tracer is not None else None
        if in_force is not trace.get_tracer_provider():
            return False
        theirs = _processor_of(tracer)
        ours = getattr(in_force, "_active_span_processor", None)
        if theirs is not None and theirs is ours:
            self._seen = tracer, self._tracer
        return theirs is None or ours is None or theirs is ours

    # -- model calls

    @harmless(None)
    def model_call(
        self, provider: Provider, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ModelCall | None:
        """The model call that these arguments make, or `None` where they make none."""
        now_ns = time.time_ns()  # what has to be set up first is part of the first call
        request = provider.read_request(args, kwargs)
        if request is None:
            return None
        here = self.runs.here()
        current = trace.get_current_span(here).get_span_context()
        others = self.others if self.others.open else None
        if is_suppressed() and (others is None or others.current(current) is None):
            return None  # else whoever writes its span has suppressed us, and its span is completed
        tracer = self.tracer()
        native = provider.native
        theirs = native.tracer(client, args, kwargs) if native is not None else None
        seen = theirs is self._seen[0] and self._tracer is self._seen[1]
        if native is not None and theirs is None:
            native = None
        elif native is not None and not seen and not self._sees(native, theirs, client):
            # Told to write elsewhere than the SDK does: then we write, and the SDK does not.
            args, kwargs = native.silence(args, kwargs)
            native = None
        if self._left_to_others:
            self.write_what_others_left(time.time_ns() - GRACE_NS)
        other = others.of_call(current, provider.name) if others is not None else None
        if other is not None:
            other.claimed = True
        run, parent, around = self._run_of(
            request, other, here, current, now_ns, tracer, lambda: provider.read_body(args, kwargs)
        )
        call = ModelCall(
            self,
            provider,
            client,
            request,
            tracer,
            run,
            parent,
            around,
            now_ns,
            native=native,
            other=other,
        )
        call.is_here = parent is otel.get_current()
        call.args, call.kwargs = args, kwargs
        return call

    def _run_of(
        self,
        request: ModelRequest,
        other: OtherSpan | None,
        here: Context,
        current: SpanContext,
        now_ns: int,
        tracer: Tracer,
        read_body: Callable[[], object],
    ) -> tuple[Run, Context, Context]:
        """The run that a request belongs to, what its call hangs on, and what its tools do."""
        run = self.runs.answered(request.tool_results) if request.tool_results else None
        if run is not None and run.is_over:
            run = None
        if other is None and self.others.open:
            other = self.others.current(current)
        if other is not None:
            return self._run_around(other, run, request, here)
        if current.is_valid:
            run = run or self._run_at(current, request, here)
            return run, here, here
        if run is None:
            run = self._retried(read_body) or self._infer_run(here, now_ns, tracer)
        return run, run.parent, run.parent

    def _retried(self, read_body: Callable[[], object]) -> Run | None:
        """The run whose first call has failed and is made again; another one of this thread and
        task is over."""
        run, again = self._failed.taken_up(read_body)
        if run is not None and not again:
            self.end_run(run, run.touched_ns)
        return run if again else None

    def _run_around(
        self, other: OtherSpan, run: Run | None, request: ModelRequest, here: Context
    ) -> tuple[Run, Context, Context]:
        """As `run_of`, where somebody else has a span of the call: the run is around that."""
        if other.parent is None:
            # A trace of one call, and nothing can be put around what has begun.
            around = unsuppressed(here)
            run = run or self._run_at(other.span.get_span_context(), request, around)
            return run, here, run.parent
        around = trace.set_span_in_context(NonRecordingSpan(other.parent), unsuppressed(here))
        run = run or self._run_at(other.parent, request, around)
        return run, here, around

    def _run_at(self, current: SpanContext, request: ModelRequest, here: Context) -> Run:
        """The run whose calls hang on the current span."""
        run = run_in(here)
        if run is not None:
            return run
        key = key_of(current)
        run = self.runs.below(key)
        if run is None or (run.span is None and run.turns and not request.continues):
            run = Run(here, key)  # another conversation, perhaps, below the same span
            self.runs.remember_below(key, run)
        return run

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
                    semconv.RUN_OUTERMOST: outermost(here),
                }
            ),
            start_time=now_ns,
        )
        run = self._run_below(span, here, owned=True)
        run.name = name
        run.began_ns = run.touched_ns = now_ns
        for left in self.runs.opened(run):
            self.end_run(left, left.touched_ns)
        self._watch_idle_runs()
        return run

    def _run_below(self, span: Span, here: Context, *, owned: bool = False) -> Run:
        context = span.get_span_context()
        key = key_of(context)
        run = Run(trace.set_span_in_context(span, here), key, span if owned else None)
        run.outside = here
        run.parent = otel.set_value(RUN_KEY, run, otel.set_value(ENCLOSING_KEY, run, run.parent))
        self.runs.remember_below(key, run)
        return run

    # -- calls in progress

    def began(self, span: Span) -> None:
        """One of our own spans has begun, which somebody has to end."""
        if len(self.unended) < MAX_CALLS_IN_FLIGHT:
            self.unended[key_of(span.get_span_context())] = span

    def span_ended(self, span: Any) -> None:
        """A span of a provider that we attend ended, whoever wrote it: no new call or tool hangs on
        it."""
        context: SpanContext = span.context
        key = key_of(context)
        self.unended.pop(key, None)
        if self.others.open:
            self.others.ended(key)
        call = self._open.pop(key, None)
        if call is not None:
            call.over(span.end_time or time.time_ns(), attributes_of(span).get(semconv.ERROR_TYPE))
        elif self.metrics.wanted():
            self.tool_calls.measure_native(span)
        run = self.runs.forget_below(key) if key in self.runs.parents else None
        if run is not None:
            self.tool_calls.settle_run(run)
            # A later call may still continue it, but nobody needs what its span holds on to.
            run.parent = trace.set_span_in_context(NonRecordingSpan(context), Context())
            run.conversations.forget_texts()
        if span.parent is None and self.evidence is not None:
            self.evidence.forget_texts(context.trace_id)

    def opened(self, call: ModelCall, context: SpanContext) -> None:
        """Tell `call` when its span, which has this context, ends, whoever ends it."""
        if len(self._open) < MAX_CALLS_IN_FLIGHT:
            self._open[key_of(context)] = call

    def left_to_others(self, call: ModelCall) -> None:
        """The reply of a call is over whose span is somebody else's to end."""
        self._left_to_others.append(call)

    @harmless(None)
    def write_what_others_left(self, before_ns: int) -> None:
        """Write the calls that ended before, where the one who began their span has not."""
        left = self._left_to_others
        while left and left[0].closed_ns <= before_ns:
            left.popleft().write_if_nobody_has()

    def in_progress(self, context: SpanContext) -> ModelCall | None:
        """The call that has the span with this context."""
        return self._open.get(key_of(context))

    def forget(self, context: SpanContext) -> None:
        """The span of a call has ended, and so has the call."""
        self._open.pop(key_of(context), None)

    # -- the end of inferred runs

    def end_run(self, run: Run, end_ns: int, ending: Ending | None = None) -> None:
        """End the span of an inferred run."""
        self.tool_calls.settle_run(run)
        ending = ending or run.ending or self._ending_of_tools(run)
        if run.span is not None and self.runs.ended(run):
            if ending is not None:
                write_ending(run.span, ending)
                end_ns = max(end_ns, run.touched_ns)
            run.span.end(end_time=end_ns)
            error = ending.error_type if ending is not None and ending.is_error else None
            self._measure_run(run, run.began_ns, end_ns, error)

    def _ending_of_tools(self, run: Run) -> Ending | None:
        """How the tools ended that it asked for last, and that nobody has answered."""
        endings = [asked.ending for asked in self.runs.unanswered(run) if asked.ending is not None]
        return endings[-1] if endings else None

    def first_call_failed(self, run: Run, end_ns: int, ending: Ending, body: object) -> None:
        """An inferred run has no reply yet. The application may try again."""
        final = ending.error_type in FINAL_ERRORS or ending.error_type == KeyboardInterrupt.__name__
        request = fingerprint(body) if body is not None and not final else b""
        run.ending, run.touched_ns = ending, end_ns
        if not request:
            self.end_run(run, end_ns)
            return
        left = self._failed.add(run, request)
        if left is not None:
            self.end_run(left, left.touched_ns)

    @harmless(None)
    def end_idle_runs(self, idle_seconds: float = 0) -> None:
        """End the inferred runs that have gone quiet, at the moment they last did something."""
        now_ns = time.time_ns()
        before = now_ns - int(idle_seconds * 1e9)
        self.tool_calls.settle_all(before)
        before_failed = now_ns - int(min(idle_seconds, RETRY_SECONDS) * 1e9)
        for run in self.runs.idle(before_failed):
            if run.touched_ns <= before or (run.ending is not None and not run.answered):
                self.end_run(run, run.touched_ns)
        self._failed.forget_what_is_over()

    @harmless(None)
    def _watch_idle_runs(self) -> None:
        # Without a lock, as green threads take turns while a thread begins.
        mine = object()
        if forks.may_begin_threads and self._janitor.setdefault("works", mine) is mine:
            threading.Thread(
                target=self._end_runs_as_they_go_idle, name="causepath-idle-runs", daemon=True
            ).start()

    @harmless(None)
    def _end_runs_as_they_go_idle(self) -> None:
        while self.runs.idle(time.time_ns()):
            time.sleep(IDLE_SECONDS / 10)
            self.end_idle_runs(IDLE_SECONDS)
        self._janitor.clear()
        if self.runs.idle(time.time_ns()):  # one that has just begun
            self._watch_idle_runs()

    @harmless(None)
    def end_open(self, write_open: Callable[[Span], None], why: Ending) -> None:
        """The process ends, and `why`: what is open is over, as far as it came, and says that."""
        for call in list(self._open.values()):
            call.interrupt(write_open, why)
        now_ns = time.time_ns()
        runs = self.runs.idle(now_ns)
        for run in filter(_works, runs):
            run.ending, run.touched_ns = run.ending or why, now_ns
        self._end_what_an_exception_left(runs, now_ns)
        self.end_idle_runs()
        for span in reversed(list(self.unended.values())):
            if span.is_recording():
                span.set_attribute(semconv.UNFINISHED, True)
                write_ending(span, why)
                span.end(end_time=now_ns)

    def _end_what_an_exception_left(self, runs: Sequence[Run], now_ns: int) -> None:
        """End the run whose loop the exception that ends the program came through."""
        error = getattr(sys, "last_value", None)
        if error is None or hasattr(sys, "ps1"):  # else of an earlier line of a console
            return
        through = set(standing(frame for frame, _ in traceback.walk_tb(error.__traceback__)))
        left = [run for run in runs if run.asked and not through.isdisjoint(run.stack)]
        if not left:
            return
        run = max(left, key=lambda one: one.touched_ns)
        ending = ending_of(error)
        self.tool_calls.settle_run(run)
        if ending.outcome == INTERRUPTED or self._ending_of_tools(run) is None:
            run.ending, run.touched_ns = run.ending or ending, now_ns

    # -- declared runs

    @harmless(None)
    def undeclared_run(self, name: str) -> Operation | None:
        """The span of a run that an SDK begins, unless the application has declared one around."""
        if run_in(self.runs.here()) is not None:
            return None
        operation = self.agent_run(name)
        if operation is not None:
            operation.span.set_attribute(semconv.RUN_INFERRED, True)
        return operation

    @harmless(None)
    def agent_run(self, name: str, generator: FrameType | None = None) -> Operation | None:
        """The span of a run that the application declares, perhaps in this generator."""
        if is_suppressed():
            return None
        here = self.runs.here()
        span = self.tracer().start_span(
            f"invoke_agent {name}",
            context=here,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(
                {
                    semconv.CATEGORY: "agent",
                    semconv.OPERATION: "invoke_agent",
                    semconv.AGENT_NAME: name,
                    semconv.RUN_OUTERMOST: outermost(here),
                }
            ),
        )
        run = self._run_below(span, here)
        run.name = name
        run.began_ns = time.time_ns()
        if generator is not None:
            self.runs.declare_in(generator, run)

        def over(end_ns: int, error: str | None) -> None:
            self.runs.over(run)
            self._measure_run(run, run.began_ns, end_ns, error)

        return DeclaredRun(span, run.parent, over)

    # -- metrics

    @harmless(None)
    def _measure_run(self, run: Run, start_ns: int, end_ns: int, error: str | None) -> None:
        if self.metrics.wanted():
            attributes = {
                semconv.OPERATION: "invoke_agent",
                semconv.AGENT_NAME: run.name,
                semconv.ERROR_TYPE: error,
            }
            self.metrics.run(
                semconv.present(attributes), end_ns - start_ns, run.turns, len(run.known)
            )


class DeclaredRun(Operation):
    """A run that the application declares."""

    def ended_by(self, error: BaseException) -> None:
        if isinstance(error, SystemExit) and not error.code:
            return  # a program that ends as it should, within its agent
        super().ended_by(error)
        if self.ending is not None:
            write_ending(self.span, self.ending)


def write_ending(span: Span, ending: Ending) -> None:
    """Say how what a span measures has ended; of a run, also in the words of a report."""
    if attributes_of(span).get(semconv.OPERATION) == "invoke_agent":
        span.set_attribute(semconv.RUN_OUTCOME, ending.outcome)
    if ending.is_error:
        span.set_status(StatusCode.ERROR)
        if ending.error_type is not None:
            span.set_attribute(semconv.ERROR_TYPE, ending.error_type)


def _works(run: Run) -> bool:
    """Tell whether a tool of a run is in progress."""
    return any(asked.operation is not None or asked.open for asked in run.asked.values())


def _take_away(provider: Any, watcher: SpanWatcher) -> None:
    """Let a provider forget a processor, which the SDK has no way for."""
    together: Any = getattr(provider, "_active_span_processor", None)
    if isinstance(getattr(together, "_span_processors", None), tuple):
        with together._lock:  # noqa: SLF001
            kept = tuple(one for one in together._span_processors if one is not watcher)  # noqa: SLF001
            together._span_processors = kept  # noqa: SLF001


def _processor_of(tracer: Any) -> object:
    """Where a tracer of an SDK, which keeps it for good, sends its spans, if that is known yet."""
    return getattr(getattr(tracer, "_real_tracer", None) or tracer, "span_processor", None)


def _agent_name() -> str | None:
    """What to call an agent that nobody named: after the script or the module of its loop."""
    frame = own_frame() or next(application_frames(), None)
    if frame is None:
        return None
    module = str(frame.f_globals.get("__name__", ""))
    if module in ("__main__", "__mp_main__"):  # the latter in a process of `multiprocessing`
        notebook = notebook_name(frame.f_globals)
        if notebook is not None:
            return notebook
        path = str(frame.f_globals.get("__file__", "")) or frame.f_code.co_filename
        module = path.replace("\\", "/").rpartition("/")[2].removesuffix(".py")
    return None if not module or module.startswith("<") else module.rpartition(".")[2]
