"""The tools that replies ask for, until requests bring their results."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from opentelemetry.trace import Link, SpanKind, StatusCode

from causepath.calls.attempts import APART_NS
from causepath.calls.tool_spans import tool_attributes, tool_call_links
from causepath.code.application_stack import application_frames, standing
from causepath.code.frames import written_at
from causepath.guard import harmless
from causepath.otel import semconv
from causepath.otel.endings import INTERRUPTED
from causepath.otel.operation import Step
from causepath.otel.span_access import write_ending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext, Tracer

    from causepath.calls.open_runs import OpenRuns
    from causepath.calls.possible_calls import PossibleCalls
    from causepath.calls.runs import AskedTool, Run
    from causepath.code.frames import Frame
    from causepath.content.call_words import CallWords, Words
    from causepath.otel.endings import Ending
    from causepath.providers.messages import ModelReply, ModelRequest, ToolCall


class ToolFinder(Protocol):
    """A search for what of the application carries out tools, which measures what it finds."""

    def find(self, frames: Sequence[Frame], names: Sequence[str]) -> None:
        """Searches for tools with these names, as a reply asks for them; `frames` are the stack of
        its loop."""

    def missed(self, name: str) -> None:
        """Notes that nothing measured a call of this tool."""

    def quiet(self, name: str) -> None:
        """Notes that nothing asks for this tool any more."""

    def names(self, function: object) -> list[str]:
        """Lists the tools that a function was found to carry out."""


class Delivered(NamedTuple):
    """The tool calls whose results a request brings for the first time."""

    calls: Sequence[AskedTool] = ()
    inferred: Sequence[tuple[AskedTool, Callable[[object], None]]] = ()
    """Those of them that nothing measured, with what ends their spans once the result is known."""

    def links(self) -> list[Link]:
        """Links the request to the tools whose results it brings."""
        return [
            Link(asked.measured, {semconv.LINK: "tool_result"})
            for asked in self.calls
            if asked.measured is not None and asked.measured.is_valid
        ]

    def spans(self) -> Mapping[str, SpanContext]:
        """Gives the spans of the tools whose results the request brings, by call id."""
        return {asked.call.id: asked.measured for asked in self.calls if asked.measured}


NOTHING_DELIVERED = Delivered()


class AskedTools:
    """The tool calls between the reply that asks and the request that answers."""

    def __init__(
        self, runs: OpenRuns, possible: PossibleCalls, words: Words, finder: ToolFinder | None
    ) -> None:
        self._runs = runs
        self._possible = possible
        self._words = words
        self._finder = finder

    # -- a reply asks

    def ask(
        self,
        run: Run,
        reply: ModelReply,
        by: SpanContext | None,
        said: CallWords | None,
        turn: int,
    ) -> None:
        """Looks for the tools that a reply asks for, as far as their arguments have come: they may
        be started while it still streams."""
        asked = [
            call
            for call in reply.tool_calls
            if not isinstance(call.input, str)
            and self._runs.ask(run, call, by, time.time_ns(), turn)
        ]
        if said is not None:
            for call in asked:
                _look_at_arguments(run, call, said)
        if asked:
            self._find(run, asked)

    def reply_over(
        self,
        run: Run,
        reply: ModelReply,
        by: SpanContext | None,
        said: CallWords | None,
        turn: int,
    ) -> None:
        """Notes that the whole reply is known."""
        run.answered, run.ending = True, None
        if reply.tool_calls:
            self.ask(run, reply, by, said, turn)
        if reply.goes_on:
            self._runs.pause(run, reply.goes_on, by)
        if run.asked:
            self._runs.reply_over(run, by, time.time_ns())

    def call_over(self, run: Run, by: SpanContext | None, end_ns: int) -> None:
        """Notes that the span of a call has ended whose reply came at once: who made it has got
        none before, so a tool that it asks for and nothing has started yet starts after it."""
        if run.asked:
            self._runs.start_after(run, by, end_ns + APART_NS)

    def _find(self, run: Run, calls: Sequence[ToolCall]) -> None:
        frames = list(application_frames())
        stack = run.stack = standing(frames)
        inside = frozenset(written_at(frame.f_code) for frame in frames)
        for call in calls:
            asked = run.asked.get(call.id)
            if asked is not None:
                asked.stack, asked.inside = stack, inside
        if self._finder is not None:
            self._finder.find(frames, [call.name for call in calls])

    # -- a request answers

    def deliver(
        self, run: Run, request: ModelRequest, now_ns: int, parent: Context, tracer: Tracer
    ) -> Delivered:
        """Settles what was done for a request that brings results, some for the first time."""
        calls = self._runs.deliver(run, request.tool_results)
        windows = sorted(
            (call.start_ns, call.end_ns)
            for asked in calls
            for call in asked.candidates
            if call.end_ns
        )
        inferred = []
        for asked in calls:
            failed = asked.call.id in request.failed_tools
            if asked.candidates or asked.operation is not None:
                sent = request.results.get(asked.call.id)
                self._possible.deliver(asked, now_ns, sent, windows, failed=failed)
            if asked.measured is None:
                end = self._infer(asked, now_ns, parent, tracer, failed=failed)
                if end is not None:
                    inferred.append((asked, end))
        return Delivered(calls, inferred)

    # -- nobody answers any more

    @harmless(None)
    def end_with_process(self, now_ns: int, why: Ending, tracer: Callable[[], Tracer]) -> None:
        """Writes the tools that nothing measured and that were going on when the process was told
        to end, up to then: the model asked for them, and the code that asked still runs."""
        if why.outcome != INTERRUPTED:
            return
        for run in self._runs.idle(now_ns):
            if not run.activations or run.is_resting or run.calls:
                continue
            asked = self._runs.unanswered(run)
            if any(one.candidates or one.operation or one.open for one in asked):
                continue  # one of them was seen to be going on
            unseen = [a for a in asked if a.measured is None and not a.ended and not a.is_form]
            for one in unseen:
                self._infer(one, now_ns, run.parent, tracer(), why=why)
            if unseen:
                run.ending, run.touched_ns = run.ending or why, now_ns

    def _infer(
        self,
        asked: AskedTool,
        now_ns: int,
        parent: Context,
        tracer: Tracer,
        *,
        failed: bool = False,
        why: Ending | None = None,
    ) -> Callable[[object], None] | None:
        """Writes a span for a tool that nothing measured: it has the window in which it must have
        run. It was not finished if a reason `why` is given.

        If content is asked for, gives what ends its span once its result is known.
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
        # A call that begins as the window ends would take it off the path on Jaeger's page.
        end_ns, content = max(asked.asked_ns, now_ns - APART_NS), self._words.content
        if content is not None:
            content.write(span, semconv.TOOL_ARGUMENTS, asked.call.input)
        if why is not None:
            span.set_attribute(semconv.UNFINISHED, True)
            write_ending(span, why)
        if content is None or why is not None:
            with Step(parent):
                span.end(end_time=end_ns)
            return None

        def end(result: object) -> None:
            content.write(span, semconv.TOOL_RESULT, result)
            if failed:
                span.set_status(StatusCode.ERROR, content.reason(result))
            with Step(parent):
                span.end(end_time=end_ns)

        return end


@harmless(None)
def _look_at_arguments(run: Run, call: ToolCall, said: CallWords) -> None:
    asked, found = run.asked.get(call.id), said.asked(call)
    if asked is not None and found is not None:
        about, asked.carries = found
        asked.about.update(about)
