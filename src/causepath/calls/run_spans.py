"""The spans of runs: declared by the application, or inferred around a conversation's calls."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from _queue import Empty
from typing import TYPE_CHECKING

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanKind

from causepath import forks
from causepath.calls.chains import REST_SECONDS
from causepath.calls.local_roots import is_connection
from causepath.calls.retried_calls import FailedRuns, fingerprint
from causepath.calls.runs import ENCLOSING_KEY, RUN_KEY, Run, enclosing_run, run_around, run_in
from causepath.code.application_stack import application_frames, own_frame, standing
from causepath.code.notebooks import notebook_name
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import INTERRUPTED, ending_of
from causepath.otel.operation import Operation
from causepath.otel.span_access import is_suppressed, key_of, write_ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal
    from types import FrameType

    from opentelemetry.trace import Span, SpanContext

    from causepath.calls.chains import Chains
    from causepath.calls.local_roots import LocalRoots
    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.possible_calls import PossibleCalls
    from causepath.calls.tracing import Tracing
    from causepath.content.call_words import Words
    from causepath.otel.endings import Ending
    from causepath.otel.metrics import Metrics
    from causepath.otel.span_access import Key
    from causepath.providers.messages import Usage

IDLE_SECONDS = 300
"""An inferred run that nothing has happened in for so long has ended when it last did something."""

RETRY_SECONDS = 60
"""The same for one whose first call has failed, if that is not made again."""

LOOK_SECONDS = REST_SECONDS / 6
"""How long to wait between two looks for runs that have gone idle."""


class RunSpans:
    """The runs, as their spans begin and end."""

    def __init__(
        self,
        tracing: Tracing,
        runs: OpenRuns,
        possible: PossibleCalls,
        words: Words,
        metrics: Metrics,
        chains: Chains,
        roots: LocalRoots,
    ) -> None:
        self._tracing = tracing
        self._runs = runs
        self._possible = possible
        self._words = words
        self._metrics = metrics
        self._chains = chains
        self._roots = roots
        self._failed = FailedRuns()
        self._janitor: dict[str, object] = {}
        """The thread that looks after runs that go idle, if there is one."""

    def after_fork(self) -> None:
        """Forgets, in a child process, what the parent has in progress."""
        self._janitor.clear()
        self._failed.clear()

    def close(self) -> None:
        """Lets the thread end, as no runs are watched any more."""
        self._chains.finished.put(None)
        self._chains.close()

    # -- declared runs

    @harmless(None)
    def undeclared(self, name: str) -> Operation | None:
        """Begins a run that an SDK begins, unless the application has declared one around."""
        if run_in(self._runs.here()) is not None:
            return None
        operation = self.declared(name)
        if operation is not None:
            operation.span.set_attribute(semconv.RUN_INFERRED, True)
        return operation

    @harmless(None)
    def declared(self, name: str, generator: FrameType | None = None) -> Operation | None:
        """Begins a run that the application declares, perhaps in this generator."""
        if is_suppressed():
            return None
        here, outermost = self._opened_at(self._runs.here())
        span = self._tracing.tracer().start_span(
            f"invoke_agent {name}",
            context=here,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(
                {
                    semconv.CATEGORY: "agent",
                    semconv.OPERATION: "invoke_agent",
                    semconv.AGENT_NAME: name,
                    semconv.RUN_OUTERMOST: outermost,
                }
            ),
        )
        run = self._run_below(span, here)
        run.name = name
        run.began_ns = time.time_ns()
        if generator is not None:
            self._runs.declared.declare_in(generator, run)

        def over(end_ns: int, error: str | None) -> None:
            self._runs.declared_over(run)
            self._measure(run, end_ns, error)

        operation = DeclaredRun(span, run.parent, over)
        if self._words.content is not None:
            operation.explain = self._words.content.reason
        return operation

    # -- inferred runs

    def infer(self, here: Context, now_ns: int) -> Run:
        """Begins a run around a call that is in none."""
        name = _agent_name()
        here, outermost = self._opened_at(here)
        span = self._tracing.tracer().start_span(
            f"invoke_agent {name}" if name else "invoke_agent",
            context=here,
            kind=SpanKind.INTERNAL,
            attributes=semconv.present(
                {
                    semconv.CATEGORY: "agent",
                    semconv.OPERATION: "invoke_agent",
                    semconv.AGENT_NAME: name,
                    semconv.RUN_INFERRED: True,
                    semconv.RUN_OUTERMOST: outermost,
                }
            ),
            start_time=now_ns,
        )
        run = self._run_below(span, here, owned=True)
        run.name = name
        run.began_ns = run.touched_ns = now_ns
        for left in self._runs.opened(run):
            self.end(left, left.touched_ns)
        self._watch_idle()
        return run

    def host(self, key: Key, here: Context) -> tuple[Run | None, bool]:
        """Finds the run around a conversation that has no span of its own, and tells whether it is
        inside of a tool of it."""
        if enclosing_run(here) is not None:
            return None, False
        outer = run_around(here)
        root = self._roots.of(key)
        if outer is not None or root is None:
            return outer, outer is not None
        ours = self._runs.below(root.key)
        return ours if ours is not None and ours.written is not None else root.as_run(), False

    def go_on(self, run: Run, key: Key, here: Context) -> None:
        """Lets a run whose outermost span has ended, as a request has that was answered, go on in
        the one around this: when a person has allowed a tool, say."""
        host = run.host
        if host is None or host.written is not None or run.is_in_tool:
            return
        root = None if run_around(here) is not None else self._roots.of(key)
        run.host = (root.as_run(begins=False) if root is not None else None) or host

    def begins_apart(self, current: SpanContext, here: Context) -> bool:
        """Tells whether a conversation that begins here has nothing around it that could be its
        run: a request that is answered, one of another process, the connection of a WebSocket."""
        if (
            not current.trace_flags.sampled
            or run_around(here) is not None
            or self._roots.of(key_of(current)) is not None
        ):
            return False
        span = trace.get_current_span(here)
        return not span.is_recording() or is_connection(span)

    def begun_by_sdk(self, span: Span) -> None:
        """Marks the span of a run that an SDK has begun, unless there is another one around it."""
        key = key_of(span.get_span_context())
        root = None if run_around(self._runs.here()) is not None else self._roots.of(key)
        if root is not None and root.key == key:
            root.as_run()

    def _opened_at(self, here: Context) -> tuple[Context, bool | None]:
        """Gives the context that a run of ours is opened in, with the run that is around it; and
        `True` if none is."""
        outer = run_around(here)
        if outer is None:
            root = self._roots.of(key_of(trace.get_current_span(here).get_span_context()))
            if root is not None and root.run is None:
                root.has_runs = True
            outer = root.run if root is not None else None
        if outer is None:
            return here, True
        return otel.set_value(ENCLOSING_KEY, outer, here), None

    def gone_on_with(self, read_body: Callable[[], object]) -> Run | None:
        """Finds the run whose first call is made again after it failed, or whose answer is taken
        up."""
        return self._retried(read_body) or self._chains.taken_up(read_body)

    def mark(self, run: Run) -> None:
        """Lets later calls of the same code go on with a run; ends those that they left behind."""
        for left in self._chains.mark(run):
            self.end(left, left.touched_ns)

    def _retried(self, read_body: Callable[[], object]) -> Run | None:
        """Finds the run whose first call has failed and is made again; ends another one of this
        thread and task."""
        run, again = self._failed.taken_up(read_body)
        if run is not None and not again:
            self.end(run, run.touched_ns)
        return run if again else None

    def _run_below(self, span: Span, here: Context, *, owned: bool = False) -> Run:
        key = key_of(span.get_span_context())
        run = Run(trace.set_span_in_context(span, here), key, span if owned else None)
        run.outside, run.written = here, span
        run.parent = otel.set_value(RUN_KEY, run, otel.set_value(ENCLOSING_KEY, run, run.parent))
        self._runs.remember_below(key, run)
        return run

    # -- the end of runs

    def span_ended(self, key: Key, context: SpanContext) -> None:
        """Lets no new call or tool hang on a span that has ended."""
        run = self._runs.forget_below(key) if key in self._runs.parents else None
        if run is not None:
            self._possible.settle_run(run)
            run.written = None
            # A later call may still continue it, but nobody needs what its span holds on to.
            run.parent = trace.set_span_in_context(NonRecordingSpan(context), Context())
            run.conversations.forget_texts()

    def call_over(
        self,
        run: Run,
        end_ns: int,
        ending: Ending | None,
        *,
        is_first: bool,
        goes_on: bool,
        usage: Usage,
        cost: Decimal | None,
        read_body: Callable[[], object],
    ) -> None:
        """Notes that a model call is over; ends an inferred run that has no question left."""
        if self._runs.call_over(run, end_ns, usage, cost) or run.span is None:
            return  # another call of the run is in progress
        if ending is None:
            if not goes_on:
                self._answered(run, end_ns)
        elif not run.answered:
            interrupted = ending.error_type == KeyboardInterrupt.__name__
            self._first_call_failed(run, end_ns, ending, None if interrupted else read_body())
        elif is_first:
            self.end(run, end_ns, ending)
        else:  # later in a run, the application may well send the same results again
            run.ending = ending

    def _answered(self, run: Run, end_ns: int) -> None:
        """Ends an inferred run that has its answer, or lets it rest until its code returns."""
        if run.is_chain and any(not a.ended and not a.is_form for a in run.asked.values()):
            return  # another branch of it goes on
        if not self._runs.rests(run):
            self.end(run, end_ns)

    @harmless(None)
    def end_resting(self, seconds: float = 0) -> None:
        """Ends the runs that have had their answer for so long."""
        for run in self._runs.resting(time.time_ns() - int(seconds * 1e9)):
            self.end(run, run.touched_ns)

    def _first_call_failed(self, run: Run, end_ns: int, ending: Ending, body: object) -> None:
        """Keeps an inferred run that has no reply yet, as the application may try again, with the
        same `body`, if with any."""
        request = fingerprint(body) if body is not None else b""
        run.ending, run.touched_ns = ending, end_ns
        if not request:
            self.end(run, end_ns)
            return
        left = self._failed.add(run, request)
        if left is not None:
            self.end(left, left.touched_ns)

    def end(self, run: Run, end_ns: int, ending: Ending | None = None) -> None:
        """Ends the span of an inferred run."""
        self._possible.settle_run(run)
        ending = ending or run.ending or self._ending_of_tools(run)
        if run.span is not None and self._runs.ended(run):
            if ending is not None:
                write_ending(run.span, ending)
                end_ns = max(end_ns, run.touched_ns)
            if run.span.is_recording():  # else the end of the process has ended it
                run.span.end(end_time=end_ns)
            run.conversations.forget_texts()  # also where its code, which runs, still has it
            error = ending.error_type if ending is not None and ending.is_error else None
            self._measure(run, end_ns, error)

    def _ending_of_tools(self, run: Run) -> Ending | None:
        """Tells how the tools ended that the run asked for last, and that nobody has answered."""
        endings = [asked.ending for asked in self._runs.unanswered(run) if asked.ending is not None]
        return endings[-1] if endings else None

    def end_with_process(self, now_ns: int, why: Ending) -> None:
        """Ends the inferred runs, as the process ends, and `why`."""
        runs = self._runs.idle(now_ns)
        for run in filter(_works, runs):
            run.ending, run.touched_ns = run.ending or why, now_ns
        self._end_what_an_exception_left(runs, now_ns)
        self.end_idle()

    def _end_what_an_exception_left(self, runs: Sequence[Run], now_ns: int) -> None:
        """Ends the run whose loop the exception that ends the program came through."""
        error = getattr(sys, "last_value", None)
        if error is None or hasattr(sys, "ps1"):  # else of an earlier line of a console
            return
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        for run in self._chains.marked(frames):  # it had its answer
            run.ending = run.ending or ending_of(error)
        through = set(standing(frames))
        left = [run for run in runs if run.asked and not through.isdisjoint(run.stack)]
        if not left:
            return
        run = max(left, key=lambda one: one.touched_ns)
        ending = ending_of(error)
        self._possible.settle_run(run)
        if ending.outcome == INTERRUPTED or self._ending_of_tools(run) is None:
            run.ending, run.touched_ns = run.ending or ending, now_ns

    @harmless(None)
    def end_idle(self, idle_seconds: float = 0) -> None:
        """Ends the inferred runs that have gone quiet, at the moment they last did something."""
        now_ns = time.time_ns()
        before = now_ns - int(idle_seconds * 1e9)
        self._possible.settle_all(before)
        before_failed = now_ns - int(min(idle_seconds, RETRY_SECONDS) * 1e9)
        for run in self._runs.idle(before_failed):
            if run.touched_ns <= before or (run.ending is not None and not run.answered):
                self.end(run, run.touched_ns)
        self._failed.forget_what_is_over()

    @harmless(None)
    def _watch_idle(self) -> None:
        # Without a lock, as green threads take turns while a thread begins.
        mine = object()
        if forks.may_begin_threads and self._janitor.setdefault("works", mine) is mine:
            threading.Thread(
                target=self._end_as_they_go_idle, name="causepath-idle-runs", daemon=True
            ).start()

    @harmless(None)
    def _end_as_they_go_idle(self) -> None:
        due = time.monotonic() + LOOK_SECONDS
        while self._runs.idle(time.time_ns()):
            if not self._wait() or time.monotonic() >= due:  # there may always be one that is over
                self.end_resting(REST_SECONDS)
                self.end_idle(IDLE_SECONDS)
                due = time.monotonic() + LOOK_SECONDS
        self._janitor.clear()
        if self._runs.idle(time.time_ns()):  # one that has just begun
            self._watch_idle()

    def _wait(self) -> bool:
        """Waits for a while, or until the code of a run has returned, which it ends then."""
        if forks.has_green_threads():
            time.sleep(IDLE_SECONDS / 10)  # waiting for a queue of C would stop all of them
            return False
        try:
            run = self._chains.finished.get(timeout=LOOK_SECONDS)
        except Empty:
            return False
        if run is not None and run.is_resting:
            self.end(run, run.touched_ns)
        return True

    @harmless(None)
    def _measure(self, run: Run, end_ns: int, error: str | None) -> None:
        if self._metrics.wanted():
            attributes = {
                semconv.OPERATION: "invoke_agent",
                semconv.AGENT_NAME: run.name,
                semconv.ERROR_TYPE: error,
            }
            self._metrics.run(
                semconv.present(attributes), end_ns - run.began_ns, run.turns, len(run.known)
            )


class DeclaredRun(Operation):
    """A run that the application declares."""

    def ended_by(self, error: BaseException) -> None:
        """Says how it ended, unless a program ends as it should, within its agent."""
        if isinstance(error, SystemExit) and not error.code:
            return
        super().ended_by(error)
        if self.ending is not None:
            write_ending(self.span, self.ending, self.reason)


def _works(run: Run) -> bool:
    """Tells whether a tool of a run is in progress."""
    return any(asked.operation is not None or asked.open for asked in run.asked.values())


def _agent_name() -> str | None:
    """Names an agent that nobody named: after the script or the module of its loop."""
    frame = own_frame() or next(application_frames(), None)
    if frame is None:
        return None
    module = str(frame.f_globals.get("__name__", ""))
    if module in ("__main__", "__mp_main__"):  # the latter in a process of `multiprocessing`
        notebook = notebook_name(frame.f_globals)
        if notebook is not None:
            return notebook
        path = str(frame.f_globals.get("__file__", "")) or frame.f_code.co_filename
        folder, _, module = path.replace("\\", "/").removesuffix(".py").rpartition("/")
        if module == "__main__":  # of a package or an archive, which has the name
            module = folder.rpartition("/")[2].partition(".")[0]
    return None if not module or module.startswith("<") else module.rpartition(".")[2]
