"""The calls of functions that may be what a reply asked for: held until that is known.

`candidates` says which of them it was; here their spans begin, and end when it is said.
"""

from __future__ import annotations

import functools
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace

from causepath.budgets.spending import Spent, of_tool
from causepath.calls import worker_clock
from causepath.calls.candidates import RUNNING, Candidate, Choice, chosen
from causepath.calls.runs import MAX_DEPTH, enclosing_run
from causepath.calls.tool_spans import (
    call_plain,
    function_attributes,
    tool_attributes,
    tool_call_links,
)
from causepath.code.application_stack import pool_future, steps_outside
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.operation import Refused
from causepath.otel.span_access import attributes_of, is_suppressed, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    from opentelemetry.context import Context

    from causepath.calls.matching import Given
    from causepath.calls.open_calls import OpenCalls
    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.runs import AskedTool, Run
    from causepath.calls.tool_spans import ToolSpans
    from causepath.otel.operation import Operation
    from causepath.otel.span_access import Key

MAX_OUTSIDE = 20
"""Calls outside the loop that are kept for a call that it asked for."""


class Called(NamedTuple):
    """A function that may carry out a tool, as its span describes it."""

    by: object
    """The object that watches its calls."""
    name: str
    code: CodeType | None
    serial: int = 0
    """The number of the time that it was asked for."""
    read_only: bool | None = None


class PossibleCalls:
    """The calls that may be tools, their spans begun and not ended."""

    def __init__(self, spans: ToolSpans, runs: OpenRuns, open_calls: OpenCalls) -> None:
        self._spans = spans
        self._runs = runs
        self._open_calls = open_calls
        self._held: dict[Key, Candidate] = {}
        """By trace and span id, the calls of which nobody knows yet whether they are tools."""

    @harmless(None)
    def may_be(
        self, name: str, called: Called, given: Given, *, strict: bool = False
    ) -> Candidate | Refused | None:
        """Begins the span of a call that was found by its name: it ends when that was the tool."""
        runs = self._runs
        if not runs.is_asked(name) or is_suppressed() or worker_clock.is_measured(name):
            return None
        outer, around, inside = RUNNING.get(), [], []
        while outer is not None:
            around.append(outer)
            if not outer.sure:  # else what it calls for it is no other call
                inside.append(outer.asked)
            outer = outer.around
        asked, sure = runs.may_be(
            name, called.by, given, inside, around, code=called.code, strict=strict
        )
        if asked is None:
            return None
        budget, refused = of_tool(name) if sure else (None, None)
        if refused is not None:
            asked.open -= 1
            return Refused(refused)
        outside = steps_outside(asked.stack)
        if outside and len(asked.candidates) >= MAX_OUTSIDE:
            asked.open -= 1
            return None
        candidate = self._begin(name, called, asked, given, sure=sure, outside=outside)
        if budget is not None:
            candidate.at_end.append(Spent(budget, "tool", name).over)
        future = pool_future(sys._getframe(1))  # noqa: SLF001 - the documented way to the stack
        if future is not None:
            candidate.watch(future)
        self._spans.look_at(candidate, name, asked, given.named)
        candidate.began_with = len(attributes_of(candidate.span))
        candidate.is_last = not outside and runs.all_open(name)
        return candidate

    def _begin(
        self,
        name: str,
        called: Called,
        asked: AskedTool,
        given: Given,
        *,
        sure: bool,
        outside: int,
    ) -> Candidate:
        about = function_attributes(called.name, called.code, called.read_only)
        start_ns = time.time_ns()
        span, context = self._spans.begin(
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
        asked.run.touched_ns = start_ns
        self._held[key_of(span.get_span_context())] = candidate
        return candidate

    def began(self, span: Any) -> None:
        """Notes that a span begins, perhaps below that of a call which may be no tool."""
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
        """Settles what a tool call was, as its result is sent, and ends it for the model.

        `windows`, in order, are when calls ran for what is sent together with it.
        """
        error_type = semconv.TOOL_ERROR if failed else semconv.GIVEN_UP
        if asked.candidates:
            self.settle(asked, now_ns, sent, error_type, windows)
        operation, asked.operation = asked.operation, None
        if operation is not None and not self._is_inside(operation):
            operation.give_up(now_ns, error_type)

    def _is_inside(self, operation: Operation) -> bool:
        """Tells whether this is done inside the operation."""
        here: Context | None = self._runs.here()
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
        """Settles which of the calls it was; `sent` is its result, if that has been sent,
        `given_up` what the call has failed with in that case if it has not ended by itself, and
        `windows` are those of what was sent together with it."""
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
        """Settles all calls for a run, as nothing more will be known of them."""
        for asked in list(run.asked.values()):
            if asked.candidates:
                self.settle(asked, time.time_ns())

    def settle_all(self, before_ns: int) -> None:
        """Settles all calls for runs in which nothing has happened since then."""
        for asked in self._runs.waiting(before_ns):
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
            self._open_calls.dropped(key)  # of the others, nobody hears again
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
        self._spans.measure(name, candidate.start_ns, candidate.end_ns, candidate.error_type)


def _given_up(calls: Sequence[Candidate], call: Candidate) -> list[Candidate]:
    """Gives up the earlier calls of its function that are still in progress, or were told to stop,
    as it was made again since."""
    found = [
        one
        for one in calls
        if (not one.end_ns or one.left_ns or one.was_stopped)
        and one.by == call.by
        and one.start_ns < call.start_ns
    ]
    for one in found:
        one.give_up(call.start_ns, semconv.GIVEN_UP)
    return found


_chosen = harmless(Choice(None))(chosen)  # then it is inferred, and nothing is left open
